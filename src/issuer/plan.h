/* SPDX-License-Identifier: Apache-2.0 */
/* When a certificate is to be ordered. Pure arithmetic: the clock comes in. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "issuer/acme_json.h"

#define PLAN_ORDERS_PER_HOUR 10

/* What is known of one certificate. */
struct plan_facts {
    bool has_certificate;
    int64_t not_before_s;
    int64_t not_after_s;
    struct acme_window window; /* of RFC 9773; start_s 0 = none */
    unsigned failures;         /* since the last success */
    int64_t retry_at_s;        /* not before, after a failure */
    bool is_under_way;         /* an order was begun and must be finished */
    uint64_t seed;             /* of the names: spreads the renewals of many certificates */
};

/* The second from which on it is to be ordered; in the past or now: at once. A certificate without
 * a window is renewed when a third of its life is left, a little earlier for some than for others.
 */
int64_t plan_due_s(const struct plan_facts *facts);

/* How long to wait after the n-th failure in a row (n >= 1); `is_unreachable`: the CA could not be
 * asked, which costs it nothing. Grows to a day, or ten minutes. */
int64_t plan_pause_s(unsigned failures, bool is_unreachable, uint64_t seed);

/* The orders of the last hour, oldest first. */
struct plan_orders {
    int64_t at_s[PLAN_ORDERS_PER_HOUR];
    unsigned count;
};

/* When the next order is allowed; `now_s` where it is now. */
int64_t plan_allowed_s(const struct plan_orders *orders, int64_t now_s);
void plan_add_order(struct plan_orders *orders, int64_t now_s);
