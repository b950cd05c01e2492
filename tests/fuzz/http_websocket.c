/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole or cut into pieces of any size, with much memory for what is made or little: the same
 * messages and control frames, the same end. The first byte chooses what was agreed on, the second
 * the cuts.
 */
#include "base/assert.h"
#include "http/websocket.h"

#define MESSAGE_BYTES_MAX 5000
#define OUT_BYTES_MAX 8192

struct outcome {
    struct buf messages; /* each whole one, and what ended the connection */
    struct buf message;  /* that is coming */
    bool is_ended;
};

static void take(struct outcome *o, enum websocket_event_kind kind, const struct websocket_event *e)
{
    ASSERT(!o->is_ended || kind == WEBSOCKET_EVENT_MORE);
    switch (kind) {
    case WEBSOCKET_EVENT_MORE:
        break;
    case WEBSOCKET_EVENT_DATA:
        ASSERT(e->is_first == (o->message.n == 0));
        if (e->is_first) {
            buf_add_char(&o->message, e->is_text ? 'T' : 'B');
        }
        buf_add_str(&o->message, e->bytes);
        ASSERT(o->message.n <= MESSAGE_BYTES_MAX + 1);
        if (e->is_last) {
            ASSERT(!e->is_text || utf8_is_valid(o->message.p + 1, o->message.n - 1));
            buf_add_str(&o->messages, buf_str(&o->message));
            buf_clear(&o->message);
        }
        break;
    case WEBSOCKET_EVENT_PING:
    case WEBSOCKET_EVENT_PONG:
        ASSERT(e->bytes.n <= WEBSOCKET_CONTROL_BYTES_MAX);
        buf_add_char(&o->messages, kind == WEBSOCKET_EVENT_PING ? 'P' : 'O');
        buf_add_str(&o->messages, e->bytes);
        break;
    case WEBSOCKET_EVENT_CLOSE:
        ASSERT(e->code == WEBSOCKET_CODE_NONE || websocket_close_code_is_valid(e->code));
        ASSERT(utf8_is_valid(e->bytes.p, e->bytes.n));
        buf_printf(&o->messages, "C%u" STR_FMT, e->code, STR_ARG(e->bytes));
        o->is_ended = true;
        break;
    case WEBSOCKET_EVENT_FAILED:
        ASSERT(websocket_close_code_is_valid(e->code));
        buf_printf(&o->messages, "F%u", e->code);
        o->is_ended = true;
        break;
    }
}

static void run(const struct websocket_deflate *d, struct str bytes, size_t step, size_t out_bytes,
                struct outcome *o)
{
    char out[OUT_BYTES_MAX];
    struct websocket w;
    *o = (struct outcome){.is_ended = false};
    buf_init(&o->messages, 0);
    buf_init(&o->message, 0);
    websocket_init(&w, d, NULL, MESSAGE_BYTES_MAX);
    for (size_t at = 0; at < bytes.n; at += step) {
        struct str piece = str_sub(bytes, at, step);
        struct websocket_input in = {piece.p, piece.n, out, out_bytes, 0};
        struct websocket_event e;
        enum websocket_event_kind kind;
        do {
            kind = websocket_next(&w, &in, &e);
            take(o, kind, &e);
        } while (kind != WEBSOCKET_EVENT_MORE);
        ASSERT(in.n == 0);
    }
    websocket_done(&w);
    buf_done(&o->message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct outcome whole, cut;
    if (n < 2) {
        return 0;
    }
    const struct websocket_deflate deflate = {
        .is_on = data[0] & 1, .client_no_context_takeover = (data[0] & 2) != 0, .server_bits = 15};
    const struct str bytes = {(const char *)data + 2, n - 2};
    run(&deflate, bytes, n, OUT_BYTES_MAX, &whole);
    run(&deflate, bytes, data[1] % 13 + 1u, data[1] / 13 * 5 + 1u, &cut);
    ASSERT(str_eq(buf_str(&whole.messages), buf_str(&cut.messages)));
    buf_done(&whole.messages);
    buf_done(&cut.messages);
    return 0;
}
