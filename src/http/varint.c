/* SPDX-License-Identifier: Apache-2.0 */
#include "http/varint.h"

#include "base/assert.h"

size_t varint_read(struct str bytes, uint64_t *ret_value)
{
    if (bytes.n == 0) {
        return 0;
    }
    const uint8_t *p = (const uint8_t *)bytes.p;
    size_t n = (size_t)1 << (p[0] >> 6);
    if (bytes.n < n) {
        return 0;
    }
    uint64_t value = p[0] & 0x3f;
    for (size_t i = 1; i < n; i++) {
        value = value << 8 | p[i];
    }
    *ret_value = value;
    return n;
}

size_t varint_write(uint64_t value, char out[VARINT_BYTES_MAX])
{
    ASSERT(value <= VARINT_MAX);
    unsigned form = value < 1u << 6 ? 0 : value < 1u << 14 ? 1 : value < 1u << 30 ? 2 : 3;
    size_t n = (size_t)1 << form;
    for (size_t i = n; i-- > 0; value >>= 8) {
        out[i] = (char)(value & 0xff);
    }
    out[0] = (char)((unsigned char)out[0] | form << 6);
    return n;
}
