/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/endpoint.h"

#include <stdatomic.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "log/escape.h"

#define ENDPOINT_MAGIC 0x656e6470u
#define WRITTEN_MAX 1000u

/* Ejections that lie further apart are not in a row. */
#define ROW_MS 300000u

struct endpoint {
    uint32_t magic;
    atomic_uint ref_count;
    uint64_t hash;      /* of backend and name, for finding it */
    uint64_t name_hash; /* balance_hash */
    struct str backend;
    struct str name;
    atomic_uint in_flight;
    atomic_uint latency_us;
    _Atomic uint64_t learnt_ms;
    atomic_uint failures; /* in a row */
    _Atomic uint64_t out_until_ms;
    atomic_uint row_count; /* ejections in a row */
    _Atomic uint64_t request_count;
    _Atomic uint64_t failure_count;
    _Atomic uint64_t ejection_count;
};

struct endpoint_set {
    const struct endpoint_set *before;
    struct endpoint **items;
    size_t count;
    size_t room;
};

enum err endpoint_set_create(const struct endpoint_set *before, struct endpoint_set **ret_set)
{
    struct endpoint_set *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->before = before;
    *ret_set = s;
    return ERR_OK;
}

static void endpoint_unref(struct endpoint *e)
{
    ASSERT_MAGIC(e, ENDPOINT_MAGIC);
    if (atomic_fetch_sub_explicit(&e->ref_count, 1, memory_order_acq_rel) == 1) {
        e->magic = 0;
        mem_free(e);
    }
}

void endpoint_set_destroy(struct endpoint_set *s)
{
    if (!s) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        endpoint_unref(s->items[i]);
    }
    mem_free(s->items);
    mem_free(s);
}

void endpoint_set_seal(struct endpoint_set *s)
{
    s->before = NULL;
}

/* The names stand behind the struct, because the settings they come from may go first. */
static struct endpoint *endpoint_create(struct str backend, struct str name, uint64_t hash)
{
    struct endpoint *e = mem_zalloc(1, sizeof(*e) + backend.n + name.n);
    if (!e) {
        return NULL;
    }
    char *text = (char *)(e + 1);
    memcpy(text, backend.p, backend.n);
    memcpy(text + backend.n, name.p, name.n);
    e->magic = ENDPOINT_MAGIC;
    atomic_init(&e->ref_count, 1);
    e->hash = hash;
    e->name_hash = balance_hash(name);
    e->backend = str_make(text, backend.n);
    e->name = str_make(text + backend.n, name.n);
    return e;
}

static struct endpoint *endpoint_set_find(const struct endpoint_set *s, struct str backend,
                                          struct str name, uint64_t hash)
{
    for (size_t i = 0; s && i < s->count; i++) {
        struct endpoint *e = s->items[i];
        if (e->hash == hash && str_eq(e->backend, backend) && str_eq(e->name, name)) {
            return e;
        }
    }
    return NULL;
}

enum err endpoint_set_get(struct endpoint_set *s, struct str backend, struct str name,
                          struct endpoint **ret_endpoint)
{
    uint64_t hash = hash_join(hash_str(backend), hash_str(name));
    struct endpoint *e = endpoint_set_find(s, backend, name, hash);
    if (e) {
        *ret_endpoint = e;
        return ERR_OK;
    }
    if (s->count == s->room) {
        size_t room = s->room ? s->room * 2 : 8;
        struct endpoint **items = mem_realloc(s->items, room * sizeof(struct endpoint *));
        if (!items) {
            return ERR_NOMEM;
        }
        s->items = items;
        s->room = room;
    }
    e = endpoint_set_find(s->before, backend, name, hash);
    if (e) {
        atomic_fetch_add_explicit(&e->ref_count, 1, memory_order_relaxed);
    } else {
        e = endpoint_create(backend, name, hash);
        if (!e) {
            return ERR_NOMEM;
        }
    }
    s->items[s->count++] = e;
    *ret_endpoint = e;
    return ERR_OK;
}

void endpoint_look(const struct endpoint *e, uint64_t now_ms, struct balance_endpoint *ret)
{
    uint64_t learnt_ms = atomic_load_explicit(&e->learnt_ms, memory_order_relaxed);
    ret->in_flight = atomic_load_explicit(&e->in_flight, memory_order_relaxed);
    ret->latency_us = balance_decay(atomic_load_explicit(&e->latency_us, memory_order_relaxed),
                                    now_ms > learnt_ms ? now_ms - learnt_ms : 0);
    ret->hash = e->name_hash;
    ret->out_until_ms = atomic_load_explicit(&e->out_until_ms, memory_order_relaxed);
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

bool endpoint_eject(struct endpoint *e, uint64_t now_ms, uint64_t base_ms)
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
    atomic_fetch_add_explicit(&e->ejection_count, 1, memory_order_relaxed);
    return true;
}

/* ---- for people and machines ---- */

static size_t endpoint_set_written(const struct endpoint_set *s)
{
    return s->count < WRITTEN_MAX ? s->count : WRITTEN_MAX;
}

void endpoint_set_write_json(const struct endpoint_set *s, uint64_t now_ms, struct buf *out)
{
    for (size_t i = 0; i < endpoint_set_written(s); i++) {
        const struct endpoint *e = s->items[i];
        struct balance_endpoint now;
        endpoint_look(e, now_ms, &now);
        bool is_out = now.out_until_ms > now_ms;
        buf_add_str(out, i ? STR(",{\"backend\":\"") : STR("{\"backend\":\""));
        escape_json(out, e->backend);
        buf_add_str(out, STR("\",\"endpoint\":\""));
        escape_json(out, e->name);
        buf_printf(out,
                   "\",\"out_ms\":%llu,\"in_flight\":%u,\"latency_us\":%u,\"requests\":%llu,"
                   "\"failures\":%llu,\"ejections\":%llu,\"state\":\"%s\"}",
                   (unsigned long long)(is_out ? now.out_until_ms - now_ms : 0), now.in_flight,
                   now.latency_us, (unsigned long long)atomic_load(&e->request_count),
                   (unsigned long long)atomic_load(&e->failure_count),
                   (unsigned long long)atomic_load(&e->ejection_count), is_out ? "ejected" : "in");
    }
}

enum endpoint_figure {
    ENDPOINT_REQUESTS,
    ENDPOINT_FAILURES,
    ENDPOINT_EJECTIONS,
    ENDPOINT_IN_FLIGHT,
    ENDPOINT_LATENCY,
    ENDPOINT_IS_IN,
    ENDPOINT_FIGURES,
};

static uint64_t endpoint_figure(const struct endpoint *e, enum endpoint_figure figure,
                                uint64_t now_ms)
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
        return now.out_until_ms <= now_ms;
    case ENDPOINT_FIGURES:
        break;
    }
    return 0;
}

void endpoint_set_write_prometheus(const struct endpoint_set *s, uint64_t now_ms, struct buf *out)
{
    static const struct {
        const char *name, *type, *help;
    } rows[ENDPOINT_FIGURES] = {
        {"requests_total", "counter", "Requests that were sent to an endpoint, tries counted."},
        {"failures_total", "counter", "Failures of an endpoint that count towards ejection."},
        {"ejections_total", "counter", "Times an endpoint was left out."},
        {"in_flight", "gauge", "Requests under way at an endpoint."},
        {"latency_microseconds", "gauge", "Time to the first byte, peaks first, fading in 10 s."},
        {"in", "gauge", "1: the endpoint is asked; 0: it is left out."},
    };
    for (int row = 0; row < ENDPOINT_FIGURES && s->count; row++) {
        buf_printf(out, "# HELP sws_endpoint_%s %s\n# TYPE sws_endpoint_%s %s\n", rows[row].name,
                   rows[row].help, rows[row].name, rows[row].type);
        for (size_t i = 0; i < endpoint_set_written(s); i++) {
            buf_printf(out, "sws_endpoint_%s{backend=\"", rows[row].name);
            escape_json(out, s->items[i]->backend);
            buf_add_str(out, STR("\",endpoint=\""));
            escape_json(out, s->items[i]->name);
            buf_printf(out, "\"} %llu\n",
                       (unsigned long long)endpoint_figure(s->items[i], (enum endpoint_figure)row,
                                                           now_ms));
        }
    }
}
