/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reference-counted immutable bytes that cross layers without a copy (a cached file, a rendered
 * page). The count is not atomic: a chunk belongs to one loop.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct chunk {
    uint32_t ref_count;
    size_t n;
    char data[];
};

/* A chunk of `n` bytes with one reference, or NULL; the caller fills `data` before sharing it. */
struct chunk *chunk_create(size_t n) __attribute__((warn_unused_result));

/* A chunk that holds a copy of `s`, or NULL. */
struct chunk *chunk_from(struct str s) __attribute__((warn_unused_result));

/* One reference more; returns `c`. */
struct chunk *chunk_ref(struct chunk *c);

/* One reference less; the last one frees. NULL is a no-op. */
void chunk_unref(struct chunk *c);
