/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/plan.h"

#include <string.h>

#define HOUR_S 3600
#define PAUSE_S 60
#define PAUSE_S_MAX 86400
#define UNREACHABLE_PAUSE_S 2
#define UNREACHABLE_PAUSE_S_MAX 600
#define DOUBLINGS_MAX 20u

/* A share of `length` that is the same for the same seed. */
static int64_t plan_share(int64_t length, uint64_t seed)
{
    uint64_t mixed = (seed ^ (seed >> 29)) * 0xbf58476d1ce4e5b9u;
    return length > 0 ? (int64_t)((mixed >> 11) % (uint64_t)length) : 0;
}

int64_t plan_due_s(const struct plan_facts *f)
{
    int64_t due_s = 0;
    if (f->has_certificate && !f->is_under_way) {
        int64_t life_s = f->not_after_s - f->not_before_s;
        due_s = f->not_after_s - life_s / 3 - plan_share(life_s / 20, f->seed);
        if (f->window.start_s) {
            /* RFC 9773 4.2: a moment within the window; but never too late. */
            int64_t length = f->window.end_s - f->window.start_s;
            int64_t asked_s = f->window.start_s + plan_share(length, f->seed);
            int64_t last_s = f->not_after_s - life_s / 10;
            due_s = asked_s < last_s ? asked_s : last_s;
        }
    }
    return f->failures && f->retry_at_s > due_s ? f->retry_at_s : due_s;
}

int64_t plan_pause_s(unsigned failures, bool is_unreachable, uint64_t seed)
{
    unsigned doublings = failures > DOUBLINGS_MAX ? DOUBLINGS_MAX : failures - 1;
    int64_t pause_s = (int64_t)(is_unreachable ? UNREACHABLE_PAUSE_S : PAUSE_S) << doublings;
    int64_t max_s = is_unreachable ? UNREACHABLE_PAUSE_S_MAX : PAUSE_S_MAX;
    pause_s = pause_s > max_s ? max_s : pause_s;
    return pause_s - plan_share(pause_s / 4, seed + failures);
}

int64_t plan_allowed_s(const struct plan_orders *o, int64_t now_s)
{
    if (o->count < PLAN_ORDERS_PER_HOUR) {
        return now_s;
    }
    int64_t free_s = o->at_s[0] + HOUR_S;
    /* A clock that was set back must not keep us waiting for longer than an hour. */
    return o->at_s[0] > now_s || free_s < now_s ? now_s : free_s;
}

void plan_add_order(struct plan_orders *o, int64_t now_s)
{
    if (o->count == PLAN_ORDERS_PER_HOUR) {
        memmove(o->at_s, o->at_s + 1, (PLAN_ORDERS_PER_HOUR - 1) * sizeof(o->at_s[0]));
        o->count--;
    }
    o->at_s[o->count++] = now_s;
}
