/* SPDX-License-Identifier: Apache-2.0 */
/* The choice of endpoints by table, and shares counted over many turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "edge/endpoint.h"

#define NOW 1000000u

static const struct balance_rules RULES = {
    .policy = BALANCE_RR, .in_flight_max = 4, .slow_start_ms = 30000};

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state ^ *state >> 29;
}

/* How often each of `n` endpoints is chosen in `turns` turns; the last cell counts refusals. */
static void count_turns(const struct balance_rules *rules, const struct balance_endpoint *list,
                        size_t n, unsigned turns, unsigned *ret_counts)
{
    uint64_t random = 1;
    memset(ret_counts, 0, (n + 1) * sizeof(*ret_counts));
    for (unsigned i = 0; i < turns; i++) {
        bool is_panic;
        const struct balance_turn turn = {NOW, next_random(&random), i, 0};
        size_t at = balance_pick(rules, list, n, &turn, &is_panic);
        ret_counts[at == BALANCE_NONE ? n : at]++;
    }
}

static void test_turns(void **state)
{
    struct balance_endpoint list[3] = {{.weight = 1}, {.weight = 1}, {.weight = 1}};
    unsigned counts[4];
    for (unsigned i = 0; i < 9; i++) {
        bool is_panic;
        const struct balance_turn turn = {NOW, 0, i, 0};
        assert_int_equal(balance_pick(&RULES, list, 3, &turn, &is_panic), i % 3);
        assert_false(is_panic);
    }
    list[0].weight = 5;
    list[1].weight = 2;
    count_turns(&RULES, list, 3, 800, counts);
    assert_int_equal(counts[0], 500);
    assert_int_equal(counts[1], 200);
    assert_int_equal(counts[2], 100);
    /* No endpoint has more than two thirds of any window, were it in one block it had all. */
    unsigned in_window = 0;
    for (unsigned i = 0; i < 8; i++) {
        bool is_panic;
        const struct balance_turn turn = {NOW, 0, i, 0};
        in_window += i < 4 && balance_pick(&RULES, list, 3, &turn, &is_panic) == 0;
    }
    assert_in_range(in_window, 2, 3);
    (void)state;
}

static void test_slow_start(void **state)
{
    /* Just back: a tenth; half way: 55 %; then all. */
    static const struct {
        uint64_t since_ms;
        unsigned least, most;
    } rows[] = {{0, 180, 182}, {15000, 709, 710}, {30000, 1000, 1000}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct balance_endpoint list[2] = {{.weight = 1},
                                           {.weight = 1, .out_until_ms = NOW - rows[i].since_ms}};
        unsigned counts[3];
        count_turns(&RULES, list, 2, 2000, counts);
        assert_in_range(counts[1], rows[i].least, rows[i].most);
    }
    (void)state;
}

static void test_who_can(void **state)
{
    struct balance_endpoint list[4] = {
        {.weight = 1}, {.weight = 1}, {.weight = 1, .is_backup = true}, {.weight = 1}};
    static const enum balance_policy policies[] = {BALANCE_P2C, BALANCE_RR, BALANCE_LEAST,
                                                   BALANCE_FIRST};
    for (size_t i = 0; i < 4; i++) {
        struct balance_rules rules = RULES;
        unsigned counts[5];
        rules.policy = policies[i];
        /* One is out, one is full: the third; then it is tried: the backup; then all again. */
        list[0].out_until_ms = NOW + 1;
        list[1].in_flight = 4;
        list[2].in_flight = list[3].in_flight = 0;
        list[2].is_tried = list[3].is_tried = false;
        count_turns(&rules, list, 4, 50, counts);
        assert_int_equal(counts[3], 50);
        list[3].is_tried = true;
        count_turns(&rules, list, 4, 50, counts);
        assert_int_equal(counts[2], 50);
        list[2].is_tried = true;
        count_turns(&rules, list, 4, 50, counts);
        assert_int_equal(counts[3], 50);
        list[2].in_flight = list[3].in_flight = 4;
        count_turns(&rules, list, 4, 50, counts);
        assert_int_equal(counts[4], 50);
    }
    (void)state;
}

static void test_panic(void **state)
{
    struct balance_endpoint list[4] = {{.weight = 1, .out_until_ms = NOW + 1},
                                       {.weight = 1, .out_until_ms = NOW + 1},
                                       {.weight = 1, .out_until_ms = NOW + 1},
                                       {.weight = 1}};
    const struct balance_turn turn = {NOW, 0, 0, 0};
    unsigned counts[5];
    bool is_panic;
    count_turns(&RULES, list, 4, 400, counts);
    assert_int_equal(counts[0], 100);
    (void)balance_pick(&RULES, list, 4, &turn, &is_panic);
    assert_true(is_panic);
    /* Half of them is enough, and so is a backup. */
    list[2].out_until_ms = 0;
    (void)balance_pick(&RULES, list, 4, &turn, &is_panic);
    assert_false(is_panic);
    count_turns(&RULES, list, 4, 400, counts);
    assert_int_equal(counts[0] + counts[1], 0);
    list[2].out_until_ms = NOW + 1;
    list[3].is_backup = true;
    (void)balance_pick(&RULES, list, 4, &turn, &is_panic);
    assert_false(is_panic);
    count_turns(&RULES, list, 4, 400, counts);
    assert_int_equal(counts[3], 400);
    (void)state;
}

static void test_cheapest(void **state)
{
    struct balance_rules rules = RULES;
    struct balance_endpoint list[2] = {{.weight = 1, .in_flight = 2, .latency_us = 1000},
                                       {.weight = 1, .in_flight = 0, .latency_us = 2900}};
    unsigned counts[3];
    rules.policy = BALANCE_P2C;
    count_turns(&rules, list, 2, 100, counts);
    assert_int_equal(counts[1], 100);
    list[1].latency_us = 3100;
    count_turns(&rules, list, 2, 100, counts);
    assert_int_equal(counts[0], 100);
    list[1].weight = 2;
    count_turns(&rules, list, 2, 100, counts);
    assert_int_equal(counts[1], 100);
    /* One of which nothing is known is not free: it may have eight times as many at most. */
    rules.in_flight_max = 100;
    list[1] = (struct balance_endpoint){.weight = 1, .in_flight = 24};
    count_turns(&rules, list, 2, 100, counts);
    assert_int_equal(counts[0], 100);
    /* The greatest values do not overflow. */
    rules.in_flight_max = 1000000;
    list[0] =
        (struct balance_endpoint){.weight = 1000, .in_flight = 999999, .latency_us = 60000000};
    list[1] =
        (struct balance_endpoint){.weight = 1000, .in_flight = 999998, .latency_us = 60000000};
    count_turns(&rules, list, 2, 100, counts);
    assert_int_equal(counts[1], 100);
    rules.policy = BALANCE_LEAST;
    count_turns(&rules, list, 2, 100, counts);
    assert_int_equal(counts[1], 100);
    rules.policy = BALANCE_FIRST;
    count_turns(&rules, list, 2, 100, counts);
    assert_int_equal(counts[0], 100);
    (void)state;
}

static void test_hash(void **state)
{
    struct balance_rules rules = RULES;
    struct balance_endpoint list[4] = {{.weight = 1}, {.weight = 1}, {.weight = 2}, {.weight = 1}};
    unsigned counts[4] = {0}, moved = 0;
    rules.policy = BALANCE_HASH;
    rules.in_flight_max = 1000;
    for (size_t i = 0; i < 4; i++) {
        char name[2] = {(char)('a' + i), 0};
        list[i].hash = balance_hash(str_of(name));
    }
    assert_true(balance_hash(STR("")) == 0xf52a15e9a9b5e89bu);
    for (unsigned i = 0; i < 10000; i++) {
        char text[16];
        bool is_panic;
        snprintf(text, sizeof(text), "key %u", i);
        struct balance_turn turn = {NOW, i, i, balance_hash(str_of(text))};
        list[3].out_until_ms = 0;
        size_t before = balance_pick(&rules, list, 4, &turn, &is_panic);
        assert_in_range(before, 0, 3);
        counts[before]++;
        turn.random = turn.tick = 0;
        assert_int_equal(balance_pick(&rules, list, 4, &turn, &is_panic), before);
        /* Who goes moves its own keys only. */
        list[3].out_until_ms = NOW + 1;
        size_t after = balance_pick(&rules, list, 4, &turn, &is_panic);
        assert_true(after == before || before == 3);
        moved += after != before;
    }
    assert_int_equal(moved, counts[3]);
    for (unsigned i = 0; i < 4; i++) {
        assert_in_range(counts[i], i == 2 ? 3600 : 1700, i == 2 ? 4400 : 2300);
    }
    /* One key for all: nobody has more than 1.25 of their share, and one more. */
    list[3].out_until_ms = 0;
    list[2].weight = 1;
    for (unsigned i = 0; i < 400; i++) {
        bool is_panic;
        const struct balance_turn turn = {NOW, i, i, 7};
        size_t at = balance_pick(&rules, list, 4, &turn, &is_panic);
        assert_in_range(at, 0, 3);
        list[at].in_flight++;
        assert_true(list[at].in_flight <= (i + 1) * 5 / 16 + 1);
    }
    (void)state;
}

static void test_ejection(void **state)
{
    struct balance_endpoint list[4] = {{.weight = 1}, {.weight = 1}, {.weight = 1}, {.weight = 1}};
    assert_false(balance_may_eject(list, 1, 0, NOW, 500000));
    assert_true(balance_may_eject(list, 2, 0, NOW, 500000));
    assert_true(balance_may_eject(list, 3, 0, NOW, 500000));
    list[1].out_until_ms = NOW + 1;
    assert_false(balance_may_eject(list, 2, 0, NOW, 500000));
    assert_false(balance_may_eject(list, 3, 0, NOW, 500000));
    assert_true(balance_may_eject(list, 4, 0, NOW, 500000));
    list[2].is_backup = true;
    assert_true(balance_may_eject(list, 3, 0, NOW, 500000));
    assert_false(balance_may_eject(list, 3, 2, NOW, 500000));
    list[2].is_backup = false;
    assert_true(balance_may_eject(list, 3, 0, NOW, 700000));
    assert_true(balance_may_eject(list, 1, 0, NOW, 1000000));
    /* Who is drained is no part of them. */
    list[3].is_drained = true;
    assert_false(balance_may_eject(list, 4, 0, NOW, 500000));
    assert_int_equal(balance_ejection_ms(10000, 1), 10000);
    assert_int_equal(balance_ejection_ms(10000, 3), 30000);
    assert_int_equal(balance_ejection_ms(10000, 31), 300000);
    assert_int_equal(balance_ejection_ms(10000, UINT32_MAX), 300000);
    (void)state;
}

static void test_latency(void **state)
{
    assert_int_equal(balance_learn(0, 5, 100), 100);
    assert_int_equal(balance_learn(100, 5, 900), 900); /* a peak counts at once */
    assert_int_equal(balance_learn(1000, 6930, 200), 600);
    assert_int_equal(balance_learn(1000, 0, 200), 1000);
    assert_int_equal(balance_learn(1000, 1000000000, 200), 200);
    assert_int_equal(balance_learn(0, 0, UINT32_MAX), 60000000);
    assert_int_equal(balance_decay(1000, 0), 1000);
    assert_int_equal(balance_decay(1000, 6930), 500);
    assert_int_equal(balance_decay(UINT32_MAX, UINT64_MAX), 0);
    uint32_t before = balance_decay(60000000, 0);
    for (uint64_t age = 1; age < 300000; age += 7) {
        uint32_t now = balance_decay(60000000, age);
        assert_true(now <= before);
        before = now;
    }
    (void)state;
}

static void test_retries(void **state)
{
    assert_true(balance_may_retry(0, 2, 200000));
    assert_false(balance_may_retry(15, 3, 200000));
    assert_true(balance_may_retry(100, 19, 200000));
    assert_false(balance_may_retry(100, 20, 200000));
    assert_true(balance_may_retry(100, 99, 1000000));
    assert_false(balance_may_retry(UINT32_MAX, 3, 0));
    static const uint32_t most[] = {25, 50, 100, 200, 250, 250};
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(balance_retry_pause_ms(i + 1, most[i]), most[i]);
        assert_int_equal(balance_retry_pause_ms(i + 1, most[i] + 1), 0);
    }
    assert_int_equal(balance_retry_pause_ms(4000000000u, 250), 250);
    (void)state;
}

/* What checks and operators say. */
static void test_health(void **state)
{
    struct balance_endpoint list[4] = {{.weight = 1, .is_down = true},
                                       {.weight = 1, .is_waiting = true},
                                       {.weight = 1, .is_drained = true},
                                       {.weight = 1}};
    const struct balance_turn turn = {NOW, 0, 0, 0};
    unsigned counts[5];
    bool is_panic;
    (void)balance_pick(&RULES, list, 4, &turn, &is_panic);
    assert_false(is_panic); /* one of two that count */
    count_turns(&RULES, list, 4, 100, counts);
    assert_int_equal(counts[3], 100);
    /* Fewer than half are in: all but the one that is drained. */
    list[3].is_down = true;
    (void)balance_pick(&RULES, list, 4, &turn, &is_panic);
    assert_true(is_panic);
    count_turns(&RULES, list, 4, 300, counts);
    assert_int_equal(counts[0], 100);
    assert_int_equal(counts[1], 100);
    assert_int_equal(counts[2], 0);
    /* Who joins later makes no panic of one that is in, and serves where nobody is known. */
    list[0] = list[2] = list[1];
    list[3] = (struct balance_endpoint){.weight = 1};
    (void)balance_pick(&RULES, list, 4, &turn, &is_panic);
    assert_false(is_panic);
    count_turns(&RULES, list, 4, 100, counts);
    assert_int_equal(counts[3], 100);
    count_turns(&RULES, list, 3, 300, counts);
    assert_int_equal(counts[0], 100);
    (void)balance_pick(&RULES, list, 3, &turn, &is_panic);
    assert_false(is_panic);
    /* Nobody is asked where all are drained. */
    list[0] = (struct balance_endpoint){.weight = 1, .is_drained = true};
    assert_int_equal(balance_pick(&RULES, list, 1, &turn, &is_panic), BALANCE_NONE);
    (void)state;
}

static void test_zones(void **state)
{
    struct balance_endpoint list[4] = {
        {.weight = 1, .is_far = true}, {.weight = 1, .is_far = true}, {.weight = 1}, {.weight = 1}};
    const struct balance_turn turn = {NOW, 0, 0, 0};
    unsigned counts[5];
    bool is_panic;
    count_turns(&RULES, list, 4, 100, counts);
    assert_int_equal(counts[2] + counts[3], 100);
    /* Half of it is enough, of those that are no backups. */
    list[2].is_down = true;
    count_turns(&RULES, list, 4, 100, counts);
    assert_int_equal(counts[3], 100);
    /* What this request has tried already is left to the others. */
    list[3].is_tried = true;
    count_turns(&RULES, list, 4, 100, counts);
    assert_int_equal(counts[0] + counts[1], 100);
    list[3].is_tried = false;
    list[3].in_flight = 4;
    count_turns(&RULES, list, 4, 100, counts);
    assert_int_equal(counts[0], 50);
    list[3].in_flight = 0;
    /* What is out elsewhere is no alarm here. */
    list[0].is_down = list[1].is_down = true;
    (void)balance_pick(&RULES, list, 4, &turn, &is_panic);
    assert_false(is_panic);
    count_turns(&RULES, list, 4, 100, counts);
    assert_int_equal(counts[3], 100);
    /* Fewer than half of ours: all that are in. */
    list[0].is_down = list[1].is_down = false;
    list[3].is_down = true;
    count_turns(&RULES, list, 4, 100, counts);
    assert_int_equal(counts[0], 50);
    assert_int_equal(counts[1], 50);
    (void)state;
}

static void test_rate(void **state)
{
    struct balance_window list[6] = {{100, 1}, {100, 3}, {100, 2}, {100, 0}, {100, 30}, {99, 99}};
    bool is_out[6];
    assert_int_equal(balance_by_rate(list, 6, is_out), 1);
    assert_true(is_out[4]);
    /* Four, or too few requests, say nothing. */
    assert_int_equal(balance_by_rate(list, 4, is_out), 0);
    list[4].requests = 99;
    assert_int_equal(balance_by_rate(list, 6, is_out), 0);
    assert_false(is_out[4]);
    /* Chance is none. */
    list[4] = (struct balance_window){100, 11};
    assert_int_equal(balance_by_rate(list, 5, is_out), 0);
    list[4].failures = 12;
    assert_int_equal(balance_by_rate(list, 5, is_out), 1);
    /* Neither is what all have. */
    for (unsigned i = 0; i < 6; i++) {
        list[i] = (struct balance_window){1000000, 900000 + i * 10000};
    }
    assert_int_equal(balance_by_rate(list, 6, is_out), 0);
    list[2].failures = 2000000;
    list[3].requests = UINT64_MAX;
    assert_int_equal(balance_by_rate(list, 6, is_out), 0);
    list[2] = (struct balance_window){UINT32_MAX, UINT32_MAX};
    list[3] = (struct balance_window){UINT32_MAX, 0};
    list[0] = list[1] = list[4] = list[5] = list[3];
    assert_int_equal(balance_by_rate(list, 6, is_out), 1);
    assert_true(is_out[2]);
    (void)state;
}

/* ---- what is known of endpoints ---- */

static void test_endpoint(void **state)
{
    struct endpoint *a = NULL;
    struct balance_endpoint now = {0};
    mem_test_fail_at(1);
    assert_int_equal(endpoint_create(STR("http://a"), &a), ERR_NOMEM);
    mem_test_fail_at(0);
    assert_int_equal(endpoint_create(STR("http://a"), &a), ERR_OK);
    endpoint_begin(a);
    endpoint_look(a, NOW, &now);
    assert_int_equal(now.in_flight, 1);
    assert_int_equal(endpoint_failed(a, NOW, 1000), 1);
    assert_int_equal(endpoint_failed(a, NOW, 1000), 2);
    endpoint_succeeded(a, NOW, 3000);
    assert_int_equal(endpoint_failed(a, NOW, 1000), 1);
    endpoint_look(a, NOW, &now);
    assert_int_equal(now.latency_us, 3000);
    assert_true(endpoint_eject(a, NOW, 10000, ENDPOINT_FAILS_IN_ROW));
    assert_false(endpoint_eject(a, NOW + 9999, 10000, ENDPOINT_FAILS_IN_ROW));
    endpoint_look(a, NOW, &now);
    assert_int_equal(now.out_until_ms, NOW + 10000);
    assert_int_equal(now.latency_us, 0);
    /* In a row it takes longer; after five good minutes it begins again. */
    assert_true(endpoint_eject(a, NOW + 10000, 10000, ENDPOINT_FAILS_IN_ROW));
    endpoint_look(a, NOW, &now);
    assert_int_equal(now.out_until_ms, NOW + 30000);
    assert_true(endpoint_eject(a, NOW + 330001, 10000, ENDPOINT_FAILS_IN_ROW));
    endpoint_look(a, NOW, &now);
    assert_int_equal(now.out_until_ms, NOW + 340001);
    endpoint_end(a);
    endpoint_look(a, NOW, &now);
    assert_int_equal(now.in_flight, 0);
    assert_int_equal(endpoint_figure(a, ENDPOINT_IS_IN, NOW + 340000), 0);
    assert_int_equal(endpoint_figure(a, ENDPOINT_IS_IN, NOW + 340001), 1);
    /* What is said of it, once. */
    struct endpoint_news news = endpoint_take_news(a, NOW + 331000);
    assert_true(news.is_ejected && !news.is_back);
    assert_int_equal(news.out_ms, 10000);
    assert_int_equal(news.cause, ENDPOINT_FAILS_IN_ROW);
    news = endpoint_take_news(a, NOW + 331000);
    assert_false(news.is_ejected || news.is_back);
    news = endpoint_take_news(a, NOW + 340001);
    assert_true(!news.is_ejected && news.is_back);
    news = endpoint_take_news(a, NOW + 350000);
    assert_false(news.is_ejected || news.is_back);
    struct balance_window window = endpoint_take_window(a);
    assert_int_equal(window.requests, 1);
    assert_int_equal(window.failures, 3);
    endpoint_begin(a);
    endpoint_end(a);
    window = endpoint_take_window(a);
    assert_int_equal(window.requests, 1);
    assert_int_equal(window.failures, 0);
    /* From unhealthy to healthy it begins anew, from presumed it does not. */
    endpoint_set_health(a, ENDPOINT_PRESUMED, NOW + 400000);
    endpoint_set_health(a, ENDPOINT_HEALTHY, NOW + 400000);
    endpoint_look(a, NOW, &now);
    assert_int_equal(now.out_until_ms, NOW + 340001);
    endpoint_set_health(a, ENDPOINT_UNHEALTHY, NOW + 400000);
    endpoint_look(a, NOW, &now);
    assert_true(now.is_down);
    assert_int_equal(endpoint_figure(a, ENDPOINT_IS_IN, NOW + 400000), 0);
    endpoint_set_health(a, ENDPOINT_HEALTHY, NOW + 500000);
    endpoint_look(a, NOW, &now);
    assert_int_equal(now.out_until_ms, NOW + 500000);
    endpoint_set_drained(a, true);
    assert_int_equal(endpoint_figure(a, ENDPOINT_IS_IN, NOW + 500000), 0);
    assert_int_equal(endpoint_figure(a, ENDPOINT_IS_DRAINED, NOW + 500000), 1);
    assert_ptr_equal(endpoint_ref(a), a);
    endpoint_unref(a);
    endpoint_unref(a);
    endpoint_unref(NULL);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),    cmocka_unit_test(test_slow_start),
        cmocka_unit_test(test_who_can),  cmocka_unit_test(test_panic),
        cmocka_unit_test(test_cheapest), cmocka_unit_test(test_hash),
        cmocka_unit_test(test_ejection), cmocka_unit_test(test_latency),
        cmocka_unit_test(test_retries),  cmocka_unit_test(test_health),
        cmocka_unit_test(test_zones),    cmocka_unit_test(test_rate),
        cmocka_unit_test(test_endpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
