/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "rig.h"

#define TLS12_ONLY "NORMAL:-VERS-ALL:+VERS-TLS1.2"
#define TLS13_ONLY "NORMAL:-VERS-ALL:+VERS-TLS1.3"
#define DAY_S 86400
#define WINDOW_MS 3600000u

static const char *const versions[] = {TLS12_ONLY, TLS13_ONLY};

/* A session that was made with `config` at `r`. */
static gnutls_datum_t session_of(struct rig *r, const struct link_config *config)
{
    struct link l;
    link_connect(&l, r, config);
    assert_true(link_is_up(&l));
    gnutls_datum_t session = link_session(&l);
    link_close(&l);
    return session;
}

/* Connects with `session` and says whether both sides resumed it. */
static bool is_resumed(struct rig *r, const gnutls_datum_t *session,
                       const struct link_config *config)
{
    struct link l;
    struct link_config resuming = *config;
    resuming.session = session;
    link_connect(&l, r, &resuming);
    bool resumed = tls_conn_is_handshaken(l.conn) && tls_conn_is_resumed(l.conn);
    if (link_is_up(&l)) {
        assert_int_equal(resumed, gnutls_session_is_resumed(l.client) != 0);
    }
    link_close(&l);
    return resumed;
}

static void test_resumption(void **state)
{
    struct rig r;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    for (int i = 0; i < 2; i++) {
        const struct link_config config = {.priority = versions[i], .sni = "www.example.com"};
        gnutls_datum_t session = session_of(&r, &config);
        assert_true(is_resumed(&r, &session, &config));
        gnutls_free(session.data);
    }
    rig_stop(&r);
}

static void test_one_ticket_per_connection(void **state)
{
    struct rig r;
    struct link l;
    struct buf got;
    buf_init(&got, 0);
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    link_connect(&l, &r, &(struct link_config){.priority = TLS13_ONLY, .sni = "www.example.com"});
    size_t with_ticket = l.to_client.n;
    link_close(&l);
    rig_stop(&r);
    rig_start(&r, &(struct rig_config){.no_tickets = true});
    link_connect(&l, &r, &(struct link_config){.priority = TLS13_ONLY, .sni = "www.example.com"});
    assert_true(with_ticket > l.to_client.n);
    assert_true(with_ticket - l.to_client.n < 600);
    link_close(&l);
    rig_stop(&r);
    buf_done(&got);
}

static void test_no_tickets_without_keys(void **state)
{
    struct rig r, without;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    rig_start(&without, &(struct rig_config){.no_tickets = true});
    for (int i = 0; i < 2; i++) {
        const struct link_config config = {.priority = versions[i], .sni = "www.example.com"};
        gnutls_datum_t session = session_of(&r, &config);
        assert_false(is_resumed(&without, &session, &config));
        gnutls_free(session.data);
    }
    rig_stop(&without);
    rig_stop(&r);
}

/* EDGE.md, row 27. */
static void test_a_ticket_is_good_for_its_name_only(void **state)
{
    struct rig r;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    for (int i = 0; i < 2; i++) {
        const struct link_config one = {.priority = versions[i], .sni = "www.example.com"};
        const struct link_config two = {.priority = versions[i], .sni = "a.example.com"};
        const struct link_config none = {.priority = versions[i]};
        gnutls_datum_t session = session_of(&r, &one);
        assert_false(is_resumed(&r, &session, &two));
        assert_false(is_resumed(&r, &session, &none));
        assert_true(is_resumed(&r, &session, &one));
        gnutls_free(session.data);
    }
    rig_stop(&r);
}

static void test_a_ticket_is_good_for_its_policy_only(void **state)
{
    struct world *w = world_get();
    struct ticket_keys *keys;
    assert_int_equal(ticket_keys_create(3600, DAY_S, w->now_s, &keys), ERR_OK);
    const struct tls_policy_config open = {.client_auth = TLS_CLIENT_OFF};
    const struct tls_policy_config optional = {.client_auth = TLS_CLIENT_OPTIONAL,
                                               .client_ca_pem = buf_str(&w->root_pem)};
    const struct tls_policy_config require = {.client_auth = TLS_CLIENT_REQUIRE,
                                              .client_ca_pem = buf_str(&w->root_pem)};
    const struct tls_policy_config other = {.client_auth = TLS_CLIENT_REQUIRE,
                                            .client_ca_pem = buf_str(&w->other_root_pem)};
    const struct tls_policy_config *const all[] = {&open, &optional, &require, &other};
    for (size_t from = 0; from < 3; from++) {
        for (size_t to = 0; to < COUNT_OF(all) * 2; to++) {
            struct rig first, second;
            const struct link_config config = {.priority = versions[to & 1],
                                               .sni = "www.example.com",
                                               .pem = &w->client_pem,
                                               .key_pem = &w->client_key_pem};
            rig_start(&first, &(struct rig_config){.policy = *all[from], .keys = keys});
            rig_start(&second, &(struct rig_config){.policy = *all[to / 2], .keys = keys});
            assert_int_equal(tls_policy_clients_agree(first.policy, second.policy), from == to / 2);
            gnutls_datum_t session = session_of(&first, &config);
            assert_int_equal(is_resumed(&second, &session, &config), from == to / 2);
            gnutls_free(session.data);
            rig_stop(&first);
            rig_stop(&second);
        }
    }
    ticket_keys_unref(keys);
}

/* The hole of row 27 as an attacker would use it: one server, a name that asks for nothing and a
 * name that requires a certificate. */
static void test_an_open_name_does_not_open_another(void **state)
{
    struct world *w = world_get();
    struct rig r;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    const struct tls_policy_config require = {.client_auth = TLS_CLIENT_REQUIRE,
                                              .client_ca_pem = buf_str(&w->root_pem)};
    r.names[r.name_count++] = (struct rig_name){"a.example.com", rig_policy(&require)};
    for (int i = 0; i < 2; i++) {
        const struct link_config open = {.priority = versions[i], .sni = "www.example.com"};
        gnutls_datum_t session = session_of(&r, &open);
        struct link l;
        link_connect(&l, &r,
                     &(struct link_config){
                         .priority = versions[i], .sni = "a.example.com", .session = &session});
        assert_false(tls_conn_is_handshaken(l.conn));
        assert_int_equal(l.server_error, ERR_ACCESS);
        link_close(&l);
        gnutls_free(session.data);
    }
    rig_stop(&r);
}

static void test_a_resumed_client_is_still_known(void **state)
{
    struct world *w = world_get();
    struct rig r;
    rig_start(&r, &(struct rig_config){.policy = {.client_auth = TLS_CLIENT_REQUIRE,
                                                  .client_ca_pem = buf_str(&w->root_pem)}});
    for (int i = 0; i < 2; i++) {
        struct link l;
        struct tls_client_certificate about;
        struct link_config config = {.priority = versions[i],
                                     .sni = "www.example.com",
                                     .pem = &w->client_pem,
                                     .key_pem = &w->client_key_pem};
        gnutls_datum_t session = session_of(&r, &config);
        config.session = &session;
        link_connect(&l, &r, &config);
        assert_true(link_is_up(&l) && tls_conn_is_resumed(l.conn));
        assert_int_equal(tls_conn_client_certificate(l.conn, &about), ERR_OK);
        assert_true(str_eq(about.serial, STR("11")));
        link_close(&l);
        gnutls_free(session.data);
    }
    rig_stop(&r);
}

/* A certificate that has run out (or whose CA was taken away) does not live on in a ticket: the
 * clock of GnuTLS is moved behind its end. */
static time_t fake_now;

static time_t fake_time(time_t *ret)
{
    return ret ? *ret = fake_now : fake_now;
}

static void test_a_resumed_client_is_judged_again(void **state)
{
    struct world *w = world_get();
    struct ticket_keys *keys;
    struct rig r;
    fake_now = w->now_s + DAY_S - 600; /* ten minutes before the client's certificate ends */
    gnutls_global_set_time_function(fake_time);
    assert_int_equal(ticket_keys_create(3600, DAY_S, w->now_s, &keys), ERR_OK);
    rig_start(&r, &(struct rig_config){.policy = {.client_auth = TLS_CLIENT_REQUIRE,
                                                  .client_ca_pem = buf_str(&w->root_pem)},
                                       .keys = keys});
    for (int i = 0; i < 2; i++) {
        struct link_config config = {.priority = versions[i],
                                     .sni = "www.example.com",
                                     .pem = &w->client_pem,
                                     .key_pem = &w->client_key_pem};
        fake_now = w->now_s + DAY_S - 600;
        gnutls_datum_t session = session_of(&r, &config);
        assert_true(is_resumed(&r, &session, &config));
        fake_now = w->now_s + DAY_S + 600;
        struct link l;
        config.session = &session;
        link_connect(&l, &r, &config);
        assert_false(tls_conn_is_handshaken(l.conn));
        assert_int_equal(l.server_error, ERR_ACCESS);
        link_close(&l);
        gnutls_free(session.data);
    }
    gnutls_global_set_time_function(time);
    rig_stop(&r);
    ticket_keys_unref(keys);
}

/* As after a reload (other server, same keys) and after an upgrade (keys that were carried over).
 */
static void test_tickets_survive_reload_and_upgrade(void **state)
{
    static const uint8_t seal_key[TICKET_SEAL_KEY_BYTES] = "a key that the supervisor keeps";
    struct buf sealed;
    struct rig old;
    struct ticket_keys *carried = NULL;
    buf_init(&sealed, 0);
    rig_start(&old, &(struct rig_config){.policy = {.alpn_count = 0}});
    for (int i = 0; i < 2; i++) {
        const struct link_config config = {.priority = versions[i], .sni = "www.example.com"};
        gnutls_datum_t session = session_of(&old, &config);
        struct rig reloaded, upgraded, foreign;
        rig_start(&reloaded, &(struct rig_config){.keys = old.keys});
        assert_true(is_resumed(&reloaded, &session, &config));
        buf_clear(&sealed);
        assert_int_equal(ticket_keys_export(old.keys, seal_key, &sealed), ERR_OK);
        assert_int_equal(ticket_keys_import(buf_str(&sealed), seal_key, &carried), ERR_OK);
        rig_start(&upgraded, &(struct rig_config){.keys = carried});
        ticket_keys_unref(carried);
        assert_true(is_resumed(&upgraded, &session, &config));
        rig_start(&foreign, &(struct rig_config){.policy = {.alpn_count = 0}});
        assert_false(is_resumed(&foreign, &session, &config));
        rig_stop(&reloaded);
        rig_stop(&upgraded);
        rig_stop(&foreign);
        gnutls_free(session.data);
    }
    rig_stop(&old);
    buf_done(&sealed);
}

static void test_keys_rotate(void **state)
{
    struct world *w = world_get();
    int64_t really_s = w->now_s;
    for (int i = 0; i < 2; i++) {
        struct rig r;
        const struct link_config config = {.priority = versions[i], .sni = "www.example.com"};
        rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
        gnutls_datum_t session = session_of(&r, &config);
        w->now_s = really_s + DAY_S; /* the next epoch: only the seeds know */
        uint8_t key[TICKET_KEY_BYTES];
        assert_int_equal(ticket_keys_pick(r.keys, STR("x"), STR(""), w->now_s, key), ERR_OK);
        w->now_s = really_s;
        assert_true(is_resumed(&r, &session, &config));
        assert_int_equal(ticket_keys_pick(r.keys, STR("x"), STR(""), really_s + 2 * DAY_S, key),
                         ERR_OK);
        assert_false(is_resumed(&r, &session, &config));
        gnutls_free(session.data);
        rig_stop(&r);
    }
}

static void test_seeds_agree_without_talking(void **state)
{
    static const uint8_t seal_key[TICKET_SEAL_KEY_BYTES] = {1}, other_key[TICKET_SEAL_KEY_BYTES];
    struct ticket_keys *a, *b;
    struct buf sealed;
    uint8_t one[TICKET_KEY_BYTES], two[TICKET_KEY_BYTES], last[TICKET_KEY_BYTES];
    buf_init(&sealed, 0);
    assert_int_equal(ticket_keys_create(100, 1000, 50000, &a), ERR_OK);
    assert_int_equal(ticket_keys_export(a, seal_key, &sealed), ERR_OK);
    assert_int_equal(ticket_keys_import(buf_str(&sealed), seal_key, &b), ERR_OK);
    assert_int_equal(ticket_keys_lifetime_s(b), 100);
    memset(last, 0, sizeof(last));
    for (int64_t now_s = 50000; now_s < 60000; now_s += 1000) {
        assert_int_equal(ticket_keys_pick(a, STR("n"), STR(""), now_s, one), ERR_OK);
        assert_int_equal(ticket_keys_pick(b, STR("n"), STR(""), now_s + 999, two), ERR_OK);
        assert_memory_equal(one, two, sizeof(one));
        assert_memory_not_equal(one, last, sizeof(one));
        memcpy(last, one, sizeof(one));
    }
    assert_int_equal(ticket_keys_pick(a, STR("m"), STR(""), 59999, one), ERR_OK);
    assert_memory_not_equal(one, two, sizeof(one));
    /* A leap of the clock costs the tickets, and nothing else. */
    assert_int_equal(ticket_keys_pick(b, STR("n"), STR(""), 9000000000, one), ERR_OK);
    assert_int_equal(ticket_keys_pick(b, STR("n"), STR(""), 9000000000, two), ERR_OK);
    assert_memory_equal(one, two, sizeof(one));
    assert_int_equal(ticket_keys_pick(b, STR("n"), STR(""), 59999, two), ERR_OK);
    assert_memory_equal(one, two, sizeof(one));
    ticket_keys_unref(b);
    assert_int_equal(ticket_keys_import(buf_str(&sealed), other_key, &b), ERR_ACCESS);
    sealed.p[sealed.n / 2] ^= 1;
    assert_int_equal(ticket_keys_import(buf_str(&sealed), seal_key, &b), ERR_ACCESS);
    assert_int_equal(ticket_keys_import(STR(""), seal_key, &b), ERR_ACCESS);
    assert_int_equal(ticket_keys_create(100, 99, 0, &b), ERR_RANGE);
    assert_int_equal(ticket_keys_create(0, 99, 0, &b), ERR_RANGE);
    assert_int_equal(ticket_keys_create(TICKET_LIFETIME_S_MAX + 1, 7000000, 0, &b), ERR_RANGE);
    for (unsigned long n = 1, made = n; made >= n; n++) {
        mem_test_fail_at(n);
        enum err e = ticket_keys_create(100, 1000, 50000, &b);
        made = mem_test_fail_at(0);
        assert_int_equal(e, made >= n ? ERR_NOMEM : ERR_OK);
        if (!e) {
            ticket_keys_unref(b);
        }
    }
    ticket_keys_unref(a);
    buf_done(&sealed);
}

static void test_replays_are_seen(void **state)
{
    struct replay_window *w;
    char id[8];
    assert_int_equal(replay_window_create(0, 1000, &w), ERR_RANGE);
    assert_int_equal(replay_window_create(10, 0, &w), ERR_RANGE);
    assert_int_equal(replay_window_create(100, 10000, &w), ERR_OK);
    for (int i = 0; i < 100; i++) {
        memcpy(id, &i, sizeof(i));
        assert_int_equal(replay_window_add(w, str_make(id, 4), 1000), ERR_OK);
        assert_int_equal(replay_window_add(w, str_make(id, 4), 1000), ERR_EXISTS);
    }
    /* Full: refused, not forgotten. */
    assert_int_equal(replay_window_add(w, STR("new"), 1001), ERR_LIMIT);
    memset(id, 0, sizeof(id));
    assert_int_equal(replay_window_add(w, str_make(id, 4), 1001), ERR_EXISTS);
    /* The next window has room, and remembers the last one. */
    assert_int_equal(replay_window_add(w, STR("new"), 1011), ERR_OK);
    assert_int_equal(replay_window_add(w, str_make(id, 4), 1011), ERR_EXISTS);
    assert_int_equal(replay_window_add(w, STR("new"), 1022), ERR_EXISTS);
    assert_int_equal(replay_window_add(w, str_make(id, 4), 1022), ERR_OK);
    /* After a long pause nothing is left. */
    assert_int_equal(replay_window_add(w, STR("new"), 5000), ERR_OK);
    struct replay_counts counts = replay_window_counts(w);
    assert_int_equal(counts.full, 1);
    assert_int_equal(counts.seen, 103);
    replay_window_unref(w);
    /* What another process may have seen is refused, and noted from then on. */
    assert_int_equal(replay_window_create(100, 10000, &w), ERR_OK);
    replay_window_hold(w, 2000);
    assert_int_equal(replay_window_add(w, STR("new"), 1999), ERR_LIMIT);
    assert_int_equal(replay_window_add(w, STR("new"), 2000), ERR_OK);
    assert_int_equal(replay_window_add(w, STR("new"), 2000), ERR_EXISTS);
    replay_window_unref(w);
    for (unsigned long n = 1; n <= 3; n++) {
        mem_test_fail_at(n);
        assert_int_equal(replay_window_create(10, 1000, &w), ERR_NOMEM);
        mem_test_fail_at(0);
    }
}

static const struct tls_policy_config early = {
    .takes_early_data = true, .alpn = {STR("http/1.1")}, .alpn_count = 1};

static const struct link_config plain_client = {
    .priority = TLS13_ONLY, .sni = "www.example.com", .alpn = {"http/1.1"}};

static struct link_config early_client(const gnutls_datum_t *session)
{
    struct link_config config = plain_client;
    config.session = session;
    config.early_data = STR("GET /");
    return config;
}

/* The first flight of a client that sends early data: what an attacker can record. */
static void record(struct rig *r, const gnutls_datum_t *session, struct buf *out)
{
    struct link l;
    struct link_config config = early_client(session);
    link_open(&l, r, &config);
    gnutls_handshake(l.client);
    buf_add(out, l.to_server.p, l.to_server.n);
    link_close(&l);
}

static size_t replay(struct rig *r, const struct buf *flight)
{
    struct link l;
    link_open(&l, r, &plain_client);
    buf_add(&l.to_server, flight->p, flight->n);
    link_feed_server(&l);
    size_t n = l.got_early.n;
    assert_int_equal(l.got.n, 0);
    assert_false(tls_conn_is_handshaken(l.conn));
    link_close(&l);
    return n;
}

static void test_early_data(void **state)
{
    struct replay_window *window;
    struct rig r;
    struct link l;
    struct buf got;
    buf_init(&got, 0);
    assert_int_equal(replay_window_create(1000, WINDOW_MS, &window), ERR_OK);
    rig_start(&r, &(struct rig_config){.policy = early, .window = window});
    gnutls_datum_t session = session_of(&r, &plain_client);
    struct link_config config = early_client(&session);
    link_connect(&l, &r, &config);
    assert_true(link_is_up(&l));
    assert_true(str_eq(buf_str(&l.got_early), STR("GET /")));
    assert_true(gnutls_session_get_flags(l.client) & GNUTLS_SFLAGS_EARLY_DATA);
    link_client_write(&l, STR("late"));
    link_feed_server(&l);
    assert_true(str_eq(buf_str(&l.got), STR("late")));
    assert_false(tls_conn_is_early(l.conn));
    assert_int_equal(link_server_write(&l, STR("answer")), ERR_OK);
    link_client_read(&l, &got);
    assert_true(str_eq(buf_str(&got), STR("answer")));
    link_close(&l);
    gnutls_free(session.data);
    rig_stop(&r);
    replay_window_unref(window);
    buf_done(&got);
}

static void test_early_data_is_taken_once(void **state)
{
    struct replay_window *window;
    struct rig r, second;
    struct buf flight;
    buf_init(&flight, 0);
    assert_int_equal(replay_window_create(1000, WINDOW_MS, &window), ERR_OK);
    rig_start(&r, &(struct rig_config){.policy = early, .window = window});
    rig_start(&second, &(struct rig_config){.policy = early, .window = window, .keys = r.keys});
    gnutls_datum_t session = session_of(&r, &plain_client);
    record(&r, &session, &flight);
    assert_int_equal(replay(&r, &flight), 5);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(replay(&r, &flight), 0);
        assert_int_equal(replay(&second, &flight), 0); /* another loop of the process */
    }
    gnutls_free(session.data);
    buf_done(&flight);
    rig_stop(&second);
    rig_stop(&r);
    replay_window_unref(window);
}

static void test_early_data_that_is_refused(void **state)
{
    struct replay_window *window;
    assert_int_equal(replay_window_create(1, WINDOW_MS, &window), ERR_OK);
    for (int i = 0; i < 3; i++) {
        struct rig r, other;
        struct link l;
        rig_start(&r, &(struct rig_config){.policy = early, .window = window});
        struct rig_config refusing = {.policy = early, .window = window, .keys = r.keys};
        if (i == 0) {
            refusing.policy.takes_early_data = false;
        } else if (i == 1) {
            refusing.window = NULL;
        } else {
            assert_int_equal(replay_window_add(window, STR("fills it"), time(NULL)), ERR_OK);
        }
        rig_start(&other, &refusing);
        gnutls_datum_t session = session_of(&r, &plain_client);
        struct link_config config = early_client(&session);
        link_connect(&l, &other, &config);
        /* The connection itself works, resumed. */
        assert_true(link_is_up(&l));
        assert_true(tls_conn_is_resumed(l.conn));
        assert_int_equal(l.got_early.n, 0);
        assert_int_equal(l.got.n, 0);
        link_client_write(&l, STR("again"));
        link_feed_server(&l);
        assert_true(str_eq(buf_str(&l.got), STR("again")));
        link_close(&l);
        gnutls_free(session.data);
        rig_stop(&other);
        rig_stop(&r);
    }
    assert_int_equal(replay_window_counts(window).full, 1);
    replay_window_unref(window);
}

static int teardown(void **state)
{
    world_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resumption),
        cmocka_unit_test(test_one_ticket_per_connection),
        cmocka_unit_test(test_no_tickets_without_keys),
        cmocka_unit_test(test_a_ticket_is_good_for_its_name_only),
        cmocka_unit_test(test_a_ticket_is_good_for_its_policy_only),
        cmocka_unit_test(test_an_open_name_does_not_open_another),
        cmocka_unit_test(test_a_resumed_client_is_still_known),
        cmocka_unit_test(test_a_resumed_client_is_judged_again),
        cmocka_unit_test(test_tickets_survive_reload_and_upgrade),
        cmocka_unit_test(test_keys_rotate),
        cmocka_unit_test(test_seeds_agree_without_talking),
        cmocka_unit_test(test_replays_are_seen),
        cmocka_unit_test(test_early_data),
        cmocka_unit_test(test_early_data_is_taken_once),
        cmocka_unit_test(test_early_data_that_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
