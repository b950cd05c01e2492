/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "base/mem.h"
#include "net/h2_conn_int.h"
#include "os/file.h"

static struct h2_exchange *h2_exchange_of_x(const struct exchange *x)
{
    return CONTAINER_OF((struct exchange *)(uintptr_t)x, struct h2_exchange, x);
}

/* ---- the queue of a stream ---- */

static void h2_piece_drop(struct h2_exchange *e)
{
    struct h2_piece *piece = e->out;
    e->out = piece->next;
    if (!e->out) {
        e->stream.first_fields = e->fields;
        e->stream.first_field_count = COUNT_OF(e->fields);
        e->stream.first_bytes = e->bytes;
        e->stream.first_byte_count = sizeof(e->bytes);
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

static struct h2_piece *h2_piece_add(struct h2_exchange *e, uint64_t offset, uint64_t n)
{
    struct h2_piece *piece = slab_alloc(&e->conn->conn.server->piece_slab);
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

static enum err h2_queue_chunk(struct h2_exchange *e, struct chunk *c, size_t offset, size_t n)
{
    struct h2_piece *piece = h2_piece_add(e, offset, n);
    if (!piece) {
        return ERR_NOMEM;
    }
    piece->chunk = chunk_ref(c);
    e->out_bytes += n;
    e->conn->out_bytes += n;
    return ERR_OK;
}

/* Something is new to be sent. */
static void h2_stream_push(struct h2_exchange *e)
{
    h2_session_resume(e->conn->session, &e->stream);
    h2_conn_wake(e->conn);
}

static size_t h2_stream_room(const struct h2_exchange *e)
{
    struct h2_conn *c = e->conn;
    if (c->out_bytes >= H2_CONN_ROOM_MAX_BYTES) {
        c->has_starved = true;
        return 0;
    }
    size_t max =
        c->out_bytes < H2_CONN_ROOM_BYTES ? H2_STREAM_ROOM_BYTES : H2_STREAM_ROOM_MIN_BYTES;
    return e->out_bytes < max ? max - e->out_bytes : 0;
}

static void h2_stream_do(struct h2_exchange *e)
{
    if (list_is_empty(&e->todo)) {
        list_push_back(&e->conn->todo, &e->todo);
    }
    h2_conn_wake(e->conn);
}

/* ---- events of the session ---- */

static struct h2_stream *h2_on_stream(void *context)
{
    struct h2_conn *c = context;
    struct h2_exchange *e = slab_alloc(&c->conn.server->h2_stream_slab);
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

static void h2_stream_tell_end(struct h2_exchange *e, enum err cause)
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
static void h2_stream_refuse_body(struct h2_exchange *e)
{
    struct server *s = e->conn->conn.server;
    s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_BODY);
    e->cause = ERR_LIMIT;
    if (e->x.phase != EXCHANGE_OPEN) {
        h2_session_reset(e->conn->session, &e->stream, H2_CANCEL);
        return;
    }
    const struct response_head head = {.status = 413};
    const struct h2_response response = {.head = &head, .date = server_date(s)};
    s->hooks.on_refused(s->hooks.context, &e->conn->conn.peer, H1_REJECT_NONE, 413);
    h2_stream_tell_end(e, ERR_LIMIT);
    if (h2_session_respond(e->conn->session, &e->stream, &response) != ERR_OK) {
        h2_session_reset(e->conn->session, &e->stream, H2_INTERNAL_ERROR);
    }
}

static void h2_on_request(void *context, struct h2_stream *stream)
{
    struct h2_conn *c = context;
    struct server *s = c->conn.server;
    struct h2_exchange *e = h2_exchange_of(stream);
    struct exchange *x = &e->x;
    x->magic = EXCHANGE_MAGIC;
    x->protocol = &h2_protocol;
    x->server = s;
    x->request = &stream->head;
    x->peer = &c->conn.peer;
    x->is_head_only = stream->head.method == HTTP_HEAD;
    x->request_body_bytes = stream->content_length;
    x->start_ns = loop_now_ns(s->loop);
    x->arena = stream->arena;
    arena_init(&stream->arena, 256, 0);
    e->read_ms = loop_now_ms(s->loop);
    if (stream->content_length != H2_LENGTH_UNKNOWN &&
        stream->content_length > s->limits.body_bytes_max) {
        h2_stream_refuse_body(e);
        return;
    }
    e->is_alive = true;
    s->hooks.on_exchange(s->hooks.context, x);
}

static bool h2_stream_is_dropping(const struct h2_exchange *e)
{
    return !e->is_alive || e->x.phase == EXCHANGE_FINISHED || e->stream.is_resetting;
}

static void h2_on_body(void *context, struct h2_stream *stream, const char *bytes, size_t n)
{
    struct h2_conn *c = context;
    struct h2_exchange *e = h2_exchange_of(stream);
    e->read_ms = loop_now_ms(c->conn.server->loop);
    c->window_bytes += n;
    if (!h2_stream_is_dropping(e) && e->stream.body_bytes > c->conn.server->limits.body_bytes_max) {
        h2_stream_refuse_body(e);
    }
    if (h2_stream_is_dropping(e)) {
        h2_session_consume(c->session, stream, n);
    } else if (e->wants_body && e->in.n == 0) {
        e->wants_body = false;
        e->x.service->on_body(&e->x, bytes, n);
        h2_session_consume(c->session, stream, n);
    } else {
        buf_add(&e->in, bytes, n);
        if (e->in.is_failed) {
            e->cause = ERR_NOMEM;
            h2_session_reset(c->session, stream, H2_INTERNAL_ERROR);
        }
    }
}

static void h2_stream_check_body_end(struct h2_exchange *e)
{
    if (e->stream.is_body_done && e->in.n == 0 && e->has_asked_body && !e->has_body_ended &&
        !h2_stream_is_dropping(e)) {
        e->has_body_ended = true;
        if (e->x.service->on_body_end) {
            e->x.service->on_body_end(&e->x);
        }
    }
}

static void h2_on_body_end(void *context, struct h2_stream *stream)
{
    (void)context;
    h2_stream_check_body_end(h2_exchange_of(stream));
}

static void h2_on_answered(void *context, struct h2_stream *stream)
{
    struct h2_conn *c = context;
    struct h2_exchange *e = h2_exchange_of(stream);
    if (!stream->is_body_done) {
        e->read_ms = loop_now_ms(c->conn.server->loop);
        c->has_dropping = true;
    }
    h2_stream_tell_end(e, e->cause);
}

static void h2_on_stream_end(void *context, struct h2_stream *stream, enum err cause)
{
    struct h2_conn *c = context;
    struct h2_exchange *e = h2_exchange_of(stream);
    h2_session_consume(c->session, NULL, e->in.n);
    h2_stream_end(e, e->cause ? e->cause : cause);
    if (h2_session_stream_count(c->session) == 0) {
        c->activity_ms = loop_now_ms(c->conn.server->loop); /* idle from here on */
    }
}

void h2_stream_end(struct h2_exchange *e, enum err cause)
{
    struct server *s = e->conn->conn.server;
    list_remove(&e->todo);
    h2_stream_tell_end(e, cause);
    while (e->out) {
        h2_piece_drop(e);
    }
    e->x.magic = 0;
    buf_done(&e->in);
    arena_done(&e->x.arena);
    arena_done(&e->stream.arena);
    slab_free(&s->h2_stream_slab, e);
}

static size_t h2_on_offer(void *context, struct h2_stream *stream, size_t n, bool *ret_is_last)
{
    struct h2_exchange *e = h2_exchange_of(stream);
    size_t offered = 0;
    (void)context;
    const struct h2_piece *piece = e->out;
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

static enum err h2_take_file(struct h2_piece *piece, struct buf *out, size_t n)
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

static enum err h2_on_take(void *context, struct h2_stream *stream, struct buf *out, size_t n)
{
    struct h2_conn *c = context;
    struct h2_exchange *e = h2_exchange_of(stream);
    while (n > 0) {
        struct h2_piece *piece = e->out;
        ASSERT(piece);
        size_t step = piece->n < n ? (size_t)piece->n : n;
        if (piece->chunk) {
            buf_add(out, piece->chunk->data + piece->offset, step);
            e->out_bytes -= step;
            c->out_bytes -= step;
        } else {
            enum err err = h2_take_file(piece, out, step);
            if (err) {
                e->cause = err;
                return err;
            }
        }
        piece->offset += step;
        piece->n -= step;
        n -= step;
        if (piece->n == 0) {
            h2_piece_drop(e);
        }
    }
    e->write_ms = loop_now_ms(c->conn.server->loop);
    if (e->x.phase == EXCHANGE_RESPONDED && e->x.service->on_room) {
        e->wants_room = true;
        h2_stream_do(e);
    }
    return ERR_OK;
}

static void h2_on_refused(void *context, enum h1_reject reason, unsigned status)
{
    struct h2_conn *c = context;
    struct server *s = c->conn.server;
    s->hooks.on_refused(s->hooks.context, &c->conn.peer, reason, status);
}

const struct h2_events h2_stream_events = {
    .on_stream = h2_on_stream,
    .on_request = h2_on_request,
    .on_body = h2_on_body,
    .on_body_end = h2_on_body_end,
    .on_answered = h2_on_answered,
    .on_stream_end = h2_on_stream_end,
    .on_offer = h2_on_offer,
    .on_take = h2_on_take,
    .on_refused = h2_on_refused,
};

static void h2_stream_give_body(struct h2_exchange *e)
{
    struct buf in = e->in;
    buf_init(&e->in, 0);
    e->wants_body = false;
    e->x.service->on_body(&e->x, in.p, in.n);
    h2_session_consume(e->conn->session, &e->stream, in.n);
    buf_done(&in);
}

/* Those that found no room ask again. */
static void h2_stream_feed_starved(struct h2_conn *c)
{
    if (!c->has_starved || c->out_bytes >= H2_CONN_ROOM_BYTES) {
        return;
    }
    c->has_starved = false;
    LIST_FOR_EACH(at, h2_session_streams(c->session))
    {
        struct h2_exchange *e = h2_exchange_of(CONTAINER_OF(at, struct h2_stream, link));
        if (e->x.phase == EXCHANGE_RESPONDED && e->is_alive && e->x.service->on_room) {
            e->wants_room = true;
            h2_stream_do(e);
        }
    }
}

void h2_stream_run_todo(struct h2_conn *c)
{
    h2_stream_feed_starved(c);
    struct list todo;
    list_init(&todo);
    list_splice(&todo, &c->todo);
    while (!list_is_empty(&todo)) {
        struct h2_exchange *e = CONTAINER_OF(todo.next, struct h2_exchange, todo);
        list_remove(&e->todo);
        if (!h2_stream_is_dropping(e) && e->wants_body && e->in.n) {
            h2_stream_give_body(e);
        }
        h2_stream_check_body_end(e);
        if (e->wants_room && e->x.phase == EXCHANGE_RESPONDED && !e->stream.is_resetting &&
            h2_stream_room(e) > 0) {
            e->wants_room = false;
            e->x.service->on_room(&e->x);
        }
    }
}

/* ---- the protocol of an exchange ---- */

static void h2_read_body(struct exchange *x)
{
    struct h2_exchange *e = h2_exchange_of_x(x);
    bool is_first = !e->has_asked_body;
    e->has_asked_body = true;
    e->wants_body = true;
    e->read_ms = loop_now_ms(e->conn->conn.server->loop);
    if (is_first) {
        if (e->stream.expect_continue && e->stream.body_bytes == 0 && x->phase == EXCHANGE_OPEN) {
            h2_session_continue(e->conn->session, &e->stream);
        }
        h2_stream_check_body_end(e);
    }
    if (e->in.n) {
        h2_stream_do(e);
    } else {
        h2_conn_wake(e->conn);
    }
}

static enum err h2_respond_checked(struct exchange *x, const struct response_head *head,
                                   uint64_t body_bytes, bool is_checked)
{
    struct h2_exchange *e = h2_exchange_of_x(x);
    struct h2_response response = {
        .head = head,
        .body_bytes = body_bytes == EXCHANGE_LENGTH_UNKNOWN ? H2_LENGTH_UNKNOWN : body_bytes,
        .date = server_date(x->server),
        .has_body = body_bytes != 0 && !x->is_head_only && http_status_has_content(head->status),
        .is_checked = is_checked,
    };
    enum err err = h2_session_respond(e->conn->session, &e->stream, &response);
    h2_conn_wake(e->conn);
    return err;
}

static enum err h2_respond(struct exchange *x, const struct response_head *head,
                           uint64_t body_bytes)
{
    return h2_respond_checked(x, head, body_bytes, false);
}

static enum err h2_respond_ready(struct exchange *x, struct exchange_ready *ready)
{
    struct h2_exchange *e = h2_exchange_of_x(x);
    const struct response_head head = {ready->status, ready->fields};
    bool has_body = ready->body && ready->body->n && !x->is_head_only;
    enum err err = has_body ? h2_queue_chunk(e, ready->body, 0, ready->body->n) : ERR_OK;
    if (!err) {
        err = h2_respond_checked(x, &head, ready->body_bytes, ready->is_checked);
        ready->is_checked |= !err;
        if (err && has_body) {
            h2_piece_drop(e); /* the service may answer otherwise */
        }
    }
    return err;
}

static enum err h2_send_chunk(struct exchange *x, struct chunk *c, size_t offset, size_t n)
{
    struct h2_exchange *e = h2_exchange_of_x(x);
    enum err err = h2_queue_chunk(e, c, offset, n);
    h2_stream_push(e);
    return err;
}

static enum err h2_send_file(struct exchange *x, struct exchange_file *f, uint64_t offset,
                             uint64_t n)
{
    struct h2_exchange *e = h2_exchange_of_x(x);
    struct h2_piece *piece = h2_piece_add(e, offset, n);
    if (!piece) {
        return ERR_NOMEM;
    }
    piece->file = exchange_file_ref(f);
    h2_stream_push(e);
    return ERR_OK;
}

static void h2_finish(struct exchange *x)
{
    struct h2_exchange *e = h2_exchange_of_x(x);
    e->is_out_done = true;
    if (e->in.n) {
        h2_session_consume(e->conn->session, &e->stream, e->in.n);
        buf_done(&e->in);
        buf_init(&e->in, 0);
    }
    h2_stream_push(e);
}

static void h2_reset(struct exchange *x, enum err cause)
{
    struct h2_exchange *e = h2_exchange_of_x(x);
    if (!e->stream.is_resetting) {
        e->cause = cause;
    }
    h2_session_reset(e->conn->session, &e->stream, H2_INTERNAL_ERROR);
    h2_conn_wake(e->conn);
}

static size_t h2_room(const struct exchange *x)
{
    return h2_stream_room(h2_exchange_of_x(x));
}

const struct exchange_protocol h2_protocol = {
    .version = HTTP_VERSION_20,
    .read_body = h2_read_body,
    .respond = h2_respond,
    .respond_ready = h2_respond_ready,
    .send_chunk = h2_send_chunk,
    .send_file = h2_send_file,
    .finish = h2_finish,
    .reset = h2_reset,
    .room = h2_room,
};
