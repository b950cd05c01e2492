/* SPDX-License-Identifier: Apache-2.0 */
/* One start of a program: where it listens, what limits it, and what it is started with. */
#include <stdio.h>
#include <unistd.h>

#include "os/file.h"
#include "runner/runner_int.h"

/* Without a cgroup the memory is looked at from time to time; this holds off what grows faster. */
#define DATA_SLACK_BYTES (1024ull * 1024 * 1024)

/* ---- where it listens ---- */

static enum err start_choose_socket(struct instance *i)
{
    const char *directory = i->group->runner->options.directory;
    int n;
    if (i->socket[0]) {
        return ERR_OK;
    }
    if (i->spec->socket_path.n) {
        n = snprintf(i->socket, sizeof(i->socket), "%s.%llu", i->spec->socket_path.p,
                     (unsigned long long)i->id);
    } else if (!directory) {
        snprintf(i->fault, sizeof(i->fault), "there is no directory for sockets (server.state)");
        return ERR_NOT_FOUND;
    } else {
        snprintf(i->folder, sizeof(i->folder), "%s/%llu", directory, (unsigned long long)i->id);
        n = snprintf(i->socket, sizeof(i->socket), "%s/sock", i->folder);
    }
    if (n < 0 || (size_t)n >= sizeof(i->socket)) {
        snprintf(i->fault, sizeof(i->fault), "the path of its socket is too long (server.state)");
        i->socket[0] = '\0';
        return ERR_LIMIT;
    }
    return ERR_OK;
}

static enum err start_choose_place(struct instance *i)
{
    enum err e;
    if (i->spec->socket == SPEC_PORT) {
        e = child_free_port(&i->port);
        snprintf(i->address, sizeof(i->address), "http://127.0.0.1:%u", i->port);
        if (e) {
            snprintf(i->fault, sizeof(i->fault), "no port is free: %s", err_text(e));
        }
        return e;
    }
    e = start_choose_socket(i);
    snprintf(i->address, sizeof(i->address), "unix:%s", i->socket);
    return e;
}

/* Ours for as long as the instance is: what comes between two starts waits in its queue. */
static enum err start_listen(struct instance *i)
{
    struct socket_address a;
    enum err e = socket_address_unix(str_of(i->socket), &a);
    if (!e) {
        e = socket_listen(&a, false, &i->socket_fd);
    }
    return e ? e : child_open_socket_to_all(i->socket);
}

static enum err start_prepare_place(struct instance *i, const struct spec_start *start)
{
    enum err e = ERR_OK;
    bool is_own = i->spec->socket == SPEC_OWN;
    if (i->folder[0] && (is_own || i->socket_fd < 0)) {
        e = child_make_directory(i->folder, is_own && start->has_user ? &start->user : NULL,
                                 i->group->runner->options.edge_gid);
    }
    if (!e && is_own) {
        e = file_remove(i->socket); /* of its last start */
    } else if (!e && i->spec->socket == SPEC_ACTIVATE && i->socket_fd < 0) {
        e = start_listen(i);
    }
    if (e) {
        snprintf(i->fault, sizeof(i->fault), "its socket cannot be made: %s", err_text(e));
    }
    return e;
}

void instance_forget_place(struct instance *i)
{
    file_close(i->socket_fd);
    i->socket_fd = -1;
    if (i->socket[0]) {
        enum err ignored = file_remove(i->socket);
        (void)ignored;
        i->socket[0] = '\0';
    }
    if (i->folder[0]) {
        rmdir(i->folder);
        i->folder[0] = '\0';
    }
}

/* ---- limits ---- */

/* Fills what holds without a cgroup. Returns what limits it, for the log. */
static const char *start_limit(struct instance *i, struct child_start *start)
{
    struct runner *r = i->group->runner;
    const struct cgroup_limits *limits = &i->spec->limits;
    enum err e = ERR_UNSUPPORTED;
    start->cgroup = -1;
    if (!r->cgroup_fault) {
        snprintf(i->cgroup, sizeof(i->cgroup), "%s%llu", r->cgroup_prefix,
                 (unsigned long long)i->id);
        e = cgroup_create(r->cgroup_base, i->cgroup, limits, &start->cgroup);
    }
    if (!e) {
        return "cgroup";
    }
    if (!r->cgroup_fault) {
        INSTANCE_LOG(i, LOG_LEVEL_WARN, "its cgroup cannot be made", log_err(e));
        i->cgroup[0] = '\0';
    }
    start->data_bytes_max = limits->memory_bytes ? limits->memory_bytes * 2 + DATA_SLACK_BYTES : 0;
    start->cpu_count = (unsigned)((limits->cpu_permille + 999) / 1000);
    return limits->memory_bytes || limits->cpu_permille ? "rlimits and watching" : "none";
}

/* ---- the program ---- */

static enum err start_open_outputs(struct instance *i, const int reads[2])
{
    static const char *const streams[] = {"stdout", "stderr"};
    enum err e = ERR_OK;
    for (int k = 0; k < 2; k++) {
        i->outputs[k].level = i->spec->log_level;
        i->outputs[k].source = (struct capture_source){i->spec->name, i->number, streams[k]};
        enum err one = capture_open(&i->outputs[k], reads[k]);
        e = e ? e : one;
    }
    return e;
}

static enum err start_spawn(struct instance *i, const struct spec_start *prepared,
                            const char **ret_limits)
{
    int out[2], err[2];
    enum err e = child_pipe(out);
    if (e) {
        return e;
    }
    e = child_pipe(err);
    if (e) {
        file_close(out[0]);
        file_close(out[1]);
        return e;
    }
    struct child_start start = {.program = prepared->path,
                                .argv = prepared->argv,
                                .env = prepared->env,
                                .cwd = i->spec->cwd.p,
                                .user = prepared->has_user ? &prepared->user : NULL,
                                .output = out[1],
                                .errors = err[1],
                                .socket = i->socket_fd,
                                .files_max = i->spec->files_max};
    *ret_limits = start_limit(i, &start);
    e = child_spawn(&start, &i->pid, i->fault, sizeof(i->fault));
    file_close(start.cgroup);
    file_close(out[1]);
    file_close(err[1]);
    if (e) {
        file_close(out[0]);
        file_close(err[0]);
        i->pid = 0;
        return e;
    }
    return start_open_outputs(i, (const int[]){out[0], err[0]});
}

enum err instance_begin_probe(struct instance *i)
{
    struct probe_question question = {.path = i->spec->ready_path,
                                      .wants_an_answer = i->spec->socket == SPEC_ACTIVATE};
    enum err e = i->spec->socket == SPEC_PORT
                     ? socket_address_ip(STR("127.0.0.1"), i->port, &question.address)
                     : socket_address_unix(str_of(i->socket), &question.address);
    return e ? e
             : probe_begin(&i->probe, i->group->runner->options.loop, &question, i->probe.on_yes);
}

static void start_say(const struct instance *i, const char *limits)
{
    struct buf command;
    buf_init(&command, 0);
    for (size_t k = 0; k < i->spec->word_count; k++) {
        buf_printf(&command, "%s%s", k ? " " : "", i->spec->words[k].p);
    }
    INSTANCE_LOG(i, LOG_LEVEL_INFO, "a program starts", log_u64("pid", (uint64_t)i->pid),
                 log_str("command", buf_str(&command)), log_str("address", str_of(i->address)),
                 log_str("limits", str_of(limits)));
    buf_done(&command);
}

static enum err start_run(struct instance *i, struct arena *arena)
{
    struct spec_start prepared;
    const char *key, *limits = "";
    enum err e = start_choose_place(i);
    const struct spec_place place = {.port = i->port, .socket = str_of(i->socket)};
    if (!e) {
        e = spec_prepare(i->spec, &place, arena, &prepared, &key, i->fault, sizeof(i->fault));
    }
    if (!e) {
        e = start_prepare_place(i, &prepared);
    }
    if (!e) {
        e = start_spawn(i, &prepared, &limits);
    }
    if (!e) {
        start_say(i, limits);
    }
    return e;
}

void instance_start(struct instance *i)
{
    struct loop *loop = i->group->runner->options.loop;
    struct arena arena;
    arena_init(&arena, 4096, 0);
    i->fault[0] = '\0';
    i->is_over_memory = false;
    i->has_started = true;
    i->fingerprint = i->spec->fingerprint;
    enum err e = start_run(i, &arena);
    arena_done(&arena);
    if (!e) {
        e = instance_begin_probe(i);
    }
    if (!e) {
        instance_set_state(i, INSTANCE_STARTING);
        loop_timer_set(loop, &i->timer, loop_now_ms(loop) + i->spec->ready_ms);
        return;
    }
    if (!i->fault[0]) {
        snprintf(i->fault, sizeof(i->fault), "it cannot be started: %s", err_text(e));
    }
    INSTANCE_LOG(i, LOG_LEVEL_ERROR, "a program cannot be started",
                 log_str("reason", str_of(i->fault)));
    if (i->pid) {
        instance_kill(i); /* its end is a failure */
        instance_set_state(i, INSTANCE_STOPPING);
    } else {
        instance_failed(i, true);
    }
}
