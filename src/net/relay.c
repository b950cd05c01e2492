/* SPDX-License-Identifier: Apache-2.0 */
#include "net/relay.h"

#include "base/assert.h"
#include "base/mem.h"
#include "net/conn_int.h"
#include "os/file.h"

#define RELAY_MAGIC 0x72656c61u
#define RELAY_TURN_BYTES (256u * 1024u) /* each way, so that no download starves others */

/* One of both sockets, and what waits for it. */
struct relay_side {
    struct transport *transport;
    struct buf pending; /* came from the other side, not taken by this one yet */
    bool is_read_ended;
    bool is_write_ended;
};

struct relay {
    struct conn conn;
    uint32_t magic;
    const struct relay_service *service;
    void *state;
    struct transport upstream; /* of the second side; its watch is inactive before relay_connect */
    struct relay_side sides[2];
    struct timer timer;
    struct loop_task free_task;
    uint64_t activity_ms;
    uint64_t idle_ms;
    uint64_t in, out;
    bool is_connecting;
    bool is_connected;
    bool is_dead;
};

enum { RELAY_CLIENT, RELAY_UPSTREAM };

static void relay_free(struct relay *r)
{
    r->magic = 0;
    mem_free(r);
}

static void relay_on_free(struct loop_task *t)
{
    struct relay *r = CONTAINER_OF(t, struct relay, free_task);
    struct server *s = r->conn.server;
    relay_free(r);
    server_check_drained(s);
}

static void relay_close_upstream(struct relay *r, bool is_orderly)
{
    if (r->is_connecting || r->is_connected) {
        r->is_connecting = r->is_connected = false;
        transport_done(&r->upstream, is_orderly);
    }
}

/* Everything but its memory. */
static void relay_close(struct relay *r, enum err cause)
{
    r->is_dead = true;
    timer_cancel(&r->timer);
    if (cause) {
        /* Only a reset keeps either side from taking what it has for the whole. */
        transport_break(&r->conn.transport);
        if (r->is_connected) {
            transport_break(&r->upstream);
        }
    }
    relay_close_upstream(r, cause == ERR_OK);
    conn_done(&r->conn, cause == ERR_OK);
    conn_leave(r->conn.server);
    buf_done(&r->sides[RELAY_CLIENT].pending);
    buf_done(&r->sides[RELAY_UPSTREAM].pending);
    r->service->on_end(r, cause, r->in, r->out);
}

void relay_cancel(struct relay *r, enum err cause)
{
    ASSERT_MAGIC(r, RELAY_MAGIC);
    if (!r->is_dead) {
        relay_close(r, cause);
        loop_defer_end(r->conn.server->loop, &r->free_task);
    }
}

/* ---- passing on ---- */

static enum err relay_flush(struct relay *r, struct relay_side *to)
{
    while (to->pending.n) {
        struct iovec piece = {to->pending.p, to->pending.n};
        size_t n;
        enum err e = transport_send(to->transport, &piece, 1, false, &n);
        if (e) {
            return e;
        }
        buf_consume(&to->pending, n);
        r->activity_ms = loop_now_ms(r->conn.server->loop);
    }
    if (to->pending.capacity) {
        buf_done(&to->pending);
        buf_init(&to->pending, 0);
    }
    return ERR_OK;
}

/* What the socket does not take waits. */
static enum err relay_put(struct relay_side *to, struct str bytes)
{
    enum err e = ERR_OK;
    while (bytes.n && !e) {
        struct iovec piece = {(char *)bytes.p, bytes.n};
        size_t n;
        e = transport_send(to->transport, &piece, 1, false, &n);
        if (!e) {
            bytes = str_sub(bytes, n, bytes.n);
        }
    }
    if (e && e != ERR_AGAIN) {
        return e;
    }
    buf_add_str(&to->pending, bytes);
    return to->pending.is_failed ? ERR_NOMEM : ERR_OK;
}

static enum err relay_pass(struct relay *r, struct relay_side *from, struct relay_side *to)
{
    struct server *s = r->conn.server;
    size_t total = 0;
    enum err e = relay_flush(r, to);
    while (!e && !from->is_read_ended && total < RELAY_TURN_BYTES) {
        size_t n;
        e = transport_recv(from->transport, s->input, s->input_bytes, &n);
        if (e == ERR_EOF) {
            from->is_read_ended = true;
            e = ERR_OK;
        } else if (!e) {
            bool is_in = from == &r->sides[RELAY_CLIENT];
            r->activity_ms = loop_now_ms(s->loop);
            *(is_in ? &r->in : &r->out) += n;
            s->hooks.on_bytes(s->hooks.context, is_in ? n : 0, is_in ? 0 : n);
            total += n;
            e = relay_put(to, str_make(s->input, n));
            e = !e && to->pending.n ? ERR_AGAIN : e;
            if (n < s->input_bytes) {
                break; /* there was no more */
            }
        }
    }
    if (!e && from->is_read_ended && !to->is_write_ended) {
        to->is_write_ended = true;
        transport_end(to->transport);
    }
    return e == ERR_AGAIN ? ERR_OK : e;
}

static enum err relay_want(const struct relay_side *side, const struct relay_side *other)
{
    bool reads = !side->is_read_ended && other->pending.n == 0;
    unsigned events = (reads ? POLLER_READ : 0u) | (side->pending.n ? POLLER_WRITE : 0u);
    if (events == 0) {
        transport_rest(side->transport);
        return ERR_OK;
    }
    return transport_want(side->transport, events);
}

static void relay_work(struct relay *r)
{
    struct relay_side *client = &r->sides[RELAY_CLIENT], *upstream = &r->sides[RELAY_UPSTREAM];
    enum err e = relay_pass(r, client, upstream);
    e = e ? e : relay_pass(r, upstream, client);
    if (!e && client->is_write_ended && upstream->is_write_ended) {
        relay_cancel(r, ERR_OK);
        return;
    }
    e = e ? e : relay_want(client, upstream);
    e = e ? e : relay_want(upstream, client);
    if (e) {
        relay_cancel(r, e);
    }
}

static struct relay *relay_of(struct conn *conn)
{
    struct relay *r = CONTAINER_OF(conn, struct relay, conn);
    ASSERT_MAGIC(r, RELAY_MAGIC);
    return r;
}

static void relay_on_ready(struct conn *conn, unsigned events)
{
    struct relay *r = relay_of(conn);
    (void)events;
    if (r->is_connected) {
        relay_work(r);
    }
}

/* ---- the other side ---- */

static void relay_connected(struct relay *r)
{
    enum err e = socket_connect_result(r->upstream.watch.fd);
    r->is_connecting = false;
    r->is_connected = true;
    if (e) {
        relay_close_upstream(r, false);
        timer_cancel(&r->timer);
        r->service->on_connected(r, e);
        return;
    }
    r->activity_ms = loop_now_ms(r->conn.server->loop);
    loop_timer_set(r->conn.server->loop, &r->timer, r->activity_ms + r->idle_ms);
    r->service->on_connected(r, ERR_OK);
    if (!r->is_dead) {
        relay_work(r);
    }
}

static void relay_upstream_on_ready(struct loop_watch *w, unsigned events)
{
    struct transport *t = CONTAINER_OF(w, struct transport, watch);
    struct relay *r = CONTAINER_OF(t, struct relay, upstream);
    (void)events;
    if (r->is_connecting) {
        relay_connected(r);
    } else {
        relay_work(r);
    }
}

static void relay_on_time(struct timer *t)
{
    struct relay *r = CONTAINER_OF(t, struct relay, timer);
    struct loop *loop = r->conn.server->loop;
    if (r->is_connecting) {
        relay_close_upstream(r, false);
        r->service->on_connected(r, ERR_TIMEOUT);
    } else if (loop_now_ms(loop) >= r->activity_ms + r->idle_ms) {
        relay_cancel(r, ERR_TIMEOUT);
    } else {
        loop_timer_set(loop, t, r->activity_ms + r->idle_ms);
    }
}

enum err relay_connect(struct relay *r, const struct socket_address *to, struct str greeting,
                       uint64_t connect_ms, uint64_t idle_ms)
{
    struct server *s = r->conn.server;
    struct relay_side *upstream = &r->sides[RELAY_UPSTREAM];
    int fd;
    ASSERT(!r->is_dead && !r->is_connecting && !r->is_connected);
    buf_clear(&upstream->pending);
    buf_add_str(&upstream->pending, greeting);
    if (upstream->pending.is_failed) {
        return ERR_NOMEM;
    }
    enum err e = socket_connect_begin(to, &fd);
    if (e && e != ERR_AGAIN) {
        return e;
    }
    e = transport_init(&r->upstream, s->loop, fd, &s->scratch, relay_upstream_on_ready);
    if (e) {
        file_close(fd);
        return e;
    }
    r->is_connecting = true;
    r->idle_ms = idle_ms;
    e = transport_want(&r->upstream, POLLER_WRITE);
    if (e) {
        relay_close_upstream(r, false);
        return e;
    }
    loop_timer_set(s->loop, &r->timer, loop_now_ms(s->loop) + connect_ms);
    return ERR_OK;
}

/* ---- the client's ---- */

static void relay_drain(struct conn *conn)
{
    /* Its bytes have no end that we could know of: it goes on as long as the drain waits. */
    (void)conn;
}

static void relay_abort(struct conn *conn)
{
    struct relay *r = relay_of(conn);
    relay_close(r, ERR_CANCELLED);
    relay_free(r);
}

static const struct conn_ops relay_ops = {
    .on_ready = relay_on_ready,
    .drain = relay_drain,
    .abort = relay_abort,
};

enum err relay_create(struct server *s, const struct relay_client *client,
                      const struct relay_service *service, void *state, struct relay **ret_relay)
{
    struct relay *r = mem_zalloc(1, sizeof(*r));
    if (!r) {
        return ERR_NOMEM;
    }
    r->magic = RELAY_MAGIC;
    r->service = service;
    r->state = state;
    r->sides[RELAY_CLIENT].transport = &r->conn.transport;
    r->sides[RELAY_UPSTREAM].transport = &r->upstream;
    buf_init(&r->sides[RELAY_CLIENT].pending, 0);
    buf_init(&r->sides[RELAY_UPSTREAM].pending, 0);
    timer_init(&r->timer, relay_on_time);
    loop_task_init(&r->free_task, relay_on_free);
    if (client->from) {
        conn_move(&r->conn, &relay_ops, client->from);
        transport_rest(&r->conn.transport);
    } else {
        enum err e = conn_init(&r->conn, &relay_ops, s, client->fd, client->peer);
        if (e) {
            relay_free(r);
            return e;
        }
    }
    *ret_relay = r;
    return ERR_OK;
}

void *relay_state(const struct relay *r)
{
    return r->state;
}

const struct exchange_peer *relay_peer(const struct relay *r)
{
    return &r->conn.peer;
}

enum err relay_local(const struct relay *r, struct socket_address *ret_address)
{
    return socket_local(r->conn.transport.watch.fd, ret_address);
}
