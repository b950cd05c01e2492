/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/assert.h"
#include "loop/timer.h"

struct probe {
    struct timer timer;
    uint64_t fired_ms;
    struct timer_wheel *wheel;
};

static void on_probe(struct timer *t)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);
    assert_true(p->fired_ms == 0);
    p->fired_ms = p->wheel->now_ms;
}

/* Random deadlines over all levels, random cancels and steps: each fires once, at its time. */
static void test_timers_fire_on_time(void **state)
{
    enum { COUNT = 500 };
    static struct probe probes[COUNT];
    for (unsigned seed = 1; seed < 40; seed++) {
        struct timer_wheel wheel;
        srand(seed);
        timer_wheel_init(&wheel, 123456789u * seed);
        for (int i = 0; i < COUNT; i++) {
            timer_init(&probes[i].timer, on_probe);
            probes[i].fired_ms = 0;
            probes[i].wheel = &wheel;
            uint64_t span = (uint64_t)1 << (rand() % 34);
            timer_set(&wheel, &probes[i].timer, wheel.now_ms + 1 + (uint64_t)rand() % span);
        }
        for (int i = 0; i < COUNT; i += 7) {
            timer_cancel(&probes[i].timer);
        }
        uint64_t next;
        uint64_t stalls = 0;
        while ((next = timer_wheel_next_ms(&wheel)) != UINT64_MAX) {
            assert_true(next > wheel.now_ms);
            /* Half of the time step right to the next event, else in the middle of nowhere. */
            timer_wheel_advance(&wheel,
                                rand() % 2 ? next : wheel.now_ms + (next - wheel.now_ms + 1) / 2);
            assert_true(stalls++ < 1000000);
        }
        for (int i = 0; i < COUNT; i++) {
            if (i % 7 == 0) {
                assert_true(probes[i].fired_ms == 0);
            } else {
                assert_true(probes[i].fired_ms == probes[i].timer.deadline_ms);
            }
        }
    }
}

static struct timer_wheel chain_wheel;
static int chain_count;

static void on_chain(struct timer *t)
{
    if (++chain_count < 100) {
        timer_set(&chain_wheel, t, chain_wheel.now_ms);
    }
}

static void test_a_timer_set_in_the_past_cannot_spin(void **state)
{
    struct timer t;
    timer_wheel_init(&chain_wheel, 1000);
    timer_init(&t, on_chain);
    timer_set(&chain_wheel, &t, 5);
    timer_wheel_advance(&chain_wheel, 1001);
    assert_int_equal(chain_count, 1);
    timer_wheel_advance(&chain_wheel, 1050);
    assert_int_equal(chain_count, 50);
    timer_cancel(&t);
    timer_wheel_advance(&chain_wheel, 2000);
    assert_int_equal(chain_count, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_fire_on_time),
        cmocka_unit_test(test_a_timer_set_in_the_past_cannot_spin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
