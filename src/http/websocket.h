/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's side of a WebSocket (RFC 6455, RFC 7692): bytes and the time go in, events come
 * out. No I/O, no clock. Messages come in pieces as they arrive, unmasked, decompressed and, where
 * they are text, checked as far as they go; a fault is an event as soon as its byte is there. The
 * messages do not depend on how the network cut the bytes, only their pieces do.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "base/utf8.h"
#include "http/websocket_deflate.h"

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

/* Close codes, RFC 6455 7.4.1. Others are valid too, see websocket_close_code_is_valid. */
enum websocket_code {
    WEBSOCKET_CODE_NORMAL = 1000,
    WEBSOCKET_CODE_GOING_AWAY = 1001,
    WEBSOCKET_CODE_PROTOCOL = 1002,
    WEBSOCKET_CODE_NONE = 1005, /* the close frame had none; never sent */
    WEBSOCKET_CODE_INVALID_DATA = 1007,
    WEBSOCKET_CODE_POLICY = 1008,
    WEBSOCKET_CODE_TOO_BIG = 1009,
    WEBSOCKET_CODE_INTERNAL = 1011,
};

#define WEBSOCKET_MESSAGE_BYTES_MAX (16u * 1024u * 1024u) /* decompressed; beyond it 1009 */
#define WEBSOCKET_CONTROL_BYTES_MAX 125                   /* payload, RFC 6455 5.5 */
#define WEBSOCKET_CONTROL_COUNT_MAX 1000                  /* frames within the window; then 1008 */
#define WEBSOCKET_CONTROL_WINDOW_MS 10000
#define WEBSOCKET_HEAD_BYTES_MAX 14

enum websocket_event_kind {
    WEBSOCKET_EVENT_MORE, /* all input was used */
    WEBSOCKET_EVENT_DATA, /* a piece of a message, in the caller's memory; empty only as last */
    WEBSOCKET_EVENT_PING, /* `bytes` are to be sent back in a pong */
    WEBSOCKET_EVENT_PONG,
    WEBSOCKET_EVENT_CLOSE,  /* `code` and, as reason, `bytes`; what follows is dropped */
    WEBSOCKET_EVENT_FAILED, /* to be closed with `code`, `bytes` say why; what follows is dropped */
};

struct websocket_event {
    bool is_text;
    bool is_first; /* of the message */
    bool is_last;
    uint16_t code;
    struct str bytes; /* until the next call */
};

struct websocket_input {
    const char *p; /* moves on; NULL is fine where there is nothing */
    size_t n;
    char *out; /* where pieces of messages go; apart from `p` */
    size_t out_bytes;
    uint64_t now_ms;
};

enum websocket_state {
    WEBSOCKET_HEAD,
    WEBSOCKET_PAYLOAD, /* of a data frame */
    WEBSOCKET_CONTROL,
    WEBSOCKET_ENDED,
};

/* Embedded by the connection; treat as opaque. */
struct websocket {
    struct websocket_deflate deflate;
    struct websocket_pool *pool;
    struct websocket_inflater *inflater;
    uint64_t message_bytes_max;
    uint64_t message_left; /* of it, for this message */
    uint64_t payload_left; /* of this frame */
    uint64_t window_ms;
    uint32_t window_count;
    uint32_t key; /* for the next byte of the payload */
    struct utf8 utf8;
    uint8_t state; /* enum websocket_state */
    uint8_t opcode;
    uint8_t head_bytes, head_needed;
    uint8_t control_bytes;
    uint8_t tail_left; /* of the end that RFC 7692 7.2.2 appends to a message */
    bool is_final;     /* this frame ends its message */
    bool is_message;   /* a message has begun */
    bool is_text;
    bool is_first;
    bool is_compressed;
    bool has_more_output; /* the inflater was not asked to the end */
    uint8_t head[WEBSOCKET_HEAD_BYTES_MAX];
    char control[WEBSOCKET_CONTROL_BYTES_MAX];
};

/* `deflate`: what was agreed on; `pool` must outlive `w`, or is NULL. */
void websocket_init(struct websocket *w, const struct websocket_deflate *deflate,
                    struct websocket_pool *pool, uint64_t message_bytes_max);
void websocket_done(struct websocket *w);

/* The next event. To be called until it says MORE, with the same input, but then not before there
 * is new input. */
enum websocket_event_kind websocket_next(struct websocket *w, struct websocket_input *in,
                                         struct websocket_event *ret_event);

/* May be sent and received, RFC 6455 7.4 and what IANA has registered since. */
bool websocket_close_code_is_valid(uint16_t code);

/* ---- what the server sends ---- */

#define WEBSOCKET_SENT_HEAD_BYTES_MAX 10
#define WEBSOCKET_SENT_CONTROL_BYTES_MAX (2 + WEBSOCKET_CONTROL_BYTES_MAX)

struct websocket_frame {
    enum websocket_opcode opcode;
    bool is_final;
    bool is_compressed; /* first frame of a compressed message */
    uint64_t payload_bytes;
};

/* Writes the head of a frame, which is followed by the payload as it is; returns its length. */
size_t websocket_write_head(const struct websocket_frame *f,
                            char out[WEBSOCKET_SENT_HEAD_BYTES_MAX]);

/* Writes a whole ping or pong with at most WEBSOCKET_CONTROL_BYTES_MAX bytes. */
size_t websocket_write_control(enum websocket_opcode opcode, struct str bytes,
                               char out[WEBSOCKET_SENT_CONTROL_BYTES_MAX]);

/* Writes a whole close frame; WEBSOCKET_CODE_NONE says no code. A reason that is too long is cut
 * behind a whole character. */
size_t websocket_write_close(uint16_t code, struct str reason,
                             char out[WEBSOCKET_SENT_CONTROL_BYTES_MAX]);
