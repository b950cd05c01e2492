/* SPDX-License-Identifier: Apache-2.0 */
#include "app/runner_role.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/control.h"
#include "app/edge_int.h"
#include "app/state_dir.h"
#include "base/assert.h"
#include "os/child.h"
#include "os/file.h"
#include "os/process.h"
#include "os/sandbox.h"
#include "runner/check.h"
#include "runner/runner.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_OWN "/proc/self/cgroup"
#define NAME_BYTES_MAX 4096

struct runner_role {
    const char *program;
    const char *config;
    struct loop *loop;
    struct log *log;
    struct runner *runner;
    struct loop_watch channel;
    struct loop_watch signals;
    char directory[PATH_MAX]; /* of sockets; empty: none */
    uint32_t edge;            /* generation of the one that spoke last */
    bool is_stopping;
};

static void role_replace(struct runner_role *r);

/* ---- the configuration ---- */

static enum err role_load(const struct runner_role *r, struct settings **ret_settings)
{
    struct diag_list diags;
    diag_list_init(&diags);
    enum err e = settings_load(&r->config, 1, NULL, ret_settings, &diags);
    diag_list_done(&diags);
    if (!e) {
        settings_wipe_keys(*ret_settings);
    }
    return e;
}

static enum err role_note_own_socket(void *context, const struct process_settings *p)
{
    bool *has_own = context;
    *has_own |= str_eq(p->socket, STR("true"));
    return ERR_OK;
}

/* A program may have to reach its socket through directories that are not its own; what it cannot
 * list it cannot find there. */
static void role_prepare_directory(struct runner_role *r, const struct settings *s)
{
    char state[PATH_MAX], resolved[PATH_MAX];
    bool has_own = false;
    enum err e = runner_each_process(s, role_note_own_socket, &has_own);
    e = e ? e : state_dir_create(s->server.state, s->server.user);
    if (e == ERR_NOT_FOUND && geteuid() == 0) {
        e = ERR_OK; /* no such user: the directory stays ours */
    }
    e = e ? e : state_dir_path(s->server.state, "", state);
    e = e ? e : state_dir_path(s->server.state, "process", r->directory);
    e = e ? e : file_make_directories(r->directory);
    if (!e) {
        /* Programs run elsewhere, so where we are must not matter. */
        e = file_resolve(r->directory, resolved);
        snprintf(r->directory, sizeof(r->directory), "%s", e ? "" : resolved);
    }
    if (!e && geteuid() == 0 && has_own) {
        e = file_let_through(state);
    }
    if (!e && geteuid() == 0) {
        e = file_let_through(r->directory);
    }
    if (e) {
        r->directory[0] = '\0';
        LOG(r->log, LOG_LEVEL_WARN, "there is no directory for the sockets of programs",
            log_err(e));
    }
}

/* Between the edge's look and ours the files may have become wrong: the next reload says so. */
static void role_apply(struct runner_role *r)
{
    struct settings *s;
    enum err e = role_load(r, &s);
    if (!e) {
        log_set_level(r->log, edge_log_level(s->log.level));
        role_prepare_directory(r, s);
        e = runner_apply(r->runner, s);
        settings_destroy(s);
    }
    if (e) {
        LOG(r->log, LOG_LEVEL_ERROR, "the processes of the configuration cannot be taken over",
            log_err(e));
    }
}

/* ---- what the supervisor says ---- */

static void role_restart(struct runner_role *r, int fd)
{
    struct buf name;
    buf_init(&name, NAME_BYTES_MAX);
    enum err e = fd < 0 ? ERR_SYNTAX : file_read_memory(fd, &name);
    e = e ? e : runner_restart(r->runner, buf_str(&name));
    if (e) {
        LOG(r->log, LOG_LEVEL_WARN, "a process cannot be replaced",
            log_str("process", buf_str(&name)), log_err(e));
    }
    buf_done(&name);
}

static void role_handle(struct runner_role *r, const struct control_message *m, int fd)
{
    if (m->kind == CONTROL_RUN && r->edge != m->edge) {
        if (r->edge) {
            runner_edge_changed(r->runner);
        }
        r->edge = m->edge;
    }
    if (m->kind == CONTROL_RUN && m->count) {
        role_apply(r);
    } else if (m->kind == CONTROL_RUN) {
        runner_finish(r->runner);
    } else if (m->kind == CONTROL_RESTART) {
        role_restart(r, fd);
    } else if (m->kind == CONTROL_IDLE) {
        runner_idle(r->runner, m->count);
    } else if (m->kind == CONTROL_REOPEN) {
        enum err ignored = log_reopen(r->log);
        (void)ignored; /* keeps the old file */
    } else if (m->kind == CONTROL_REPLACE) {
        role_replace(r);
    } else if (m->kind == CONTROL_DRAIN) {
        runner_stop(r->runner);
    }
    file_close(fd);
}

static void role_on_channel(struct loop_watch *w, unsigned events)
{
    struct runner_role *r = CONTAINER_OF(w, struct runner_role, channel);
    struct control_message m;
    int fd = -1;
    (void)events;
    enum err e = control_recv(w->fd, false, &m, &fd);
    if (!e) {
        role_handle(r, &m, fd);
    } else if (e != ERR_AGAIN) {
        loop_unwatch(r->loop, w);
        runner_stop(r->runner);
    }
}

static void role_on_signal(struct loop_watch *w, unsigned events)
{
    struct runner_role *r = CONTAINER_OF(w, struct runner_role, signals);
    (void)events;
    for (int signal = process_signal_next(w->fd); signal; signal = process_signal_next(w->fd)) {
        if (signal == SIGCHLD) {
            runner_reap(r->runner);
        } else if (signal == SIGTERM && !r->is_stopping) {
            r->is_stopping = true;
            runner_stop(r->runner);
        } else {
            loop_stop(r->loop); /* what still runs is killed on the way out */
        }
    }
}

/* ---- what it says ---- */

static void role_on_change(void *context)
{
    struct runner_role *r = context;
    const struct control_message m = {.kind = CONTROL_RUNNING, .fd = -1};
    struct buf report;
    int fd = -1;
    buf_init(&report, 0);
    runner_report(r->runner, &report);
    enum err e = report.is_failed ? ERR_NOMEM : file_in_memory(buf_str(&report), &fd);
    if (!e) {
        e = control_send(PROCESS_CHANNEL_FD, &m, fd);
        file_close(fd);
    }
    buf_done(&report);
    if (e && e != ERR_RESET && e != ERR_CLOSED) {
        LOG(r->log, LOG_LEVEL_ERROR, "the edge cannot be told of the programs", log_err(e));
    }
}

static void role_on_stopped(void *context)
{
    struct runner_role *r = context;
    loop_stop(r->loop);
}

/* ---- another program in our place ---- */

static void role_replace(struct runner_role *r)
{
    struct buf saved;
    char number[16];
    int fd = -1;
    buf_init(&saved, 0);
    runner_save(r->runner, &saved);
    enum err e = saved.is_failed ? ERR_NOMEM : file_in_memory(buf_str(&saved), &fd);
    buf_done(&saved);
    if (!e) {
        snprintf(number, sizeof(number), "%d", fd);
        const char *const argv[] = {r->program,   "runner", "--config", r->config,
                                    "--handover", number,   NULL};
        child_keep_on_exec(fd, true);
        runner_keep_descriptors(r->runner, true);
        execv(r->program, (char *const *)(uintptr_t)argv);
        runner_keep_descriptors(r->runner, false);
        file_close(fd);
        e = ERR_IO;
    }
    LOG(r->log, LOG_LEVEL_WARN, "the runner stays the old program", log_err(e));
}

static enum err role_resume(struct runner_role *r, const char *handover)
{
    struct buf saved;
    int fd = atoi(handover);
    buf_init(&saved, 0);
    enum err e = file_read_memory(fd, &saved);
    file_close(fd);
    if (!e) {
        e = runner_restore(r->runner, buf_str(&saved));
    }
    buf_done(&saved);
    if (!e) {
        runner_reap(r->runner);
        LOG(r->log, LOG_LEVEL_INFO, "the runner is the new program", log_i64("pid", getpid()));
    }
    return e;
}

/* ---- start ---- */

static gid_t role_edge_gid(const struct settings *s)
{
    struct child_user user;
    bool is_other = geteuid() == 0 && s->server.user.n;
    return is_other && child_find_user(s->server.user.p, &user) == ERR_OK ? user.gid : getegid();
}

static enum err role_listen(struct runner_role *r)
{
    static const int signals[] = {SIGCHLD, SIGTERM, SIGQUIT, 0};
    int fd;
    enum err e = process_signals(signals, &fd);
    e = e ? e : loop_watch(r->loop, &r->signals, fd, POLLER_READ, role_on_signal);
    return e ? e
             : loop_watch(r->loop, &r->channel, PROCESS_CHANNEL_FD, POLLER_READ, role_on_channel);
}

static enum err role_prepare(struct runner_role *r, const struct settings *s, bool goes_on)
{
    struct str path = s->log.output.kind == OUTPUT_FILE ? s->log.output.path : STR("");
    enum err e = log_create(path, edge_log_level(s->log.level), &r->log);
    if (e) {
        return e;
    }
    role_prepare_directory(r, s);
    const struct runner_options options = {.log = r->log,
                                           .loop = r->loop,
                                           .directory = r->directory[0] ? r->directory : NULL,
                                           .edge_gid = role_edge_gid(s),
                                           .cgroup_root = CGROUP_ROOT,
                                           .cgroup_own = CGROUP_OWN,
                                           .goes_on = goes_on,
                                           .on_change = role_on_change,
                                           .on_stopped = role_on_stopped,
                                           .context = r};
    e = runner_create(&options, &r->runner);
    /* System calls are not limited: what is forbidden here would be forbidden to the programs. */
    return e || geteuid() != 0 ? e : sandbox_keep_starting();
}

int runner_run(const char *program, const char *config, const char *handover)
{
    static struct runner_role role;
    struct runner_role *r = &role;
    struct control_message hello;
    struct settings *s = NULL;
    int fd = -1;
    *r = (struct runner_role){.program = program, .config = config};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* a Ctrl-C reaches the whole group; the supervisor decides */
    child_adopt_orphans();
    enum err e = handover ? ERR_OK : control_recv(PROCESS_CHANNEL_FD, true, &hello, &fd);
    file_close(fd);
    e = e ? e : loop_create(POLLER_KIND_EPOLL, &r->loop);
    e = e ? e : role_load(r, &s);
    e = e ? e : role_prepare(r, s, handover != NULL);
    e = e ? e : role_listen(r);
    if (!e && handover) {
        e = role_resume(r, handover);
    }
    if (!e) {
        e = runner_apply(r->runner, s);
    }
    settings_destroy(s);
    if (!e) {
        loop_run(r->loop);
    } else if (e != ERR_EOF && e != ERR_RESET) {
        fprintf(stderr, "sws: the programs of the configuration cannot be run: %s\n", err_text(e));
    }
    runner_destroy(r->runner);
    child_kill_others(NULL, 0);
    loop_destroy(r->loop);
    log_destroy(r->log);
    return e ? 1 : 0;
}
