/* SPDX-License-Identifier: Apache-2.0 */
#include "app/edge_int.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "http/h1_parse.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"
#include "os/random.h"
#include "os/sandbox.h"

#define TICK_MS 1000u
#define EXIT_CONFIG 2
#define DRAIN_IDLE_MS 5000u /* after an upgrade, for requests that are on their way */

/* ---- configuration ---- */

static void edge_print_diags(struct edge *e, const struct diag_list *diags, bool is_start)
{
    struct buf text;
    buf_init(&text, 0);
    diag_list_print(diags, &text);
    buf_add_char(&text, '\0');
    if (!text.is_failed) {
        snprintf(e->reload_error, sizeof(e->reload_error), "%s", text.p);
        if (is_start) {
            fputs(text.p, stderr);
        }
    }
    buf_done(&text);
}

static enum err edge_load(struct edge *e, bool is_start, struct site **ret_site)
{
    struct diag_list diags;
    struct settings *settings = NULL;
    diag_list_init(&diags);
    enum err err =
        e->options->directory
            ? settings_default_site(e->options->directory, e->options->port, &settings, &diags)
            : settings_load(&e->options->config, 1, NULL, &settings, &diags);
    if (!err) {
        err = site_create(settings, ret_site, &diags);
        if (err) {
            settings_destroy(settings);
        }
    }
    if (err) {
        edge_print_diags(e, &diags, is_start);
        if (err != ERR_CONFIG) {
            snprintf(e->reload_error, sizeof(e->reload_error), "%s", err_text(err));
        }
    }
    diag_list_done(&diags);
    return err;
}

static enum log_level edge_log_level(enum conf_log_level level)
{
    switch (level) {
    case CONF_LOG_DEBUG:
        return LOG_LEVEL_DEBUG;
    case CONF_LOG_INFO:
        return LOG_LEVEL_INFO;
    case CONF_LOG_WARN:
        return LOG_LEVEL_WARN;
    case CONF_LOG_ERROR:
        return LOG_LEVEL_ERROR;
    }
    return LOG_LEVEL_INFO;
}

static enum err edge_open_writer(struct edge *e, const struct settings *s, struct writer **ret)
{
    struct writer_settings w;
    *ret = NULL;
    if (s->log.access.kind == OUTPUT_OFF) {
        return ERR_OK;
    }
    writer_settings_default(&w);
    w.producer_count = e->worker_count;
    if (s->log.access.kind == OUTPUT_FILE) {
        w.path = s->log.access.path;
        w.rotate_bytes = (uint64_t)s->log.rotate.size_bytes;
        w.rotate_age_ms = (uint64_t)s->log.rotate.age_ms;
        w.keep_count = (unsigned)s->log.rotate.keep_count;
        w.is_compressed = s->log.rotate.zstd;
    } else if (s->log.access.kind == OUTPUT_STDERR) {
        w.path = STR("/proc/self/fd/2");
    }
    return writer_create(&w, ret);
}

static bool edge_same_output(const struct settings *a, const struct settings *b)
{
    const struct log_settings *x = &a->log, *y = &b->log;
    return x->access.kind == y->access.kind && str_eq(x->access.path, y->access.path) &&
           x->rotate.size_bytes == y->rotate.size_bytes && x->rotate.age_ms == y->rotate.age_ms &&
           x->rotate.keep_count == y->rotate.keep_count && x->rotate.zstd == y->rotate.zstd;
}

/* ---- sockets ---- */

static enum err edge_wait_bound(struct edge *e, struct control_message *ret, int *ret_fd)
{
    for (;;) {
        enum err err = control_recv(PROCESS_CHANNEL_FD, true, ret, ret_fd);
        if (err || ret->kind == CONTROL_BOUND) {
            return err;
        }
        if (e->deferred_count < COUNT_OF(e->deferred)) {
            e->deferred[e->deferred_count++] = *ret;
        }
    }
}

static enum err edge_bind(struct edge *e, const struct socket_address *a, int inherited,
                          uint32_t count, struct edge_listen *ret)
{
    struct control_message m = {
        .kind = CONTROL_BIND, .count = count, .fd = inherited, .address = *a};
    *ret = (struct edge_listen){.asked = *a, .fd_count = count, .is_wanted = true};
    enum err err = control_send(PROCESS_CHANNEL_FD, &m, -1);
    for (uint32_t i = 0; !err && i < count; i++) {
        int fd = -1;
        err = edge_wait_bound(e, &m, &fd);
        if (!err) {
            err = (enum err)m.error;
        }
        if (err) {
            for (uint32_t k = 0; k < i; k++) {
                file_close(ret->fds[k]);
            }
        } else {
            ret->fds[i] = fd;
        }
    }
    return err;
}

static enum err edge_want(struct edge *e, const struct socket_address *a, int inherited,
                          uint32_t count)
{
    for (uint32_t i = 0; i < e->listen_count; i++) {
        if (e->listens[i].asked.n == a->n && memcmp(&e->listens[i].asked.raw, &a->raw, a->n) == 0) {
            e->listens[i].is_wanted = true;
            return ERR_OK;
        }
    }
    if (e->listen_count == EDGE_LISTENS_MAX) {
        return ERR_LIMIT;
    }
    struct edge_listen *l = &e->listens[e->listen_count];
    enum err err = edge_bind(e, a, inherited, count, l);
    if (!err) {
        e->listen_count++;
    }
    return err;
}

static void edge_inet_address(const struct listen_address *l, struct socket_address *ret)
{
    *ret = (struct socket_address){0};
    if (l->family == 4) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->raw;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(l->port);
        memcpy(&v4->sin_addr, l->bytes, 4);
        ret->n = sizeof(*v4);
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->raw;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(l->port);
        memcpy(&v6->sin6_addr, l->bytes, 16);
        ret->n = sizeof(*v6);
    }
}

static enum err edge_listen_inet(struct edge *e, const struct listen_address *l)
{
    static const struct str any4 = {"0.0.0.0", 7}, any6 = {"::", 2};
    struct socket_address a;
    enum err err;
    if (l->family == 0) {
        err = socket_address_ip(any4, l->port, &a);
        if (!err) {
            err = edge_want(e, &a, -1, e->worker_count);
        }
        /* A machine without IPv6 serves IPv4 alone. With port 0 a second family would get a port
         * of its own, which nobody could guess. */
        if (!err && l->port && socket_address_ip(any6, l->port, &a) == ERR_OK) {
            enum err err6 = edge_want(e, &a, -1, e->worker_count);
            err = err6 == ERR_IN_USE ? err6 : ERR_OK;
        }
        return err;
    }
    edge_inet_address(l, &a);
    return edge_want(e, &a, -1, e->worker_count);
}

static enum err edge_listen_one(struct edge *e, const struct listen_address *l)
{
    struct socket_address a;
    enum err err;
    switch (l->kind) {
    case LISTEN_OFF:
        return ERR_OK;
    case LISTEN_INET:
        return edge_listen_inet(e, l);
    case LISTEN_UNIX:
        err = socket_address_unix(l->path, &a);
        return err ? err : edge_want(e, &a, -1, 1);
    case LISTEN_FD:
        a = (struct socket_address){.n = sizeof(a.raw.ss_family) + sizeof(int)};
        memcpy((char *)&a.raw + sizeof(a.raw.ss_family), &l->fd, sizeof(int));
        return edge_want(e, &a, l->fd, 1);
    }
    return ERR_UNSUPPORTED;
}

/* Binds what is new; what is no longer wanted stays marked. On failure nothing is added. */
static enum err edge_listen_all(struct edge *e, const struct settings *s, bool is_start)
{
    uint32_t before = e->listen_count;
    for (uint32_t i = 0; i < e->listen_count; i++) {
        e->listens[i].is_wanted = false;
    }
    for (size_t i = 0; i < s->server.listen.count; i++) {
        const struct listen_address *l = &s->server.listen.items[i];
        enum err err = edge_listen_one(e, l);
        if (err) {
            const char *hint = err == ERR_ACCESS
                                   ? " (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
                               : err == ERR_IN_USE ? " (does another server run?)"
                                                   : "";
            snprintf(e->reload_error, sizeof(e->reload_error), "cannot listen on " STR_FMT ": %s%s",
                     STR_ARG(l->text), err_text(err), hint);
            if (is_start) {
                fprintf(stderr, "sws: %s\n", e->reload_error);
            }
            while (e->listen_count > before) {
                const struct edge_listen *added = &e->listens[--e->listen_count];
                const struct control_message m = {.kind = CONTROL_RELEASE, .address = added->asked};
                enum err ignored = control_send(PROCESS_CHANNEL_FD, &m, -1);
                (void)ignored;
                for (uint32_t k = 0; k < added->fd_count; k++) {
                    file_close(added->fds[k]);
                }
            }
            for (uint32_t k = 0; k < before; k++) {
                e->listens[k].is_wanted = true;
            }
            return err;
        }
    }
    return ERR_OK;
}

static void edge_release_unwanted(struct edge *e)
{
    for (uint32_t i = 0; i < e->listen_count;) {
        struct edge_listen *l = &e->listens[i];
        if (l->is_wanted) {
            i++;
            continue;
        }
        const struct control_message m = {.kind = CONTROL_RELEASE, .address = l->asked};
        enum err ignored = control_send(PROCESS_CHANNEL_FD, &m, -1);
        (void)ignored; /* a supervisor that is gone has nothing to release */
        for (uint32_t k = 0; k < l->fd_count; k++) {
            file_close(l->fds[k]);
        }
        *l = e->listens[--e->listen_count];
    }
}

/* ---- applying a configuration ---- */

static enum err edge_post_change(struct edge *e, struct writer *old_writer)
{
    struct edge_change *change = mem_zalloc(1, sizeof(*change));
    uint32_t wanted = 0;
    if (change) {
        change->listens = mem_zalloc(e->listen_count + 1, sizeof(*change->listens));
    }
    if (!change || !change->listens) {
        mem_free(change);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < e->listen_count; i++) {
        if (e->listens[i].is_wanted) {
            change->listens[wanted++] = e->listens[i];
        }
    }
    change->edge = e;
    change->site = site_ref(e->site);
    change->limits = edge_limits(e->site->settings, e->worker_count);
    change->writer = e->writer;
    change->old_writer = old_writer;
    change->listen_count = wanted;
    atomic_init(&change->left, e->worker_count);
    e->is_changing = true;
    for (unsigned i = 0; i < e->worker_count; i++) {
        struct worker *w = &e->workers[i];
        enum err err = loop_post(w->loop, worker_on_change, w, (uint64_t)(uintptr_t)change);
        ASSERT(!err); /* one change at a time: the mailbox has room */
    }
    return ERR_OK;
}

void edge_on_applied(void *edge, uint64_t value)
{
    struct edge *e = edge;
    struct edge_change *change = (struct edge_change *)(uintptr_t)value;
    writer_destroy(change->old_writer);
    site_unref(change->site);
    mem_free(change->listens);
    mem_free(change);
    e->is_changing = false;
    edge_release_unwanted(e);
    atomic_store(&e->is_ready, true);
}

static void edge_reload_failed(struct edge *e)
{
    e->reload_state = 2;
    metrics_set_process(e->metrics, METRICS_RELOAD_STATE, 2);
    LOG(e->log, LOG_LEVEL_ERROR, "reload refused, the old configuration serves on",
        log_str("reason", str_of(e->reload_error)));
}

bool edge_reload(struct edge *e)
{
    struct site *site;
    struct writer *writer = e->writer, *old_writer = NULL;
    e->reload_error[0] = '\0';
    if (e->is_changing || e->is_draining) {
        snprintf(e->reload_error, sizeof(e->reload_error), "%s",
                 e->is_draining ? "this process is draining" : "a reload is under way");
        return false;
    }
    if (edge_load(e, false, &site) != ERR_OK) {
        edge_reload_failed(e);
        return false;
    }
    bool is_same = edge_same_output(site->settings, e->site->settings);
    enum err err = is_same ? ERR_OK : edge_open_writer(e, site->settings, &writer);
    if (err) {
        snprintf(e->reload_error, sizeof(e->reload_error), "cannot open the access log: %s",
                 err_text(err));
    } else {
        err = edge_listen_all(e, site->settings, false);
    }
    if (err) {
        if (!is_same) {
            writer_destroy(writer);
        }
        site_unref(site);
        edge_reload_failed(e);
        return false;
    }
    if (!is_same) {
        old_writer = e->writer;
        e->writer = writer;
    }
    struct site *old = e->site;
    e->site = site;
    err = edge_post_change(e, old_writer);
    ASSERT(!err || err == ERR_NOMEM);
    if (err) {
        e->site = old;
        site_unref(site);
        snprintf(e->reload_error, sizeof(e->reload_error), "out of memory");
        edge_reload_failed(e);
        return false;
    }
    site_unref(old);
    log_set_level(e->log, edge_log_level(site->settings->log.level));
    e->reload_count++;
    e->reload_state = 1;
    metrics_set_process(e->metrics, METRICS_RELOAD_STATE, 1);
    LOG(e->log, LOG_LEVEL_INFO, "configuration reloaded", log_u64("hosts", site->host_count),
        log_u64("count", e->reload_count));
    return true;
}

/* ---- draining and stopping ---- */

static void edge_stop(struct edge *e)
{
    for (unsigned i = 0; i < e->worker_count; i++) {
        struct worker *w = &e->workers[i];
        if (loop_post(w->loop, worker_on_stop, w, 0) != ERR_OK) {
            loop_stop(w->loop);
        }
    }
    loop_stop(e->loop);
}

void edge_on_drained(void *edge, uint64_t worker_index)
{
    struct edge *e = edge;
    (void)worker_index;
    if (++e->drained_count == e->worker_count) {
        LOG(e->log, LOG_LEVEL_INFO, "drained", log_u64("workers", e->worker_count));
        edge_stop(e);
    }
}

static void edge_on_drain_end(struct timer *t)
{
    struct edge *e = CONTAINER_OF(t, struct edge, drain_end);
    LOG(e->log, LOG_LEVEL_WARN, "the drain time is over, connections are cut",
        log_i64("connections", metrics_get(e->metrics, METRICS_CONN_ACTIVE)));
    edge_stop(e);
}

static void edge_drain(struct edge *e, bool has_successor)
{
    uint64_t idle_ms = has_successor ? DRAIN_IDLE_MS : 0;
    if (e->is_draining) {
        return;
    }
    e->is_draining = true;
    atomic_store(&e->is_ready, false);
    uint64_t drain_ms = (uint64_t)e->site->settings->server.timeouts.drain_ms;
    LOG(e->log, LOG_LEVEL_INFO, "draining",
        log_i64("connections", metrics_get(e->metrics, METRICS_CONN_ACTIVE)),
        log_u64("at_most_ms", drain_ms));
    loop_timer_set(e->loop, &e->drain_end, loop_now_ms(e->loop) + drain_ms);
    if (e->admin) {
        server_drain(e->admin, 0, NULL);
    }
    if (e->metrics_server) {
        server_drain(e->metrics_server, 0, NULL);
    }
    for (unsigned i = 0; i < e->worker_count; i++) {
        struct worker *w = &e->workers[i];
        enum err err = loop_post(w->loop, worker_on_drain, w, idle_ms);
        ASSERT(!err);
    }
}

/* ---- the control thread ---- */

void edge_ask(struct edge *e, enum control_kind kind)
{
    const struct control_message m = {.kind = kind, .fd = -1};
    if (control_send(PROCESS_CHANNEL_FD, &m, -1) != ERR_OK) {
        LOG(e->log, LOG_LEVEL_ERROR, "the supervisor does not answer", log_u64("kind", kind));
    }
}

static void edge_say_where(const struct edge *e)
{
    for (uint32_t i = 0; i < e->listen_count; i++) {
        struct socket_address a;
        char text[SOCKET_ADDRESS_TEXT_BYTES];
        if (socket_local(e->listens[i].fds[0], &a) != ERR_OK) {
            continue;
        }
        size_t n = socket_address_text(&a, text);
        LOG(e->log, LOG_LEVEL_INFO, "listening", log_str("address", str_make(text, n)));
        bool is_any = str_starts_with(str_make(text, n), STR("0.0.0.0:"));
        if (e->options->directory && is_any) {
            fprintf(stderr, "\n  Your site: http://localhost:%u/\n  Stop with Ctrl-C.\n\n",
                    socket_address_port(&a));
        }
    }
}

static void edge_handle(struct edge *e, const struct control_message *m)
{
    if (m->kind == CONTROL_GO) {
        enum err err = edge_post_change(e, NULL);
        if (err) {
            LOG(e->log, LOG_LEVEL_ERROR, "cannot start", log_err(err));
            e->exit_code = 1;
            edge_stop(e);
            return;
        }
        edge_say_where(e);
    } else if (m->kind == CONTROL_RELOAD) {
        edge_reload(e);
    } else if (m->kind == CONTROL_REOPEN) {
        if (e->writer) {
            writer_reopen(e->writer);
        }
        enum err ignored = log_reopen(e->log);
        (void)ignored; /* keeps the old file and says so */
    } else if (m->kind == CONTROL_DRAIN) {
        edge_drain(e, m->count != 0);
    }
}

static void edge_handle_deferred(struct edge *e)
{
    for (unsigned i = 0; i < e->deferred_count; i++) {
        edge_handle(e, &e->deferred[i]);
    }
    e->deferred_count = 0;
}

static void edge_on_channel(struct loop_watch *w, unsigned events)
{
    struct edge *e = CONTAINER_OF(w, struct edge, channel);
    struct control_message m;
    int fd = -1;
    (void)events;
    enum err err = control_recv(w->fd, false, &m, &fd);
    if (err == ERR_AGAIN) {
        return;
    }
    if (err) {
        /* The supervisor is gone: finish what is under way and go. */
        loop_unwatch(e->loop, w);
        edge_drain(e, false);
        return;
    }
    file_close(fd);
    edge_handle(e, &m);
    edge_handle_deferred(e);
}

static void edge_on_tick(struct timer *t)
{
    struct edge *e = CONTAINER_OF(t, struct edge, tick);
    metrics_set_process(e->metrics, METRICS_MEMORY, (int64_t)process_memory_bytes());
    if (e->writer) {
        struct writer_stats stats;
        writer_stats(e->writer, &stats);
        metrics_set_process(e->metrics, METRICS_LOG_DROPPED, (int64_t)stats.lines_dropped);
    }
    loop_timer_set(e->loop, t, loop_now_ms(e->loop) + TICK_MS);
}

/* ---- start ---- */

static enum err edge_start_server(struct edge *e, const struct listen_address *l,
                                  const struct server_hooks *hooks, struct server **ret)
{
    struct socket_address a;
    struct edge_listen bound;
    struct listener *listener;
    enum err err = ERR_UNSUPPORTED;
    if (l->kind == LISTEN_UNIX) {
        err = socket_address_unix(l->path, &a);
    } else if (l->kind == LISTEN_INET && l->family) {
        edge_inet_address(l, &a);
        err = ERR_OK;
    }
    if (!err) {
        err = edge_bind(e, &a, -1, 1, &bound);
    }
    if (err) {
        return err;
    }
    struct server_limits limits = edge_limits(e->site->settings, 1);
    err = server_create(e->loop, &limits, hooks, ret);
    if (!err) {
        err = server_listen(*ret, bound.fds[0], &listener);
    }
    return err;
}

static void edge_start_admin(struct edge *e)
{
    const struct listen_address *admin = &e->site->settings->server.admin;
    const struct listen_address *metrics = &e->site->settings->metrics.listen;
    if (admin->kind != LISTEN_OFF) {
        const struct server_hooks hooks = admin_hooks(e);
        enum err err = edge_start_server(e, admin, &hooks, &e->admin);
        if (err) {
            LOG(e->log, LOG_LEVEL_WARN, "no admin socket: stop, reload and status need signals",
                log_str("address", admin->text), log_err(err));
        }
    }
    if (metrics->kind != LISTEN_OFF) {
        const struct server_hooks hooks = admin_metrics_hooks(e);
        enum err err = edge_start_server(e, metrics, &hooks, &e->metrics_server);
        if (err) {
            LOG(e->log, LOG_LEVEL_ERROR, "the metrics address cannot be used",
                log_str("address", metrics->text), log_err(err));
        }
    }
}

static enum err edge_drop_privileges(struct edge *e)
{
    const struct server_settings *s = &e->site->settings->server;
    bool is_default = conf_origin_of(s, "user").source == NULL;
    if (geteuid() != 0) {
        return ERR_OK;
    }
    enum err err = s->user.n ? sandbox_become_user(s->user.p) : sandbox_drop_capabilities();
    if (err == ERR_NOT_FOUND && is_default) {
        LOG(e->log, LOG_LEVEL_NOTICE,
            "there is no such user: staying root without its capabilities",
            log_str("user", s->user));
        err = sandbox_drop_capabilities();
    }
    if (err) {
        fprintf(stderr, "sws: cannot become the user " STR_FMT ": %s\n", STR_ARG(s->user),
                err_text(err));
    }
    return err;
}

static enum err edge_start_workers(struct edge *e)
{
    enum err err = ERR_OK;
    for (unsigned i = 0; i < e->worker_count && !err; i++) {
        err = worker_init(&e->workers[i], e, i);
    }
    if (err == ERR_UNSUPPORTED && e->site->settings->server.poller == POLLER_KQUEUE) {
        fprintf(stderr, "sws: server.poller is kqueue, but this program was built without it\n");
        return err;
    }
    if (err) {
        fprintf(stderr, "sws: cannot start a worker: %s\n", err_text(err));
        return err;
    }
    if (e->site->settings->server.sandbox) {
        err = sandbox_limit_calls();
        if (err) {
            LOG(e->log, LOG_LEVEL_WARN, "this kernel has no seccomp: system calls are not limited",
                log_err(err));
            err = ERR_OK;
        }
    }
    for (unsigned i = 0; i < e->worker_count && !err; i++) {
        if (pthread_create(&e->workers[i].thread, NULL, worker_main, &e->workers[i]) != 0) {
            err = ERR_NOMEM;
            e->worker_count = i;
            edge_stop(e);
        }
    }
    return err;
}

static enum err edge_prepare(struct edge *e)
{
    const struct settings *s = e->site->settings;
    e->worker_count = s->server.worker.processes ? (unsigned)s->server.worker.processes
                                                 : (unsigned)process_cpu_count();
    if (e->worker_count > EDGE_WORKERS_MAX) {
        e->worker_count = EDGE_WORKERS_MAX;
    }
    const struct metrics_options options = {
        .loop_count = e->worker_count,
        .limit_names = pipeline_limit_names(),
        .limit_count = SERVER_LIMIT_COUNT,
        .reason_names = pipeline_reason_names(),
        .reason_count = H1_REJECT_COUNT,
    };
    enum err err = metrics_create(&options, &e->metrics);
    if (!err) {
        struct str path = s->log.output.kind == OUTPUT_FILE ? s->log.output.path : STR("");
        err = log_create(path, edge_log_level(s->log.level), &e->log);
        if (err) {
            fprintf(stderr, "sws: cannot open the log: %s\n", err_text(err));
        }
    }
    if (!err) {
        e->workers = mem_zalloc(e->worker_count, sizeof(*e->workers));
        err = e->workers ? loop_create(POLLER_KIND_EPOLL, &e->loop) : ERR_NOMEM;
    }
    if (!err) {
        err = edge_listen_all(e, s, true);
    }
    if (!err) {
        err = edge_open_writer(e, s, &e->writer);
        if (err) {
            fprintf(stderr, "sws: cannot open the access log: %s\n", err_text(err));
        }
    }
    return err;
}

static void edge_done(struct edge *e)
{
    for (unsigned i = 0; i < e->worker_count; i++) {
        if (e->workers[i].thread) {
            pthread_join(e->workers[i].thread, NULL);
        }
    }
    for (unsigned i = 0; e->workers && i < e->worker_count; i++) {
        worker_done(&e->workers[i]);
    }
    server_destroy(e->admin);
    server_destroy(e->metrics_server);
    writer_destroy(e->writer);
    loop_destroy(e->loop);
    site_unref(e->site);
    metrics_destroy(e->metrics);
    log_destroy(e->log);
    mem_free(e->workers);
}

int edge_run(const struct edge_options *options)
{
    static struct edge edge;
    struct edge *e = &edge;
    uint64_t key;
    random_bytes(&key, sizeof(key));
    hash_set_key(key);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* a Ctrl-C reaches the whole group; the supervisor decides */
    process_raise_fd_limit();
    *e = (struct edge){.options = options, .start_ns = clock_monotonic_ns()};
    timer_init(&e->tick, edge_on_tick);
    timer_init(&e->drain_end, edge_on_drain_end);
    enum err err = edge_load(e, true, &e->site);
    if (err) {
        return EXIT_CONFIG;
    }
    err = edge_prepare(e);
    if (!err) {
        edge_start_admin(e);
        err = edge_drop_privileges(e);
    }
    if (!err) {
        err = loop_watch(e->loop, &e->channel, PROCESS_CHANNEL_FD, POLLER_READ, edge_on_channel);
    }
    if (!err) {
        err = edge_start_workers(e);
    }
    if (err) {
        return 1; /* said where it was found; the process ends, and with it all it holds */
    }
    loop_timer_set(e->loop, &e->tick, loop_now_ms(e->loop));
    edge_ask(e, CONTROL_READY);
    edge_handle_deferred(e);
    loop_run(e->loop);
    edge_done(e);
    return e->exit_code;
}
