/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "net/client_h2_int.h"

static struct client_h2_stream *client_h2_stream_of(struct mux_stream *stream)
{
    return CONTAINER_OF(stream, struct client_h2_stream, stream);
}

static struct client_h2_conn *client_h2_conn_now(const struct client_h2_exchange *e)
{
    return client_h2_conn_of(e->x.conn);
}

void client_h2_add_todo(struct client_h2_exchange *e)
{
    if (list_is_empty(&e->todo) && e->x.conn) {
        list_push_back(&client_h2_conn_now(e)->todo, &e->todo);
        client_conn_schedule(e->x.conn);
    }
}

/* ---- streams ---- */

void client_h2_stream_free(struct client_h2_stream *s)
{
    arena_done(&s->stream.arena);
    slab_free(&s->conn->c.client->h2_streams, s);
}

void client_h2_detach(struct client_h2_exchange *e)
{
    struct client_h2_stream *s = e->s;
    if (s) {
        e->s = NULL;
        s->e = NULL;
        if (s->is_gone) {
            client_h2_stream_free(s);
        }
    }
}

enum err client_h2_open(struct client_h2_exchange *e)
{
    struct client_h2_conn *hc = client_h2_conn_now(e);
    struct client_h2_stream *s = slab_alloc(&hc->c.client->h2_streams);
    if (!s) {
        return ERR_NOMEM;
    }
    s->conn = hc;
    s->stream.first_fields = s->fields;
    s->stream.first_field_count = CLIENT_H2_FIELDS_FIRST;
    s->stream.first_bytes = s->bytes;
    s->stream.first_byte_count = CLIENT_H2_BYTES_FIRST;
    enum err err = h2_session_request(hc->session, &e->request, &s->stream);
    if (err) {
        slab_free(&hc->c.client->h2_streams, s);
        return err;
    }
    s->e = e;
    e->s = s;
    e->x.has_sent = true;
    client_exchange_touch(&e->x);
    if (e->trailers.n && mux_trailers(&s->stream, &e->trailers) != ERR_OK) {
        return ERR_NOMEM;
    }
    client_h2_add_todo(e); /* there is room now */
    return ERR_OK;
}

/* ---- the body of the request ---- */

static size_t client_h2_queued(const struct client_h2_exchange *e)
{
    return e->out.n - e->out_at;
}

/* What was sent is not needed any more. */
static void client_h2_drop_sent(struct client_h2_exchange *e)
{
    if (!e->keeps_out && e->out_at > 0 && e->out_at >= client_h2_queued(e)) {
        buf_consume(&e->out, e->out_at);
        e->out_at = 0;
    }
}

/* Nobody reads it any more. */
static bool client_h2_is_unheard(const struct client_h2_exchange *e)
{
    return e->s && (e->s->is_gone || e->s->stream.is_resetting);
}

enum err client_h2_send(struct client_exchange *x, struct str bytes)
{
    struct client_h2_exchange *e = client_h2_exchange_of(x);
    if (x->phase != CLIENT_TUNNEL && e->request.body_bytes != MUX_LENGTH_UNKNOWN) {
        if (bytes.n > e->send_left) {
            return ERR_SYNTAX;
        }
        e->send_left -= bytes.n;
    }
    if (client_h2_is_unheard(e)) {
        return ERR_OK;
    }
    e->keeps_out = e->keeps_out && e->out.n + bytes.n <= CLIENT_H2_REPLAY_BYTES_MAX;
    client_h2_drop_sent(e);
    if (client_h2_queued(e) == 0) {
        client_exchange_touch(x);
    }
    buf_add_str(&e->out, bytes);
    if (e->out.is_failed) {
        return ERR_NOMEM;
    }
    if (e->s) {
        h2_session_resume(client_h2_conn_now(e)->session, &e->s->stream);
    }
    client_conn_schedule(x->conn);
    return ERR_OK;
}

static enum err client_h2_keep_trailers(struct client_h2_exchange *e,
                                        const struct http_fields *trailers)
{
    struct http_field *v = arena_alloc(&e->arena, trailers->n * sizeof(*v));
    if (!v) {
        return ERR_NOMEM;
    }
    http_fields_init(&e->trailers, v, trailers->n);
    for (unsigned i = 0; i < trailers->n; i++) {
        const struct http_field *f = &trailers->v[i];
        struct str name = arena_str(&e->arena, f->name), value = arena_str(&e->arena, f->value);
        if (!name.p || !value.p) {
            return ERR_NOMEM;
        }
        if (!http_token_is_valid(name) || !http_field_value_is_valid(value)) {
            return ERR_SYNTAX;
        }
        enum err err = http_fields_add(&e->trailers, name, value);
        if (err) {
            return err;
        }
    }
    return ERR_OK;
}

enum err client_h2_finish(struct client_exchange *x, const struct http_fields *trailers)
{
    struct client_h2_exchange *e = client_h2_exchange_of(x);
    bool has_length = x->phase != CLIENT_TUNNEL && e->request.body_bytes != MUX_LENGTH_UNKNOWN;
    if (has_length && e->send_left > 0) {
        return ERR_SYNTAX;
    }
    if (trailers && trailers->n && !has_length) {
        enum err err = client_h2_keep_trailers(e, trailers);
        if (!err && e->s) {
            err = mux_trailers(&e->s->stream, &e->trailers);
        }
        if (err) {
            return err;
        }
    }
    e->is_finished = true;
    if (e->s && !client_h2_is_unheard(e)) {
        h2_session_resume(client_h2_conn_now(e)->session, &e->s->stream);
    }
    return ERR_OK;
}

size_t client_h2_room(const struct client_exchange *x)
{
    const struct client_h2_exchange *e = client_h2_exchange_of(x);
    if (!x->conn || !e->s || client_h2_is_unheard(e) || x->conn->is_deaf) {
        return 0;
    }
    size_t queued = client_h2_queued(e);
    return queued < CLIENT_OUT_BYTES_MAX ? CLIENT_OUT_BYTES_MAX - queued : 0;
}

bool client_h2_is_sending(const struct client_exchange *x)
{
    const struct client_h2_exchange *e = client_h2_exchange_of(x);
    return e->s && !client_h2_is_unheard(e) && client_h2_queued(e) > 0;
}

static size_t client_h2_on_offer(void *context, struct mux_stream *stream, size_t n,
                                 bool *ret_is_last)
{
    const struct client_h2_exchange *e = client_h2_stream_of(stream)->e;
    (void)context;
    if (!e) {
        return 0;
    }
    size_t queued = client_h2_queued(e);
    *ret_is_last = e->is_finished && queued <= n;
    return queued < n ? queued : n;
}

static enum err client_h2_on_take(void *context, struct mux_stream *stream, struct buf *out,
                                  size_t n)
{
    struct client_h2_exchange *e = client_h2_stream_of(stream)->e;
    (void)context;
    buf_add(out, e->out.p + e->out_at, n);
    e->out_at += n;
    client_h2_drop_sent(e);
    client_exchange_touch(&e->x);
    if (!e->x.is_request_done) {
        client_h2_add_todo(e);
    }
    return ERR_OK;
}

/* ---- the answer ---- */

/* All of it was given to the service. */
static void client_h2_complete(struct client_h2_exchange *e)
{
    const struct http_fields *trailers = &e->s->stream.trailers;
    client_h2_leave(e, H2_NO_ERROR);
    client_exchange_end(&e->x, CLIENT_FAULT_NONE, "", trailers->n ? trailers : NULL);
}

/* The upstream's side is whole and was given to the service. */
static void client_h2_on_last(struct client_h2_exchange *e)
{
    struct client_exchange *x = &e->x;
    if (x->phase != CLIENT_TUNNEL) {
        client_h2_complete(e);
        return;
    }
    if (!e->is_tunnel_end_told) {
        bool is_freed = false;
        bool *before = e->ret_is_freed;
        e->is_tunnel_end_told = true;
        e->ret_is_freed = &is_freed;
        x->service->on_tunnel_end(x);
        if (is_freed) {
            if (before) {
                *before = true;
            }
            return;
        }
        e->ret_is_freed = before;
    }
    if (e->s->stream.is_answered || e->s->is_gone) {
        client_h2_complete(e);
    }
}

static void client_h2_interim(struct client_h2_exchange *e)
{
    struct client_exchange *x = &e->x;
    const struct response_head head = {e->s->stream.status, e->s->stream.head.fields};
    if (++x->interim_count > CLIENT_INTERIM_MAX) {
        client_h2_end(e, CLIENT_FAULT_INTERIM, "");
    } else if (x->service->on_interim) {
        x->service->on_interim(x, &head);
    }
}

static void client_h2_on_response(void *context, struct mux_stream *stream)
{
    struct client_h2_exchange *e = client_h2_stream_of(stream)->e;
    (void)context;
    if (!e) {
        return;
    }
    struct client_exchange *x = &e->x;
    x->has_answered = true;
    client_exchange_touch(x);
    e->keeps_out = false;
    client_h2_drop_sent(e);
    if (stream->status < 200) {
        client_h2_interim(e);
        return;
    }
    bool is_tunnel = x->wants_tunnel && stream->status / 100 == 2;
    const struct response_head head = {is_tunnel ? 101 : stream->status, stream->head.fields};
    x->phase = is_tunnel ? CLIENT_TUNNEL : CLIENT_BODY;
    x->is_request_done = x->is_request_done && !is_tunnel;
    x->service->on_head(x, &head,
                        is_tunnel || stream->content_length == MUX_LENGTH_UNKNOWN
                            ? CLIENT_LENGTH_UNKNOWN
                            : stream->content_length);
}

static void client_h2_on_body(void *context, struct mux_stream *stream, const char *bytes, size_t n)
{
    struct client_h2_conn *hc = context;
    struct client_h2_exchange *e = client_h2_stream_of(stream)->e;
    bool is_taken = true;
    if (e) {
        struct client_exchange *x = &e->x;
        client_exchange_touch(x);
        if (x->is_asked && e->unread == 0) {
            x->is_asked = false;
            x->service->on_body(x, str_make(bytes, n));
        } else {
            is_taken = false;
            buf_add(&e->in, bytes, n);
            e->unread += n;
        }
        if (!is_taken && e->in.is_failed) {
            e->unread -= n;
            is_taken = true;
            client_h2_end(e, CLIENT_FAULT_MEMORY, "");
        }
    }
    if (is_taken) {
        h2_session_consume(hc->session, stream, n);
    }
}

static void client_h2_on_body_end(void *context, struct mux_stream *stream)
{
    struct client_h2_exchange *e = client_h2_stream_of(stream)->e;
    (void)context;
    if (e) {
        e->is_whole = true;
        if (e->unread == 0) {
            client_h2_on_last(e);
        }
    }
}

static void client_h2_on_answered(void *context, struct mux_stream *stream)
{
    struct client_h2_exchange *e = client_h2_stream_of(stream)->e;
    (void)context;
    if (e && e->is_tunnel_end_told) {
        client_h2_complete(e);
    }
}

/* ---- how a stream ended ---- */

static const char *client_h2_code_text(uint32_t code)
{
    static const char *const texts[] = {
        "it reset the stream: NO_ERROR",
        "it reset the stream: PROTOCOL_ERROR",
        "it reset the stream: INTERNAL_ERROR",
        "it reset the stream: FLOW_CONTROL_ERROR",
        "it reset the stream: SETTINGS_TIMEOUT",
        "it reset the stream: STREAM_CLOSED",
        "it reset the stream: FRAME_SIZE_ERROR",
        "it reset the stream: REFUSED_STREAM",
        "it reset the stream: CANCEL",
        "it reset the stream: COMPRESSION_ERROR",
        "it reset the stream: CONNECT_ERROR",
        "it reset the stream: ENHANCE_YOUR_CALM",
        "it reset the stream: INADEQUATE_SECURITY",
        "it reset the stream: HTTP_1_1_REQUIRED",
    };
    return code < sizeof(texts) / sizeof(texts[0]) ? texts[code] : "it reset the stream";
}

static void client_h2_fail(struct client_h2_exchange *e)
{
    const struct mux_stream *stream = &e->s->stream;
    bool is_head = e->x.phase == CLIENT_HEAD;
    if (stream->reject != H1_REJECT_NONE) {
        client_h2_end(e, CLIENT_FAULT_RESPONSE, h1_reject_name(stream->reject).p);
    } else if (stream->is_unprocessed && stream->is_reset_by_peer) {
        client_h2_end(e, CLIENT_FAULT_REFUSED, "");
    } else if (stream->is_unprocessed) {
        client_h2_end(e, CLIENT_FAULT_GOAWAY, "");
    } else if (stream->is_reset_by_peer) {
        client_h2_end(e, is_head ? CLIENT_FAULT_RESET : CLIENT_FAULT_CUT,
                      client_h2_code_text(stream->peer_code));
    } else {
        client_h2_end(e, is_head ? CLIENT_FAULT_RESPONSE : CLIENT_FAULT_CUT,
                      "it broke the rules of a stream");
    }
}

static void client_h2_on_stream_end(void *context, struct mux_stream *stream, enum err cause)
{
    struct client_h2_stream *s = client_h2_stream_of(stream);
    struct client_h2_exchange *e = s->e;
    (void)context;
    (void)cause;
    s->is_gone = true;
    if (!e) {
        client_h2_stream_free(s);
    } else if (e->is_whole) {
        client_h2_add_todo(e);
    } else if (stream->is_unprocessed && client_h2_can_move(e)) {
        client_h2_move(e);
    } else {
        client_h2_fail(e);
    }
}

static void client_h2_on_refused(void *context, enum h1_reject reason, unsigned status)
{
    (void)context; /* the end of the stream says so too */
    (void)reason;
    (void)status;
}

const struct mux_events client_h2_events = {
    .on_body = client_h2_on_body,
    .on_body_end = client_h2_on_body_end,
    .on_answered = client_h2_on_answered,
    .on_stream_end = client_h2_on_stream_end,
    .on_offer = client_h2_on_offer,
    .on_take = client_h2_on_take,
    .on_refused = client_h2_on_refused,
    .on_response = client_h2_on_response,
};

/* ---- what waited for the service ---- */

/* True: `e` ended meanwhile. */
static bool client_h2_give_unread(struct client_h2_exchange *e)
{
    struct client_h2_conn *hc = client_h2_conn_now(e);
    struct client_h2_stream *s = e->s;
    struct buf in = e->in; /* ours, so that it stays where it is */
    size_t n = e->unread < CLIENT_H2_PIECE_BYTES ? e->unread : CLIENT_H2_PIECE_BYTES;
    struct str piece = str_make(in.p + e->in_at, n);
    bool is_freed = false;
    buf_init(&e->in, 0);
    e->ret_is_freed = &is_freed;
    e->unread -= n;
    e->x.is_asked = false;
    h2_session_consume(hc->session, s->is_gone ? NULL : &s->stream, n);
    e->x.service->on_body(&e->x, piece);
    if (is_freed) {
        buf_done(&in);
        return true;
    }
    e->ret_is_freed = NULL;
    e->in_at += n;
    if (e->unread == 0) {
        buf_done(&in);
        buf_init(&in, 0);
        e->in_at = 0;
    }
    e->in = in;
    return false;
}

static void client_h2_tell(struct client_h2_exchange *e)
{
    struct client_exchange *x = &e->x;
    bool is_freed = false;
    while (e->unread > 0 && x->is_asked) {
        if (client_h2_give_unread(e)) {
            return;
        }
    }
    if (e->is_whole && e->unread == 0) {
        e->ret_is_freed = &is_freed;
        client_h2_on_last(e);
        if (is_freed) {
            return;
        }
        e->ret_is_freed = NULL;
    }
    if (!x->is_request_done && client_h2_room(x) > 0) {
        x->service->on_room(x);
    }
}

void client_h2_run_todo(struct client_h2_conn *hc)
{
    while (!list_is_empty(&hc->todo)) {
        struct client_h2_exchange *e = CONTAINER_OF(hc->todo.next, struct client_h2_exchange, todo);
        list_remove(&e->todo);
        client_h2_tell(e);
    }
}
