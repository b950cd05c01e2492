/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/pipeline.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "edge/access_log.h"
#include "edge/challenge.h"
#include "edge/echo.h"
#include "edge/fcgi.h"
#include "edge/file_cache.h"
#include "edge/files.h"
#include "edge/match.h"
#include "edge/mirror.h"
#include "edge/proxy.h"
#include "edge/request.h"
#include "edge/split.h"
#include "edge/stream.h"
#include "edge/upstream.h"
#include "edge/ws_session.h"
#include "http/h1_parse.h"
#include "http/target.h"
#include "os/random.h"

#define FILE_ENTRIES_MAX 2048
#define FILE_BYTES_MAX (32u * 1024u * 1024u) /* per loop */

const char *const *pipeline_limit_names(void)
{
    static const char *const names[] = {
#define X(id, name) name,
        SERVER_LIMIT_TABLE(X)
#undef X
    };
    return names;
}

const char *const *pipeline_reason_names(void)
{
    static const char *const names[] = {
#define X(id, name, status, err) name,
        H1_REJECT_TABLE(X)
#undef X
    };
    return names;
}

const char *const *pipeline_cause_names(void)
{
    static const char *const names[] = {
#define X(id, name, status, text) name,
        CLIENT_FAULT_TABLE(X)
#undef X
    };
    return names;
}

static struct site_use *pipeline_new_use(struct pipeline *p, struct site *site)
{
    struct site_use *use = slab_alloc(&p->uses);
    struct upstream_view *views = mem_zalloc(site->upstream_count + 1, sizeof(*views));
    if (!use || !views) {
        mem_free(views);
        slab_free(&p->uses, use);
        return NULL;
    }
    use->site = site_ref(site);
    use->views = views;
    use->use_count = 1;
    use->home = &p->uses;
    return use;
}

void site_use_end(struct site_use *use)
{
    if (use && --use->use_count == 0) {
        for (size_t i = 0; i < use->site->upstream_count; i++) {
            upstream_view_done(&use->views[i]);
        }
        mem_free(use->views);
        site_unref(use->site);
        slab_free(use->home, use);
    }
}

enum err pipeline_init(struct pipeline *p, struct loop *loop, struct site *site)
{
    p->loop = loop;
    p->challenge_root = -1;
    p->alpn_root = -1;
    list_init(&p->mirrors);
    slab_init(&p->uses, sizeof(struct site_use), 0);
    buf_init(&p->line, 0);
    random_bytes(p->id_state, sizeof(p->id_state));
    p->use = pipeline_new_use(p, site);
    enum err e = p->use ? ERR_OK : ERR_NOMEM;
    if (!e) {
        e = file_cache_create(FILE_ENTRIES_MAX, FILE_BYTES_MAX, &p->files);
    }
    if (!e) {
        e = rewrite_scratch_create(&p->rewrite);
    }
    if (e) {
        pipeline_done(p);
    }
    return e;
}

void pipeline_done(struct pipeline *p)
{
    file_cache_destroy(p->files);
    rewrite_scratch_destroy(p->rewrite);
    ws_loop_destroy(p->ws);
    mirror_end_all(p);
    client_destroy(p->client);
    resolver_destroy(p->resolver);
    site_use_end(p->use);
    certificate_store_unref(p->certificates);
    challenge_done(p);
    p->certificates = NULL;
    p->files = NULL;
    p->rewrite = NULL;
    p->ws = NULL;
    p->client = NULL;
    p->resolver = NULL;
    p->use = NULL;
    slab_done(&p->uses);
    buf_done(&p->line);
}

enum err pipeline_client(struct pipeline *p, struct client **ret_client)
{
    enum err e = p->client ? ERR_OK : client_create(p->loop, &p->client);
    *ret_client = p->client;
    return e;
}

enum err pipeline_ask(struct pipeline *p, const struct site *site, struct str name, uint16_t port,
                      struct resolver_question *q, resolver_answer_fn on_answer)
{
    enum err e = p->resolver ? ERR_OK : site_open_resolver(site, p->loop, &p->resolver);
    return e ? e : resolver_ask(p->resolver, name, port, q, on_answer);
}

enum err pipeline_set_site(struct pipeline *p, struct site *site)
{
    struct site_use *use = pipeline_new_use(p, site);
    if (!use) {
        return ERR_NOMEM;
    }
    file_cache_clear(p->files);
    site_use_end(p->use);
    p->use = use;
    return ERR_OK;
}

/* ---- the end of an exchange: counters and log, then what it held ---- */

static enum metrics_method pipeline_method(enum http_method m)
{
    return metrics_method_of(http_method_text(m));
}

static void pipeline_on_body(struct exchange *x, const char *bytes, size_t n)
{
    struct request *r = x->state;
    ASSERT(r->on_body); /* only a handler that takes bodies asks for one */
    r->on_body(r, str_make(bytes, n));
}

static void pipeline_on_body_end(struct exchange *x)
{
    struct request *r = x->state;
    if (r->on_body_end) {
        r->on_body_end(r);
    }
}

static void pipeline_on_datagram(struct exchange *x, const char *bytes, size_t n)
{
    struct request *r = x->state;
    if (r->on_datagram) {
        r->on_datagram(r, str_make(bytes, n));
    }
}

static void pipeline_on_drain(struct exchange *x)
{
    struct request *r = x->state;
    if (r->on_drain) {
        r->on_drain(r);
    }
}

static void pipeline_on_room(struct exchange *x)
{
    struct request *r = x->state;
    if (r->on_room) {
        r->on_room(r);
    }
}

static void pipeline_on_end(struct exchange *x, enum err cause)
{
    struct request *r = x->state;
    struct pipeline *p = r->pipeline;
    if (r->on_end) {
        r->on_end(r);
    }
    metrics_request(p->metrics, pipeline_method(x->request->method), x->status,
                    loop_clock_ns(p->loop) - x->start_ns);
    r->client = match_client(&r->use->site->settings->server.trusted_proxies, x->peer->host,
                             &x->request->fields);
    access_log_request(p, r, cause);
    site_use_end(r->use);
}

static const struct exchange_service pipeline_service = {
    .on_body = pipeline_on_body,
    .on_body_end = pipeline_on_body_end,
    .on_datagram = pipeline_on_datagram,
    .on_room = pipeline_on_room,
    .on_drain = pipeline_on_drain,
    .on_end = pipeline_on_end,
};

/* ---- the phases ---- */

/* The client asks for a tunnel by an extended CONNECT, to which any 2xx would be a yes. */
static bool pipeline_is_connect(const struct request *r)
{
    return r->x->request->method == HTTP_CONNECT;
}

static bool pipeline_normalise(struct request *r)
{
    const struct request_head *head = r->x->request;
    struct http_path path;
    r->query = head->query;
    if (head->method == HTTP_TRACE || (pipeline_is_connect(r) && !head->protocol.p)) {
        request_fail(r, 405, "method refused");
        return false;
    }
    if (pipeline_is_connect(r) && !str_eq_ci(head->protocol, STR("websocket")) &&
        !str_eq_ci(head->protocol, STR("connect-udp"))) {
        request_fail(r, 501, "CONNECT for an unknown protocol"); /* RFC 9220 section 3 */
        return false;
    }
    if (str_eq(head->path, STR("*"))) {
        request_answer(r, 204, (struct str){NULL, 0}, STR(""), (struct str){NULL, 0});
        return false;
    }
    char *out = arena_alloc(&r->x->arena, head->path.n + 1);
    if (!out) {
        request_fail(r, 503, "out of memory");
        return false;
    }
    if (http_path_canonical(head->path, out, &path) != ERR_OK) {
        request_fail(r, 400, "path refused");
        return false;
    }
    r->path = path.path;
    REQUEST_NOTE(r, "normalise", "path " STR_FMT "%s", STR_ARG(r->path),
                 path.has_encoded_slash ? " (holds an encoded slash)" : "");
    REQUEST_NOTE(r, "client", STR_FMT "%s", STR_ARG(r->client),
                 str_eq(r->client, r->x->peer->host) ? "" : ", as a trusted proxy says");
    return true;
}

/* Health answers come before hosts and redirects, and only for the machine itself. */
static bool pipeline_health(struct request *r)
{
    if (pipeline_is_connect(r)) {
        return true;
    }
    const struct health_settings *health = &r->use->site->settings->health;
    bool is_live = str_eq(r->path, health->live);
    bool is_ready = str_eq(r->path, health->ready);
    struct str peer = r->x->peer->host;
    bool is_local =
        str_starts_with(peer, STR("127.")) || str_eq(peer, STR("::1")) || str_eq(peer, STR("unix"));
    if ((!is_live && !is_ready) || !is_local) {
        if (is_live || is_ready) {
            REQUEST_NOTE(r, "health", "passed over: only the machine itself is told");
        }
        return true;
    }
    REQUEST_NOTE(r, "health", "whether the program %s", is_live ? "runs" : "takes requests");
    bool is_good = is_live || (r->pipeline->is_ready && atomic_load(r->pipeline->is_ready) &&
                               !r->pipeline->server->is_draining);
    request_answer(r, is_good ? 200 : 503, STR("text/plain; charset=utf-8"),
                   is_good ? STR("ok\n") : STR("draining\n"), (struct str){NULL, 0});
    return false;
}

/* What the rewrites ask through their callbacks. */
struct pipeline_question {
    struct request *request;
    enum err error; /* of a lookup: its answer was none */
};

static bool pipeline_field(void *user, struct str name, struct str *ret_value)
{
    const struct pipeline_question *q = user;
    const struct request *r = q->request;
    const struct http_field *f = http_fields_find(&r->x->request->fields, name);
    if (f) {
        *ret_value = f->value;
    }
    return f != NULL;
}

static bool pipeline_has_file(void *user, enum rewrite_file_kind kind, struct str path)
{
    struct pipeline_question *q = user;
    const struct request *r = q->request;
    struct file_entry *e;
    struct str name = str_sub(path, 1, path.n);
    if (r->route->root < 0) {
        return false;
    }
    enum err err = file_cache_get(r->pipeline->files, r->route, r->x->peer->tls != NULL, name,
                                  loop_now_ms(r->pipeline->loop), &e);
    if (err) {
        q->error = err;
        return false;
    }
    switch (kind) {
    case REWRITE_FILE:
        return e->kind == FILE_REGULAR;
    case REWRITE_DIR:
        return e->kind == FILE_DIRECTORY;
    case REWRITE_EXISTS:
        return e->kind == FILE_REGULAR || e->kind == FILE_DIRECTORY;
    }
    return false;
}

/* False: the rules answered the request. */
static bool pipeline_rewrite(struct request *r, const struct rewrite_set *set)
{
    struct pipeline_question question = {.request = r};
    const struct rewrite_request request = {
        .method = request_method(r),
        .host = r->x->request->authority,
        .path = r->path,
        .query = r->query,
        .user = &question,
        .field = pipeline_field,
        .has_file = pipeline_has_file,
    };
    struct rewrite_result result;
    enum err e = rewrite_run(set, r->pipeline->rewrite, &request, &result);
    e = e ? e : question.error;
    if (e) {
        request_fail(r, 503, err_text(e));
        return false;
    }
    switch (result.outcome) {
    case REWRITE_UNCHANGED:
        REQUEST_NOTE(r, "rewrite", "no rule changes the path");
        return true;
    case REWRITE_CHANGED:
        r->path = arena_str(&r->x->arena, result.path);
        r->query = arena_str(&r->x->arena, result.query);
        if (!r->path.p || !r->query.p) {
            request_fail(r, 503, "out of memory");
            return false;
        }
        REQUEST_NOTE(r, "rewrite", "to " STR_FMT "%s" STR_FMT " by rule %u", STR_ARG(r->path),
                     r->query.n ? "?" : "", STR_ARG(r->query), result.rule + 1);
        return true;
    case REWRITE_REDIRECT:
        REQUEST_NOTE(r, "rewrite", "redirect by rule %u", result.rule + 1);
        request_answer(r, result.status, (struct str){NULL, 0}, STR(""), result.location);
        return false;
    case REWRITE_REFUSED:
        REQUEST_NOTE(r, "rewrite", "refused by rule %u", result.rule + 1);
        request_fail(r, result.status, result.reason ? result.reason : "refused by a rewrite");
        return false;
    }
    return false;
}

/* False: whether a route takes the request could not be told, and it was answered. */
static bool pipeline_pick_route(struct request *r, const struct site_host *host)
{
    struct router_cursor cursor;
    uint32_t rule;
    router_start(host->router, r->path, &cursor);
    while (router_next(&cursor, &rule)) {
        struct match_miss miss;
        enum err e = match_route(&host->routes[rule], r, &miss);
        if (e == ERR_OK) {
            r->route = &host->routes[rule];
            REQUEST_NOTE(r, "route", STR_FMT, STR_ARG(r->route->name));
            return true;
        }
        if (e == ERR_NOT_FOUND) {
            REQUEST_NOTE(r, "route", STR_FMT " passed over: its %s%s" STR_FMT " does not match",
                         STR_ARG(host->routes[rule].name), miss.condition, miss.name.n ? " " : "",
                         STR_ARG(miss.name));
        }
        if (e == ERR_NOMEM) {
            request_fail(r, 503, err_text(e));
            return false;
        }
        if (e != ERR_NOT_FOUND) {
            request_fail(r, 500, "the expression of a route took too long");
            return false;
        }
    }
    r->route = &host->routes[host->route_count];
    REQUEST_NOTE(r, "route", "the host itself (%zu routes, none matches)", host->route_count);
    return true;
}

/* A connection was made for one name; a request on it may name another. */
static bool pipeline_is_misdirected(const struct request *r, const struct site_host *host)
{
    const struct tls_conn *tls = r->x->peer->tls;
    const struct tls_policy *policy = tls ? tls_conn_policy(tls) : NULL;
    return policy && (!host->tls.policy || !tls_policy_clients_agree(policy, host->tls.policy));
}

/* The same address with https. */
static void pipeline_redirect_https(struct request *r)
{
    struct buf location;
    char canonical[VHOST_NAME_BYTES_MAX + 1];
    struct str host;
    buf_init(&location, 0);
    if (vhost_canonical(r->x->request->authority, canonical, &host) != ERR_OK || host.n == 0) {
        request_fail(r, 400, "no host to redirect to");
        return;
    }
    buf_printf(&location, "https://" STR_FMT, STR_ARG(host));
    if (r->pipeline->https_port != 443) {
        buf_printf(&location, ":%u", r->pipeline->https_port);
    }
    request_add_target(r, r->path, &location);
    request_redirect(r, 308, &location);
}

/* There is a certificate for the host of the request; a name that waits for one from a public
 * authority is served without until then. */
static bool pipeline_has_certificate(const struct request *r, const struct site_host *host)
{
    static const struct certificate_wish any = {true, true, true, true};
    char canonical[VHOST_NAME_BYTES_MAX + 1];
    struct str name;
    if (vhost_canonical(r->x->request->authority, canonical, &name) != ERR_OK ||
        (!site_tls_is_acme(&host->tls, name) && !site_tls_is_on_demand(&host->tls, name))) {
        return true;
    }
    const struct certificate_store *store = r->pipeline->certificates;
    if (r->pipeline->explain && !store) {
        REQUEST_NOTE(r, "https", "as if the certificate of an authority were there already");
        return true;
    }
    return store && certificate_store_find(store, name, &any) != NULL;
}

/* False: the request was answered. */
static bool pipeline_secure(struct request *r, const struct site_host *host)
{
    if (r->x->peer->tls && pipeline_is_misdirected(r, host)) {
        request_fail(r, 421, "the connection was made for another host");
        return false;
    }
    bool is_sent_on = !r->x->peer->tls && r->pipeline->https_port && host->tls.policy &&
                      host->settings->https_redirect && pipeline_has_certificate(r, host);
    if (is_sent_on) {
        REQUEST_NOTE(r, "https", "sent on to https: https_redirect is on");
        pipeline_redirect_https(r);
    }
    return !is_sent_on;
}

static const struct site_host *pipeline_find_host(struct pipeline *p, const struct site *site,
                                                  struct str authority)
{
    struct host_memo *memo = &p->memo;
    if (memo->generation == site->generation &&
        str_eq(authority, str_make(memo->authority, memo->n))) {
        return memo->host;
    }
    const struct site_host *host = site_find_host(site, authority);
    if (host && authority.n && authority.n <= HOST_MEMO_BYTES) {
        memcpy(memo->authority, authority.p, authority.n);
        memo->n = authority.n;
        memo->generation = site->generation;
        memo->host = host;
    }
    return host;
}

static bool pipeline_route(struct request *r)
{
    const struct site_host *host =
        pipeline_find_host(r->pipeline, r->use->site, r->x->request->authority);
    if (!host) {
        request_fail(r, 421, "no such host");
        return false;
    }
    r->route = &host->routes[host->route_count];
    REQUEST_NOTE(r, "host", STR_FMT, STR_ARG(host->name));
    if (!pipeline_secure(r, host)) {
        return false;
    }
    const struct site_route *whole = r->route;
    if (whole->rewrites && !pipeline_rewrite(r, whole->rewrites)) {
        return false;
    }
    if (host->route_count && !pipeline_pick_route(r, host)) {
        return false;
    }
    /* A route that brings rules of its own applies them too. */
    bool has_own = r->route != whole && r->route->rewrites;
    return !has_own || pipeline_rewrite(r, r->route->rewrites);
}

static void pipeline_redirect(struct request *r, const struct redirect_settings *redirect)
{
    struct buf location;
    struct str to = redirect->to;
    buf_init(&location, 0);
    if (redirect->keep_path && to.n && to.p[to.n - 1] == '/') {
        to.n--;
    }
    buf_add_str(&location, to);
    if (redirect->keep_path) {
        request_add_target(r, r->path, &location);
    }
    REQUEST_NOTE(r, "handler", "redirect %lld to " STR_FMT "%s", (long long)redirect->status,
                 STR_ARG(redirect->to), redirect->keep_path ? " (path and query kept)" : "");
    request_redirect(r, (uint16_t)redirect->status, &location);
}

static void pipeline_ask_backend(struct request *r)
{
    if (r->route->host->pass.upstream) {
        request_fail(r, 421, "connections for this name are passed on, not served");
        return;
    }
    r->upstream = r->route->split ? split_pick(r->route->split, r) : r->route->upstream;
    if (r->upstream && settings_is_fcgi(upstream_settings(r->upstream))) {
        fcgi_handle(r);
    } else if (r->upstream) {
        proxy_handle(r);
    } else if (r->pipeline->explain) {
        explain_backend(r);
    } else {
        echo_handle(r);
    }
}

static void pipeline_note_log(const struct request *r)
{
    static const char *const formats[] = {"json", "common", "combined", "logfmt"};
    const struct route_log_settings *log = &r->route->keys->log;
    REQUEST_NOTE(r, "log", "%s", log->is_on ? formats[r->route->log_format] : "off");
}

static void pipeline_handle(struct request *r)
{
    const struct route_keys *keys = r->route->keys;
    pipeline_note_log(r);
    if (keys->redirect.is_on) {
        pipeline_redirect(r, &keys->redirect);
    } else if (pipeline_is_connect(r) && !keys->backend.is_on && !r->route->split) {
        request_fail(r, 405, "no tunnel here");
    } else if (keys->respond.is_on) {
        REQUEST_NOTE(r, "handler", "respond %lld, %zu bytes", (long long)keys->respond.status,
                     keys->respond.body.n);
        request_answer(r, (uint16_t)keys->respond.status, keys->respond.type, keys->respond.body,
                       (struct str){NULL, 0});
    } else if (keys->backend.is_on || r->route->split) {
        pipeline_ask_backend(r);
    } else if (r->route->root >= 0) {
        REQUEST_NOTE(r, "handler", "files below " STR_FMT, STR_ARG(keys->root));
        files_handle(r);
    } else {
        request_fail(r, 404, "the route has no handler");
    }
}

static void pipeline_on_exchange(void *context, struct exchange *x)
{
    struct pipeline *p = context;
    struct request *r = arena_zalloc(&x->arena, sizeof(*r));
    if (!r) {
        exchange_reset(x, ERR_NOMEM);
        return;
    }
    r->x = x;
    r->pipeline = p;
    r->use = p->use;
    r->use->use_count++;
    r->client = match_client(&r->use->site->settings->server.trusted_proxies, x->peer->host,
                             &x->request->fields);
    exchange_serve(x, &pipeline_service, r);
    if (pipeline_normalise(r) && pipeline_health(r) && challenge_pass(r) && pipeline_route(r)) {
        pipeline_handle(r);
    }
}

/* Safe methods without query or body, and nobody asks for the address: it is not known yet to be
 * the client's (EDGE.md, rows 25 and 26). */
static bool pipeline_may_be_early(void *context, const struct exchange *x, bool has_body)
{
    struct pipeline *p = context;
    const struct request_head *head = x->request;
    bool is_safe =
        (head->method == HTTP_GET || head->method == HTTP_HEAD) && !has_body && head->query.n == 0;
    const struct site_host *host =
        is_safe ? pipeline_find_host(p, p->use->site, head->authority) : NULL;
    is_safe = host && !host->has_address_rules;
    metrics_add(p->metrics, is_safe ? METRICS_EARLY_SERVED : METRICS_EARLY_HELD, 1);
    return is_safe;
}

/* ---- what the server reports ---- */

static void pipeline_on_refused(void *context, const struct exchange_peer *peer, unsigned reason,
                                unsigned status)
{
    struct pipeline *p = context;
    metrics_add_at(p->metrics, METRICS_BAD_REQUESTS, reason, 1);
    metrics_request(p->metrics, METRICS_METHOD_OTHER, status, 0);
    access_log_refused(p, peer, pipeline_reason_names()[reason], (uint16_t)status);
}

static void pipeline_on_limit(void *context, enum server_limit limit)
{
    struct pipeline *p = context;
    metrics_add_at(p->metrics, METRICS_LIMIT_HITS, limit, 1);
}

static void pipeline_on_connection(void *context, int change)
{
    struct pipeline *p = context;
    metrics_add(p->metrics, METRICS_CONN_ACTIVE, change);
    if (change > 0) {
        metrics_add(p->metrics, METRICS_CONN_ACCEPTED, 1);
    }
}

static void pipeline_on_bytes(void *context, uint64_t in, uint64_t out)
{
    struct pipeline *p = context;
    if (in) {
        metrics_add(p->metrics, METRICS_BYTES_IN, (int64_t)in);
    }
    if (out) {
        metrics_add(p->metrics, METRICS_BYTES_OUT, (int64_t)out);
    }
}

/* ---- TLS ---- */

void pipeline_set_certificates(struct pipeline *p, struct certificate_store *store)
{
    certificate_store_unref(p->certificates);
    p->certificates = store ? certificate_store_ref(store) : NULL;
}

static enum err pipeline_on_client_hello(void *context, void *user,
                                         const struct client_hello *hello,
                                         struct tls_choice *ret_choice)
{
    struct pipeline *p = context;
    const struct site_host *host = site_find_host(p->use->site, hello->sni);
    const struct site_tls *tls = host ? &host->tls : &p->use->site->tls;
    (void)user;
    if (challenge_is_asked(p, hello)) {
        return challenge_choose(p, hello, ret_choice);
    }
    if (!tls->policy || !p->certificates) {
        return ERR_NOT_FOUND;
    }
    /* Another certificate than the one it waits for would only frighten people. */
    bool is_on_demand = site_tls_is_on_demand(tls, hello->sni);
    bool is_exact = is_on_demand || site_tls_is_acme(tls, hello->sni);
    static const struct certificate_wish any = {true, true, true, true};
    if (is_on_demand && !certificate_store_find(p->certificates, hello->sni, &any)) {
        p->on_demand(p->demand_context, hello->sni);
        return ERR_NOT_FOUND;
    }
    *ret_choice = (struct tls_choice){tls->policy, p->certificates, is_exact};
    return ERR_OK;
}

static bool pipeline_takes_early_data(void *context)
{
    const struct pipeline *p = context;
    return p->use->site->takes_early_data;
}

struct tls_server_hooks pipeline_tls_hooks(struct pipeline *p)
{
    return (struct tls_server_hooks){.on_client_hello = pipeline_on_client_hello,
                                     .takes_early_data = pipeline_takes_early_data,
                                     .context = p};
}

void pipeline_set_h3_port(struct pipeline *p, uint16_t port)
{
    int n = snprintf(p->alt_svc_text, sizeof(p->alt_svc_text), "h3=\":%u\"; ma=86400", port);
    p->alt_svc = str_make(p->alt_svc_text, port ? (size_t)n : 0);
}

static bool pipeline_is_trusted(void *context, const struct socket_address *peer)
{
    struct pipeline *p = context;
    const struct cidr_list *trusted = &p->use->site->settings->server.trusted_proxies;
    char text[SOCKET_ADDRESS_TEXT_BYTES];
    return trusted->count &&
           match_address(trusted, str_make(text, socket_address_host(peer, text)));
}

struct server_hooks pipeline_hooks(struct pipeline *p)
{
    return (struct server_hooks){
        .on_exchange = pipeline_on_exchange,
        .may_be_early = pipeline_may_be_early,
        .on_refused = pipeline_on_refused,
        .is_trusted = pipeline_is_trusted,
        .on_stream = stream_accept,
        .reads_names = stream_reads_names,
        .on_name = stream_take_name,
        .on_limit = pipeline_on_limit,
        .on_connection = pipeline_on_connection,
        .on_bytes = pipeline_on_bytes,
        .context = p,
    };
}
