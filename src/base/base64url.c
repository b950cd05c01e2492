/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64url.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_encode(struct buf *out, struct str bytes)
{
    unsigned held = 0, held_bits = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        held = held << 8 | (unsigned char)bytes.p[i];
        for (held_bits += 8; held_bits >= 6; held_bits -= 6) {
            buf_add_char(out, alphabet[held >> (held_bits - 6) & 63]);
        }
    }
    if (held_bits) {
        buf_add_char(out, alphabet[held << (6 - held_bits) & 63]);
    }
}

/* 0 to 63, or -1. */
static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (ascii_is_digit(c)) {
        return c - '0' + 52;
    }
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

enum err base64url_decode(struct buf *out, struct str text)
{
    size_t before = out->n;
    unsigned held = 0, held_bits = 0;
    enum err e = text.n % 4 == 1 ? ERR_SYNTAX : ERR_OK;
    for (size_t i = 0; i < text.n && !e; i++) {
        int value = digit_value(text.p[i]);
        held = held << 6 | (unsigned)value;
        held_bits += 6;
        if (value < 0) {
            e = ERR_SYNTAX;
        } else if (held_bits >= 8) {
            held_bits -= 8;
            buf_add_char(out, (char)(held >> held_bits & 255));
        }
    }
    if (!e && held & ((1u << held_bits) - 1)) {
        e = ERR_SYNTAX;
    }
    if (!e && out->is_failed) {
        e = ERR_NOMEM;
    }
    if (e) {
        out->n = before;
    }
    return e;
}
