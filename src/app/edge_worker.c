/* SPDX-License-Identifier: Apache-2.0 */
#include "app/edge_int.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/process.h"

#define TICK_MS 1000u

bool edge_speaks(const struct settings *s, enum protocol_choice protocol)
{
    const struct server_settings *v = &s->server;
    for (uint32_t i = 0; i < v->protocols.count; i++) {
        if (v->protocols.items[i] == protocol) {
            return true;
        }
    }
    return false;
}

struct server_limits edge_limits(const struct settings *s, unsigned worker_count)
{
    const struct server_settings *v = &s->server;
    uint64_t connections = (uint64_t)v->worker.max_connections / worker_count;
    return (struct server_limits){
        .connections_max = connections ? (unsigned)connections : 1,
        .header_bytes_max = (uint32_t)v->max.header_bytes,
        .header_count_max = (uint32_t)v->max.header_count,
        .uri_bytes_max = (uint32_t)v->max.uri_bytes,
        .stream_count_max = (uint32_t)v->max.stream_count,
        .has_connect_protocol = true,
        .refuses_h1 = !edge_speaks(s, PROTOCOL_H1),
        .speaks_h2 = edge_speaks(s, PROTOCOL_H2),
        .speaks_h2c = edge_speaks(s, PROTOCOL_H2C),
        .body_bytes_max = (uint64_t)v->max.body_bytes,
        .min_rate_bytes_per_s = (uint64_t)v->max.min_rate_bytes_per_s,
        .header_ms = (uint64_t)v->timeouts.header_ms,
        .idle_ms = (uint64_t)v->timeouts.idle_ms,
        .read_idle_ms = (uint64_t)v->timeouts.read_idle_ms,
        .write_idle_ms = (uint64_t)v->timeouts.write_idle_ms,
        .tunnel_idle_ms = (uint64_t)v->timeouts.tunnel_ms,
    };
}

static enum poller_kind worker_poller(enum poller_choice choice)
{
    switch (choice) {
    case POLLER_AUTO:
        return POLLER_KIND_AUTO;
    case POLLER_EPOLL:
        return POLLER_KIND_EPOLL;
    case POLLER_IO_URING:
        return POLLER_KIND_URING;
    case POLLER_KQUEUE:
        return POLLER_KIND_KQUEUE;
    }
    return POLLER_KIND_AUTO;
}

static void worker_on_tick(struct timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, tick);
    struct loop_stats stats = loop_read_stats(w->loop);
    metrics_set(w->pipeline.metrics, METRICS_LOOP_LAG, (int64_t)stats.lag_max_ns);
    if (w->pipeline.access) {
        writer_tick(w->pipeline.access, loop_now_ns(w->loop));
    }
    loop_timer_set(w->loop, t, loop_now_ms(w->loop) + TICK_MS);
}

enum err worker_init(struct worker *w, struct edge *edge, unsigned index)
{
    const struct settings *settings = edge->site->settings;
    w->edge = edge;
    w->index = index;
    timer_init(&w->tick, worker_on_tick);
    enum poller_choice choice = settings->server.poller;
    enum err e = loop_create(worker_poller(choice), &w->loop);
    if (e == ERR_UNSUPPORTED && choice == POLLER_IO_URING) {
        LOG(edge->log, LOG_LEVEL_WARN, "this kernel refuses io_uring, epoll serves instead",
            log_u64("worker", index));
        e = loop_create(POLLER_KIND_EPOLL, &w->loop);
    }
    if (!e) {
        e = pipeline_init(&w->pipeline, w->loop, edge->site);
    }
    if (e) {
        return e;
    }
    w->pipeline.metrics = metrics_block(edge->metrics, index);
    w->pipeline.log = edge->log;
    w->pipeline.is_ready = &edge->is_ready;
    w->pipeline.on_demand = worker_on_demand;
    w->pipeline.demand_context = w;
    const struct server_limits limits = edge_limits(settings, edge->worker_count);
    const struct server_hooks hooks = pipeline_hooks(&w->pipeline);
    e = server_create(w->loop, &limits, &hooks, &w->server);
    w->pipeline.server = w->server;
    loop_timer_set(w->loop, &w->tick, loop_now_ms(w->loop) + TICK_MS);
    return e;
}

void worker_done(struct worker *w)
{
    if (w->loop) {
        timer_cancel(&w->tick);
        if (w->server) {
            server_abort(w->server);
        }
        worker_close_quic(w, true);
        worker_close_flows(w, true);
        server_destroy(w->server);
        pipeline_done(&w->pipeline);
        loop_destroy(w->loop);
        w->loop = NULL;
    }
}

void *worker_main(void *worker)
{
    struct worker *w = worker;
    process_pin_thread((int)w->index);
    loop_run(w->loop);
    return NULL;
}

/* TLS costs memory: a loop has it from the first address on that asks for it. */
enum err worker_begin_tls(struct worker *w)
{
    const struct tls_server_config config = {
        .hooks = pipeline_tls_hooks(&w->pipeline),
        .ticket_keys = w->edge->ticket_keys,
        .replay_window = w->edge->replay_window,
        .early_data_bytes_max = SERVER_EARLY_BYTES_MAX,
    };
    struct tls_server *tls;
    enum err e = w->server->tls ? ERR_OK : tls_server_create(&config, &tls);
    if (!e && !w->server->tls) {
        e = server_set_tls(w->server, tls);
        if (e) {
            tls_server_destroy(tls);
        }
    }
    return e;
}

static void worker_listen(struct worker *w, int fd, const struct edge_listen *wanted)
{
    for (uint32_t i = 0; i < w->listener_count; i++) {
        bool is_alike =
            w->listeners[i].is_tls == wanted->is_tls && w->listeners[i].stream == wanted->stream;
        if (w->listeners[i].fd == fd && is_alike) {
            w->listeners[i].is_wanted = true;
            return;
        }
        if (w->listeners[i].fd == fd) {
            server_unlisten(w->server, w->listeners[i].listener);
            w->listeners[i] = w->listeners[--w->listener_count];
            break;
        }
    }
    struct worker_listener *l = &w->listeners[w->listener_count];
    ASSERT(w->listener_count < WORKER_LISTENERS_MAX);
    enum err e = wanted->is_tls ? worker_begin_tls(w) : ERR_OK;
    if (!e) {
        e = wanted->stream ? server_listen_stream(w->server, fd, wanted->stream - 1, &l->listener)
                           : server_listen(w->server, fd, wanted->is_tls, &l->listener);
    }
    if (e) {
        LOG(w->edge->log, LOG_LEVEL_ERROR, "a worker cannot listen", log_u64("worker", w->index),
            log_err(e));
        return;
    }
    l->fd = fd;
    l->is_tls = wanted->is_tls;
    l->stream = wanted->stream;
    l->is_wanted = true;
    w->listener_count++;
}

void worker_on_change(void *worker, uint64_t value)
{
    struct worker *w = worker;
    struct edge_change *change = (struct edge_change *)(uintptr_t)value;
    if (w->pipeline.use->site != change->site) {
        /* Another configuration may say something else about a name. */
        memset(w->demands.names, 0, sizeof(w->demands.names));
    }
    if (server_set_limits(w->server, &change->limits) != ERR_OK ||
        (w->pipeline.use->site != change->site &&
         pipeline_set_site(&w->pipeline, change->site) != ERR_OK)) {
        LOG(w->edge->log, LOG_LEVEL_ERROR, "a worker keeps the old configuration: no memory",
            log_u64("worker", w->index));
    }
    pipeline_set_certificates(&w->pipeline, change->certificates);
    w->pipeline.https_port = change->https_port;
    w->pipeline.challenge_root = change->challenge_root;
    w->pipeline.alpn_root = change->alpn_root;
    pipeline_set_h3_port(&w->pipeline, change->h3_port);
    w->pipeline.access = change->writer ? writer_producer(change->writer, w->index) : NULL;
    for (uint32_t i = 0; i < w->listener_count; i++) {
        w->listeners[i].is_wanted = false;
    }
    for (uint32_t i = 0; i < w->endpoint_count; i++) {
        w->endpoints[i].is_wanted = w->server->is_draining;
    }
    worker_unwant_flows(w);
    for (uint32_t i = 0; i < change->listen_count && !w->server->is_draining; i++) {
        const struct edge_listen *l = &change->listens[i];
        for (uint32_t k = 0; k < l->fd_count; k++) {
            if (l->is_datagram && l->stream && k % w->edge->worker_count == w->index) {
                worker_listen_flows(w, l->fds[k], l->stream);
            } else if (l->is_datagram && !l->stream && k % w->edge->worker_count == w->index) {
                worker_listen_quic(w, l->fds[k], &change->limits);
            } else if (!l->is_datagram &&
                       (l->fd_count == 1 || k % w->edge->worker_count == w->index)) {
                worker_listen(w, l->fds[k], l);
            }
        }
    }
    for (uint32_t i = 0; i < w->listener_count;) {
        if (w->listeners[i].is_wanted) {
            i++;
        } else {
            server_unlisten(w->server, w->listeners[i].listener);
            w->listeners[i] = w->listeners[--w->listener_count];
        }
    }
    worker_close_quic(w, false);
    worker_close_flows(w, false);
    if (atomic_fetch_sub(&change->left, 1) == 1) {
        enum err e = loop_post(w->edge->loop, edge_on_applied, w->edge, value);
        ASSERT(!e); /* one change at a time: the mailbox has room */
    }
}

static void worker_drained(struct server *s)
{
    struct pipeline *p = s->hooks.context;
    struct worker *w = CONTAINER_OF(p, struct worker, pipeline);
    enum err e = loop_post(w->edge->loop, edge_on_drained, w->edge, w->index);
    ASSERT(!e);
}

void worker_on_drain(void *worker, uint64_t idle_ms)
{
    struct worker *w = worker;
    w->listener_count = 0;
    bool is_succeeded = idle_ms != 0;
    worker_rest_flows(w);
    for (uint32_t i = 0; i < w->endpoint_count; i++) {
        quic_endpoint_drain(w->endpoints[i].endpoint, is_succeeded);
    }
    bool is_first = w == w->edge->workers;
    if (is_succeeded && is_first && edge_relay_listen(w) != ERR_OK) {
        LOG(w->edge->log, LOG_LEVEL_WARN,
            "connections of HTTP/3 that are open now hear nothing from their clients any more");
    }
    server_drain(w->server, idle_ms, worker_drained);
}

void worker_on_stop(void *worker, uint64_t unused)
{
    struct worker *w = worker;
    (void)unused;
    loop_stop(w->loop);
}
