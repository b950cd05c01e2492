/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters. Each loop owns a block of cells that only it writes, with plain relaxed stores, so
 * counting costs no lock and shares no cache line; whoever reads sums the blocks. The table below
 * is the one list of metrics: names, types, help and labels come from it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum metrics_type {
    METRICS_COUNTER,
    METRICS_GAUGE,
    METRICS_HISTOGRAM, /* of nanoseconds, shown in seconds */
};

/* Where a value lives: summed over the loops, one line per loop (label `loop`), or one value of
 * the process that any thread sets. */
enum metrics_scope {
    METRICS_SUM,
    METRICS_LOOP,
    METRICS_PROCESS,
};

/* How many cells, and what they are called. */
enum metrics_labels {
    METRICS_PLAIN,
    METRICS_METHOD_STATUS, /* method="GET",status="200" */
    METRICS_LIMIT,         /* limit="..." from the settings */
    METRICS_REASON,        /* reason="..." from the settings */
    METRICS_CAUSE,         /* cause="..." from the settings */
    METRICS_LATENCY,       /* the buckets of a histogram */
};

/* id, name, type, scope, labels, divisor of the cell for display, help */
#define METRICS_TABLE(X)                                                                           \
    X(REQUESTS, "sws_http_requests_total", COUNTER, SUM, METHOD_STATUS, 1,                         \
      "Exchanges finished, by method and status; status 0 means no answer was sent.")              \
    X(DURATION, "sws_http_request_duration_seconds", HISTOGRAM, SUM, LATENCY, 1,                   \
      "Time from the first byte of a request to the last byte of its answer.")                     \
    X(CONN_ACTIVE, "sws_conn_active", GAUGE, SUM, PLAIN, 1, "Connections open now.")               \
    X(CONN_ACCEPTED, "sws_conn_accepted_total", COUNTER, SUM, PLAIN, 1, "Connections accepted.")   \
    X(BYTES_IN, "sws_received_bytes_total", COUNTER, SUM, PLAIN, 1, "Bytes read from clients.")    \
    X(BYTES_OUT, "sws_sent_bytes_total", COUNTER, SUM, PLAIN, 1, "Bytes written to clients.")      \
    X(LIMIT_HITS, "sws_limit_hits_total", COUNTER, SUM, LIMIT, 1, "Times a limit refused work.")   \
    X(QUIC_PASSED, "sws_quic_passed_datagrams_total", COUNTER, SUM, PLAIN, 1,                      \
      "Datagrams that came to another loop or process than that of their connection.")             \
    X(BAD_REQUESTS, "sws_bad_requests_total", COUNTER, SUM, REASON, 1,                             \
      "Requests refused by the codecs, by reason.")                                                \
    X(EARLY_SERVED, "sws_early_requests_total", COUNTER, SUM, PLAIN, 1,                            \
      "Requests answered before the handshake proved that they are no repetition.")                \
    X(EARLY_HELD, "sws_early_requests_held_total", COUNTER, SUM, PLAIN, 1,                         \
      "Requests in early data that waited for the end of the handshake.")                          \
    X(EARLY_REFUSED, "sws_early_data_refused_total", COUNTER, PROCESS, PLAIN, 1,                   \
      "Handshakes whose early data was refused: seen before, or no room to remember it.")          \
    X(UPSTREAM_CONNECTIONS, "sws_upstream_connections_total", COUNTER, SUM, PLAIN, 1,              \
      "Requests to backends that took a new connection.")                                          \
    X(UPSTREAM_REUSED, "sws_upstream_reused_total", COUNTER, SUM, PLAIN, 1,                        \
      "Requests to backends that went over a connection which had served before.")                 \
    X(UPSTREAM_RETRIES, "sws_upstream_retries_total", COUNTER, SUM, PLAIN, 1,                      \
      "Requests that were sent to a backend once more.")                                           \
    X(UPSTREAM_ERRORS, "sws_upstream_errors_total", COUNTER, SUM, CAUSE, 1,                        \
      "Requests that failed at a backend, by cause; each try counts.")                             \
    X(UPSTREAM_EJECTIONS, "sws_upstream_ejections_total", COUNTER, SUM, PLAIN, 1,                  \
      "Times an endpoint of a backend was left out because it failed.")                            \
    X(UPSTREAM_PANICS, "sws_upstream_panics_total", COUNTER, SUM, PLAIN, 1,                        \
      "Tries for which all endpoints were asked, because fewer than half were in.")                \
    X(UPSTREAM_REFUSED, "sws_upstream_refused_total", COUNTER, SUM, PLAIN, 1,                      \
      "Requests refused because each endpoint had as many as it may.")                             \
    X(UPSTREAM_WAITING, "sws_upstream_waiting", GAUGE, SUM, PLAIN, 1,                              \
      "Requests that wait until an endpoint has room.")                                            \
    X(MIRRORED, "sws_mirrored_total", COUNTER, SUM, PLAIN, 1,                                      \
      "Copies of requests that were sent to a mirror.")                                            \
    X(MIRROR_SKIPPED, "sws_mirror_skipped_total", COUNTER, SUM, PLAIN, 1,                          \
      "Copies that were not made: body too long, too many under way, or no endpoint.")             \
    X(LOOP_LAG, "sws_loop_lag_seconds", GAUGE, LOOP, PLAIN, 1000000000,                            \
      "How late the last timer of the event loop ran.")                                            \
    X(MEMORY, "sws_memory_bytes", GAUGE, PROCESS, PLAIN, 1, "Resident memory of the process.")     \
    X(RELOAD_STATE, "sws_reload_state", GAUGE, PROCESS, PLAIN, 1,                                  \
      "Last reload: 0 none yet, 1 succeeded, 2 failed and the old configuration serves.")          \
    X(CERT_FILES_REFUSED, "sws_certificate_files_refused_total", COUNTER, PROCESS, PLAIN, 1,       \
      "Times a changed file of a certificate or key was not taken.")                               \
    X(CERT_UNSTAPLED, "sws_certificates_without_staple", GAUGE, PROCESS, PLAIN, 1,                 \
      "Certificates that name an OCSP responder which has not said yet that they are good.")       \
    X(DEMANDS, "sws_certificate_demands_total", COUNTER, SUM, PLAIN, 1,                            \
      "Names brought by clients that were passed on to get a certificate, if acme.ask allows.")    \
    X(DEMANDS_DROPPED, "sws_certificate_demands_dropped_total", COUNTER, SUM, PLAIN, 1,            \
      "The same that were not passed on, because too many came at once.")                          \
    X(LOG_DROPPED, "sws_log_dropped_lines_total", COUNTER, PROCESS, PLAIN, 1,                      \
      "Log lines dropped because the queue to the disk was full.")

enum metrics_id {
#define X(id, name, type, scope, labels, divisor, help) METRICS_##id,
    METRICS_TABLE(X)
#undef X
        METRICS_ID_COUNT,
};

/* Labels of METRICS_REQUESTS; anything else counts as OTHER. */
#define METRICS_METHOD_TABLE(X)                                                                    \
    X(GET)                                                                                         \
    X(HEAD) X(POST) X(PUT) X(DELETE) X(CONNECT) X(OPTIONS) X(TRACE) X(PATCH) X(QUERY) X(OTHER)

enum metrics_method {
#define X(name) METRICS_METHOD_##name,
    METRICS_METHOD_TABLE(X)
#undef X
        METRICS_METHOD_COUNT,
};

struct metrics;
struct metrics_block; /* of one loop */

/* The names are static strings; their index is what metrics_add_at is given. */
struct metrics_options {
    unsigned loop_count; /* at least 1 */
    const char *const *limit_names;
    size_t limit_count;
    const char *const *reason_names;
    size_t reason_count;
    const char *const *cause_names;
    size_t cause_count;
};

/* ERR_NOMEM. */
enum err metrics_create(const struct metrics_options *settings,
                        struct metrics **ret_metrics) MUST_CHECK;
void metrics_destroy(struct metrics *metrics);

/* The block of loop `index`; only that loop's thread writes it. */
struct metrics_block *metrics_block(struct metrics *metrics, unsigned index);

/* Adds to a counter or gauge without labels; a gauge goes down with a negative `n`. */
void metrics_add(struct metrics_block *block, enum metrics_id id, int64_t n);

/* Adds to the cell `label` of a counter with LIMIT, REASON or CAUSE labels; out of range is
 * ignored. */
void metrics_add_at(struct metrics_block *block, enum metrics_id id, size_t label, uint64_t n);

/* Sets a gauge of scope LOOP (nanoseconds where the table divides). */
void metrics_set(struct metrics_block *block, enum metrics_id id, int64_t value);

/* Sets a value of scope PROCESS; any thread. */
void metrics_set_process(struct metrics *metrics, enum metrics_id id, int64_t value);

/* Counts a finished exchange: METRICS_REQUESTS and METRICS_DURATION at once. A status outside
 * 100 to 599 counts as 0. */
void metrics_request(struct metrics_block *block, enum metrics_method method, unsigned status,
                     uint64_t duration_ns);

/* The method called `name`, by exact bytes; METRICS_METHOD_OTHER where there is none. */
enum metrics_method metrics_method_of(struct str name);

/* Sum over the loops of one cell without labels; for tests and decisions (load). */
int64_t metrics_get(const struct metrics *metrics, enum metrics_id id);

/* The text format of Prometheus, version 0.0.4. Series that never counted are left out where a
 * metric has labels. Any thread. */
void metrics_write_prometheus(const struct metrics *metrics, struct buf *out);

/* One JSON object, the metric's name as key: {"type":..,"values":[{"labels":{..},"value":..}]}. */
void metrics_write_json(const struct metrics *metrics, struct buf *out);
