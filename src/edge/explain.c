/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/pipeline.h"
#include "http/target.h"

static void explain_backend(const struct backend_settings *own, struct buf *out)
{
    const struct backend_settings *backend = settings_backend(own);
    const struct endpoint_list *list = &backend->proxy;
    buf_printf(out, "handler    backend");
    if (backend != own) {
        buf_printf(out, " " STR_FMT ":", STR_ARG(backend->name));
    }
    for (size_t i = 0; i < list->count; i++) {
        buf_printf(out, "%s " STR_FMT "%s", i ? "," : "", STR_ARG(list->items[i].url),
                   list->items[i].backup ? " (backup)" : "");
    }
    if (backend->process.is_on) {
        const struct str_list *command = &backend->process.command;
        buf_printf(out, " process " STR_FMT ":", STR_ARG(backend->process.name));
        for (size_t i = 0; i < command->count; i++) {
            buf_printf(out, " " STR_FMT, STR_ARG(command->items[i]));
        }
    }
    buf_add_char(out, '\n');
    if (list->count && str_eq(list->items[0].url, STR("echo"))) {
        return;
    }
    buf_printf(out,
               "           host " STR_FMT ", connect within %lld ms, first byte within %lld ms\n",
               STR_ARG(backend->host), (long long)backend->timeout.connect_ms,
               (long long)backend->timeout.first_ms);
}

static void explain_split(const struct route_keys *keys, struct buf *out)
{
    buf_printf(out, "handler    split by " STR_FMT ":", STR_ARG(keys->split_by));
    for (size_t i = 0; i < keys->split.count; i++) {
        const struct split_share *share = &keys->split.items[i];
        buf_printf(out, "%s " STR_FMT " %lld", i ? "," : "", STR_ARG(share->name),
                   (long long)share->weight);
    }
    buf_add_char(out, '\n');
}

static void explain_mirror(const struct route_keys *keys, struct buf *out)
{
    if (keys->mirror.is_on) {
        buf_printf(out, "           copies of %g %% of the requests to " STR_FMT "\n",
                   (double)keys->mirror.share_ppm / 10000.0, STR_ARG(keys->mirror.to));
    }
}

static void explain_handler(const struct site_route *route, struct buf *out)
{
    const struct route_keys *keys = route->keys;
    if (keys->redirect.is_on) {
        buf_printf(out, "handler    redirect %lld to " STR_FMT "%s\n",
                   (long long)keys->redirect.status, STR_ARG(keys->redirect.to),
                   keys->redirect.keep_path ? " (path and query kept)" : "");
    } else if (keys->respond.is_on) {
        buf_printf(out, "handler    respond %lld, %zu bytes\n", (long long)keys->respond.status,
                   keys->respond.body.n);
    } else if (keys->split.count) {
        explain_split(keys, out);
        explain_mirror(keys, out);
    } else if (keys->backend.is_on) {
        explain_backend(&keys->backend, out);
        explain_mirror(keys, out);
    } else if (keys->root.p) {
        buf_printf(out, "handler    files below " STR_FMT "\n", STR_ARG(keys->root));
        if (keys->fallback.p) {
            buf_printf(out, "           pages that match no file get " STR_FMT "\n",
                       STR_ARG(keys->fallback));
        }
    } else {
        buf_printf(out, "handler    none: 404\n");
    }
}

static bool explain_takes(const struct site_route *route, struct str method, struct buf *out)
{
    const struct route_settings *rule = route->rule;
    bool has_method = rule->methods.count == 0;
    for (size_t i = 0; i < rule->methods.count; i++) {
        has_method |= str_eq(rule->methods.items[i], method);
    }
    if (!has_method) {
        buf_printf(out, "           " STR_FMT " passed over: not for " STR_FMT "\n",
                   STR_ARG(route->name), STR_ARG(method));
        return false;
    }
    if (rule->match.header.count || rule->match.query.count || rule->match.ip.count) {
        buf_printf(out,
                   "           " STR_FMT " also asks for header, query or address: assumed "
                   "to hold\n",
                   STR_ARG(route->name));
    }
    return true;
}

static const struct site_route *explain_route(const struct site_host *host, struct str path,
                                              struct str method, struct buf *out)
{
    struct router_cursor cursor;
    uint32_t rule;
    router_start(host->router, path, &cursor);
    while (router_next(&cursor, &rule)) {
        const struct site_route *route = &host->routes[rule];
        if (route->regex && regex_find(route->regex, path) != ERR_OK) {
            buf_printf(out, "           " STR_FMT " passed over: its regex does not match\n",
                       STR_ARG(route->name));
        } else if (explain_takes(route, method, out)) {
            buf_printf(out, "route      " STR_FMT "\n", STR_ARG(route->name));
            return route;
        }
    }
    buf_printf(out, "route      the host itself (%zu routes, none matches)\n", host->route_count);
    return &host->routes[host->route_count];
}

static bool explain_rewrite(const struct site_route *route, struct str method, struct str host,
                            struct str *path, struct str *query, struct arena *arena,
                            struct buf *out)
{
    struct rewrite_scratch *scratch = NULL;
    struct rewrite_result result;
    if (!route->rewrites || rewrite_scratch_create(&scratch) != ERR_OK) {
        return true;
    }
    const struct rewrite_request request = {
        .method = method, .host = host, .path = *path, .query = *query};
    bool goes_on = true;
    if (rewrite_run(route->rewrites, scratch, &request, &result) == ERR_OK) {
        switch (result.outcome) {
        case REWRITE_UNCHANGED:
            buf_printf(out, "rewrite    no rule changes the path\n");
            break;
        case REWRITE_CHANGED:
            *path = arena_str(arena, result.path);
            *query = arena_str(arena, result.query);
            buf_printf(out, "rewrite    to " STR_FMT " by rule %u\n", STR_ARG(*path),
                       result.rule + 1);
            break;
        case REWRITE_REDIRECT:
            buf_printf(out, "rewrite    answers %u, Location " STR_FMT "\n", result.status,
                       STR_ARG(result.location));
            goes_on = false;
            break;
        case REWRITE_REFUSED:
            buf_printf(out, "rewrite    answers %u\n", result.status);
            goes_on = false;
            break;
        }
    }
    rewrite_scratch_destroy(scratch);
    return goes_on;
}

static void explain_fields(const struct site_route *route, struct buf *out)
{
    for (unsigned i = 0; i < route->field_count; i++) {
        buf_printf(out, "finish     " STR_FMT ": " STR_FMT "\n", STR_ARG(route->fields[i].name),
                   STR_ARG(route->fields[i].value));
    }
    for (unsigned i = 0; i < route->removed_count; i++) {
        buf_printf(out, "finish     without " STR_FMT "\n", STR_ARG(route->removed[i]));
    }
}

void pipeline_explain(const struct site *site, struct str method, struct str host,
                      struct str target, struct buf *out)
{
    struct arena arena;
    struct http_path path;
    arena_init(&arena, 1024, 0);
    ptrdiff_t mark = str_index(target, '?');
    struct str raw = mark < 0 ? target : str_sub(target, 0, (size_t)mark);
    struct str query = mark < 0 ? STR("") : str_sub(target, (size_t)mark + 1, target.n);
    char *copy = arena_alloc(&arena, raw.n + 1);
    if (!copy || http_path_canonical(raw, copy, &path) != ERR_OK) {
        buf_printf(out, "normalise  the path is refused: 400\n");
        arena_done(&arena);
        return;
    }
    buf_printf(out, "normalise  path " STR_FMT "%s\n", STR_ARG(path.path),
               path.has_encoded_slash ? " (holds an encoded slash)" : "");
    const struct site_host *h = site_find_host(site, host);
    if (!h) {
        buf_printf(out, "host       nobody answers for " STR_FMT ": 421\n", STR_ARG(host));
        arena_done(&arena);
        return;
    }
    buf_printf(out, "host       " STR_FMT "\n", STR_ARG(h->name));
    const struct site_route *whole = &h->routes[h->route_count];
    if (explain_rewrite(whole, method, host, &path.path, &query, &arena, out)) {
        const struct site_route *route = explain_route(h, path.path, method, out);
        explain_handler(route, out);
        explain_fields(route, out);
    }
    arena_done(&arena);
}
