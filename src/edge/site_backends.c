/* SPDX-License-Identifier: Apache-2.0 */
/* The backends of a site by their names: what several routes share is made once. */
#include "base/mem.h"
#include "edge/endpoint.h"
#include "edge/site_int.h"
#include "edge/upstream.h"
#include "log/escape.h"
#include "net/resolver.h"

#define WRITTEN_MAX 1000u

/* ---- making ---- */

/* Whether both were written alike: routes get what they inherit as a copy. */
static enum err site_is_same_backend(const struct backend_settings *a,
                                     const struct backend_settings *b, bool *ret_is_same)
{
    struct buf x, y;
    if (!str_eq(a->process.name, b->process.name)) {
        *ret_is_same = false;
        return ERR_OK;
    }
    buf_init(&x, 0);
    buf_init(&y, 0);
    conf_object_print(a, 0, false, &x);
    conf_object_print(b, 0, false, &y);
    bool is_failed = x.is_failed || y.is_failed;
    *ret_is_same = !is_failed && str_eq(buf_str(&x), buf_str(&y));
    buf_done(&x);
    buf_done(&y);
    return is_failed ? ERR_NOMEM : ERR_OK;
}

static bool site_has_backend(const struct site *s, struct str name)
{
    return site_find_backend(s, name) != NULL;
}

/* The host, and behind it the path of a route that has a backend of its own. */
static struct str site_backend_name(struct site_builder *b, const struct site_route *r)
{
    struct arena *arena = &b->site->arena;
    struct str first =
        r->rule ? arena_printf(arena, STR_FMT STR_FMT, STR_ARG(r->host->name), STR_ARG(r->name))
                : r->host->name;
    struct str name = first;
    for (unsigned i = 2; name.p && site_has_backend(b->site, name); i++) {
        name = arena_printf(arena, STR_FMT "#%u", STR_ARG(first), i);
    }
    return name;
}

static enum err site_add_upstream(struct site_builder *b, struct upstream *u)
{
    struct site *s = b->site;
    if (s->upstream_count == b->upstream_room) {
        size_t room = b->upstream_room ? b->upstream_room * 2 : 8;
        struct upstream **list = arena_zalloc(&s->arena, room * sizeof(*list));
        if (!list) {
            upstream_done(u);
            return ERR_NOMEM;
        }
        for (size_t i = 0; i < s->upstream_count; i++) {
            list[i] = s->upstreams[i];
        }
        s->upstreams = list;
        b->upstream_room = room;
    }
    s->upstreams[s->upstream_count++] = u;
    return ERR_OK;
}

static enum err site_make_backend(struct site_builder *b, const struct backend_settings *settings,
                                  struct str name, struct upstream **ret_upstream)
{
    struct fault fault;
    const struct upstream_input input = {
        .arena = &b->site->arena,
        .settings = settings,
        .name = name,
        .zone = b->site->settings->server.zone.p ? b->site->settings->server.zone : STR(""),
        .index = b->site->upstream_count,
        .before = b->before ? site_find_backend(b->before, name) : NULL,
    };
    enum err e = name.p ? upstream_create(&input, ret_upstream, &fault) : ERR_NOMEM;
    if (e == ERR_CONFIG) {
        struct str text = arena_printf(&b->site->arena, "%s", fault.text);
        return site_fault(b, &settings->object, "tls", text.p ? text.p : "out of memory");
    }
    return e ? e : site_add_upstream(b, *ret_upstream);
}

static bool site_is_echo(const struct backend_settings *settings)
{
    return settings->proxy.count && str_eq(settings->proxy.items[0].url, STR("echo"));
}

enum err site_build_named(struct site_builder *b)
{
    const struct backend_list *list = &b->site->settings->backends;
    enum err e = ERR_OK;
    for (size_t i = 0; i < list->count && !e; i++) {
        struct upstream *u;
        e = site_is_echo(&list->items[i])
                ? ERR_OK
                : site_make_backend(b, &list->items[i], list->items[i].name, &u);
    }
    return e;
}

enum err site_build_backend(struct site_builder *b, struct site_route *r)
{
    const struct backend_settings *settings = settings_backend(&r->keys->backend);
    if (site_is_echo(settings)) {
        return ERR_OK;
    }
    if (settings->name.n) {
        r->upstream = site_find_backend(b->site, settings->name);
        return ERR_OK;
    }
    if (!r->rule) {
        b->host_upstreams = b->site->upstream_count;
    }
    for (size_t i = b->host_upstreams; i < b->site->upstream_count; i++) {
        struct upstream *u = b->site->upstreams[i];
        bool is_same;
        enum err e = site_is_same_backend(upstream_settings(u), settings, &is_same);
        if (e || is_same) {
            r->upstream = u;
            return e;
        }
    }
    return site_make_backend(b, settings, site_backend_name(b, r), &r->upstream);
}

enum err site_build_streams(struct site_builder *b)
{
    struct site *s = b->site;
    const struct stream_list *list = &s->settings->streams;
    s->streams = arena_zalloc(&s->arena, (list->count + 1) * sizeof(*s->streams));
    if (!s->streams) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < list->count; i++) {
        const struct backend_settings *settings = settings_backend(&list->items[i].backend);
        struct site_stream *stream = &s->streams[i];
        stream->name = list->items[i].listen.items[0].text;
        enum err e = ERR_OK;
        if (settings->name.n) {
            stream->upstream = site_find_backend(s, settings->name);
        } else {
            e = site_make_backend(b, settings, stream->name, &stream->upstream);
        }
        if (e) {
            return e;
        }
    }
    s->stream_count = list->count;
    return ERR_OK;
}

/* ---- by name ---- */

struct upstream *site_find_backend(const struct site *s, struct str name)
{
    for (size_t i = 0; i < s->upstream_count; i++) {
        if (str_eq(upstream_name(s->upstreams[i]), name)) {
            return s->upstreams[i];
        }
    }
    return NULL;
}

enum err site_publish_members(const struct site *s, struct str backend, const struct member *list,
                              size_t count, struct fault *reterr_fault)
{
    const struct upstream *u = site_find_backend(s, backend);
    return u ? upstream_publish(u, list, count, reterr_fault) : ERR_NOT_FOUND;
}

enum err site_open_resolver(const struct site *s, struct loop *loop, struct resolver **ret_resolver)
{
    const struct str_list *servers = &s->settings->server.resolver;
    struct buf text;
    buf_init(&text, 0);
    for (size_t i = 0; i < servers->count; i++) {
        buf_printf(&text, "%s" STR_FMT, i ? "," : "", STR_ARG(servers->items[i]));
    }
    buf_add_char(&text, '\0');
    enum err e = text.is_failed
                     ? ERR_NOMEM
                     : resolver_create(loop, servers->count ? text.p : NULL, ret_resolver);
    buf_done(&text);
    return e;
}

/* ---- for people and machines ---- */

typedef void (*site_endpoint_fn)(const struct upstream *u, const struct upstream_endpoint *e,
                                 uint64_t now_ms, int figure, struct buf *out);

static void site_each_endpoint(const struct site *s, site_endpoint_fn write, uint64_t now_ms,
                               int figure, struct buf *out)
{
    size_t written = 0;
    for (size_t i = 0; i < s->upstream_count; i++) {
        const struct members *m = upstream_members(s->upstreams[i]);
        for (size_t k = 0; k < m->count && written < WRITTEN_MAX; k++, written++) {
            write(s->upstreams[i], &m->items[k], now_ms, figure, out);
        }
    }
}

static void site_write_json(const struct upstream *u, const struct upstream_endpoint *e,
                            uint64_t now_ms, int figure, struct buf *out)
{
    struct balance_endpoint now;
    (void)figure;
    endpoint_look(e->state, now_ms, &now);
    bool is_out = now.out_until_ms > now_ms;
    bool is_checked = endpoint_health(e->state) != ENDPOINT_UNCHECKED;
    bool is_first = out->n && out->p[out->n - 1] == '[';
    buf_add_str(out, is_first ? STR("{\"backend\":\"") : STR(",{\"backend\":\""));
    escape_json(out, upstream_name(u));
    buf_add_str(out, STR("\",\"endpoint\":\""));
    escape_json(out, e->name);
    buf_printf(out, "\",\"zone\":\"");
    escape_json(out, e->zone);
    buf_printf(out,
               "\",\"weight\":%u,\"backup\":%s,\"health\":\"%s\",\"out_ms\":%llu,"
               "\"in_flight\":%u,\"latency_us\":%u,\"requests\":%llu,\"failures\":%llu,"
               "\"ejections\":%llu,\"state\":\"%s\"}",
               e->weight, e->is_backup ? "true" : "false",
               !is_checked                                      ? "unchecked"
               : now.is_down                                    ? "unhealthy"
               : now.is_waiting                                 ? "unknown"
               : endpoint_health(e->state) == ENDPOINT_PRESUMED ? "unknown"
                                                                : "healthy",
               (unsigned long long)(is_out ? now.out_until_ms - now_ms : 0), now.in_flight,
               now.latency_us,
               (unsigned long long)endpoint_figure(e->state, ENDPOINT_REQUESTS, now_ms),
               (unsigned long long)endpoint_figure(e->state, ENDPOINT_FAILURES, now_ms),
               (unsigned long long)endpoint_figure(e->state, ENDPOINT_EJECTIONS, now_ms),
               now.is_drained   ? "drained"
               : now.is_down    ? "unhealthy"
               : is_out         ? "ejected"
               : now.is_waiting ? "waiting"
                                : "in");
}

void site_write_endpoints_json(const struct site *s, uint64_t now_ms, struct buf *out)
{
    site_each_endpoint(s, site_write_json, now_ms, 0, out);
}

static const struct {
    const char *name, *type, *help;
} site_figures[ENDPOINT_FIGURES] = {
    {"requests_total", "counter", "Requests that were sent to an endpoint, tries counted."},
    {"failures_total", "counter", "Failures of an endpoint that count towards ejection."},
    {"ejections_total", "counter", "Times an endpoint was left out."},
    {"in_flight", "gauge", "Requests under way at an endpoint."},
    {"latency_microseconds", "gauge", "Time to the first byte, peaks first, fading in 10 s."},
    {"in", "gauge", "1: the endpoint is asked; 0: it is left out."},
    {"healthy", "gauge",
     "0: checks say that the endpoint is unhealthy, or it waits for its first."},
    {"drained", "gauge", "1: an operator took the endpoint out."},
};

static void site_write_figure(const struct upstream *u, const struct upstream_endpoint *e,
                              uint64_t now_ms, int figure, struct buf *out)
{
    buf_printf(out, "sws_endpoint_%s{backend=\"", site_figures[figure].name);
    escape_json(out, upstream_name(u));
    buf_add_str(out, STR("\",endpoint=\""));
    escape_json(out, e->name);
    buf_printf(out, "\"} %llu\n",
               (unsigned long long)endpoint_figure(e->state, (enum endpoint_figure)figure, now_ms));
}

void site_write_endpoints_prometheus(const struct site *s, uint64_t now_ms, struct buf *out)
{
    for (int i = 0; i < ENDPOINT_FIGURES && s->upstream_count; i++) {
        buf_printf(out, "# HELP sws_endpoint_%s %s\n# TYPE sws_endpoint_%s %s\n",
                   site_figures[i].name, site_figures[i].help, site_figures[i].name,
                   site_figures[i].type);
        site_each_endpoint(s, site_write_figure, now_ms, i, out);
    }
}
