/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 (RFC 3629) that comes in pieces: refused at the first byte that no valid text can have
 * there, whatever the cuts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero is the start of a text. */
struct utf8 {
    uint8_t needed;    /* continuation bytes until the character is whole */
    uint8_t low, high; /* what the next of them may be, when `needed` is not 0 */
};

/* Reads on. False: not UTF-8, and the state is of no further use. */
bool utf8_feed(struct utf8 *u, const char *p, size_t n);

/* No character is incomplete. */
static inline bool utf8_is_complete(const struct utf8 *u)
{
    return u->needed == 0;
}

/* The whole of it is UTF-8. */
bool utf8_is_valid(const char *p, size_t n);

/* The most bytes of the valid text at `p`, at most `n`, that end with a whole character. */
size_t utf8_cut(const char *p, size_t n);
