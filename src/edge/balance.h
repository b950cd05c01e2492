/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which endpoint of a backend comes next. Without I/O, clock or memory: what is known of the
 * endpoints goes in, an index comes out, so that tests and the simulator decide as the program
 * does.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define BALANCE_NONE SIZE_MAX
#define BALANCE_TAU_MS 10000u /* how long a latency that was seen counts */
#define BALANCE_ENDPOINTS_MAX 64u

/* In the order of the names of `backend.balance`. */
enum balance_policy {
    BALANCE_P2C,   /* the cheaper of two by chance: in flight times latency, by weight */
    BALANCE_RR,    /* in turn, by weight */
    BALANCE_LEAST, /* the fewest in flight, by weight */
    BALANCE_FIRST, /* the first in the list that can */
    BALANCE_HASH,  /* the same for the same key, unless it has a quarter more than its share */
};

/* What is known of one endpoint when a request asks. */
struct balance_endpoint {
    uint32_t weight; /* at least 1 */
    uint32_t in_flight;
    uint32_t tunnels;      /* of those; they may last for hours, and the limit leaves them out */
    uint32_t latency_us;   /* decayed until now; 0: unknown */
    uint64_t out_until_ms; /* when it is or was back, of an ejection or a check; 0: it never left */
    uint64_t hash;         /* balance_hash of its name, for BALANCE_HASH */
    bool is_backup;
    bool is_tried;   /* by this request; taken again only where nothing else is left */
    bool is_down;    /* a check says so */
    bool is_waiting; /* it joined later and has passed no check yet */
    bool is_drained; /* never asked; the others are counted as if it were not there */
    bool is_far;     /* of another zone than ours */
};

struct balance_rules {
    enum balance_policy policy;
    uint32_t in_flight_max;
    uint64_t slow_start_ms; /* 0: none */
};

struct balance_turn {
    uint64_t now_ms;
    uint64_t random;
    uint32_t tick; /* how many turns the backend gave before */
    uint64_t key;  /* balance_hash of what BALANCE_HASH goes by */
};

/* The index of the endpoint to ask; BALANCE_NONE: all are at in_flight_max, or drained. An endpoint
 * is in while it is neither ejected nor down nor waiting. Backups serve where no other endpoint
 * can. Where fewer than half of the endpoints are in and no backup is, all of them are asked, and
 * `*ret_is_panic` says so: what takes out most of a backend is more likely wrong than right, and
 * the rest could not carry the load. Those that wait count for nothing there, and are asked where
 * nobody else is known. Endpoints of our zone come first while half of them are in and one of them
 * can. `n`: 1 to BALANCE_ENDPOINTS_MAX. */
size_t balance_pick(const struct balance_rules *rules, const struct balance_endpoint *list,
                    size_t n, const struct balance_turn *turn, bool *ret_is_panic);

/* Whether it is in, has room, and was not tried. */
bool balance_can(const struct balance_rules *rules, const struct balance_endpoint *e,
                 uint64_t now_ms);

/* Without a key of the process, so that it is the same after a restart and on other machines.
 * Whoever chooses texts that meet meets the bound of BALANCE_HASH. */
uint64_t balance_hash(struct str text);

/* Whether endpoint `index` may be ejected: at most `max_ppm` of the endpoints are out at once, or
 * each that is no backup while a backup is in. */
bool balance_may_eject(const struct balance_endpoint *list, size_t n, size_t index, uint64_t now_ms,
                       uint32_t max_ppm);

/* What was seen of an endpoint in a while. */
struct balance_window {
    uint64_t requests;
    uint64_t failures;
};

#define BALANCE_RATE_ENDPOINTS 5u
#define BALANCE_RATE_REQUESTS 100u

/* Marks in `ret_is_out` who fails much more often than the others: of at least
 * BALANCE_RATE_ENDPOINTS that had BALANCE_RATE_REQUESTS, those whose share of successes lies more
 * than 1.9 standard deviations, and a tenth, below the mean of the others. Each is measured by the
 * others alone, because one of few would move their mean and spread so far that it could never lie
 * outside. Returns how many there are. `n`: at most BALANCE_ENDPOINTS_MAX. */
size_t balance_by_rate(const struct balance_window *list, size_t n, bool *ret_is_out);

/* For how long, the `count`th time in a row (from 1): `base_ms` times `count`, at most 300 s. */
uint64_t balance_ejection_ms(uint64_t base_ms, uint32_t count);

/* A latency seen `age_ms` ago, as it counts now: halves about every 7 s. */
uint32_t balance_decay(uint32_t latency_us, uint64_t age_ms);

/* What is known after one more sample: a peak counts at once, better ones by and by. */
uint32_t balance_learn(uint32_t latency_us, uint64_t age_ms, uint32_t sample_us);

/* Whether one more request may be under way a second time: `budget_ppm` of those under way, at
 * least three. */
bool balance_may_retry(uint32_t active_count, uint32_t retry_count, uint32_t budget_ppm);

/* The pause before retry `count` (from 1): by chance up to 25 ms, doubled each time, at most
 * 250 ms. */
uint32_t balance_retry_pause_ms(unsigned count, uint64_t random);
