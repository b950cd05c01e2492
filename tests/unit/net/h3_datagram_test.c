/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels of datagrams over HTTP/3: beside their stream (RFC 9297), over a network that loses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "h3_peer.h"
#include "http/h3_session.h"

#define RUN_MS 20000u
#define STREAMS 100u
#define TURN_MS 10u

static struct rig rig;
static struct h3_port port;
static struct h3_peer peer;

static int begin(void **state)
{
    struct server_limits limits = rig_limits();
    limits.stream_count_max = STREAMS;
    limits.has_connect_protocol = true;
    sim_seed = 1;
    sim_restart();
    rig_start(&rig, &limits);
    h3_port_open(&port, &rig);
    return 0;
}

static int end(void **state)
{
    h3_port_close(&port);
    rig_stop(&rig);
    return 0;
}

/* A tunnel that was answered; datagrams that come before are lost. */
static void open_tunnel(const char *path, bool takes_datagrams)
{
    assert_true(h3_peer_open_tunnel(&peer, &rig, &port, path, takes_datagrams));
    while (peer.got.n == 0 && !peer.is_dead) {
        h3_peer_run(&peer, 20);
    }
    assert_int_equal(rig.exchanges, 1);
    assert_false(peer.is_dead);
}

/* Until `count` datagrams have come. */
static void await(unsigned count)
{
    peer.wanted_messages = count;
    h3_peer_run(&peer, RUN_MS);
    assert_int_equal(peer.message_count, count);
    peer.wanted_messages = 0;
}

static void end_stream(void)
{
    peer.is_tunnel = false;
    h3_peer_run(&peer, RUN_MS);
    assert_true(peer.is_answered);
    assert_int_equal(rig.ended_well, 1);
}

static void close_peer(void)
{
    h3_peer_close(&peer, true);
    rig_advance(&rig, RUN_MS);
}

static void assert_message(struct str bytes)
{
    assert_true(str_eq(buf_str(&peer.message), bytes));
}

static void test_echo(void **state)
{
    open_tunnel("/d", true);
    h3_peer_send_message(&peer, STR("\0one"));
    await(1);
    assert_message(STR("\0one"));
    h3_peer_send_message(&peer, STR("\0"));
    await(2);
    assert_message(STR("\0"));
    h3_peer_send_message(&peer, STR("\x40\0two"));
    await(3);
    assert_message(STR("\0two"));
    h3_peer_send_message(&peer, STR("\0long"));
    await(4);
    assert_in_range(peer.message.n, 1100, 1400);
    assert_int_equal(rig.limits[SERVER_LIMIT_DATAGRAMS], 0);
    end_stream();
    close_peer();
}

/* The stream speaks capsules all the same, and both ways lead to the service. */
static void test_capsules(void **state)
{
    open_tunnel("/d", true);
    h3_peer_send_data(&peer, STR("\0\x03one\x17\x02xx"));
    await(1);
    assert_message(STR("\0one"));
    end_stream();
    assert_false(h3_peer_has(&peer, "one"));
    close_peer();
}

static void test_a_client_that_takes_none(void **state)
{
    open_tunnel("/d", false);
    h3_peer_send_data(&peer, STR("\0\x03one"));
    end_stream();
    assert_true(h3_peer_has(&peer, "one"));
    assert_int_equal(peer.message_count, 0);
    close_peer();
}

static void test_a_capsule_that_is_cut_off(void **state)
{
    open_tunnel("/d", true);
    h3_peer_send_data(&peer, STR("\0\x05one"));
    peer.is_tunnel = false;
    h3_peer_run(&peer, RUN_MS);
    assert_true(peer.is_dead); /* the stream was reset */
    assert_int_equal(rig.refused, 1);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.ended_well, 0);
    close_peer();
}

/* Two of three packets of the client are lost, and all else goes on. */
static void lose_most(struct h3_peer *p, uint8_t *bytes, size_t n)
{
    unsigned *count = p->context;
    if (++*count % 3 == 0) {
        h3_peer_send(p, bytes, n);
    }
}

static void test_a_network_that_loses(void **state)
{
    unsigned packets = 0;
    open_tunnel("/d", true);
    peer.change = lose_most;
    peer.context = &packets;
    for (unsigned i = 0; i < 60; i++) {
        h3_peer_send_message(&peer, STR("\0some words"));
        h3_peer_run(&peer, 20);
    }
    assert_in_range(peer.message_count, 1, 59);
    end_stream();
    close_peer();
}

static void test_nobody_takes_them(void **state)
{
    static const struct str strays[] = {STR("\x05none"), STR("\x40\x63the last that may be")};
    open_tunnel("/q", true);
    for (size_t i = 0; i < COUNT_OF(strays); i++) {
        h3_peer_send_message(&peer, strays[i]);
    }
    h3_peer_send_message(&peer, STR("\0deaf"));
    h3_peer_run(&peer, 1000);
    assert_int_equal(rig.limits[SERVER_LIMIT_DATAGRAMS], 3);
    assert_false(peer.is_dead);
    end_stream();
    h3_peer_send_message(&peer, STR("\0late"));
    peer.is_answered = false;
    h3_peer_run(&peer, 1000);
    assert_int_equal(rig.limits[SERVER_LIMIT_DATAGRAMS], 4);
    assert_false(peer.is_dead);
    close_peer();
}

/* RFC 9297 section 2: the request is aborted, the connection is not. */
static void test_a_tunnel_of_bytes(void **state)
{
    open_tunnel("/w", true);
    h3_peer_send_message(&peer, STR("\0no"));
    h3_peer_run(&peer, RUN_MS);
    assert_int_equal(peer.reset_code, H3_DATAGRAM_ERROR);
    assert_int_equal(rig.refused, 1);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.ended_well, 0);
    assert_int_equal(rig.connections, 1);
    close_peer();
}

/* Who has not answered yet may still open a tunnel of them. */
static void test_before_the_answer(void **state)
{
    assert_true(h3_peer_open_tunnel(&peer, &rig, &port, "/o", true));
    while (rig.exchanges == 0 && !peer.is_dead) {
        h3_peer_run(&peer, TURN_MS);
    }
    h3_peer_send_message(&peer, STR("\0early"));
    h3_peer_run(&peer, RIG_LATER_MS - 2 * TURN_MS);
    assert_int_equal(rig.limits[SERVER_LIMIT_DATAGRAMS], 1);
    assert_int_equal(rig.refused, 0);
    end_stream();
    close_peer();
}

static void test_ended_from_within(void **state)
{
    open_tunnel("/d", true);
    h3_peer_send_message(&peer, STR("\0end"));
    h3_peer_run(&peer, RUN_MS);
    assert_true(peer.is_answered);
    assert_int_equal(rig.ended_well, 1);
    close_peer();
}

static void test_broken_off_from_within(void **state)
{
    open_tunnel("/d", true);
    h3_peer_send_message(&peer, STR("\0break"));
    h3_peer_run(&peer, RUN_MS);
    assert_true(peer.is_dead);
    assert_int_equal(rig.ended, 1);
    close_peer();
}

/* The queue of the connection holds so many; the rest is lost and counted. */
static void test_many(void **state)
{
    open_tunnel("/d", true);
    h3_peer_send_message(&peer, STR("\0many"));
    await(QUIC_MESSAGES_MAX);
    h3_peer_run(&peer, 1000);
    assert_int_equal(peer.message_count, QUIC_MESSAGES_MAX);
    assert_int_equal(rig.limits[SERVER_LIMIT_DATAGRAMS], RIG_MANY_DATAGRAMS - QUIC_MESSAGES_MAX);
    h3_peer_send_message(&peer, STR("\0on"));
    await(QUIC_MESSAGES_MAX + 1);
    assert_message(STR("\0on"));
    end_stream();
    close_peer();
}

static void test_malformed(void **state)
{
    static const struct str wrong[] = {STR(""), STR("\x40"),
                                       STR("\xff\xff\xff\xff\xff\xff\xff\xff"),
                                       STR("\x40\x65 a stream past the limit")};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        begin(NULL);
        open_tunnel("/d", true);
        h3_peer_send_message(&peer, wrong[i]);
        h3_peer_run(&peer, RUN_MS);
        assert_true(peer.is_dead);
        assert_int_equal(rig.refused, 1);
        assert_int_equal(rig.ended, 1);
        close_peer();
        assert_int_equal(rig.connections, 0);
        end(NULL);
    }
}

/* Datagrams beside a stream are no silence. */
static void test_idle_time(void **state)
{
    open_tunnel("/d", true);
    rig.server->limits.tunnel_idle_ms = 10000;
    for (unsigned i = 1; i <= 5; i++) {
        h3_peer_run(&peer, 7000);
        h3_peer_send_message(&peer, STR("\0here"));
        await(i);
    }
    assert_int_equal(rig.limits[SERVER_LIMIT_TUNNEL_TIME], 0);
    h3_peer_run(&peer, 60000);
    assert_int_equal(rig.limits[SERVER_LIMIT_TUNNEL_TIME], 1);
    assert_int_equal(rig.ended, 1);
    close_peer();
}

static void converse(void)
{
    if (h3_peer_open_tunnel(&peer, &rig, &port, "/d", true)) {
        for (unsigned i = 0; i < 50 && peer.got.n == 0; i++) {
            h3_peer_run(&peer, 20);
        }
        h3_peer_send_message(&peer, STR("\0one"));
        h3_peer_send_data(&peer, STR("\0\x03two"));
        peer.wanted_messages = 2;
        h3_peer_run(&peer, 1000);
        peer.wanted_messages = 0;
        peer.is_tunnel = false;
        h3_peer_run(&peer, RUN_MS);
    }
}

static void test_out_of_memory(void **state)
{
    converse(); /* what is made once is there now */
    close_peer();
    (void)mem_test_fail_at(0);
    converse();
    unsigned long total = mem_test_fail_at(0);
    assert_int_equal(peer.message_count, 2);
    assert_int_equal(rig.ended_well, 2);
    close_peer();
    assert_true(total > 100);
    for (unsigned long n = 1; n <= total; n++) {
        (void)mem_test_fail_at(n);
        converse();
        (void)mem_test_fail_at(0);
        h3_peer_close(&peer, true);
        rig_advance(&rig, 200000);
        assert_int_equal(rig.ended, rig.exchanges);
        assert_int_equal(rig.connections, 0);
    }
    converse();
    assert_int_equal(peer.message_count, 2);
    close_peer();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_echo),
        T(test_capsules),
        T(test_a_client_that_takes_none),
        T(test_a_capsule_that_is_cut_off),
        T(test_a_network_that_loses),
        T(test_nobody_takes_them),
        T(test_a_tunnel_of_bytes),
        T(test_before_the_answer),
        T(test_ended_from_within),
        T(test_broken_off_from_within),
        T(test_many),
        cmocka_unit_test(test_malformed),
        T(test_idle_time),
        T(test_out_of_memory),
    };
    sim_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sim_end();
    return failed;
}
