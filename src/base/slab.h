/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slab: objects of one size, taken and given back in any order; memory stays with the slab
 * until it ends. Not thread-safe: one slab per type and loop.
 */
#pragma once

#include <stddef.h>

struct slab_page;

struct slab {
    struct slab_page *pages;
    void *free_objects;
    size_t object_bytes;
    size_t zeroed_bytes; /* at the front of each object that is handed out */
    size_t per_page;
    size_t live_count;
    size_t live_max; /* 0 = no limit */
};

/* `object_bytes`: size of each object; `live_max`: how many may be out at once, 0 = any. */
void slab_init(struct slab *s, size_t object_bytes, size_t live_max);

/* Frees all pages; every object must have been given back. */
void slab_done(struct slab *s);

/* An object, zeroed up to `zeroed_bytes` (all of it unless the owner lowered that), or NULL: out of
 * memory or `live_max` reached. */
void *slab_alloc(struct slab *s) __attribute__((warn_unused_result));

/* Gives an object back; NULL is a no-op. */
void slab_free(struct slab *s, void *object);
