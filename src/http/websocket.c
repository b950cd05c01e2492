/* SPDX-License-Identifier: Apache-2.0 */
#include "http/websocket.h"

#include "base/assert.h"
#include "http/websocket_mask_int.h"

#define FIN 0x80
#define RSV1 0x40
#define RSV_OTHER 0x30
#define OPCODE 0x0f
#define IS_CONTROL 0x08
#define MASKED 0x80
#define LENGTH 0x7f
#define LENGTH_16 126
#define LENGTH_64 127
#define KEY_BYTES 4
#define PIECE_BYTES 4096 /* unmasked at a time before it is inflated */

static const char deflate_tail[4] = {0, 0, '\xff', '\xff'};

void websocket_init(struct websocket *w, const struct websocket_deflate *deflate,
                    struct websocket_pool *pool, uint64_t message_bytes_max)
{
    *w = (struct websocket){.deflate = *deflate,
                            .pool = pool,
                            .message_bytes_max = message_bytes_max,
                            .head_needed = 2};
}

static void websocket_close_inflater(struct websocket *w)
{
    websocket_inflater_close(w->pool, w->inflater);
    w->inflater = NULL;
}

void websocket_done(struct websocket *w)
{
    websocket_close_inflater(w);
    w->state = WEBSOCKET_ENDED;
}

bool websocket_close_code_is_valid(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static enum websocket_event_kind websocket_fail(struct websocket *w, struct websocket_event *event,
                                                enum websocket_code code, struct str reason)
{
    websocket_done(w);
    event->code = (uint16_t)code;
    event->bytes = reason;
    return WEBSOCKET_EVENT_FAILED;
}

/* ---- the head of a frame, byte by byte, so that a fault shows at once ---- */

/* A sentence where the first byte must not be. */
static const char *websocket_check_first(const struct websocket *w)
{
    uint8_t byte = w->head[0];
    uint8_t opcode = byte & OPCODE;
    bool is_start = opcode == WEBSOCKET_TEXT || opcode == WEBSOCKET_BINARY;
    if (byte & RSV_OTHER || (byte & RSV1 && !(w->deflate.is_on && is_start))) {
        return "reserved bit";
    }
    if (opcode & IS_CONTROL) {
        if (opcode > WEBSOCKET_PONG) {
            return "reserved opcode";
        }
        return byte & FIN ? NULL : "fragmented control frame";
    }
    if (opcode == WEBSOCKET_CONTINUATION) {
        return w->is_message ? NULL : "nothing to continue";
    }
    if (!is_start) {
        return "reserved opcode";
    }
    return w->is_message ? "message within a message" : NULL;
}

static const char *websocket_check_second(struct websocket *w)
{
    uint8_t length = w->head[1] & LENGTH;
    if (!(w->head[1] & MASKED)) {
        return "frame without mask";
    }
    if (w->head[0] & IS_CONTROL && length > WEBSOCKET_CONTROL_BYTES_MAX) {
        return "long control frame";
    }
    unsigned extra = length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0;
    w->head_needed = (uint8_t)(2 + extra + KEY_BYTES);
    return NULL;
}

/* All bytes of the length are there. RFC 6455 5.2: the shortest form, and no more than 63 bits. */
static const char *websocket_check_length(struct websocket *w)
{
    uint8_t length = w->head[1] & LENGTH;
    unsigned extra = w->head_needed - 2u - KEY_BYTES;
    uint64_t n = extra ? 0 : length;
    for (unsigned i = 0; i < extra; i++) {
        n = n << 8 | w->head[2 + i];
    }
    w->payload_left = n;
    if ((extra == 2 && n <= WEBSOCKET_CONTROL_BYTES_MAX) || (extra == 8 && n <= UINT16_MAX)) {
        return "length not in its shortest form";
    }
    return n > INT64_MAX ? "length past 63 bits" : NULL;
}

/* The mask is read. */
static void websocket_begin_payload(struct websocket *w)
{
    memcpy(&w->key, w->head + w->head_needed - KEY_BYTES, KEY_BYTES);
    w->opcode = w->head[0] & OPCODE;
    w->head_bytes = 0;
    w->head_needed = 2;
    if (w->opcode & IS_CONTROL) {
        w->state = WEBSOCKET_CONTROL;
        w->control_bytes = 0;
        return;
    }
    w->state = WEBSOCKET_PAYLOAD;
    w->is_final = (w->head[0] & FIN) != 0;
    if (w->opcode != WEBSOCKET_CONTINUATION) {
        w->is_message = true;
        w->is_first = true;
        w->is_text = w->opcode == WEBSOCKET_TEXT;
        w->is_compressed = (w->head[0] & RSV1) != 0;
        w->message_left = w->message_bytes_max;
        w->utf8 = (struct utf8){0};
    }
    w->tail_left = w->is_final && w->is_compressed ? sizeof(deflate_tail) : 0;
}

/* Whether a frame of this length may come. What is compressed is limited when it is inflated. */
static bool websocket_fits(const struct websocket *w)
{
    uint8_t first = w->head[0];
    bool is_start = (first & OPCODE) != WEBSOCKET_CONTINUATION;
    bool is_compressed = is_start ? (first & RSV1) != 0 : w->is_compressed;
    uint64_t left = is_start ? w->message_bytes_max : w->message_left;
    return first & IS_CONTROL || is_compressed || w->payload_left <= left;
}

static bool websocket_is_flooded(struct websocket *w, uint64_t now_ms)
{
    if (now_ms - w->window_ms >= WEBSOCKET_CONTROL_WINDOW_MS) {
        w->window_ms = now_ms;
        w->window_count = 0;
    }
    return ++w->window_count > WEBSOCKET_CONTROL_COUNT_MAX;
}

static enum websocket_event_kind
websocket_read_head(struct websocket *w, struct websocket_input *in, struct websocket_event *event)
{
    while (in->n) {
        const char *fault = NULL;
        w->head[w->head_bytes++] = (uint8_t)*in->p++;
        in->n--;
        if (w->head_bytes == 1) {
            fault = websocket_check_first(w);
        } else if (w->head_bytes == 2) {
            fault = websocket_check_second(w);
        }
        if (!fault && w->head_bytes >= 2 && w->head_bytes + KEY_BYTES == w->head_needed) {
            fault = websocket_check_length(w);
            if (!fault && !websocket_fits(w)) {
                return websocket_fail(w, event, WEBSOCKET_CODE_TOO_BIG, STR("message too long"));
            }
        }
        if (fault) {
            return websocket_fail(w, event, WEBSOCKET_CODE_PROTOCOL, str_of(fault));
        }
        if (w->head_bytes == w->head_needed) {
            websocket_begin_payload(w);
            if (w->state == WEBSOCKET_CONTROL && websocket_is_flooded(w, in->now_ms)) {
                return websocket_fail(w, event, WEBSOCKET_CODE_POLICY,
                                      STR("too many control frames"));
            }
            break;
        }
    }
    return WEBSOCKET_EVENT_MORE;
}

/* ---- control frames ---- */

static enum websocket_event_kind websocket_closed(struct websocket *w,
                                                  struct websocket_event *event)
{
    size_t n = w->control_bytes;
    if (n == 1) {
        return websocket_fail(w, event, WEBSOCKET_CODE_PROTOCOL, STR("half a close code"));
    }
    event->code = WEBSOCKET_CODE_NONE;
    if (n) {
        event->code = (uint16_t)((uint8_t)w->control[0] << 8 | (uint8_t)w->control[1]);
        if (!websocket_close_code_is_valid(event->code)) {
            return websocket_fail(w, event, WEBSOCKET_CODE_PROTOCOL, STR("no valid close code"));
        }
        event->bytes = str_make(w->control + 2, n - 2);
        if (!utf8_is_valid(event->bytes.p, event->bytes.n)) {
            return websocket_fail(w, event, WEBSOCKET_CODE_INVALID_DATA,
                                  STR("close reason is not UTF-8"));
        }
    }
    websocket_done(w);
    return WEBSOCKET_EVENT_CLOSE;
}

static enum websocket_event_kind websocket_read_control(struct websocket *w,
                                                        struct websocket_input *in,
                                                        struct websocket_event *event)
{
    size_t n = in->n < w->payload_left ? in->n : (size_t)w->payload_left;
    websocket_mask(w->control + w->control_bytes, in->p, n, w->key);
    w->key = websocket_mask_rotate(w->key, n);
    w->control_bytes = (uint8_t)(w->control_bytes + n);
    w->payload_left -= n;
    in->p += n;
    in->n -= n;
    if (w->payload_left) {
        return WEBSOCKET_EVENT_MORE;
    }
    w->state = WEBSOCKET_HEAD;
    if (w->opcode == WEBSOCKET_CLOSE) {
        return websocket_closed(w, event);
    }
    event->bytes = str_make(w->control, w->control_bytes);
    return w->opcode == WEBSOCKET_PING ? WEBSOCKET_EVENT_PING : WEBSOCKET_EVENT_PONG;
}

/* ---- messages ---- */

/* `n` bytes of the message are ready. MORE: they are in order, but there is nothing to tell. */
static enum websocket_event_kind websocket_made(struct websocket *w,
                                                const struct websocket_input *in, size_t n,
                                                struct websocket_event *event)
{
    /* What lies within the limit is judged first, so that the verdict does not depend on cuts. */
    size_t within = n < w->message_left ? n : (size_t)w->message_left;
    if (w->is_text && !utf8_feed(&w->utf8, in->out, within)) {
        return websocket_fail(w, event, WEBSOCKET_CODE_INVALID_DATA, STR("text is not UTF-8"));
    }
    if (within < n) {
        return websocket_fail(w, event, WEBSOCKET_CODE_TOO_BIG, STR("message too long"));
    }
    w->message_left -= n;
    bool is_frame_end = w->payload_left == 0 && w->tail_left == 0 && !w->has_more_output;
    event->is_last = is_frame_end && w->is_final;
    if (event->is_last) {
        if (w->is_text && !utf8_is_complete(&w->utf8)) {
            return websocket_fail(w, event, WEBSOCKET_CODE_INVALID_DATA, STR("text is not UTF-8"));
        }
        w->is_message = false;
    }
    if (is_frame_end) {
        w->state = WEBSOCKET_HEAD;
    }
    if (n == 0 && !event->is_last) {
        return WEBSOCKET_EVENT_MORE;
    }
    event->is_text = w->is_text;
    event->is_first = w->is_first;
    event->bytes = str_make(in->out, n);
    w->is_first = false;
    return WEBSOCKET_EVENT_DATA;
}

static enum websocket_event_kind
websocket_read_plain(struct websocket *w, struct websocket_input *in, struct websocket_event *event)
{
    size_t n = in->n < w->payload_left ? in->n : (size_t)w->payload_left;
    n = n < in->out_bytes ? n : in->out_bytes;
    websocket_mask(in->out, in->p, n, w->key);
    w->key = websocket_mask_rotate(w->key, n);
    w->payload_left -= n;
    in->p += n;
    in->n -= n;
    return websocket_made(w, in, n, event);
}

/* Inflates the next piece of the input or of the tail. */
static enum err websocket_inflate_piece(struct websocket *w, struct websocket_input *in,
                                        struct websocket_inflate_step *step)
{
    char piece[PIECE_BYTES];
    size_t n = in->n < w->payload_left ? in->n : (size_t)w->payload_left;
    n = n < sizeof(piece) ? n : sizeof(piece);
    bool is_tail = w->payload_left == 0;
    if (is_tail) {
        n = w->tail_left;
        memcpy(piece, deflate_tail + sizeof(deflate_tail) - n, n);
    } else {
        websocket_mask(piece, in->p, n, w->key);
    }
    step->in = piece;
    step->in_bytes = n;
    enum err e = websocket_inflate(w->inflater, step);
    size_t used = n - step->in_bytes;
    if (is_tail) {
        w->tail_left = (uint8_t)(w->tail_left - used);
    } else {
        w->key = websocket_mask_rotate(w->key, used);
        w->payload_left -= used;
        in->p += used;
        in->n -= used;
    }
    w->has_more_output = step->out_bytes == 0;
    return e;
}

static enum websocket_event_kind websocket_read_compressed(struct websocket *w,
                                                           struct websocket_input *in,
                                                           struct websocket_event *event)
{
    struct websocket_inflate_step step = {.out = in->out, .out_bytes = in->out_bytes};
    enum err e = ERR_OK;
    if (!w->inflater) {
        e = websocket_inflater_open(w->pool, &w->inflater);
    }
    while (!e && step.out_bytes) {
        bool has_input = w->payload_left ? in->n > 0 : w->tail_left > 0;
        if (!has_input && !w->has_more_output) {
            break;
        }
        e = websocket_inflate_piece(w, in, &step);
    }
    if (e == ERR_NOMEM) {
        return websocket_fail(w, event, WEBSOCKET_CODE_INTERNAL, STR("out of memory"));
    }
    if (e) {
        /* What came before the fault may hold another one. */
        w->payload_left = 1;
    }
    enum websocket_event_kind kind = websocket_made(w, in, in->out_bytes - step.out_bytes, event);
    if (kind == WEBSOCKET_EVENT_FAILED) {
        return kind;
    }
    bool is_cut = !w->is_message && !websocket_inflater_is_at_end(w->inflater);
    if (e || is_cut) {
        return websocket_fail(w, event, WEBSOCKET_CODE_INVALID_DATA, STR("cannot be inflated"));
    }
    if (!w->is_message && w->deflate.client_no_context_takeover) {
        websocket_close_inflater(w);
    }
    return kind;
}

enum websocket_event_kind websocket_next(struct websocket *w, struct websocket_input *in,
                                         struct websocket_event *ret_event)
{
    enum websocket_event_kind kind = WEBSOCKET_EVENT_MORE;
    *ret_event = (struct websocket_event){.bytes = {"", 0}};
    ASSERT(in->out_bytes > 0);
    in->p = in->p ? in->p : "";
    while (kind == WEBSOCKET_EVENT_MORE) {
        size_t before = in->n;
        uint8_t state = w->state;
        switch ((enum websocket_state)state) {
        case WEBSOCKET_HEAD:
            kind = websocket_read_head(w, in, ret_event);
            break;
        case WEBSOCKET_PAYLOAD:
            kind = w->is_compressed ? websocket_read_compressed(w, in, ret_event)
                                    : websocket_read_plain(w, in, ret_event);
            break;
        case WEBSOCKET_CONTROL:
            kind = websocket_read_control(w, in, ret_event);
            break;
        case WEBSOCKET_ENDED:
            in->p += in->n;
            in->n = 0;
            return WEBSOCKET_EVENT_MORE;
        }
        if (in->n == before && w->state == state) {
            break;
        }
    }
    return kind;
}
