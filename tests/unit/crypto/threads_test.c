/* SPDX-License-Identifier: Apache-2.0 */
/* Loops share policies, stores, ticket keys and the replay window: under ThreadSanitizer. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "rig.h"

#define THREADS 3
#define ROUNDS 15

static struct rig rigs[THREADS];
static struct buf flight;
static atomic_uint accepted_count;

static const struct link_config client = {.priority = "NORMAL:-VERS-ALL:+VERS-TLS1.3",
                                          .sni = "www.example.com"};

/* Connects, resumes, and sends the recorded flight that every thread sends. */
static void *run(void *context)
{
    struct rig *r = context;
    for (int i = 0; i < ROUNDS; i++) {
        struct link l;
        link_open(&l, r, &client);
        buf_add(&l.to_server, flight.p, flight.n);
        link_feed_server(&l);
        atomic_fetch_add(&accepted_count, l.got_early.n > 0);
        link_close(&l);
        link_connect(&l, r, &client);
        ASSERT(link_is_up(&l));
        gnutls_datum_t session = link_session(&l);
        link_close(&l);
        struct link_config resuming = client;
        resuming.session = &session;
        link_connect(&l, r, &resuming);
        ASSERT(link_is_up(&l) && tls_conn_is_resumed(l.conn));
        link_close(&l);
        gnutls_free(session.data);
    }
    return NULL;
}

/* All with the policy and the store of the first. */
static void start_rigs(struct ticket_keys *keys, struct replay_window *window)
{
    const struct rig_config config = {
        .policy = {.takes_early_data = true}, .keys = keys, .window = window};
    for (int i = 0; i < THREADS; i++) {
        rig_start(&rigs[i], &config);
        if (i) {
            tls_policy_unref(rigs[i].policy);
            certificate_store_unref(rigs[i].store);
            rigs[i].policy = tls_policy_ref(rigs[0].policy);
            rigs[i].store = certificate_store_ref(rigs[0].store);
        }
    }
}

static void record_flight(void)
{
    struct link l;
    link_connect(&l, &rigs[0], &client);
    assert_true(link_is_up(&l));
    gnutls_datum_t session = link_session(&l);
    link_close(&l);
    struct link_config early = client;
    early.session = &session;
    early.early_data = STR("GET /");
    link_open(&l, &rigs[0], &early);
    gnutls_handshake(l.client);
    buf_init(&flight, 0);
    buf_add(&flight, l.to_server.p, l.to_server.n);
    link_close(&l);
    gnutls_free(session.data);
}

static void test_loops_share(void **state)
{
    static const uint8_t seal_key[TICKET_SEAL_KEY_BYTES] = {9};
    struct ticket_keys *keys;
    struct replay_window *window;
    pthread_t threads[THREADS];
    struct buf sealed;
    buf_init(&sealed, 0);
    assert_int_equal(ticket_keys_create(3600, 86400, world_get()->now_s, &keys), ERR_OK);
    assert_int_equal(replay_window_create(1000, 3600000, &window), ERR_OK);
    start_rigs(keys, window);
    record_flight();
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run, &rigs[i]), 0);
    }
    for (int i = 0; i < 200; i++) {
        buf_clear(&sealed);
        assert_int_equal(ticket_keys_export(keys, seal_key, &sealed), ERR_OK);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        rig_stop(&rigs[i]);
    }
    assert_int_equal(accepted_count, 1); /* by whichever was first */
    assert_int_equal(replay_window_counts(window).seen, THREADS * ROUNDS - 1);
    ticket_keys_unref(keys);
    replay_window_unref(window);
    buf_done(&flight);
    buf_done(&sealed);
}

static int teardown(void **state)
{
    world_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loops_share),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
