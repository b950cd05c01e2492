/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable byte buffer on the heap: the writer of everything whose size is not known before.
 * An append that fails (memory, or past `bytes_max`) sets `is_failed` and drops the bytes; later
 * appends are dropped too, so a caller checks once, at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct buf {
    char *p;
    size_t n;
    size_t capacity;
    size_t bytes_max; /* 0 = no limit */
    bool is_failed;
};

void buf_init(struct buf *b, size_t bytes_max);
void buf_done(struct buf *b);

/* As buf_done, and overwrites the bytes before: they are secret. */
void buf_done_secret(struct buf *b);

/* Empties without giving memory back; clears `is_failed`. */
void buf_clear(struct buf *b);

/* Room for at least `n` more bytes at p + n; false on failure. */
bool buf_reserve(struct buf *b, size_t n);

void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_add_str(struct buf *b, struct str s);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t value);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first `n` bytes. */
void buf_consume(struct buf *b, size_t n);

static inline struct str buf_str(const struct buf *b)
{
    return str_make(b->p, b->n);
}
