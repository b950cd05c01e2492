/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/digest.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <sodium.h>

#include "base/assert.h"
#include "base/mem.h"

#define BLAKE2B_BYTES 32
#define BLAKE2B_ALIGNMENT 64

struct digest {
    enum digest_kind kind;
    gnutls_hash_hd_t hash;
    char blake[sizeof(crypto_generichash_state) + BLAKE2B_ALIGNMENT];
};

static crypto_generichash_state *blake_of(struct digest *d)
{
    uintptr_t at = ((uintptr_t)d->blake + BLAKE2B_ALIGNMENT - 1) / BLAKE2B_ALIGNMENT;
    return (crypto_generichash_state *)(at * BLAKE2B_ALIGNMENT);
}

static gnutls_digest_algorithm_t algorithm(enum digest_kind kind)
{
    switch (kind) {
    case DIGEST_SHA1:
        return GNUTLS_DIG_SHA1;
    case DIGEST_SHA384:
        return GNUTLS_DIG_SHA384;
    case DIGEST_SHA256:
    case DIGEST_BLAKE2B:
        break;
    }
    return GNUTLS_DIG_SHA256;
}

size_t digest_bytes(enum digest_kind kind)
{
    return kind == DIGEST_SHA1 ? 20 : kind == DIGEST_SHA384 ? 48 : 32;
}

enum err digest_of(enum digest_kind kind, struct str s, uint8_t *ret_hash)
{
    if (kind == DIGEST_BLAKE2B) {
        int failed =
            crypto_generichash(ret_hash, BLAKE2B_BYTES, (const unsigned char *)s.p, s.n, NULL, 0);
        ASSERT(!failed);
        return ERR_OK;
    }
    return gnutls_hash_fast(algorithm(kind), s.p, s.n, ret_hash) < 0 ? ERR_NOMEM : ERR_OK;
}

enum err digest_create(enum digest_kind kind, struct digest **ret_digest)
{
    struct digest *d = mem_alloc(sizeof(*d));
    if (!d) {
        return ERR_NOMEM;
    }
    d->kind = kind;
    d->hash = NULL;
    if (kind == DIGEST_BLAKE2B) {
        crypto_generichash_init(blake_of(d), NULL, 0, BLAKE2B_BYTES);
    } else if (gnutls_hash_init(&d->hash, algorithm(kind)) < 0) {
        mem_free(d);
        return ERR_NOMEM;
    }
    *ret_digest = d;
    return ERR_OK;
}

void digest_add(struct digest *d, struct str s)
{
    if (d->kind == DIGEST_BLAKE2B) {
        crypto_generichash_update(blake_of(d), (const unsigned char *)s.p, s.n);
    } else if (s.n) {
        int r = gnutls_hash(d->hash, s.p, s.n);
        ASSERT(r >= 0);
    }
}

void digest_finish(struct digest *d, uint8_t *ret_hash)
{
    if (d->kind == DIGEST_BLAKE2B) {
        crypto_generichash_final(blake_of(d), ret_hash, BLAKE2B_BYTES);
    } else {
        gnutls_hash_output(d->hash, ret_hash);
    }
    digest_destroy(d);
}

void digest_destroy(struct digest *d)
{
    if (!d) {
        return;
    }
    if (d->hash) {
        gnutls_hash_deinit(d->hash, NULL);
    }
    mem_free(d);
}

enum err digest_hmac(struct str key, struct str s, uint8_t ret_mac[32])
{
    int r = gnutls_hmac_fast(GNUTLS_MAC_SHA256, key.p, key.n, s.p, s.n, ret_mac);
    return r < 0 ? ERR_NOMEM : ERR_OK;
}

enum err digest_derive(struct str secret, struct str info, uint8_t *ret_bytes, size_t n)
{
    uint8_t extracted[32];
    const gnutls_datum_t key = {(unsigned char *)(uintptr_t)secret.p, (unsigned)secret.n};
    const gnutls_datum_t salt = {NULL, 0};
    const gnutls_datum_t middle = {extracted, sizeof(extracted)};
    const gnutls_datum_t about = {(unsigned char *)(uintptr_t)info.p, (unsigned)info.n};
    ASSERT(n <= 255 * sizeof(extracted));
    int r = gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &key, &salt, extracted);
    if (r >= 0) {
        r = gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &middle, &about, ret_bytes, n);
    }
    gnutls_memset(extracted, 0, sizeof(extracted));
    return r < 0 ? ERR_NOMEM : ERR_OK;
}
