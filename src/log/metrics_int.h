/* SPDX-License-Identifier: Apache-2.0 */
/* The cells behind the metrics, shared by metrics.c and metrics_write.c. */
#pragma once

#include <stdatomic.h>

#include "log/metrics.h"

#define METRICS_BUCKET_COUNT 18
#define METRICS_STATUS_COUNT 501 /* 0, then 100 to 599 */

/* Cells of a histogram: each bucket, everything above the last, the sum in nanoseconds. */
#define METRICS_HISTOGRAM_CELLS (METRICS_BUCKET_COUNT + 2)
#define METRICS_SUM_CELL (METRICS_BUCKET_COUNT + 1)

#define METRICS_CACHE_LINE 64

struct metrics_place {
    uint32_t first;
    uint32_t count;
};

struct metrics_block {
    struct metrics_place places[METRICS_ID_COUNT];
    char apart[METRICS_CACHE_LINE]; /* from what the heap has put before the cells */
    _Atomic uint64_t cells[];       /* and a line's worth behind */
};

struct metrics {
    uint32_t magic;
    unsigned loop_count;
    struct metrics_place places[METRICS_ID_COUNT];
    uint32_t cell_count;
    const char *const *limit_names;
    const char *const *reason_names;
    const char *const *cause_names;
    struct metrics_block **blocks;
    _Atomic int64_t process[METRICS_ID_COUNT];
};

struct metrics_info {
    const char *name;
    const char *help;
    enum metrics_type type;
    enum metrics_scope scope;
    enum metrics_labels labels;
    uint64_t divisor;
};

extern const struct metrics_info metrics_infos[METRICS_ID_COUNT];
extern const uint64_t metrics_buckets_ns[METRICS_BUCKET_COUNT];

/* Sum over the loops of cell `index` of a metric. */
uint64_t metrics_sum(const struct metrics *metrics, enum metrics_id id, uint32_t index);
