/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/process.h"

#define PATH_USUAL "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define START_VARIABLES 5 /* HOME, PORT and HOST, or SOCKET and two of LISTEN */

struct spec *spec_ref(struct spec *s)
{
    s->ref_count++;
    return s;
}

void spec_unref(struct spec *s)
{
    if (s && --s->ref_count == 0) {
        arena_done(&s->arena);
        mem_free(s);
    }
}

static struct spec *spec_new(struct str name)
{
    struct spec *s = mem_zalloc(1, sizeof(*s));
    if (s) {
        s->ref_count = 1;
        arena_init(&s->arena, 1024, 0);
        s->name = arena_str(&s->arena, name);
    }
    return s;
}

static const char *spec_variable(const char *name, const char *usual)
{
    const char *value = getenv(name);
    return value && *value ? value : usual;
}

/* NAME=value of our own environment, unless the settings say something of it. */
static bool spec_inherit(struct spec *s, const struct str_map *env, const char *name,
                         const char *usual)
{
    for (size_t i = 0; i < env->count; i++) {
        if (str_eq(env->items[i].key, str_of(name))) {
            return true;
        }
    }
    struct str text = arena_printf(&s->arena, "%s=%s", name, spec_variable(name, usual));
    s->env[s->env_count++] = text;
    return text.p != NULL;
}

static bool spec_set_env(struct spec *s, const struct process_settings *from)
{
    const struct str_map *env = &from->env;
    s->env = arena_zalloc(&s->arena, (env->count + 2) * sizeof(*s->env));
    s->path = arena_str(&s->arena, str_of(spec_variable("PATH", PATH_USUAL)));
    if (!s->env || !s->path.p || !spec_inherit(s, env, "PATH", PATH_USUAL) ||
        !spec_inherit(s, env, "LANG", "C.UTF-8")) {
        return false;
    }
    for (size_t i = 0; i < env->count; i++) {
        const struct str_pair *pair = &env->items[i];
        struct str text =
            arena_printf(&s->arena, STR_FMT "=" STR_FMT, STR_ARG(pair->key), STR_ARG(pair->value));
        if (!text.p) {
            return false;
        }
        s->has_home |= str_eq(pair->key, STR("HOME"));
        if (str_eq(pair->key, STR("PATH"))) {
            s->path = str_sub(text, 5, text.n);
        }
        if (!pair->is_null) {
            s->env[s->env_count++] = text;
        }
    }
    return true;
}

/* Absolute where it is there, so that it is the same in every message and for HOME. */
static bool spec_set_cwd(struct spec *s, const struct process_settings *from)
{
    char path[PATH_MAX];
    struct str cwd = from->cwd.p ? from->cwd : from->directory.n ? from->directory : STR(".");
    s->cwd = arena_str(&s->arena, cwd);
    if (s->cwd.p && file_resolve(s->cwd.p, path) == ERR_OK) {
        s->cwd = arena_str(&s->arena, str_of(path));
    }
    return s->cwd.p != NULL;
}

static bool spec_set_words(struct spec *s, const struct process_settings *from)
{
    s->words = arena_zalloc(&s->arena, (from->command.count + 1) * sizeof(*s->words));
    for (size_t i = 0; s->words && i < from->command.count; i++) {
        s->words[i] = arena_str(&s->arena, from->command.items[i]);
        if (!s->words[i].p) {
            return false;
        }
        s->word_count++;
    }
    return s->words != NULL;
}

static void spec_mix(uint64_t *mark, struct str text)
{
    *mark = hash_join(*mark, hash_str(text));
}

static void spec_mix_number(uint64_t *mark, uint64_t number)
{
    spec_mix(mark, str_make((const char *)&number, sizeof(number)));
}

static uint64_t spec_fingerprint(const struct spec *s)
{
    uint64_t mark = 1;
    for (size_t i = 0; i < s->word_count; i++) {
        spec_mix(&mark, s->words[i]);
    }
    spec_mix_number(&mark, s->word_count);
    for (size_t i = 0; i < s->env_count; i++) {
        spec_mix(&mark, s->env[i]);
    }
    spec_mix(&mark, s->cwd);
    spec_mix(&mark, s->user);
    spec_mix(&mark, s->socket_path);
    const uint64_t numbers[] = {(uint64_t)s->socket, s->limits.memory_bytes, s->limits.cpu_permille,
                                s->files_max, s->has_home};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        spec_mix_number(&mark, numbers[i]);
    }
    return mark ? mark : 1;
}

static void spec_set_numbers(struct spec *s, const struct process_settings *from)
{
    int64_t cpu_permille = 0;
    bool has_cpu = value_parse_cpu(from->cpu, &cpu_permille) == NULL;
    s->instance_count = from->instances ? (unsigned)from->instances : (unsigned)process_cpu_count();
    s->instance_count =
        s->instance_count > PROCESS_INSTANCES_MAX ? PROCESS_INSTANCES_MAX : s->instance_count;
    s->ready_ms = (uint64_t)from->ready.timeout_ms;
    s->restart = from->restart;
    s->backoff_min_ms = (uint64_t)from->backoff.min_ms;
    s->backoff_max_ms = (uint64_t)from->backoff.max_ms;
    s->stop_ms = (uint64_t)from->stop_ms;
    s->limits = (struct cgroup_limits){.memory_bytes = (uint64_t)from->memory_bytes,
                                       .cpu_permille = has_cpu ? (uint64_t)cpu_permille : 0};
    s->files_max = (uint64_t)from->files_max;
    s->log_level = (enum log_level)from->log;
}

static bool spec_set_socket(struct spec *s, const struct process_settings *from)
{
    bool has_path = from->socket.n && from->socket.p[0] == '/';
    s->socket = str_eq(from->socket, STR("true"))                   ? SPEC_OWN
                : has_path || str_eq(from->socket, STR("activate")) ? SPEC_ACTIVATE
                                                                    : SPEC_PORT;
    s->socket_path = arena_str(&s->arena, has_path ? from->socket : STR(""));
    s->ready_path = arena_str(&s->arena, from->ready.http);
    return s->socket_path.p && s->ready_path.p;
}

/* Nobody asks a program to change its user where we could not become another one; a user that was
 * named is an error there, which spec_prepare says. */
static bool spec_set_user(struct spec *s, const struct process_settings *from)
{
    bool is_named = conf_origin_of(from, "user").source != NULL;
    s->user = arena_str(&s->arena, is_named || geteuid() == 0 ? from->user : STR(""));
    return s->user.p != NULL;
}

enum err spec_create(const struct process_settings *settings, uint64_t drain_ms,
                     struct spec **ret_spec)
{
    struct spec *s = spec_new(settings->name);
    if (!s || !s->name.p || !spec_set_words(s, settings) || !spec_set_env(s, settings) ||
        !spec_set_cwd(s, settings) || !spec_set_user(s, settings) ||
        !spec_set_socket(s, settings)) {
        spec_unref(s);
        return ERR_NOMEM;
    }
    spec_set_numbers(s, settings);
    s->drain_ms = drain_ms;
    s->fingerprint = spec_fingerprint(s);
    *ret_spec = s;
    return ERR_OK;
}

enum err spec_create_ending(struct str name, uint64_t stop_ms, uint64_t drain_ms,
                            struct spec **ret_spec)
{
    struct spec *s = spec_new(name);
    if (!s || !s->name.p) {
        spec_unref(s);
        return ERR_NOMEM;
    }
    s->stop_ms = stop_ms;
    s->drain_ms = drain_ms;
    s->restart = PROCESS_RESTART_NEVER;
    s->log_level = LOG_LEVEL_INFO;
    *ret_spec = s;
    return ERR_OK;
}

/* ---- a start ---- */

/* $PORT, $HOST and $SOCKET, as a shell would. */
static void spec_add_word(struct buf *out, struct str word, const struct spec_place *place)
{
    for (size_t i = 0; i < word.n;) {
        struct str rest = str_sub(word, i, word.n);
        if (str_starts_with(rest, STR("$PORT")) && place->port) {
            buf_add_u64(out, place->port);
            i += 5;
        } else if (str_starts_with(rest, STR("$HOST")) && place->port) {
            buf_add_str(out, STR("127.0.0.1"));
            i += 5;
        } else if (str_starts_with(rest, STR("$SOCKET")) && place->socket.n) {
            buf_add_str(out, place->socket);
            i += 7;
        } else {
            buf_add_char(out, word.p[i++]);
        }
    }
}

static enum err spec_make_argv(const struct spec *s, const struct spec_place *place,
                               struct arena *arena, char ***ret_argv)
{
    char **argv = arena_zalloc(arena, (s->word_count + 1) * sizeof(*argv));
    for (size_t i = 0; argv && i < s->word_count; i++) {
        struct buf word;
        buf_init(&word, 0);
        spec_add_word(&word, s->words[i], place);
        struct str text = word.is_failed ? (struct str){NULL, 0} : arena_str(arena, buf_str(&word));
        buf_done(&word);
        if (!text.p) {
            return ERR_NOMEM;
        }
        argv[i] = (char *)(uintptr_t)text.p;
    }
    *ret_argv = argv;
    return argv ? ERR_OK : ERR_NOMEM;
}

static bool spec_push(char **env, size_t *count, struct str text)
{
    env[(*count)++] = (char *)(uintptr_t)text.p;
    return text.p != NULL;
}

static enum err spec_make_env(const struct spec *s, const struct spec_place *place,
                              const char *home, struct arena *arena, char ***ret_env)
{
    char **env = arena_zalloc(arena, (s->env_count + START_VARIABLES + 1) * sizeof(*env));
    size_t n = 0;
    if (!env) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < s->env_count; i++) {
        env[n++] = (char *)(uintptr_t)s->env[i].p;
    }
    bool is_good = s->has_home || spec_push(env, &n, arena_printf(arena, "HOME=%s", home));
    if (s->socket == SPEC_PORT) {
        is_good = is_good && spec_push(env, &n, arena_printf(arena, "PORT=%u", place->port)) &&
                  spec_push(env, &n, arena_str(arena, STR("HOST=127.0.0.1")));
    } else {
        struct str text = arena_printf(arena, "SOCKET=" STR_FMT, STR_ARG(place->socket));
        is_good = is_good && spec_push(env, &n, text);
    }
    if (s->socket == SPEC_ACTIVATE) {
        is_good = is_good && spec_push(env, &n, arena_str(arena, STR("LISTEN_FDS=1"))) &&
                  spec_push(env, &n, arena_str(arena, STR("LISTEN_PID=")));
    }
    *ret_env = env;
    return is_good ? ERR_OK : ERR_NOMEM;
}

static enum err spec_find_user(const struct spec *s, struct spec_start *start, char *reason,
                               size_t reason_bytes)
{
    if (!s->user.n) {
        child_find_self(&start->user);
        return ERR_OK;
    }
    enum err e = child_find_user(s->user.p, &start->user);
    start->has_user = geteuid() == 0;
    if (e) {
        snprintf(reason, reason_bytes,
                 e == ERR_ACCESS ? "only root may run it as the user " STR_FMT
                                 : "there is no user " STR_FMT,
                 STR_ARG(s->user));
    }
    return e;
}

enum err spec_prepare(const struct spec *s, const struct spec_place *place, struct arena *arena,
                      struct spec_start *ret_start, const char **ret_key, char *ret_reason,
                      size_t reason_bytes)
{
    struct file_info info;
    *ret_start = (struct spec_start){.has_user = false};
    *ret_key = "user";
    enum err e = spec_find_user(s, ret_start, ret_reason, reason_bytes);
    if (e) {
        return e;
    }
    *ret_key = "cwd";
    e = file_info_at(s->cwd.p, &info);
    if (e || !info.is_directory) {
        snprintf(ret_reason, reason_bytes, "the directory %s: %s", s->cwd.p,
                 e ? err_text(e) : "it is none");
        return e ? e : ERR_NOT_FOUND;
    }
    *ret_key = "command";
    e = child_find_program(s->words[0], s->path, s->cwd.p, ret_start->path);
    if (e) {
        bool has_path = str_index(s->words[0], '/') >= 0;
        snprintf(ret_reason, reason_bytes,
                 e == ERR_ACCESS ? "the program %s may not be executed%s"
                                 : "there is no program %s%s",
                 has_path ? ret_start->path : s->words[0].p, has_path ? "" : " in PATH");
        return e;
    }
    const char *home = ret_start->user.home;
    bool has_home = file_info_at(home, &info) == ERR_OK && info.is_directory;
    snprintf(ret_reason, reason_bytes, "out of memory");
    e = spec_make_argv(s, place, arena, &ret_start->argv);
    return e ? e : spec_make_env(s, place, has_home ? home : s->cwd.p, arena, &ret_start->env);
}
