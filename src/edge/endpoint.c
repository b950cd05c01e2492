/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/endpoint.h"

#include <stdatomic.h>

#include "base/assert.h"
#include "base/mem.h"

#define ENDPOINT_MAGIC 0x656e6470u

/* Ejections that lie further apart are not in a row. */
#define ROW_MS 300000u

struct endpoint {
    uint32_t magic;
    atomic_uint ref_count;
    uint64_t name_hash; /* balance_hash */
    atomic_uint in_flight;
    atomic_uint tunnels;
    atomic_uint latency_us;
    _Atomic uint64_t learnt_ms;
    atomic_uint failures; /* in a row */
    _Atomic uint64_t out_until_ms;
    atomic_uint row_count;  /* ejections in a row */
    atomic_uint health;     /* enum endpoint_health */
    _Atomic uint64_t up_ms; /* when it became healthy after it was not */
    atomic_bool is_drained;
    _Atomic uint64_t request_count;
    _Atomic uint64_t failure_count;
    _Atomic uint64_t ejection_count;
    atomic_uint cause;           /* of the last ejection */
    _Atomic uint64_t ejected_ms; /* when it began */
    /* Of the thread that asks for news and windows. */
    uint64_t news_count;
    bool is_news_due; /* that it is back */
    struct balance_window window;
};

enum err endpoint_create(struct str name, struct endpoint **ret_endpoint)
{
    struct endpoint *e = mem_zalloc(1, sizeof(*e));
    if (!e) {
        return ERR_NOMEM;
    }
    e->magic = ENDPOINT_MAGIC;
    atomic_init(&e->ref_count, 1);
    e->name_hash = balance_hash(name);
    *ret_endpoint = e;
    return ERR_OK;
}

struct endpoint *endpoint_ref(struct endpoint *e)
{
    ASSERT_MAGIC(e, ENDPOINT_MAGIC);
    atomic_fetch_add_explicit(&e->ref_count, 1, memory_order_relaxed);
    return e;
}

void endpoint_unref(struct endpoint *e)
{
    if (!e) {
        return;
    }
    ASSERT_MAGIC(e, ENDPOINT_MAGIC);
    if (atomic_fetch_sub_explicit(&e->ref_count, 1, memory_order_acq_rel) == 1) {
        e->magic = 0;
        mem_free(e);
    }
}

void endpoint_look(const struct endpoint *e, uint64_t now_ms, struct balance_endpoint *ret)
{
    uint64_t learnt_ms = atomic_load_explicit(&e->learnt_ms, memory_order_relaxed);
    uint32_t tunnels = atomic_load_explicit(&e->tunnels, memory_order_relaxed);
    ret->in_flight = atomic_load_explicit(&e->in_flight, memory_order_relaxed);
    ret->tunnels = tunnels < ret->in_flight ? tunnels : ret->in_flight;
    ret->latency_us = balance_decay(atomic_load_explicit(&e->latency_us, memory_order_relaxed),
                                    now_ms > learnt_ms ? now_ms - learnt_ms : 0);
    ret->hash = e->name_hash;
    uint64_t out_until_ms = atomic_load_explicit(&e->out_until_ms, memory_order_relaxed);
    uint64_t up_ms = atomic_load_explicit(&e->up_ms, memory_order_relaxed);
    enum endpoint_health health = endpoint_health(e);
    ret->out_until_ms = out_until_ms > up_ms ? out_until_ms : up_ms;
    ret->is_down = health == ENDPOINT_UNHEALTHY;
    ret->is_waiting = health == ENDPOINT_WAITING;
    ret->is_drained = endpoint_is_drained(e);
}

void endpoint_set_health(struct endpoint *e, enum endpoint_health health, uint64_t now_ms)
{
    ASSERT_MAGIC(e, ENDPOINT_MAGIC);
    enum endpoint_health before = endpoint_health(e);
    if (health == ENDPOINT_HEALTHY &&
        (before == ENDPOINT_UNHEALTHY || before == ENDPOINT_WAITING)) {
        atomic_store_explicit(&e->up_ms, now_ms, memory_order_relaxed);
    }
    atomic_store_explicit(&e->health, (unsigned)health, memory_order_relaxed);
}

enum endpoint_health endpoint_health(const struct endpoint *e)
{
    return (enum endpoint_health)atomic_load_explicit(&e->health, memory_order_relaxed);
}

void endpoint_set_drained(struct endpoint *e, bool is_drained)
{
    ASSERT_MAGIC(e, ENDPOINT_MAGIC);
    atomic_store_explicit(&e->is_drained, is_drained, memory_order_relaxed);
}

bool endpoint_is_drained(const struct endpoint *e)
{
    return atomic_load_explicit(&e->is_drained, memory_order_relaxed);
}

void endpoint_begin(struct endpoint *e)
{
    ASSERT_MAGIC(e, ENDPOINT_MAGIC);
    atomic_fetch_add_explicit(&e->in_flight, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->request_count, 1, memory_order_relaxed);
}

void endpoint_end(struct endpoint *e)
{
    ASSERT_MAGIC(e, ENDPOINT_MAGIC);
    unsigned before = atomic_fetch_sub_explicit(&e->in_flight, 1, memory_order_relaxed);
    ASSERT(before > 0);
}

/* Two loops may learn at once: one of both samples is then forgotten, which does no harm. */
static void endpoint_learn(struct endpoint *e, uint64_t now_ms, uint32_t sample_us)
{
    uint64_t learnt_ms = atomic_load_explicit(&e->learnt_ms, memory_order_relaxed);
    uint32_t latency_us = atomic_load_explicit(&e->latency_us, memory_order_relaxed);
    uint64_t age_ms = now_ms > learnt_ms ? now_ms - learnt_ms : 0;
    atomic_store_explicit(&e->latency_us, balance_learn(latency_us, age_ms, sample_us),
                          memory_order_relaxed);
    atomic_store_explicit(&e->learnt_ms, now_ms, memory_order_relaxed);
}

void endpoint_begin_tunnel(struct endpoint *e)
{
    atomic_fetch_add_explicit(&e->tunnels, 1, memory_order_relaxed);
}

void endpoint_end_tunnel(struct endpoint *e)
{
    unsigned before = atomic_fetch_sub_explicit(&e->tunnels, 1, memory_order_relaxed);
    ASSERT(before > 0);
}

void endpoint_succeeded(struct endpoint *e, uint64_t now_ms, uint32_t latency_us)
{
    if (atomic_load_explicit(&e->failures, memory_order_relaxed)) {
        atomic_store_explicit(&e->failures, 0, memory_order_relaxed);
    }
    endpoint_learn(e, now_ms, latency_us);
}

uint32_t endpoint_failed(struct endpoint *e, uint64_t now_ms, uint32_t latency_us)
{
    endpoint_learn(e, now_ms, latency_us);
    atomic_fetch_add_explicit(&e->failure_count, 1, memory_order_relaxed);
    return atomic_fetch_add_explicit(&e->failures, 1, memory_order_relaxed) + 1;
}

bool endpoint_eject(struct endpoint *e, uint64_t now_ms, uint64_t base_ms,
                    enum endpoint_cause cause)
{
    uint64_t until_ms = atomic_load_explicit(&e->out_until_ms, memory_order_relaxed);
    unsigned count = atomic_load_explicit(&e->row_count, memory_order_relaxed);
    if (until_ms > now_ms) {
        return false;
    }
    count = now_ms - until_ms > ROW_MS ? 1 : count + 1;
    /* Of several loops that see the last failure, one ejects. */
    if (!atomic_compare_exchange_strong(&e->out_until_ms, &until_ms,
                                        now_ms + balance_ejection_ms(base_ms, count))) {
        return false;
    }
    atomic_store_explicit(&e->row_count, count, memory_order_relaxed);
    atomic_store_explicit(&e->failures, 0, memory_order_relaxed);
    /* What it was like before says nothing of how it comes back. */
    atomic_store_explicit(&e->latency_us, 0, memory_order_relaxed);
    atomic_store_explicit(&e->cause, (unsigned)cause, memory_order_relaxed);
    atomic_store_explicit(&e->ejected_ms, now_ms, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->ejection_count, 1, memory_order_release);
    return true;
}

struct endpoint_news endpoint_take_news(struct endpoint *e, uint64_t now_ms)
{
    uint64_t count = atomic_load_explicit(&e->ejection_count, memory_order_acquire);
    uint64_t until_ms = atomic_load_explicit(&e->out_until_ms, memory_order_relaxed);
    uint64_t since_ms = atomic_load_explicit(&e->ejected_ms, memory_order_relaxed);
    struct endpoint_news news = {
        .is_ejected = count != e->news_count,
        .out_ms = until_ms > since_ms ? until_ms - since_ms : 0,
        .cause = (enum endpoint_cause)atomic_load_explicit(&e->cause, memory_order_relaxed)};
    e->news_count = count;
    e->is_news_due |= news.is_ejected;
    news.is_back = e->is_news_due && until_ms <= now_ms;
    e->is_news_due &= !news.is_back;
    return news;
}

struct balance_window endpoint_take_window(struct endpoint *e)
{
    const struct balance_window now = {
        .requests = atomic_load_explicit(&e->request_count, memory_order_relaxed),
        .failures = atomic_load_explicit(&e->failure_count, memory_order_relaxed)};
    const struct balance_window since = {now.requests - e->window.requests,
                                         now.failures - e->window.failures};
    e->window = now;
    return since;
}

uint64_t endpoint_figure(const struct endpoint *e, enum endpoint_figure figure, uint64_t now_ms)
{
    struct balance_endpoint now;
    endpoint_look(e, now_ms, &now);
    switch (figure) {
    case ENDPOINT_REQUESTS:
        return atomic_load(&e->request_count);
    case ENDPOINT_FAILURES:
        return atomic_load(&e->failure_count);
    case ENDPOINT_EJECTIONS:
        return atomic_load(&e->ejection_count);
    case ENDPOINT_IN_FLIGHT:
        return now.in_flight;
    case ENDPOINT_LATENCY:
        return now.latency_us;
    case ENDPOINT_IS_IN:
        return now.out_until_ms <= now_ms && !now.is_down && !now.is_waiting && !now.is_drained;
    case ENDPOINT_IS_HEALTHY:
        return !now.is_down && !now.is_waiting;
    case ENDPOINT_IS_DRAINED:
        return now.is_drained;
    case ENDPOINT_FIGURES:
        break;
    }
    return 0;
}
