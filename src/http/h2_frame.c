/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that the engine passes over although they are errors of the connection: those of streams
 * that closed (RFC 9113 5.1) and of the old priorities. */
#include <string.h>

#include "http/h2_session_int.h"

void h2_frame_closed(struct h2_session *s, int32_t id, bool is_by_us)
{
    uint32_t *place = &s->closed[s->closed_count++ % H2_CLOSED_MAX];
    if ((*place & 1) && *place >> 1 > s->closed_floor) {
        s->closed_floor = *place >> 1;
    }
    *place = (uint32_t)id << 1 | is_by_us;
}

static uint32_t h2_frame_find_closed(const struct h2_session *s, int32_t id)
{
    for (size_t i = 0; i < H2_CLOSED_MAX; i++) {
        if (s->closed[i] >> 1 == (uint32_t)id) {
            return s->closed[i];
        }
    }
    return 0;
}

uint32_t h2_frame_check(const struct h2_session *s, const nghttp2_frame_hd *frame)
{
    if (frame->type == NGHTTP2_PRIORITY && frame->stream_id == 0) {
        return NGHTTP2_PROTOCOL_ERROR;
    }
    bool is_of_stream = frame->type == NGHTTP2_DATA || frame->type == NGHTTP2_HEADERS;
    if (!is_of_stream || frame->stream_id % 2 == 0 || frame->stream_id > s->last_id ||
        nghttp2_session_find_stream(s->engine, frame->stream_id) ||
        (uint32_t)frame->stream_id <= s->closed_floor) {
        return NGHTTP2_NO_ERROR;
    }
    uint32_t closed = h2_frame_find_closed(s, frame->stream_id);
    if (closed & 1) {
        return NGHTTP2_NO_ERROR;
    }
    /* RFC 9113 5.1.1: identifiers only grow. */
    bool is_reused = frame->type == NGHTTP2_HEADERS && closed == 0;
    return is_reused ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_STREAM_CLOSED;
}

static uint32_t h2_frame_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* All but heads, which the engine tells of before it begins with them. */
static bool h2_frame_is_looked_at(struct h2_session *s, uint8_t type, uint32_t length)
{
    if (type == NGHTTP2_HEADERS) {
        s->block_bytes = length;
        s->block_frames = 0;
        return length > s->mux.limits.header_bytes_max;
    }
    if (type == NGHTTP2_CONTINUATION) {
        s->block_bytes += length;
        s->block_frames++;
    }
    return true;
}

bool h2_frame_is_long_block(const struct h2_session *s, uint8_t type)
{
    bool is_block = type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION;
    return is_block && (s->block_bytes > s->mux.limits.header_bytes_max ||
                        s->block_frames > H2_CONTINUATIONS_MAX);
}

size_t h2_frame_scan(struct h2_session *s, const char *bytes, size_t n, bool *ret_is_found)
{
    size_t at = 0;
    *ret_is_found = false;
    while (at < n && !*ret_is_found) {
        if (s->scan_skip) {
            size_t step = n - at < s->scan_skip ? n - at : s->scan_skip;
            s->scan_skip -= (uint32_t)step;
            at += step;
            continue;
        }
        bool has_head = s->scan_have >= H2_FRAME_HEAD_BYTES;
        size_t wanted = (has_head ? H2_SCAN_BYTES : H2_FRAME_HEAD_BYTES) - s->scan_have;
        size_t step = n - at < wanted ? n - at : wanted;
        memcpy(s->scan_head + s->scan_have, bytes + at, step);
        s->scan_have += (uint32_t)step;
        at += step;
        if (step < wanted) {
            break;
        }
        uint32_t length = h2_frame_u32(s->scan_head) >> 8;
        uint8_t type = s->scan_head[3];
        if (!has_head && type == NGHTTP2_PRIORITY && length >= 4) {
            continue;
        }
        s->scan_skip = length - (has_head ? 4 : 0);
        s->scan_have = 0;
        *ret_is_found = h2_frame_is_looked_at(s, type, length);
    }
    return at;
}

uint32_t h2_frame_found(const struct h2_session *s, nghttp2_frame_hd *ret_frame)
{
    uint32_t id = h2_frame_u32(s->scan_head + 5) & INT32_MAX;
    *ret_frame = (nghttp2_frame_hd){.length = h2_frame_u32(s->scan_head) >> 8,
                                    .stream_id = (int32_t)id,
                                    .type = s->scan_head[3],
                                    .flags = s->scan_head[4]};
    bool is_priority = ret_frame->type == NGHTTP2_PRIORITY && ret_frame->length >= 4;
    if (is_priority && (h2_frame_u32(s->scan_head + H2_FRAME_HEAD_BYTES) & INT32_MAX) == id) {
        return NGHTTP2_PROTOCOL_ERROR; /* it depends on itself, RFC 7540 5.3.1 */
    }
    return h2_frame_check(s, ret_frame);
}
