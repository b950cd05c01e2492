/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges that turn into two byte streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "rig.h"

#define HOST " HTTP/1.1\r\nHost: a\r\n"
#define ASK "Connection: keep-alive, upgrade\r\nUpgrade: bytes\r\n"
#define TUNNEL(path) "GET " path HOST ASK "\r\n"
#define MANY_BYTES (4u << 20)

static struct rig rig;
static struct client client;

static void open_with(const struct server_limits *limits)
{
    rig_start(&rig, limits);
    client_open(&rig, &client);
}

static int begin(void **state)
{
    struct server_limits limits = rig_limits();
    open_with(&limits);
    return 0;
}

static int end(void **state)
{
    client_close(&client);
    rig_stop(&rig);
    return 0;
}

static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                           "Upgrade: bytes\r\nX-Tunnel: yes\r\n\r\n";

static void assert_got(const char *bytes)
{
    struct str want = str_of(bytes);
    size_t n = sizeof(head) - 1;
    assert_true(client.got.n >= n);
    assert_memory_equal(client.got.p, head, n);
    assert_int_equal(client.got.n - n, want.n);
    assert_memory_equal(client.got.p + n, want.p, want.n);
}

static void test_bytes(void **state)
{
    client_send(&client, STR(TUNNEL("/w")));
    assert_got("");
    client_send(&client, STR("one"));
    assert_got("one");
    client_send(&client, STR("GET / HTTP/1.1\r\n\r\n"));
    assert_got("oneGET / HTTP/1.1\r\n\r\n");
    assert_int_equal(rig.exchanges, 1);
    assert_int_equal(rig.ended, 0);
}

static void test_early_bytes(void **state)
{
    client_send(&client, STR(TUNNEL("/w") "early"));
    assert_got("early");
}

/* What is sent behind the head is neither a request nor lost while nobody has accepted. */
static void test_early_bytes_wait(void **state)
{
    client_send(&client, STR(TUNNEL("/o") "GET /n HTTP"));
    client_send(&client, STR("/1.1\r\nHost: a\r\n\r\n"));
    assert_int_equal(client.got.n, 0);
    rig_advance(&rig, RIG_LATER_MS + 2);
    client_send(&client, STR(""));
    assert_got("GET /n HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(rig.exchanges, 1);
}

static void test_not_asked(void **state)
{
    static const char *const requests[] = {
        "GET /w" HOST "\r\n",
        "GET /w" HOST "Upgrade: bytes\r\n\r\n",
        "GET /w" HOST "Connection: upgrade\r\n\r\n",
        "GET /w HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, upgrade\r\nUpgrade: bytes\r\n\r\n",
        "POST /w" HOST ASK "Content-Length: 3\r\n\r\nabc",
    };
    for (unsigned i = 0; i < COUNT_OF(requests); i++) {
        client_send(&client, str_of(requests[i]));
        assert_int_equal(client_count(&client, "400 Bad Request\r\n"), i + 1);
        assert_int_equal(rig.ended_well, i + 1);
    }
    assert_int_equal(client_count(&client, "Content-Length: 0\r\n"), COUNT_OF(requests));
    assert_int_equal(rig.connections, 1);
}

/* Nobody reads: the service stops reading, and goes on when there is room. */
static void test_back_pressure(void **state)
{
    char *bytes = malloc(MANY_BYTES);
    size_t sent = 0, stuck = 0;
    for (size_t i = 0; i < MANY_BYTES; i++) {
        bytes[i] = (char)(i * 7 + i / 251);
    }
    client_send(&client, STR(TUNNEL("/w")));
    while (stuck < 3) {
        size_t n = client_put(&client, str_make(bytes + sent, MANY_BYTES - sent));
        sent += n;
        stuck = n ? 0 : stuck + 1;
        rig_settle(&rig);
    }
    assert_true(sent > 0 && sent < MANY_BYTES);
    client_send(&client, str_make(bytes + sent, MANY_BYTES - sent));
    assert_int_equal(client.got.n, sizeof(head) - 1 + MANY_BYTES);
    assert_memory_equal(client.got.p + sizeof(head) - 1, bytes, MANY_BYTES);
    free(bytes);
}

static void test_client_ends(void **state)
{
    client_send(&client, STR(TUNNEL("/w") "last"));
    shutdown(client.fd, SHUT_WR);
    client_send(&client, STR(""));
    assert_got("last");
    assert_true(client.is_closed);
    assert_int_equal(rig.ended_well, 1);
    assert_int_equal(rig.connections, 0);
}

static void test_client_ends_early(void **state)
{
    client_send(&client, STR(TUNNEL("/o") "early"));
    shutdown(client.fd, SHUT_WR);
    rig_advance(&rig, RIG_LATER_MS + 2);
    client_send(&client, STR(""));
    assert_got("early");
    assert_true(client.is_closed);
    assert_int_equal(rig.ended_well, 1);
}

static void test_client_breaks_off(void **state)
{
    const struct linger now = {.l_onoff = 1};
    client_send(&client, STR(TUNNEL("/w")));
    assert_int_equal(setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    client_close(&client);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.connections, 0);
    client_open(&rig, &client);
}

/* Silence has a limit of its own; that of bodies and their rate do not hold. */
static void test_idle_time(void **state)
{
    struct server_limits limits = rig_limits();
    limits.tunnel_idle_ms = 100000;
    limits.min_rate_bytes_per_s = 1000;
    open_with(&limits);
    client_send(&client, STR(TUNNEL("/w")));
    rig_advance(&rig, 90000);
    client_send(&client, STR("a"));
    assert_got("a");
    rig_advance(&rig, 99000);
    assert_int_equal(rig.connections, 1);
    rig_advance(&rig, 2000);
    assert_int_equal(rig.connections, 0);
    assert_int_equal(rig.limits[SERVER_LIMIT_TUNNEL_TIME], 1);
    assert_int_equal(rig.limits[SERVER_LIMIT_READ_TIME] + rig.limits[SERVER_LIMIT_RATE], 0);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.ended_well, 0);
    end(NULL);
}

static void test_no_size_limit(void **state)
{
    struct server_limits limits = rig_limits();
    static char bytes[5000];
    limits.body_bytes_max = 1000;
    open_with(&limits);
    client_send(&client, STR(TUNNEL("/w")));
    client_send(&client, str_make(bytes, sizeof(bytes)));
    assert_int_equal(client_body_bytes(&client), sizeof(bytes));
    assert_int_equal(rig.limits[SERVER_LIMIT_BODY], 0);
    end(NULL);
}

static unsigned drained;

static void on_drained(struct server *s)
{
    (void)s;
    drained++;
}

static void test_drain(void **state)
{
    struct client deaf;
    drained = 0;
    client_open(&rig, &deaf);
    client_send(&deaf, STR(TUNNEL("/o")));
    rig_advance(&rig, RIG_LATER_MS + 2);
    client_send(&client, STR(TUNNEL("/w")));
    server_drain(rig.server, 0, on_drained);
    client_send(&client, STR(""));
    assert_got("bye");
    assert_true(client.is_closed);
    shutdown(client.fd, SHUT_WR);
    client_send(&deaf, STR("still here"));
    assert_int_equal(client_count(&deaf, "still here"), 1);
    assert_int_equal(rig.connections, 1);
    assert_int_equal(drained, 0);
    server_abort(rig.server);
    assert_int_equal(rig.connections, 0);
    assert_int_equal(rig.ended, 2);
    assert_int_equal(rig.ended_well, 1);
    client_close(&deaf);
}

static void test_memory_runs_out(void **state)
{
    struct server_limits limits = rig_limits();
    unsigned long count = 0;
    for (unsigned long n = 0; n <= count; n++) {
        rig_start(&rig, &limits);
        mem_test_fail_at(n);
        client_open(&rig, &client);
        client_send(&client, STR(TUNNEL("/o") "early"));
        rig_advance(&rig, RIG_LATER_MS + 2);
        client_send(&client, STR("late"));
        shutdown(client.fd, SHUT_WR);
        client_send(&client, STR(""));
        unsigned long made = mem_test_fail_at(0);
        if (n == 0) {
            count = made;
            assert_got("earlylate");
        } else if (!client.is_closed) {
            fail_msg("allocation %lu: neither an answer nor the end", n);
        }
        end(NULL);
    }
    assert_true(count > 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bytes),
        TEST(test_early_bytes),
        TEST(test_early_bytes_wait),
        TEST(test_not_asked),
        TEST(test_back_pressure),
        TEST(test_client_ends),
        TEST(test_client_ends_early),
        TEST(test_client_breaks_off),
        TEST(test_drain),
        cmocka_unit_test(test_idle_time),
        cmocka_unit_test(test_no_size_limit),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
