/* SPDX-License-Identifier: Apache-2.0 */
/* What belongs to a process as a whole: its name, and checks of several keys. */
#include "conf/settings_int.h"

static bool is_shell_word(struct str word)
{
    static const char *const operators[] = {"&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1"};
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        if (str_eq(word, str_of(operators[i]))) {
            return true;
        }
    }
    return false;
}

const char *settings_check_process(const struct process_settings *p, const char **ret_key)
{
    *ret_key = "command";
    for (size_t i = 0; i < p->command.count; i++) {
        if (is_shell_word(p->command.items[i])) {
            return "command: no shell looks at this; where one is due, write [sh, -c, \"...\"]";
        }
    }
    if (p->command.count > 0 && p->command.items[0].n == 0) {
        return "command: a program is due here";
    }
    if (p->command.count > 0 && str_index(p->command.items[0], '=') >= 0) {
        return "command: the first word is the program; variables are set with env";
    }
    *ret_key = "socket";
    if (p->socket.n > 0 && p->socket.p[0] == '/' && p->instances != 1) {
        return "socket: one path is for one instance; several have socket: activate";
    }
    *ret_key = "env";
    for (size_t i = 0; i < p->env.count; i++) {
        if (str_eq(p->env.items[i].key, STR("PORT"))) {
            return "env: PORT is set by sws; a program that listens elsewhere has proxy";
        }
        if (str_eq(p->env.items[i].key, STR("SOCKET")) ||
            str_starts_with(p->env.items[i].key, STR("LISTEN_"))) {
            return "env: where it listens is said by socket";
        }
    }
    *ret_key = "backoff";
    return p->backoff.min_ms > p->backoff.max_ms ? "backoff: min is more than max" : NULL;
}

static bool is_same_origin(struct conf_origin a, struct conf_origin b)
{
    return a.source == b.source && a.line == b.line && a.column == b.column;
}

/* The process before `until` of this host that stands at the same place, or has the same name. */
static const struct process_settings *find(const struct host_settings *host, size_t until,
                                           const struct conf_origin *origin, struct str name)
{
    for (size_t i = 0; i <= until && i <= host->routes.count; i++) {
        const struct route_keys *keys = i == 0 ? &host->keys : &host->routes.items[i - 1].keys;
        const struct process_settings *p = &keys->backend.process;
        bool is_one = keys->backend.is_on && p->is_on && p->name.p != NULL;
        if (is_one && (origin ? is_same_origin(conf_origin_of(&keys->backend, "process"), *origin)
                              : str_eq(p->name, name))) {
            return p;
        }
    }
    return NULL;
}

static bool is_backend(const struct settings *s, struct str name)
{
    for (size_t i = 0; i < s->backends.count; i++) {
        if (str_eq(s->backends.items[i].name, name)) {
            return true;
        }
    }
    return false;
}

static void set_directory(struct backend_settings *b)
{
    struct conf_origin origin = conf_origin_of(b, "process");
    b->process.directory = origin.source != NULL ? origin.source->dir : STR("");
}

/* Of the host itself (`index` 0) or of a route. */
static enum err name_process(const struct settings *s, struct arena *arena,
                             const struct host_settings *host, size_t index,
                             struct route_keys *keys, struct str path)
{
    struct process_settings *p = &keys->backend.process;
    struct conf_origin origin = conf_origin_of(&keys->backend, "process");
    if (!keys->backend.is_on || !p->is_on) {
        return ERR_OK;
    }
    const struct process_settings *same = find(host, index, &origin, STR(""));
    set_directory(&keys->backend);
    if (same != NULL) {
        p->name = same->name;
        return ERR_OK;
    }
    struct str domain = host->domains.count > 0 ? host->domains.items[0].text : STR("default");
    struct str first = arena_printf(arena, STR_FMT STR_FMT, STR_ARG(domain), STR_ARG(path));
    struct str name = first;
    for (unsigned n = 2;
         name.p != NULL && (is_backend(s, name) || find(host, index, NULL, name) != NULL); n++) {
        name = arena_printf(arena, STR_FMT "#%u", STR_ARG(first), n);
    }
    p->name = name;
    return name.p != NULL ? ERR_OK : ERR_NOMEM;
}

enum err settings_name_processes(struct settings *s, struct arena *arena)
{
    enum err e = ERR_OK;
    for (size_t i = 0; i < s->backends.count; i++) {
        s->backends.items[i].process.name = s->backends.items[i].name;
        set_directory(&s->backends.items[i]);
    }
    for (size_t i = 0; i < s->hosts.count && e == ERR_OK; i++) {
        struct host_settings *host = &s->hosts.items[i];
        e = name_process(s, arena, host, 0, &host->keys, STR(""));
        for (size_t k = 0; k < host->routes.count && e == ERR_OK; k++) {
            struct route_settings *route = &host->routes.items[k];
            e = name_process(s, arena, host, k + 1, &route->keys, route->path);
        }
    }
    return e;
}
