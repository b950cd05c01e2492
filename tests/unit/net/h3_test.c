/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoint, its connections and the session above them, with a client in the same process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "h3_peer.h"

#define RUN_MS 20000u
#define DRAIN_MS 5000u

static struct rig rig;
static struct h3_port port;

static int begin(void **state)
{
    struct server_limits limits = rig_limits();
    limits.stream_count_max = 100;
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

static void test_a_request(void **state)
{
    struct h3_peer p;
    assert_true(h3_peer_open(&p, &rig, &port, "/n", NULL));
    h3_peer_run(&p, RUN_MS);
    assert_true(p.is_answered);
    assert_true(h3_peer_has(&p, "now\n"));
    assert_int_equal(rig.connections, 1);
    h3_peer_close(&p, true);
    rig_advance(&rig, DRAIN_MS);
    assert_int_equal(rig.connections, 0);
    assert_int_equal(rig.ended_well, 1);
}

static void test_a_body(void **state)
{
    struct h3_peer p;
    assert_true(h3_peer_open(&p, &rig, &port, "/k", "some words"));
    h3_peer_run(&p, RUN_MS);
    assert_true(p.is_answered);
    assert_true(h3_peer_has(&p, "some words"));
    h3_peer_close(&p, true);
}

static void test_a_client_that_is_gone(void **state)
{
    struct h3_peer p;
    assert_true(h3_peer_open(&p, &rig, &port, "/h", NULL));
    h3_peer_run(&p, 1000);
    assert_false(p.is_answered);
    assert_int_equal(rig.exchanges, 1);
    h3_peer_close(&p, false);
    rig_advance(&rig, 200000);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.connections, 0);
}

static void test_a_crowd_is_asked_for_proof(void **state)
{
    struct h3_peer crowd[4], p;
    for (size_t i = 0; i < COUNT_OF(crowd); i++) {
        assert_true(h3_peer_open(&crowd[i], &rig, &port, "/n", NULL));
        h3_peer_run(&crowd[i], 0);
        uint8_t bytes[QUIC_DATAGRAM_BYTES];
        struct quic_datagram d;
        assert_int_equal(quic_conn_write(crowd[i].conn, bytes, &d, loop_now_ns(rig.loop)), ERR_OK);
        h3_peer_send(&crowd[i], bytes, d.n); /* and it says nothing more */
        rig_settle(&rig);
    }
    assert_int_equal(rig.limits[SERVER_LIMIT_QUIC_UNPROVED], 0);
    assert_true(h3_peer_open(&p, &rig, &port, "/n", NULL));
    h3_peer_run(&p, RUN_MS / 4);
    assert_int_equal(rig.limits[SERVER_LIMIT_QUIC_UNPROVED], 1);
    assert_true(p.is_answered);
    h3_peer_close(&p, true);
    for (size_t i = 0; i < COUNT_OF(crowd); i++) {
        h3_peer_close(&crowd[i], false);
    }
}

/* A request, or as much of it as memory allows. */
static void converse(void)
{
    struct h3_peer p;
    if (h3_peer_open(&p, &rig, &port, "/k", "words")) {
        h3_peer_run(&p, RUN_MS);
    }
    (void)mem_test_fail_at(0);
    h3_peer_close(&p, true);
    rig_advance(&rig, 200000);
}

static void test_out_of_memory(void **state)
{
    struct h3_peer p;
    converse(); /* what is made once is there now */
    (void)mem_test_fail_at(0);
    assert_true(h3_peer_open(&p, &rig, &port, "/k", "words"));
    h3_peer_run(&p, RUN_MS);
    unsigned long total = mem_test_fail_at(0);
    h3_peer_close(&p, true);
    rig_advance(&rig, 200000);
    assert_true(total > 100);
    for (unsigned long n = 1; n <= total; n++) {
        (void)mem_test_fail_at(n);
        converse();
        assert_int_equal(rig.ended, rig.exchanges);
        assert_int_equal(rig.connections, 0);
    }
    assert_true(h3_peer_open(&p, &rig, &port, "/k", "words"));
    h3_peer_run(&p, RUN_MS);
    assert_true(p.is_answered);
    h3_peer_close(&p, true);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_a_request),
        T(test_a_body),
        T(test_a_client_that_is_gone),
        T(test_a_crowd_is_asked_for_proof),
        T(test_out_of_memory),
    };
    sim_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sim_end();
    return failed;
}
