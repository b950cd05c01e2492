/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/3 server connection: joins a QUIC connection (struct quic_link) with the session of
 * http/h3_session.h, whose streams mux_stream.c joins with exchanges; owns life and timers.
 *
 * Bytes move when the link has its turn; here is decided when that is due and when all ends.
 */
#include "net/h3_conn.h"

#include "base/assert.h"
#include "http/h3_session.h"
#include "net/mux_conn_int.h"

#define H3_CONN_MAGIC 0x6833636eu
#define H3_NOTICE_MS 500u /* between saying that an end is near and taking nothing more */

struct h3_conn {
    struct mux_conn mux; /* first */
    uint32_t magic;
    struct quic_link link;
    char settings[H3_PROMISE_BYTES];
    struct h3_session *session;
    struct timer timer;
    struct loop_task free_task;
    uint64_t start_ms;
    uint64_t notice_ms;
    bool is_draining;  /* the client was told */
    bool is_finishing; /* no further stream is taken */
    bool is_ended;     /* nothing is sent or received any more */
    bool is_abuse_told;
    bool is_kept_alive; /* silence on the wire is no end: streams are under way */
};

_Static_assert(H3_CLOSE_CODE == H3_NO_ERROR, "the same by another name");

static void h3_conn_settle(struct h3_conn *c);

size_t h3_conn_bytes(void)
{
    return sizeof(struct h3_conn);
}

static struct h3_conn *h3_conn_of_link(struct quic_link *l)
{
    struct h3_conn *c = CONTAINER_OF(l, struct h3_conn, link);
    ASSERT_MAGIC(c, H3_CONN_MAGIC);
    return c;
}

static uint64_t h3_conn_now(const struct h3_conn *c)
{
    return loop_now_ms(c->mux.conn.server->loop);
}

/* ---- from the QUIC connection ---- */

static void h3_on_ready(void *user)
{
    struct h3_conn *c = h3_conn_of_link(user);
    int64_t control, encoder, decoder;
    enum err e = quic_conn_open(c->link.quic, false, &control);
    if (!e) {
        e = quic_conn_open(c->link.quic, false, &encoder);
    }
    if (!e) {
        e = quic_conn_open(c->link.quic, false, &decoder);
    }
    if (!e) {
        e = h3_session_bind(c->session, control, encoder, decoder);
    }
    if (e) {
        /* A client that allows no streams of ours cannot speak HTTP/3. */
        h3_session_break(c->session, H3_STREAM_CREATION_ERROR);
    }
    c->mux.conn.peer.tls = quic_conn_tls(c->link.quic);
    mux_conn_wake(&c->mux);
}

static void h3_on_handshake(void *user)
{
    struct h3_conn *c = h3_conn_of_link(user);
    c->start_ms = h3_conn_now(c);
    c->mux.activity_ms = c->start_ms;
    mux_conn_prove(&c->mux);
    mux_conn_wake(&c->mux);
}

static enum err h3_on_data(void *user, int64_t stream_id, const uint8_t *p, size_t n, bool is_end)
{
    struct h3_conn *c = h3_conn_of_link(user);
    const struct mux_limits limits = mux_conn_limits(c->mux.conn.server);
    c->mux.activity_ms = h3_conn_now(c);
    h3_session_set_limits(c->session, &limits);
    h3_session_recv(c->session, h3_conn_now(c), stream_id, p, n, is_end);
    mux_conn_wake(&c->mux);
    return ERR_OK;
}

static void h3_on_message(void *user, const uint8_t *p, size_t n)
{
    struct h3_conn *c = h3_conn_of_link(user);
    h3_session_recv_datagram(c->session, h3_conn_now(c), p, n);
}

static enum err h3_on_acknowledged(void *user, int64_t stream_id, uint64_t n)
{
    struct h3_conn *c = h3_conn_of_link(user);
    h3_session_set_window(c->session, quic_conn_window_bytes(c->link.quic));
    h3_session_acknowledged(c->session, stream_id, n);
    return ERR_OK;
}

static void h3_on_reset(void *user, int64_t stream_id, uint64_t code)
{
    struct h3_conn *c = h3_conn_of_link(user);
    (void)code;
    h3_session_peer_reset(c->session, h3_conn_now(c), stream_id);
}

static void h3_on_stop(void *user, int64_t stream_id, uint64_t code)
{
    struct h3_conn *c = h3_conn_of_link(user);
    (void)code;
    h3_session_peer_stop(c->session, h3_conn_now(c), stream_id);
}

static void h3_on_stream_end(void *user, int64_t stream_id, uint64_t code)
{
    struct h3_conn *c = h3_conn_of_link(user);
    h3_session_closed(c->session, stream_id, code);
    if ((stream_id & 3) == 0) {
        quic_conn_allow_stream(c->link.quic);
    }
    mux_conn_wake(&c->mux);
}

static void h3_on_credit(void *user, int64_t stream_id)
{
    h3_session_unblock(h3_conn_of_link(user)->session, stream_id);
}

static enum err h3_offer(void *user, struct quic_offer *ret)
{
    struct h3_conn *c = h3_conn_of_link(user);
    struct h3_offer offer;
    _Static_assert(H3_PIECES_MAX <= QUIC_PIECES_MAX, "an offer fits");
    h3_session_offer(c->session, h3_conn_now(c), &offer);
    ret->stream_id = offer.stream_id;
    ret->is_end = offer.is_end;
    ret->count = offer.count;
    for (size_t i = 0; i < offer.count; i++) {
        ret->pieces[i] = (struct quic_piece){offer.pieces[i].p, offer.pieces[i].n};
    }
    return ERR_OK;
}

static enum err h3_on_taken(void *user, int64_t stream_id, size_t n)
{
    struct h3_conn *c = h3_conn_of_link(user);
    (void)stream_id;
    c->mux.activity_ms = h3_conn_now(c);
    h3_session_taken(c->session, n);
    return ERR_OK;
}

static void h3_on_blocked(void *user, int64_t stream_id)
{
    h3_session_block(h3_conn_of_link(user)->session, stream_id);
}

static void h3_on_cannot_send(void *user, int64_t stream_id)
{
    h3_session_cannot_send(h3_conn_of_link(user)->session, stream_id);
}

/* ---- to the QUIC connection ---- */

static void h3_wire_consume(void *context, int64_t stream_id, size_t n)
{
    struct h3_conn *c = context;
    if (c->link.quic) {
        quic_conn_consume(c->link.quic, stream_id, n);
    }
}

static void h3_wire_reset(void *context, int64_t stream_id, uint64_t code)
{
    struct h3_conn *c = context;
    quic_conn_reset(c->link.quic, stream_id, code);
}

static void h3_wire_stop(void *context, int64_t stream_id, uint64_t code)
{
    struct h3_conn *c = context;
    quic_conn_stop(c->link.quic, stream_id, code);
}

static void h3_wire_wake(void *context)
{
    struct h3_conn *c = context;
    mux_conn_wake(&c->mux);
}

/* ---- datagrams of an exchange ---- */

static struct h3_conn *h3_conn_of_exchange(const struct exchange *x)
{
    struct h3_conn *c = CONTAINER_OF(mux_exchange_of_x(x)->conn, struct h3_conn, mux);
    ASSERT_MAGIC(c, H3_CONN_MAGIC);
    return c;
}

size_t h3_conn_datagram_bytes_max(const struct exchange *x)
{
    const struct h3_conn *c = h3_conn_of_exchange(x);
    char head[H3_DATAGRAM_HEAD_BYTES_MAX];
    size_t n = h3_session_datagram_head(c->session, mux_exchange_of_x(x)->stream.id, head);
    size_t most = n && !c->is_ended ? quic_conn_message_bytes_max(c->link.quic) : 0;
    return most > n ? most - n : 0;
}

enum err h3_conn_send_datagram(struct exchange *x, struct str bytes)
{
    struct h3_conn *c = h3_conn_of_exchange(x);
    struct mux_exchange *e = mux_exchange_of_x(x);
    char all[QUIC_DATAGRAM_BYTES];
    size_t n = h3_session_datagram_head(c->session, e->stream.id, all);
    ASSERT(bytes.n <= sizeof(all) - n);
    if (bytes.n) {
        memcpy(all + n, bytes.p, bytes.n);
    }
    e->write_ms = h3_conn_now(c);
    mux_conn_wake(&c->mux);
    return quic_conn_send_message(c->link.quic, str_make(all, n + bytes.n), 0);
}

/* ---- life ---- */

static void h3_conn_free(struct h3_conn *c)
{
    struct server *s = c->mux.conn.server;
    timer_cancel(&c->timer);
    loop_task_cancel(&c->mux.settle_task);
    loop_task_cancel(&c->free_task);
    quic_link_abort(&c->link);
    h3_session_destroy(c->session);
    conn_part(&c->mux.conn);
    c->magic = 0;
    slab_free(&s->h3_conn_slab, c);
    conn_leave(s);
}

static void h3_conn_on_free(struct loop_task *t)
{
    struct h3_conn *c = CONTAINER_OF(t, struct h3_conn, free_task);
    struct server *s = c->mux.conn.server;
    h3_conn_free(c);
    server_check_drained(s);
}

static void h3_conn_on_end(struct quic_link *l, enum err cause)
{
    struct h3_conn *c = h3_conn_of_link(l);
    if (!c->is_ended) {
        c->is_ended = true;
        c->mux.is_running = true; /* nothing wakes it any more */
        timer_cancel(&c->timer);
        loop_task_cancel(&c->mux.settle_task);
        mux_conn_end_streams(&c->mux, cause ? cause : ERR_RESET);
        if (c->mux.conn.server->is_draining) {
            /* Nobody waits for those who may not have heard. */
            loop_defer_end(c->mux.conn.server->loop, &c->free_task);
        }
    }
}

static void h3_conn_on_closed(struct quic_link *l, enum err cause)
{
    struct h3_conn *c = h3_conn_of_link(l);
    h3_conn_on_end(l, cause);
    loop_defer_end(c->mux.conn.server->loop, &c->free_task);
}

static const struct quic_link_ops h3_link_ops = {
    .hooks =
        {
            .on_ready = h3_on_ready,
            .on_handshake = h3_on_handshake,
            .on_data = h3_on_data,
            .on_acknowledged = h3_on_acknowledged,
            .on_reset = h3_on_reset,
            .on_stop = h3_on_stop,
            .on_stream_end = h3_on_stream_end,
            .on_credit = h3_on_credit,
            .offer = h3_offer,
            .on_taken = h3_on_taken,
            .on_blocked = h3_on_blocked,
            .on_cannot_send = h3_on_cannot_send,
            .on_message = h3_on_message,
        },
    .on_end = h3_conn_on_end,
    .on_closed = h3_conn_on_closed,
};

static void h3_conn_abort(struct conn *conn)
{
    struct h3_conn *c = (struct h3_conn *)conn;
    ASSERT_MAGIC(c, H3_CONN_MAGIC);
    h3_conn_on_end(&c->link, ERR_CANCELLED);
    quic_link_close(&c->link, H3_NO_ERROR); /* or the client would wait for its idle time */
    h3_conn_free(c);
}

static void h3_conn_drain(struct conn *conn)
{
    struct h3_conn *c = (struct h3_conn *)conn;
    ASSERT_MAGIC(c, H3_CONN_MAGIC);
    if (!c->is_ended) {
        loop_defer(c->mux.conn.server->loop, &c->mux.settle_task);
    }
}

static const struct conn_ops h3_conn_ops = {
    .drain = h3_conn_drain,
    .abort = h3_conn_abort,
};

/* ---- time ---- */

static uint64_t h3_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What the whole connection waits for; the handshake has its time in the QUIC connection. */
static uint64_t h3_conn_deadline(const struct h3_conn *c, enum server_limit *ret_limit)
{
    const struct server *s = c->mux.conn.server;
    *ret_limit = SERVER_LIMIT_HEADER_TIME;
    if (!quic_conn_is_handshaken(c->link.quic)) {
        return UINT64_MAX;
    }
    if (!h3_session_is_ready(c->session)) {
        return c->start_ms + s->limits.header_ms;
    }
    *ret_limit = SERVER_LIMIT_IDLE_TIME;
    if (c->mux.session->stream_count > 0) {
        return UINT64_MAX;
    }
    uint64_t deadline = c->mux.activity_ms + s->limits.idle_ms;
    return s->is_draining ? h3_min(deadline, s->drain_idle_end_ms) : deadline;
}

static void h3_conn_arm(struct h3_conn *c)
{
    const struct server *s = c->mux.conn.server;
    enum server_limit limit;
    uint64_t now = h3_conn_now(c);
    uint64_t deadline = h3_conn_deadline(c, &limit);
    if (c->mux.session->stream_count > 0) {
        deadline = h3_min(deadline, now + mux_conn_wait_ms(&c->mux));
    }
    if (s->is_draining && !c->is_finishing) {
        deadline = h3_min(deadline, h3_min(s->drain_idle_end_ms, c->notice_ms + H3_NOTICE_MS));
    }
    if (deadline != UINT64_MAX && (!timer_is_set(&c->timer) || c->timer.deadline_ms > deadline)) {
        loop_timer_set(s->loop, &c->timer, deadline);
    }
}

static void h3_conn_finish(struct h3_conn *c)
{
    c->is_finishing = true;
    h3_session_finish(c->session);
}

static void h3_conn_on_timeout(struct timer *t)
{
    struct h3_conn *c = CONTAINER_OF(t, struct h3_conn, timer);
    ASSERT_MAGIC(c, H3_CONN_MAGIC);
    uint64_t now = h3_conn_now(c);
    enum server_limit limit;
    bool is_over = h3_conn_deadline(c, &limit) <= now;
    if (is_over && limit == SERVER_LIMIT_IDLE_TIME && !c->is_finishing) {
        if (!c->mux.conn.server->is_draining) {
            mux_conn_hit(&c->mux, limit);
        }
        h3_conn_finish(c);
    } else if (is_over && limit != SERVER_LIMIT_IDLE_TIME) {
        mux_conn_hit(&c->mux, limit);
        quic_link_close(&c->link, H3_NO_ERROR);
        return;
    } else if (mux_conn_is_too_slow(&c->mux, mux_conn_is_rated(&c->mux, false), now)) {
        mux_conn_hit(&c->mux, SERVER_LIMIT_RATE);
        quic_link_close(&c->link, H3_EXCESSIVE_LOAD);
        return;
    }
    uint64_t ignored = mux_conn_expire_streams(&c->mux, now, 0);
    (void)ignored; /* what is armed anew is not later than that */
    h3_conn_settle(c);
}

/* ---- what follows from the state ---- */

static void h3_conn_check_abuse(struct h3_conn *c)
{
    static const enum server_limit limits[] = {
        [H3_ABUSE_RESETS] = SERVER_LIMIT_RESETS,
        [H3_ABUSE_CONTROL] = SERVER_LIMIT_CONTROL,
        [H3_ABUSE_HEADERS] = SERVER_LIMIT_HEADER_BLOCK,
    };
    enum h3_abuse abuse = h3_session_abuse(c->session);
    if (abuse != H3_ABUSE_NONE && !c->is_abuse_told) {
        c->is_abuse_told = true;
        mux_conn_hit(&c->mux, limits[abuse]);
    }
}

/* There is no ping whose answer shows that the notice has arrived: a while must do. */
static void h3_conn_check_drain(struct h3_conn *c)
{
    const struct server *s = c->mux.conn.server;
    uint64_t now = h3_conn_now(c);
    if (!s->is_draining || c->is_finishing) {
        return;
    }
    bool is_time_up = s->drain_idle_end_ms <= now;
    if (!c->is_draining) {
        c->is_draining = true;
        c->notice_ms = now;
        if (!is_time_up) {
            h3_session_notice(c->session);
        }
        mux_conn_drain_streams(&c->mux);
    }
    if (is_time_up || now >= c->notice_ms + H3_NOTICE_MS) {
        h3_conn_finish(c);
    }
}

/* Streams have time limits of their own. */
static void h3_conn_check_keep_alive(struct h3_conn *c)
{
    bool has_streams = c->mux.session->stream_count > 0;
    if (has_streams != c->is_kept_alive && quic_conn_is_handshaken(c->link.quic)) {
        c->is_kept_alive = has_streams;
        quic_conn_keep_alive(c->link.quic, has_streams);
    }
}

static void h3_conn_settle(struct h3_conn *c)
{
    if (c->is_ended) {
        return;
    }
    c->mux.is_running = true;
    h3_conn_check_drain(c);
    mux_stream_run_todo(&c->mux);
    c->mux.is_running = false;
    if (!list_is_empty(&c->mux.todo)) {
        mux_conn_wake(&c->mux); /* what was done gave more to do */
    }
    h3_conn_check_abuse(c);
    if (h3_session_is_over(c->session)) {
        quic_link_close(&c->link, h3_session_code(c->session));
        return;
    }
    h3_conn_check_keep_alive(c);
    quic_link_wake(&c->link);
    h3_conn_arm(c);
}

static void h3_conn_on_settle(struct loop_task *t)
{
    struct h3_conn *c = CONTAINER_OF(t, struct h3_conn, mux.settle_task);
    ASSERT_MAGIC(c, H3_CONN_MAGIC);
    h3_conn_settle(c);
}

struct quic_link *h3_conn_open(void *context, struct quic_endpoint *e,
                               const struct socket_address *remote)
{
    struct server *s = quic_endpoint_server(e);
    struct h3_conn *c = slab_alloc(&s->h3_conn_slab);
    (void)context;
    if (!c) {
        s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_MEMORY);
        return NULL;
    }
    const struct mux_limits limits = mux_conn_limits(s);
    const struct h3_wire wire = {h3_wire_consume, h3_wire_reset, h3_wire_stop, h3_wire_wake, c};
    struct mux_events events = mux_stream_events;
    events.context = &c->mux;
    if (h3_session_create(&limits, &events, &wire, &c->session) != ERR_OK) {
        slab_free(&s->h3_conn_slab, c);
        s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_MEMORY);
        return NULL;
    }
    c->magic = H3_CONN_MAGIC;
    c->mux.session = h3_session_mux(c->session);
    c->mux.protocol = &mux_protocol_30;
    list_init(&c->mux.todo);
    timer_init(&c->timer, h3_conn_on_timeout);
    loop_task_init(&c->mux.settle_task, h3_conn_on_settle);
    loop_task_init(&c->free_task, h3_conn_on_free);
    c->start_ms = loop_now_ms(s->loop);
    c->mux.activity_ms = c->start_ms;
    c->mux.is_unproved = true;
    c->link.ops = &h3_link_ops;
    c->link.settings = str_make(c->settings, h3_session_promise(&limits, c->settings));
    conn_join(&c->mux.conn, &h3_conn_ops, s, remote);
    c->mux.conn.peer.version = HTTP_VERSION_30;
    return &c->link;
}
