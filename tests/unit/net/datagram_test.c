/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels of datagrams over HTTP/1.1: the capsule protocol on their stream (RFC 9297). */
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
#include "rig.h"

#define TUNNEL(path)                                                                               \
    "GET " path " HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: bytes\r\n\r\n"
#define FLOOD 20000u

static struct rig rig;
static struct client client;

static int begin(void **state)
{
    struct server_limits limits = rig_limits();
    rig_start(&rig, &limits);
    client_open(&rig, &client);
    return 0;
}

static int end(void **state)
{
    client_close(&client);
    rig_stop(&rig);
    return 0;
}

static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                           "Upgrade: bytes\r\nX-Tunnel: yes\r\nCapsule-Protocol: ?1\r\n\r\n";

static void assert_got(struct str want)
{
    size_t n = sizeof(head) - 1;
    assert_true(client.got.n >= n);
    assert_memory_equal(client.got.p, head, n);
    assert_true(str_eq(str_make(client.got.p + n, client.got.n - n), want));
}

static void open_tunnel(const char *request)
{
    client_send(&client, str_of(request));
    assert_got(STR(""));
}

/* Two datagrams, and a capsule that nobody knows between them, cut anywhere. */
static void test_every_cut(void **state)
{
    static const struct str sent = STR("\0\x03one\x17\x04skip\0\0\0\x40\x03two");
    for (size_t cut = 0; cut <= sent.n; cut++) {
        begin(NULL);
        open_tunnel(TUNNEL("/d"));
        client_send(&client, str_sub(sent, 0, cut));
        client_send(&client, str_sub(sent, cut, sent.n));
        assert_got(STR("\0\x03one\0\0\0\x03two"));
        shutdown(client.fd, SHUT_WR);
        client_send(&client, STR(""));
        assert_true(client.is_closed);
        assert_int_equal(rig.ended_well, 1);
        assert_int_equal(rig.refused + rig.limits[SERVER_LIMIT_DATAGRAMS], 0);
        end(NULL);
    }
}

static void test_behind_the_head(void **state)
{
    static const char request[] = TUNNEL("/d") "\0\x03one";
    client_send(&client, str_make(request, sizeof(request) - 1));
    assert_got(STR("\0\x03one"));
}

/* RFC 9297 3.3: no whole answer to what is not whole. */
static void test_cut_off(void **state)
{
    static const struct str cuts[] = {STR("\0"), STR("\0\x05one"), STR("\0\x01x\x17\x02y")};
    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        begin(NULL);
        open_tunnel(TUNNEL("/d"));
        client_send(&client, cuts[i]);
        shutdown(client.fd, SHUT_WR);
        client_send(&client, STR(""));
        assert_true(client.is_closed);
        assert_int_equal(rig.refused, 1);
        assert_int_equal(rig.ended, 1);
        assert_int_equal(rig.ended_well, 0);
        assert_int_equal(rig.connections, 0);
        end(NULL);
    }
}

static void test_ended_from_within(void **state)
{
    static const struct str words[] = {STR("\0\x03"
                                           "end\0\x01x"),
                                       STR("\0\x05"
                                           "break\0\x01x")};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        begin(NULL);
        open_tunnel(TUNNEL("/d"));
        client_send(&client, words[i]);
        assert_true(client.is_closed);
        assert_int_equal(rig.ended, 1);
        assert_int_equal(rig.ended_well, i == 0);
        end(NULL);
    }
}

static void test_too_long(void **state)
{
    static char bytes[4 + 65536 + 3] = "\x80\x01\0\0";
    static const char behind[] = "\0\x01x";
    open_tunnel(TUNNEL("/d"));
    bytes[0] = 0;
    client_send(&client, STR("\0\x80\x01\0\0"));
    client_send(&client, str_make(bytes, 65536));
    client_send(&client, str_make(behind, 3));
    assert_got(STR("\0\x01x"));
    assert_int_equal(rig.limits[SERVER_LIMIT_DATAGRAMS], 1);
    client_send(&client, STR("\0\x04long"));
    assert_int_equal(client.got.n, sizeof(head) - 1 + 3 + 5 + 65535);
}

/* Room for so much: the rest is lost and counted, the tunnel goes on. */
static void test_many(void **state)
{
    open_tunnel(TUNNEL("/d"));
    client_send(&client, STR("\0\x04many"));
    size_t n = (client.got.n - (sizeof(head) - 1)) / 5003;
    assert_in_range(n, 10, RIG_MANY_DATAGRAMS - 10);
    assert_int_equal(rig.limits[SERVER_LIMIT_DATAGRAMS], RIG_MANY_DATAGRAMS - n);
    client_send(&client, STR("\0\x01x"));
    assert_int_equal(client.got.n, sizeof(head) - 1 + n * 5003 + 3);
}

/* Many small ones of a client that takes nothing: they leave in large pieces, not one by one, and
 * what finds no room is lost. */
static void test_flood(void **state)
{
    struct buf flood;
    buf_init(&flood, 0);
    for (unsigned i = 0; i < FLOOD; i++) {
        buf_add(&flood, "\0\x01x", 3);
    }
    open_tunnel(TUNNEL("/d"));
    (void)mem_test_fail_at(0);
    for (unsigned i = 0; i < 200 && rig.limits[SERVER_LIMIT_DATAGRAMS] == 0; i++) {
        for (size_t at = 0, n = 1; at < flood.n; at += n) {
            n = client_put(&client, str_sub(buf_str(&flood), at, flood.n));
            rig_settle(&rig);
        }
    }
    assert_true(mem_test_fail_at(0) < FLOOD);
    assert_true(rig.limits[SERVER_LIMIT_DATAGRAMS] > 0);
    while (client_take(&client)) {
        rig_settle(&rig);
    }
    assert_int_equal(rig.ended, 0);
    buf_done(&flood);
}

static void test_nobody_takes_them(void **state)
{
    open_tunnel(TUNNEL("/q"));
    client_send(&client, STR("\0\x01x\0\x01y"));
    assert_got(STR(""));
    assert_int_equal(rig.limits[SERVER_LIMIT_DATAGRAMS], 2);
}

static void test_memory_runs_out(void **state)
{
    unsigned long count = 0;
    for (unsigned long n = 0; n <= count; n++) {
        struct server_limits limits = rig_limits();
        rig_start(&rig, &limits);
        mem_test_fail_at(n);
        client_open(&rig, &client);
        client_send(&client, STR(TUNNEL("/d")));
        client_send(&client, STR("\0\x03one\0"));
        client_send(&client, STR("\x05t"));
        client_send(&client, STR("hree\0\x04long"));
        shutdown(client.fd, SHUT_WR);
        client_send(&client, STR(""));
        unsigned long made = mem_test_fail_at(0);
        if (n == 0) {
            count = made;
            assert_int_equal(rig.ended_well, 1);
        }
        assert_true(client.is_closed);
        assert_int_equal(rig.ended, rig.exchanges);
        end(NULL);
    }
    assert_true(count > 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        TEST(test_behind_the_head),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_ended_from_within),
        TEST(test_too_long),
        TEST(test_many),
        TEST(test_flood),
        TEST(test_nobody_takes_them),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
