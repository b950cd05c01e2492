/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hierarchical timing wheel (Varghese and Lauck, 1987, scheme 7): setting and cancelling are
 * O(1). Time is in milliseconds; a timer never fires early and at most one millisecond late.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct timer;
typedef void (*timer_fn)(struct timer *t);

/* Embedded in its owner. */
struct timer {
    struct list link;
    uint64_t deadline_ms;
    timer_fn on_timeout;
};

#define TIMER_LEVELS 6
#define TIMER_SLOT_BITS 6
#define TIMER_SLOTS (1u << TIMER_SLOT_BITS)

struct timer_wheel {
    uint64_t now_ms;
    uint64_t occupied[TIMER_LEVELS]; /* a bit for each slot that may hold timers */
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
};

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms);

void timer_init(struct timer *t, timer_fn on_timeout);

/* Sets or moves the deadline; one that is past fires at the next advance. */
void timer_set(struct timer_wheel *w, struct timer *t, uint64_t deadline_ms);

/* No-op where it is not set. */
void timer_cancel(struct timer *t);

static inline bool timer_is_set(const struct timer *t)
{
    return !list_is_empty(&t->link);
}

/* The earliest time at which timer_wheel_advance has something to do; UINT64_MAX where none is
 * set. May be before the earliest deadline, never behind it. */
uint64_t timer_wheel_next_ms(const struct timer_wheel *w);

/* Moves time to `now_ms` and fires all that is due. Callbacks may set and cancel any timer. */
void timer_wheel_advance(struct timer_wheel *w, uint64_t now_ms);
