/* SPDX-License-Identifier: Apache-2.0 */
#include "app/supervisor_int.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/datagram.h"
#include "os/file.h"
#include "os/process.h"

#define RESTART_MS_MIN 100u
#define RESTART_MS_MAX 10000u
#define UPGRADE_NS (30ull * NS_PER_S)
#define READER_NS (10ull * NS_PER_S)

void supervisor_say(const char *level, const char *format, ...)
{
    char text[512];
    char when[32];
    struct tm tm;
    time_t now = time(NULL);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    gmtime_r(&now, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
    fprintf(stderr, "%s %s supervisor: %s\n", when, level, text);
}

static int supervisor_free_slot(const struct supervisor *s)
{
    for (int i = 0; i < SUPERVISOR_EDGES_MAX; i++) {
        if (s->edges[i].pid == 0) {
            return i;
        }
    }
    return -1;
}

enum err supervisor_start_role(struct supervisor *s, const char *role, struct supervisor_edge *ret)
{
    const char *argv[SUPERVISOR_ARGUMENTS_MAX] = {s->options->program, role};
    int ends[2];
    pid_t pid;
    for (unsigned i = 2; s->options->argv[i] && i < SUPERVISOR_ARGUMENTS_MAX - 1; i++) {
        argv[i] = s->options->argv[i];
    }
    enum err e = process_channel(ends);
    if (!e) {
        e = process_spawn(s->options->program, (char *const *)(uintptr_t)argv, ends[1], &pid);
        close(ends[1]);
        if (e) {
            close(ends[0]);
        }
    }
    if (e) {
        supervisor_say("error", "cannot start %s %s: %s", s->options->program, role, err_text(e));
        return e;
    }
    *ret = (struct supervisor_edge){.pid = pid, .channel = ends[0], .relay = -1};
    return ERR_OK;
}

/* Each edge takes datagrams that another one received at one end of a pair; the others, which come
 * after it, get the other end. */
static enum err supervisor_send_relays(struct supervisor *s, struct supervisor_edge *edge)
{
    int ends[2];
    enum err e = process_channel(ends);
    if (e) {
        return e;
    }
    edge->relay = ends[1];
    struct control_message m = {.kind = CONTROL_RELAY, .count = edge->generation, .fd = -1};
    e = control_send(edge->channel, &m, ends[0]);
    close(ends[0]);
    for (int i = 0; i < SUPERVISOR_EDGES_MAX && !e; i++) {
        const struct supervisor_edge *other = &s->edges[i];
        if (other != edge && other->pid && other->relay >= 0) {
            m.count = other->generation;
            e = control_send(edge->channel, &m, other->relay);
        }
    }
    return e;
}

static int supervisor_spawn(struct supervisor *s)
{
    int slot = supervisor_free_slot(s);
    if (slot < 0) {
        supervisor_say("error", "too many old processes still drain; try again later");
        return -1;
    }
    if (supervisor_start_role(s, "edge", &s->edges[slot]) != ERR_OK) {
        return -1;
    }
    struct supervisor_edge *edge = &s->edges[slot];
    edge->generation = ++s->generation;
    const struct control_message hello = {
        .kind = CONTROL_HELLO, .count = edge->generation, .fd = -1};
    if (control_send(edge->channel, &hello, s->kept) != ERR_OK ||
        supervisor_send_relays(s, edge) != ERR_OK) {
        supervisor_say("warn", "process %d does not listen", (int)edge->pid);
    }
    return slot;
}

static void supervisor_tell(struct supervisor *s, int slot, enum control_kind kind)
{
    const struct control_message m = {
        .kind = kind, .count = slot != s->current && s->current >= 0, .fd = -1};
    if (slot >= 0 && s->edges[slot].pid && control_send(s->edges[slot].channel, &m, -1) != ERR_OK) {
        /* It is gone; SIGCHLD says so too. */
        supervisor_say("warn", "process %d does not listen", (int)s->edges[slot].pid);
    }
}

/* ---- sockets ---- */

static struct supervisor_socket *supervisor_find(struct supervisor *s,
                                                 const struct control_address *a, uint32_t index)
{
    for (uint32_t i = 0; i < s->socket_count; i++) {
        if (s->sockets[i].index == index && control_address_eq(&s->sockets[i].asked, a)) {
            return &s->sockets[i];
        }
    }
    return NULL;
}

/* The folder of a local socket is made where it is missing (/run/selenia). */
static void supervisor_make_folder(const struct socket_address *a)
{
    const struct sockaddr_un *u = (const struct sockaddr_un *)&a->raw;
    char path[sizeof(u->sun_path) + 1] = {0};
    if (a->raw.ss_family != AF_UNIX || u->sun_path[0] == '\0') {
        return;
    }
    memcpy(path, u->sun_path, sizeof(u->sun_path));
    char *slash = strrchr(path, '/');
    if (slash && slash != path) {
        *slash = '\0';
        mkdir(path, 0755);
    }
}

/* Several sockets on port 0 must share the port that the first one got. */
static struct socket_address supervisor_address(struct supervisor *s,
                                                const struct control_address *a, uint32_t index)
{
    struct socket_address got;
    const struct supervisor_socket *first = index ? supervisor_find(s, a, 0) : NULL;
    if (first && socket_address_port(&a->at) == 0 && socket_local(first->fd, &got) == ERR_OK) {
        return got;
    }
    return a->at;
}

static enum err supervisor_bind(struct supervisor *s, const struct control_message *m,
                                uint32_t index, int *ret_fd)
{
    struct supervisor_socket *known = supervisor_find(s, &m->address, index);
    if (known) {
        *ret_fd = known->fd;
        return ERR_OK;
    }
    if (s->socket_count == SUPERVISOR_SOCKETS_MAX) {
        return ERR_LIMIT;
    }
    int fd = m->fd;
    enum err e = ERR_OK;
    if (fd < 0) {
        struct socket_address a = supervisor_address(s, &m->address, index);
        supervisor_make_folder(&a);
        e = m->address.variant & CONTROL_VARIANT_DATAGRAM ? datagram_bind(&a, true, &fd)
                                                          : socket_listen(&a, true, &fd);
    }
    if (!e) {
        s->sockets[s->socket_count++] = (struct supervisor_socket){m->address, index, fd};
        *ret_fd = fd;
    }
    return e;
}

/* An edge gets every socket that its predecessor had, even if it asks for fewer: connections wait
 * in the queue of each. */
static uint32_t supervisor_count(struct supervisor *s, const struct control_message *m)
{
    uint32_t count = m->count;
    while (supervisor_find(s, &m->address, count)) {
        count++;
    }
    return count;
}

static void supervisor_on_bind(struct supervisor *s, int slot, const struct control_message *m)
{
    uint32_t count = supervisor_count(s, m);
    for (uint32_t i = 0; i < count; i++) {
        int fd = -1;
        struct control_message reply = {.kind = CONTROL_BOUND, .count = count, .fd = -1};
        reply.error = supervisor_bind(s, m, i, &fd);
        if (control_send(s->edges[slot].channel, &reply, fd) != ERR_OK || reply.error) {
            return;
        }
    }
}

static void supervisor_on_release(struct supervisor *s, const struct control_message *m)
{
    for (uint32_t i = 0; i < s->socket_count;) {
        if (control_address_eq(&s->sockets[i].asked, &m->address)) {
            const struct sockaddr_un *u = (const struct sockaddr_un *)&m->address.at.raw;
            if (m->address.at.raw.ss_family == AF_UNIX && u->sun_path[0]) {
                unlink(u->sun_path);
            }
            close(s->sockets[i].fd);
            s->sockets[i] = s->sockets[--s->socket_count];
        } else {
            i++;
        }
    }
}

static void supervisor_close_sockets(struct supervisor *s)
{
    while (s->socket_count) {
        const struct control_message m = {.address = s->sockets[0].asked};
        supervisor_on_release(s, &m);
    }
}

/* ---- reload ---- */

static void supervisor_hand_config(struct supervisor *s, enum err error, int fd)
{
    const struct control_message m = {.kind = CONTROL_RELOAD, .error = error, .fd = -1};
    if (s->current >= 0 && control_send(s->edges[s->current].channel, &m, fd) != ERR_OK) {
        supervisor_say("warn", "process %d does not listen", (int)s->edges[s->current].pid);
    }
}

static void supervisor_end_reader(struct supervisor *s)
{
    if (s->reader.pid) {
        kill(s->reader.pid, SIGKILL);
        close(s->reader.channel);
        s->reader = (struct supervisor_edge){0};
    }
}

/* What is read last counts: a reader that is still at work starts over. */
static void supervisor_reload(struct supervisor *s)
{
    supervisor_end_reader(s);
    enum err e = supervisor_start_role(s, "reader", &s->reader);
    if (e) {
        supervisor_hand_config(s, e, -1);
        return;
    }
    s->reader_end_ns = clock_monotonic_ns() + READER_NS;
}

static void supervisor_on_reader(struct supervisor *s)
{
    struct control_message m;
    int fd = -1;
    enum err e = control_recv(s->reader.channel, false, &m, &fd);
    if (e == ERR_AGAIN) {
        return;
    }
    supervisor_hand_config(s, e ? e : (enum err)m.error, e ? -1 : fd);
    if (!e) {
        file_close(fd);
    }
    supervisor_end_reader(s);
}

/* ---- start, stop, upgrade ---- */

static void supervisor_turn(struct supervisor *s);

static void supervisor_stop(struct supervisor *s)
{
    if (s->is_stopping) {
        supervisor_say("warn", "stopping at once");
    }
    for (int i = 0; i < SUPERVISOR_EDGES_MAX; i++) {
        if (s->edges[i].pid && s->is_stopping) {
            kill(s->edges[i].pid, SIGKILL);
        } else if (s->edges[i].pid && s->edges[i].is_ready) {
            supervisor_tell(s, i, CONTROL_DRAIN);
        } else if (s->edges[i].pid) {
            kill(s->edges[i].pid, SIGTERM);
        }
    }
    if (s->is_stopping && s->helpers[SUPERVISOR_RUNNER].process.pid) {
        kill(s->helpers[SUPERVISOR_RUNNER].process.pid, SIGQUIT);
    }
    s->is_stopping = true;
    s->restart_at_ns = 0;
    supervisor_end_helpers(s);
}

/* Behind the last edge, whose requests may need them until then. */
static void supervisor_end_processes(struct supervisor *s)
{
    const struct control_message m = {.kind = CONTROL_DRAIN, .fd = -1};
    s->is_stopping = true;
    supervisor_tell_helper(s, SUPERVISOR_RUNNER, &m, -1);
    while (s->helpers[SUPERVISOR_RUNNER].process.pid) {
        supervisor_turn(s);
    }
}

static void supervisor_upgrade(struct supervisor *s)
{
    if (s->next >= 0 || s->is_stopping || s->current < 0) {
        supervisor_say("warn", "an upgrade is not possible now");
        return;
    }
    s->next = supervisor_spawn(s);
    if (s->next >= 0) {
        s->upgrade_end_ns = clock_monotonic_ns() + UPGRADE_NS;
        supervisor_say("info", "upgrade: process %d starts beside %d", (int)s->edges[s->next].pid,
                       (int)s->edges[s->current].pid);
    }
}

static void supervisor_abandon_upgrade(struct supervisor *s, const char *why)
{
    supervisor_say("error", "upgrade given up, the old process goes on: the new one %s", why);
    if (s->edges[s->next].pid) {
        kill(s->edges[s->next].pid, SIGKILL);
        s->edges[s->next].is_draining = true;
    }
    s->next = -1;
}

static void supervisor_on_ready(struct supervisor *s, int slot)
{
    s->edges[slot].is_ready = true;
    s->has_served = true;
    supervisor_tell(s, slot, CONTROL_GO);
    if (slot != s->next) {
        return;
    }
    int old = s->current;
    s->current = slot;
    s->next = -1;
    s->edges[old].is_draining = true;
    supervisor_tell(s, old, CONTROL_DRAIN);
    supervisor_say("info", "upgrade: process %d serves, %d drains", (int)s->edges[slot].pid,
                   (int)s->edges[old].pid);
    upgrade_replace_program(s);
}

static void supervisor_schedule_restart(struct supervisor *s)
{
    uint64_t delay_ms = (uint64_t)RESTART_MS_MIN << (s->failures < 7 ? s->failures : 7);
    if (delay_ms > RESTART_MS_MAX) {
        delay_ms = RESTART_MS_MAX;
    }
    s->failures++;
    s->restart_at_ns = clock_monotonic_ns() + delay_ms * NS_PER_MS;
    supervisor_say("warn", "the edge starts again in %llu ms", (unsigned long long)delay_ms);
}

static void supervisor_on_exit(struct supervisor *s, int slot, int code, const char *how)
{
    struct supervisor_edge *edge = &s->edges[slot];
    pid_t pid = edge->pid;
    bool was_draining = edge->is_draining;
    close(edge->channel);
    file_close(edge->relay);
    *edge = (struct supervisor_edge){0};
    if (slot == s->next) {
        supervisor_abandon_upgrade(s, how);
        return;
    }
    if (slot != s->current) {
        supervisor_say("info", "old process %d %s", (int)pid, how);
        return;
    }
    s->current = -1;
    if (s->is_stopping) {
        s->exit_code = code;
    } else if (!s->has_served) {
        /* It never served: it has said why, and trying again would not help. */
        s->exit_code = code ? code : 1;
        s->is_stopping = true;
    } else if (!was_draining) {
        supervisor_say("error", "the edge (process %d) %s", (int)pid, how);
        supervisor_schedule_restart(s);
    }
}

static void supervisor_reap(struct supervisor *s)
{
    pid_t pid;
    int code;
    char how[96];
    while (process_reap(&pid, &code, how, sizeof(how))) {
        bool was_helper = supervisor_reap_helper(s, pid, how);
        for (int i = 0; i < SUPERVISOR_EDGES_MAX && !was_helper; i++) {
            if (s->edges[i].pid == pid) {
                supervisor_on_exit(s, i, code, how);
            }
        }
    }
}

static void supervisor_reopen_runner(struct supervisor *s)
{
    const struct control_message m = {.kind = CONTROL_REOPEN, .fd = -1};
    supervisor_tell_helper(s, SUPERVISOR_RUNNER, &m, -1);
}

static void supervisor_on_signal(struct supervisor *s, int signal)
{
    switch (signal) {
    case SIGCHLD:
        supervisor_reap(s);
        break;
    case SIGHUP:
        supervisor_reload(s);
        break;
    case SIGUSR1:
        supervisor_tell(s, s->current, CONTROL_REOPEN);
        supervisor_reopen_runner(s);
        break;
    case SIGUSR2:
        supervisor_upgrade(s);
        break;
    default:
        supervisor_stop(s);
        break;
    }
}

static void supervisor_on_message(struct supervisor *s, int slot)
{
    struct control_message m;
    int fd = -1;
    enum err e = control_recv(s->edges[slot].channel, false, &m, &fd);
    if (e == ERR_AGAIN) {
        return;
    }
    if (e) {
        /* The process ends; its exit says more. Closed here, poll would report it for ever. */
        shutdown(s->edges[slot].channel, SHUT_RDWR);
        return;
    }
    if (m.kind == CONTROL_KEEP && fd >= 0) {
        file_close(s->kept);
        s->kept = fd;
        return;
    }
    if (m.kind == CONTROL_ISSUE && slot == s->current) {
        supervisor_want_helper(s, SUPERVISOR_ISSUER, fd >= 0, fd);
        return;
    }
    if (m.kind == CONTROL_DEMAND && slot == s->current) {
        supervisor_tell_helper(s, SUPERVISOR_ISSUER, &m, fd);
    } else if ((m.kind == CONTROL_RESTART || m.kind == CONTROL_IDLE || m.kind == CONTROL_REOPEN) &&
               slot == s->current) {
        supervisor_tell_helper(s, SUPERVISOR_RUNNER, &m, fd);
    }
    file_close(fd);
    if (m.kind == CONTROL_BIND) {
        supervisor_on_bind(s, slot, &m);
    } else if (m.kind == CONTROL_READY) {
        supervisor_on_ready(s, slot);
    } else if (m.kind == CONTROL_RELEASE && slot == s->current) {
        supervisor_on_release(s, &m);
    } else if (m.kind == CONTROL_ASK_STOP) {
        supervisor_stop(s);
    } else if (m.kind == CONTROL_ASK_UPGRADE) {
        supervisor_upgrade(s);
    } else if (m.kind == CONTROL_ASK_RELOAD && slot == s->current) {
        supervisor_reload(s);
    } else if (m.kind == CONTROL_WATCH && slot == s->current) {
        supervisor_want_helper(s, SUPERVISOR_WATCHER, m.count != 0, -1);
    } else if (m.kind == CONTROL_RUN && slot == s->current) {
        supervisor_run_processes(s, &m);
    }
}

/* ---- the loop ---- */

static int supervisor_wait_ms(const struct supervisor *s)
{
    uint64_t until = supervisor_helpers_until_ns(s);
    if (s->restart_at_ns && (until == 0 || s->restart_at_ns < until)) {
        until = s->restart_at_ns;
    }
    if (s->next >= 0 && (until == 0 || s->upgrade_end_ns < until)) {
        until = s->upgrade_end_ns;
    }
    if (s->reader.pid && (until == 0 || s->reader_end_ns < until)) {
        until = s->reader_end_ns;
    }
    if (until == 0) {
        return -1;
    }
    uint64_t now = clock_monotonic_ns();
    return until <= now ? 0 : (int)((until - now) / NS_PER_MS) + 1;
}

static void supervisor_on_time(struct supervisor *s)
{
    uint64_t now = clock_monotonic_ns();
    if (s->next >= 0 && now >= s->upgrade_end_ns) {
        supervisor_abandon_upgrade(s, "was not ready within 30 s");
    }
    if (s->reader.pid && now >= s->reader_end_ns) {
        supervisor_end_reader(s);
        supervisor_hand_config(s, ERR_TIMEOUT, -1);
    }
    supervisor_helpers_on_time(s, now);
    if (s->restart_at_ns && now >= s->restart_at_ns) {
        s->restart_at_ns = 0;
        s->current = supervisor_spawn(s);
        if (s->current < 0) {
            supervisor_schedule_restart(s);
        }
    }
}

static void supervisor_turn(struct supervisor *s)
{
    enum { HELPERS_AT = 2, EDGES_AT = HELPERS_AT + SUPERVISOR_HELPER_COUNT };
    struct pollfd fds[EDGES_AT + SUPERVISOR_EDGES_MAX] = {
        {.fd = s->signals, .events = POLLIN},
        {.fd = s->reader.pid ? s->reader.channel : -1, .events = POLLIN}};
    int slots[EDGES_AT + SUPERVISOR_EDGES_MAX];
    nfds_t n = EDGES_AT;
    for (int i = 0; i < SUPERVISOR_HELPER_COUNT; i++) {
        const struct supervisor_edge *helper = &s->helpers[i].process;
        fds[HELPERS_AT + i] =
            (struct pollfd){.fd = helper->pid ? helper->channel : -1, .events = POLLIN};
    }
    for (int i = 0; i < SUPERVISOR_EDGES_MAX; i++) {
        if (s->edges[i].pid) {
            slots[n] = i;
            fds[n++] = (struct pollfd){.fd = s->edges[i].channel, .events = POLLIN};
        }
    }
    poll(fds, n, supervisor_wait_ms(s));
    if (fds[1].revents) {
        supervisor_on_reader(s);
    }
    for (nfds_t i = HELPERS_AT; i < n; i++) {
        if ((fds[i].revents & POLLIN) && i < EDGES_AT) {
            supervisor_on_helper(s, (enum supervisor_helper_kind)(i - HELPERS_AT));
        } else if ((fds[i].revents & POLLIN) && s->edges[slots[i]].pid) {
            supervisor_on_message(s, slots[i]);
        } else if (fds[i].revents & (POLLHUP | POLLERR)) {
            /* Wait for SIGCHLD instead of turning round and round. */
            poll(fds, 1, 100);
        }
    }
    for (int signal = process_signal_next(s->signals); signal;
         signal = process_signal_next(s->signals)) {
        supervisor_on_signal(s, signal);
    }
    supervisor_on_time(s);
}

static bool supervisor_is_alive(const struct supervisor *s)
{
    for (int i = 0; i < SUPERVISOR_EDGES_MAX; i++) {
        if (s->edges[i].pid) {
            return true;
        }
    }
    return s->restart_at_ns != 0;
}

int supervisor_run(const struct supervisor_options *options)
{
    static const int signals[] = {SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, 0};
    static struct supervisor s;
    s = (struct supervisor){.options = options, .current = -1, .next = -1, .kept = -1};
    for (int i = 0; i < SUPERVISOR_HELPER_COUNT; i++) {
        s.helpers[i].task = -1;
    }
    signal(SIGPIPE, SIG_IGN);
    if (process_signals(signals, &s.signals) != ERR_OK) {
        supervisor_say("error", "cannot watch signals: %s", strerror(errno));
        return 1;
    }
    if (options->resume) {
        bool is_reload_due;
        if (upgrade_resume(&s, &is_reload_due) != ERR_OK) {
            supervisor_say("error", "the state of the old program cannot be read");
            return 1;
        }
        if (is_reload_due) {
            supervisor_reload(&s);
        }
    } else {
        s.current = supervisor_spawn(&s);
        if (s.current < 0) {
            return 1;
        }
    }
    supervisor_reap(&s);
    while (supervisor_is_alive(&s)) {
        supervisor_turn(&s);
    }
    supervisor_end_helpers(&s);
    supervisor_end_processes(&s);
    supervisor_close_sockets(&s);
    return s.exit_code;
}
