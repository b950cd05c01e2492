/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/check.h"

#include "runner/spec.h"

static const struct route_keys *host_keys(const struct host_settings *host, size_t index)
{
    return index == 0 ? &host->keys : &host->routes.items[index - 1].keys;
}

enum err runner_each_process(const struct settings *s, runner_process_fn on_process, void *context)
{
    enum err e = ERR_OK;
    for (size_t i = 0; i < s->backends.count && !e; i++) {
        const struct process_settings *p = &s->backends.items[i].process;
        e = p->is_on ? on_process(context, p) : ERR_OK;
    }
    for (size_t i = 0; i < s->hosts.count && !e; i++) {
        const struct host_settings *host = &s->hosts.items[i];
        for (size_t k = 0; k <= host->routes.count && !e; k++) {
            const struct backend_settings *backend = &host_keys(host, k)->backend;
            bool is_new = backend->is_on && backend->process.is_on;
            for (size_t before = 0; before < k && is_new; before++) {
                is_new =
                    !str_eq(host_keys(host, before)->backend.process.name, backend->process.name);
            }
            e = is_new ? on_process(context, &backend->process) : ERR_OK;
        }
    }
    return e;
}

static enum err check_process(void *context, const struct process_settings *p)
{
    const struct spec_place place = {.port = 1, .socket = STR("/")};
    struct diag_list *diags = context;
    struct arena arena;
    struct spec *spec;
    struct spec_start start;
    const char *key;
    char reason[PATH_MAX + 128];
    enum err e = spec_create(p, 0, &spec);
    if (e) {
        return e;
    }
    arena_init(&arena, 1024, 0);
    e = spec_prepare(spec, &place, &arena, &start, &key, reason, sizeof(reason));
    if (e && e != ERR_NOMEM) {
        struct conf_origin at = conf_origin_of(p, key);
        if (!at.source) {
            at = conf_origin_of(p, "command"); /* the key has its default */
        }
        (void)diag_add(diags, at, "%s: %s", key, reason);
    }
    arena_done(&arena);
    spec_unref(spec);
    return e == ERR_NOMEM ? e : ERR_OK;
}

enum err runner_check(const struct settings *s, struct diag_list *reterr_diags)
{
    enum err e = runner_each_process(s, check_process, reterr_diags);
    return e ? e : reterr_diags->count ? ERR_CONFIG : ERR_OK;
}
