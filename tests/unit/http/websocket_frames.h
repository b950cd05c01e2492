/* SPDX-License-Identifier: Apache-2.0 */
/* Frames as a client sends them, for tests. */
#pragma once

#include "base/buf.h"
#include "http/websocket_mask_int.h"

/* `first`: FIN, RSV and opcode. */
static inline void add_frame(struct buf *out, unsigned first, struct str payload)
{
    static const uint8_t key_bytes[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint32_t key;
    memcpy(&key, key_bytes, 4);
    buf_add_char(out, (char)first);
    if (payload.n < 126) {
        buf_add_char(out, (char)(0x80 | payload.n));
    } else {
        bool is_long = payload.n > UINT16_MAX;
        buf_add_char(out, (char)(is_long ? 0xff : 0xfe));
        for (int shift = is_long ? 56 : 8; shift >= 0; shift -= 8) {
            buf_add_char(out, (char)(uint8_t)((uint64_t)payload.n >> shift));
        }
    }
    buf_add(out, key_bytes, 4);
    if (payload.n && buf_reserve(out, payload.n)) {
        websocket_mask(out->p + out->n, payload.p, payload.n, key);
        out->n += payload.n;
    }
}
