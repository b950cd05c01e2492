/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: memory that is handed out piece by piece and freed all at once (one request, one
 * configuration). Never shrinks a piece, never moves one. Not thread-safe.
 * With -DSWS_POOLS=OFF every piece is its own heap block, so that AddressSanitizer sees them.
 */
#pragma once

#include <stddef.h>

#include "base/str.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    char *at;                   /* free space of the newest block */
    char *end;
    size_t block_bytes;
    size_t used_bytes;
    size_t bytes_max; /* 0 = no limit */
};

/* `block_bytes`: usual size of a block (at least 256). `bytes_max`: sum of all pieces, 0 = none.
 * Takes no memory until the first piece. */
void arena_init(struct arena *a, size_t block_bytes, size_t bytes_max);

/* Lets the first pieces of a new arena come from `bytes`, which are aligned for any type, stay the
 * caller's, and must outlive the arena. Not with -DSWS_POOLS=OFF. */
void arena_lend(struct arena *a, void *bytes, size_t n);

/* Frees every piece and all blocks; the arena can be used again. */
void arena_done(struct arena *a);

/* Frees every piece but keeps one block of the usual size for the next use. */
void arena_reset(struct arena *a);

/* `size` bytes aligned for any type, or NULL: out of memory or over `bytes_max`. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((warn_unused_result));

/* As arena_alloc, zeroed. */
void *arena_zalloc(struct arena *a, size_t size) __attribute__((warn_unused_result));

/* A copy of `s` with a NUL behind it that the length does not count; pointer NULL on failure. */
struct str arena_str(struct arena *a, struct str s) __attribute__((warn_unused_result));

/* The texts of `list` one behind the other, as above. */
struct str arena_join(struct arena *a, const struct str *list, size_t count)
    __attribute__((warn_unused_result));

/* printf into the arena; pointer NULL on failure. */
struct str arena_printf(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));
