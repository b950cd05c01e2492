/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/secret.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "base/mem.h"

struct secret {
    void *bytes;
    size_t n;
    enum secret_kind kind;
};

static const struct secret_memory_ops *memory;
static atomic_size_t counts[SECRET_KIND_COUNT];

void secret_set_memory(const struct secret_memory_ops *ops)
{
    memory = ops;
}

static struct secret *secret_alloc(size_t n)
{
    struct secret *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return NULL;
    }
    s->n = n;
    s->bytes = memory ? memory->map(n, &s->kind) : NULL;
    if (!s->bytes) {
        s->kind = SECRET_HEAP;
        s->bytes = mem_zalloc(1, n);
    }
    if (!s->bytes) {
        mem_free(s);
        return NULL;
    }
    atomic_fetch_add_explicit(&counts[s->kind], 1, memory_order_relaxed);
    return s;
}

struct secret *secret_create(struct str bytes)
{
    struct secret *s = secret_alloc(bytes.n);
    if (s && bytes.n) {
        memcpy(s->bytes, bytes.p, bytes.n);
    }
    return s;
}

struct secret *secret_create_random(size_t n)
{
    struct secret *s = secret_alloc(n);
    if (s && gnutls_rnd(GNUTLS_RND_KEY, s->bytes, n) < 0) {
        secret_destroy(s);
        return NULL;
    }
    return s;
}

void secret_destroy(struct secret *s)
{
    if (!s) {
        return;
    }
    secret_wipe(s->bytes, s->n);
    atomic_fetch_sub_explicit(&counts[s->kind], 1, memory_order_relaxed);
    if (s->kind == SECRET_HEAP) {
        mem_free(s->bytes);
    } else {
        memory->unmap(s->bytes, s->n);
    }
    mem_free(s);
}

struct str secret_str(const struct secret *s)
{
    return str_make(s->bytes, s->n);
}

size_t secret_count(enum secret_kind kind)
{
    ASSERT(kind < SECRET_KIND_COUNT);
    return atomic_load_explicit(&counts[kind], memory_order_relaxed);
}

void secret_wipe(void *bytes, size_t n)
{
    gnutls_memset(bytes, 0, n);
}

bool secret_eq(const void *a, const void *b, size_t n)
{
    return gnutls_memcmp(a, b, n) == 0;
}
