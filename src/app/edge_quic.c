/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/3 in the workers: each serves UDP sockets of its own, and passes on what the kernel gave to
 * the wrong one, or what is of the process before this one. */
#include "app/edge_int.h"

#include <string.h>

#include "base/mem.h"
#include "net/h3_conn.h"
#include "os/clock.h"

#define UNPROVED_MAX                                                                               \
    100u /* handshakes under way in a worker before clients must prove themselves */
#define WINDOW_BYTES (1024u * 1024u)
#define WINDOW_BYTES_MAX (8u * 1024u * 1024u)
#define STREAM_WINDOW_BYTES (256u * 1024u)
#define STREAM_WINDOW_BYTES_MAX (4u * 1024u * 1024u)
#define DATAGRAM_FRAME_BYTES_MAX 65535u /* any that fits into a packet: RFC 9221 section 3 */

/* A datagram on its way to another worker. */
struct passed_datagram {
    struct datagram d;
    uint8_t bytes[];
};

static void worker_on_passed(void *worker, uint64_t value)
{
    struct worker *w = worker;
    struct passed_datagram *passed = (struct passed_datagram *)(uintptr_t)value;
    for (uint32_t i = 0; i < w->endpoint_count; i++) {
        const struct socket_address *local = quic_endpoint_local(w->endpoints[i].endpoint);
        if (local->raw.ss_family == passed->d.local.raw.ss_family &&
            socket_address_port(local) == socket_address_port(&passed->d.local)) {
            quic_endpoint_deliver(w->endpoints[i].endpoint, &passed->d);
            break;
        }
    }
    mem_free(passed);
}

bool edge_pass_datagram(struct edge *e, unsigned loop_index, const struct datagram *d)
{
    if (loop_index >= e->worker_count) {
        return false;
    }
    struct passed_datagram *passed = mem_alloc(sizeof(*passed) + d->n);
    if (!passed) {
        return true; /* as if the network had lost it */
    }
    passed->d = *d;
    passed->d.bytes = passed->bytes;
    memcpy(passed->bytes, d->bytes, d->n);
    struct worker *other = &e->workers[loop_index];
    if (loop_post(other->loop, worker_on_passed, other, (uint64_t)(uintptr_t)passed) != ERR_OK) {
        mem_free(passed);
    }
    return true;
}

static bool worker_on_foreign(void *context, struct quic_owner owner, const struct datagram *d)
{
    struct worker *w = context;
    struct edge *e = w->edge;
    int8_t newer = (int8_t)(owner.generation - e->generation);
    bool is_passed = true;
    if (newer == 0) {
        is_passed = edge_pass_datagram(e, owner.loop_index, d);
    } else if (newer < 0) {
        is_passed = edge_relay_send(e, owner, d);
    }
    /* A successor reads from the same sockets, and will see what its client sends again. */
    metrics_add(w->pipeline.metrics, METRICS_QUIC_PASSED, is_passed);
    return is_passed;
}

static enum quic_congestion worker_congestion(enum congestion_choice choice)
{
    switch (choice) {
    case CONGESTION_CUBIC:
        return QUIC_CONGESTION_CUBIC;
    case CONGESTION_BBR:
        return QUIC_CONGESTION_BBR;
    case CONGESTION_RENO:
        return QUIC_CONGESTION_RENO;
    }
    return QUIC_CONGESTION_CUBIC;
}

static struct quic_limits worker_quic_limits(const struct worker *w,
                                             const struct server_limits *limits)
{
    const struct quic_settings *s = &w->pipeline.use->site->settings->server.quic;
    return (struct quic_limits){
        .connection_window_bytes = WINDOW_BYTES,
        .connection_window_bytes_max = WINDOW_BYTES_MAX,
        .stream_window_bytes = STREAM_WINDOW_BYTES,
        .stream_window_bytes_max = STREAM_WINDOW_BYTES_MAX,
        .stream_count = limits->stream_count_max,
        .handshake_ns = limits->header_ms * NS_PER_MS,
        .idle_ns = limits->idle_ms * NS_PER_MS,
        .message_bytes_max = DATAGRAM_FRAME_BYTES_MAX,
        .congestion = worker_congestion(s->congestion),
    };
}

void worker_listen_quic(struct worker *w, int fd, const struct server_limits *limits)
{
    const struct quic_limits quic_limits = worker_quic_limits(w, limits);
    for (uint32_t i = 0; i < w->endpoint_count; i++) {
        if (w->endpoints[i].fd == fd) {
            w->endpoints[i].is_wanted = true;
            quic_endpoint_set_limits(w->endpoints[i].endpoint, &quic_limits);
            return;
        }
    }
    if (w->endpoint_count == EDGE_LISTENS_MAX) {
        return;
    }
    struct quic_endpoint_config config = {
        .owner = {(uint8_t)w->index, w->edge->generation},
        .limits = quic_limits,
        .unproved_max = UNPROVED_MAX,
        .on_open = h3_conn_open,
        .on_foreign = worker_on_foreign,
        .context = w,
    };
    memcpy(config.secret, w->edge->quic_secret, sizeof(config.secret));
    struct worker_endpoint *at = &w->endpoints[w->endpoint_count];
    enum err e = worker_begin_tls(w);
    if (!e) {
        e = quic_endpoint_create(w->server, fd, &config, &at->endpoint);
    }
    explicit_bzero(config.secret, sizeof(config.secret));
    if (e) {
        LOG(w->edge->log, LOG_LEVEL_ERROR, "a worker cannot listen for HTTP/3",
            log_u64("worker", w->index), log_err(e));
        return;
    }
    at->fd = fd;
    at->is_wanted = true;
    w->endpoint_count++;
}

void worker_close_quic(struct worker *w, bool is_all)
{
    for (uint32_t i = 0; i < w->endpoint_count;) {
        if (!is_all && w->endpoints[i].is_wanted) {
            i++;
        } else {
            quic_endpoint_destroy(w->endpoints[i].endpoint, H3_CLOSE_CODE);
            w->endpoints[i] = w->endpoints[--w->endpoint_count];
        }
    }
}
