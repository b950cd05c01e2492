/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h2_session_int.h"

#include "base/assert.h"
#include "base/mem.h"

#define PING_PAUSE_MS 100u             /* between two estimates */
#define PING_BODY_BYTES (64u * 1024u)  /* uploads below that need no larger window */
#define RECV_BYTES_MAX (1024u * 1024u) /* the engine counts in signed sizes */

static const uint8_t ping_estimate[8] = {'s', 'w', 's', '-', 'r', 't', 't', '1'};
static const uint8_t ping_notice[8] = {'s', 'w', 's', '-', 'e', 'n', 'd', '1'};

bool h2_counter_add(struct h2_counter *c, uint64_t now_ms, uint32_t max)
{
    if (c->count == 0 || now_ms - c->start_ms >= H2_ABUSE_WINDOW_MS) {
        c->start_ms = now_ms;
        c->count = 0;
    }
    return ++c->count <= max;
}

void h2_session_fail(struct h2_session *s, uint32_t code)
{
    if (!s->is_failed) {
        s->is_failed = true;
        s->is_broken = true;
        s->goaway_code = code;
    }
}

void h2_session_exhaust(struct h2_session *s)
{
    h2_session_fail(s, H2_INTERNAL_ERROR);
    s->is_exhausted = true;
    s->is_goaway_pulled = true;
}

/* Ends the session within a callback of the engine, which stops at once. */
static int h2_session_stop(struct h2_session *s, enum h2_abuse abuse)
{
    s->abuse = abuse;
    h2_session_fail(s, H2_ENHANCE_YOUR_CALM);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* ---- what comes ---- */

static bool h2_frame_is_control(struct h2_session *s, const nghttp2_frame_hd *frame)
{
    switch (frame->type) {
    case NGHTTP2_DATA:
        return frame->length == 0 && !(frame->flags & NGHTTP2_FLAG_END_STREAM);
    case NGHTTP2_HEADERS:
    case NGHTTP2_CONTINUATION:
    case NGHTTP2_RST_STREAM:
        return false; /* they have their own budgets */
    case NGHTTP2_WINDOW_UPDATE:
        if (s->update_credit) {
            s->update_credit--;
            return false;
        }
        return true;
    default:
        return true;
    }
}

/* Of all frames but heads this is called late or not at all: h2_session_look_at_frame. */
static int h2_on_begin_frame(nghttp2_session *engine, const nghttp2_frame_hd *frame, void *user)
{
    struct h2_session *s = user;
    (void)engine;
    if (frame->type != NGHTTP2_HEADERS) {
        return 0;
    }
    uint32_t code = h2_frame_check(s, frame);
    if (code != NGHTTP2_NO_ERROR) {
        h2_session_fail(s, code);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    s->is_within_head = true;
    return 0;
}

static int h2_on_begin_headers(nghttp2_session *engine, const nghttp2_frame *frame, void *user)
{
    struct h2_session *s = user;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        struct mux_stream *stream =
            nghttp2_session_get_stream_user_data(engine, frame->hd.stream_id);
        s->reading = stream;
        if (stream) {
            mux_head_begin_trailers(&s->mux, stream);
        }
        return 0;
    }
    s->reading = NULL;
    struct mux_stream *stream = mux_stream_begin(&s->mux, frame->hd.stream_id, HTTP_VERSION_20);
    if (!stream) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    stream->is_body_done = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    s->last_id = frame->hd.stream_id;
    s->reading = stream;
    return nghttp2_session_set_stream_user_data(engine, frame->hd.stream_id, stream);
}

static int h2_on_header(nghttp2_session *engine, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                        nghttp2_rcbuf *value, uint8_t flags, void *user)
{
    struct h2_session *s = user;
    (void)engine;
    (void)frame;
    (void)flags;
    if (s->reading) {
        const nghttp2_vec n = nghttp2_rcbuf_get_buf(name), v = nghttp2_rcbuf_get_buf(value);
        mux_head_field(&s->mux, s->reading, str_make((const char *)n.base, n.len),
                       str_make((const char *)v.base, v.len), nghttp2_rcbuf_is_static(name) != 0);
    }
    return 0;
}

/* The engine would pass over a field that is malformed; here it is the end of the stream. */
static int h2_on_invalid_header(nghttp2_session *engine, const nghttp2_frame *frame,
                                nghttp2_rcbuf *name, nghttp2_rcbuf *value, uint8_t flags,
                                void *user)
{
    (void)engine;
    (void)frame;
    (void)name;
    (void)value;
    (void)flags;
    (void)user;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int h2_on_invalid_frame(nghttp2_session *engine, const nghttp2_frame *frame, int code,
                               void *user)
{
    struct h2_session *s = user;
    (void)engine;
    s->is_within_head = s->is_within_head && frame->hd.type != NGHTTP2_HEADERS;
    if (frame->hd.type == NGHTTP2_HEADERS &&
        (code == NGHTTP2_ERR_HTTP_HEADER || code == NGHTTP2_ERR_HTTP_MESSAGING)) {
        s->mux.events.on_refused(s->mux.events.context, H1_REJECT_MESSAGE, 0);
    }
    return 0;
}

static void h2_body_end(struct h2_session *s, struct mux_stream *stream)
{
    if (stream && !stream->is_resetting && !stream->is_body_done) {
        stream->is_body_done = true;
        if (stream->is_begun) {
            s->mux.events.on_body_end(s->mux.events.context, stream);
        }
    }
}

static void h2_on_ping_ack(struct h2_session *s, const uint8_t *payload)
{
    if (!memcmp(payload, ping_notice, sizeof(ping_notice))) {
        s->is_noticed = true;
        return;
    }
    if (!s->is_ping_out || memcmp(payload, ping_estimate, sizeof(ping_estimate)) != 0) {
        return;
    }
    s->is_ping_out = false;
    /* What came within one round trip fills the window nearly: the window holds the peer back. */
    uint64_t product = s->ping_bytes;
    if (product < (uint64_t)s->window / 3 * 2 || s->window >= H2_WINDOW_MAX) {
        return;
    }
    s->window = product * 2 < H2_WINDOW_MAX ? (int32_t)product * 2 : H2_WINDOW_MAX;
    int32_t whole = s->window > H2_WINDOW_CONNECTION ? s->window : H2_WINDOW_CONNECTION;
    int rv = nghttp2_session_set_local_window_size(s->engine, NGHTTP2_FLAG_NONE, 0, whole);
    LIST_FOR_EACH(at, &s->mux.streams)
    {
        const struct mux_stream *stream = CONTAINER_OF(at, struct mux_stream, link);
        if (rv == 0 && !stream->is_body_done && !stream->is_resetting) {
            rv = nghttp2_session_set_local_window_size(s->engine, NGHTTP2_FLAG_NONE,
                                                       (int32_t)stream->id, s->window);
        }
    }
}

static int h2_on_frame(nghttp2_session *engine, const nghttp2_frame *frame, void *user)
{
    struct h2_session *s = user;
    bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS: {
        struct mux_stream *stream = s->reading;
        s->reading = NULL;
        s->is_within_head = false;
        if (stream && !stream->is_trailer) {
            mux_head_finish(&s->mux, stream);
        } else if (stream && is_end) {
            h2_body_end(s, stream);
        }
        break;
    }
    case NGHTTP2_DATA:
        if (is_end) {
            h2_body_end(s, nghttp2_session_get_stream_user_data(engine, frame->hd.stream_id));
        }
        break;
    case NGHTTP2_SETTINGS:
        s->is_ready = true;
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
            h2_on_ping_ack(s, frame->ping.opaque_data);
        }
        break;
    default:
        break;
    }
    return 0;
}

/* RFC 9113 8.1: behind the answer the rest of the request is of no use, but clients exist that lose
 * the answer where a reset comes right with it. So what is on its way is taken, without credit for
 * more, and the reset comes when it is too much, or from the owner when it takes too long. */
static void h2_drop_body(struct h2_session *s, struct mux_stream *stream, size_t n)
{
    h2_session_consume(s, NULL, n);
    stream->dropped_bytes += n;
    if (stream->dropped_bytes > H2_DROP_BYTES_MAX) {
        h2_session_reset(s, stream, H2_NO_ERROR);
    }
}

static void h2_estimate(struct h2_session *s, size_t n)
{
    s->ping_bytes += n;
    bool is_due = !s->is_ping_out && s->window < H2_WINDOW_MAX &&
                  s->ping_bytes >= PING_BODY_BYTES && s->now_ms - s->ping_ms >= PING_PAUSE_MS;
    if (is_due && nghttp2_submit_ping(s->engine, NGHTTP2_FLAG_NONE, ping_estimate) == 0) {
        s->is_ping_out = true;
        s->ping_ms = s->now_ms;
        s->ping_bytes = 0;
    }
}

static int h2_on_data(nghttp2_session *engine, uint8_t flags, int32_t id, const uint8_t *bytes,
                      size_t n, void *user)
{
    struct h2_session *s = user;
    struct mux_stream *stream = nghttp2_session_get_stream_user_data(engine, id);
    (void)flags;
    h2_estimate(s, n);
    if (!stream || stream->is_resetting || (!stream->is_begun && !stream->is_answered)) {
        h2_session_consume(s, NULL, n);
        return 0;
    }
    if (stream->is_answered) {
        h2_drop_body(s, stream, n);
        return 0;
    }
    stream->body_bytes += n;
    s->mux.events.on_body(s->mux.events.context, stream, (const char *)bytes, n);
    return 0;
}

/* ---- what goes ---- */

/* Resets that the client provoked count as its own. */
static bool h2_is_provoked(uint32_t code)
{
    return code == NGHTTP2_PROTOCOL_ERROR || code == NGHTTP2_FLOW_CONTROL_ERROR ||
           code == NGHTTP2_STREAM_CLOSED || code == NGHTTP2_FRAME_SIZE_ERROR ||
           code == NGHTTP2_REFUSED_STREAM;
}

static int h2_on_frame_sent(nghttp2_session *engine, const nghttp2_frame *frame, void *user)
{
    struct h2_session *s = user;
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        h2_frame_closed(s, frame->hd.stream_id, true);
    }
    if (frame->hd.type == NGHTTP2_RST_STREAM && h2_is_provoked(frame->rst_stream.error_code) &&
        !h2_counter_add(&s->resets, s->now_ms, H2_RESETS_MAX)) {
        return h2_session_stop(s, H2_ABUSE_RESETS);
    }
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
        s->is_broken = true;
    }
    bool is_answer = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (!is_answer || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        return 0;
    }
    struct mux_stream *stream = nghttp2_session_get_stream_user_data(engine, frame->hd.stream_id);
    if (!stream) {
        return 0;
    }
    stream->is_answered = true;
    s->mux.events.on_answered(s->mux.events.context, stream);
    return 0;
}

static int h2_on_stream_close(nghttp2_session *engine, int32_t id, uint32_t code, void *user)
{
    struct h2_session *s = user;
    struct mux_stream *stream = nghttp2_session_get_stream_user_data(engine, id);
    (void)code;
    if (!stream) {
        return 0;
    }
    if (!stream->is_resetting) {
        h2_frame_closed(s, id, false);
    }
    if (s->reading == stream) {
        s->reading = NULL;
    }
    mux_stream_gone(&s->mux, stream, stream->is_answered ? ERR_OK : ERR_RESET);
    return 0;
}

/* ---- life ---- */

static int h2_session_callbacks(nghttp2_session_callbacks **ret_callbacks)
{
    nghttp2_session_callbacks *c;
    int rv = nghttp2_session_callbacks_new(&c);
    if (rv == 0) {
        nghttp2_session_callbacks_set_on_begin_frame_callback(c, h2_on_begin_frame);
        nghttp2_session_callbacks_set_on_begin_headers_callback(c, h2_on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback2(c, h2_on_header);
        nghttp2_session_callbacks_set_on_invalid_header_callback2(c, h2_on_invalid_header);
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, h2_on_invalid_frame);
        nghttp2_session_callbacks_set_on_frame_recv_callback(c, h2_on_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, h2_on_data);
        nghttp2_session_callbacks_set_on_frame_send_callback(c, h2_on_frame_sent);
        nghttp2_session_callbacks_set_on_stream_close_callback(c, h2_on_stream_close);
        nghttp2_session_callbacks_set_send_data_callback(c, h2_answer_send_data);
        *ret_callbacks = c;
    }
    return rv;
}

static int h2_session_options(nghttp2_option **ret_option)
{
    nghttp2_option *o;
    int rv = nghttp2_option_new(&o);
    if (rv == 0) {
        nghttp2_option_set_no_auto_window_update(o, 1);
        nghttp2_option_set_no_closed_streams(o, 1);
        nghttp2_option_set_max_outbound_ack(o, H2_UNACKED_MAX);
        nghttp2_option_set_builtin_recv_extension_type(o, NGHTTP2_PRIORITY_UPDATE);
        *ret_option = o;
    }
    return rv;
}

static int h2_session_open(struct h2_session *s)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, s->mux.limits.stream_count_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW_STREAM},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, s->mux.limits.header_bytes_max},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    size_t n = COUNT_OF(settings) - !s->mux.limits.has_connect_protocol;
    int rv = nghttp2_submit_settings(s->engine, NGHTTP2_FLAG_NONE, settings, n);
    if (rv == 0) {
        rv = nghttp2_session_set_local_window_size(s->engine, NGHTTP2_FLAG_NONE, 0,
                                                   H2_WINDOW_CONNECTION);
    }
    return rv;
}

enum err h2_session_create(const struct mux_limits *limits, const struct mux_events *events,
                           struct h2_pool *pool, struct h2_session **ret_session)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    struct h2_session *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    nghttp2_mem mem = h2_pool_engine(s);
    s->pool = pool;
    list_init(&s->blocks);
    s->mux.ops = &h2_mux_ops;
    s->mux.limits = *limits;
    s->mux.events = *events;
    s->window = H2_WINDOW_STREAM;
    s->scan_skip = H2_PREFACE_BYTES;
    list_init(&s->mux.streams);
    int rv = h2_session_callbacks(&callbacks);
    if (rv == 0) {
        rv = h2_session_options(&option);
    }
    if (rv == 0) {
        rv = nghttp2_session_server_new3(&s->engine, callbacks, s, option, &mem);
    }
    if (rv == 0) {
        rv = h2_session_open(s);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    if (rv != 0) {
        h2_session_destroy(s);
        return ERR_NOMEM;
    }
    *ret_session = s;
    return ERR_OK;
}

void h2_session_destroy(struct h2_session *s)
{
    if (s) {
        if (!s->is_exhausted) {
            nghttp2_session_del(s->engine);
        }
        h2_pool_free_all(s);
        mem_free(s);
    }
}

void h2_session_set_limits(struct h2_session *s, const struct mux_limits *limits)
{
    s->mux.limits.header_bytes_max = limits->header_bytes_max;
    s->mux.limits.header_count_max = limits->header_count_max;
    s->mux.limits.uri_bytes_max = limits->uri_bytes_max;
}

/* The one place that maps what the engine found to how the session ends. */
static enum err h2_session_error(struct h2_session *s, ssize_t rv)
{
    if (s->is_failed) {
        return s->is_exhausted ? ERR_NOMEM : ERR_OK; /* by ourselves */
    }
    switch (rv) {
    case NGHTTP2_ERR_NOMEM:
        h2_session_exhaust(s);
        return ERR_NOMEM;
    case NGHTTP2_ERR_FLOODED:
    case NGHTTP2_ERR_TOO_MANY_SETTINGS:
        s->abuse = H2_ABUSE_CONTROL;
        h2_session_fail(s, H2_ENHANCE_YOUR_CALM);
        return ERR_OK;
    default:
        h2_session_fail(s, H2_PROTOCOL_ERROR);
        return ERR_OK;
    }
}

static void h2_session_look_at_frame(struct h2_session *s)
{
    nghttp2_frame_hd frame;
    enum h2_abuse abuse = H2_ABUSE_NONE;
    uint32_t code = h2_frame_found(s, &frame);
    /* Whoever does not read what its faults provoke makes the queue grow. */
    size_t queue_max = H2_CONTROL_MAX + 8 * (size_t)s->mux.limits.stream_count_max;
    if (h2_frame_is_long_block(s, frame.type)) {
        abuse = H2_ABUSE_HEADERS;
    } else if (frame.type == NGHTTP2_RST_STREAM &&
               !h2_counter_add(&s->resets, s->now_ms, H2_RESETS_MAX)) {
        abuse = H2_ABUSE_RESETS;
    } else if ((h2_frame_is_control(s, &frame) &&
                !h2_counter_add(&s->control, s->now_ms, H2_CONTROL_MAX)) ||
               nghttp2_session_get_outbound_queue_size(s->engine) > queue_max) {
        abuse = H2_ABUSE_CONTROL;
    }
    if (abuse != H2_ABUSE_NONE) {
        s->abuse = abuse;
        code = H2_ENHANCE_YOUR_CALM;
    }
    if (code != NGHTTP2_NO_ERROR) {
        h2_session_fail(s, code);
    }
}

static ssize_t h2_session_feed(struct h2_session *s, const char *bytes, size_t n)
{
    return nghttp2_session_mem_recv(s->engine, (const uint8_t *)bytes, n);
}

enum err h2_session_recv(struct h2_session *s, uint64_t now_ms, const char *bytes, size_t n)
{
    s->now_ms = now_ms;
    while (n > 0 && !s->is_failed) {
        bool is_found;
        size_t step = h2_frame_scan(s, bytes, n < RECV_BYTES_MAX ? n : RECV_BYTES_MAX, &is_found);
        bool is_long = is_found && h2_frame_is_long_block(s, s->scan_head[3]);
        /* One that is all head may end its stream: it is looked at before the engine has it. */
        size_t held = is_found && s->scan_skip == 0 && s->scan_head[3] == NGHTTP2_DATA;
        ssize_t rv = is_long ? 0 : h2_session_feed(s, bytes, step - held);
        if (rv >= 0 && is_found) {
            h2_session_look_at_frame(s);
        }
        if (rv >= 0 && held && !s->is_failed) {
            rv = h2_session_feed(s, bytes + step - held, held);
        }
        if (rv < 0) {
            return h2_session_error(s, rv);
        }
        bytes += step;
        n -= step;
    }
    return s->is_exhausted ? ERR_NOMEM : ERR_OK;
}

static void h2_session_put_goaway(struct h2_session *s, struct buf *out)
{
    uint32_t id = (uint32_t)s->last_id, code = s->goaway_code;
    const uint8_t frame[H2_FRAME_HEAD_BYTES + 8] = {
        0,
        0,
        8,
        NGHTTP2_GOAWAY,
        0,
        0,
        0,
        0,
        0,
        (uint8_t)(id >> 24),
        (uint8_t)(id >> 16),
        (uint8_t)(id >> 8),
        (uint8_t)id,
        (uint8_t)(code >> 24),
        (uint8_t)(code >> 16),
        (uint8_t)(code >> 8),
        (uint8_t)code,
    };
    buf_add(out, frame, sizeof(frame));
    s->is_goaway_pulled = true;
}

enum err h2_session_pull(struct h2_session *s, uint64_t now_ms, struct buf *out, size_t bytes_max)
{
    s->now_ms = now_ms;
    s->out = out;
    s->out_bytes_max = bytes_max;
    ssize_t rv = 0;
    while (!s->is_failed && out->n < bytes_max) {
        const uint8_t *frame;
        rv = nghttp2_session_mem_send(s->engine, &frame);
        if (rv <= 0) {
            break;
        }
        buf_add(out, frame, (size_t)rv);
    }
    s->out = NULL;
    enum err e = rv < 0 ? h2_session_error(s, rv) : ERR_OK;
    if (s->is_failed && !s->is_goaway_pulled) {
        h2_session_put_goaway(s, out);
    }
    return out->is_failed || s->is_exhausted ? ERR_NOMEM : e;
}

bool h2_session_wants_output(const struct h2_session *s)
{
    return s->is_failed ? !s->is_goaway_pulled : nghttp2_session_want_write(s->engine) != 0;
}

bool h2_session_is_over(const struct h2_session *s)
{
    if (s->is_failed) {
        return s->is_goaway_pulled;
    }
    return !nghttp2_session_want_read(s->engine) && !nghttp2_session_want_write(s->engine);
}

bool h2_session_is_broken(const struct h2_session *s)
{
    return s->is_broken;
}

bool h2_session_is_ready(const struct h2_session *s)
{
    return s->is_ready;
}

bool h2_session_is_within_head(const struct h2_session *s)
{
    return s->is_within_head;
}

enum h2_abuse h2_session_abuse(const struct h2_session *s)
{
    return s->abuse;
}

size_t h2_session_stream_count(const struct h2_session *s)
{
    return s->mux.stream_count;
}

struct mux_session *h2_session_mux(struct h2_session *s)
{
    return &s->mux;
}

struct list *h2_session_streams(struct h2_session *s)
{
    return &s->mux.streams;
}

void h2_session_reset(struct h2_session *s, struct mux_stream *stream, enum h2_code code)
{
    if (stream->is_resetting || s->is_failed) {
        return;
    }
    stream->is_resetting = true;
    if (nghttp2_submit_rst_stream(s->engine, NGHTTP2_FLAG_NONE, (int32_t)stream->id,
                                  (uint32_t)code) != 0) {
        h2_session_fail(s, H2_INTERNAL_ERROR);
    }
}

void h2_session_consume(struct h2_session *s, struct mux_stream *stream, size_t n)
{
    if (s->is_failed || n == 0) {
        return;
    }
    int rv = stream ? nghttp2_session_consume(s->engine, (int32_t)stream->id, n)
                    : nghttp2_session_consume_connection(s->engine, n);
    if (rv != 0) {
        h2_session_fail(s, H2_INTERNAL_ERROR);
    }
}

void h2_session_notice(struct h2_session *s)
{
    if (s->is_failed) {
        return;
    }
    if (nghttp2_submit_shutdown_notice(s->engine) != 0 ||
        nghttp2_submit_ping(s->engine, NGHTTP2_FLAG_NONE, ping_notice) != 0) {
        h2_session_fail(s, H2_INTERNAL_ERROR);
    }
}

void h2_session_finish(struct h2_session *s)
{
    if (s->is_failed) {
        return;
    }
    int32_t last = nghttp2_session_get_last_proc_stream_id(s->engine);
    if (nghttp2_submit_goaway(s->engine, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) != 0) {
        h2_session_fail(s, H2_INTERNAL_ERROR);
    }
}

bool h2_session_is_noticed(const struct h2_session *s)
{
    return s->is_noticed;
}

/* ---- as the layer above sees it ---- */

static struct h2_session *h2_of_mux(struct mux_session *mux)
{
    return (struct h2_session *)mux;
}

static enum err h2_mux_respond(struct mux_session *mux, struct mux_stream *stream,
                               const struct mux_response *response)
{
    return h2_session_respond(h2_of_mux(mux), stream, response);
}

static void h2_mux_proceed(struct mux_session *mux, struct mux_stream *stream)
{
    h2_session_continue(h2_of_mux(mux), stream);
}

static void h2_mux_resume(struct mux_session *mux, struct mux_stream *stream)
{
    h2_session_resume(h2_of_mux(mux), stream);
}

static enum h2_code h2_code_of(enum mux_reset why)
{
    switch (why) {
    case MUX_RESET_NO_ERROR:
        return H2_NO_ERROR;
    case MUX_RESET_PROTOCOL:
        return H2_PROTOCOL_ERROR;
    case MUX_RESET_INTERNAL:
        return H2_INTERNAL_ERROR;
    case MUX_RESET_CANCEL:
        return H2_CANCEL;
    case MUX_RESET_CALM:
        return H2_ENHANCE_YOUR_CALM;
    }
    return H2_INTERNAL_ERROR;
}

static void h2_mux_reset(struct mux_session *mux, struct mux_stream *stream, enum mux_reset why)
{
    h2_session_reset(h2_of_mux(mux), stream, h2_code_of(why));
}

static void h2_mux_consume(struct mux_session *mux, struct mux_stream *stream, size_t n)
{
    h2_session_consume(h2_of_mux(mux), stream, n);
}

const struct mux_ops h2_mux_ops = {
    .respond = h2_mux_respond,
    .proceed = h2_mux_proceed,
    .resume = h2_mux_resume,
    .reset = h2_mux_reset,
    .consume = h2_mux_consume,
};
