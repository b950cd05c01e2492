/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h2_pool.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "http/h2_session_int.h"

#define CLASS_FIRST_BYTES 64u
#define CLASS_HEAP H2_POOL_CLASSES

/* In front of each block, because the engine does not say how large what it frees is. All blocks of
 * a session are linked: where memory ran out within the engine, its state is not to be trusted any
 * more, not even to be freed (1.52 frees an item twice), and the blocks go without asking it. */
struct h2_block_head {
    alignas(max_align_t) struct list link;
    size_t n; /* without the head */
    unsigned size_class;
};

void h2_pool_init(struct h2_pool *p)
{
    for (unsigned i = 0; i < H2_POOL_CLASSES; i++) {
        slab_init(&p->slabs[i], CLASS_FIRST_BYTES << i, 0);
        p->slabs[i].zeroed_bytes = 0;
    }
}

void h2_pool_done(struct h2_pool *p)
{
    for (unsigned i = 0; i < H2_POOL_CLASSES; i++) {
        slab_done(&p->slabs[i]);
    }
}

static void *h2_pool_alloc(size_t n, void *session)
{
    struct h2_session *s = session;
    struct h2_pool *p = s->pool;
    if (s->is_exhausted || n > SIZE_MAX - sizeof(struct h2_block_head)) {
        return NULL;
    }
    size_t whole = n + sizeof(struct h2_block_head);
    unsigned size_class = 0;
    while (size_class < CLASS_HEAP && whole > CLASS_FIRST_BYTES << size_class) {
        size_class++;
    }
    struct h2_block_head *head =
        size_class < CLASS_HEAP ? slab_alloc(&p->slabs[size_class]) : mem_alloc(whole);
    if (!head) {
        h2_session_exhaust(s);
        return NULL;
    }
    head->n = n;
    head->size_class = size_class;
    list_push_back(&s->blocks, &head->link);
    return head + 1;
}

static void h2_pool_drop(struct h2_pool *p, struct h2_block_head *head)
{
    list_remove(&head->link);
    if (head->size_class < CLASS_HEAP) {
        slab_free(&p->slabs[head->size_class], head);
    } else {
        mem_free(head);
    }
}

static void h2_pool_free(void *bytes, void *session)
{
    struct h2_session *s = session;
    if (bytes && !s->is_exhausted) {
        h2_pool_drop(s->pool, (struct h2_block_head *)bytes - 1);
    }
}

void h2_pool_free_all(struct h2_session *s)
{
    while (!list_is_empty(&s->blocks)) {
        h2_pool_drop(s->pool, CONTAINER_OF(s->blocks.next, struct h2_block_head, link));
    }
}

static void *h2_pool_zalloc(size_t count, size_t n, void *session)
{
    if (n && count > SIZE_MAX / n) {
        return NULL;
    }
    void *bytes = h2_pool_alloc(count * n, session);
    if (bytes) {
        memset(bytes, 0, count * n);
    }
    return bytes;
}

static void *h2_pool_realloc(void *bytes, size_t n, void *session)
{
    void *more = h2_pool_alloc(n, session);
    if (more && bytes) {
        size_t had = ((struct h2_block_head *)bytes - 1)->n;
        memcpy(more, bytes, had < n ? had : n);
        h2_pool_free(bytes, session);
    }
    return more;
}

nghttp2_mem h2_pool_engine(struct h2_session *s)
{
    return (nghttp2_mem){s, h2_pool_alloc, h2_pool_free, h2_pool_zalloc, h2_pool_realloc};
}
