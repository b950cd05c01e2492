/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent. Frames but DATA are encoded into a queue when they are decided, because header
 * blocks must leave in the order in which the table was changed. DATA is made when it is pulled:
 * the most urgent stream first, those of one urgency one after the other, or in turn where they say
 * that parts of them are of use (RFC 9218 section 10). */
#include "base/assert.h"
#include "http/h2_session_int.h"

static void put_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static void put_head(uint8_t *p, size_t length, enum h2_type type, unsigned flags, uint32_t id)
{
    put_u32(p, (uint32_t)length << 8 | (uint32_t)type);
    p[4] = (uint8_t)flags;
    put_u32(p + 5, id);
}

/* ---- frames without a head ---- */

static void put_frame(struct buf *out, enum h2_type type, unsigned flags, uint32_t id,
                      const uint8_t *payload, size_t n)
{
    uint8_t head[H2_FRAME_HEAD_BYTES];
    put_head(head, n, type, flags, id);
    buf_add(out, head, sizeof(head));
    if (n) {
        buf_add(out, payload, n);
    }
}

void h2_put(struct h2_session *s, enum h2_type type, unsigned flags, uint32_t id,
            const uint8_t *payload, size_t n)
{
    if (s->is_failed) {
        return;
    }
    put_frame(&s->queue, type, flags, id, payload, n);
    s->queue_frames++;
    if (s->queue.is_failed) {
        h2_session_exhaust(s);
    }
}

void h2_put_u32(struct h2_session *s, enum h2_type type, uint32_t id, uint32_t value)
{
    uint8_t payload[4];
    put_u32(payload, value);
    h2_put(s, type, 0, id, payload, sizeof(payload));
}

#define GOAWAY_BYTES 8
static void put_goaway(uint8_t payload[GOAWAY_BYTES], uint32_t last_id, enum h2_code code)
{
    put_u32(payload, last_id);
    put_u32(payload + 4, (uint32_t)code);
}

uint32_t h2_last_taken(const struct h2_session *s)
{
    return s->is_client ? 0 : s->last_id; /* servers open none: there is no push */
}

void h2_put_goaway(struct h2_session *s, uint32_t last_id, enum h2_code code)
{
    uint8_t payload[GOAWAY_BYTES];
    put_goaway(payload, last_id, code);
    h2_put(s, H2_GOAWAY, 0, 0, payload, sizeof(payload));
}

/* ---- heads ---- */

/* Cuts what stands in `out` from `start` on, room for a frame's head first, into frames. */
static void put_block(struct buf *out, size_t start, unsigned flags, uint32_t id)
{
    size_t n = out->n - start - H2_FRAME_HEAD_BYTES;
    if (n <= H2_FRAME_BYTES_MAX) {
        put_head((uint8_t *)out->p + start, n, H2_HEADERS, flags | H2_END_HEADERS, id);
        return;
    }
    size_t more = (n - 1) / H2_FRAME_BYTES_MAX;
    if (!buf_reserve(out, more * H2_FRAME_HEAD_BYTES)) {
        return;
    }
    /* From the last one to the first, each moved behind the heads of those before it. */
    uint8_t *block = (uint8_t *)out->p + start + H2_FRAME_HEAD_BYTES;
    for (size_t i = more; i > 0; i--) {
        size_t at = i * H2_FRAME_BYTES_MAX;
        size_t length = i == more ? n - at : H2_FRAME_BYTES_MAX;
        uint8_t *to = block + at + i * H2_FRAME_HEAD_BYTES;
        memmove(to, block + at, length);
        put_head(to - H2_FRAME_HEAD_BYTES, length, H2_CONTINUATION, i == more ? H2_END_HEADERS : 0,
                 id);
    }
    put_head(block - H2_FRAME_HEAD_BYTES, H2_FRAME_BYTES_MAX, H2_HEADERS, flags, id);
    out->n += more * H2_FRAME_HEAD_BYTES;
}

size_t h2_put_block_begin(struct h2_session *s)
{
    static const uint8_t head[H2_FRAME_HEAD_BYTES];
    size_t start = s->queue.n;
    buf_add(&s->queue, head, sizeof(head));
    hpack_encode_start(&s->encoder, &s->queue);
    return start;
}

void h2_put_block_end(struct h2_session *s, size_t start, unsigned flags, uint32_t id)
{
    struct buf *out = &s->queue;
    if (!out->is_failed) {
        put_block(out, start, flags, id);
    }
    if (out->is_failed) {
        h2_session_exhaust(s); /* the table is not what the peer thinks any more */
    }
}

/* `status` 0: trailers. */
static void put_fields(struct h2_session *s, const struct mux_block *b, uint16_t status,
                       unsigned flags, uint32_t id)
{
    size_t start = h2_put_block_begin(s);
    if (status) {
        hpack_encode_status(&s->encoder, &s->queue, status);
    }
    for (size_t i = status ? 1 : 0; i < b->n; i++) {
        hpack_encode(&s->encoder, &s->queue, b->v[i].id, b->v[i].name, b->v[i].value);
    }
    h2_put_block_end(s, start, flags, id);
}

static void output_due(struct h2_session *s, struct h2_stream *h)
{
    if (list_is_empty(&h->due)) {
        list_push_back(&s->due, &h->due);
    }
}

enum err h2_session_respond(struct h2_session *s, struct mux_stream *stream,
                            const struct mux_response *response)
{
    struct h2_stream *h = h2_stream_of(stream);
    struct mux_block fields;
    enum err e = mux_block_fill(&fields, response, &stream->arena);
    if (e || s->is_failed || stream->is_resetting) {
        return e;
    }
    put_fields(s, &fields, response->head->status, response->has_body ? 0 : H2_END_STREAM, h->id);
    if (s->is_exhausted) {
        return ERR_NOMEM;
    }
    h->has_body = response->has_body;
    if (h->has_body) {
        h->is_offering = true;
        h2_output_ready(s, h);
    } else {
        h->is_ended = true;
        output_due(s, h);
    }
    return ERR_OK;
}

void h2_session_interim(struct h2_session *s, struct mux_stream *stream, uint16_t status,
                        const struct http_fields *fields)
{
    struct mux_block block;
    mux_block_start(&block, status);
    enum err e = fields ? mux_block_add_fields(&block, fields, false, &stream->arena) : ERR_OK;
    if (!e && !s->is_failed && !stream->is_resetting) {
        put_fields(s, &block, status, 0, h2_stream_of(stream)->id);
    }
}

static void put_trailers(struct h2_session *s, struct h2_stream *h)
{
    struct mux_block fields;
    fields.n = 0;
    if (mux_block_add_fields(&fields, &h->stream->ending, true, &h->stream->arena) != ERR_OK) {
        h2_stream_reset(s, h, H2_INTERNAL_ERROR);
        return;
    }
    put_fields(s, &fields, 0, H2_END_STREAM, h->id);
}

/* ---- order ---- */

static bool output_is_behind(const struct list *at, const struct h2_stream *h)
{
    const struct h2_stream *other = CONTAINER_OF(at, struct h2_stream, ready);
    return !other->priority.is_incremental && other->id < h->id;
}

/* Those that go one after the other stand in front, by their ids; the others take turns. */
void h2_output_ready(struct h2_session *s, struct h2_stream *h)
{
    struct list *ready = &s->ready[h->priority.urgency];
    s->has_ends |= s->send_window <= 0;
    if (!h->is_offering || h->is_ended || h->stream->is_resetting || !list_is_empty(&h->ready)) {
        return;
    }
    struct list *at = ready;
    while (!h->priority.is_incremental && at->prev != ready && !output_is_behind(at->prev, h)) {
        at = at->prev;
    }
    list_insert_before(at, &h->ready);
}

void h2_output_prioritise(struct h2_session *s, struct h2_stream *h, struct http_priority p)
{
    bool was_ready = !list_is_empty(&h->ready);
    h->priority = p;
    h->has_update = true;
    if (was_ready) {
        list_remove(&h->ready);
        h2_output_ready(s, h);
    }
}

void h2_session_resume(struct h2_session *s, struct mux_stream *stream)
{
    struct h2_stream *h = h2_stream_of(stream);
    if (h->has_body && !s->is_failed) {
        h->is_offering = true;
        h2_output_ready(s, h);
    }
}

static struct h2_stream *output_next(const struct h2_session *s)
{
    for (unsigned i = 0; i < HTTP_URGENCY_COUNT; i++) {
        if (!list_is_empty(&s->ready[i])) {
            return CONTAINER_OF(s->ready[i].next, struct h2_stream, ready);
        }
    }
    return NULL;
}

/* ---- bodies ---- */

static size_t output_bytes_max(const struct h2_session *s, const struct h2_stream *h)
{
    int64_t max = s->send_window < h->send_window ? s->send_window : h->send_window;
    return max <= 0 ? 0 : max < H2_FRAME_BYTES_MAX ? (size_t)max : H2_FRAME_BYTES_MAX;
}

/* One DATA frame of `h`, or none where it has nothing to say. */
static void output_data(struct h2_session *s, struct h2_stream *h)
{
    struct mux_stream *stream = h->stream;
    size_t before = s->out->n, max = output_bytes_max(s, h);
    bool is_last = false;
    size_t n = s->mux.events.on_offer(s->mux.events.context, stream, max, &is_last);
    ASSERT(n <= max);
    if (stream->is_resetting) {
        return; /* it was reset within the event */
    }
    if (n == 0 && !is_last) {
        /* Without a window it comes back with one, otherwise when there is more to offer. */
        h->is_offering = max == 0;
        if (s->send_window > 0) {
            list_remove(&h->ready);
        }
        return;
    }
    bool has_trailers = is_last && stream->ending.n > 0;
    if (n > 0 || !has_trailers) {
        uint8_t head[H2_FRAME_HEAD_BYTES];
        put_head(head, n, H2_DATA, is_last && !has_trailers ? H2_END_STREAM : 0, h->id);
        buf_add(s->out, head, sizeof(head));
    }
    enum err e = n ? s->mux.events.on_take(s->mux.events.context, stream, s->out, n) : ERR_OK;
    if (s->out->is_failed) {
        h2_session_exhaust(s);
        return;
    }
    if (e) {
        s->out->n = before;
        h2_stream_reset(s, h, H2_INTERNAL_ERROR);
        return;
    }
    s->send_window -= (int64_t)n;
    h->send_window -= (int64_t)n;
    s->has_ends |= s->send_window <= 0;
    s->update_credit = s->update_credit < H2_CONTROL_MAX ? s->update_credit + 2 : H2_CONTROL_MAX;
    if (stream->is_resetting) {
        return;
    }
    if (!is_last) {
        if (h->priority.is_incremental) {
            list_remove(&h->ready);
            list_push_back(&s->ready[h->priority.urgency], &h->ready);
        }
        return;
    }
    list_remove(&h->ready);
    if (has_trailers) {
        put_trailers(s, h);
    }
    if (!stream->is_resetting) {
        h->is_ended = true;
        output_due(s, h);
    }
}

/* Where the connection has no window, an end without bytes needs none (RFC 9113 6.9.1): a stream
 * whose owner is done does not wait for the bodies of others. All are asked once for each time that
 * one became ready, and keep their order; a head that is queued meanwhile goes first. */
static void output_ends(struct h2_session *s)
{
    s->has_ends = false;
    for (unsigned i = 0; i < HTTP_URGENCY_COUNT && !s->is_failed; i++) {
        struct list asked;
        list_init(&asked);
        list_splice(&asked, &s->ready[i]);
        while (!list_is_empty(&asked)) {
            struct h2_stream *h = CONTAINER_OF(asked.next, struct h2_stream, ready);
            list_remove(&h->ready);
            list_push_back(&s->ready[i], &h->ready);
            if (s->queue.n > 0) {
                s->has_ends = true;
            } else if (!s->is_failed) {
                output_data(s, h);
            }
        }
    }
}

/* The events of what has gone out, or is on its way out. */
static void output_tell(struct h2_session *s)
{
    while (!list_is_empty(&s->due) && !s->is_failed) {
        struct h2_stream *h = CONTAINER_OF(s->due.next, struct h2_stream, due);
        struct mux_stream *stream = h->stream;
        list_remove(&h->due);
        if (h->is_ended && !stream->is_resetting && !stream->is_answered) {
            stream->is_answered = true;
            s->mux.events.on_answered(s->mux.events.context, stream);
        }
        if (stream->is_resetting) {
            h2_stream_gone(s, h, h2_stream_is_whole(s, stream) ? ERR_OK : ERR_RESET);
        } else if (stream->is_answered && stream->is_body_done) {
            h2_closed_add(s, h->id, false);
            h2_stream_gone(s, h, ERR_OK);
        }
    }
}

static void output_queue(struct h2_session *s)
{
    if (s->queue.n) {
        buf_add_str(s->out, buf_str(&s->queue));
        buf_clear(&s->queue);
    }
    s->queue_frames = 0;
    s->queue_acks = 0;
}

enum err h2_session_pull(struct h2_session *s, uint64_t now_ms, struct buf *out, size_t bytes_max)
{
    s->now_ms = now_ms;
    s->out = out;
    bool is_asked = false;
    while (!s->is_failed) {
        output_queue(s);
        output_tell(s);
        if (s->is_failed || s->queue.n > 0) {
            continue; /* what the events gave goes first */
        }
        struct h2_stream *h = s->send_window > 0 ? output_next(s) : NULL;
        if (s->send_window <= 0 && s->has_ends && !is_asked) {
            is_asked = true;
            output_ends(s);
        } else if (h && out->n < bytes_max) {
            output_data(s, h);
        } else {
            break;
        }
    }
    if (s->is_failed && !s->is_goaway_pulled && !s->is_exhausted) {
        uint8_t payload[GOAWAY_BYTES];
        put_goaway(payload, h2_last_taken(s), s->goaway_code);
        output_queue(s);
        put_frame(out, H2_GOAWAY, 0, 0, payload, sizeof(payload));
        s->is_goaway_pulled = true;
    }
    if (s->mux.stream_count == 0) {
        buf_done(&s->queue); /* an idle connection needs none */
        buf_init(&s->queue, 0);
    }
    s->out = NULL;
    return out->is_failed || s->is_exhausted ? ERR_NOMEM : ERR_OK;
}

bool h2_session_wants_output(const struct h2_session *s)
{
    if (s->is_failed) {
        return !s->is_goaway_pulled;
    }
    return s->queue.n > 0 || !list_is_empty(&s->due) ||
           ((s->send_window > 0 || s->has_ends) && output_next(s));
}
