/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)
#define WORDS 4

/* Behind the ASCII at the front. */
static const char *skip_ascii(const char *p, const char *end)
{
    uint64_t words[WORDS];
    for (; (size_t)(end - p) >= sizeof(words); p += sizeof(words)) {
        memcpy(words, p, sizeof(words));
        if ((words[0] | words[1] | words[2] | words[3]) & HIGH_BITS) {
            break;
        }
    }
    for (; (size_t)(end - p) >= sizeof(words[0]); p += sizeof(words[0])) {
        memcpy(words, p, sizeof(words[0]));
        if (words[0] & HIGH_BITS) {
            break;
        }
    }
    while (p < end && (uint8_t)*p < 0x80) {
        p++;
    }
    return p;
}

/* RFC 3629 section 4: the first byte says how many follow and, against overlong forms, surrogates
 * and what lies past U+10FFFF, what the second may be. `byte` is not ASCII. */
static bool begin(struct utf8 *u, uint8_t byte)
{
    u->low = 0x80;
    u->high = 0xbf;
    if (byte < 0xc2 || byte > 0xf4) {
        return false;
    }
    if (byte < 0xe0) {
        u->needed = 1;
    } else if (byte < 0xf0) {
        u->needed = 2;
        u->low = byte == 0xe0 ? 0xa0 : 0x80;
        u->high = byte == 0xed ? 0x9f : 0xbf;
    } else {
        u->needed = 3;
        u->low = byte == 0xf0 ? 0x90 : 0x80;
        u->high = byte == 0xf4 ? 0x8f : 0xbf;
    }
    return true;
}

/* The length of the character of two or three bytes that stands whole at `p`, else 0. */
static size_t short_character(const char *p, const char *end)
{
    const uint8_t *b = (const uint8_t *)p;
    if (end - p >= 2 && b[0] >= 0xc2 && b[0] < 0xe0) {
        return (b[1] & 0xc0) == 0x80 ? 2 : 0;
    }
    /* E0 and ED narrow what may follow: those are left to the slow way. */
    bool is_three = end - p >= 3 && b[0] > 0xe0 && b[0] < 0xf0 && b[0] != 0xed;
    return is_three && (b[1] & 0xc0) == 0x80 && (b[2] & 0xc0) == 0x80 ? 3 : 0;
}

bool utf8_feed(struct utf8 *u, const char *p, size_t n)
{
    struct utf8 at = *u;
    const char *end = p + n;
    while (p < end) {
        uint8_t byte = (uint8_t)*p;
        if (at.needed == 0) {
            if (byte < 0x80) {
                p = skip_ascii(p, end);
                continue;
            }
            size_t n_short = short_character(p, end);
            if (n_short) {
                p += n_short;
                continue;
            }
            if (!begin(&at, byte)) {
                return false;
            }
        } else {
            if (byte < at.low || byte > at.high) {
                return false;
            }
            at.needed--;
            at.low = 0x80;
            at.high = 0xbf;
        }
        p++;
    }
    *u = at;
    return true;
}

bool utf8_is_valid(const char *p, size_t n)
{
    struct utf8 u = {0};
    return utf8_feed(&u, p, n) && utf8_is_complete(&u);
}

size_t utf8_cut(const char *p, size_t n)
{
    struct utf8 u = {0};
    size_t whole = 0;
    for (size_t i = 0; i < n && utf8_feed(&u, p + i, 1); i++) {
        if (utf8_is_complete(&u)) {
            whole = i + 1;
        }
    }
    return whole;
}
