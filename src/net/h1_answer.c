/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP/1.x connection as the protocol of its exchanges: answers turned into output. */
#include "net/h1_conn_int.h"

#include "base/assert.h"
#include "http/date.h"
#include "http/h1_write.h"

static struct h1_stream *h1_stream_of(const struct exchange *x)
{
    return CONTAINER_OF(x, struct h1_stream, x);
}

/* Outside of the connection's own callbacks, output is written at the end of the turn. What
 * on_room adds waits for the next turn, so that no download starves others. */
static void h1_output_schedule(struct h1_conn *c)
{
    if (!c->is_feeding && !c->is_flushing) {
        loop_defer(c->conn.server->loop, &c->settle_task);
    }
}

static void h1_read_body(struct exchange *x)
{
    struct h1_stream *s = h1_stream_of(x);
    bool is_first = !s->has_asked_body;
    s->has_asked_body = true;
    s->wants_body = true;
    if (s->is_body_done) {
        if (is_first && x->service->on_body_end) {
            x->service->on_body_end(x);
        }
        return;
    }
    if (is_first && s->request.expect_continue && s->body_seen == 0 && x->phase == EXCHANGE_OPEN) {
        /* Out of memory: the client goes on without it after a while, or meets the time limit. */
        enum err ignored = h1_output_raw(s->conn, STR("HTTP/1.1 100 Continue\r\n\r\n"));
        (void)ignored;
    }
    if (!s->conn->is_feeding) {
        loop_defer(s->conn->conn.server->loop, &s->conn->settle_task);
    }
}

/* Whether the connection can be used after this answer, as far as the request body goes: a body
 * that the service did not ask for must be short enough to be worth reading. */
static void h1_decide_close(struct h1_stream *s)
{
    if (!s->is_body_done && !s->has_asked_body &&
        (s->request.expect_continue || s->body_left > H1_DRAIN_BYTES_MAX)) {
        s->must_close = true;
        s->conn->needs_linger = true;
    }
    if (s->conn->is_closing || s->conn->conn.server->is_draining) {
        s->must_close = true;
        s->conn->needs_linger = true; /* the client may have sent more already */
    }
}

static void h1_write_framing(struct h1_stream *s, struct buf *out, uint16_t status,
                             uint64_t body_bytes)
{
    bool is_11 = s->x.protocol->version == HTTP_VERSION_11;
    s->is_chunked_out = false;
    if (http_status_has_content(status)) {
        if (body_bytes != EXCHANGE_LENGTH_UNKNOWN) {
            buf_add_str(out, STR("Content-Length: "));
            buf_add_u64(out, body_bytes);
            buf_add_str(out, STR("\r\n"));
        } else if (is_11) {
            s->is_chunked_out = true;
            buf_add_str(out, STR("Transfer-Encoding: chunked\r\n"));
        } else {
            s->must_close = true;
        }
    }
    if (status == 426) {
        buf_add_str(out, STR("Connection: Upgrade\r\n")); /* RFC 9110 7.8 */
    }
    if (s->must_close) {
        buf_add_str(out, STR("Connection: close\r\n"));
    } else if (!is_11) {
        buf_add_str(out, STR("Connection: keep-alive\r\n"));
    }
}

static enum err h1_write_head(struct h1_stream *s, const struct response_head *head,
                              uint64_t body_bytes, struct buf *out)
{
    enum err e = h1_write_response(out, head);
    if (e) {
        return e;
    }
    out->n -= 2; /* the empty line comes behind ours */
    if (head->fields.n == 0 || !http_fields_get(&head->fields, HTTP_FIELD_DATE)) {
        buf_add_str(out, STR("Date: "));
        buf_add(out, server_date(s->conn->conn.server), HTTP_DATE_BYTES);
        buf_add_str(out, STR("\r\n"));
    }
    h1_write_framing(s, out, head->status, body_bytes);
    buf_add_str(out, STR("\r\n"));
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}

static enum err h1_respond(struct exchange *x, const struct response_head *head,
                           uint64_t body_bytes)
{
    struct h1_stream *s = h1_stream_of(x);
    struct buf *out = &s->conn->conn.server->output;
    size_t room = body_bytes <= H1_SMALL_BYTES_MAX ? (size_t)body_bytes : 0;
    h1_decide_close(s);
    buf_clear(out);
    enum err e = h1_write_head(s, head, body_bytes, out);
    if (!e) {
        e = h1_output_begin(s->conn, buf_str(out), x->is_head_only ? 0 : room);
    }
    if (!e) {
        h1_output_schedule(s->conn);
    }
    return e;
}

/* Makes the encoded form: head and body in one piece. */
static enum err h1_ready_encode(struct h1_stream *s, struct exchange_ready *ready)
{
    const struct response_head head = {ready->status, ready->fields};
    struct buf out;
    buf_init(&out, 0);
    enum err e = h1_write_head(s, &head, ready->body_bytes, &out);
    if (!e) {
        const char *date = memmem(out.p, out.n, "\r\nDate: ", 8);
        ready->date_at = (uint32_t)(date - out.p) + 8;
        ready->head_bytes = (uint32_t)out.n;
        ready->date_s = s->conn->conn.server->date_s;
        if (ready->body) {
            buf_add(&out, ready->body->data, ready->body->n);
        }
        ready->encoded = out.is_failed ? NULL : chunk_from(buf_str(&out));
        e = ready->encoded ? ERR_OK : ERR_NOMEM;
    }
    buf_done(&out);
    return e;
}

static enum err h1_ready_refresh(struct h1_stream *s, struct exchange_ready *ready)
{
    struct server *server = s->conn->conn.server;
    const char *date = server_date(server);
    if (ready->date_s == server->date_s) {
        return ERR_OK;
    }
    if (ready->encoded->ref_count > 1) {
        /* Someone is in the middle of sending the old second. */
        struct chunk *copy = chunk_from(str_make(ready->encoded->data, ready->encoded->n));
        if (!copy) {
            return ERR_NOMEM;
        }
        chunk_unref(ready->encoded);
        ready->encoded = copy;
    }
    memcpy(ready->encoded->data + ready->date_at, date, HTTP_DATE_BYTES);
    ready->date_s = server->date_s;
    return ERR_OK;
}

static enum err h1_respond_ready(struct exchange *x, struct exchange_ready *ready)
{
    struct h1_stream *s = h1_stream_of(x);
    h1_decide_close(s);
    if (s->must_close || x->protocol->version != HTTP_VERSION_11) {
        const struct response_head head = {ready->status, ready->fields};
        struct h1_piece **tail = s->conn->out_tail;
        enum err e = h1_respond(x, &head, ready->body_bytes);
        if (!e && !x->is_head_only && ready->body && ready->body->n) {
            e = h1_output_chunk(s->conn, ready->body, 0, ready->body->n);
            if (e) {
                h1_output_take_back(s->conn, tail); /* the service may answer otherwise */
            }
        }
        return e;
    }
    enum err e = ready->encoded ? h1_ready_refresh(s, ready) : h1_ready_encode(s, ready);
    if (!e) {
        size_t n = x->is_head_only ? ready->head_bytes : ready->encoded->n;
        e = h1_output_chunk(s->conn, ready->encoded, 0, n);
    }
    if (!e) {
        h1_output_schedule(s->conn);
    }
    return e;
}

static void h1_send_interim(struct exchange *x, uint16_t status, const struct http_fields *fields)
{
    struct h1_stream *s = h1_stream_of(x);
    struct buf out;
    buf_init(&out, 0);
    enum err e = h1_write_interim(&out, status, fields);
    if (!e) {
        e = h1_output_raw(s->conn, buf_str(&out));
    }
    buf_done(&out);
    if (!e) {
        h1_output_schedule(s->conn);
    }
}

static enum err h1_begin_chunk(struct h1_stream *s, uint64_t n)
{
    char head[H1_CHUNK_HEAD_BYTES];
    return h1_output_add(s->conn, str_make(head, h1_chunk_head(n, head)));
}

static enum err h1_send_chunk(struct exchange *x, struct chunk *c, size_t offset, size_t n)
{
    struct h1_stream *s = h1_stream_of(x);
    enum err e = s->is_chunked_out ? h1_begin_chunk(s, n) : ERR_OK;
    if (!e) {
        e = h1_output_chunk(s->conn, c, offset, n);
    }
    if (!e && s->is_chunked_out) {
        e = h1_output_add(s->conn, STR("\r\n"));
    }
    h1_output_schedule(s->conn);
    return e;
}

static enum err h1_send_bytes(struct exchange *x, struct str bytes)
{
    struct h1_stream *s = h1_stream_of(x);
    enum err e = s->is_chunked_out ? h1_begin_chunk(s, bytes.n) : ERR_OK;
    e = e ? e : h1_output_offer(s->conn, bytes);
    if (!e && s->is_chunked_out) {
        e = h1_output_add(s->conn, STR("\r\n"));
    }
    h1_output_schedule(s->conn);
    return e;
}

static enum err h1_send_file(struct exchange *x, struct exchange_file *f, uint64_t offset,
                             uint64_t n)
{
    struct h1_stream *s = h1_stream_of(x);
    enum err e = s->is_chunked_out ? h1_begin_chunk(s, n) : ERR_OK;
    if (e) {
        return e;
    }
    struct h1_piece *piece = h1_output_piece(s->conn);
    if (!piece) {
        return ERR_NOMEM;
    }
    piece->file = exchange_file_ref(f);
    piece->offset = offset;
    piece->n = n;
    if (s->is_chunked_out) {
        e = h1_output_add(s->conn, STR("\r\n"));
    }
    h1_output_schedule(s->conn);
    return e;
}

static enum err h1_send_trailers(struct exchange *x, const struct http_fields *trailers)
{
    struct h1_stream *s = h1_stream_of(x);
    const struct http_fields *asked = &x->request->fields;
    if (!s->is_chunked_out || !http_fields_has_token(asked, HTTP_FIELD_TE, STR("trailers"))) {
        return ERR_OK;
    }
    return h1_chunk_end(&s->ending, trailers);
}

static void h1_finish(struct exchange *x)
{
    struct h1_stream *s = h1_stream_of(x);
    struct h1_conn *c = s->conn;
    struct str ending = s->ending.n ? buf_str(&s->ending) : STR("0\r\n\r\n");
    if (s->is_chunked_out && !x->is_head_only && h1_output_add(c, ending) != ERR_OK) {
        h1_conn_kill(c, ERR_NOMEM);
        return;
    }
    struct h1_piece *last = h1_output_last(c);
    if (last) {
        last->ends = s;
    }
    if (!s->is_body_done && s->must_close) {
        /* The connection ends behind this answer: the rest of the body need not be decoded. */
        s->is_body_done = true;
        c->needs_linger = true;
    }
    if (!c->is_feeding) {
        h1_input_check_done(c);
        loop_defer(c->conn.server->loop, &c->settle_task);
    }
}

static void h1_reset(struct exchange *x, enum err cause)
{
    struct h1_stream *s = h1_stream_of(x);
    transport_break(&s->conn->conn.transport);
    h1_conn_kill(s->conn, cause);
}

static size_t h1_room(const struct exchange *x)
{
    const struct h1_conn *c = h1_stream_of(x)->conn;
    return c->out_bytes < H1_OUT_BYTES_MAX ? H1_OUT_BYTES_MAX - c->out_bytes : 0;
}

static enum err h1_tunnel(struct exchange *x, struct str protocol, const struct http_fields *fields)
{
    struct h1_stream *s = h1_stream_of(x);
    struct buf out;
    if (!s->is_body_done) {
        return ERR_UNSUPPORTED;
    }
    buf_init(&out, 0);
    buf_printf(
        &out, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " STR_FMT "\r\n",
        STR_ARG(protocol));
    enum err e = h1_write_fields(&out, fields);
    buf_add_str(&out, STR("\r\n"));
    e = !e && out.is_failed ? ERR_NOMEM : e;
    if (!e) {
        e = h1_output_raw(s->conn, buf_str(&out));
    }
    buf_done(&out);
    if (!e) {
        s->is_tunnel = true;
        s->is_body_done = false;
        s->has_asked_body = false;
        s->wants_body = false;
        s->must_close = true;
        h1_output_schedule(s->conn);
    }
    return e;
}

#define H1_PROTOCOL(number, interim_fn, tunnel_fn)                                                 \
    {                                                                                              \
        .version = (number), .read_body = h1_read_body, .respond = h1_respond,                     \
        .respond_ready = h1_respond_ready, .send_chunk = h1_send_chunk,                            \
        .send_bytes = h1_send_bytes, .send_file = h1_send_file, .send_trailers = h1_send_trailers, \
        .finish = h1_finish, .reset = h1_reset, .room = h1_room, .send_interim = (interim_fn),     \
        .tunnel = (tunnel_fn)                                                                      \
    }

const struct exchange_protocol h1_protocol_10 = H1_PROTOCOL(HTTP_VERSION_10, NULL, NULL);
const struct exchange_protocol h1_protocol_11 =
    H1_PROTOCOL(HTTP_VERSION_11, h1_send_interim, h1_tunnel);
