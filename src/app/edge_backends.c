/* SPDX-License-Identifier: Apache-2.0 */
/* What the control thread knows and does of the backends of the site in force. */
#include "app/edge_int.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/state_dir.h"
#include "edge/endpoint.h"
#include "edge/outlier.h"
#include "edge/sticky.h"
#include "edge/upstream.h"
#include "os/file.h"
#include "os/random.h"

void edge_watch_backends(struct edge *e)
{
    uint64_t now_ms = loop_now_ms(e->loop);
    bool ends_window = now_ms >= e->window_end_ms;
    if (ends_window) {
        e->window_end_ms = now_ms + OUTLIER_WINDOW_MS;
    }
    outlier_turn(e->site, now_ms, ends_window, e->log, metrics_block(e->metrics, e->worker_count));
}

static void edge_check_endpoints(struct edge *e)
{
    enum err err = health_set_site(e->health, e->site);
    if (err) {
        LOG(e->log, LOG_LEVEL_ERROR, "some endpoints are not checked", log_err(err));
    }
}

void edge_check_backends(struct edge *e)
{
    edge_check_endpoints(e);
    enum err err = discover_set_site(e->discover, e->site);
    if (err) {
        LOG(e->log, LOG_LEVEL_ERROR, "some backends are not followed", log_err(err));
    }
}

void edge_on_discovered(void *edge, struct str backend, const struct member *list, size_t count)
{
    struct edge *e = edge;
    struct fault fault = {{0}};
    enum err err = edge_publish_members(e, backend, list, count, &fault);
    if (err) {
        LOG(e->log, LOG_LEVEL_ERROR, "a list of endpoints is not taken",
            log_str("backend", backend), log_err(err), log_str("reason", str_of(fault.text)));
    } else {
        LOG(e->log, LOG_LEVEL_INFO, "a backend has other endpoints", log_str("backend", backend),
            log_u64("count", count));
    }
}

enum err edge_publish_members(struct edge *e, struct str backend, const struct member *list,
                              size_t count, struct fault *reterr_fault)
{
    enum err err = site_publish_members(e->site, backend, list, count, reterr_fault);
    if (!err) {
        edge_check_endpoints(e);
    }
    return err;
}

/* ---- the key of cookies ---- */

static bool sticky_is_wanted(const struct settings *s)
{
    bool is_wanted = false;
    for (size_t i = 0; i < s->backends.count; i++) {
        is_wanted |= s->backends.items[i].sticky.is_on;
    }
    for (size_t i = 0; i < s->hosts.count; i++) {
        const struct host_settings *host = &s->hosts.items[i];
        is_wanted |= host->keys.backend.sticky.is_on;
        for (size_t k = 0; k < host->routes.count; k++) {
            is_wanted |= host->routes.items[k].keys.backend.sticky.is_on;
        }
    }
    return is_wanted;
}

/* The key in the file, or a new one that is put there. */
static enum err sticky_read_key(const struct server_settings *server,
                                uint8_t ret_key[STICKY_KEY_BYTES])
{
    char path[PATH_MAX];
    struct buf bytes;
    enum err e = state_dir_create(server->state, server->user);
    e = e == ERR_NOT_FOUND ? ERR_OK : e; /* there is no such user: whoever runs keeps it */
    e = e ? e : state_dir_path(server->state, "sticky.key", path);
    if (e) {
        return e;
    }
    buf_init(&bytes, 0);
    e = file_read_all(path, 4096, &bytes);
    if (!e && bytes.n == STICKY_KEY_BYTES) {
        memcpy(ret_key, bytes.p, STICKY_KEY_BYTES);
    } else if (!e || e == ERR_NOT_FOUND) {
        e = file_replace(path, str_make((const char *)ret_key, STICKY_KEY_BYTES), 0600);
        if (!e && geteuid() == 0 && server->user.n) {
            enum err ignored = file_give_to(path, server->user.p);
            (void)ignored; /* there is no such user */
        }
    }
    buf_done_secret(&bytes);
    return e;
}

void edge_prepare_sticky(struct edge *e, const struct settings *settings)
{
    uint8_t key[STICKY_KEY_BYTES];
    if (e->has_sticky_key || !sticky_is_wanted(settings)) {
        return;
    }
    random_bytes(key, sizeof(key));
    enum err err = sticky_read_key(&settings->server, key);
    if (err && e->log) {
        LOG(e->log, LOG_LEVEL_WARN, "sticky cookies will not outlive this process", log_err(err));
    } else if (err) {
        fprintf(stderr, "sws: sticky cookies will not outlive this process: %s (server.state)\n",
                err_text(err));
    }
    sticky_set_key(key);
    explicit_bzero(key, sizeof(key));
    e->has_sticky_key = true;
}

/* ---- what an operator takes out ---- */

/* The value of `name` in a query, decoded into `out`. False: it is not there, or malformed. */
static bool query_value(struct str query, struct str name, struct buf *out)
{
    struct str part;
    while (str_split(&query, '&', &part)) {
        if (!str_starts_with(part, name) || part.n == name.n || part.p[name.n] != '=') {
            continue;
        }
        struct str value = str_sub(part, name.n + 1, part.n);
        for (size_t i = 0; i < value.n; i++) {
            char c = value.p[i];
            if (c == '%') {
                int high = i + 2 < value.n ? ascii_hex_value(value.p[i + 1]) : -1;
                int low = i + 2 < value.n ? ascii_hex_value(value.p[i + 2]) : -1;
                if (high < 0 || low < 0) {
                    return false;
                }
                c = (char)(high * 16 + low);
                i += 2;
            }
            buf_add_char(out, c);
        }
        return out->n > 0;
    }
    return false;
}

/* Keeps the nearest of several names, however far away: there are not many. */
static void nearer(struct str name, struct str candidate, struct str *best, unsigned *distance)
{
    unsigned d = str_distance(name, candidate);
    if (!best->p || d < *distance) {
        *distance = d;
        *best = candidate;
    }
}

static enum err drain_unknown(const char *what, struct str name, struct str nearest,
                              struct buf *text)
{
    buf_printf(text, "there is no %s \"" STR_FMT "\"", what, STR_ARG(name));
    if (nearest.p) {
        buf_printf(text, "; the nearest is \"" STR_FMT "\"", STR_ARG(nearest));
    }
    return ERR_NOT_FOUND;
}

static enum err drain_named(const struct site *site, struct str backend, struct str endpoint,
                            bool is_drained, struct buf *text)
{
    const struct upstream *u = site_find_backend(site, backend);
    struct str best = {NULL, 0};
    unsigned distance = 0;
    if (!u) {
        for (size_t i = 0; i < site->upstream_count; i++) {
            nearer(backend, upstream_name(site->upstreams[i]), &best, &distance);
        }
        return drain_unknown("backend", backend, best, text);
    }
    const struct members *m = upstream_members(u);
    const struct upstream_endpoint *e = members_find(m, endpoint);
    if (!e) {
        for (size_t i = 0; i < m->count; i++) {
            nearer(endpoint, m->items[i].name, &best, &distance);
        }
        return drain_unknown("endpoint", endpoint, best, text);
    }
    endpoint_set_drained(e->state, is_drained);
    if (is_drained) {
        buf_printf(text, STR_FMT " gets no more requests; under way: %llu", STR_ARG(endpoint),
                   (unsigned long long)endpoint_figure(e->state, ENDPOINT_IN_FLIGHT, 0));
    } else {
        buf_printf(text, STR_FMT " gets requests again", STR_ARG(endpoint));
    }
    return ERR_OK;
}

enum err edge_drain_endpoint(struct edge *e, struct str query, bool is_drained, struct buf *text)
{
    struct buf backend, endpoint;
    buf_init(&backend, 0);
    buf_init(&endpoint, 0);
    bool is_whole = query_value(query, STR("backend"), &backend) &&
                    query_value(query, STR("endpoint"), &endpoint);
    enum err err = backend.is_failed || endpoint.is_failed ? ERR_NOMEM : ERR_SYNTAX;
    if (is_whole && err == ERR_SYNTAX) {
        err = drain_named(e->site, buf_str(&backend), buf_str(&endpoint), is_drained, text);
    } else {
        buf_add_str(text, err == ERR_NOMEM ? STR("out of memory")
                                           : STR("backend and endpoint must be named"));
    }
    if (!err) {
        LOG(e->log, LOG_LEVEL_NOTICE,
            is_drained ? "an endpoint is drained" : "an endpoint is not drained any more",
            log_str("backend", buf_str(&backend)), log_str("endpoint", buf_str(&endpoint)));
    }
    buf_done(&backend);
    buf_done(&endpoint);
    return err;
}
