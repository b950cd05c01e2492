/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/balance.h"

#include "base/assert.h"

#define EJECTION_MS_MAX 300000u
#define RETRY_PAUSE_MS 25u
#define RETRY_PAUSE_MS_MAX 250u
#define RETRIES_LEAST 3u

/* An endpoint never seems faster than another by more than this: one of which little is known would
 * otherwise get everything until its first answer comes. */
#define LATENCY_SPREAD 8u

#define LATENCY_US_MAX 60000000u

/* The weight that an endpoint has at full speed, in the unit of balance_weight. */
#define WEIGHT_FULL 100u

/* Endpoints that can take the request, by their indices. */
struct balance_choice {
    size_t count;
    uint8_t index[BALANCE_ENDPOINTS_MAX];
};

struct balance_filter {
    bool is_backup;
    bool is_near; /* our zone alone */
    bool takes_tried;
    bool takes_out;
};

static bool balance_is_in(const struct balance_endpoint *e, uint64_t now_ms)
{
    return e->out_until_ms <= now_ms && !e->is_down && !e->is_waiting && !e->is_drained;
}

bool balance_can(const struct balance_rules *rules, const struct balance_endpoint *e,
                 uint64_t now_ms)
{
    return balance_is_in(e, now_ms) && !e->is_tried &&
           e->in_flight - e->tunnels < rules->in_flight_max;
}

/* The part of WEIGHT_FULL that an endpoint takes: after an ejection it begins with a tenth. */
static uint64_t balance_weight(const struct balance_rules *rules, const struct balance_endpoint *e,
                               uint64_t now_ms)
{
    uint64_t share = WEIGHT_FULL;
    if (e->out_until_ms && balance_is_in(e, now_ms) &&
        now_ms - e->out_until_ms < rules->slow_start_ms) {
        uint64_t since_ms = now_ms - e->out_until_ms;
        share =
            WEIGHT_FULL / 10 + (WEIGHT_FULL - WEIGHT_FULL / 10) * since_ms / rules->slow_start_ms;
    }
    return e->weight * share;
}

static void balance_collect(const struct balance_rules *rules, const struct balance_endpoint *list,
                            size_t n, const struct balance_filter *filter, uint64_t now_ms,
                            struct balance_choice *ret)
{
    ret->count = 0;
    for (size_t i = 0; i < n; i++) {
        const struct balance_endpoint *e = &list[i];
        if (e->is_backup == filter->is_backup && !(filter->is_near && e->is_far) &&
            (filter->takes_tried || !e->is_tried) &&
            e->in_flight - e->tunnels < rules->in_flight_max && !e->is_drained &&
            (filter->takes_out || balance_is_in(e, now_ms))) {
            ret->index[ret->count++] = (uint8_t)i;
        }
    }
}

static uint32_t balance_latency(const struct balance_endpoint *e, const struct balance_endpoint *o)
{
    uint32_t floor_us = o->latency_us / LATENCY_SPREAD;
    uint32_t us = e->latency_us > floor_us ? e->latency_us : floor_us;
    return us ? us : 1;
}

/* (in flight + 1) x latency / weight, compared without dividing: in flight is at most a million
 * (2^20), a latency a minute (2^26), a weight 1000 times WEIGHT_FULL (2^17), together 2^63. */
static size_t balance_p2c(const struct balance_rules *rules, const struct balance_endpoint *list,
                          const struct balance_choice *c, const struct balance_turn *turn)
{
    size_t at = (uint32_t)turn->random % c->count;
    if (c->count == 1) {
        return c->index[0];
    }
    size_t other = (at + 1 + (turn->random >> 32) % (c->count - 1)) % c->count;
    const struct balance_endpoint *a = &list[c->index[at]], *b = &list[c->index[other]];
    uint64_t cost_a = (uint64_t)(a->in_flight + 1) * balance_latency(a, b) *
                      balance_weight(rules, b, turn->now_ms);
    uint64_t cost_b = (uint64_t)(b->in_flight + 1) * balance_latency(b, a) *
                      balance_weight(rules, a, turn->now_ms);
    return cost_a <= cost_b ? c->index[at] : c->index[other];
}

static uint64_t balance_common(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Each period of as many turns as the weights make together gives everyone their share. A stride
 * without a common factor spreads the turns of a heavy endpoint over the period. */
static size_t balance_rr(const struct balance_rules *rules, const struct balance_endpoint *list,
                         const struct balance_choice *c, const struct balance_turn *turn)
{
    uint64_t total = 0, unit = 0;
    for (size_t i = 0; i < c->count; i++) {
        uint64_t weight = balance_weight(rules, &list[c->index[i]], turn->now_ms);
        total += weight;
        unit = balance_common(weight, unit);
    }
    total /= unit;
    uint64_t stride = total == c->count || total < 2 ? 1 : total * 5 / 8;
    while (balance_common(total, stride) != 1) {
        stride++;
    }
    uint64_t place = turn->tick % total * stride % total;
    for (size_t i = 0; i < c->count; i++) {
        uint64_t weight = balance_weight(rules, &list[c->index[i]], turn->now_ms) / unit;
        if (place < weight) {
            return c->index[i];
        }
        place -= weight;
    }
    return c->index[c->count - 1];
}

/* Where several have as few, they take turns. */
static size_t balance_least(const struct balance_rules *rules, const struct balance_endpoint *list,
                            const struct balance_choice *c, const struct balance_turn *turn)
{
    size_t best = turn->tick % c->count;
    for (size_t k = 1; k < c->count; k++) {
        size_t i = (turn->tick + k) % c->count;
        const struct balance_endpoint *e = &list[c->index[i]], *b = &list[c->index[best]];
        if ((e->in_flight + 1) * balance_weight(rules, b, turn->now_ms) <
            (b->in_flight + 1) * balance_weight(rules, e, turn->now_ms)) {
            best = i;
        }
    }
    return c->index[best];
}

static uint64_t balance_mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* FNV-1a, mixed. */
uint64_t balance_hash(struct str text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < text.n; i++) {
        hash = (hash ^ (unsigned char)text.p[i]) * 0x100000001b3u;
    }
    return balance_mix(hash);
}

/* Minus the logarithm to base 2 of a fraction, in units of 2^-31, with a straight line between
 * powers: the shares of unequal weights are off by a few percent for it. */
static uint64_t balance_minus_log(uint64_t fraction)
{
    unsigned zeros = fraction ? (unsigned)__builtin_clzll(fraction) : 63;
    uint64_t mantissa = fraction << zeros >> 32;
    return ((uint64_t)(zeros + 2) << 31) - mantissa;
}

/* Rendezvous: the least -log(hash of both) / weight wins, so that an endpoint that goes moves its
 * own keys only. One that has a quarter more requests than its share is passed over (consistent
 * hashing with bounded loads, Mirrokni et al. 2016). */
static size_t balance_by_hash(const struct balance_rules *rules,
                              const struct balance_endpoint *list, const struct balance_choice *c,
                              const struct balance_turn *turn)
{
    uint64_t in_flight = 1, total = 0, best_weight = 0, best_log = 0;
    size_t best = BALANCE_NONE;
    for (size_t i = 0; i < c->count; i++) {
        in_flight += list[c->index[i]].in_flight;
        total += balance_weight(rules, &list[c->index[i]], turn->now_ms);
    }
    for (size_t i = 0; i < c->count; i++) {
        const struct balance_endpoint *e = &list[c->index[i]];
        uint64_t weight = balance_weight(rules, e, turn->now_ms);
        uint64_t log = balance_minus_log(balance_mix(e->hash ^ turn->key));
        /* in flight < 1.25 x all x weight / total, rounded up: somebody is always below. */
        uint64_t most = (5 * in_flight * weight + 4 * total - 1) / (4 * total);
        if (e->in_flight < most &&
            (best == BALANCE_NONE || log * best_weight < best_log * weight)) {
            best = c->index[i];
            best_log = log;
            best_weight = weight;
        }
    }
    return best;
}

static size_t balance_choose(const struct balance_rules *rules, const struct balance_endpoint *list,
                             const struct balance_choice *c, const struct balance_turn *turn)
{
    switch (rules->policy) {
    case BALANCE_P2C:
        return balance_p2c(rules, list, c, turn);
    case BALANCE_RR:
        return balance_rr(rules, list, c, turn);
    case BALANCE_LEAST:
        return balance_least(rules, list, c, turn);
    case BALANCE_FIRST:
        return c->index[0];
    case BALANCE_HASH:
        return balance_by_hash(rules, list, c, turn);
    }
    return c->index[0];
}

/* `*ret_is_known`: there is an endpoint of which a check or a request could tell. */
static bool balance_is_panic(const struct balance_endpoint *list, size_t n, uint64_t now_ms,
                             bool *ret_is_known)
{
    size_t count = 0, in_count = 0;
    bool has_backup = false;
    *ret_is_known = false;
    for (size_t i = 0; i < n; i++) {
        bool is_in = balance_is_in(&list[i], now_ms);
        bool is_known = !list[i].is_drained && !list[i].is_waiting;
        *ret_is_known |= is_known;
        has_backup |= list[i].is_backup && is_in;
        count += !list[i].is_backup && is_known;
        in_count += !list[i].is_backup && is_in;
    }
    return !has_backup && in_count * 2 < count;
}

/* Our zone alone, as long as half of it is in: what it has tried and what is out there is left to
 * the choice among all. */
static bool balance_is_near_enough(const struct balance_endpoint *list, size_t n, uint64_t now_ms)
{
    size_t count = 0, in_count = 0, far_count = 0;
    for (size_t i = 0; i < n; i++) {
        const struct balance_endpoint *e = &list[i];
        bool is_known = !e->is_backup && !e->is_drained && !e->is_waiting;
        far_count += e->is_far;
        count += is_known && !e->is_far;
        in_count += is_known && !e->is_far && balance_is_in(e, now_ms);
    }
    return far_count > 0 && in_count > 0 && in_count * 2 >= count;
}

/* Backups after the others, and last of all what this request has tried already. */
size_t balance_pick(const struct balance_rules *rules, const struct balance_endpoint *list,
                    size_t n, const struct balance_turn *turn, bool *ret_is_panic)
{
    struct balance_choice choice;
    ASSERT(n > 0 && n <= BALANCE_ENDPOINTS_MAX);
    *ret_is_panic = false;
    if (balance_is_near_enough(list, n, turn->now_ms)) {
        const struct balance_filter filter = {.is_near = true};
        balance_collect(rules, list, n, &filter, turn->now_ms, &choice);
        if (choice.count) {
            return balance_choose(rules, list, &choice, turn);
        }
    }
    bool is_known;
    bool is_panic = balance_is_panic(list, n, turn->now_ms, &is_known);
    *ret_is_panic = is_panic;
    for (unsigned round = 0; round < 4; round++) {
        const struct balance_filter filter = {.is_backup = round % 2 == 1,
                                              .takes_tried = round / 2 == 1,
                                              .takes_out = is_panic || !is_known};
        balance_collect(rules, list, n, &filter, turn->now_ms, &choice);
        if (choice.count) {
            return balance_choose(rules, list, &choice, turn);
        }
    }
    return BALANCE_NONE;
}

bool balance_may_eject(const struct balance_endpoint *list, size_t n, size_t index, uint64_t now_ms,
                       uint32_t max_ppm)
{
    size_t out_count = 0, count = 0;
    bool has_backup = false;
    for (size_t i = 0; i < n; i++) {
        bool is_in = balance_is_in(&list[i], now_ms);
        count += !list[i].is_drained;
        out_count += !is_in && !list[i].is_drained && i != index;
        has_backup |= list[i].is_backup && is_in && i != index;
    }
    return has_backup || (out_count + 1) * 1000000u <= count * max_ppm;
}

/* Shares in millionths: squares of their differences, 64 of them, times 361 stay below 2^63. */
static bool balance_is_below(const int64_t *shares, size_t n, size_t at)
{
    const int64_t least_ppm = 100000;
    int64_t sum = 0, squares = 0, others = (int64_t)n - 1;
    for (size_t i = 0; i < n; i++) {
        sum += i == at ? 0 : shares[i];
    }
    int64_t mean = sum / others, below = mean - shares[at];
    for (size_t i = 0; i < n; i++) {
        squares += i == at ? 0 : (shares[i] - mean) * (shares[i] - mean);
    }
    return below > least_ppm && below * below * 100 > squares / others * 361;
}

size_t balance_by_rate(const struct balance_window *list, size_t n, bool *ret_is_out)
{
    int64_t shares[BALANCE_ENDPOINTS_MAX];
    uint8_t index[BALANCE_ENDPOINTS_MAX];
    size_t count = 0, out_count = 0;
    ASSERT(n <= BALANCE_ENDPOINTS_MAX);
    for (size_t i = 0; i < n; i++) {
        uint64_t requests = list[i].requests, failures = list[i].failures;
        ret_is_out[i] = false;
        if (requests < BALANCE_RATE_REQUESTS || requests > UINT32_MAX) {
            continue;
        }
        failures = failures < requests ? failures : requests;
        index[count] = (uint8_t)i;
        shares[count++] = (int64_t)((requests - failures) * 1000000 / requests);
    }
    for (size_t k = 0; k < count && count >= BALANCE_RATE_ENDPOINTS; k++) {
        ret_is_out[index[k]] = balance_is_below(shares, count, k);
        out_count += ret_is_out[index[k]];
    }
    return out_count;
}

uint64_t balance_ejection_ms(uint64_t base_ms, uint32_t count)
{
    return base_ms >= EJECTION_MS_MAX / count ? EJECTION_MS_MAX : base_ms * count;
}

/* e^(-t/tau) by halves: each takes ln 2 of tau, with straight lines between them. */
static uint32_t balance_part(uint32_t value, uint64_t age_ms)
{
    const uint64_t half_ms = BALANCE_TAU_MS * 693u / 1000u;
    uint64_t halves = age_ms / half_ms, rest = age_ms % half_ms;
    if (halves >= 32) {
        return 0;
    }
    uint64_t whole = value >> halves;
    return (uint32_t)(whole - whole * rest / (2 * half_ms));
}

uint32_t balance_decay(uint32_t latency_us, uint64_t age_ms)
{
    return balance_part(latency_us, age_ms);
}

uint32_t balance_learn(uint32_t latency_us, uint64_t age_ms, uint32_t sample_us)
{
    sample_us = sample_us < LATENCY_US_MAX ? sample_us : LATENCY_US_MAX;
    if (sample_us >= latency_us) {
        return sample_us;
    }
    return sample_us + balance_part(latency_us - sample_us, age_ms);
}

bool balance_may_retry(uint32_t active_count, uint32_t retry_count, uint32_t budget_ppm)
{
    uint64_t share = (uint64_t)active_count * budget_ppm / 1000000u;
    return retry_count < (share > RETRIES_LEAST ? share : RETRIES_LEAST);
}

uint32_t balance_retry_pause_ms(unsigned count, uint64_t random)
{
    uint32_t most_ms = RETRY_PAUSE_MS_MAX;
    if (count < 5 && RETRY_PAUSE_MS << (count - 1) < most_ms) {
        most_ms = RETRY_PAUSE_MS << (count - 1);
    }
    return (uint32_t)(random % (most_ms + 1));
}
