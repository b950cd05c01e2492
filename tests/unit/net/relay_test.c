/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that are passed on as they are; the other side is the server of the rig itself. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "net/relay.h"
#include "rig.h"

#define CONNECT_MS 1000u
#define IDLE_MS 5000u
#define DESCRIPTORS 64 /* that a loop has places for at first */

static struct rig rig;
static struct client client;
static struct relay *relay;
static unsigned connected, ended;
static enum err cause;

static void on_connected(struct relay *r, enum err e)
{
    connected++;
    if (e) {
        relay_cancel(r, e);
    }
}

static void on_end(struct relay *r, enum err e, uint64_t in, uint64_t out)
{
    (void)r;
    (void)in;
    (void)out;
    ended++;
    cause = e;
    relay = NULL;
}

static const struct relay_service service = {.on_connected = on_connected, .on_end = on_end};

static enum err dial(void)
{
    return relay_connect(relay, &rig.address, STR(""), CONNECT_MS, IDLE_MS);
}

static int begin(void **state)
{
    struct server_limits limits = rig_limits();
    int pair[2];
    rig_start_tcp(&rig, &limits);
    connected = ended = 0;
    cause = ERR_OK;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    client = (struct client){.rig = &rig, .fd = pair[0]};
    buf_init(&client.got, 0);
    const struct relay_client from = {.fd = pair[1], .peer = &rig.address};
    assert_int_equal(relay_create(rig.server, &from, &service, NULL, &relay), ERR_OK);
    return 0;
}

static int end(void **state)
{
    client_close(&client);
    rig_stop(&rig);
    assert_int_equal(ended, 1);
    assert_int_equal(rig.connections, 0);
    return 0;
}

static void test_bytes(void **state)
{
    assert_int_equal(dial(), ERR_OK);
    client_send(&client, STR("GET /n HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    assert_int_equal(connected, 1);
    assert_int_equal(client_count(&client, "HTTP/1.1 200"), 1);
    shutdown(client.fd, SHUT_WR);
    client_send(&client, STR(""));
    assert_true(client.is_closed);
    assert_int_equal(ended, 1);
    assert_int_equal(cause, ERR_OK);
}

static void test_ends_while_connecting(void **state)
{
    assert_int_equal(dial(), ERR_OK);
    relay_cancel(relay, ERR_CANCELLED);
    assert_int_equal(ended, 1);
    rig_settle(&rig);
    assert_int_equal(connected, 0);
}

static void test_abort(void **state)
{
    assert_int_equal(dial(), ERR_OK);
    client_send(&client, STR("GET /h HTTP/1.1\r\nHost: a\r\n\r\n"));
    server_abort(rig.server);
    assert_int_equal(ended, 1);
    assert_int_equal(cause, ERR_CANCELLED);
}

static void test_idle(void **state)
{
    assert_int_equal(dial(), ERR_OK);
    client_send(&client, STR("GET /h HTTP/1.1\r\nHost: a\r\n\r\n"));
    rig_advance(&rig, IDLE_MS + 1);
    assert_int_equal(ended, 1);
    assert_int_equal(cause, ERR_TIMEOUT);
}

/* The loop has no place for the other side's descriptor, nor memory for more of them. */
static void test_no_memory_for_the_descriptor(void **state)
{
    int fds[DESCRIPTORS], count = 0, last;
    do {
        last = fds[count++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(last >= 0);
    } while (last < DESCRIPTORS && count < DESCRIPTORS);
    mem_test_fail_at(1);
    enum err e = dial();
    mem_test_fail_at(0);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(next);
    while (count) {
        close(fds[--count]);
    }
    assert_int_equal(e, ERR_NOMEM);
    assert_int_equal(next, last + 1); /* the socket is closed */
    assert_int_equal(dial(), ERR_OK);
    client_send(&client, STR("GET /n HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_int_equal(client_count(&client, "HTTP/1.1 200"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bytes), TEST(test_ends_while_connecting),        TEST(test_abort),
        TEST(test_idle),  TEST(test_no_memory_for_the_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
