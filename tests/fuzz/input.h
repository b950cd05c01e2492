/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a fuzzer as decisions: whoever asks gets the next one, and zeros behind the end. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct input {
    const uint8_t *p;
    size_t n;
};

static inline unsigned take(struct input *in)
{
    if (in->n == 0) {
        return 0;
    }
    in->n--;
    return *in->p++;
}

/* A length, then as many bytes. */
static inline struct str take_text(struct input *in)
{
    size_t n = take(in);
    n = n < in->n ? n : in->n;
    struct str text = str_make((const char *)in->p, n);
    in->p += n;
    in->n -= n;
    return text;
}
