/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h1_conn_int.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/mem.h"
#include "net/h2_conn_int.h"

static void h1_conn_on_ready(struct conn *conn, unsigned events);
static void h1_conn_drain(struct conn *conn);
static void h1_conn_abort(struct conn *conn);
static void h1_conn_on_timeout(struct timer *t);
static void h1_conn_on_settle(struct loop_task *t);
static void h1_conn_on_free(struct loop_task *t);
static void h1_conn_read(struct h1_conn *c);
static void h1_conn_take(struct h1_conn *c, char *p, size_t kept, size_t n);

static const struct conn_ops h1_conn_ops = {
    .on_ready = h1_conn_on_ready,
    .drain = h1_conn_drain,
    .abort = h1_conn_abort,
};

static struct h1_conn *h1_conn_of(struct conn *conn)
{
    struct h1_conn *c = CONTAINER_OF(conn, struct h1_conn, conn);
    ASSERT_MAGIC(c, H1_CONN_MAGIC);
    return c;
}

static struct h1_conn *h1_conn_alloc(struct server *s)
{
    struct h1_conn *c = slab_alloc(&s->conn_slab);
    if (!c) {
        return NULL;
    }
    c->magic = H1_CONN_MAGIC;
    c->unsent_tail = &c->unsent;
    c->out_tail = &c->out;
    timer_init(&c->timer, h1_conn_on_timeout);
    loop_task_init(&c->settle_task, h1_conn_on_settle);
    loop_task_init(&c->free_task, h1_conn_on_free);
    c->activity_ms = loop_now_ms(s->loop);
    c->head_start_ms = c->activity_ms;
    return c;
}

enum err h1_conn_create(struct server *s, int fd, const struct socket_address *peer)
{
    struct h1_conn *c = h1_conn_alloc(s);
    if (!c) {
        return ERR_NOMEM;
    }
    enum err e = conn_init(&c->conn, &h1_conn_ops, s, fd, peer);
    if (e) {
        slab_free(&s->conn_slab, c);
        return e;
    }
    loop_timer_set(s->loop, &c->timer, c->activity_ms + s->limits.header_ms);
    /* The request mostly stands behind the handshake already, and a connection for one request is
     * then over before the poller hears of it. */
    h1_conn_read(c);
    h1_conn_settle(c);
    return ERR_OK;
}

enum err h1_conn_adopt(struct conn *from, char *bytes, size_t n)
{
    struct server *s = from->server;
    struct h1_conn *c = h1_conn_alloc(s);
    if (!c) {
        return ERR_NOMEM;
    }
    conn_move(&c->conn, &h1_conn_ops, from);
    loop_timer_set(s->loop, &c->timer, c->activity_ms + s->limits.header_ms);
    if (n) {
        h1_conn_take(c, bytes, 0, n);
    }
    h1_conn_settle(c);
    return ERR_OK;
}

static void h1_conn_end(struct h1_conn *c, enum err cause)
{
    c->is_dead = true;
    timer_cancel(&c->timer);
    while (c->unsent) {
        struct h1_stream *stream = c->unsent;
        c->unsent = stream->next;
        h1_stream_end(stream, cause);
    }
    c->unsent_tail = &c->unsent;
    if (c->current) {
        struct h1_stream *stream = c->current;
        c->current = NULL;
        h1_stream_end(stream, cause);
    }
    /* Behind on_end, which may have answered another exchange of this connection. */
    h1_output_clear(c);
    loop_task_cancel(&c->settle_task);
    conn_done(&c->conn, cause == ERR_OK);
}

static void h1_conn_free(struct h1_conn *c)
{
    struct server *s = c->conn.server;
    mem_free(c->pending);
    c->magic = 0;
    slab_free(&s->conn_slab, c);
    conn_leave(s);
}

void h1_conn_kill(struct h1_conn *c, enum err cause)
{
    if (!c->is_dead) {
        h1_conn_end(c, cause);
        loop_defer_end(c->conn.server->loop, &c->free_task);
    }
}

static void h1_conn_on_free(struct loop_task *t)
{
    struct h1_conn *c = CONTAINER_OF(t, struct h1_conn, free_task);
    struct server *s = c->conn.server;
    if (c->is_moved) {
        mem_free(c->pending);
        c->magic = 0;
        slab_free(&s->conn_slab, c);
        return;
    }
    h1_conn_free(c);
    server_check_drained(s);
}

static void h1_conn_abort(struct conn *conn)
{
    struct h1_conn *c = h1_conn_of(conn);
    h1_conn_end(c, ERR_CANCELLED);
    h1_conn_free(c);
}

static void h1_conn_drain(struct conn *conn)
{
    struct h1_conn *c = h1_conn_of(conn);
    if (c->conn.server->drain_idle_end_ms <= loop_now_ms(c->conn.server->loop)) {
        c->is_closing = true;
    }
    loop_defer(c->conn.server->loop, &c->settle_task);
}

void h1_conn_progress(struct h1_conn *c, uint64_t bytes)
{
    c->activity_ms = loop_now_ms(c->conn.server->loop);
    c->window_bytes += bytes;
}

/* What is waited for decides the deadline; `ret_limit` names it. UINT64_MAX: nothing of the
 * peer's is waited for. */
static uint64_t h1_conn_deadline(const struct h1_conn *c, enum server_limit *ret_limit)
{
    const struct server_limits *limits = &c->conn.server->limits;
    if (c->is_lingering) {
        *ret_limit = SERVER_LIMIT_IDLE_TIME;
        return c->activity_ms;
    }
    if (h1_conn_has_output(c)) {
        *ret_limit = SERVER_LIMIT_WRITE_TIME;
        return c->activity_ms + limits->write_idle_ms;
    }
    if (c->current) {
        *ret_limit = SERVER_LIMIT_READ_TIME;
        return h1_input_is_wanted(c) ? c->activity_ms + limits->read_idle_ms : UINT64_MAX;
    }
    if (c->head_start_ms) {
        *ret_limit = SERVER_LIMIT_HEADER_TIME;
        return c->head_start_ms + limits->header_ms;
    }
    *ret_limit = SERVER_LIMIT_IDLE_TIME;
    uint64_t deadline = c->activity_ms + limits->idle_ms;
    bool is_cut = c->conn.server->is_draining && c->conn.server->drain_idle_end_ms < deadline;
    return is_cut ? c->conn.server->drain_idle_end_ms : deadline;
}

static bool h1_conn_is_rated(const struct h1_conn *c)
{
    return c->conn.server->limits.min_rate_bytes_per_s && !c->is_lingering &&
           (h1_conn_has_output(c) || (c->current && h1_input_is_wanted(c)));
}

static void h1_conn_arm(struct h1_conn *c)
{
    enum server_limit limit;
    uint64_t deadline = h1_conn_deadline(c, &limit);
    if (h1_conn_is_rated(c) && c->window_ms + H1_RATE_WINDOW_MS < deadline) {
        deadline = c->window_ms + H1_RATE_WINDOW_MS;
    }
    /* A timer that fires early looks again; only one that would fire late is moved. */
    if (deadline != UINT64_MAX && (!timer_is_set(&c->timer) || c->timer.deadline_ms > deadline)) {
        loop_timer_set(c->conn.server->loop, &c->timer, deadline);
    }
}

static void h1_conn_on_timeout(struct timer *t)
{
    struct h1_conn *c = CONTAINER_OF(t, struct h1_conn, timer);
    ASSERT_MAGIC(c, H1_CONN_MAGIC);
    struct server *s = c->conn.server;
    uint64_t now = loop_now_ms(s->loop);
    enum server_limit limit;
    uint64_t taken = h1_conn_has_output(c) ? transport_take_progress(&c->conn.transport) : 0;
    if (taken) {
        h1_conn_progress(c, taken);
    }
    bool is_over = h1_conn_deadline(c, &limit) <= now;
    if (!is_over && h1_conn_is_rated(c) && c->window_ms + H1_RATE_WINDOW_MS <= now) {
        uint64_t needed = s->limits.min_rate_bytes_per_s * (now - c->window_ms) / 1000;
        is_over = c->window_bytes < needed;
        limit = SERVER_LIMIT_RATE;
        c->window_ms = now;
        c->window_bytes = 0;
    }
    if (!is_over) {
        h1_conn_arm(c);
        return;
    }
    if (!c->is_lingering) {
        s->hooks.on_limit(s->hooks.context, limit);
    }
    if (h1_conn_has_output(c)) {
        transport_break(&c->conn.transport);
    }
    if (limit == SERVER_LIMIT_HEADER_TIME && c->pending_bytes) {
        /* Best effort: the peer that is slow but honest learns why. */
        const struct str answer = STR("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n"
                                      "Connection: close\r\n\r\n");
        struct iovec piece = {(char *)answer.p, answer.n};
        size_t sent;
        enum err ignored = transport_send(&c->conn.transport, &piece, 1, false, &sent);
        (void)ignored;
        s->hooks.on_refused(s->hooks.context, &c->conn.peer, H1_REJECT_NONE, 408);
    }
    h1_conn_kill(c, ERR_TIMEOUT);
}

static void h1_conn_begin_linger(struct h1_conn *c)
{
    struct server *s = c->conn.server;
    transport_end(&c->conn.transport);
    c->is_lingering = true;
    mem_free(c->pending);
    c->pending = NULL;
    c->pending_bytes = 0;
    c->activity_ms = loop_now_ms(s->loop) + H1_LINGER_MS;
    loop_timer_set(s->loop, &c->timer, c->activity_ms);
}

void h1_conn_settle(struct h1_conn *c)
{
    struct server *s = c->conn.server;
    if (c->is_dead) {
        return;
    }
    enum err e = h1_conn_has_output(c) ? h1_output_flush(c) : ERR_OK;
    if (c->is_dead) {
        return;
    }
    if (e && e != ERR_AGAIN) {
        h1_conn_kill(c, e);
        return;
    }
    if (!h1_conn_has_output(c) && !c->current) {
        bool is_over = c->is_closing || (c->is_input_closed && !c->pending_bytes);
        if (is_over && (!c->needs_linger || c->is_input_closed)) {
            h1_conn_kill(c, ERR_OK);
            return;
        }
        if (is_over && !c->is_lingering) {
            h1_conn_begin_linger(c);
        }
    }
    /* Input that waited for room goes on in the next turn, before any more is received. */
    bool has_work = h1_input_has_work(c);
    bool is_reading = !has_work && !c->is_input_closed && h1_input_is_wanted(c);
    bool is_sending = h1_conn_has_output(c);
    bool is_ending = is_reading && transport_is_ended(&c->conn.transport);
    unsigned events =
        (is_sending || has_work || is_ending ? POLLER_WRITE : 0u) | (is_reading ? POLLER_READ : 0u);
    bool is_waiting = is_sending || (c->current && (events & POLLER_READ));
    if (is_waiting && !c->is_waiting_write) {
        c->activity_ms = loop_now_ms(s->loop);
        c->window_ms = c->activity_ms;
        c->window_bytes = 0;
    }
    c->is_waiting_write = is_waiting;
    if (transport_want(&c->conn.transport, events) != ERR_OK) {
        h1_conn_kill(c, ERR_NOMEM);
        return;
    }
    h1_conn_arm(c);
}

/* What had to wait for the service or for room can go on. */
static void h1_conn_resume(struct h1_conn *c)
{
    if (c->is_dead || !h1_input_has_work(c)) {
        return;
    }
    char *p = c->pending;
    size_t n = c->pending_bytes;
    c->pending = NULL;
    c->pending_bytes = 0;
    size_t used = h1_input_feed(c, p, n);
    if (!c->is_dead && h1_input_pin(c) != ERR_OK) {
        h1_conn_kill(c, ERR_NOMEM);
    }
    if (c->is_dead || used == n) {
        mem_free(p);
    } else {
        memmove(p, p + used, n - used);
        c->pending = p;
        c->pending_bytes = n - used;
    }
}

static void h1_conn_on_settle(struct loop_task *t)
{
    struct h1_conn *c = CONTAINER_OF(t, struct h1_conn, settle_task);
    ASSERT_MAGIC(c, H1_CONN_MAGIC);
    h1_conn_resume(c);
    h1_conn_settle(c);
}

static enum err h1_conn_keep(struct h1_conn *c, const char *p, size_t n)
{
    if (n == 0) {
        mem_free(c->pending);
        c->pending = NULL;
        c->pending_bytes = 0;
        return ERR_OK;
    }
    char *kept = mem_realloc(c->pending, n);
    if (!kept) {
        return ERR_NOMEM;
    }
    memcpy(kept, p, n);
    c->pending = kept;
    c->pending_bytes = n;
    return ERR_OK;
}

static void h1_conn_read(struct h1_conn *c)
{
    struct server *s = c->conn.server;
    size_t n = 0;
    /* What is left over from before stands in front of what comes. The head limit keeps it well
     * below the size of the buffer. */
    size_t kept = c->pending_bytes;
    if (kept) {
        memcpy(s->input, c->pending, kept);
    }
    enum err e = transport_recv(&c->conn.transport, s->input + kept, s->input_bytes - kept, &n);
    if (e == ERR_AGAIN) {
        return;
    }
    if (e == ERR_EOF) {
        c->is_input_closed = true;
        if (c->current && !c->current->is_body_done) {
            h1_input_cut(c);
        } else if (!c->current) {
            /* A head that never became whole. */
            c->pending_bytes = 0;
        }
        return;
    }
    if (e) {
        h1_conn_kill(c, e);
        return;
    }
    s->hooks.on_bytes(s->hooks.context, n, 0);
    if (!c->is_lingering) {
        h1_conn_take(c, s->input, kept, n);
    }
}

/* The preface of HTTP/2 stands at `p`: the connection changes its protocol. True also while it
 * could still become one. */
static bool h1_conn_hand_over(struct h1_conn *c, const char *p, size_t n)
{
    struct server *s = c->conn.server;
    size_t known = n < H2_PREFACE_BYTES ? n : H2_PREFACE_BYTES;
    bool is_preface = s->limits.speaks_h2c && !c->has_begun && !c->conn.transport.tls &&
                      memcmp(p, H2_PREFACE, known) == 0;
    if (!is_preface || n < H2_PREFACE_BYTES) {
        c->has_begun = !is_preface;
        c->scanned_bytes = is_preface ? n : 0; /* more bytes are needed either way */
        return is_preface;
    }
    c->has_begun = true;
    timer_cancel(&c->timer);
    loop_task_cancel(&c->settle_task);
    if (h2_conn_adopt(&c->conn, p, n) != ERR_OK) {
        s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_MEMORY);
        h1_conn_kill(c, ERR_NOMEM);
        return true;
    }
    c->is_dead = true;
    c->is_moved = true;
    loop_defer_end(s->loop, &c->free_task);
    return true;
}

/* `kept` bytes from before and `n` new ones stand at `p`. */
static void h1_conn_take(struct h1_conn *c, char *p, size_t kept, size_t n)
{
    enum err e;
    if (!h1_conn_has_output(c)) {
        /* Where output waits, only its progress counts. */
        h1_conn_progress(c, n);
    }
    bool is_preface = !c->has_begun && h1_conn_hand_over(c, p, kept + n);
    size_t used = is_preface ? 0 : h1_input_feed(c, p, kept + n);
    if (c->is_dead) {
        return;
    }
    if (c->out) {
        e = h1_output_flush(c);
        if (e && e != ERR_AGAIN) {
            h1_conn_kill(c, e);
            return;
        }
    }
    if (c->is_dead) {
        return;
    }
    if ((c->current || c->unsent) && h1_input_pin(c) != ERR_OK) {
        h1_conn_kill(c, ERR_NOMEM);
        return;
    }
    if ((used < kept + n || kept) && h1_conn_keep(c, p + used, kept + n - used) != ERR_OK) {
        h1_conn_kill(c, ERR_NOMEM);
    }
}

static void h1_conn_on_ready(struct conn *conn, unsigned events)
{
    struct h1_conn *c = h1_conn_of(conn);
    const struct transport *t = &c->conn.transport;
    bool is_readable = (events & POLLER_READ) || transport_is_ended(t);
    if (is_readable && (t->watch.events & POLLER_READ)) {
        h1_conn_read(c);
    } else if (events & POLLER_HANGUP) {
        h1_conn_kill(c, ERR_RESET);
    } else {
        h1_conn_resume(c);
    }
    h1_conn_settle(c);
}
