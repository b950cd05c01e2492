/* SPDX-License-Identifier: Apache-2.0 */
#include "log/metrics.h"

#include "base/assert.h"
#include "base/mem.h"
#include "log/metrics_int.h"

#define METRICS_MAGIC 0x6d657472u

const struct metrics_info metrics_infos[METRICS_ID_COUNT] = {
#define X(id, name, type, scope, labels, divisor, help)                                            \
    [METRICS_##id] = {name, help, METRICS_##type, METRICS_##scope, METRICS_##labels, divisor},
    METRICS_TABLE(X)
#undef X
};

/* 0.1 ms to 60 s, about three to a decade. */
const uint64_t metrics_buckets_ns[METRICS_BUCKET_COUNT] = {
    100000,     250000,     500000,     1000000,     2500000,     5000000,
    10000000,   25000000,   50000000,   100000000,   250000000,   500000000,
    1000000000, 2500000000, 5000000000, 10000000000, 30000000000, 60000000000,
};

static uint32_t metrics_cells_of(enum metrics_labels labels, const struct metrics_options *settings)
{
    switch (labels) {
    case METRICS_PLAIN:
        return 1;
    case METRICS_METHOD_STATUS:
        return METRICS_METHOD_COUNT * METRICS_STATUS_COUNT;
    case METRICS_LIMIT:
        return (uint32_t)settings->limit_count;
    case METRICS_REASON:
        return (uint32_t)settings->reason_count;
    case METRICS_CAUSE:
        return (uint32_t)settings->cause_count;
    case METRICS_LATENCY:
        return METRICS_HISTOGRAM_CELLS;
    }
    return 0;
}

enum err metrics_create(const struct metrics_options *settings, struct metrics **ret_metrics)
{
    ASSERT(settings->loop_count > 0);
    struct metrics *m = mem_zalloc(1, sizeof(*m));
    if (!m) {
        return ERR_NOMEM;
    }
    m->magic = METRICS_MAGIC;
    m->limit_names = settings->limit_names;
    m->reason_names = settings->reason_names;
    m->cause_names = settings->cause_names;
    for (size_t i = 0; i < METRICS_ID_COUNT; i++) {
        uint32_t count = metrics_cells_of(metrics_infos[i].labels, settings);
        m->places[i] = (struct metrics_place){m->cell_count, count};
        m->cell_count += count;
    }
    m->blocks = mem_zalloc(settings->loop_count, sizeof(struct metrics_block *));
    if (!m->blocks) {
        metrics_destroy(m);
        return ERR_NOMEM;
    }
    size_t bytes =
        sizeof(struct metrics_block) + m->cell_count * sizeof(uint64_t) + METRICS_CACHE_LINE;
    for (unsigned i = 0; i < settings->loop_count; i++) {
        m->blocks[i] = mem_zalloc(1, bytes);
        m->loop_count = i + 1;
        if (!m->blocks[i]) {
            metrics_destroy(m);
            return ERR_NOMEM;
        }
        memcpy(m->blocks[i]->places, m->places, sizeof(m->places));
    }
    *ret_metrics = m;
    return ERR_OK;
}

void metrics_destroy(struct metrics *m)
{
    if (!m) {
        return;
    }
    ASSERT_MAGIC(m, METRICS_MAGIC);
    for (unsigned i = 0; i < m->loop_count; i++) {
        mem_free(m->blocks[i]);
    }
    mem_free(m->blocks);
    m->magic = 0;
    mem_free(m);
}

struct metrics_block *metrics_block(struct metrics *m, unsigned index)
{
    ASSERT(index < m->loop_count);
    return m->blocks[index];
}

/* One writer per block: a load and a store are enough, no locked instruction. */
static void metrics_cell_add(_Atomic uint64_t *cell, uint64_t n)
{
    uint64_t value = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, value + n, memory_order_relaxed);
}

void metrics_add(struct metrics_block *block, enum metrics_id id, int64_t n)
{
    ASSERT(metrics_infos[id].labels == METRICS_PLAIN);
    metrics_cell_add(&block->cells[block->places[id].first], (uint64_t)n);
}

void metrics_add_at(struct metrics_block *block, enum metrics_id id, size_t label, uint64_t n)
{
    enum metrics_labels labels = metrics_infos[id].labels;
    ASSERT(labels == METRICS_LIMIT || labels == METRICS_REASON || labels == METRICS_CAUSE);
    if (label < block->places[id].count) {
        metrics_cell_add(&block->cells[block->places[id].first + label], n);
    }
}

void metrics_set(struct metrics_block *block, enum metrics_id id, int64_t value)
{
    ASSERT(metrics_infos[id].scope == METRICS_LOOP);
    atomic_store_explicit(&block->cells[block->places[id].first], (uint64_t)value,
                          memory_order_relaxed);
}

void metrics_set_process(struct metrics *m, enum metrics_id id, int64_t value)
{
    ASSERT(metrics_infos[id].scope == METRICS_PROCESS);
    atomic_store_explicit(&m->process[id], value, memory_order_relaxed);
}

void metrics_request(struct metrics_block *block, enum metrics_method method, unsigned status,
                     uint64_t duration_ns)
{
    size_t row = method < METRICS_METHOD_COUNT ? method : METRICS_METHOD_OTHER;
    size_t column = status >= 100 && status <= 599 ? status - 99 : 0;
    size_t requests = block->places[METRICS_REQUESTS].first;
    size_t durations = block->places[METRICS_DURATION].first;
    size_t bucket = 0;
    while (bucket < METRICS_BUCKET_COUNT && duration_ns > metrics_buckets_ns[bucket]) {
        bucket++;
    }
    metrics_cell_add(&block->cells[requests + row * METRICS_STATUS_COUNT + column], 1);
    metrics_cell_add(&block->cells[durations + bucket], 1);
    metrics_cell_add(&block->cells[durations + METRICS_SUM_CELL], duration_ns);
}

enum metrics_method metrics_method_of(struct str name)
{
    static const struct str names[] = {
#define X(method) {#method, sizeof(#method) - 1},
        METRICS_METHOD_TABLE(X)
#undef X
    };
    for (size_t i = 0; i < METRICS_METHOD_OTHER; i++) {
        if (str_eq(name, names[i])) {
            return (enum metrics_method)i;
        }
    }
    return METRICS_METHOD_OTHER;
}

uint64_t metrics_sum(const struct metrics *m, enum metrics_id id, uint32_t index)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < m->loop_count; i++) {
        sum += atomic_load_explicit(&m->blocks[i]->cells[m->places[id].first + index],
                                    memory_order_relaxed);
    }
    return sum;
}

int64_t metrics_get(const struct metrics *m, enum metrics_id id)
{
    ASSERT(metrics_infos[id].labels == METRICS_PLAIN);
    if (metrics_infos[id].scope == METRICS_PROCESS) {
        return atomic_load_explicit(&m->process[id], memory_order_relaxed);
    }
    return (int64_t)metrics_sum(m, id, 0);
}
