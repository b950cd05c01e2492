/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/upstream.h"

#include <stdatomic.h>

#include "base/assert.h"
#include "crypto/tls_client.h"
#include "edge/endpoint.h"
#include "edge/pipeline.h"

#define TRIES_MAX 3
#define TRIES_MAX_ALONE 2 /* where there is no other endpoint */

_Static_assert(BACKEND_ENDPOINTS_MAX == BALANCE_ENDPOINTS_MAX, "what may be configured");

/* All loops count here. */
struct upstream_counts {
    atomic_uint turns;
    atomic_uint active; /* tries under way */
    atomic_uint retries;
};

struct upstream {
    const struct backend_settings *settings;
    struct client_timeouts timeouts;
    struct balance_rules rules;
    struct upstream_counts *counts;
    struct upstream_endpoint *endpoints;
    size_t endpoint_count;
};

/* `ret_host`: whose certificate is due; empty: no TLS. */
static void upstream_set_endpoint(struct upstream_endpoint *endpoint, struct str text,
                                  const struct keepalive_settings *keepalive, struct str *ret_host)
{
    struct upstream_address a;
    size_t at;
    const char *fault = value_parse_upstream(text, &a, &at);
    ASSERT(!fault); /* the tables have checked it */
    endpoint->name = text;
    endpoint->target.idle_max = keepalive->is_on ? (unsigned)keepalive->count_max : 0;
    endpoint->target.idle_ms = (uint64_t)keepalive->idle_ms;
    *ret_host = a.is_tls ? a.host : STR("");
    endpoint->authority = a.unix_path.p ? STR("localhost") : a.authority;
    if (a.is_name) {
        endpoint->host = a.host;
        endpoint->port = a.port;
        return;
    }
    enum err e = a.unix_path.p ? socket_address_unix(a.unix_path, &endpoint->target.address)
                               : socket_address_ip(a.host, a.port, &endpoint->target.address);
    ASSERT(!e);
}

static enum err upstream_set_tls(struct upstream_endpoint *endpoint, struct str host,
                                 const struct backend_tls_settings *tls, struct fault *fault)
{
    const struct tls_client_config config = {
        .name = tls->sni.p ? tls->sni : host,
        .verifies = tls->verify,
        .ca_pem = tls->ca_pem,
        .cert_pem = tls->cert_pem,
        .key_pem = tls->key_pem.n ? tls->key_pem : tls->cert_pem,
        .alpn = STR("http/1.1"),
    };
    if (tls->key_pem.n && !tls->cert_pem.n) {
        return fault_set(fault, ERR_CONFIG, "there is a key without its certificate");
    }
    return host.n ? tls_client_create(&config, &endpoint->target.tls, fault) : ERR_OK;
}

static enum balance_policy upstream_policy(enum balance_choice choice)
{
    switch (choice) {
    case BALANCE_CHOICE_P2C:
        return BALANCE_P2C;
    case BALANCE_CHOICE_RR:
        return BALANCE_RR;
    case BALANCE_CHOICE_LEAST:
        return BALANCE_LEAST;
    case BALANCE_CHOICE_FIRST:
        return BALANCE_FIRST;
    case BALANCE_CHOICE_HASH:
        return BALANCE_HASH;
    }
    return BALANCE_P2C;
}

static enum err upstream_add(const struct upstream_input *input,
                             const struct endpoint_settings *from,
                             struct upstream_endpoint *endpoint, struct fault *fault)
{
    struct str host;
    upstream_set_endpoint(endpoint, from->url, &input->settings->keepalive, &host);
    endpoint->weight = (uint32_t)from->weight;
    endpoint->is_backup = from->backup;
    enum err e = endpoint_set_get(input->endpoints, input->backend, from->url, &endpoint->state);
    return e ? e : upstream_set_tls(endpoint, host, &input->settings->tls, fault);
}

enum err upstream_create(const struct upstream_input *input, struct upstream **ret_upstream,
                         struct fault *reterr_fault)
{
    const struct backend_settings *settings = input->settings;
    struct arena *arena = input->arena;
    size_t n = settings->proxy.count;
    *ret_upstream = NULL;
    if (str_eq(settings->proxy.items[0].url, STR("echo"))) {
        return ERR_OK;
    }
    struct upstream *u = arena_zalloc(arena, sizeof(*u));
    struct upstream_counts *counts = arena_zalloc(arena, sizeof(*counts));
    struct upstream_endpoint *endpoints = arena_zalloc(arena, n * sizeof(*endpoints));
    if (!u || !counts || !endpoints) {
        return ERR_NOMEM;
    }
    *u = (struct upstream){
        .settings = settings,
        .timeouts = {.connect_ms = (uint64_t)settings->timeout.connect_ms,
                     .first_ms = (uint64_t)settings->timeout.first_ms,
                     .idle_ms = (uint64_t)settings->timeout.idle_ms,
                     .tunnel_ms = (uint64_t)settings->timeout.stream_ms},
        .rules = {.policy = upstream_policy(settings->balance),
                  .in_flight_max = (uint32_t)settings->breaker.in_flight_max,
                  .slow_start_ms = (uint64_t)settings->slow_start_ms},
        .counts = counts,
        .endpoints = endpoints,
        .endpoint_count = n,
    };
    enum err e = ERR_OK;
    for (size_t i = 0; i < n && !e; i++) {
        e = upstream_add(input, &settings->proxy.items[i], &endpoints[i], reterr_fault);
    }
    if (e) {
        upstream_done(u);
        return e;
    }
    *ret_upstream = u;
    return ERR_OK;
}

void upstream_done(struct upstream *u)
{
    for (size_t i = 0; u && i < u->endpoint_count; i++) {
        tls_client_unref(u->endpoints[i].target.tls);
    }
}

const struct backend_settings *upstream_settings(const struct upstream *u)
{
    return u->settings;
}

const struct client_timeouts *upstream_timeouts(const struct upstream *u)
{
    return &u->timeouts;
}

/* ---- the choice ---- */

static void upstream_look(const struct upstream *u, const struct upstream_use *use, uint64_t now_ms,
                          struct balance_endpoint *ret_list)
{
    for (size_t i = 0; i < u->endpoint_count; i++) {
        const struct upstream_endpoint *e = &u->endpoints[i];
        ret_list[i] = (struct balance_endpoint){
            .weight = e->weight, .is_backup = e->is_backup, .is_tried = use->tried >> i & 1};
        endpoint_look(e->state, now_ms, &ret_list[i]);
    }
}

bool upstream_pick(struct pipeline *p, const struct upstream *u, struct upstream_use *use)
{
    struct balance_endpoint list[BALANCE_ENDPOINTS_MAX];
    const struct balance_turn turn = {
        .now_ms = loop_now_ms(p->loop),
        .key = use->key,
        .random = pipeline_random(p),
        .tick = atomic_fetch_add_explicit(&u->counts->turns, 1, memory_order_relaxed)};
    bool is_panic;
    upstream_look(u, use, turn.now_ms, list);
    size_t i = balance_pick(&u->rules, list, u->endpoint_count, &turn, &is_panic);
    if (is_panic) {
        metrics_add(p->metrics, METRICS_UPSTREAM_PANICS, 1);
    }
    if (i == BALANCE_NONE) {
        metrics_add(p->metrics, METRICS_UPSTREAM_REFUSED, 1);
        return false;
    }
    use->endpoint = &u->endpoints[i];
    use->tried |= (uint64_t)1 << i;
    use->try_count++;
    use->start_ns = loop_now_ns(p->loop);
    use->is_under_way = true;
    endpoint_begin(use->endpoint->state);
    atomic_fetch_add_explicit(&u->counts->active, 1, memory_order_relaxed);
    return true;
}

void upstream_release(const struct upstream *u, struct upstream_use *use)
{
    if (use->is_retry) {
        use->is_retry = false;
        atomic_fetch_sub_explicit(&u->counts->retries, 1, memory_order_relaxed);
    }
    if (use->is_under_way) {
        use->is_under_way = false;
        endpoint_end(use->endpoint->state);
        atomic_fetch_sub_explicit(&u->counts->active, 1, memory_order_relaxed);
    }
}

/* ---- how it went ---- */

static uint32_t upstream_elapsed_us(struct pipeline *p, const struct upstream_use *use)
{
    uint64_t us = (loop_now_ns(p->loop) - use->start_ns) / 1000;
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* A failure counts as long as a connection may take, however quick it was: else whoever fails
 * fastest would be asked most. */
static void upstream_failed(struct pipeline *p, const struct upstream *u, struct upstream_use *use)
{
    const struct outlier_settings *outlier = &u->settings->outlier;
    struct balance_endpoint list[BALANCE_ENDPOINTS_MAX];
    uint64_t now_ms = loop_now_ms(p->loop);
    uint64_t least_us =
        u->timeouts.connect_ms < UINT32_MAX / 1000 ? u->timeouts.connect_ms * 1000 : UINT32_MAX;
    uint32_t us = upstream_elapsed_us(p, use);
    struct endpoint *state = use->endpoint->state;
    uint32_t count = endpoint_failed(state, now_ms, us > least_us ? us : (uint32_t)least_us);
    if (!outlier->is_on || count < outlier->error_count) {
        return;
    }
    upstream_look(u, use, now_ms, list);
    if (balance_may_eject(list, u->endpoint_count, (size_t)(use->endpoint - u->endpoints),
                          now_ms) &&
        endpoint_eject(state, now_ms, (uint64_t)outlier->eject_ms)) {
        metrics_add(p->metrics, METRICS_UPSTREAM_EJECTIONS, 1);
    }
}

void upstream_answered(struct pipeline *p, const struct upstream *u, struct upstream_use *use,
                       uint16_t status)
{
    if (status >= 502 && status <= 504) {
        upstream_failed(p, u, use);
    } else {
        endpoint_succeeded(use->endpoint->state, loop_now_ms(p->loop), upstream_elapsed_us(p, use));
    }
}

/* Whether a fault says something about the endpoint. */
static bool upstream_is_failure(enum client_fault fault)
{
    switch (fault) {
    case CLIENT_FAULT_NAME:
    case CLIENT_FAULT_CONNECT:
    case CLIENT_FAULT_CONNECT_TIME:
    case CLIENT_FAULT_TLS:
    case CLIENT_FAULT_CLOSED:
    case CLIENT_FAULT_RESPONSE:
    case CLIENT_FAULT_INTERIM:
    case CLIENT_FAULT_FIRST_TIME:
    case CLIENT_FAULT_IDLE_TIME:
    case CLIENT_FAULT_CUT:
        return true;
    case CLIENT_FAULT_NONE:
    case CLIENT_FAULT_MEMORY:
    case CLIENT_FAULT_UPGRADE:
    case CLIENT_FAULT_REQUEST:
    case CLIENT_FAULT_COUNT:
        break;
    }
    return false;
}

/* Whether a try that failed so may be made again, `has_other`: at another endpoint. */
static bool upstream_is_safe(const struct client_end *end, bool is_idempotent, bool has_other)
{
    bool may_repeat = !end->has_answered && (is_idempotent || !end->has_sent);
    switch (end->fault) {
    case CLIENT_FAULT_CONNECT:
        return true;
    case CLIENT_FAULT_NAME:
    case CLIENT_FAULT_CONNECT_TIME:
    case CLIENT_FAULT_TLS:
        return has_other && !end->has_sent;
    case CLIENT_FAULT_CLOSED:
        return may_repeat && (end->is_reused || has_other);
    case CLIENT_FAULT_NONE:
    case CLIENT_FAULT_MEMORY:
    case CLIENT_FAULT_RESPONSE:
    case CLIENT_FAULT_INTERIM:
    case CLIENT_FAULT_UPGRADE:
    case CLIENT_FAULT_FIRST_TIME:
    case CLIENT_FAULT_IDLE_TIME:
    case CLIENT_FAULT_CUT:
    case CLIENT_FAULT_REQUEST:
    case CLIENT_FAULT_COUNT:
        break;
    }
    return false;
}

bool upstream_report(struct pipeline *p, const struct upstream *u, struct upstream_use *use,
                     const struct client_end *end, bool is_idempotent, bool is_replayable)
{
    bool has_other = u->endpoint_count > 1;
    unsigned most = has_other ? TRIES_MAX : TRIES_MAX_ALONE;
    /* A connection that rested may end at any time; that is no fault of the endpoint. */
    bool is_stale = end->fault == CLIENT_FAULT_CLOSED && end->is_reused && !end->has_answered;
    metrics_add(p->metrics, end->is_reused ? METRICS_UPSTREAM_REUSED : METRICS_UPSTREAM_CONNECTIONS,
                1);
    if (end->fault) {
        metrics_add_at(p->metrics, METRICS_UPSTREAM_ERRORS, end->fault, 1);
        if (!is_stale && upstream_is_failure(end->fault)) {
            upstream_failed(p, u, use);
        }
    }
    upstream_release(u, use);
    if (!is_replayable || use->try_count >= most ||
        !upstream_is_safe(end, is_idempotent, has_other)) {
        return false;
    }
    use->wants_new_connection = true;
    use->pause_ms = has_other ? balance_retry_pause_ms(use->try_count, pipeline_random(p)) : 0;
    return true;
}

bool upstream_begin_retry(struct pipeline *p, const struct upstream *u, struct upstream_use *use)
{
    uint32_t active = atomic_load_explicit(&u->counts->active, memory_order_relaxed);
    uint32_t retries = atomic_load_explicit(&u->counts->retries, memory_order_relaxed);
    if (!balance_may_retry(active, retries)) {
        use->pause_ms = 1 + balance_retry_pause_ms(use->try_count, pipeline_random(p));
        return false;
    }
    atomic_fetch_add_explicit(&u->counts->retries, 1, memory_order_relaxed);
    use->is_retry = true;
    metrics_add(p->metrics, METRICS_UPSTREAM_RETRIES, 1);
    return true;
}
