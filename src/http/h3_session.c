/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "base/mem.h"
#include "http/h3_session_int.h"
#include "http/varint.h"

#define ENDLESS_BYTES 16384u        /* a header block may be so much longer than its fields cost */
#define CONTROL_CREDIT 1024u        /* for each request, for its part of the QPACK streams */
#define CONTROL_CREDIT_PER_BODY 64u /* one byte of framing for so many of a body is no abuse */
#define CONTROL_CREDIT_PER_DATA 2u  /* nor is the head of a frame that carries any */
#define TAKES_DATAGRAMS 1u

/* ---- memory: through ours, so that its failures can be tried ---- */

static void *h3_malloc(size_t n, void *user)
{
    (void)user;
    return mem_alloc(n ? n : 1);
}

static void h3_free(void *p, void *user)
{
    (void)user;
    mem_free(p);
}

static void *h3_calloc(size_t count, size_t n, void *user)
{
    (void)user;
    return mem_zalloc(count ? count : 1, n ? n : 1);
}

static void *h3_realloc(void *p, size_t n, void *user)
{
    (void)user;
    return mem_realloc(p, n ? n : 1);
}

static const nghttp3_mem h3_mem = {NULL, h3_malloc, h3_free, h3_calloc, h3_realloc};

/* ---- how it ends ---- */

void h3_session_break(struct h3_session *s, uint64_t code)
{
    if (!s->is_failed) {
        s->is_failed = true;
        s->code = code;
        s->wire.wake(s->wire.context);
    }
}

static void h3_session_abuse_by(struct h3_session *s, enum h3_abuse abuse)
{
    if (!s->is_failed) {
        s->abuse = abuse;
        h3_session_break(s, H3_EXCESSIVE_LOAD);
    }
}

/* False when there was more than `max` within the window. */
static bool h3_counter_add(struct h3_counter *c, uint64_t now_ms, uint64_t n, uint64_t max)
{
    if (c->count == 0 || now_ms - c->start_ms >= H3_ABUSE_WINDOW_MS) {
        c->start_ms = now_ms;
        c->count = 0;
    }
    c->count += n;
    return c->count <= max;
}

static void h3_counter_credit(struct h3_counter *c, uint64_t n)
{
    c->count -= c->count < n ? c->count : n;
}

static void h3_count_reset(struct h3_session *s)
{
    if (!h3_counter_add(&s->resets, s->now_ms, 1, H3_RESETS_MAX)) {
        h3_session_abuse_by(s, H3_ABUSE_RESETS);
    }
}

/* ---- streams ---- */

static struct h3_stream *h3_find(const struct h3_session *s, int64_t id)
{
    LIST_FOR_EACH(at, &s->all)
    {
        struct h3_stream *h = CONTAINER_OF(at, struct h3_stream, link);
        if (h->id == id) {
            return h;
        }
    }
    return NULL;
}

void h3_stream_break(struct h3_stream *h, uint64_t code, enum err cause)
{
    struct h3_session *s = h->session;
    if (h->stream && !h->stream->is_resetting) {
        h->stream->is_resetting = true;
        h->code = code;
        h->cause = cause;
        list_push_back(&s->ending, &h->ending);
        s->wire.wake(s->wire.context);
    }
}

/* The exchange is over; QUIC may still have to bring what was sent. */
static void h3_stream_detach(struct h3_stream *h, enum err cause)
{
    struct mux_stream *stream = h->stream;
    h->stream = NULL;
    list_remove(&h->ending);
    list_remove(&h->waiting);
    mux_stream_gone(&h->session->mux, stream, cause);
}

/* What was broken off since the last time. */
static void h3_end_broken(struct h3_session *s)
{
    while (!list_is_empty(&s->ending)) {
        struct h3_stream *h = CONTAINER_OF(s->ending.next, struct h3_stream, ending);
        bool is_answered = h->stream->is_answered;
        if (!h->stream->is_body_done && !h->is_reset_by_peer) {
            s->wire.stop(s->wire.context, h->id, h->code);
        }
        if (!is_answered && !h->is_stopped_by_peer) {
            s->wire.reset(s->wire.context, h->id, h->code);
        }
        if (!s->is_failed) {
            if (!is_answered) {
                nghttp3_conn_shutdown_stream_write(s->engine, h->id);
            }
            if (nghttp3_conn_shutdown_stream_read(s->engine, h->id) != 0) {
                h3_session_break(s, H3_INTERNAL_ERROR);
            }
        }
        h3_stream_detach(h, is_answered ? ERR_OK : h->cause);
    }
}

static void h3_stream_free(struct h3_stream *h)
{
    struct h3_session *s = h->session;
    list_remove(&h->link);
    list_remove(&h->waiting);
    list_remove(&h->ending);
    s->all_count--;
    h3_answer_drop_kept(h);
    mem_free(h);
}

/* ---- what comes ---- */

static int h3_on_begin_headers(nghttp3_conn *engine, int64_t id, void *user, void *stream_user)
{
    struct h3_session *s = user;
    (void)stream_user;
    struct h3_stream *h = mem_zalloc(1, sizeof(*h));
    struct mux_stream *stream = h ? mux_stream_begin(&s->mux, id, HTTP_VERSION_30) : NULL;
    if (!stream) {
        mem_free(h);
        s->wire.stop(s->wire.context, id, H3_REQUEST_REJECTED);
        s->wire.reset(s->wire.context, id, H3_REQUEST_REJECTED);
        return 0;
    }
    h3_counter_credit(&s->control, CONTROL_CREDIT);
    stream->part = h;
    h->session = s;
    h->stream = stream;
    h->id = id;
    h->kept_tail = &h->kept;
    list_init(&h->waiting);
    list_init(&h->ending);
    list_push_back(&s->all, &h->link);
    s->all_count++;
    return nghttp3_conn_set_stream_user_data(engine, id, h);
}

static int h3_on_header(nghttp3_conn *engine, int64_t id, int32_t token, nghttp3_rcbuf *name,
                        nghttp3_rcbuf *value, uint8_t flags, void *user, void *stream_user)
{
    struct h3_session *s = user;
    struct h3_stream *h = stream_user;
    (void)engine;
    (void)id;
    (void)token;
    (void)flags;
    if (h && h->stream && !h->stream->is_resetting) {
        const nghttp3_vec n = nghttp3_rcbuf_get_buf(name), v = nghttp3_rcbuf_get_buf(value);
        struct mux_field f = {.name = str_make((const char *)n.base, n.len),
                              .value = str_make((const char *)v.base, v.len),
                              .is_lasting = nghttp3_rcbuf_is_static(name) != 0};
        f.id = (uint16_t)http_field_id(f.name);
        mux_head_field(&s->mux, h->stream, &f);
    }
    return 0;
}

static int h3_on_end_headers(nghttp3_conn *engine, int64_t id, int is_end, void *user,
                             void *stream_user)
{
    struct h3_session *s = user;
    struct h3_stream *h = stream_user;
    (void)engine;
    (void)id;
    if (h && h->stream) {
        h->is_head_done = true;
        h->stream->is_body_done = is_end != 0;
        mux_head_finish(&s->mux, h->stream);
    }
    return 0;
}

static int h3_on_begin_trailers(nghttp3_conn *engine, int64_t id, void *user, void *stream_user)
{
    struct h3_session *s = user;
    struct h3_stream *h = stream_user;
    (void)engine;
    (void)id;
    if (h && h->stream) {
        mux_head_begin_trailers(&s->mux, h->stream);
    }
    return 0;
}

/* RFC 9114 4.1.2: behind the answer the rest of the request is of no use. What is on its way is
 * taken, and the rest is stopped when it is too much, or by the owner when it takes too long. */
static void h3_drop_body(struct h3_stream *h, size_t n)
{
    struct h3_session *s = h->session;
    s->wire.consume(s->wire.context, h->id, n);
    h->stream->dropped_bytes += n;
    if (h->stream->dropped_bytes > H3_DROP_BYTES_MAX) {
        h3_stream_break(h, H3_NO_ERROR, ERR_OK);
    }
}

static int h3_on_data(nghttp3_conn *engine, int64_t id, const uint8_t *p, size_t n, void *user,
                      void *stream_user)
{
    struct h3_session *s = user;
    struct h3_stream *h = stream_user;
    struct mux_stream *stream = h ? h->stream : NULL;
    (void)engine;
    h3_counter_credit(&s->control, CONTROL_CREDIT_PER_DATA + n / CONTROL_CREDIT_PER_BODY);
    if (!stream || stream->is_resetting || (!stream->is_begun && !stream->is_answered)) {
        s->wire.consume(s->wire.context, id, n);
    } else if (stream->is_answered) {
        h3_drop_body(h, n);
    } else {
        stream->body_bytes += n;
        s->mux.events.on_body(s->mux.events.context, stream, (const char *)p, n);
    }
    return 0;
}

static int h3_on_end_stream(nghttp3_conn *engine, int64_t id, void *user, void *stream_user)
{
    struct h3_session *s = user;
    struct h3_stream *h = stream_user;
    struct mux_stream *stream = h ? h->stream : NULL;
    (void)engine;
    (void)id;
    if (!stream || stream->is_resetting) {
        return 0;
    }
    if (stream->is_answered) {
        stream->is_body_done = true;
        h3_stream_detach(h, ERR_OK);
    } else if (!stream->is_body_done) {
        stream->is_body_done = true;
        if (stream->is_begun) {
            s->mux.events.on_body_end(s->mux.events.context, stream);
        }
    }
    return 0;
}

static int h3_on_deferred_consume(nghttp3_conn *engine, int64_t id, size_t n, void *user,
                                  void *stream_user)
{
    struct h3_session *s = user;
    (void)engine;
    (void)stream_user;
    s->wire.consume(s->wire.context, id, n);
    return 0;
}

/* The engine found the request malformed, or refuses it: it asks for both of these. */
static int h3_on_stop(nghttp3_conn *engine, int64_t id, uint64_t code, void *user,
                      void *stream_user)
{
    struct h3_session *s = user;
    struct h3_stream *h = stream_user;
    (void)engine;
    if (code == H3_MESSAGE_ERROR && (!h || !h->is_head_done)) {
        s->mux.events.on_refused(s->mux.events.context, H1_REJECT_MESSAGE, 0);
    }
    if (h && h->stream) {
        h3_stream_break(h, code, ERR_RESET);
    } else {
        s->wire.stop(s->wire.context, id, code);
    }
    h3_count_reset(s);
    return 0;
}

static int h3_on_reset(nghttp3_conn *engine, int64_t id, uint64_t code, void *user,
                       void *stream_user)
{
    struct h3_session *s = user;
    struct h3_stream *h = stream_user;
    (void)engine;
    if (h && h->stream) {
        h3_stream_break(h, code, ERR_RESET);
    } else {
        s->wire.reset(s->wire.context, id, code);
    }
    return 0;
}

static int h3_on_settings(nghttp3_conn *engine, const nghttp3_settings *settings, void *user)
{
    struct h3_session *s = user;
    (void)engine;
    s->is_ready = true;
    s->takes_datagrams = settings->h3_datagram != 0;
    return 0;
}

static int h3_on_stream_close(nghttp3_conn *engine, int64_t id, uint64_t code, void *user,
                              void *stream_user)
{
    struct h3_stream *h = stream_user;
    (void)engine;
    (void)id;
    (void)code;
    (void)user;
    if (h) {
        if (h->stream) {
            h3_stream_detach(h, h->stream->is_answered ? ERR_OK : ERR_RESET);
        }
        h3_stream_free(h);
    }
    return 0;
}

static const nghttp3_callbacks h3_callbacks = {
    .acked_stream_data = h3_answer_on_acknowledged,
    .stream_close = h3_on_stream_close,
    .recv_data = h3_on_data,
    .deferred_consume = h3_on_deferred_consume,
    .begin_headers = h3_on_begin_headers,
    .recv_header = h3_on_header,
    .end_headers = h3_on_end_headers,
    .begin_trailers = h3_on_begin_trailers,
    .recv_trailer = h3_on_header,
    .stop_sending = h3_on_stop,
    .end_stream = h3_on_end_stream,
    .reset_stream = h3_on_reset,
    .recv_settings = h3_on_settings,
};

/* ---- life ---- */

enum err h3_session_create(const struct mux_limits *limits, const struct mux_events *events,
                           const struct h3_wire *wire, struct h3_session **ret_session)
{
    struct h3_session *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->mux.ops = &h3_mux_ops;
    s->mux.limits = *limits;
    s->mux.events = *events;
    s->wire = *wire;
    s->last.stream_id = -1;
    s->kept_bytes_max = H3_KEPT_BYTES_MIN;
    list_init(&s->mux.streams);
    list_init(&s->all);
    list_init(&s->waiting);
    list_init(&s->ending);
    nghttp3_settings settings;
    nghttp3_settings_default(&settings);
    settings.max_field_section_size = limits->header_bytes_max;
    settings.qpack_max_dtable_capacity = H3_TABLE_BYTES;
    settings.qpack_encoder_max_dtable_capacity = H3_TABLE_BYTES;
    settings.qpack_blocked_streams = H3_BLOCKED_MAX;
    settings.enable_connect_protocol = limits->has_connect_protocol;
    settings.h3_datagram = TAKES_DATAGRAMS;
    if (nghttp3_conn_server_new(&s->engine, &h3_callbacks, &settings, &h3_mem, s) != 0) {
        mem_free(s);
        return ERR_NOMEM;
    }
    s->stream_allowed = limits->stream_count_max;
    nghttp3_conn_set_max_client_streams_bidi(s->engine, s->stream_allowed);
    nghttp3_conn_set_max_concurrent_streams(s->engine, limits->stream_count_max);
    *ret_session = s;
    return ERR_OK;
}

size_t h3_session_promise(const struct mux_limits *limits, char bytes[H3_PROMISE_BYTES])
{
    const uint32_t values[] = {limits->header_bytes_max, limits->has_connect_protocol,
                               H3_TABLE_BYTES, H3_BLOCKED_MAX, TAKES_DATAGRAMS};
    _Static_assert(sizeof(values) <= H3_PROMISE_BYTES, "they fit");
    memcpy(bytes, values, sizeof(values));
    return sizeof(values);
}

void h3_session_destroy(struct h3_session *s)
{
    if (!s) {
        return;
    }
    s->is_failed = true; /* nothing is resumed any more */
    nghttp3_conn_del(s->engine);
    while (!list_is_empty(&s->all)) {
        h3_stream_free(CONTAINER_OF(s->all.next, struct h3_stream, link));
    }
    mem_free(s);
}

enum err h3_session_bind(struct h3_session *s, int64_t control, int64_t encoder, int64_t decoder)
{
    int rv = nghttp3_conn_bind_control_stream(s->engine, control);
    if (rv == 0) {
        rv = nghttp3_conn_bind_qpack_streams(s->engine, encoder, decoder);
    }
    s->is_bound = rv == 0;
    return rv == 0 ? ERR_OK : ERR_NOMEM;
}

void h3_session_set_limits(struct h3_session *s, const struct mux_limits *limits)
{
    s->mux.limits.header_bytes_max = limits->header_bytes_max;
    s->mux.limits.header_count_max = limits->header_count_max;
    s->mux.limits.uri_bytes_max = limits->uri_bytes_max;
}

/* Counts what is no body: heads for each stream, the rest for the connection. */
static void h3_count_overhead(struct h3_session *s, struct h3_stream *h, bool was_in_head, size_t n)
{
    if (!was_in_head) {
        if (!h3_counter_add(&s->control, s->now_ms, n, H3_CONTROL_BYTES_MAX)) {
            h3_session_abuse_by(s, H3_ABUSE_CONTROL);
        }
    } else if (h && !h->is_head_done) {
        h->head_bytes += n;
        if (h->head_bytes > (size_t)s->mux.limits.header_bytes_max + ENDLESS_BYTES) {
            h3_session_abuse_by(s, H3_ABUSE_HEADERS);
        }
    }
}

void h3_session_recv(struct h3_session *s, uint64_t now_ms, int64_t stream_id, const uint8_t *p,
                     size_t n, bool is_end)
{
    s->now_ms = now_ms;
    if (s->is_failed) {
        return;
    }
    bool is_request = (stream_id & 3) == 0;
    const struct h3_stream *before = is_request ? h3_find(s, stream_id) : NULL;
    bool was_in_head = is_request && !(before && before->is_head_done);
    nghttp3_ssize used = nghttp3_conn_read_stream(s->engine, stream_id, p, n, is_end);
    if (used < 0) {
        h3_session_break(s, nghttp3_err_infer_quic_app_error_code((int)used));
        return;
    }
    if (used > 0) {
        s->wire.consume(s->wire.context, stream_id, (size_t)used);
        h3_count_overhead(s, is_request ? h3_find(s, stream_id) : NULL, was_in_head, (size_t)used);
    }
}

/* A stream that ended, or whose request is still under way, is no fault: datagrams overtake. */
void h3_session_recv_datagram(struct h3_session *s, uint64_t now_ms, const uint8_t *p, size_t n)
{
    struct str bytes = str_make((const char *)p, n);
    uint64_t quarter;
    s->now_ms = now_ms;
    if (s->is_failed) {
        return;
    }
    size_t used = varint_read(bytes, &quarter);
    if (used == 0 || quarter > VARINT_MAX / 4) {
        s->mux.events.on_refused(s->mux.events.context, H1_REJECT_DATAGRAM, 0);
        h3_session_break(s, H3_DATAGRAM_ERROR);
        return;
    }
    if (quarter >= s->stream_allowed) {
        s->mux.events.on_refused(s->mux.events.context, H1_REJECT_DATAGRAM, 0);
        h3_session_break(s, H3_ID_ERROR);
        return;
    }
    if (s->mux.events.on_datagram) {
        const struct h3_stream *h = h3_find(s, (int64_t)(quarter * 4));
        struct mux_stream *stream = h ? h->stream : NULL;
        bool is_open = stream && stream->is_begun && !stream->is_resetting;
        s->mux.events.on_datagram(s->mux.events.context, is_open ? stream : NULL, bytes.p + used,
                                  bytes.n - used);
    }
}

size_t h3_session_datagram_head(const struct h3_session *s, int64_t stream_id,
                                char out[H3_DATAGRAM_HEAD_BYTES_MAX])
{
    return s->takes_datagrams ? varint_write((uint64_t)stream_id / 4, out) : 0;
}

void h3_session_peer_reset(struct h3_session *s, uint64_t now_ms, int64_t stream_id)
{
    struct h3_stream *h = h3_find(s, stream_id);
    s->now_ms = now_ms;
    if (s->is_failed) {
        return;
    }
    h3_count_reset(s);
    if (h && h->stream) {
        h->is_reset_by_peer = true;
        h3_stream_break(h, H3_REQUEST_CANCELLED, ERR_RESET);
    } else if (!s->is_failed && nghttp3_conn_shutdown_stream_read(s->engine, stream_id) != 0) {
        h3_session_break(s, H3_INTERNAL_ERROR);
    }
}

void h3_session_peer_stop(struct h3_session *s, uint64_t now_ms, int64_t stream_id)
{
    struct h3_stream *h = h3_find(s, stream_id);
    s->now_ms = now_ms;
    if (s->is_failed) {
        return;
    }
    nghttp3_conn_shutdown_stream_write(s->engine, stream_id);
    if (h && h->stream) {
        h3_count_reset(s);
        h->is_stopped_by_peer = true;
        h3_stream_break(h, H3_REQUEST_CANCELLED, ERR_RESET);
    }
}

void h3_session_closed(struct h3_session *s, int64_t stream_id, uint64_t code)
{
    if (s->is_failed) {
        return;
    }
    int rv = nghttp3_conn_close_stream(s->engine, stream_id, code);
    if (rv != 0 && rv != NGHTTP3_ERR_STREAM_NOT_FOUND) {
        h3_session_break(s, nghttp3_err_infer_quic_app_error_code(rv));
    }
    if ((stream_id & 3) == 0 && !s->is_failed) {
        nghttp3_conn_set_max_client_streams_bidi(s->engine, ++s->stream_allowed);
    }
}

/* ---- what goes ---- */

void h3_session_offer(struct h3_session *s, uint64_t now_ms, struct h3_offer *ret)
{
    nghttp3_vec vec[H3_PIECES_MAX];
    int is_end = 0;
    s->now_ms = now_ms;
    *ret = (struct h3_offer){.stream_id = -1};
    h3_end_broken(s);
    if (s->is_failed || !s->is_bound) {
        return;
    }
    nghttp3_ssize n =
        nghttp3_conn_writev_stream(s->engine, &ret->stream_id, &is_end, vec, H3_PIECES_MAX);
    if (n < 0) {
        ret->stream_id = -1;
        h3_session_break(s, nghttp3_err_infer_quic_app_error_code((int)n));
        return;
    }
    ret->is_end = is_end != 0;
    ret->count = (size_t)n;
    s->last_bytes = 0;
    for (size_t i = 0; i < ret->count; i++) {
        ret->pieces[i] = (struct h3_piece){vec[i].base, vec[i].len};
        s->last_bytes += vec[i].len;
    }
    s->last.stream_id = ret->stream_id;
    s->last.is_end = ret->is_end;
}

void h3_session_taken(struct h3_session *s, size_t n)
{
    int64_t id = s->last.stream_id;
    if (s->is_failed) {
        return;
    }
    if (nghttp3_conn_add_write_offset(s->engine, id, n) != 0) {
        h3_session_break(s, H3_INTERNAL_ERROR);
        return;
    }
    struct h3_stream *h = s->last.is_end && n == s->last_bytes ? h3_find(s, id) : NULL;
    if (!h || !h->stream || h->stream->is_resetting) {
        return;
    }
    h->stream->is_answered = true;
    s->mux.events.on_answered(s->mux.events.context, h->stream);
    if (h->stream->is_body_done) {
        h3_stream_detach(h, ERR_OK);
    }
}

void h3_session_acknowledged(struct h3_session *s, int64_t stream_id, uint64_t n)
{
    if (!s->is_failed && nghttp3_conn_add_ack_offset(s->engine, stream_id, n) != 0) {
        h3_session_break(s, H3_INTERNAL_ERROR);
    }
}

void h3_session_block(struct h3_session *s, int64_t stream_id)
{
    if (!s->is_failed) {
        nghttp3_conn_block_stream(s->engine, stream_id);
    }
}

void h3_session_unblock(struct h3_session *s, int64_t stream_id)
{
    if (!s->is_failed && nghttp3_conn_unblock_stream(s->engine, stream_id) != 0) {
        h3_session_break(s, H3_INTERNAL_ERROR);
    }
}

void h3_session_cannot_send(struct h3_session *s, int64_t stream_id)
{
    if (!s->is_failed) {
        nghttp3_conn_shutdown_stream_write(s->engine, stream_id);
    }
}

struct mux_session *h3_session_mux(struct h3_session *s)
{
    return &s->mux;
}

void h3_session_notice(struct h3_session *s)
{
    if (!s->is_failed && s->is_bound && nghttp3_conn_submit_shutdown_notice(s->engine) != 0) {
        h3_session_break(s, H3_INTERNAL_ERROR);
    }
}

void h3_session_finish(struct h3_session *s)
{
    if (s->is_finishing || s->is_failed) {
        return;
    }
    s->is_finishing = true;
    if (s->is_bound && nghttp3_conn_shutdown(s->engine) != 0) {
        h3_session_break(s, H3_INTERNAL_ERROR);
    }
}

bool h3_session_is_over(const struct h3_session *s)
{
    return s->is_failed || (s->is_finishing && s->all_count == 0);
}

bool h3_session_is_failed(const struct h3_session *s)
{
    return s->is_failed;
}

uint64_t h3_session_code(const struct h3_session *s)
{
    return s->is_failed ? s->code : H3_NO_ERROR;
}

enum h3_abuse h3_session_abuse(const struct h3_session *s)
{
    return s->abuse;
}

bool h3_session_is_ready(const struct h3_session *s)
{
    return s->is_ready;
}

void h3_session_set_window(struct h3_session *s, uint64_t bytes)
{
    uint64_t most = bytes < H3_KEPT_BYTES_MAX / 2 ? bytes * 2 : H3_KEPT_BYTES_MAX;
    s->kept_bytes_max = most > H3_KEPT_BYTES_MIN ? (size_t)most : H3_KEPT_BYTES_MIN;
}

size_t h3_session_kept_bytes(const struct h3_session *s)
{
    return s->kept_bytes;
}
