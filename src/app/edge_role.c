/* SPDX-License-Identifier: Apache-2.0 */
#include "app/edge_int.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/state_dir.h"
#include "crypto/secret.h"
#include "crypto/start.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "http/h1_parse.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"
#include "os/random.h"
#include "os/sandbox.h"
#include "os/secret_memory.h"

#define TICK_MS 1000u
#define EXIT_CONFIG 2
#define RENEWAL_MS 3600000u
#define REPLAY_ENTRIES_MAX 65536u
#define REPLAY_WINDOW_MS 300000u
#define UPGRADE_S_MAX 60    /* more than the supervisor waits until an edge is ready */
#define DRAIN_IDLE_MS 5000u /* after an upgrade, for requests that are on their way */

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
    admin_reloaded(e, false, "this process is draining");
    edge_runner_drain(e);
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
        if (e->listens[i].is_datagram || socket_local(e->listens[i].fds[0], &a) != ERR_OK) {
            continue;
        }
        size_t n = socket_address_text(&a, text);
        LOG(e->log, LOG_LEVEL_INFO, "listening", log_str("address", str_make(text, n)));
        bool is_any = str_starts_with(str_make(text, n), STR("0.0.0.0:"));
        if (e->options->directory && is_any) {
            fprintf(stderr, "\n  Your site: %s://localhost:%u/\n%s  Stop with Ctrl-C.\n\n",
                    e->options->is_https ? "https" : "http", socket_address_port(&a),
                    e->options->is_https ? "  Browsers are content after: sws trust\n" : "");
        }
    }
}

static void edge_handle(struct edge *e, const struct control_message *m, int fd)
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
        edge_check_backends(e);
        edge_watch_files(e);
        edge_run_processes(e);
        edge_issuer_update(e);
        edge_issuer_say_waiting(e);
    } else if (m->kind == CONTROL_RELOAD) {
        edge_reload(e, (enum err)m->error, fd);
    } else if (m->kind == CONTROL_REOPEN) {
        if (e->writer) {
            writer_reopen(e->writer);
        }
        enum err ignored = log_reopen(e->log);
        (void)ignored; /* keeps the old file and says so */
    } else if (m->kind == CONTROL_ISSUED) {
        edge_take_certificates(e);
    } else if (m->kind == CONTROL_FILES) {
        edge_take_files(e, fd);
    } else if (m->kind == CONTROL_RUNNING) {
        edge_take_report(e, fd);
    } else if (m->kind == CONTROL_DRAIN) {
        edge_drain(e, m->count != 0);
    } else if (m->kind == CONTROL_RELAY) {
        edge_relay_add(e, (uint8_t)m->count, fd);
    }
}

static void edge_handle_deferred(struct edge *e)
{
    for (unsigned i = 0; i < e->deferred_count; i++) {
        edge_handle(e, &e->deferred[i].message, e->deferred[i].fd);
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
    edge_handle(e, &m, fd);
    edge_handle_deferred(e);
}

static void edge_on_renewal(struct timer *t)
{
    struct edge *e = CONTAINER_OF(t, struct edge, renewal);
    edge_renew_certificates(e);
    loop_timer_set(e->loop, t, loop_now_ms(e->loop) + RENEWAL_MS);
}

static void *edge_map_secret(size_t bytes, enum secret_kind *ret_kind)
{
    bool is_hidden;
    void *pages = secret_memory_map(bytes, &is_hidden);
    *ret_kind = is_hidden ? SECRET_HIDDEN : SECRET_LOCKED;
    return pages;
}

static const struct secret_memory_ops secret_memory = {edge_map_secret, secret_memory_unmap};

static void edge_on_tick(struct timer *t)
{
    struct edge *e = CONTAINER_OF(t, struct edge, tick);
    const struct replay_counts replays = replay_window_counts(e->replay_window);
    metrics_set_process(e->metrics, METRICS_MEMORY, (int64_t)process_memory_bytes());
    metrics_set_process(e->metrics, METRICS_EARLY_REFUSED, (int64_t)(replays.seen + replays.full));
    edge_watch_backends(e);
    metrics_set(metrics_block(e->metrics, e->worker_count), METRICS_LOOP_LAG,
                (int64_t)loop_read_stats(e->loop).lag_max_ns);
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
    struct control_address a = {0};
    struct edge_listen bound;
    struct listener *listener;
    enum err err = ERR_UNSUPPORTED;
    if (l->kind == LISTEN_UNIX) {
        err = socket_address_unix(l->path, &a.at);
    } else if (l->kind == LISTEN_INET && l->family) {
        edge_inet_address(l, &a.at);
        err = ERR_OK;
    }
    if (!err) {
        err = edge_bind(e, &a, -1, 1, &bound);
    }
    if (err) {
        return err;
    }
    struct server_limits limits = edge_limits(e->site->settings, 1);
    /* The administration speaks HTTP/1 whatever the sites speak. */
    limits.refuses_h1 = false;
    limits.speaks_h2c = false;
    err = server_create(e->loop, &limits, hooks, ret);
    if (!err) {
        err = server_listen(*ret, bound.fds[0], false, &listener);
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

/* What TLS needs of the process: tickets and early data that any loop may get, and certificates. */
static enum err edge_prepare_tls(struct edge *e)
{
    const struct server_settings *s = &e->site->settings->server;
    enum err err = edge_start_tickets(e);
    if (!err) {
        err = replay_window_create(REPLAY_ENTRIES_MAX, REPLAY_WINDOW_MS, &e->replay_window);
    }
    if (!err && e->is_successor) {
        /* The edge before takes early data until this one serves, and its tickets are good here. */
        replay_window_hold(e->replay_window,
                           clock_wall_s() + REPLAY_WINDOW_MS / 1000 + UPGRADE_S_MAX);
    }
    if (err) {
        fprintf(stderr, "sws: cannot prepare TLS: %s\n", err_text(err));
        return err;
    }
    if (!e->site->listens_for_https) {
        return ERR_OK;
    }
    err = state_dir_create(s->state, s->user);
    if (err && err != ERR_NOT_FOUND) {
        fprintf(stderr, "sws: cannot make the state directory (server.state): %s\n", err_text(err));
        return err;
    }
    err = edge_make_certificates(e, e->site, &e->certificates);
    if (err) {
        fprintf(stderr, "sws: %s\n", e->reload_error);
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
        .loop_count = e->worker_count + 1, /* the last one is that of the control thread */
        .limit_names = pipeline_limit_names(),
        .limit_count = SERVER_LIMIT_COUNT,
        .reason_names = pipeline_reason_names(),
        .reason_count = H1_REJECT_COUNT,
        .cause_names = pipeline_cause_names(),
        .cause_count = CLIENT_FAULT_COUNT,
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
        err = health_create(e->loop, e->log, &e->health);
    }
    if (!err) {
        err = edge_runner_create(e);
    }
    if (!err) {
        err = discover_create(e->loop, e->log, edge_on_discovered, e, &e->discover);
    }
    if (!err) {
        err = edge_prepare_tls(e);
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
    discover_destroy(e->discover);
    health_destroy(e->health);
    edge_runner_destroy(e);
    loop_destroy(e->loop);
    certificate_store_unref(e->certificates);
    edge_certs_done(&e->certs);
    replay_window_unref(e->replay_window);
    ticket_keys_unref(e->ticket_keys);
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
    *e = (struct edge){.options = options,
                       .next_config = -1,
                       .next_files = -1,
                       .has_watcher = true,
                       .challenge_root = -1,
                       .relay = -1,
                       .alpn_root = -1,
                       .issuer_task_hash = UINT64_MAX,
                       .start_ns = clock_monotonic_ns()};
    timer_init(&e->tick, edge_on_tick);
    timer_init(&e->drain_end, edge_on_drain_end);
    timer_init(&e->renewal, edge_on_renewal);
    enum err err = crypto_start(&secret_memory);
    if (err) {
        fprintf(stderr, "sws: the cryptographic libraries do not start: %s\n", err_text(err));
        return 1;
    }
    err = edge_load(e, NULL, &e->site);
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
    loop_timer_set(e->loop, &e->renewal, loop_now_ms(e->loop) + RENEWAL_MS);
    edge_ask(e, CONTROL_READY);
    edge_handle_deferred(e);
    loop_run(e->loop);
    edge_done(e);
    return e->exit_code;
}
