/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/upstream.h"

#include "base/assert.h"
#include "crypto/tls_client.h"
#include "edge/pipeline.h"

#define TRIES_MAX 2

struct upstream {
    const struct backend_settings *settings;
    struct client_timeouts timeouts;
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

enum err upstream_create(struct arena *arena, const struct backend_settings *settings,
                         struct upstream **ret_upstream, struct fault *reterr_fault)
{
    size_t n = settings->proxy.count;
    *ret_upstream = NULL;
    if (str_eq(settings->proxy.items[0], STR("echo"))) {
        return ERR_OK;
    }
    struct upstream *u = arena_zalloc(arena, sizeof(*u));
    struct upstream_endpoint *endpoints = arena_zalloc(arena, n * sizeof(*endpoints));
    if (!u || !endpoints) {
        return ERR_NOMEM;
    }
    *u = (struct upstream){
        .settings = settings,
        .timeouts = {.connect_ms = (uint64_t)settings->timeout.connect_ms,
                     .first_ms = (uint64_t)settings->timeout.first_ms,
                     .idle_ms = (uint64_t)settings->timeout.idle_ms,
                     .tunnel_ms = (uint64_t)settings->timeout.stream_ms},
        .endpoints = endpoints,
        .endpoint_count = n,
    };
    enum err e = ERR_OK;
    for (size_t i = 0; i < n && !e; i++) {
        struct str host;
        upstream_set_endpoint(&endpoints[i], settings->proxy.items[i], &settings->keepalive, &host);
        e = upstream_set_tls(&endpoints[i], host, &settings->tls, reterr_fault);
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

void upstream_pick(const struct upstream *u, struct upstream_use *use)
{
    use->endpoint = &u->endpoints[use->try_count % u->endpoint_count];
    use->try_count++;
}

bool upstream_report(struct pipeline *p, const struct upstream *u, struct upstream_use *use,
                     const struct client_end *end, bool is_idempotent, bool is_replayable)
{
    (void)u;
    metrics_add(p->metrics, end->is_reused ? METRICS_UPSTREAM_REUSED : METRICS_UPSTREAM_CONNECTIONS,
                1);
    if (end->fault == CLIENT_FAULT_NONE) {
        return false;
    }
    metrics_add_at(p->metrics, METRICS_UPSTREAM_ERRORS, end->fault, 1);
    bool is_stale = end->fault == CLIENT_FAULT_CLOSED && end->is_reused && !end->has_answered &&
                    (is_idempotent || !end->has_sent);
    bool is_due = is_replayable && use->try_count < TRIES_MAX &&
                  (is_stale || end->fault == CLIENT_FAULT_CONNECT);
    if (is_due) {
        use->wants_new_connection = true;
        metrics_add(p->metrics, METRICS_UPSTREAM_RETRIES, 1);
    }
    return is_due;
}
