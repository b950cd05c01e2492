/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "http/websocket.h"

#define FIN 0x80
#define RSV1 0x40
#define LENGTH_16 126
#define LENGTH_64 127

static size_t put_length(char *out, uint64_t n, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        out[i] = (char)(uint8_t)(n >> (8 * (bytes - 1 - i)));
    }
    return bytes;
}

size_t websocket_write_head(const struct websocket_frame *f,
                            char out[WEBSOCKET_SENT_HEAD_BYTES_MAX])
{
    uint64_t n = f->payload_bytes;
    out[0] = (char)(uint8_t)((f->is_final ? FIN : 0) | (f->is_compressed ? RSV1 : 0) |
                             (unsigned)f->opcode);
    if (n < LENGTH_16) {
        return 1 + put_length(out + 1, n, 1);
    }
    bool is_long = n > UINT16_MAX;
    out[1] = is_long ? LENGTH_64 : LENGTH_16;
    return 2 + put_length(out + 2, n, is_long ? 8 : 2);
}

size_t websocket_write_control(enum websocket_opcode opcode, struct str bytes,
                               char out[WEBSOCKET_SENT_CONTROL_BYTES_MAX])
{
    ASSERT(bytes.n <= WEBSOCKET_CONTROL_BYTES_MAX);
    const struct websocket_frame frame = {opcode, true, false, bytes.n};
    size_t n = websocket_write_head(&frame, out);
    if (bytes.n) {
        memcpy(out + n, bytes.p, bytes.n);
    }
    return n + bytes.n;
}

size_t websocket_write_close(uint16_t code, struct str reason,
                             char out[WEBSOCKET_SENT_CONTROL_BYTES_MAX])
{
    char payload[WEBSOCKET_CONTROL_BYTES_MAX];
    if (code == WEBSOCKET_CODE_NONE) {
        return websocket_write_control(WEBSOCKET_CLOSE, STR(""), out);
    }
    ASSERT(websocket_close_code_is_valid(code));
    size_t n = put_length(payload, code, 2);
    size_t most = sizeof(payload) - n;
    size_t taken = utf8_cut(reason.p, reason.n < most ? reason.n : most);
    if (taken) {
        memcpy(payload + n, reason.p, taken);
    }
    return websocket_write_control(WEBSOCKET_CLOSE, str_make(payload, n + taken), out);
}
