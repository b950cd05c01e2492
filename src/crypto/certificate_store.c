/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/certificate_store.h"

#include <stdatomic.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#define STORE_MAGIC 0x73746f72u
#define KIND_COUNT 3

/* One name and its certificate for each kind of key; an empty slot has no name. */
struct slot {
    uint64_t hash;
    struct str name;
    struct certificate *by_kind[KIND_COUNT];
};

struct certificate_store {
    uint32_t magic;
    atomic_uint ref_count;
    struct certificate **certificates;
    size_t count;
    struct slot fallback;
    struct slot *slots; /* open addressing, at most half full */
    size_t slot_count;  /* a power of two */
};

static struct slot *store_slot(const struct certificate_store *s, struct str name)
{
    uint64_t hash = hash_str(name);
    size_t at = (size_t)hash & (s->slot_count - 1);
    while (s->slots[at].name.p && (s->slots[at].hash != hash || !str_eq(s->slots[at].name, name))) {
        at = (at + 1) & (s->slot_count - 1);
    }
    return &s->slots[at];
}

static void store_fill(struct certificate_store *s, size_t default_at)
{
    for (size_t i = 0; i < s->count; i++) {
        struct certificate *c = s->certificates[i];
        enum certificate_key kind = certificate_key_kind(c);
        for (size_t k = 0; k < certificate_name_count(c); k++) {
            struct str name = certificate_name(c, k);
            struct slot *slot = store_slot(s, name);
            slot->hash = hash_str(name);
            slot->name = name;
            slot->by_kind[kind] = c;
        }
        if (i >= default_at) {
            s->fallback.by_kind[kind] = c;
        }
    }
}

enum err certificate_store_create(struct certificate *const *certificates, size_t count,
                                  size_t default_at, struct certificate_store **ret_store)
{
    struct certificate_store *s = mem_zalloc(1, sizeof(*s));
    size_t name_count = 0;
    if (!s) {
        return ERR_NOMEM;
    }
    s->magic = STORE_MAGIC;
    atomic_init(&s->ref_count, 1);
    for (size_t i = 0; i < count; i++) {
        name_count += certificate_name_count(certificates[i]);
    }
    s->slot_count = 8;
    while (s->slot_count < name_count * 2) {
        s->slot_count *= 2;
    }
    s->slots = mem_zalloc(s->slot_count, sizeof(*s->slots));
    s->certificates = mem_zalloc(count, sizeof(*s->certificates));
    if (!s->slots || !s->certificates) {
        certificate_store_unref(s);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        s->certificates[s->count++] = certificate_ref(certificates[i]);
    }
    store_fill(s, default_at);
    *ret_store = s;
    return ERR_OK;
}

struct certificate_store *certificate_store_ref(struct certificate_store *s)
{
    ASSERT_MAGIC(s, STORE_MAGIC);
    atomic_fetch_add_explicit(&s->ref_count, 1, memory_order_relaxed);
    return s;
}

void certificate_store_unref(struct certificate_store *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->ref_count, 1, memory_order_acq_rel) != 1) {
        return;
    }
    ASSERT_MAGIC(s, STORE_MAGIC);
    s->magic = 0;
    for (size_t i = 0; i < s->count; i++) {
        certificate_unref(s->certificates[i]);
    }
    mem_free(s->certificates);
    mem_free(s->slots);
    mem_free(s);
}

static struct certificate *slot_choose(const struct slot *slot, const struct certificate_wish *wish)
{
    if (wish->takes_ecdsa && slot->by_kind[CERTIFICATE_ECDSA]) {
        return slot->by_kind[CERTIFICATE_ECDSA];
    }
    if (wish->takes_ed25519 && slot->by_kind[CERTIFICATE_ED25519]) {
        return slot->by_kind[CERTIFICATE_ED25519];
    }
    return wish->takes_rsa ? slot->by_kind[CERTIFICATE_RSA] : NULL;
}

struct certificate *certificate_store_find(const struct certificate_store *s, struct str sni,
                                           const struct certificate_wish *wish)
{
    ptrdiff_t dot = str_index(sni, '.');
    struct certificate *found = NULL;
    if (sni.n) {
        found = slot_choose(store_slot(s, sni), wish);
    }
    if (!found && dot > 0 && (size_t)dot + 1 < sni.n && sni.n <= 255) {
        char text[256];
        size_t rest = sni.n - (size_t)dot;
        text[0] = '*';
        memcpy(text + 1, sni.p + dot, rest);
        found = slot_choose(store_slot(s, str_make(text, rest + 1)), wish);
    }
    return found || wish->is_exact ? found : slot_choose(&s->fallback, wish);
}
