/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h2_conn_int.h"

#include "base/assert.h"
#include "base/mem.h"

static void h2_conn_on_ready(struct conn *conn, unsigned events);
static void h2_conn_drain(struct conn *conn);
static void h2_conn_abort(struct conn *conn);
static void h2_conn_on_timeout(struct timer *t);
static void h2_conn_on_settle(struct loop_task *t);
static void h2_conn_on_free(struct loop_task *t);
static void h2_conn_settle(struct h2_conn *c);

static const struct conn_ops h2_conn_ops = {
    .on_ready = h2_conn_on_ready,
    .drain = h2_conn_drain,
    .abort = h2_conn_abort,
};

size_t h2_conn_bytes(void)
{
    return sizeof(struct h2_conn);
}

static struct h2_conn *h2_conn_of(struct conn *conn)
{
    struct h2_conn *c = CONTAINER_OF(conn, struct h2_conn, mux.conn);
    ASSERT_MAGIC(c, H2_CONN_MAGIC);
    return c;
}

static uint64_t h2_conn_now(const struct h2_conn *c)
{
    return loop_now_ms(c->mux.conn.server->loop);
}

/* ---- life ---- */

static void h2_conn_end(struct h2_conn *c, enum err cause)
{
    c->is_dead = true;
    c->mux.is_running = true; /* nothing wakes it any more */
    timer_cancel(&c->timer);
    mux_conn_end_streams(&c->mux, cause ? cause : ERR_RESET);
    loop_task_cancel(&c->mux.settle_task);
    conn_done(&c->mux.conn, cause == ERR_OK);
}

static void h2_conn_free(struct h2_conn *c)
{
    struct server *s = c->mux.conn.server;
    h2_session_destroy(c->session);
    buf_done(&c->rest);
    c->magic = 0;
    slab_free(&s->h2_conn_slab, c);
    conn_leave(s);
}

/* Never while the session is on the stack. */
static void h2_conn_kill(struct h2_conn *c, enum err cause)
{
    if (!c->is_dead) {
        h2_conn_end(c, cause);
        loop_defer_end(c->mux.conn.server->loop, &c->free_task);
    }
}

static void h2_conn_on_free(struct loop_task *t)
{
    struct h2_conn *c = CONTAINER_OF(t, struct h2_conn, free_task);
    struct server *s = c->mux.conn.server;
    h2_conn_free(c);
    server_check_drained(s);
}

static void h2_conn_abort(struct conn *conn)
{
    struct h2_conn *c = h2_conn_of(conn);
    h2_conn_end(c, ERR_CANCELLED);
    h2_conn_free(c);
}

static void h2_conn_drain(struct conn *conn)
{
    struct h2_conn *c = h2_conn_of(conn);
    loop_defer(c->mux.conn.server->loop, &c->mux.settle_task);
}

static enum err h2_conn_recv(struct h2_conn *c, const char *bytes, size_t n)
{
    const struct mux_limits limits = mux_conn_limits(c->mux.conn.server);
    h2_session_set_limits(c->session, &limits);
    c->mux.is_running = true;
    enum err e = h2_session_recv(c->session, h2_conn_now(c), bytes, n);
    c->mux.is_running = false;
    if (!h2_session_is_within_head(c->session)) {
        c->head_start_ms = 0;
    } else if (!c->head_start_ms) {
        c->head_start_ms = h2_conn_now(c);
    }
    return e;
}

enum err h2_conn_adopt(struct conn *from, const char *bytes, size_t n)
{
    struct server *s = from->server;
    struct h2_conn *c = slab_alloc(&s->h2_conn_slab);
    if (!c) {
        return ERR_NOMEM;
    }
    const struct mux_limits limits = mux_conn_limits(s);
    struct mux_events events = mux_stream_events;
    events.context = &c->mux;
    if (h2_session_create(&limits, &events, &s->h2_pool, &c->session) != ERR_OK) {
        slab_free(&s->h2_conn_slab, c);
        return ERR_NOMEM;
    }
    c->mux.session = h2_session_mux(c->session);
    c->mux.protocol = &mux_protocol_20;
    c->magic = H2_CONN_MAGIC;
    list_init(&c->mux.todo);
    buf_init(&c->rest, 0);
    timer_init(&c->timer, h2_conn_on_timeout);
    loop_task_init(&c->mux.settle_task, h2_conn_on_settle);
    loop_task_init(&c->free_task, h2_conn_on_free);
    c->start_ms = loop_now_ms(s->loop);
    c->mux.activity_ms = c->start_ms;
    conn_move(&c->mux.conn, &h2_conn_ops, from);
    c->mux.conn.peer.version = HTTP_VERSION_20;
    enum err e = h2_conn_recv(c, bytes, n);
    if (e) {
        h2_conn_kill(c, e);
    } else {
        h2_conn_settle(c);
    }
    return ERR_OK;
}

/* ---- output ---- */

static bool h2_conn_is_blocked(const struct h2_conn *c)
{
    return c->rest.n || transport_has_unsent(&c->mux.conn.transport);
}

static enum err h2_conn_send(struct h2_conn *c, struct buf *bytes, size_t *ret_sent)
{
    struct server *s = c->mux.conn.server;
    size_t total = 0;
    enum err e = ERR_OK;
    while (total < bytes->n && !e) {
        struct iovec piece = {bytes->p + total, bytes->n - total};
        size_t n;
        e = transport_send(&c->mux.conn.transport, &piece, 1, false, &n);
        total += e ? 0 : n;
    }
    if (total) {
        c->mux.activity_ms = h2_conn_now(c);
        s->hooks.on_bytes(s->hooks.context, 0, total);
    }
    *ret_sent = total;
    return e;
}

/* Sends what was encoded before. ERR_AGAIN: not all. */
static enum err h2_conn_flush_rest(struct h2_conn *c)
{
    enum err e = ERR_OK;
    if (!h2_conn_is_blocked(c)) {
        return ERR_OK;
    }
    if (transport_has_unsent(&c->mux.conn.transport)) {
        e = transport_flush(&c->mux.conn.transport);
    }
    if (!e && c->rest.n) {
        size_t sent;
        e = h2_conn_send(c, &c->rest, &sent);
        buf_consume(&c->rest, sent);
    }
    if (!e) {
        buf_done(&c->rest);
        buf_init(&c->rest, 0);
        c->mux.activity_ms = h2_conn_now(c);
        c->unblocked_ms = c->mux.activity_ms;
    }
    return e;
}

/* Encodes and sends. The buffer for that belongs to the loop; only what the socket does not take
 * becomes ours. */
static enum err h2_conn_flush(struct h2_conn *c)
{
    struct server *s = c->mux.conn.server;
    size_t budget = H2_FLUSH_BUDGET_BYTES;
    enum err e = h2_conn_flush_rest(c);
    while (!e && budget && h2_session_wants_output(c->session)) {
        size_t sent;
        buf_clear(&s->output);
        e = h2_session_pull(c->session, h2_conn_now(c), &s->output, H2_OUT_BYTES);
        if (e || s->output.n == 0) {
            break;
        }
        budget -= budget < s->output.n ? budget : s->output.n;
        e = h2_conn_send(c, &s->output, &sent);
        if (e == ERR_AGAIN) {
            buf_add(&c->rest, s->output.p + sent, s->output.n - sent);
            e = c->rest.is_failed ? ERR_NOMEM : ERR_AGAIN;
        }
    }
    return e;
}

/* ---- time ---- */

static uint64_t h2_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What the whole connection waits for. */
static uint64_t h2_conn_deadline(const struct h2_conn *c, enum server_limit *ret_limit)
{
    const struct server_limits *limits = &c->mux.conn.server->limits;
    const struct server *s = c->mux.conn.server;
    if (c->is_lingering) {
        *ret_limit = SERVER_LIMIT_IDLE_TIME;
        return c->mux.activity_ms + MUX_LINGER_MS;
    }
    if (h2_conn_is_blocked(c)) {
        *ret_limit = SERVER_LIMIT_WRITE_TIME;
        return c->mux.activity_ms + limits->write_idle_ms;
    }
    *ret_limit = SERVER_LIMIT_HEADER_TIME;
    if (!h2_session_is_ready(c->session)) {
        return c->start_ms + limits->header_ms;
    }
    if (c->head_start_ms) {
        return c->head_start_ms + limits->header_ms;
    }
    *ret_limit = SERVER_LIMIT_IDLE_TIME;
    if (h2_session_stream_count(c->session) > 0) {
        return UINT64_MAX;
    }
    uint64_t deadline = c->mux.activity_ms + limits->idle_ms;
    return s->is_draining ? h2_min(deadline, s->drain_idle_end_ms) : deadline;
}

/* A stream without window is not slow, it stands. */
static bool h2_conn_is_rated(const struct h2_conn *c)
{
    return !c->is_lingering && mux_conn_is_rated(&c->mux, h2_conn_is_blocked(c));
}

/* A timer that fires early looks again; only one that would fire late is moved. So the shortest
 * wait there could be will do, without a look at each stream. */
static void h2_conn_arm(struct h2_conn *c)
{
    enum server_limit limit;
    uint64_t now = h2_conn_now(c);
    uint64_t deadline = h2_conn_deadline(c, &limit);
    if (h2_session_stream_count(c->session) > 0) {
        deadline = h2_min(deadline, now + mux_conn_wait_ms(&c->mux));
        if (c->mux.conn.server->is_draining && !c->is_finishing) {
            deadline = h2_min(deadline, c->mux.conn.server->drain_idle_end_ms);
        }
    }
    if (!timer_is_set(&c->timer) || c->timer.deadline_ms > deadline) {
        loop_timer_set(c->mux.conn.server->loop, &c->timer, deadline);
    }
}

static void h2_conn_on_timeout(struct timer *t)
{
    struct h2_conn *c = CONTAINER_OF(t, struct h2_conn, timer);
    ASSERT_MAGIC(c, H2_CONN_MAGIC);
    uint64_t now = h2_conn_now(c);
    enum server_limit limit;
    uint64_t taken = h2_conn_is_blocked(c) ? transport_take_progress(&c->mux.conn.transport) : 0;
    if (taken) {
        c->mux.activity_ms = now;
        c->mux.window_bytes += taken;
    }
    bool is_over = h2_conn_deadline(c, &limit) <= now;
    if (is_over && limit == SERVER_LIMIT_IDLE_TIME && !c->is_lingering && !c->is_finishing) {
        if (!c->mux.conn.server->is_draining) {
            mux_conn_hit(&c->mux, limit);
        }
        c->is_finishing = true;
        h2_session_finish(c->session);
        is_over = false;
    } else if (!is_over && mux_conn_is_too_slow(&c->mux, h2_conn_is_rated(c), now)) {
        limit = SERVER_LIMIT_RATE;
        is_over = true;
    }
    if (is_over) {
        if (!c->is_lingering) {
            mux_conn_hit(&c->mux, limit);
        }
        if (h2_conn_is_blocked(c)) {
            transport_break(&c->mux.conn.transport);
        }
        h2_conn_kill(c, ERR_TIMEOUT);
        return;
    }
    c->mux.is_running = true;
    uint64_t next = h2_min(
        mux_conn_expire_streams(&c->mux, now, h2_conn_is_blocked(c) ? UINT64_MAX : c->unblocked_ms),
        h2_conn_deadline(c, &limit));
    c->mux.is_running = false;
    if (h2_conn_is_rated(c)) {
        next = h2_min(next, c->mux.window_ms + MUX_RATE_WINDOW_MS);
    }
    if (next != UINT64_MAX) {
        loop_timer_set(c->mux.conn.server->loop, &c->timer, next);
    }
    h2_conn_settle(c);
}

/* ---- what follows from the state ---- */

static void h2_conn_check_abuse(struct h2_conn *c)
{
    static const enum server_limit limits[] = {
        [H2_ABUSE_RESETS] = SERVER_LIMIT_RESETS,
        [H2_ABUSE_CONTROL] = SERVER_LIMIT_CONTROL,
        [H2_ABUSE_HEADERS] = SERVER_LIMIT_HEADER_BLOCK,
    };
    enum h2_abuse abuse = h2_session_abuse(c->session);
    if (abuse != H2_ABUSE_NONE && !c->is_abuse_told) {
        c->is_abuse_told = true;
        mux_conn_hit(&c->mux, limits[abuse]);
    }
}

static void h2_conn_check_drain(struct h2_conn *c)
{
    const struct server *s = c->mux.conn.server;
    if (!s->is_draining || c->is_finishing) {
        return;
    }
    bool is_time_up = s->drain_idle_end_ms <= h2_conn_now(c);
    if (!c->is_draining) {
        c->is_draining = true;
        if (!is_time_up) {
            h2_session_notice(c->session);
        }
        mux_conn_drain_streams(&c->mux);
    }
    if (is_time_up || h2_session_is_noticed(c->session)) {
        c->is_finishing = true;
        h2_session_finish(c->session);
    }
}

/* True when the connection ended. */
static bool h2_conn_check_over(struct h2_conn *c)
{
    if (h2_conn_is_blocked(c) || c->is_lingering || !h2_session_is_over(c->session)) {
        return false;
    }
    bool is_broken = h2_session_is_broken(c->session);
    if (c->is_input_closed || !is_broken) {
        h2_conn_kill(c, is_broken ? ERR_RESET : ERR_OK);
        return true;
    }
    /* The peer may be sending still; a close now would take the GOAWAY from it. */
    mux_conn_end_streams(&c->mux, ERR_RESET);
    transport_end(&c->mux.conn.transport);
    c->is_lingering = true;
    c->mux.activity_ms = h2_conn_now(c);
    return false;
}

static void h2_conn_settle(struct h2_conn *c)
{
    if (c->is_dead) {
        return;
    }
    c->mux.is_running = true;
    h2_conn_check_drain(c);
    mux_stream_run_todo(&c->mux);
    enum err e = c->is_lingering ? ERR_OK : h2_conn_flush(c);
    c->mux.is_running = false;
    h2_conn_check_abuse(c);
    if (e && e != ERR_AGAIN) {
        h2_conn_kill(c, e);
        return;
    }
    if (h2_conn_check_over(c)) {
        return;
    }
    bool is_reading = !c->is_input_closed;
    bool is_ending = is_reading && transport_is_ended(&c->mux.conn.transport);
    bool is_sending =
        !c->is_lingering && (h2_conn_is_blocked(c) || !list_is_empty(&c->mux.todo) ||
                             (c->mux.has_starved && c->mux.out_bytes < MUX_CONN_ROOM_BYTES) ||
                             h2_session_wants_output(c->session));
    unsigned events =
        (is_sending || is_ending ? POLLER_WRITE : 0u) | (is_reading ? POLLER_READ : 0u);
    if (transport_want(&c->mux.conn.transport, events) != ERR_OK) {
        h2_conn_kill(c, ERR_NOMEM);
        return;
    }
    h2_conn_arm(c);
}

static void h2_conn_on_settle(struct loop_task *t)
{
    struct h2_conn *c = CONTAINER_OF(t, struct h2_conn, mux.settle_task);
    ASSERT_MAGIC(c, H2_CONN_MAGIC);
    h2_conn_settle(c);
}

/* Something is to be sent, or will be. */
static bool h2_conn_is_owing(const struct h2_conn *c)
{
    return h2_session_stream_count(c->session) > 0 || h2_conn_is_blocked(c) ||
           h2_session_wants_output(c->session);
}

/* The client sends no more: what it asked for completely is still answered. */
static void h2_conn_on_eof(struct h2_conn *c)
{
    c->is_input_closed = true;
    LIST_FOR_EACH(at, h2_session_streams(c->session))
    {
        struct mux_stream *stream = CONTAINER_OF(at, struct mux_stream, link);
        if (!stream->is_body_done) {
            h2_session_reset(c->session, stream, H2_CANCEL);
        }
    }
    if (!c->is_finishing) {
        c->is_finishing = true;
        h2_session_finish(c->session);
    }
}

static void h2_conn_read(struct h2_conn *c)
{
    struct server *s = c->mux.conn.server;
    size_t n = 0;
    enum err e = transport_recv(&c->mux.conn.transport, s->input, s->input_bytes, &n);
    if (e == ERR_AGAIN) {
        return;
    }
    if (e == ERR_EOF && !c->is_lingering && h2_conn_is_owing(c)) {
        h2_conn_on_eof(c);
        return;
    }
    if (e) {
        h2_conn_kill(c, e == ERR_EOF ? ERR_OK : e);
        return;
    }
    s->hooks.on_bytes(s->hooks.context, n, 0);
    if (c->is_lingering) {
        return;
    }
    if (!h2_conn_is_blocked(c)) {
        /* Where output waits, only its progress counts. */
        c->mux.activity_ms = h2_conn_now(c);
    }
    e = h2_conn_recv(c, s->input, n);
    if (e) {
        h2_conn_kill(c, e);
    }
}

static void h2_conn_on_ready(struct conn *conn, unsigned events)
{
    struct h2_conn *c = h2_conn_of(conn);
    const struct transport *t = &c->mux.conn.transport;
    bool is_readable = (events & POLLER_READ) || transport_is_ended(t);
    if (is_readable && (t->watch.events & POLLER_READ)) {
        h2_conn_read(c);
    } else if (events & POLLER_HANGUP) {
        h2_conn_kill(c, ERR_RESET);
    }
    h2_conn_settle(c);
}
