/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/signature.h"

#include <sodium.h>

#include "base/assert.h"

_Static_assert(SIGNATURE_BYTES == crypto_sign_BYTES, "a signature of libsodium");
_Static_assert(SIGNATURE_SEED_BYTES == crypto_sign_SEEDBYTES, "a seed of libsodium");

static void expand(const struct secret *seed, uint8_t *ret_public, uint8_t *ret_key)
{
    struct str bytes = secret_str(seed);
    ASSERT(bytes.n == SIGNATURE_SEED_BYTES);
    int failed = crypto_sign_seed_keypair(ret_public, ret_key, (const unsigned char *)bytes.p);
    ASSERT(!failed);
}

void signature_public(const struct secret *seed, uint8_t ret_public[SIGNATURE_PUBLIC_BYTES])
{
    uint8_t key[crypto_sign_SECRETKEYBYTES];
    expand(seed, ret_public, key);
    secret_wipe(key, sizeof(key));
}

void signature_sign(const struct secret *seed, struct str s, uint8_t ret_signature[SIGNATURE_BYTES])
{
    uint8_t public_key[SIGNATURE_PUBLIC_BYTES], key[crypto_sign_SECRETKEYBYTES];
    expand(seed, public_key, key);
    int failed = crypto_sign_detached(ret_signature, NULL, (const unsigned char *)s.p, s.n, key);
    ASSERT(!failed);
    secret_wipe(key, sizeof(key));
}
