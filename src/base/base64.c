/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct str bytes, char *ret_text)
{
    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t n = bytes.n - i < 3 ? bytes.n - i : 3;
        uint32_t held = 0;
        for (size_t k = 0; k < 3; k++) {
            held = held << 8 | (k < n ? (unsigned char)bytes.p[i + k] : 0u);
        }
        for (size_t k = 0; k < 4; k++) {
            *ret_text++ = k <= n ? alphabet[held >> (18 - 6 * k) & 63] : '=';
        }
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
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static size_t padding_of(struct str text)
{
    return text.n < 4 || text.p[text.n - 1] != '=' ? 0 : text.p[text.n - 2] != '=' ? 1 : 2;
}

size_t base64_bytes(struct str text)
{
    return text.n % 4 ? SIZE_MAX : text.n / 4 * 3 - padding_of(text);
}

enum err base64_decode(struct str text, uint8_t *ret_bytes)
{
    size_t digits = text.n - padding_of(text);
    uint32_t held = 0;
    unsigned held_bits = 0;
    if (text.n % 4) {
        return ERR_SYNTAX;
    }
    for (size_t i = 0; i < digits; i++) {
        int value = digit_value(text.p[i]);
        if (value < 0) {
            return ERR_SYNTAX;
        }
        held = held << 6 | (uint32_t)value;
        held_bits += 6;
        if (held_bits >= 8) {
            held_bits -= 8;
            *ret_bytes++ = (uint8_t)(held >> held_bits);
        }
    }
    return held & ((1u << held_bits) - 1) ? ERR_SYNTAX : ERR_OK;
}
