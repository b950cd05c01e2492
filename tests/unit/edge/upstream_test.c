/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of endpoints that change while requests are under way, by hand and by many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "base/mem.h"
#include "edge/endpoint.h"
#include "edge/pipeline.h"
#include "edge/upstream.h"

#define THREADS 4
#define LISTS 2000

/* What a loop has, without its server. */
struct seat {
    struct pipeline pipeline;
    struct metrics *metrics;
    struct upstream_view view;
};

static struct site *make_site(const char *text, const struct site *before)
{
    struct diag_list diags;
    struct settings *settings = NULL;
    struct site *site = NULL;
    diag_list_init(&diags);
    mem_test_fail_at(0);
    assert_int_equal(settings_load_text("t.yaml", str_of(text), NULL, &settings, &diags), ERR_OK);
    assert_int_equal(site_create(settings, before, &site, &diags), ERR_OK);
    diag_list_done(&diags);
    return site;
}

static void seat_init(struct seat *s)
{
    const struct metrics_options options = {.loop_count = 1};
    *s = (struct seat){0};
    assert_int_equal(metrics_create(&options, &s->metrics), ERR_OK);
    assert_int_equal(loop_create(POLLER_KIND_SIM, &s->pipeline.loop), ERR_OK);
    s->pipeline.metrics = metrics_block(s->metrics, 0);
    s->pipeline.id_state[0] = 1;
}

static void seat_done(struct seat *s)
{
    upstream_view_done(&s->view);
    loop_destroy(s->pipeline.loop);
    metrics_destroy(s->metrics);
}

static struct member told(const char *name, const char *url)
{
    return (struct member){.name = str_of(name), .url = str_of(url), .weight = 1};
}

static const char TWO[] = "hosts: [{domains: a.test, backend: {balance: first,"
                          " proxy: [\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"]}}]\n";

static void publish(const struct site *site, const struct member *list, size_t n)
{
    struct fault fault;
    assert_int_equal(site_publish_members(site, STR("a.test"), list, n, &fault), ERR_OK);
}

static uint64_t figure(const struct upstream *u, const char *name, enum endpoint_figure f)
{
    const struct upstream_endpoint *e = members_find(upstream_members(u), str_of(name));
    assert_non_null(e);
    return endpoint_figure(e->state, f, 0);
}

static void test_publish(void **state)
{
    struct site *site = make_site(TWO, NULL);
    const struct upstream *u = site_find_backend(site, STR("a.test"));
    const struct member list[2] = {told("http://127.0.0.1:2", "http://127.0.0.1:2"),
                                   told("new", "unix:/run/new.sock")};
    struct seat seat;
    seat_init(&seat);
    struct upstream_use one = {.view = &seat.view}, other = {.view = &seat.view};
    assert_true(upstream_pick(&seat.pipeline, u, &one));
    assert_true(str_eq(one.endpoint->name, STR("http://127.0.0.1:1")));
    assert_int_equal(figure(u, "http://127.0.0.1:1", ENDPOINT_IN_FLIGHT), 1);
    endpoint_failed(members_find(upstream_members(u), STR("http://127.0.0.1:2"))->state, 0, 1);

    publish(site, list, 2);
    /* The one that is under way has its endpoint, which is in no list any more. */
    assert_true(str_eq(one.endpoint->name, STR("http://127.0.0.1:1")));
    assert_null(members_find(upstream_members(u), STR("http://127.0.0.1:1")));
    assert_int_equal(figure(u, "http://127.0.0.1:2", ENDPOINT_FAILURES), 1);
    assert_true(upstream_pick(&seat.pipeline, u, &other));
    assert_true(str_eq(other.endpoint->name, STR("http://127.0.0.1:2")));
    upstream_end(u, &other);
    /* Its next try goes by the new list. */
    upstream_release(u, &one);
    assert_true(upstream_pick(&seat.pipeline, u, &one));
    assert_true(str_eq(one.endpoint->name, STR("http://127.0.0.1:2")));
    upstream_release(u, &one);
    assert_true(upstream_pick(&seat.pipeline, u, &one));
    assert_true(str_eq(one.endpoint->name, STR("new")));
    upstream_release(u, &one);

    /* Nobody is left, then one that was tried is back under another place. */
    publish(site, NULL, 0);
    assert_false(upstream_pick(&seat.pipeline, u, &one));
    assert_null(one.endpoint);
    publish(site, &list[1], 1);
    assert_true(upstream_pick(&seat.pipeline, u, &one));
    upstream_end(u, &one);
    assert_int_equal(figure(u, "new", ENDPOINT_IN_FLIGHT), 0);
    seat_done(&seat);
    site_unref(site);
    (void)state;
}

/* What was tried in the old list is not tried again in the new one while there is another. */
static void test_tried(void **state)
{
    struct site *site = make_site(TWO, NULL);
    const struct upstream *u = site_find_backend(site, STR("a.test"));
    const struct member list[3] = {told("http://127.0.0.1:2", "http://127.0.0.1:2"),
                                   told("http://127.0.0.1:1", "http://127.0.0.1:1"),
                                   told("c", "http://127.0.0.1:3")};
    struct seat seat;
    seat_init(&seat);
    struct upstream_use use = {.view = &seat.view};
    for (unsigned i = 0; i < 2; i++) {
        assert_true(upstream_pick(&seat.pipeline, u, &use));
        upstream_release(u, &use);
    }
    publish(site, list, 3);
    assert_true(upstream_pick(&seat.pipeline, u, &use));
    assert_true(str_eq(use.endpoint->name, STR("c")));
    upstream_end(u, &use);
    seat_done(&seat);
    site_unref(site);
    (void)state;
}

static void test_wrong(void **state)
{
    struct site *site = make_site(TWO, NULL);
    const struct upstream *u = site_find_backend(site, STR("a.test"));
    const struct members *before = upstream_members(u);
    const struct member doubles[2] = {told("a", "http://127.0.0.1:2"),
                                      told("a", "http://127.0.0.1:3")};
    const struct member wrong = told("a", "gopher://x"), tls = told("a", "https://a.test");
    struct fault fault;
    assert_int_equal(upstream_publish(u, doubles, 2, &fault), ERR_EXISTS);
    assert_int_equal(upstream_publish(u, &wrong, 1, &fault), ERR_CONFIG);
    assert_int_equal(upstream_publish(u, &tls, 1, &fault), ERR_CONFIG);
    assert_int_equal(site_publish_members(site, STR("b.test"), &tls, 1, &fault), ERR_NOT_FOUND);
    assert_ptr_equal(upstream_members(u), before);
    site_unref(site);
    (void)state;
}

/* A reload keeps what is known by name, and gives every route of a host that says nothing else the
 * one backend of its host. */
static void test_reload(void **state)
{
    static const char after_text[] =
        "hosts:\n"
        "- domains: a.test\n"
        "  backend: {balance: rr, proxy: [\"http://127.0.0.1:2\", \"http://127.0.0.1:3\"]}\n"
        "  routes:\n"
        "  - {path: /same, charset: \"\"}\n"
        "  - {path: /own, backend: \"http://127.0.0.1:2\"}\n"
        "  - {path: /own, methods: [PUT], backend: \"http://127.0.0.1:4\"}\n";
    struct site *site = make_site(TWO, NULL), *after;
    struct endpoint *two =
        members_find(upstream_members(site->upstreams[0]), STR("http://127.0.0.1:2"))->state;
    endpoint_failed(two, 0, 1);
    after = make_site(after_text, site);
    site_unref(site);
    assert_int_equal(after->upstream_count, 3);
    const struct upstream *u = site_find_backend(after, STR("a.test"));
    assert_ptr_equal(after->host_list[0].routes[0].upstream, u);
    assert_ptr_equal(members_find(upstream_members(u), STR("http://127.0.0.1:2"))->state, two);
    assert_int_equal(figure(u, "http://127.0.0.1:3", ENDPOINT_FAILURES), 0);
    assert_non_null(site_find_backend(after, STR("a.test/own")));
    assert_non_null(site_find_backend(after, STR("a.test/own#2")));
    struct buf out;
    buf_init(&out, 0);
    buf_add_char(&out, '[');
    site_write_endpoints_json(after, 0, &out);
    site_write_endpoints_prometheus(after, 0, &out);
    buf_add_char(&out, '\0');
    assert_non_null(strstr(out.p, "[{\"backend\":\"a.test\",\"endpoint\":\"http://127.0.0.1:2\","));
    assert_non_null(strstr(out.p, "\"failures\":1,"));
    assert_non_null(
        strstr(out.p, "\nsws_endpoint_in{backend=\"a.test/own#2\",endpoint=\"http://127.0.0.1:4\"} "
                      "1\n"));
    buf_done(&out);
    site_unref(after);
    (void)state;
}

static enum err publish_failing(const struct upstream *u, struct seat *seat)
{
    const struct member list[2] = {told("http://127.0.0.1:2", "http://127.0.0.1:2"),
                                   told("new", "http://127.0.0.1:4")};
    struct fault fault;
    struct upstream_use use = {.view = &seat->view};
    enum err e = upstream_publish(u, list, 2, &fault);
    if (!e && !upstream_pick(&seat->pipeline, u, &use)) {
        e = ERR_NOMEM;
    }
    upstream_end(u, &use);
    return e;
}

static void test_allocations(void **state)
{
    enum err e = ERR_NOMEM;
    unsigned long n = 0;
    while (e == ERR_NOMEM) {
        struct site *site = make_site(TWO, NULL);
        struct seat seat;
        seat_init(&seat);
        mem_test_fail_at(++n);
        e = publish_failing(site->upstreams[0], &seat);
        mem_test_fail_at(0);
        seat_done(&seat);
        site_unref(site);
    }
    assert_int_equal(e, ERR_OK);
    assert_int_equal(n, 4); /* the list, an endpoint, what a loop knows of the list */
    (void)state;
}

static void test_marks(void **state)
{
    uint8_t key[STICKY_KEY_BYTES];
    char mark[STICKY_MARK_BYTES], other[STICKY_MARK_BYTES];
    enum err e = ERR_NOMEM;
    unsigned long n = 0;
    for (unsigned i = 0; i < sizeof(key); i++) {
        key[i] = (uint8_t)i;
    }
    sticky_set_key(key);
    while (e == ERR_NOMEM) {
        mem_test_fail_at(++n);
        e = sticky_mark(STR("app"), STR("http://a"), mark);
    }
    mem_test_fail_at(0);
    assert_int_equal(e, ERR_OK);
    assert_true(n > 1);
    assert_memory_equal(mark, "NWM56RVhK6PPOie1ab_inQ", STICKY_MARK_BYTES);
    assert_int_equal(sticky_mark(STR("app"), STR("http://b"), other), ERR_OK);
    assert_memory_not_equal(mark, other, STICKY_MARK_BYTES);
    assert_int_equal(sticky_mark(STR("apph"), STR("ttp://a"), other), ERR_OK);
    assert_memory_not_equal(mark, other, STICKY_MARK_BYTES);
    (void)state;
}

/* ---- many threads ---- */

struct asker {
    pthread_t thread;
    struct seat seat;
    const struct upstream *upstream;
    const atomic_bool *is_over;
    uint64_t seed;
    uint64_t count;
    atomic_ulong rounds;
};

/* Requests that overlap and end in another order than they began. */
static void *ask(void *context)
{
    struct asker *a = context;
    struct upstream_use uses[8];
    for (unsigned i = 0; i < COUNT_OF(uses); i++) {
        uses[i] = (struct upstream_use){.view = &a->seat.view};
    }
    while (!atomic_load(a->is_over)) {
        a->seed = a->seed * 6364136223846793005u + 1442695040888963407u;
        struct upstream_use *use = &uses[a->seed >> 33 & 7];
        if (a->seed >> 40 & 1) {
            upstream_end(a->upstream, use);
            *use = (struct upstream_use){.view = &a->seat.view};
        } else {
            upstream_release(a->upstream, use);
        }
        if (upstream_pick(&a->seat.pipeline, a->upstream, use)) {
            upstream_answered(&a->seat.pipeline, a->upstream, use, a->seed >> 41 & 1 ? 200 : 503);
            a->count++;
        }
        atomic_fetch_add(&a->rounds, 1);
    }
    for (unsigned i = 0; i < COUNT_OF(uses); i++) {
        upstream_end(a->upstream, &uses[i]);
    }
    return NULL;
}

static void test_threads(void **state)
{
    static struct asker askers[THREADS];
    struct site *site = make_site(TWO, NULL);
    const struct upstream *u = site->upstreams[0];
    atomic_bool is_over = false;
    char names[6][24];
    struct member list[6];
    for (unsigned i = 0; i < 6; i++) {
        snprintf(names[i], sizeof(names[i]), "http://127.0.0.1:%u", i + 1);
        list[i] = told(names[i], names[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        askers[i] = (struct asker){.upstream = u, .is_over = &is_over, .seed = i + 1};
        seat_init(&askers[i].seat);
        askers[i].seat.pipeline.id_state[0] = i + 1;
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
    for (unsigned i = 0; i < LISTS; i++) {
        unsigned long seen = atomic_load(&askers[i % THREADS].rounds);
        publish(site, &list[i % 3], i % 7 ? 1 + i % 3 : 0);
        while (i % 10 == 0 && atomic_load(&askers[i % THREADS].rounds) == seen) {
            sched_yield();
        }
    }
    publish(site, list, 6);
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(askers[i].thread, NULL), 0);
        assert_true(askers[i].count > 0);
        seat_done(&askers[i].seat);
    }
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(figure(u, names[i], ENDPOINT_IN_FLIGHT), 0);
    }
    site_unref(site);
    (void)state;
}

static const char PROCESS[] =
    "hosts: [{domains: a.test, backend: {process: node a.js}, routes: ["
    "{path: /x, backend: {timeout: {first: 1s}}}, {path: /y, backend: {process: {env: {A: b}}}}]}]";

static struct client_end no_connection(void)
{
    return (struct client_end){.fault = CLIENT_FAULT_CONNECT, .detail = ""};
}

static unsigned turns, vain_turns;

static void on_turn(struct upstream_use *use)
{
    *(use->endpoint ? &turns : &vain_turns) += 1;
}

static void pass(struct seat *s, uint64_t ms)
{
    uint64_t end_ns = loop_now_ns(s->pipeline.loop) + ms * 1000000u;
    while (loop_now_ns(s->pipeline.loop) < end_ns) {
        loop_turn(s->pipeline.loop, end_ns);
    }
}

/* Requests wait for an instance, as many as may, and one that has just ended has a successor. */
static void test_process(void **state)
{
    enum { WAITERS = 256 };
    static struct upstream_use uses[WAITERS + 1];
    struct site *site = make_site(PROCESS, NULL);
    const struct upstream *u = site_find_backend(site, STR("a.test"));
    const struct member list[1] = {told("one", "http://127.0.0.1:1")};
    const struct client_end end = no_connection();
    struct seat seat;
    seat_init(&seat);
    assert_int_equal(site->upstream_count, 3);
    assert_true(str_eq(upstream_settings(site->upstreams[1])->process.name, STR("a.test")));
    assert_true(str_eq(upstream_settings(site->upstreams[2])->process.name, STR("a.test/y")));
    turns = vain_turns = 0;
    for (unsigned i = 0; i <= WAITERS; i++) {
        uses[i] = (struct upstream_use){.view = &seat.view};
        assert_int_equal(upstream_pick_or_wait(&seat.pipeline, u, &uses[i], on_turn),
                         i < WAITERS ? UPSTREAM_WAITS : UPSTREAM_REFUSED);
    }
    assert_int_equal(metrics_get(seat.metrics, METRICS_UPSTREAM_WAITING), WAITERS);
    upstream_end(u, &uses[0]);
    upstream_end(u, &uses[0]);
    assert_int_equal(upstream_pick_or_wait(&seat.pipeline, u, &uses[WAITERS], on_turn),
                     UPSTREAM_WAITS);
    pass(&seat, 1500);
    assert_int_equal(turns + vain_turns, 0);
    publish(site, list, 1);
    pass(&seat, 20);
    assert_int_equal(turns, WAITERS);
    for (unsigned i = 0; i <= WAITERS; i++) {
        upstream_end(u, &uses[i]);
    }
    uses[0] = (struct upstream_use){.view = &seat.view};
    unsigned tries = 0;
    do {
        tries++;
        assert_true(upstream_pick(&seat.pipeline, u, &uses[0]));
    } while (upstream_report(&seat.pipeline, u, &uses[0], &end, true, true));
    assert_int_equal(tries, 12);
    /* It may take as long as a connection; then it is in vain, and not waited for again. */
    publish(site, list, 0);
    assert_int_equal(upstream_pick_or_wait(&seat.pipeline, u, &uses[0], on_turn), UPSTREAM_WAITS);
    pass(&seat, 1990);
    assert_int_equal(vain_turns, 0);
    pass(&seat, 20);
    assert_int_equal(vain_turns, 1);
    assert_int_equal(upstream_pick_or_wait(&seat.pipeline, u, &uses[0], on_turn), UPSTREAM_REFUSED);
    upstream_end(u, &uses[0]);
    assert_int_equal(metrics_get(seat.metrics, METRICS_UPSTREAM_WAITING), 0);
    seat_done(&seat);
    site_unref(site);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process), cmocka_unit_test(test_publish),
        cmocka_unit_test(test_tried),   cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_reload),  cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
