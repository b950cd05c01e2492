/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "issuer/plan.h"

#define DAY_S 86400
#define LIFE_S (90 * DAY_S)

static struct plan_facts certificate(uint64_t seed)
{
    return (struct plan_facts){
        .has_certificate = true, .not_before_s = 0, .not_after_s = LIFE_S, .seed = seed};
}

static void test_missing_is_due_at_once(void **state)
{
    const struct plan_facts none = {.seed = 7};
    struct plan_facts begun = certificate(7);
    begun.is_under_way = true;
    assert_int_equal(plan_due_s(&none), 0);
    assert_int_equal(plan_due_s(&begun), 0);
}

static void test_renewal_is_spread(void **state)
{
    int64_t first = INT64_MAX, last = 0;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        const struct plan_facts facts = certificate(seed * 0x9e3779b97f4a7c15u);
        int64_t due_s = plan_due_s(&facts);
        assert_int_equal(due_s, plan_due_s(&facts)); /* the same after a restart */
        first = due_s < first ? due_s : first;
        last = due_s > last ? due_s : last;
    }
    assert_true(last <= 60 * DAY_S && last > 59 * DAY_S);
    assert_true(first >= LIFE_S * 2 / 3 - LIFE_S / 20 && first < 57 * DAY_S);
}

static void test_window_rules(void **state)
{
    bool is_spread = false;
    for (uint64_t seed = 1; seed < 200; seed++) {
        struct plan_facts facts = certificate(seed * 0x9e3779b97f4a7c15u);
        facts.window = (struct acme_window){10 * DAY_S, 12 * DAY_S};
        int64_t due_s = plan_due_s(&facts);
        assert_true(due_s >= 10 * DAY_S && due_s < 12 * DAY_S);
        is_spread |= due_s > 11 * DAY_S;
        /* A window that comes too late is not waited for. */
        facts.window = (struct acme_window){200 * DAY_S, 201 * DAY_S};
        assert_int_equal(plan_due_s(&facts), LIFE_S - LIFE_S / 10);
    }
    assert_true(is_spread);
}

static void test_failures_hold_back(void **state)
{
    struct plan_facts facts = certificate(3);
    facts.failures = 1;
    facts.retry_at_s = 80 * DAY_S;
    assert_int_equal(plan_due_s(&facts), 80 * DAY_S);
    facts.retry_at_s = 1;
    assert_true(plan_due_s(&facts) > DAY_S);
    facts = (struct plan_facts){.failures = 2, .retry_at_s = 55};
    assert_int_equal(plan_due_s(&facts), 55);
}

static void test_pauses_grow(void **state)
{
    int64_t before[2] = {0, 0};
    for (unsigned n = 1; n < 100; n++) {
        for (int is_unreachable = 0; is_unreachable < 2; is_unreachable++) {
            int64_t pause_s = plan_pause_s(n, is_unreachable, 42);
            assert_true(pause_s >= 1);
            assert_true(pause_s <= (is_unreachable ? 600 : DAY_S));
            assert_true(n > 9 || pause_s > before[is_unreachable]);
            before[is_unreachable] = pause_s;
        }
    }
    assert_true(before[0] > DAY_S / 2 && before[1] > 300);
}

static void test_limit_of_the_hour(void **state)
{
    struct plan_orders orders = {.count = 0};
    int64_t now_s = 1000000;
    unsigned made = 0;
    /* Whoever asks every second for three hours gets ten an hour. */
    for (int64_t end_s = now_s + 3 * 3600; now_s < end_s; now_s++) {
        if (plan_allowed_s(&orders, now_s) == now_s) {
            plan_add_order(&orders, now_s);
            made++;
        } else {
            assert_true(plan_allowed_s(&orders, now_s) > now_s);
            assert_true(plan_allowed_s(&orders, now_s) <= now_s + 3600);
        }
    }
    assert_int_equal(made, 3 * PLAN_ORDERS_PER_HOUR);
    /* A clock that was set back a year does not stop us for a year. */
    assert_int_equal(plan_allowed_s(&orders, now_s - 365 * DAY_S), now_s - 365 * DAY_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_is_due_at_once),
        cmocka_unit_test(test_renewal_is_spread),
        cmocka_unit_test(test_window_rules),
        cmocka_unit_test(test_failures_hold_back),
        cmocka_unit_test(test_pauses_grow),
        cmocka_unit_test(test_limit_of_the_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
