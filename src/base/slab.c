/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slab.h"

#include <stdalign.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#define SLAB_PAGE_BYTES 32768

struct slab_page {
    struct slab_page *next;
    alignas(max_align_t) char data[];
};

void slab_init(struct slab *s, size_t object_bytes, size_t live_max)
{
    size_t align = alignof(max_align_t);
    object_bytes = (object_bytes + align - 1) & ~(align - 1);
    size_t per_page = (SLAB_PAGE_BYTES - sizeof(struct slab_page)) / object_bytes;
    *s = (struct slab){.object_bytes = object_bytes,
                       .zeroed_bytes = object_bytes,
                       .per_page = per_page ? per_page : 1,
                       .live_max = live_max};
}

void slab_done(struct slab *s)
{
    ASSERT(s->live_count == 0);
    while (s->pages) {
        struct slab_page *next = s->pages->next;
        mem_free(s->pages);
        s->pages = next;
    }
    s->free_objects = NULL;
}

#ifdef SWS_POOLS
static void slab_push(struct slab *s, void *object)
{
    memcpy(object, &s->free_objects, sizeof(void *));
    s->free_objects = object;
}

static void *slab_take(struct slab *s)
{
    if (!s->free_objects) {
        struct slab_page *page = mem_alloc(sizeof(*page) + s->per_page * s->object_bytes);
        if (!page) {
            return NULL;
        }
        page->next = s->pages;
        s->pages = page;
        for (size_t i = s->per_page; i-- > 0;) {
            slab_push(s, page->data + i * s->object_bytes);
        }
    }
    void *object = s->free_objects;
    memcpy(&s->free_objects, object, sizeof(void *));
    memset(object, 0, s->zeroed_bytes);
    return object;
}
#endif

void *slab_alloc(struct slab *s)
{
    if (s->live_max && s->live_count >= s->live_max) {
        return NULL;
    }
#ifdef SWS_POOLS
    void *object = slab_take(s);
#else
    void *object = mem_zalloc(1, s->object_bytes);
#endif
    if (object) {
        s->live_count++;
    }
    return object;
}

void slab_free(struct slab *s, void *object)
{
    if (!object) {
        return;
    }
    ASSERT(s->live_count > 0);
    s->live_count--;
#ifdef SWS_POOLS
    slab_push(s, object);
#else
    mem_free(object);
#endif
}
