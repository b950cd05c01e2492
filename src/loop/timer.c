/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/timer.h"

#include <stddef.h>

#include "base/assert.h"

/* A timer sits at the level of the highest 6-bit digit in which its deadline differs from now,
 * in the slot of that digit. When time reaches the slot, its timers sink to lower levels. */

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms)
{
    w->now_ms = now_ms;
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        w->occupied[level] = 0;
        for (unsigned slot = 0; slot < TIMER_SLOTS; slot++) {
            list_init(&w->slots[level][slot]);
        }
    }
}

void timer_init(struct timer *t, timer_fn on_timeout)
{
    list_init(&t->link);
    t->deadline_ms = 0;
    t->on_timeout = on_timeout;
}

static unsigned timer_digit(uint64_t ms, unsigned level)
{
    return (unsigned)(ms >> (level * TIMER_SLOT_BITS)) & (TIMER_SLOTS - 1);
}

static void timer_place(struct timer_wheel *w, struct timer *t)
{
    const uint64_t span_ms = (uint64_t)1 << (TIMER_LEVELS * TIMER_SLOT_BITS);
    uint64_t due = t->deadline_ms;
    if (due <= w->now_ms) {
        due = w->now_ms + 1;
    } else if (due - w->now_ms >= span_ms) {
        due = w->now_ms + span_ms - 1;
    }
    uint64_t differing = due ^ w->now_ms;
    unsigned level = (63u - (unsigned)__builtin_clzll(differing)) / TIMER_SLOT_BITS;
    if (level >= TIMER_LEVELS) {
        level = TIMER_LEVELS - 1;
    }
    unsigned slot = timer_digit(due, level);
    list_push_back(&w->slots[level][slot], &t->link);
    w->occupied[level] |= (uint64_t)1 << slot;
}

void timer_set(struct timer_wheel *w, struct timer *t, uint64_t deadline_ms)
{
    list_remove(&t->link);
    t->deadline_ms = deadline_ms;
    timer_place(w, t);
}

void timer_cancel(struct timer *t)
{
    list_remove(&t->link);
}

uint64_t timer_wheel_next_ms(const struct timer_wheel *w)
{
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        unsigned digit = timer_digit(w->now_ms, level);
        uint64_t ahead = digit == TIMER_SLOTS - 1 ? 0 : w->occupied[level] >> (digit + 1);
        unsigned shift = level * TIMER_SLOT_BITS;
        if (ahead) {
            uint64_t steps = (uint64_t)__builtin_ctzll(ahead) + 1;
            return ((w->now_ms >> shift) + steps) << shift;
        }
        if (level == TIMER_LEVELS - 1 && w->occupied[level]) {
            /* The topmost level wraps around: its slots behind the digit are due a turn later. */
            uint64_t steps = TIMER_SLOTS - digit + (uint64_t)__builtin_ctzll(w->occupied[level]);
            return ((w->now_ms >> shift) + steps) << shift;
        }
    }
    return UINT64_MAX;
}

static void timer_fire_slot(struct timer_wheel *w, unsigned level, unsigned slot)
{
    struct list due;
    list_init(&due);
    list_splice(&due, &w->slots[level][slot]);
    w->occupied[level] &= ~((uint64_t)1 << slot);
    while (!list_is_empty(&due)) {
        struct timer *t = CONTAINER_OF(due.next, struct timer, link);
        list_remove(&t->link);
        if (t->deadline_ms <= w->now_ms) {
            t->on_timeout(t);
        } else {
            timer_place(w, t);
        }
    }
}

void timer_wheel_advance(struct timer_wheel *w, uint64_t now_ms)
{
    while (w->now_ms < now_ms) {
        uint64_t next = timer_wheel_next_ms(w);
        if (next > now_ms) {
            w->now_ms = now_ms;
            return;
        }
        w->now_ms = next;
        for (unsigned level = TIMER_LEVELS; level-- > 0;) {
            unsigned shift = level * TIMER_SLOT_BITS;
            bool is_boundary = (next & (((uint64_t)1 << shift) - 1)) == 0;
            unsigned slot = timer_digit(next, level);
            if (is_boundary && (w->occupied[level] >> slot & 1)) {
                timer_fire_slot(w, level, slot);
            }
        }
    }
}
