/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdalign.h>
#include <stdio.h>

#include "base/mem.h"

#define ARENA_ALIGN alignof(max_align_t)

struct arena_block {
    struct arena_block *next;
    size_t bytes;
    alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t block_bytes, size_t bytes_max)
{
    *a = (struct arena){.block_bytes = block_bytes < 256 ? 256 : block_bytes,
                        .bytes_max = bytes_max};
}

void arena_lend(struct arena *a, void *bytes, size_t n)
{
    a->at = bytes;
    a->end = a->at + n;
}

static void arena_free_blocks(struct arena_block *block)
{
    while (block) {
        struct arena_block *next = block->next;
        mem_free(block);
        block = next;
    }
}

void arena_done(struct arena *a)
{
    arena_free_blocks(a->blocks);
    arena_init(a, a->block_bytes, a->bytes_max);
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = NULL;
#ifdef SWS_POOLS
    for (struct arena_block **link = &a->blocks; *link; link = &(*link)->next) {
        if ((*link)->bytes == a->block_bytes) {
            keep = *link;
            *link = keep->next;
            keep->next = NULL;
            break;
        }
    }
#endif
    arena_free_blocks(a->blocks);
    a->blocks = keep;
    a->at = keep ? keep->data : NULL;
    a->end = keep ? keep->data + keep->bytes : NULL;
    a->used_bytes = 0;
}

static void *arena_alloc_block(struct arena *a, size_t size)
{
#ifdef SWS_POOLS
    size_t bytes = size > a->block_bytes ? size : a->block_bytes;
#else
    size_t bytes = size;
#endif
    struct arena_block *block = mem_alloc(sizeof(*block) + bytes);
    if (!block) {
        return NULL;
    }
    block->bytes = bytes;
    bool is_oversized = bytes > a->block_bytes && a->blocks;
    if (is_oversized) {
        /* Keep filling the current block: a large piece gets a block of its own behind it. */
        block->next = a->blocks->next;
        a->blocks->next = block;
        return block->data;
    }
    block->next = a->blocks;
    a->blocks = block;
    a->at = block->data + size;
    a->end = block->data + bytes;
    return block->data;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    size = (size + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
    if (a->bytes_max && size > a->bytes_max - a->used_bytes) {
        return NULL;
    }
    void *piece;
#ifdef SWS_POOLS
    if (size <= (size_t)(a->end - a->at)) {
        piece = a->at;
        a->at += size;
    } else
#endif
    {
        piece = arena_alloc_block(a, size);
    }
    if (piece) {
        a->used_bytes += size;
    }
    return piece;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    void *piece = arena_alloc(a, size);
    if (piece) {
        memset(piece, 0, size);
    }
    return piece;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *copy = arena_alloc(a, s.n + 1);
    if (!copy) {
        return (struct str){NULL, 0};
    }
    if (s.n) {
        memcpy(copy, s.p, s.n);
    }
    copy[s.n] = '\0';
    return str_make(copy, s.n);
}

struct str arena_join(struct arena *a, const struct str *list, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += list[i].n;
    }
    char *text = arena_alloc(a, n + 1);
    char *at = text;
    if (!text) {
        return (struct str){NULL, 0};
    }
    for (size_t i = 0; i < count; i++) {
        if (list[i].n) {
            memcpy(at, list[i].p, list[i].n);
            at += list[i].n;
        }
    }
    *at = '\0';
    return str_make(text, n);
}

struct str arena_printf(struct arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (text) {
        vsnprintf(text, (size_t)n + 1, format, again);
    }
    va_end(again);
    return str_make(text, text ? (size_t)n : 0);
}
