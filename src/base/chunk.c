/* SPDX-License-Identifier: Apache-2.0 */
#include "base/chunk.h"

#include "base/assert.h"
#include "base/mem.h"

struct chunk *chunk_create(size_t n)
{
    if (n > SIZE_MAX - sizeof(struct chunk)) {
        return NULL;
    }
    struct chunk *c = mem_alloc(sizeof(*c) + n);
    if (c) {
        c->ref_count = 1;
        c->n = n;
    }
    return c;
}

struct chunk *chunk_from(struct str s)
{
    struct chunk *c = chunk_create(s.n);
    if (c && s.n) {
        memcpy(c->data, s.p, s.n);
    }
    return c;
}

struct chunk *chunk_ref(struct chunk *c)
{
    ASSERT(c->ref_count > 0);
    c->ref_count++;
    return c;
}

void chunk_unref(struct chunk *c)
{
    if (c) {
        ASSERT(c->ref_count > 0);
        if (--c->ref_count == 0) {
            mem_free(c);
        }
    }
}
