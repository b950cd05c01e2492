/* SPDX-License-Identifier: Apache-2.0 */
/* What comes (RFC 9113 sections 4 to 6). Bytes of DATA are passed on as they come, other payloads
 * when they are whole; those that came in one piece are read where they lie. */
#include <string.h>

#include "base/assert.h"
#include "http/h2_session_int.h"

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* ---- is the frame one that may come now? ---- */

/* Frames of streams that are not there. */
static enum h2_code input_check_stream(const struct h2_session *s, const struct h2_frame *f)
{
    if (f->id % 2 == 0) {
        return H2_PROTOCOL_ERROR;
    }
    if (f->id > s->last_id && s->is_client) {
        return f->type == H2_PRIORITY ? H2_NO_ERROR : H2_PROTOCOL_ERROR;
    }
    if (f->id > s->last_id) {
        /* Behind our GOAWAY there may be all of a stream that we do not take (6.8). */
        bool may_begin = f->type == H2_HEADERS || f->type == H2_PRIORITY || s->is_finishing;
        return may_begin ? H2_NO_ERROR : H2_PROTOCOL_ERROR;
    }
    bool is_of_stream = f->type == H2_DATA || f->type == H2_HEADERS;
    if (!is_of_stream || h2_stream_find(s, f->id) || f->id <= s->closed_floor) {
        return H2_NO_ERROR;
    }
    uint32_t closed = h2_closed_find(s, f->id);
    if (closed & 1) {
        return H2_NO_ERROR; /* the peer did not know yet that we had reset it */
    }
    /* RFC 9113 5.1.1: identifiers only grow. */
    bool is_reused = f->type == H2_HEADERS && closed == 0;
    return is_reused ? H2_PROTOCOL_ERROR : H2_STREAM_CLOSED;
}

static enum h2_code input_check_length(const struct h2_frame *f)
{
    bool is_right = true;
    switch (f->type) {
    case H2_PRIORITY:
        is_right = f->length == 5;
        break;
    case H2_RST_STREAM:
    case H2_WINDOW_UPDATE:
        is_right = f->length == 4;
        break;
    case H2_SETTINGS:
        is_right = f->flags & H2_ACK ? f->length == 0 : f->length % 6 == 0;
        break;
    case H2_PING:
        is_right = f->length == 8;
        break;
    case H2_GOAWAY:
        is_right = f->length >= 8;
        break;
    case H2_PRIORITY_UPDATE:
        is_right = f->length >= 4;
        break;
    default:
        break;
    }
    return is_right ? H2_NO_ERROR : H2_FRAME_SIZE_ERROR;
}

static enum h2_code input_check(const struct h2_session *s, const struct h2_frame *f)
{
    if (f->length > H2_FRAME_BYTES_MAX) {
        return H2_FRAME_SIZE_ERROR;
    }
    if (s->is_block_open != (f->type == H2_CONTINUATION) ||
        (s->is_block_open && f->id != s->block_frame.id) ||
        (!s->is_ready && (f->type != H2_SETTINGS || (f->flags & H2_ACK)))) {
        return H2_PROTOCOL_ERROR;
    }
    enum h2_code code = input_check_length(f);
    switch (f->type) {
    case H2_DATA:
    case H2_HEADERS:
    case H2_PRIORITY:
    case H2_RST_STREAM: {
        enum h2_code of_stream = input_check_stream(s, f);
        return of_stream != H2_NO_ERROR ? of_stream : code;
    }
    case H2_WINDOW_UPDATE:
        return code == H2_NO_ERROR && f->id ? input_check_stream(s, f) : code;
    case H2_SETTINGS:
    case H2_PING:
    case H2_GOAWAY:
        return f->id ? H2_PROTOCOL_ERROR : code;
    case H2_PRIORITY_UPDATE: /* RFC 9218 7.1: of clients alone */
        return f->id || s->is_client ? H2_PROTOCOL_ERROR : code;
    case H2_PUSH_PROMISE:
        return H2_PROTOCOL_ERROR;
    default:
        return code;
    }
}

/* ---- what it costs ---- */

/* Of a stream that was reset, or that is not taken: it changes nothing any more. */
static bool input_is_late(const struct h2_session *s, const struct h2_frame *f)
{
    const struct h2_stream *h = h2_stream_find(s, f->id);
    return h ? h->stream->is_resetting : f->id <= s->last_id || s->is_finishing || s->is_client;
}

static bool input_is_control(struct h2_session *s, const struct h2_frame *f)
{
    switch (f->type) {
    case H2_DATA:
        return f->length == 0 && (!(f->flags & H2_END_STREAM) || input_is_late(s, f));
    case H2_HEADERS:
        return input_is_late(s, f);
    case H2_CONTINUATION:
        return false; /* they have a budget of their own */
    case H2_RST_STREAM:
        return s->is_client && input_is_late(s, f); /* likewise, or it ended one of our requests */
    case H2_WINDOW_UPDATE:
        if (s->update_credit) {
            s->update_credit--;
            return false;
        }
        return true;
    default:
        return true;
    }
}

static enum h2_abuse input_count(struct h2_session *s, const struct h2_frame *f)
{
    if (f->type == H2_HEADERS) {
        s->block_bytes = f->length;
        s->block_frames = 0;
    } else if (f->type == H2_CONTINUATION) {
        s->block_bytes += f->length;
        s->block_frames++;
    }
    bool is_block = f->type == H2_HEADERS || f->type == H2_CONTINUATION;
    if (is_block && (s->block_bytes > s->mux.limits.header_bytes_max ||
                     s->block_frames > H2_CONTINUATIONS_MAX)) {
        return H2_ABUSE_HEADERS;
    }
    if (f->type == H2_SETTINGS && f->length / 6 > H2_SETTINGS_MAX) {
        return H2_ABUSE_CONTROL; /* each may change the windows of all streams */
    }
    if (f->type == H2_RST_STREAM && !s->is_client &&
        !h2_counter_add(&s->resets, s->now_ms, H2_RESETS_MAX)) {
        return H2_ABUSE_RESETS;
    }
    if (input_is_control(s, f) && !h2_counter_add(&s->control, s->now_ms, H2_CONTROL_MAX)) {
        return H2_ABUSE_CONTROL;
    }
    /* Whoever does not read what its faults provoke makes the queue grow. */
    bool is_queue_long = s->queue_frames > H2_CONTROL_MAX + 8 * s->mux.limits.stream_count_max;
    return is_queue_long ? H2_ABUSE_CONTROL : H2_ABUSE_NONE;
}

/* ---- heads ---- */

/* The stream whose head this is; NULL: the block is read for the sake of the table alone. */
static struct h2_stream *input_head_stream(struct h2_session *s, const struct h2_frame *f)
{
    bool is_end = (f->flags & H2_END_STREAM) != 0;
    struct h2_stream *h = h2_stream_find(s, f->id);
    if (s->is_client) {
        return h2_client_head_stream(s, h, is_end);
    }
    if (h) {
        if (h->stream->is_resetting) {
            return NULL;
        }
        if (h->stream->is_body_done || !is_end) {
            /* RFC 9113 5.1 and 8.1: a second head is that of trailers, which are the end. */
            h2_stream_reset(s, h, h->stream->is_body_done ? H2_STREAM_CLOSED : H2_PROTOCOL_ERROR);
            return NULL;
        }
        mux_head_begin_trailers(&s->mux, h->stream);
        return h;
    }
    if (f->id <= s->last_id || s->is_finishing) {
        return NULL; /* a late one of a stream that we reset, or too late for any */
    }
    s->last_id = f->id;
    if (s->mux.stream_count >= s->mux.limits.stream_count_max && s->is_settings_acked) {
        h2_session_fail(s, H2_PROTOCOL_ERROR);
        return NULL;
    }
    h = s->mux.stream_count < s->mux.limits.stream_count_max ? h2_stream_open(s, f->id, is_end)
                                                             : NULL;
    if (!h) {
        h2_closed_add(s, f->id, true);
        h2_put_u32(s, H2_RST_STREAM, f->id, H2_REFUSED_STREAM);
        if (!h2_counter_add(&s->resets, s->now_ms, H2_RESETS_MAX)) {
            h2_session_fail_calm(s, H2_ABUSE_RESETS);
        }
    }
    return h;
}

static void input_body_end(struct h2_session *s, struct h2_stream *h)
{
    struct mux_stream *stream = h->stream;
    if (stream->is_resetting || stream->is_body_done) {
        return;
    }
    bool is_wrong_length = stream->is_begun && !stream->has_no_content &&
                           stream->content_length != MUX_LENGTH_UNKNOWN &&
                           h->body_bytes != stream->content_length;
    if (is_wrong_length || (s->is_client && !stream->is_begun)) {
        h2_head_refuse(s, h);
        return;
    }
    stream->is_body_done = true;
    if (stream->is_begun) {
        s->mux.events.on_body_end(s->mux.events.context, stream);
    }
    if (stream->is_answered && !stream->is_resetting) {
        h2_closed_add(s, h->id, false);
        h2_stream_gone(s, h, ERR_OK);
    }
}

static void input_on_block(struct h2_session *s, const uint8_t *p, size_t n)
{
    struct h2_stream *h = input_head_stream(s, &s->block_frame);
    if (!s->is_failed) {
        h2_head_read(s, h, p, n);
    }
    s->is_within_head = false;
    bool is_end = (s->block_frame.flags & H2_END_STREAM) != 0;
    if (!s->is_failed && h && (h->stream->is_trailer || (s->is_client && is_end))) {
        input_body_end(s, h);
    }
}

static void input_on_headers(struct h2_session *s, const uint8_t *p, size_t n)
{
    const struct h2_frame *f = &s->frame;
    size_t skip = 0, pad = 0;
    if (f->flags & H2_PADDED && n > 0) {
        pad = p[0];
        skip = 1;
    }
    bool has_priority = (f->flags & H2_HAS_PRIORITY) != 0;
    size_t head = skip + (has_priority ? 5 : 0);
    if ((f->flags & H2_PADDED && n == 0) || head + pad > n ||
        (has_priority && (get_u32(p + skip) & INT32_MAX) == f->id)) {
        h2_session_fail(s, H2_PROTOCOL_ERROR);
        return;
    }
    p += head;
    n -= head + pad;
    s->block_frame = *f;
    if (f->flags & H2_END_HEADERS) {
        input_on_block(s, p, n);
        return;
    }
    s->is_block_open = true;
    buf_add(&s->block, p, n);
}

static void input_on_continuation(struct h2_session *s, const uint8_t *p, size_t n)
{
    buf_add(&s->block, p, n);
    if (s->block.is_failed) {
        h2_session_exhaust(s);
    } else if (s->frame.flags & H2_END_HEADERS) {
        s->is_block_open = false;
        input_on_block(s, (const uint8_t *)s->block.p, s->block.n);
        buf_done(&s->block);
        buf_init(&s->block, 0);
    }
}

/* ---- bodies ---- */

static void input_start_data(struct h2_session *s)
{
    const struct h2_frame *f = &s->frame;
    struct h2_stream *h = h2_stream_find(s, f->id);
    s->target = NULL;
    s->pad_left = 0;
    s->is_pad_known = !(f->flags & H2_PADDED);
    if (f->length > s->recv_window) {
        h2_session_fail(s, H2_FLOW_CONTROL_ERROR);
        return;
    }
    s->recv_window -= f->length;
    if (!s->is_pad_known && f->length == 0) {
        h2_session_fail(s, H2_PROTOCOL_ERROR);
        return;
    }
    if (!h || h->stream->is_resetting) {
        return;
    }
    if (h->stream->is_body_done) {
        h2_stream_reset(s, h, H2_STREAM_CLOSED);
    } else if (f->length > h->recv_window) {
        h2_stream_reset(s, h, H2_FLOW_CONTROL_ERROR);
    } else {
        h->recv_window -= f->length;
        s->target = h;
    }
}

/* RFC 9113 8.1: behind the answer the rest of the request is of no use, but clients exist that lose
 * the answer where a reset comes right with it. So what is on its way is taken, without credit for
 * more, and the reset comes when it is too much, or from the owner when it takes too long. */
static void input_drop_body(struct h2_session *s, struct h2_stream *h, size_t n)
{
    h2_window_return(s, NULL, n);
    h->stream->dropped_bytes += n;
    if (h->stream->dropped_bytes > H2_DROP_BYTES_MAX) {
        h2_stream_reset(s, h, H2_NO_ERROR);
    }
}

static void input_on_body(struct h2_session *s, const uint8_t *p, size_t n)
{
    struct h2_stream *h = s->target;
    struct mux_stream *stream = h ? h->stream : NULL;
    h2_window_estimate(s, n);
    if (h && s->is_client) {
        h2_client_on_body(s, h, p, n);
        return;
    }
    if (!h || stream->is_resetting || (!stream->is_begun && !stream->is_answered)) {
        h2_window_return(s, NULL, n);
        return;
    }
    h->body_bytes += n;
    if (stream->is_begun && stream->content_length != MUX_LENGTH_UNKNOWN &&
        h->body_bytes > stream->content_length) {
        h2_window_return(s, NULL, n);
        h2_head_refuse(s, h);
    } else if (stream->is_answered || h->is_ended) {
        input_drop_body(s, h, n);
    } else {
        stream->body_bytes += n;
        s->mux.events.on_body(s->mux.events.context, stream, (const char *)p, n);
    }
}

/* Takes a part of the payload of DATA, and says how much that was. */
static size_t input_take_data(struct h2_session *s, const uint8_t *p, size_t n)
{
    if (!s->is_pad_known) {
        s->is_pad_known = true;
        s->pad_left = p[0];
        if (s->pad_left > s->left - 1) {
            h2_session_fail(s, H2_PROTOCOL_ERROR);
            return 1;
        }
        h2_window_return(s, s->target, 1);
        s->left--;
        bool is_empty = s->left == s->pad_left && !(s->frame.flags & H2_END_STREAM);
        if (is_empty && !h2_counter_add(&s->control, s->now_ms, H2_CONTROL_MAX)) {
            h2_session_fail_calm(s, H2_ABUSE_CONTROL);
        }
        return 1;
    }
    size_t body = s->left - s->pad_left;
    size_t step = body ? body : s->pad_left;
    step = step < n ? step : n;
    s->left -= (uint32_t)step;
    if (body) {
        input_on_body(s, p, step);
    } else {
        s->pad_left -= (uint32_t)step;
        h2_window_return(s, s->target, step);
    }
    return step;
}

static void input_end_data(struct h2_session *s)
{
    struct h2_stream *h = s->target;
    s->target = NULL;
    if (h && (s->frame.flags & H2_END_STREAM)) {
        input_body_end(s, h);
    }
}

/* ---- the rest ---- */

static void input_on_reset(struct h2_session *s, const uint8_t *p)
{
    struct h2_stream *h = h2_stream_find(s, s->frame.id);
    if (h && s->is_client && !h->stream->is_resetting) {
        struct mux_stream *stream = h->stream;
        stream->peer_code = get_u32(p);
        stream->is_reset_by_peer = true;
        stream->is_unprocessed = !stream->is_begun && stream->peer_code == H2_REFUSED_STREAM;
        h2_closed_add(s, h->id, false);
        h2_stream_gone(s, h, h2_stream_is_whole(s, stream) ? ERR_OK : ERR_RESET);
    } else if (h) {
        bool was_resetting = h->stream->is_resetting;
        if (!was_resetting) {
            h2_closed_add(s, h->id, false);
        }
        h2_stream_gone(s, h, h2_stream_is_whole(s, h->stream) ? ERR_OK : ERR_RESET);
    }
}

static void input_on_window_update(struct h2_session *s, const uint8_t *p)
{
    uint32_t increment = get_u32(p) & INT32_MAX;
    struct h2_stream *h = s->frame.id ? h2_stream_find(s, s->frame.id) : NULL;
    if (s->frame.id && (!h || h->stream->is_resetting)) {
        return;
    }
    int64_t *window = h ? &h->send_window : &s->send_window;
    enum h2_code code = increment == 0                             ? H2_PROTOCOL_ERROR
                        : *window > INT32_MAX - (int64_t)increment ? H2_FLOW_CONTROL_ERROR
                                                                   : H2_NO_ERROR;
    if (code != H2_NO_ERROR && h) {
        h2_stream_reset(s, h, code);
    } else if (code != H2_NO_ERROR) {
        h2_session_fail(s, code);
    } else {
        *window += increment;
        if (h) {
            h2_output_ready(s, h);
        }
    }
}

/* The window that streams begin with changes for those that are open too (RFC 9113 6.9.2). */
static enum h2_code input_set_first_window(struct h2_session *s, uint32_t value)
{
    int64_t change = (int64_t)value - s->send_window_first;
    s->send_window_first = value;
    LIST_FOR_EACH(at, &s->mux.streams)
    {
        struct h2_stream *h = h2_stream_of(CONTAINER_OF(at, struct mux_stream, link));
        h->send_window += change;
        if (h->send_window > INT32_MAX) {
            return H2_FLOW_CONTROL_ERROR;
        }
        h2_output_ready(s, h);
    }
    return H2_NO_ERROR;
}

static enum h2_code input_set(struct h2_session *s, uint16_t setting, uint32_t value)
{
    switch (setting) {
    case H2_HEADER_TABLE_SIZE:
        hpack_encoder_resize(&s->encoder, value);
        return H2_NO_ERROR;
    case H2_ENABLE_PUSH: /* RFC 9113 6.5.2: a server has nothing to allow */
        return value > !s->is_client ? H2_PROTOCOL_ERROR : H2_NO_ERROR;
    case H2_MAX_CONCURRENT_STREAMS:
        s->streams_max = value;
        return H2_NO_ERROR;
    case H2_ENABLE_CONNECT_PROTOCOL:
        s->has_connect = value == 1;
        return value > 1 ? H2_PROTOCOL_ERROR : H2_NO_ERROR;
    case H2_NO_RFC7540_PRIORITIES:
        return value > 1 ? H2_PROTOCOL_ERROR : H2_NO_ERROR;
    case H2_INITIAL_WINDOW_SIZE:
        return value > INT32_MAX ? H2_FLOW_CONTROL_ERROR : input_set_first_window(s, value);
    case H2_MAX_FRAME_SIZE: /* ours are never larger than the least of them */
        return value < H2_FRAME_BYTES_MAX || value > 0xffffff ? H2_PROTOCOL_ERROR : H2_NO_ERROR;
    default:
        return H2_NO_ERROR;
    }
}

static void input_acknowledge(struct h2_session *s, enum h2_type type, const uint8_t *p, size_t n)
{
    h2_put(s, type, H2_ACK, 0, p, n);
    if (++s->queue_acks > H2_UNACKED_MAX) {
        h2_session_fail_calm(s, H2_ABUSE_CONTROL);
    }
}

static void input_on_settings(struct h2_session *s, const uint8_t *p, size_t n)
{
    if (s->frame.flags & H2_ACK) {
        s->is_settings_acked = true;
        return;
    }
    s->is_ready = true;
    for (size_t at = 0; at < n; at += 6) {
        enum h2_code code = input_set(s, (uint16_t)(p[at] << 8 | p[at + 1]), get_u32(p + at + 2));
        if (code != H2_NO_ERROR) {
            h2_session_fail(s, code);
            return;
        }
    }
    input_acknowledge(s, H2_SETTINGS, NULL, 0);
}

static void input_on_priority_update(struct h2_session *s, const uint8_t *p, size_t n)
{
    uint32_t id = get_u32(p) & INT32_MAX;
    struct h2_stream *h = h2_stream_find(s, id);
    struct http_priority priority = HTTP_PRIORITY_DEFAULT;
    if (id % 2 == 0) {
        h2_session_fail(s, H2_PROTOCOL_ERROR);
        return;
    }
    http_priority_parse(str_make((const char *)p + 4, n - 4), &priority);
    if (h) {
        h2_output_prioritise(s, h, priority);
    } else if (id > s->last_id) {
        unsigned place = 0;
        while (place < H2_EARLY_PRIORITIES && s->early[place].id != id) {
            place++;
        }
        if (place == H2_EARLY_PRIORITIES) {
            place = s->early_count++ % H2_EARLY_PRIORITIES;
        }
        s->early[place].id = id;
        s->early[place].priority = priority;
    }
}

static void input_on_frame(struct h2_session *s, const uint8_t *p, size_t n)
{
    switch (s->frame.type) {
    case H2_HEADERS:
        input_on_headers(s, p, n);
        break;
    case H2_CONTINUATION:
        input_on_continuation(s, p, n);
        break;
    case H2_PRIORITY: /* of RFC 7540: only its grammar counts */
        if ((get_u32(p) & INT32_MAX) == s->frame.id) {
            h2_session_fail(s, H2_PROTOCOL_ERROR);
        }
        break;
    case H2_RST_STREAM:
        input_on_reset(s, p);
        break;
    case H2_SETTINGS:
        input_on_settings(s, p, n);
        break;
    case H2_PING:
        if (s->frame.flags & H2_ACK) {
            h2_window_on_ping(s, p);
        } else {
            input_acknowledge(s, H2_PING, p, n);
        }
        break;
    case H2_GOAWAY:
        s->is_peer_leaving = true;
        if (s->is_client) {
            h2_client_on_goaway(s, get_u32(p) & INT32_MAX);
        }
        break;
    case H2_WINDOW_UPDATE:
        input_on_window_update(s, p);
        break;
    case H2_PRIORITY_UPDATE:
        input_on_priority_update(s, p, n);
        break;
    default:
        break;
    }
}

/* ---- bytes ---- */

static void input_start_frame(struct h2_session *s, const uint8_t *p)
{
    s->frame = (struct h2_frame){
        .length = get_u32(p) >> 8, .type = p[3], .flags = p[4], .id = get_u32(p + 5) & INT32_MAX};
    s->left = s->frame.length;
    enum h2_code code = input_check(s, &s->frame);
    if (code != H2_NO_ERROR) {
        h2_session_fail(s, code);
        return;
    }
    enum h2_abuse abuse = input_count(s, &s->frame);
    if (abuse != H2_ABUSE_NONE) {
        h2_session_fail_calm(s, abuse);
        return;
    }
    if (s->frame.type == H2_HEADERS) {
        s->is_within_head = true;
    } else if (s->frame.type == H2_DATA) {
        input_start_data(s);
    }
}

static size_t input_head(struct h2_session *s, const uint8_t *p, size_t n)
{
    if (s->head_n == 0 && n >= H2_FRAME_HEAD_BYTES) {
        s->head_n = H2_FRAME_HEAD_BYTES;
        input_start_frame(s, p);
        return H2_FRAME_HEAD_BYTES;
    }
    size_t step = H2_FRAME_HEAD_BYTES - s->head_n;
    step = step < n ? step : n;
    memcpy(s->head + s->head_n, p, step);
    s->head_n += (uint32_t)step;
    if (s->head_n == H2_FRAME_HEAD_BYTES) {
        input_start_frame(s, s->head);
    }
    return step;
}

/* A payload that is to be read whole; frames of kinds that are not known are dropped. */
static size_t input_take(struct h2_session *s, const uint8_t *p, size_t n)
{
    size_t step = s->left < n ? s->left : n;
    s->left -= (uint32_t)step;
    bool is_known = s->frame.type <= H2_CONTINUATION || s->frame.type == H2_PRIORITY_UPDATE;
    if (!is_known) {
        return step;
    }
    if (s->left == 0 && s->payload.n == 0) {
        input_on_frame(s, p, step);
        return step;
    }
    buf_add(&s->payload, p, step);
    if (s->payload.is_failed) {
        h2_session_exhaust(s);
    } else if (s->left == 0) {
        input_on_frame(s, (const uint8_t *)s->payload.p, s->payload.n);
        buf_done(&s->payload);
        buf_init(&s->payload, 0);
    }
    return step;
}

static size_t input_preface(struct h2_session *s, const uint8_t *p, size_t n)
{
    size_t step = H2_PREFACE_BYTES - s->preface_n;
    step = step < n ? step : n;
    if (memcmp(p, &H2_PREFACE[s->preface_n], step) != 0) {
        h2_session_fail(s, H2_PROTOCOL_ERROR);
    }
    s->preface_n += (uint32_t)step;
    return step;
}

static size_t input_step(struct h2_session *s, const uint8_t *p, size_t n)
{
    size_t step = 0;
    if (s->preface_n < H2_PREFACE_BYTES) {
        return input_preface(s, p, n);
    }
    if (s->head_n < H2_FRAME_HEAD_BYTES) {
        step = input_head(s, p, n);
    } else if (s->frame.type == H2_DATA) {
        step = input_take_data(s, p, n);
    } else {
        step = input_take(s, p, n);
    }
    if (s->is_failed || s->head_n < H2_FRAME_HEAD_BYTES || s->left > 0) {
        return step;
    }
    /* The frame is complete; one without a payload by its head alone. */
    s->head_n = 0;
    if (s->frame.type == H2_DATA) {
        input_end_data(s);
    } else if (s->frame.length == 0) {
        input_on_frame(s, p, 0);
    }
    return step;
}

enum err h2_session_recv(struct h2_session *s, uint64_t now_ms, const char *bytes, size_t n)
{
    const uint8_t *p = (const uint8_t *)bytes;
    s->now_ms = now_ms;
    while (n > 0 && !s->is_failed) {
        size_t step = input_step(s, p, n);
        p += step;
        n -= step;
    }
    return s->is_exhausted ? ERR_NOMEM : ERR_OK;
}
