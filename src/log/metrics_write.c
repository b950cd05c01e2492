/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>

#include "log/escape.h"
#include "log/metrics.h"
#include "log/metrics_int.h"

/* Both formats walk the same cells and differ in punctuation. */
struct metrics_out {
    const struct metrics *metrics;
    struct buf *buf;
    bool is_json;
    bool is_first; /* no value of this metric is written yet */
};

static const char *const method_names[] = {
#define X(name) #name,
    METRICS_METHOD_TABLE(X)
#undef X
};

/* An integer, divided for display: 1500000000 by 10^9 is 1.500000000. */
static void metrics_write_number(struct buf *out, int64_t value, uint64_t divisor)
{
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    if (value < 0) {
        buf_add_char(out, '-');
    }
    buf_add_u64(out, size / divisor);
    if (divisor == 1) {
        return;
    }
    buf_add_char(out, '.');
    for (uint64_t place = divisor / 10, rest = size % divisor; place > 0; place /= 10) {
        buf_add_char(out, (char)('0' + rest / place % 10));
    }
}

/* The bound of a bucket in seconds, without trailing zeros. */
static void metrics_write_bound(struct buf *out, uint64_t bound_ns)
{
    metrics_write_number(out, (int64_t)bound_ns, 1000000000u);
    while (out->n > 0 && out->p[out->n - 1] == '0') {
        out->n--;
    }
    if (out->n > 0 && out->p[out->n - 1] == '.') {
        out->n--;
    }
}

/* One label or two; a NULL key is none. JSON escapes are a superset of what Prometheus takes, but
 * label values are our own static names, so none occur. */
struct metrics_label {
    const char *key;
    struct str value;
};

static void metrics_write_labels(struct metrics_out *o, const struct metrics_label labels[2])
{
    for (size_t i = 0; i < 2 && labels[i].key; i++) {
        if (i > 0) {
            buf_add_char(o->buf, ',');
        }
        buf_add_str(o->buf, o->is_json ? STR("\"") : STR(""));
        buf_add_str(o->buf, str_of(labels[i].key));
        buf_add_str(o->buf, o->is_json ? STR("\":\"") : STR("=\""));
        escape_json(o->buf, labels[i].value);
        buf_add_char(o->buf, '"');
    }
}

static void metrics_write_value(struct metrics_out *o, enum metrics_id id,
                                const struct metrics_label labels[2], int64_t value)
{
    struct buf *out = o->buf;
    if (o->is_json) {
        buf_add_str(out, o->is_first ? STR("{\"labels\":{") : STR(",{\"labels\":{"));
        metrics_write_labels(o, labels);
        buf_add_str(out, STR("},\"value\":"));
        metrics_write_number(out, value, metrics_infos[id].divisor);
        buf_add_char(out, '}');
    } else {
        buf_add_str(out, str_of(metrics_infos[id].name));
        if (labels[0].key) {
            buf_add_char(out, '{');
            metrics_write_labels(o, labels);
            buf_add_char(out, '}');
        }
        buf_add_char(out, ' ');
        metrics_write_number(out, value, metrics_infos[id].divisor);
        buf_add_char(out, '\n');
    }
    o->is_first = false;
}

static struct str metrics_digits(char digits[20], unsigned value)
{
    size_t at = 20;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return str_make(digits + at, 20 - at);
}

static void metrics_write_plain(struct metrics_out *o, enum metrics_id id)
{
    const struct metrics *m = o->metrics;
    struct metrics_label labels[2] = {{NULL, {NULL, 0}}, {NULL, {NULL, 0}}};
    if (metrics_infos[id].scope != METRICS_LOOP) {
        metrics_write_value(o, id, labels, metrics_get(m, id));
        return;
    }
    for (unsigned i = 0; i < m->loop_count; i++) {
        char digits[20];
        labels[0] = (struct metrics_label){"loop", metrics_digits(digits, i)};
        uint64_t value =
            atomic_load_explicit(&m->blocks[i]->cells[m->places[id].first], memory_order_relaxed);
        metrics_write_value(o, id, labels, (int64_t)value);
    }
}

static void metrics_write_requests(struct metrics_out *o, enum metrics_id id)
{
    for (uint32_t i = 0; i < o->metrics->places[id].count; i++) {
        uint64_t value = metrics_sum(o->metrics, id, i);
        if (value > 0) {
            char digits[20];
            unsigned column = i % METRICS_STATUS_COUNT;
            struct str status = metrics_digits(digits, column > 0 ? column + 99 : 0);
            struct metrics_label labels[2] = {
                {"method", str_of(method_names[i / METRICS_STATUS_COUNT])}, {"status", status}};
            metrics_write_value(o, id, labels, (int64_t)value);
        }
    }
}

static void metrics_write_named(struct metrics_out *o, enum metrics_id id, const char *key,
                                const char *const *names)
{
    for (uint32_t i = 0; i < o->metrics->places[id].count; i++) {
        uint64_t value = metrics_sum(o->metrics, id, i);
        if (value > 0) {
            struct metrics_label labels[2] = {{key, str_of(names[i])}, {NULL, {NULL, 0}}};
            metrics_write_value(o, id, labels, (int64_t)value);
        }
    }
}

/* Buckets are read once, and the count is their sum, so that a scrape agrees with itself. */
static void metrics_write_histogram(struct metrics_out *o, enum metrics_id id)
{
    struct buf *out = o->buf;
    struct str name = str_of(metrics_infos[id].name);
    uint64_t count = 0;
    if (o->is_json) {
        buf_add_str(out, STR("{\"labels\":{},\"buckets\":{"));
    }
    for (uint32_t i = 0; i <= METRICS_BUCKET_COUNT; i++) {
        count += metrics_sum(o->metrics, id, i);
        if (o->is_json) {
            buf_add_str(out, i > 0 ? STR(",\"") : STR("\""));
        } else {
            buf_add_str(out, name);
            buf_add_str(out, STR("_bucket{le=\""));
        }
        if (i < METRICS_BUCKET_COUNT) {
            metrics_write_bound(out, metrics_buckets_ns[i]);
        } else {
            buf_add_str(out, STR("+Inf"));
        }
        buf_add_str(out, o->is_json ? STR("\":") : STR("\"} "));
        buf_add_u64(out, count);
        buf_add_str(out, o->is_json ? STR("") : STR("\n"));
    }
    uint64_t sum_ns = metrics_sum(o->metrics, id, METRICS_SUM_CELL);
    buf_add_str(out, o->is_json ? STR("},\"sum\":") : name);
    buf_add_str(out, o->is_json ? STR("") : STR("_sum "));
    metrics_write_number(out, (int64_t)sum_ns, 1000000000u);
    buf_add_str(out, o->is_json ? STR(",\"count\":") : STR("\n"));
    buf_add_str(out, o->is_json ? STR("") : name);
    buf_add_str(out, o->is_json ? STR("") : STR("_count "));
    buf_add_u64(out, count);
    buf_add_str(out, o->is_json ? STR("}") : STR("\n"));
}

static void metrics_write_values(struct metrics_out *o, enum metrics_id id)
{
    o->is_first = true;
    switch (metrics_infos[id].labels) {
    case METRICS_PLAIN:
        metrics_write_plain(o, id);
        break;
    case METRICS_METHOD_STATUS:
        metrics_write_requests(o, id);
        break;
    case METRICS_LIMIT:
        metrics_write_named(o, id, "limit", o->metrics->limit_names);
        break;
    case METRICS_REASON:
        metrics_write_named(o, id, "reason", o->metrics->reason_names);
        break;
    case METRICS_CAUSE:
        metrics_write_named(o, id, "cause", o->metrics->cause_names);
        break;
    case METRICS_LATENCY:
        metrics_write_histogram(o, id);
        break;
    }
}

static struct str metrics_type_name(enum metrics_type type)
{
    switch (type) {
    case METRICS_COUNTER:
        return STR("counter");
    case METRICS_GAUGE:
        return STR("gauge");
    case METRICS_HISTOGRAM:
        return STR("histogram");
    }
    return STR("untyped");
}

void metrics_write_prometheus(const struct metrics *metrics, struct buf *out)
{
    struct metrics_out o = {.metrics = metrics, .buf = out};
    for (size_t i = 0; i < METRICS_ID_COUNT; i++) {
        const struct metrics_info *info = &metrics_infos[i];
        buf_add_str(out, STR("# HELP "));
        buf_add_str(out, str_of(info->name));
        buf_add_char(out, ' ');
        buf_add_str(out, str_of(info->help));
        buf_add_str(out, STR("\n# TYPE "));
        buf_add_str(out, str_of(info->name));
        buf_add_char(out, ' ');
        buf_add_str(out, metrics_type_name(info->type));
        buf_add_char(out, '\n');
        metrics_write_values(&o, (enum metrics_id)i);
    }
}

void metrics_write_json(const struct metrics *metrics, struct buf *out)
{
    struct metrics_out o = {.metrics = metrics, .buf = out, .is_json = true};
    buf_add_char(out, '{');
    for (size_t i = 0; i < METRICS_ID_COUNT; i++) {
        buf_add_str(out, i > 0 ? STR(",\"") : STR("\""));
        buf_add_str(out, str_of(metrics_infos[i].name));
        buf_add_str(out, STR("\":{\"type\":\""));
        buf_add_str(out, metrics_type_name(metrics_infos[i].type));
        buf_add_str(out, STR("\",\"values\":["));
        metrics_write_values(&o, (enum metrics_id)i);
        buf_add_str(out, STR("]}"));
    }
    buf_add_str(out, STR("}\n"));
}
