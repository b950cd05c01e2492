/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/outlier.h"

#include "edge/endpoint.h"
#include "edge/site.h"
#include "edge/upstream.h"
#include "log/log.h"
#include "log/metrics.h"

/* Windows begin anew for all, also for those that are not judged. */
static void outlier_judge(const struct upstream *u, uint64_t now_ms, struct metrics_block *metrics)
{
    const struct outlier_settings *settings = &upstream_settings(u)->outlier;
    const struct members *m = upstream_members(u);
    struct balance_window windows[BALANCE_ENDPOINTS_MAX];
    struct balance_endpoint list[BALANCE_ENDPOINTS_MAX];
    bool is_out[BALANCE_ENDPOINTS_MAX];
    for (size_t i = 0; i < m->count; i++) {
        windows[i] = endpoint_take_window(m->items[i].state);
    }
    if (!settings->is_on || balance_by_rate(windows, m->count, is_out) == 0) {
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        members_look(m, now_ms, list);
        if (is_out[i] &&
            balance_may_eject(list, m->count, i, now_ms, (uint32_t)settings->max_ppm) &&
            endpoint_eject(m->items[i].state, now_ms, (uint64_t)settings->eject_ms,
                           ENDPOINT_FAILS_OFTEN)) {
            metrics_add(metrics, METRICS_UPSTREAM_EJECTIONS, 1);
        }
    }
}

static const char *outlier_reason(enum endpoint_cause cause)
{
    switch (cause) {
    case ENDPOINT_FAILS_IN_ROW:
        return "failures in a row";
    case ENDPOINT_FAILS_OFTEN:
        return "it fails more often than the others";
    }
    return "";
}

static void outlier_say(const struct upstream *u, uint64_t now_ms, struct log *log)
{
    const struct members *m = upstream_members(u);
    for (size_t i = 0; i < m->count; i++) {
        const struct endpoint_news news = endpoint_take_news(m->items[i].state, now_ms);
        if (news.is_ejected) {
            LOG(log, LOG_LEVEL_WARN, "an endpoint is left out",
                log_str("backend", upstream_name(u)), log_str("endpoint", m->items[i].name),
                log_str("reason", str_of(outlier_reason(news.cause))),
                log_u64("for_ms", news.out_ms));
        }
        if (news.is_back) {
            LOG(log, LOG_LEVEL_NOTICE, "an endpoint is asked again",
                log_str("backend", upstream_name(u)), log_str("endpoint", m->items[i].name));
        }
    }
}

void outlier_turn(const struct site *site, uint64_t now_ms, bool ends_window, struct log *log,
                  struct metrics_block *metrics)
{
    for (size_t i = 0; i < site->upstream_count; i++) {
        if (ends_window) {
            outlier_judge(site->upstreams[i], now_ms, metrics);
        }
        outlier_say(site->upstreams[i], now_ms, log);
    }
}
