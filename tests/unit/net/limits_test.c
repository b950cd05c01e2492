/* SPDX-License-Identifier: Apache-2.0 */
/* Time, size, number and memory: what a server does when a limit is met. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "net/conn_int.h"
#include "rig.h"

#define HOST " HTTP/1.1\r\nHost: a\r\n"
#define GET(path) "GET " path HOST "\r\n"

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

/* The connection lives until just before `ms` and is gone just behind it. */
static void assert_ends_after(uint64_t ms, enum server_limit limit)
{
    rig_advance(&rig, ms - 100);
    assert_int_equal(rig.connections, 1);
    assert_int_equal(rig.limits[limit], 0);
    rig_advance(&rig, 200);
    assert_int_equal(rig.connections, 0);
    assert_int_equal(rig.limits[limit], 1);
}

static void test_header_time_of_a_silent_client(void **state)
{
    assert_ends_after(10000, SERVER_LIMIT_HEADER_TIME);
    client_send(&client, STR(""));
    assert_int_equal(client.got.n, 0);
}

static void test_header_time_of_a_slow_head(void **state)
{
    client_send(&client, STR(GET("/n")));
    rig_advance(&rig, 30000);
    for (int i = 0; i < 9; i++) {
        client_send(&client, str_make(&"GET / HTT"[i], 1));
        rig_advance(&rig, 1000);
    }
    assert_ends_after(1000, SERVER_LIMIT_HEADER_TIME);
    client_send(&client, STR(""));
    assert_int_equal(client_count(&client, "HTTP/1.1 408 "), 1);
    assert_int_equal(rig.refused_status, 408);
}

static void test_idle_time(void **state)
{
    client_send(&client, STR(GET("/n")));
    assert_ends_after(60000, SERVER_LIMIT_IDLE_TIME);
}

/* An answer that took long leaves the whole idle time behind it. */
static void test_idle_time_begins_behind_the_answer(void **state)
{
    client_send(&client, STR(GET("/l")));
    rig_advance(&rig, RIG_LATER_MS + 2);
    assert_int_equal(rig.ended_well, 1);
    assert_ends_after(60000, SERVER_LIMIT_IDLE_TIME);
}

static void test_no_time_limit_for_the_service(void **state)
{
    client_send(&client, STR(GET("/h")));
    rig_advance(&rig, 3600u * 1000u);
    assert_int_equal(rig.connections, 1);
}

static void test_read_idle_time(void **state)
{
    client_send(&client, STR("POST /c" HOST "Content-Length: 100\r\n\r\n"));
    for (int i = 0; i < 5; i++) {
        rig_advance(&rig, 15000);
        client_send(&client, STR("b"));
    }
    assert_ends_after(20000, SERVER_LIMIT_READ_TIME);
    assert_int_equal(rig.ended, 1);
}

static void test_read_idle_time_of_a_dropped_body(void **state)
{
    client_send(&client, STR("POST /n" HOST "Content-Length: 100\r\n\r\n"));
    assert_ends_after(20000, SERVER_LIMIT_READ_TIME);
}

static void test_write_idle_time(void **state)
{
    client_put(&client, STR(GET("/f")));
    rig_settle(&rig);
    assert_ends_after(30000, SERVER_LIMIT_WRITE_TIME);
}

/* Bytes that arrive do not excuse a client that takes none. */
static void test_write_idle_time_while_reading(void **state)
{
    client_put(&client, STR(GET("/f")));
    rig_settle(&rig);
    for (int i = 0; i < 7; i++) {
        rig_advance(&rig, 4000);
        client_put(&client, str_make(&"GET / H"[i], 1));
        rig_settle(&rig);
    }
    assert_ends_after(2000, SERVER_LIMIT_WRITE_TIME);
}

static void test_write_progress(void **state)
{
    client_put(&client, STR(GET("/f")));
    for (int i = 0; i < 20 && rig.ended == 0; i++) {
        rig_advance(&rig, 20000);
        while (client_take(&client)) {
        }
        rig_settle(&rig);
    }
    client_send(&client, STR(""));
    assert_int_equal(client_body_bytes(&client), RIG_FILE_BYTES);
}

static void test_rate_of_an_upload(void **state)
{
    struct server_limits limits = rig_limits();
    limits.min_rate_bytes_per_s = 100;
    static const char block[2000];
    open_with(&limits);
    client_send(&client, STR("POST /c" HOST "Content-Length: 100000\r\n\r\n"));
    for (int i = 0; i < 10; i++) { /* slow but fast enough */
        client_send(&client, str_make(block, sizeof(block)));
        rig_advance(&rig, 9000);
    }
    assert_int_equal(rig.connections, 1);
    for (int i = 0; i < 5 && rig.connections; i++) {
        client_send(&client, str_make(block, 400));
        rig_advance(&rig, 9000);
    }
    assert_int_equal(rig.connections, 0);
    assert_int_equal(rig.limits[SERVER_LIMIT_RATE], 1);
    end(NULL);
}

static void test_rate_of_a_download(void **state)
{
    struct server_limits limits = rig_limits();
    limits.min_rate_bytes_per_s = 20000;
    open_with(&limits);
    client_put(&client, STR(GET("/f")));
    for (int i = 0; i < 10 && rig.connections; i++) {
        rig_advance(&rig, 9000);
        client_take(&client);
        rig_settle(&rig);
    }
    assert_int_equal(rig.limits[SERVER_LIMIT_RATE], 1);
    assert_int_equal(rig.limits[SERVER_LIMIT_WRITE_TIME], 0);
    end(NULL);
}

/* One that is slow but steady, behind socket buffers that hold megabytes, is no slow peer. */
static void test_rate_behind_large_buffers(void **state)
{
    (void)state;
    struct server_limits limits = rig_limits();
    char block[4096];
    int bytes = 1 << 19;
    limits.min_rate_bytes_per_s = 1000;
    rig_start_tcp(&rig, &limits);
    client_open(&rig, &client);
    setsockopt(client.fd, SOL_SOCKET, SO_RCVBUF, &(int){65536}, sizeof(int));
    LIST_FOR_EACH_SAFE(at, next, &rig.server->connections)
    {
        const struct conn *c = CONTAINER_OF(at, struct conn, link);
        setsockopt(c->transport.watch.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
    client_put(&client, STR(GET("/f")));
    rig_settle(&rig);
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < 12; k++) {
            assert_int_equal(recv(client.fd, block, sizeof(block), 0), sizeof(block));
        }
        rig_advance(&rig, 9000);
        assert_int_equal(rig.connections, 1);
    }
    for (int i = 0; i < 10; i++) {
        rig_advance(&rig, 9000);
    }
    assert_int_equal(rig.connections, 0);
    assert_int_equal(rig.limits[SERVER_LIMIT_RATE], 1);
    end(NULL);
}

static void test_body_limit(void **state)
{
    struct server_limits limits = rig_limits();
    limits.body_bytes_max = 10;
    open_with(&limits);
    client_send(&client, STR("POST /c" HOST "Content-Length: 10\r\n\r\n0123456789"));
    client_send(&client, STR("POST /c" HOST "Transfer-Encoding: chunked\r\n\r\n"
                             "a\r\n0123456789\r\n0\r\n\r\n"));
    assert_int_equal(client_count(&client, "counted 10"), 2);
    client_send(&client, STR("POST /c" HOST "Content-Length: 11\r\n\r\n01234567890" GET("/n")));
    assert_int_equal(client_count(&client, "HTTP/1.1 413 "), 1);
    assert_int_equal(rig.exchanges, 2);
    assert_true(client.is_closed);
    client_close(&client);
    client_open(&rig, &client);
    client_send(&client, STR("POST /c" HOST "Transfer-Encoding: chunked\r\n\r\n"
                             "6\r\n012345\r\n5\r\n67890\r\n0\r\n\r\n" GET("/n")));
    assert_int_equal(client_count(&client, "HTTP/1.1 413 "), 1);
    assert_int_equal(client_count(&client, "HTTP/1.1 "), 1);
    assert_int_equal(rig.limits[SERVER_LIMIT_BODY], 2);
    assert_true(client.is_closed);
    end(NULL);
}

static void test_connection_limit(void **state)
{
    struct server_limits limits = rig_limits();
    struct client other;
    limits.connections_max = 1;
    open_with(&limits);
    client_open(&rig, &other);
    client_send(&other, STR(""));
    assert_int_equal(client_count(&other, "HTTP/1.1 503 "), 1);
    assert_true(other.is_closed);
    assert_int_equal(rig.limits[SERVER_LIMIT_CONNECTIONS], 1);
    client_close(&other);
    client_send(&client, STR(GET("/n")));
    assert_int_equal(rig.ended_well, 1);
    end(NULL);
}

static unsigned drained;

static void on_drained(struct server *s)
{
    assert_ptr_equal(s, rig.server);
    drained++;
}

static void test_drain(void **state)
{
    struct client idle;
    drained = 0;
    client_open(&rig, &idle);
    client_send(&idle, STR(GET("/n")));
    client_send(&client, STR(GET("/l") GET("/n")));
    assert_int_equal(rig.connections, 2);
    server_drain(rig.server, 0, on_drained);
    client_send(&idle, STR(""));
    assert_true(idle.is_closed);
    assert_int_equal(rig.connections, 1);
    assert_int_equal(drained, 0);
    rig_advance(&rig, RIG_LATER_MS + 2);
    client_send(&client, STR(""));
    assert_int_equal(client_count(&client, "late\n"), 1);
    assert_int_equal(client_count(&client, "Connection: close\r\n"), 1);
    assert_true(client.is_closed);
    assert_int_equal(rig.exchanges, 2); /* the one behind is the next server's */
    shutdown(client.fd, SHUT_WR);
    rig_settle(&rig);
    assert_int_equal(rig.connections, 0);
    assert_int_equal(drained, 1);
    server_drain(rig.server, 0, NULL);
    rig_settle(&rig);
    assert_int_equal(drained, 1);
    client_close(&idle);
}

static void test_drain_lets_idle_ones_send_once_more(void **state)
{
    struct client idle;
    drained = 0;
    client_open(&rig, &idle);
    client_send(&idle, STR(GET("/n")));
    client_send(&client, STR(GET("/n")));
    server_drain(rig.server, 5000, on_drained);
    rig_advance(&rig, 1000);
    client_send(&client, STR(GET("/n")));
    assert_int_equal(client_count(&client, "Connection: close\r\n"), 1);
    assert_true(client.is_closed);
    rig_advance(&rig, 4500);
    assert_int_equal(rig.connections, 0);
    assert_int_equal(drained, 1);
    client_close(&idle);
}

static void test_drain_of_nothing(void **state)
{
    drained = 0;
    client_close(&client);
    server_drain(rig.server, 0, on_drained);
    assert_int_equal(drained, 1);
    client = (struct client){.rig = &rig, .fd = -1};
}

/* A second drain must not read what a lingering connection left behind as requests. */
static void test_drain_while_lingering(void **state)
{
    client_send(&client, STR("POST /l" HOST "Content-Length: 900000\r\n\r\n" GET("/n") GET("/n")));
    rig_advance(&rig, RIG_LATER_MS + 2);
    client_send(&client, STR(GET("/n")));
    server_drain(rig.server, 0, NULL);
    client_send(&client, STR(GET("/n")));
    assert_int_equal(rig.exchanges, 1);
    rig_advance(&rig, 2100);
    assert_int_equal(rig.connections, 0);
}

static void scenario(void)
{
    static const char *const parts[] = {
        GET("/n") GET("/y"),
        "POST /c" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nab",
        "cde" GET("/l") GET("/y") "GET /",
        "n HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "POST /e" HOST "TE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n0\r\nA: b\r\n\r\n",
        GET("/f"),
        "GET /y HTTP/1.0\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        client_send(&client, str_of(parts[i]));
        rig_advance(&rig, RIG_LATER_MS + 2);
    }
    client_send(&client, STR(""));
    struct client bad;
    client_open(&rig, &bad);
    client_send(&bad, STR("BAD\r\n\r\n"));
    client_close(&bad);
}

static void test_memory_runs_out(void **state)
{
    struct server_limits limits = rig_limits();
    unsigned long count = 0;
    for (unsigned long n = 0; n <= count; n++) {
        rig_start(&rig, &limits);
        mem_test_fail_at(n);
        client_open(&rig, &client);
        scenario();
        unsigned long made = mem_test_fail_at(0);
        count = n == 0 ? made : count;
        if (!client.got.is_failed) {
            /* An answer that gave way to another one must leave nothing behind. */
            assert_int_equal(client_count(&client, "close\r\n\r\nHTTP/1.1 503"), 0);
        }
        end(NULL);
    }
    assert_true(count > 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_header_time_of_a_silent_client),
        TEST(test_header_time_of_a_slow_head),
        TEST(test_idle_time),
        TEST(test_idle_time_begins_behind_the_answer),
        TEST(test_no_time_limit_for_the_service),
        TEST(test_read_idle_time),
        TEST(test_read_idle_time_of_a_dropped_body),
        TEST(test_write_idle_time),
        TEST(test_write_idle_time_while_reading),
        TEST(test_write_progress),
        TEST(test_drain),
        TEST(test_drain_lets_idle_ones_send_once_more),
        TEST(test_drain_of_nothing),
        TEST(test_drain_while_lingering),
        cmocka_unit_test(test_rate_of_an_upload),
        cmocka_unit_test(test_rate_of_a_download),
        cmocka_unit_test(test_rate_behind_large_buffers),
        cmocka_unit_test(test_body_limit),
        cmocka_unit_test(test_connection_limit),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
