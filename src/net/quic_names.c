/* SPDX-License-Identifier: Apache-2.0 */
#include "net/quic_names_int.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#define BUCKETS_MIN 64u

struct quic_name {
    struct quic_name *next; /* in the bucket */
    struct list of_link;
    struct quic_link *link;
    struct quic_cid cid;
};

enum err quic_names_init(struct quic_names *t)
{
    t->count = 0;
    t->bucket_count = BUCKETS_MIN;
    t->buckets = mem_zalloc(t->bucket_count, sizeof(struct quic_name *));
    return t->buckets ? ERR_OK : ERR_NOMEM;
}

void quic_names_done(struct quic_names *t)
{
    ASSERT(t->count == 0);
    mem_free(t->buckets);
    t->buckets = NULL;
}

static size_t name_bucket(const struct quic_names *t, const struct quic_cid *cid)
{
    return hash_str(str_make((const char *)cid->bytes, cid->n)) & (t->bucket_count - 1);
}

static bool cid_eq(const struct quic_cid *a, const struct quic_cid *b)
{
    return a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0;
}

struct quic_link *quic_names_find(const struct quic_names *t, const struct quic_cid *cid)
{
    struct quic_name *name = t->buckets[name_bucket(t, cid)];
    while (name && !cid_eq(&name->cid, cid)) {
        name = name->next;
    }
    return name ? name->link : NULL;
}

/* A table that cannot grow is slow, not wrong. */
static void names_grow(struct quic_names *t)
{
    size_t count = t->bucket_count * 2;
    struct quic_name **old = t->buckets;
    struct quic_name **buckets = mem_zalloc(count, sizeof(struct quic_name *));
    if (!buckets) {
        return;
    }
    size_t old_count = t->bucket_count;
    t->buckets = buckets;
    t->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct quic_name *name = old[i], *next; name; name = next) {
            struct quic_name **at = &t->buckets[name_bucket(t, &name->cid)];
            next = name->next;
            name->next = *at;
            *at = name;
        }
    }
    mem_free(old);
}

enum err quic_names_add(struct quic_names *t, struct quic_link *l, const struct quic_cid *cid)
{
    struct quic_name *name = mem_zalloc(1, sizeof(*name));
    if (!name) {
        return ERR_NOMEM;
    }
    if (t->count >= t->bucket_count * 2) {
        names_grow(t);
    }
    struct quic_name **at = &t->buckets[name_bucket(t, cid)];
    name->cid = *cid;
    name->link = l;
    name->next = *at;
    *at = name;
    list_push_back(&l->names, &name->of_link);
    t->count++;
    return ERR_OK;
}

static void name_drop(struct quic_names *t, struct quic_name *name)
{
    struct quic_name **at = &t->buckets[name_bucket(t, &name->cid)];
    while (*at != name) {
        at = &(*at)->next;
    }
    *at = name->next;
    list_remove(&name->of_link);
    mem_free(name);
    t->count--;
}

void quic_names_drop(struct quic_names *t, struct quic_link *l, const uint8_t *bytes, size_t n)
{
    LIST_FOR_EACH_SAFE(at, next, &l->names)
    {
        struct quic_name *name = CONTAINER_OF(at, struct quic_name, of_link);
        if (name->cid.n == n && memcmp(name->cid.bytes, bytes, n) == 0) {
            name_drop(t, name);
        }
    }
}

void quic_names_drop_all(struct quic_names *t, struct quic_link *l)
{
    while (!list_is_empty(&l->names)) {
        name_drop(t, CONTAINER_OF(l->names.next, struct quic_name, of_link));
    }
}
