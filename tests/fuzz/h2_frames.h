/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of HTTP/2 as a fuzzer describes them, the same from both sides. */
#pragma once

#include "../unit/http/h2_wire.h"
#include "input.h"

static inline void put_data(struct input *in, struct buf *out, uint32_t id)
{
    unsigned flags = take(in);
    struct str text = take_text(in);
    /* Mostly a length that fits the padding. */
    struct buf payload;
    buf_init(&payload, 0);
    if (flags & 8 && !(flags & 0x80)) {
        buf_add_char(&payload, (char)(text.n / 2));
    }
    buf_add_str(&payload, text);
    wire_put(out, WIRE_DATA, flags & 9, id, buf_str(&payload));
    buf_done(&payload);
}

static inline void put_setting(struct input *in, struct buf *out)
{
    char entry[6] = {0, (char)(take(in) % 10), 0, 0, 0, 0};
    unsigned value = take(in);
    entry[2] = (char)(value & 0x40 ? 0x7f : 0);
    entry[4] = (char)(value & 0x3f);
    entry[5] = (char)take(in);
    unsigned is_ack = value >> 7;
    wire_put(out, WIRE_SETTINGS, is_ack, 0, str_make(entry, is_ack ? 0 : 6));
}

static inline void put_update(struct input *in, struct buf *out, uint32_t id)
{
    uint32_t value = take(in);
    value = value & 0x80 ? value << 16 : value;
    wire_put_u32(out, WIRE_WINDOW_UPDATE, value & 1 ? id : 0, value);
}
