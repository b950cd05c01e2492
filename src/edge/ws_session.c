/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/ws_session.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/digest.h"
#include "http/websocket_handshake.h"

#define WS_SESSION_MAGIC 0x77736573u
#define PIECE_BYTES 65536         /* of a message at once */
#define TURN_BYTES (512u * 1024u) /* of messages, before others have their turn */
#define EVENT_COST 128            /* what an event costs beside its bytes, in bytes of the turn */
#define OUT_BYTES_MAX 65536       /* gathered before they are handed to the exchange */
#define COMPRESS_BYTES_MIN 64     /* shorter messages gain nothing */
#define CLOSE_MS 5000             /* for the answer to our close frame */

struct ws_loop {
    struct websocket_pool pool;
    struct buf out;      /* frames of the session that runs */
    struct buf deflated; /* payload of the frame that is made */
    char piece[PIECE_BYTES];
};

/* In the arena of its exchange. */
struct ws_session {
    uint32_t magic;
    struct request *request;
    struct exchange *x;
    struct ws_loop *shared;
    const struct ws_handler *handler;
    struct websocket codec;
    struct websocket_deflate deflate;
    struct websocket_deflater *deflater;
    struct buf pending; /* input that waits for room, or for the next turn */
    struct timer resume_timer;
    struct timer close_timer;
    bool is_stalled;     /* `pending` or the codec hold what must go on */
    bool is_closing;     /* our close frame is sent */
    bool is_compressing; /* the message that is being sent */
    bool has_sent_frame; /* of it */
};

/* Anything that ends the exchange makes the session vanish: those who call such a thing return
 * whether it lives on. */

static struct ws_session *ws_session_of(const struct request *r)
{
    struct ws_session *s = r->handler;
    ASSERT_MAGIC(s, WS_SESSION_MAGIC);
    return s;
}

struct ws_loop *ws_loop_create(void)
{
    struct ws_loop *l = mem_alloc(sizeof(*l));
    if (l) {
        l->pool = (struct websocket_pool){0};
        buf_init(&l->out, 0);
        buf_init(&l->deflated, 0);
    }
    return l;
}

void ws_loop_destroy(struct ws_loop *l)
{
    if (l) {
        websocket_pool_done(&l->pool);
        buf_done(&l->out);
        buf_done(&l->deflated);
        mem_free(l);
    }
}

/* ---- what is sent ---- */

static bool ws_session_break(struct ws_session *s, enum err e)
{
    s->request->error = err_text(e);
    buf_clear(&s->shared->out);
    exchange_reset(s->x, e);
    return false;
}

/* Hands over what was gathered. */
static bool ws_session_flush(struct ws_session *s)
{
    struct buf *out = &s->shared->out;
    if (out->n == 0 && !out->is_failed) {
        return true;
    }
    enum err e = out->is_failed ? ERR_NOMEM : exchange_send_bytes(s->x, buf_str(out));
    buf_clear(out);
    return e ? ws_session_break(s, e) : true;
}

static void ws_session_control(struct ws_session *s, enum websocket_opcode opcode, struct str bytes)
{
    char frame[WEBSOCKET_SENT_CONTROL_BYTES_MAX];
    buf_add(&s->shared->out, frame, websocket_write_control(opcode, bytes, frame));
}

static void ws_session_say_close(struct ws_session *s, uint16_t code, struct str reason)
{
    char frame[WEBSOCKET_SENT_CONTROL_BYTES_MAX];
    if (!s->is_closing) {
        s->is_closing = true;
        buf_add(&s->shared->out, frame, websocket_write_close(code, reason, frame));
    }
}

static bool ws_session_finish(struct ws_session *s)
{
    if (ws_session_flush(s)) {
        exchange_finish(s->x);
    }
    return false;
}

static enum err ws_session_deflate(struct ws_session *s, const struct websocket_event *piece)
{
    struct websocket_pool *pool = &s->shared->pool;
    enum err e = ERR_OK;
    buf_clear(&s->shared->deflated);
    if (!s->deflater) {
        e = websocket_deflater_open(pool, s->deflate.server_bits, &s->deflater);
    }
    if (!e) {
        e = websocket_deflate_bytes(s->deflater, piece->bytes, piece->is_last,
                                    &s->shared->deflated);
    }
    if (!e && piece->is_last && s->deflate.server_no_context_takeover) {
        websocket_deflater_close(pool, s->deflater);
        s->deflater = NULL;
    }
    return e;
}

enum err ws_session_send(struct ws_session *s, const struct websocket_event *piece)
{
    struct buf *out = &s->shared->out;
    struct str payload = piece->bytes;
    if (piece->is_first) {
        bool is_short = piece->is_last && payload.n < COMPRESS_BYTES_MIN;
        s->is_compressing = s->deflate.is_on && !is_short;
        s->has_sent_frame = false;
    }
    if (s->is_compressing) {
        enum err e = ws_session_deflate(s, piece);
        if (e) {
            return e;
        }
        payload = buf_str(&s->shared->deflated);
        if (payload.n == 0 && !piece->is_last) {
            return ERR_OK; /* the compressor has it */
        }
    }
    enum websocket_opcode opcode = piece->is_text ? WEBSOCKET_TEXT : WEBSOCKET_BINARY;
    const struct websocket_frame frame = {
        .opcode = s->has_sent_frame ? WEBSOCKET_CONTINUATION : opcode,
        .is_final = piece->is_last,
        .is_compressed = s->is_compressing && !s->has_sent_frame,
        .payload_bytes = payload.n,
    };
    char head[WEBSOCKET_SENT_HEAD_BYTES_MAX];
    size_t n = websocket_write_head(&frame, head);
    s->has_sent_frame = true;
    if (buf_reserve(out, n + payload.n)) {
        buf_add(out, head, n);
        buf_add_str(out, payload);
    }
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}

/* ---- what comes ---- */

static bool ws_session_event(struct ws_session *s, enum websocket_event_kind kind,
                             const struct websocket_event *event)
{
    enum err e;
    switch (kind) {
    case WEBSOCKET_EVENT_MORE:
    case WEBSOCKET_EVENT_PONG:
        return true;
    case WEBSOCKET_EVENT_DATA:
        e = s->is_closing ? ERR_OK : s->handler->on_data(s, event);
        return e ? ws_session_break(s, e) : true;
    case WEBSOCKET_EVENT_PING:
        if (!s->is_closing) {
            ws_session_control(s, WEBSOCKET_PONG, event->bytes);
        }
        return true;
    case WEBSOCKET_EVENT_CLOSE:
        ws_session_say_close(s, event->code, STR(""));
        return ws_session_finish(s);
    case WEBSOCKET_EVENT_FAILED:
        s->request->error = event->bytes.p; /* a sentence of the codec */
        ws_session_say_close(s, event->code, event->bytes);
        return ws_session_finish(s);
    }
    return true;
}

/* Keeps what is left of the input; `is_pending`: it is `pending` itself. */
static bool ws_session_keep(struct ws_session *s, const struct websocket_input *in, bool is_pending)
{
    if (is_pending) {
        buf_consume(&s->pending, s->pending.n - in->n);
    } else {
        buf_add(&s->pending, in->p, in->n);
    }
    if (s->pending.n == 0) {
        buf_done(&s->pending);
        buf_init(&s->pending, 0);
    }
    return s->pending.is_failed ? ws_session_break(s, ERR_NOMEM) : true;
}

/* Goes through the input until it is used, room is short or others should have their turn. */
static void ws_session_run(struct ws_session *s, struct str bytes, bool is_pending)
{
    struct loop *loop = s->request->pipeline->loop;
    struct ws_loop *shared = s->shared;
    struct websocket_input in = {bytes.p, bytes.n, shared->piece, sizeof(shared->piece),
                                 loop_now_ms(loop)};
    size_t budget = TURN_BYTES;
    enum websocket_event_kind kind;
    s->is_stalled = false;
    do {
        struct websocket_event event;
        if (shared->out.n >= OUT_BYTES_MAX && !ws_session_flush(s)) {
            return;
        }
        if (budget == 0 || exchange_room(s->x) == 0) {
            s->is_stalled = true;
            break;
        }
        kind = websocket_next(&s->codec, &in, &event);
        size_t cost = event.bytes.n + EVENT_COST;
        budget -= cost < budget ? cost : budget;
        if (!ws_session_event(s, kind, &event)) {
            return;
        }
    } while (kind != WEBSOCKET_EVENT_MORE);
    if (!ws_session_keep(s, &in, is_pending) || !ws_session_flush(s)) {
        return;
    }
    if (!s->is_stalled) {
        exchange_read_body(s->x);
    } else if (budget == 0) {
        loop_timer_set(loop, &s->resume_timer, loop_now_ms(loop));
    }
}

static void ws_session_resume(struct ws_session *s)
{
    if (s->is_stalled) {
        ws_session_run(s, buf_str(&s->pending), true);
    }
}

static void ws_session_on_body(struct request *r, struct str bytes)
{
    ws_session_run(ws_session_of(r), bytes, false);
}

static void ws_session_on_room(struct request *r)
{
    ws_session_resume(ws_session_of(r));
}

static void ws_session_on_resume(struct timer *t)
{
    ws_session_resume(CONTAINER_OF(t, struct ws_session, resume_timer));
}

/* The client closed without a word, or has seen the end of ours. */
static void ws_session_on_body_end(struct request *r)
{
    (void)ws_session_finish(ws_session_of(r));
}

static void ws_session_on_close_time(struct timer *t)
{
    struct ws_session *s = CONTAINER_OF(t, struct ws_session, close_timer);
    (void)ws_session_finish(s);
}

static void ws_session_on_drain(struct request *r)
{
    struct ws_session *s = ws_session_of(r);
    struct loop *loop = r->pipeline->loop;
    if (!s->is_closing) {
        ws_session_say_close(s, WEBSOCKET_CODE_GOING_AWAY, STR("the server is going away"));
        loop_timer_set(loop, &s->close_timer, loop_now_ms(loop) + CLOSE_MS);
        (void)ws_session_flush(s);
    }
}

static void ws_session_on_end(struct request *r)
{
    struct ws_session *s = ws_session_of(r);
    timer_cancel(&s->resume_timer);
    timer_cancel(&s->close_timer);
    websocket_done(&s->codec);
    websocket_deflater_close(&s->shared->pool, s->deflater);
    buf_done(&s->pending);
    s->magic = 0;
}

/* ---- the opening ---- */

/* Says what is spoken, RFC 6455 4.4. 426 needs an Upgrade field, which HTTP/1 alone has. */
static void ws_session_answer_version(struct request *r, const char *reason)
{
    struct http_field array[REQUEST_FIELDS_MAX];
    bool is_h1 = r->x->request->version < HTTP_VERSION_20;
    struct response_head head = {.status = is_h1 ? 426 : 400};
    http_fields_init(&head.fields, array, REQUEST_FIELDS_MAX);
    r->error = reason;
    enum err e =
        http_fields_add_id(&head.fields, HTTP_FIELD_SEC_WEBSOCKET_VERSION, STR(WEBSOCKET_VERSION));
    if (!e && is_h1) {
        e = http_fields_add_id(&head.fields, HTTP_FIELD_UPGRADE, STR("websocket"));
    }
    e = e ? e : request_add_route_fields(r, &head.fields);
    if (e) {
        exchange_reset(r->x, e);
        return;
    }
    e = exchange_answer(r->x, &head, STR("this server speaks WebSocket " WEBSOCKET_VERSION "\n"));
    (void)e; /* an answer that failed has reset the exchange */
}

static enum err ws_session_accept(struct ws_session *s, struct str protocol)
{
    struct http_field array[4];
    struct http_fields fields;
    const struct http_fields *asked = &s->x->request->fields;
    bool is_h1 = s->x->request->version < HTTP_VERSION_20;
    struct str key = http_fields_value(asked, HTTP_FIELD_SEC_WEBSOCKET_KEY);
    char challenge[WEBSOCKET_CHALLENGE_BYTES];
    char accept[WEBSOCKET_ACCEPT_BYTES];
    uint8_t sha1[DIGEST_BYTES_MAX];
    struct buf extensions;
    enum err e = ERR_OK;
    http_fields_init(&fields, array, COUNT_OF(array));
    buf_init(&extensions, 0);
    if (is_h1) { /* CONNECT cannot be sent by accident: RFC 8441 section 5 */
        websocket_challenge(key, challenge);
        e = digest_of(DIGEST_SHA1, str_make(challenge, sizeof(challenge)), sha1);
        if (e) {
            return e;
        }
        websocket_accept(sha1, accept);
        e = http_fields_add_id(&fields, HTTP_FIELD_SEC_WEBSOCKET_ACCEPT,
                               str_make(accept, sizeof(accept)));
    }
    if (!e && protocol.n) {
        e = http_fields_add_id(&fields, HTTP_FIELD_SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    if (!e && s->deflate.is_on) {
        websocket_deflate_text(&s->deflate, &extensions);
        e = extensions.is_failed ? ERR_NOMEM
                                 : http_fields_add_id(&fields, HTTP_FIELD_SEC_WEBSOCKET_EXTENSIONS,
                                                      buf_str(&extensions));
    }
    if (!e) {
        e = exchange_tunnel(s->x, STR("websocket"), &fields);
    }
    buf_done(&extensions);
    return e;
}

static struct ws_session *ws_session_create(struct request *r, const struct ws_handler *handler)
{
    /* No context between messages on either side: a connection that is silent holds no window, and
     * all connections of a loop share a few. */
    static const struct websocket_deflate_policy policy = {false, false};
    struct pipeline *p = r->pipeline;
    struct ws_session *s = arena_zalloc(&r->x->arena, sizeof(*s));
    p->ws = p->ws ? p->ws : ws_loop_create();
    if (!s || !p->ws) {
        return NULL;
    }
    s->magic = WS_SESSION_MAGIC;
    s->request = r;
    s->x = r->x;
    s->shared = p->ws;
    s->handler = handler;
    s->deflate = websocket_deflate_agree(&r->x->request->fields, &policy);
    websocket_init(&s->codec, &s->deflate, &p->ws->pool, WEBSOCKET_MESSAGE_BYTES_MAX);
    buf_init(&s->pending, 0);
    timer_init(&s->resume_timer, ws_session_on_resume);
    timer_init(&s->close_timer, ws_session_on_close_time);
    return s;
}

void ws_session_open(struct request *r, const struct ws_handler *handler, struct str protocol)
{
    const struct request_head *head = r->x->request;
    const struct str_list *origins = &r->route->keys->websocket.origins;
    const char *reason = NULL;
    uint16_t status = websocket_check_request(head, &reason);
    if (status == 426) {
        ws_session_answer_version(r, reason);
        return;
    }
    if (status == 101 && r->x->request_body_bytes) {
        status = 400;
        reason = "a WebSocket begins without a body";
    }
    if (status == 101 && !websocket_origin_is_allowed(head, origins->items, origins->count)) {
        status = 403;
        reason = "a WebSocket from another site";
    }
    if (status == 101 && r->x->server->is_draining) {
        status = 503;
        reason = "the server drains";
    }
    if (status != 101) {
        request_fail(r, status, reason);
        return;
    }
    struct ws_session *s = ws_session_create(r, handler);
    enum err e = s ? ws_session_accept(s, protocol) : ERR_NOMEM;
    if (e) {
        request_fail(r, e == ERR_NOMEM ? 503 : 400, err_text(e));
        return;
    }
    r->handler = s;
    r->on_body = ws_session_on_body;
    r->on_body_end = ws_session_on_body_end;
    r->on_room = ws_session_on_room;
    r->on_drain = ws_session_on_drain;
    r->on_end = ws_session_on_end;
    exchange_read_body(r->x);
}
