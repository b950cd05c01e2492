/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

void buf_init(struct buf *b, size_t bytes_max)
{
    *b = (struct buf){.bytes_max = bytes_max};
}

void buf_done(struct buf *b)
{
    mem_free(b->p);
    buf_init(b, b->bytes_max);
}

void buf_done_secret(struct buf *b)
{
    if (b->p) {
        explicit_bzero(b->p, b->capacity);
    }
    buf_done(b);
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->is_failed = false;
}

bool buf_reserve(struct buf *b, size_t n)
{
    if (b->is_failed) {
        return false;
    }
    if (n > SIZE_MAX / 4 || (b->bytes_max && n > b->bytes_max - b->n)) {
        b->is_failed = true;
        return false;
    }
    if (n <= b->capacity - b->n) {
        return true;
    }
    size_t capacity = b->capacity ? b->capacity : 128;
    while (capacity - b->n < n) {
        capacity *= 2;
    }
    char *grown = mem_realloc(b->p, capacity);
    if (!grown) {
        b->is_failed = true;
        return false;
    }
    b->p = grown;
    b->capacity = capacity;
    return true;
}

void buf_add(struct buf *b, const void *bytes, size_t n)
{
    if (n && buf_reserve(b, n)) {
        memcpy(b->p + b->n, bytes, n);
        b->n += n;
    }
}

void buf_add_str(struct buf *b, struct str s)
{
    buf_add(b, s.p, s.n);
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_add_u64(struct buf *b, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    buf_add(b, digits + at, sizeof(digits) - at);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        b->is_failed = true;
    } else if (buf_reserve(b, (size_t)n + 1)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, format, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

void buf_consume(struct buf *b, size_t n)
{
    ASSERT(n <= b->n);
    b->n -= n;
    if (b->n) {
        memmove(b->p, b->p + n, b->n);
    }
}
