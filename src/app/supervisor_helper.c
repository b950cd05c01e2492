/* SPDX-License-Identifier: Apache-2.0 */
/* The processes that work for the edge in force: they are started when it asks, and again with
 * growing pauses when they end; what they say is passed on to it. */
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/supervisor_int.h"
#include "os/child.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"

#define RESTART_MS_MIN 100u
#define DOUBLINGS_MAX 12u

/* The roles, and what each may say. */
static const struct {
    const char *role;
    const char *name;
    enum control_kind news;
} kinds[SUPERVISOR_HELPER_COUNT] = {
    [SUPERVISOR_ISSUER] = {"issuer", "the issuer of certificates", CONTROL_ISSUED},
    [SUPERVISOR_WATCHER] = {"watcher", "the watcher of certificate files", CONTROL_FILES},
    [SUPERVISOR_RUNNER] = {"runner", "the runner of programs", CONTROL_RUNNING},
};

void supervisor_end_helper(struct supervisor *s, enum supervisor_helper_kind kind)
{
    struct supervisor_helper *h = &s->helpers[kind];
    if (h->process.pid) {
        process_end(h->process.pid);
        close(h->process.channel);
        h->process = (struct supervisor_edge){0};
    }
}

static void helper_schedule(struct supervisor_helper *h)
{
    uint64_t delay_ms = (uint64_t)RESTART_MS_MIN
                        << (h->failures < DOUBLINGS_MAX ? h->failures : DOUBLINGS_MAX);
    h->failures++;
    h->at_ns = clock_monotonic_ns() + delay_ms * NS_PER_MS;
}

static void helper_start(struct supervisor *s, enum supervisor_helper_kind kind)
{
    struct supervisor_helper *h = &s->helpers[kind];
    const struct control_message m = {.kind = CONTROL_HELLO, .fd = -1};
    h->at_ns = clock_monotonic_ns();
    if (supervisor_start_role(s, kinds[kind].role, &h->process) != ERR_OK ||
        control_send(h->process.channel, &m, h->task) != ERR_OK) {
        supervisor_end_helper(s, kind);
        helper_schedule(h);
    }
}

void supervisor_want_helper(struct supervisor *s, enum supervisor_helper_kind kind, bool is_wanted,
                            int task)
{
    struct supervisor_helper *h = &s->helpers[kind];
    supervisor_end_helper(s, kind);
    file_close(h->task);
    h->task = task;
    h->failures = 0;
    h->is_wanted = is_wanted;
    if (is_wanted && !s->is_stopping) {
        helper_start(s, kind);
    }
}

void supervisor_run_processes(struct supervisor *s, const struct control_message *m)
{
    struct supervisor_helper *h = &s->helpers[SUPERVISOR_RUNNER];
    h->is_wanted = m->count != 0;
    if (h->process.pid) {
        supervisor_tell_helper(s, SUPERVISOR_RUNNER, m, -1);
    } else if (h->is_wanted && !s->is_stopping) {
        h->failures = 0;
        child_adopt_orphans(); /* what a runner leaves behind that was killed is ours to end */
        helper_start(s, SUPERVISOR_RUNNER);
    }
}

static void helper_kill_orphans(const struct supervisor *s)
{
    pid_t known[SUPERVISOR_EDGES_MAX + SUPERVISOR_HELPER_COUNT + 1] = {s->reader.pid};
    size_t n = 1;
    for (int i = 0; i < SUPERVISOR_EDGES_MAX; i++) {
        known[n++] = s->edges[i].pid;
    }
    for (int i = 0; i < SUPERVISOR_HELPER_COUNT; i++) {
        known[n++] = s->helpers[i].process.pid;
    }
    child_kill_others(known, n);
}

/* Never waits for it: a helper may be busy for a while. */
void supervisor_tell_helper(struct supervisor *s, enum supervisor_helper_kind kind,
                            const struct control_message *m, int fd)
{
    struct supervisor_helper *h = &s->helpers[kind];
    struct pollfd channel = {.fd = h->process.pid ? h->process.channel : -1, .events = POLLOUT};
    if (poll(&channel, 1, 0) == 1 && channel.revents == POLLOUT) {
        enum err ignored = control_send(h->process.channel, m, fd);
        (void)ignored; /* it is gone; SIGCHLD says so too */
    }
}

void supervisor_on_helper(struct supervisor *s, enum supervisor_helper_kind kind)
{
    struct supervisor_helper *h = &s->helpers[kind];
    struct control_message m;
    int fd = -1;
    enum err e = control_recv(h->process.channel, false, &m, &fd);
    if (e == ERR_AGAIN) {
        return;
    }
    if (e || m.kind != (uint32_t)kinds[kind].news) {
        if (!e) {
            file_close(fd);
        }
        shutdown(h->process.channel, SHUT_RDWR);
        return;
    }
    h->failures = 0;
    for (int i = 0; i < SUPERVISOR_EDGES_MAX; i++) {
        const struct supervisor_edge *edge = &s->edges[i];
        /* Those that drain need to know of programs as long as they have requests for them; one
         * that starts asks when it serves. */
        bool is_meant = kind == SUPERVISOR_RUNNER ? edge->is_ready : i == s->current;
        if (is_meant && edge->pid && control_send(edge->channel, &m, fd) != ERR_OK) {
            supervisor_say("warn", "process %d does not listen", (int)edge->pid);
        }
    }
    file_close(fd);
}

bool supervisor_reap_helper(struct supervisor *s, pid_t pid, const char *how)
{
    for (int kind = 0; kind < SUPERVISOR_HELPER_COUNT; kind++) {
        struct supervisor_helper *h = &s->helpers[kind];
        if (h->process.pid != pid) {
            continue;
        }
        close(h->process.channel);
        h->process = (struct supervisor_edge){0};
        if (kind == SUPERVISOR_RUNNER) {
            helper_kill_orphans(s);
        }
        if (!s->is_stopping && h->is_wanted) {
            helper_schedule(h);
            supervisor_say("warn", "%s %s and starts again", kinds[kind].name, how);
        }
        return true;
    }
    return false;
}

static bool helper_is_due(const struct supervisor *s, const struct supervisor_helper *h)
{
    return h->is_wanted && !h->process.pid && !s->is_stopping;
}

uint64_t supervisor_helpers_until_ns(const struct supervisor *s)
{
    uint64_t until_ns = 0;
    for (int kind = 0; kind < SUPERVISOR_HELPER_COUNT; kind++) {
        const struct supervisor_helper *h = &s->helpers[kind];
        if (helper_is_due(s, h) && (until_ns == 0 || h->at_ns < until_ns)) {
            until_ns = h->at_ns;
        }
    }
    return until_ns;
}

void supervisor_helpers_on_time(struct supervisor *s, uint64_t now_ns)
{
    for (int kind = 0; kind < SUPERVISOR_HELPER_COUNT; kind++) {
        if (helper_is_due(s, &s->helpers[kind]) && now_ns >= s->helpers[kind].at_ns) {
            helper_start(s, (enum supervisor_helper_kind)kind);
        }
    }
}

void supervisor_end_helpers(struct supervisor *s)
{
    for (int kind = 0; kind < SUPERVISOR_HELPER_COUNT; kind++) {
        if (kind != SUPERVISOR_RUNNER) {
            supervisor_end_helper(s, (enum supervisor_helper_kind)kind);
        }
    }
}
