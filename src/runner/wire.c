/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/wire.h"

void wire_put_u64(struct buf *out, uint64_t value)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    buf_add(out, bytes, sizeof(bytes));
}

void wire_put_str(struct buf *out, struct str text)
{
    wire_put_u64(out, text.n);
    buf_add_str(out, text);
}

enum err wire_get_u64(struct str *rest, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (rest->n < 8) {
        return ERR_SYNTAX;
    }
    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)(uint8_t)rest->p[i] << (8 * i);
    }
    *rest = str_sub(*rest, 8, rest->n);
    *ret_value = value;
    return ERR_OK;
}

enum err wire_get_str(struct str *rest, struct str *ret_text)
{
    uint64_t n;
    enum err e = wire_get_u64(rest, &n);
    if (e || n > rest->n) {
        return ERR_SYNTAX;
    }
    *ret_text = str_sub(*rest, 0, (size_t)n);
    *rest = str_sub(*rest, (size_t)n, rest->n);
    return ERR_OK;
}
