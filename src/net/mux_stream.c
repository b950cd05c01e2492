/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "base/mem.h"
#include "net/mux_conn_int.h"
#include "os/file.h"

/* ---- the queue of a stream ---- */

static void mux_piece_drop(struct mux_exchange *e)
{
    struct mux_piece *piece = e->out;
    e->out = piece->next;
    if (!e->out) {
        e->out_tail = &e->out;
    }
    if (piece->chunk) {
        e->out_bytes -= piece->n;
        e->conn->out_bytes -= piece->n;
    }
    chunk_unref(piece->chunk);
    exchange_file_unref(piece->file);
    slab_free(&e->conn->conn.server->piece_slab, piece);
}

static struct mux_piece *mux_piece_add(struct mux_exchange *e, uint64_t offset, uint64_t n)
{
    struct mux_piece *piece = slab_alloc(&e->conn->conn.server->piece_slab);
    if (piece) {
        if (!e->out) {
            e->write_ms = loop_now_ms(e->conn->conn.server->loop);
        }
        piece->offset = offset;
        piece->n = n;
        *e->out_tail = piece;
        e->out_tail = &piece->next;
    }
    return piece;
}

static enum err mux_queue_chunk(struct mux_exchange *e, struct chunk *c, size_t offset, size_t n)
{
    struct mux_piece *piece = mux_piece_add(e, offset, n);
    if (!piece) {
        return ERR_NOMEM;
    }
    piece->chunk = chunk_ref(c);
    e->out_bytes += n;
    e->conn->out_bytes += n;
    return ERR_OK;
}

/* Something is new to be sent. */
static void mux_stream_push(struct mux_exchange *e)
{
    mux_resume(e->conn->session, &e->stream);
    mux_conn_wake(e->conn);
}

static size_t mux_stream_room(const struct mux_exchange *e)
{
    struct mux_conn *c = e->conn;
    if (c->out_bytes >= MUX_CONN_ROOM_MAX_BYTES) {
        c->has_starved = true;
        return 0;
    }
    size_t max =
        c->out_bytes < MUX_CONN_ROOM_BYTES ? MUX_STREAM_ROOM_BYTES : MUX_STREAM_ROOM_MIN_BYTES;
    return e->out_bytes < max ? max - e->out_bytes : 0;
}

static void mux_stream_do(struct mux_exchange *e)
{
    if (list_is_empty(&e->todo)) {
        list_push_back(&e->conn->todo, &e->todo);
    }
    mux_conn_wake(e->conn);
}

/* ---- events of the session ---- */

static struct mux_stream *mux_on_stream(void *context)
{
    struct mux_conn *c = context;
    struct mux_exchange *e = slab_alloc(&c->conn.server->mux_stream_slab);
    if (!e) {
        c->conn.server->hooks.on_limit(c->conn.server->hooks.context, SERVER_LIMIT_MEMORY);
        return NULL;
    }
    e->conn = c;
    e->stream.first_fields = e->fields;
    e->stream.first_field_count = COUNT_OF(e->fields);
    e->stream.first_bytes = e->bytes;
    e->stream.first_byte_count = sizeof(e->bytes);
    e->out_tail = &e->out;
    list_init(&e->todo);
    buf_init(&e->in, 0);
    arena_init(&e->x.arena, 1024, 0);
    return &e->stream;
}

static void mux_stream_tell_end(struct mux_exchange *e, enum err cause)
{
    e->x.phase = EXCHANGE_FINISHED;
    if (e->is_alive) {
        e->is_alive = false;
        if (e->x.service) {
            e->x.service->on_end(&e->x, cause);
        }
    }
}

/* The body is longer than allowed. */
static void mux_stream_refuse_body(struct mux_exchange *e)
{
    struct server *s = e->conn->conn.server;
    s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_BODY);
    e->cause = ERR_LIMIT;
    if (e->x.phase != EXCHANGE_OPEN) {
        mux_reset(e->conn->session, &e->stream, MUX_RESET_CANCEL);
        return;
    }
    const struct response_head head = {.status = 413};
    const struct mux_response response = {.head = &head, .date = server_date(s)};
    s->hooks.on_refused(s->hooks.context, &e->conn->conn.peer, H1_REJECT_NONE, 413);
    mux_stream_tell_end(e, ERR_LIMIT);
    if (mux_respond(e->conn->session, &e->stream, &response) != ERR_OK) {
        mux_reset(e->conn->session, &e->stream, MUX_RESET_INTERNAL);
    }
}

static bool mux_stream_is_dropping(const struct mux_exchange *e)
{
    return !e->is_alive || e->x.phase == EXCHANGE_FINISHED || e->stream.is_resetting;
}

static void mux_on_request(void *context, struct mux_stream *stream)
{
    struct mux_conn *c = context;
    struct server *s = c->conn.server;
    struct mux_exchange *e = mux_exchange_of(stream);
    struct exchange *x = &e->x;
    x->magic = EXCHANGE_MAGIC;
    x->protocol = e->conn->protocol;
    x->server = s;
    x->request = &stream->head;
    x->peer = &c->conn.peer;
    x->is_head_only = stream->head.method == HTTP_HEAD;
    /* What comes behind an extended CONNECT is no body: it waits for the tunnel. */
    x->upgrade = stream->head.protocol;
    x->request_body_bytes = stream->head.protocol.p ? 0 : stream->content_length;
    x->start_ns = loop_now_ns(s->loop);
    x->arena = stream->arena;
    arena_init(&stream->arena, 256, 0);
    e->read_ms = loop_now_ms(s->loop);
    if (stream->content_length != MUX_LENGTH_UNKNOWN &&
        stream->content_length > s->limits.body_bytes_max) {
        mux_stream_refuse_body(e);
        return;
    }
    e->is_alive = true;
    x->is_early = c->is_unproved;
    e->is_held =
        x->is_early && !(s->hooks.may_be_early &&
                         s->hooks.may_be_early(s->hooks.context, x, !stream->is_body_done));
    if (!e->is_held) {
        s->hooks.on_exchange(s->hooks.context, x);
    }
}

void mux_conn_prove(struct mux_conn *c)
{
    struct server *s = c->conn.server;
    c->is_unproved = false;
    LIST_FOR_EACH(at, &c->session->streams)
    {
        struct mux_exchange *e = mux_exchange_of(CONTAINER_OF(at, struct mux_stream, link));
        if (e->is_held && !mux_stream_is_dropping(e)) {
            e->is_held = false;
            e->x.is_early = false;
            s->hooks.on_exchange(s->hooks.context, &e->x);
        }
    }
}

static void mux_on_body(void *context, struct mux_stream *stream, const char *bytes, size_t n)
{
    struct mux_conn *c = context;
    struct mux_exchange *e = mux_exchange_of(stream);
    e->read_ms = loop_now_ms(c->conn.server->loop);
    c->window_bytes += n;
    if (!mux_stream_is_dropping(e) && !stream->head.protocol.p &&
        e->stream.body_bytes > c->conn.server->limits.body_bytes_max) {
        mux_stream_refuse_body(e);
    }
    if (mux_stream_is_dropping(e)) {
        mux_consume(c->session, stream, n);
    } else if (e->wants_body && e->in.n == 0) {
        e->wants_body = false;
        e->x.service->on_body(&e->x, bytes, n);
        mux_consume(c->session, stream, n);
    } else {
        buf_add(&e->in, bytes, n);
        if (e->in.is_failed) {
            e->cause = ERR_NOMEM;
            mux_consume(c->session, NULL, n); /* dropped, and the stream with it */
            mux_reset(c->session, stream, MUX_RESET_INTERNAL);
        }
    }
}

static void mux_stream_check_body_end(struct mux_exchange *e)
{
    /* The service of a tunnel may still be busy with what it got: it hears of the end in its turn.
     */
    bool is_asked = e->is_tunnel ? e->wants_body : e->has_asked_body;
    if (e->stream.is_body_done && e->in.n == 0 && is_asked && !e->has_body_ended &&
        !mux_stream_is_dropping(e)) {
        e->has_body_ended = true;
        e->x.trailers = e->stream.trailers.n ? &e->stream.trailers : NULL;
        if (e->x.service->on_body_end) {
            e->x.service->on_body_end(&e->x);
        }
    }
}

static void mux_on_body_end(void *context, struct mux_stream *stream)
{
    (void)context;
    mux_stream_check_body_end(mux_exchange_of(stream));
}

static void mux_on_datagram(void *context, struct mux_stream *stream, const char *bytes, size_t n)
{
    struct mux_conn *c = context;
    struct mux_exchange *e = stream ? mux_exchange_of(stream) : NULL;
    if (e && (mux_stream_is_dropping(e) || stream->is_body_done)) {
        e = NULL; /* late */
    }
    if (e && !e->x.datagrams && (e->is_tunnel || !stream->head.protocol.p)) {
        /* RFC 9297 section 2: who sends them to such a request takes it for another one. */
        struct server *s = c->conn.server;
        s->hooks.on_refused(s->hooks.context, &c->conn.peer, H1_REJECT_DATAGRAM, 0);
        e->cause = ERR_SYNTAX;
        mux_reset(c->session, stream, MUX_RESET_DATAGRAM);
        return;
    }
    if (e) {
        e->read_ms = loop_now_ms(c->conn.server->loop);
    }
    exchange_give_datagram(c->conn.server, e ? &e->x : NULL, str_make(bytes, n));
}

static void mux_on_answered(void *context, struct mux_stream *stream)
{
    struct mux_conn *c = context;
    struct mux_exchange *e = mux_exchange_of(stream);
    if (!stream->is_body_done) {
        e->read_ms = loop_now_ms(c->conn.server->loop);
        c->has_dropping = true;
    }
    mux_stream_tell_end(e, e->cause);
}

static void mux_on_stream_end(void *context, struct mux_stream *stream, enum err cause)
{
    struct mux_conn *c = context;
    struct mux_exchange *e = mux_exchange_of(stream);
    mux_consume(c->session, NULL, e->in.n);
    mux_stream_end(e, e->cause ? e->cause : cause);
    if (c->session->stream_count == 0) {
        c->activity_ms = loop_now_ms(c->conn.server->loop); /* idle from here on */
    }
}

void mux_stream_end(struct mux_exchange *e, enum err cause)
{
    struct server *s = e->conn->conn.server;
    list_remove(&e->todo);
    mux_stream_tell_end(e, cause);
    e->conn->tunnel_count -= e->is_tunnel;
    while (e->out) {
        mux_piece_drop(e);
    }
    e->x.magic = 0;
    buf_done(&e->in);
    arena_done(&e->x.arena);
    arena_done(&e->stream.arena);
    slab_free(&s->mux_stream_slab, e);
}

static size_t mux_on_offer(void *context, struct mux_stream *stream, size_t n, bool *ret_is_last)
{
    struct mux_exchange *e = mux_exchange_of(stream);
    size_t offered = 0;
    (void)context;
    const struct mux_piece *piece = e->out;
    while (piece && offered < n) {
        uint64_t left = n - offered;
        offered += (size_t)(piece->n < left ? piece->n : left);
        left = n - offered;
        if (offered < n || piece->n <= left) {
            piece = piece->next;
            continue;
        }
        break;
    }
    *ret_is_last = false;
    if (e->is_out_done) {
        uint64_t all = 0;
        for (piece = e->out; piece && all <= offered; piece = piece->next) {
            all += piece->n;
        }
        *ret_is_last = all <= offered;
    }
    return offered;
}

static enum err mux_take_file(struct mux_piece *piece, struct buf *out, size_t n)
{
    if (!buf_reserve(out, n)) {
        return ERR_NOMEM;
    }
    size_t done = 0;
    while (done < n) {
        size_t got;
        enum err e =
            file_read_at(piece->file->fd, piece->offset + done, out->p + out->n, n - done, &got);
        if (e || got == 0) {
            return e ? e : ERR_EOF; /* cut while it was being sent */
        }
        out->n += got;
        done += got;
    }
    return ERR_OK;
}

static enum err mux_on_take(void *context, struct mux_stream *stream, struct buf *out, size_t n)
{
    struct mux_conn *c = context;
    struct mux_exchange *e = mux_exchange_of(stream);
    while (n > 0) {
        struct mux_piece *piece = e->out;
        ASSERT(piece);
        size_t step = piece->n < n ? (size_t)piece->n : n;
        if (piece->chunk) {
            buf_add(out, piece->chunk->data + piece->offset, step);
            e->out_bytes -= step;
            c->out_bytes -= step;
        } else {
            enum err err = mux_take_file(piece, out, step);
            if (err) {
                e->cause = err;
                return err;
            }
        }
        piece->offset += step;
        piece->n -= step;
        n -= step;
        if (piece->n == 0) {
            mux_piece_drop(e);
        }
    }
    e->write_ms = loop_now_ms(c->conn.server->loop);
    if (e->x.phase == EXCHANGE_RESPONDED && e->x.service->on_room) {
        e->wants_room = true;
        mux_stream_do(e);
    }
    return ERR_OK;
}

static void mux_on_refused(void *context, enum h1_reject reason, unsigned status)
{
    struct mux_conn *c = context;
    struct server *s = c->conn.server;
    s->hooks.on_refused(s->hooks.context, &c->conn.peer, reason, status);
}

const struct mux_events mux_stream_events = {
    .on_stream = mux_on_stream,
    .on_request = mux_on_request,
    .on_body = mux_on_body,
    .on_body_end = mux_on_body_end,
    .on_datagram = mux_on_datagram,
    .on_answered = mux_on_answered,
    .on_stream_end = mux_on_stream_end,
    .on_offer = mux_on_offer,
    .on_take = mux_on_take,
    .on_refused = mux_on_refused,
};

static void mux_stream_give_body(struct mux_exchange *e)
{
    struct buf in = e->in;
    buf_init(&e->in, 0);
    e->wants_body = false;
    e->x.service->on_body(&e->x, in.p, in.n);
    mux_consume(e->conn->session, &e->stream, in.n);
    buf_done(&in);
}

/* Those that found no room ask again. */
static void mux_stream_feed_starved(struct mux_conn *c)
{
    if (!c->has_starved || c->out_bytes >= MUX_CONN_ROOM_BYTES) {
        return;
    }
    c->has_starved = false;
    LIST_FOR_EACH(at, &c->session->streams)
    {
        struct mux_exchange *e = mux_exchange_of(CONTAINER_OF(at, struct mux_stream, link));
        if (e->x.phase == EXCHANGE_RESPONDED && e->is_alive && e->x.service->on_room) {
            e->wants_room = true;
            mux_stream_do(e);
        }
    }
}

void mux_stream_run_todo(struct mux_conn *c)
{
    mux_stream_feed_starved(c);
    struct list todo;
    list_init(&todo);
    list_splice(&todo, &c->todo);
    while (!list_is_empty(&todo)) {
        struct mux_exchange *e = CONTAINER_OF(todo.next, struct mux_exchange, todo);
        list_remove(&e->todo);
        if (!mux_stream_is_dropping(e) && e->wants_body && e->in.n) {
            mux_stream_give_body(e);
        }
        mux_stream_check_body_end(e);
        if (e->wants_room && e->x.phase == EXCHANGE_RESPONDED && !e->stream.is_resetting &&
            mux_stream_room(e) > 0) {
            e->wants_room = false;
            e->x.service->on_room(&e->x);
        }
    }
}

/* ---- the protocol of an exchange ---- */

static void mux_read_body(struct exchange *x)
{
    struct mux_exchange *e = mux_exchange_of_x(x);
    bool is_first = !e->has_asked_body;
    e->has_asked_body = true;
    e->wants_body = true;
    e->read_ms = loop_now_ms(e->conn->conn.server->loop);
    if (is_first) {
        if (e->stream.expect_continue && e->stream.body_bytes == 0 && x->phase == EXCHANGE_OPEN) {
            mux_interim(e->conn->session, &e->stream, 100, NULL);
        }
        mux_stream_check_body_end(e);
    }
    if (e->in.n || e->stream.is_body_done) {
        mux_stream_do(e);
    } else {
        mux_conn_wake(e->conn);
    }
}

/* An answer that is passed on keeps the date of its making. */
static const char *mux_date(const struct exchange *x, const struct http_fields *fields)
{
    bool has_date = fields->n > 0 && http_fields_get(fields, HTTP_FIELD_DATE) != NULL;
    return has_date ? NULL : server_date(x->server);
}

static void mux_send_interim(struct exchange *x, uint16_t status, const struct http_fields *fields)
{
    struct mux_exchange *e = mux_exchange_of_x(x);
    mux_interim(e->conn->session, &e->stream, status, fields);
    mux_conn_wake(e->conn);
}

static enum err mux_respond_checked(struct exchange *x, const struct response_head *head,
                                    uint64_t body_bytes, bool is_checked)
{
    struct mux_exchange *e = mux_exchange_of_x(x);
    struct mux_response response = {
        .head = head,
        .body_bytes = body_bytes == EXCHANGE_LENGTH_UNKNOWN ? MUX_LENGTH_UNKNOWN : body_bytes,
        .date = mux_date(x, &head->fields),
        .has_body = body_bytes != 0 && !x->is_head_only && http_status_has_content(head->status),
        .is_checked = is_checked,
    };
    enum err err = mux_respond(e->conn->session, &e->stream, &response);
    mux_conn_wake(e->conn);
    return err;
}

static enum err mux_respond_head(struct exchange *x, const struct response_head *head,
                                 uint64_t body_bytes)
{
    return mux_respond_checked(x, head, body_bytes, false);
}

static enum err mux_respond_ready(struct exchange *x, struct exchange_ready *ready)
{
    struct mux_exchange *e = mux_exchange_of_x(x);
    const struct response_head head = {ready->status, ready->fields};
    bool has_body = ready->body && ready->body->n && !x->is_head_only;
    enum err err = has_body ? mux_queue_chunk(e, ready->body, 0, ready->body->n) : ERR_OK;
    if (!err) {
        err = mux_respond_checked(x, &head, ready->body_bytes, ready->is_checked);
        ready->is_checked |= !err;
        if (err && has_body) {
            mux_piece_drop(e); /* the service may answer otherwise */
        }
    }
    return err;
}

static enum err mux_send_chunk(struct exchange *x, struct chunk *c, size_t offset, size_t n)
{
    struct mux_exchange *e = mux_exchange_of_x(x);
    enum err err = mux_queue_chunk(e, c, offset, n);
    mux_stream_push(e);
    return err;
}

static enum err mux_send_bytes(struct exchange *x, struct str bytes)
{
    struct chunk *c = chunk_from(bytes);
    enum err e = c ? mux_send_chunk(x, c, 0, bytes.n) : ERR_NOMEM;
    chunk_unref(c);
    return e;
}

static enum err mux_send_file(struct exchange *x, struct exchange_file *f, uint64_t offset,
                              uint64_t n)
{
    struct mux_exchange *e = mux_exchange_of_x(x);
    struct mux_piece *piece = mux_piece_add(e, offset, n);
    if (!piece) {
        return ERR_NOMEM;
    }
    piece->file = exchange_file_ref(f);
    mux_stream_push(e);
    return ERR_OK;
}

static enum err mux_send_trailers(struct exchange *x, const struct http_fields *trailers)
{
    struct mux_exchange *e = mux_exchange_of_x(x);
    return e->is_tunnel ? ERR_OK : mux_trailers(&e->stream, trailers);
}

static void mux_finish(struct exchange *x)
{
    struct mux_exchange *e = mux_exchange_of_x(x);
    e->is_out_done = true;
    if (e->in.n) {
        mux_consume(e->conn->session, &e->stream, e->in.n);
        buf_done(&e->in);
        buf_init(&e->in, 0);
    }
    mux_stream_push(e);
}

static void mux_reset_exchange(struct exchange *x, enum err cause)
{
    struct mux_exchange *e = mux_exchange_of_x(x);
    if (!e->stream.is_resetting) {
        e->cause = cause;
    }
    /* RFC 8441 section 5 and RFC 9220 section 3 on the end of a tunnel in fault; RFC 9297 3.3 on
     * what is malformed in it. */
    enum mux_reset why = cause == ERR_SYNTAX ? MUX_RESET_PROTOCOL : MUX_RESET_CANCEL;
    mux_reset(e->conn->session, &e->stream, e->is_tunnel ? why : MUX_RESET_INTERNAL);
    mux_conn_wake(e->conn);
}

static size_t mux_room(const struct exchange *x)
{
    return mux_stream_room(mux_exchange_of_x(x));
}

/* The answer to an extended CONNECT; `:protocol` has named what is spoken. */
static enum err mux_tunnel(struct exchange *x, struct str protocol,
                           const struct http_fields *fields)
{
    struct mux_exchange *e = mux_exchange_of_x(x);
    const struct response_head head = {.status = 200, .fields = *fields};
    const struct mux_response response = {
        .head = &head,
        .body_bytes = MUX_LENGTH_UNKNOWN,
        .date = mux_date(x, fields),
        .has_body = true,
    };
    (void)protocol;
    enum err err = mux_respond(e->conn->session, &e->stream, &response);
    if (!err) {
        e->is_tunnel = true;
        e->conn->tunnel_count++;
    }
    mux_conn_wake(e->conn);
    return err;
}

#define MUX_PROTOCOL(number, longest_datagram_fn, send_datagram_fn)                                \
    {                                                                                              \
        .version = (number), .read_body = mux_read_body, .respond = mux_respond_head,              \
        .respond_ready = mux_respond_ready, .send_chunk = mux_send_chunk,                          \
        .send_bytes = mux_send_bytes, .send_interim = mux_send_interim,                            \
        .send_file = mux_send_file, .send_trailers = mux_send_trailers, .finish = mux_finish,      \
        .reset = mux_reset_exchange, .room = mux_room, .tunnel = mux_tunnel,                       \
        .datagram_bytes_max = (longest_datagram_fn), .send_datagram = (send_datagram_fn)           \
    }

const struct exchange_protocol mux_protocol_20 = MUX_PROTOCOL(HTTP_VERSION_20, NULL, NULL);
const struct exchange_protocol mux_protocol_30 =
    MUX_PROTOCOL(HTTP_VERSION_30, h3_conn_datagram_bytes_max, h3_conn_send_datagram);

/* ---- all streams of a connection ---- */

void mux_conn_wake(struct mux_conn *c)
{
    if (!c->is_running) {
        loop_defer(c->conn.server->loop, &c->settle_task);
    }
}

void mux_conn_hit(const struct mux_conn *c, enum server_limit limit)
{
    c->conn.server->hooks.on_limit(c->conn.server->hooks.context, limit);
}

struct mux_limits mux_conn_limits(const struct server *s)
{
    return (struct mux_limits){.header_bytes_max = s->limits.header_bytes_max,
                               .header_count_max = s->limits.header_count_max,
                               .uri_bytes_max = s->limits.uri_bytes_max,
                               .stream_count_max = s->limits.stream_count_max,
                               .has_connect_protocol = s->limits.has_connect_protocol};
}

void mux_conn_end_streams(struct mux_conn *c, enum err cause)
{
    struct list *streams = &c->session->streams;
    while (!list_is_empty(streams)) {
        struct mux_stream *stream = CONTAINER_OF(streams->next, struct mux_stream, link);
        list_remove(&stream->link);
        mux_stream_end(mux_exchange_of(stream), cause);
    }
}

void mux_conn_drain_streams(struct mux_conn *c)
{
    /* A stream ends by events of the session only, so none leaves the list meanwhile. */
    LIST_FOR_EACH(at, &c->session->streams)
    {
        struct mux_exchange *e = mux_exchange_of(CONTAINER_OF(at, struct mux_stream, link));
        if (!mux_stream_is_dropping(e)) {
            exchange_drain(&e->x);
        }
    }
}

/* Whether the peer is waited for. */
static bool mux_stream_is_reading(const struct mux_exchange *e)
{
    return !e->stream.is_body_done && (e->wants_body || e->x.phase == EXCHANGE_FINISHED);
}

bool mux_conn_is_rated(const struct mux_conn *c, bool is_blocked)
{
    if (c->conn.server->limits.min_rate_bytes_per_s == 0) {
        return false;
    }
    if (is_blocked) {
        return c->tunnel_count == 0 || c->tunnel_count < c->session->stream_count;
    }
    LIST_FOR_EACH(at, &c->session->streams)
    {
        const struct mux_exchange *e = mux_exchange_of(CONTAINER_OF(at, struct mux_stream, link));
        if (!e->is_tunnel && mux_stream_is_reading(e)) {
            return true;
        }
    }
    return false;
}

/* When a tunnel has been silent for too long, both ways. */
static uint64_t mux_tunnel_deadline(const struct mux_exchange *e)
{
    uint64_t since = e->read_ms > e->write_ms ? e->read_ms : e->write_ms;
    bool is_waiting = e->wants_body && !e->stream.is_body_done;
    return is_waiting ? since + e->conn->conn.server->limits.tunnel_idle_ms : UINT64_MAX;
}

/* When the stream has waited too long for the peer; UINT64_MAX: it does not wait. */
static uint64_t mux_stream_deadline(const struct mux_exchange *e, uint64_t writable_ms,
                                    enum server_limit *ret_limit)
{
    const struct server_limits *limits = &e->conn->conn.server->limits;
    uint64_t deadline = UINT64_MAX;
    if (e->stream.is_answered) {
        *ret_limit = SERVER_LIMIT_READ_TIME;
        return e->read_ms + MUX_LINGER_MS;
    }
    if (e->is_tunnel) {
        *ret_limit = SERVER_LIMIT_TUNNEL_TIME;
        deadline = mux_tunnel_deadline(e);
    } else if (mux_stream_is_reading(e)) {
        *ret_limit = SERVER_LIMIT_READ_TIME;
        deadline = e->read_ms + limits->read_idle_ms;
    }
    /* Where the whole connection is full, all wait for the same. */
    if (e->out && writable_ms != UINT64_MAX) {
        uint64_t since = e->write_ms > writable_ms ? e->write_ms : writable_ms;
        if (since + limits->write_idle_ms < deadline) {
            *ret_limit = SERVER_LIMIT_WRITE_TIME;
            deadline = since + limits->write_idle_ms;
        }
    }
    return deadline;
}

uint64_t mux_conn_expire_streams(struct mux_conn *c, uint64_t now, uint64_t writable_ms)
{
    uint64_t next = UINT64_MAX;
    c->has_dropping = false;
    LIST_FOR_EACH(at, &c->session->streams)
    {
        struct mux_exchange *e = mux_exchange_of(CONTAINER_OF(at, struct mux_stream, link));
        enum server_limit limit;
        if (e->stream.is_resetting) {
            continue;
        }
        uint64_t deadline = mux_stream_deadline(e, writable_ms, &limit);
        if (deadline > now) {
            next = deadline < next ? deadline : next;
            c->has_dropping |= e->stream.is_answered;
        } else if (e->stream.is_answered) {
            mux_reset(c->session, &e->stream, MUX_RESET_NO_ERROR);
        } else {
            mux_conn_hit(c, limit);
            e->cause = ERR_TIMEOUT;
            mux_reset(c->session, &e->stream, MUX_RESET_CANCEL);
        }
    }
    return next;
}

uint64_t mux_conn_wait_ms(const struct mux_conn *c)
{
    const struct server_limits *limits = &c->conn.server->limits;
    uint64_t wait =
        limits->read_idle_ms < limits->write_idle_ms ? limits->read_idle_ms : limits->write_idle_ms;
    if (c->has_dropping && wait > MUX_LINGER_MS) {
        wait = MUX_LINGER_MS;
    }
    if (limits->min_rate_bytes_per_s && wait > MUX_RATE_WINDOW_MS) {
        wait = MUX_RATE_WINDOW_MS;
    }
    if (c->tunnel_count && wait > limits->tunnel_idle_ms) {
        wait = limits->tunnel_idle_ms;
    }
    return wait;
}

bool mux_conn_is_too_slow(struct mux_conn *c, bool is_rated, uint64_t now)
{
    uint64_t rate = c->conn.server->limits.min_rate_bytes_per_s;
    if (!is_rated) {
        c->window_ms = 0;
        return false;
    }
    if (!c->window_ms || now - c->window_ms < MUX_RATE_WINDOW_MS) {
        c->window_ms = c->window_ms ? c->window_ms : now;
        return false;
    }
    bool is_slow = c->window_bytes < rate * (now - c->window_ms) / 1000;
    c->window_ms = now;
    c->window_bytes = 0;
    return is_slow;
}
