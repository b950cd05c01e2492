/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 as bytes, for tests: frames are written as the test says, right or wrong, and what came
 * back is found again. Header blocks are literals without indexing, so no state is kept. */
#pragma once

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/buf.h"

#define WIRE_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum wire_type {
    WIRE_DATA,
    WIRE_HEADERS,
    WIRE_PRIORITY,
    WIRE_RST_STREAM,
    WIRE_SETTINGS,
    WIRE_PUSH_PROMISE,
    WIRE_PING,
    WIRE_GOAWAY,
    WIRE_WINDOW_UPDATE,
    WIRE_CONTINUATION,
    WIRE_PRIORITY_UPDATE = 0x10
};

enum wire_flag { WIRE_END_STREAM = 1, WIRE_ACK = 1, WIRE_END_HEADERS = 4, WIRE_PADDED = 8 };

struct wire_frame {
    uint8_t type;
    uint8_t flags;
    uint32_t id;
    struct str payload;
};

static inline void wire_u32(struct buf *b, uint32_t v)
{
    const uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
                              (uint8_t)v};
    buf_add(b, bytes, 4);
}

static inline void wire_put(struct buf *b, unsigned type, unsigned flags, uint32_t id,
                            struct str payload)
{
    const uint8_t head[5] = {(uint8_t)(payload.n >> 16), (uint8_t)(payload.n >> 8),
                             (uint8_t)payload.n, (uint8_t)type, (uint8_t)flags};
    buf_add(b, head, 5);
    wire_u32(b, id);
    buf_add(b, payload.p ? payload.p : "", payload.n);
}

static inline void wire_put_u32(struct buf *b, unsigned type, uint32_t id, uint32_t value)
{
    const char bytes[4] = {(char)(value >> 24), (char)(value >> 16), (char)(value >> 8),
                           (char)value};
    wire_put(b, type, 0, id, str_make(bytes, 4));
}

static inline void wire_length(struct buf *b, size_t n)
{
    if (n < 127) {
        buf_add_char(b, (char)n);
        return;
    }
    buf_add_char(b, 127);
    for (n -= 127; n >= 128; n >>= 7) {
        buf_add_char(b, (char)(n & 127) | (char)128);
    }
    buf_add_char(b, (char)n);
}

static inline void wire_field(struct buf *block, struct str name, struct str value)
{
    buf_add_char(block, 0);
    wire_length(block, name.n);
    buf_add_str(block, name);
    wire_length(block, value.n);
    buf_add_str(block, value);
}

/* `fields`: lines "name: value", each ended by \n; a name may begin with a colon. */
static inline void wire_fields(struct buf *block, struct str fields)
{
    struct str line;
    while (str_split(&fields, '\n', &line)) {
        if (line.n == 0) {
            continue;
        }
        struct str rest = str_sub(line, 1, line.n);
        ptrdiff_t colon = str_index(rest, ':');
        ASSERT(colon >= 0);
        wire_field(block, str_sub(line, 0, (size_t)colon + 1),
                   str_sub(line, (size_t)colon + 3, line.n));
    }
}

static inline void wire_headers(struct buf *b, uint32_t id, unsigned flags, const char *fields)
{
    struct buf block;
    buf_init(&block, 0);
    wire_fields(&block, str_of(fields));
    wire_put(b, WIRE_HEADERS, flags | WIRE_END_HEADERS, id, buf_str(&block));
    buf_done(&block);
}

static inline void wire_request(struct buf *b, uint32_t id, unsigned flags, const char *method,
                                const char *path, const char *more)
{
    char text[1024];
    snprintf(text, sizeof(text), ":method: %s\n:scheme: http\n:path: %s\n:authority: a\n%s", method,
             path, more);
    wire_headers(b, id, flags, text);
}

/* Preface and settings. */
static inline void wire_hello(struct buf *b)
{
    buf_add_str(b, STR(WIRE_PREFACE));
    wire_put(b, WIRE_SETTINGS, 0, 0, STR(""));
}

/* Takes the frame at the front of `rest`; false where it is not whole. */
static inline bool wire_next(struct str *rest, struct wire_frame *f)
{
    const uint8_t *p = (const uint8_t *)rest->p;
    if (rest->n < 9) {
        return false;
    }
    size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
    if (rest->n < 9 + n) {
        return false;
    }
    f->type = p[3];
    f->flags = p[4];
    f->id = ((uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8]) & INT32_MAX;
    f->payload = str_sub(*rest, 9, n);
    *rest = str_sub(*rest, 9 + n, rest->n);
    return true;
}

static inline uint32_t wire_payload_u32(const struct wire_frame *f, size_t at)
{
    const uint8_t *p = (const uint8_t *)f->payload.p + at;
    ASSERT(f->payload.n >= at + 4);
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* How many frames of `type` came for `id` (UINT32_MAX: any); the last one goes to `ret`. */
static inline unsigned wire_count(struct str got, unsigned type, uint32_t id,
                                  struct wire_frame *ret)
{
    struct wire_frame f;
    unsigned count = 0;
    if (ret) {
        *ret = (struct wire_frame){0};
    }
    while (wire_next(&got, &f)) {
        if (f.type == type && (id == UINT32_MAX || f.id == id)) {
            count++;
            if (ret) {
                *ret = f;
            }
        }
    }
    return count;
}

/* The error code of the reset of `id`, -1 where there is none. */
static inline long wire_reset_code(struct str got, uint32_t id)
{
    struct wire_frame f;
    return wire_count(got, WIRE_RST_STREAM, id, &f) ? (long)wire_payload_u32(&f, 0) : -1;
}

static inline long wire_goaway_code(struct str got)
{
    struct wire_frame f;
    return wire_count(got, WIRE_GOAWAY, 0, &f) ? (long)wire_payload_u32(&f, 4) : -1;
}

/* Body bytes of `id`, and whether its end came. */
static inline size_t wire_body(struct str got, uint32_t id, bool *ret_is_ended)
{
    struct wire_frame f;
    size_t n = 0;
    *ret_is_ended = false;
    while (wire_next(&got, &f)) {
        if (f.id == id && f.type == WIRE_DATA) {
            n += f.payload.n;
        }
        if (f.id == id && (f.type == WIRE_DATA || f.type == WIRE_HEADERS)) {
            *ret_is_ended |= (f.flags & WIRE_END_STREAM) != 0;
        }
    }
    return n;
}
