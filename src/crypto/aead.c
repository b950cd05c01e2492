/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/aead.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

static int cipher_open(enum aead_kind kind, const uint8_t *key, gnutls_aead_cipher_hd_t *ret_cipher)
{
    const gnutls_datum_t datum = {(unsigned char *)(uintptr_t)key, AEAD_KEY_BYTES};
    return gnutls_aead_cipher_init(ret_cipher,
                                   kind == AEAD_AES_256_GCM ? GNUTLS_CIPHER_AES_256_GCM
                                                            : GNUTLS_CIPHER_CHACHA20_POLY1305,
                                   &datum);
}

enum err aead_seal(enum aead_kind kind, const uint8_t key[AEAD_KEY_BYTES], struct str about,
                   struct str plain, struct buf *out)
{
    gnutls_aead_cipher_hd_t cipher;
    size_t sealed_bytes = plain.n + AEAD_TAG_BYTES;
    if (!buf_reserve(out, AEAD_NONCE_BYTES + sealed_bytes) || cipher_open(kind, key, &cipher) < 0) {
        return ERR_NOMEM;
    }
    char *nonce = out->p + out->n;
    int r = gnutls_rnd(GNUTLS_RND_NONCE, nonce, AEAD_NONCE_BYTES);
    if (r >= 0) {
        r = gnutls_aead_cipher_encrypt(cipher, nonce, AEAD_NONCE_BYTES, about.p, about.n,
                                       AEAD_TAG_BYTES, plain.p, plain.n, nonce + AEAD_NONCE_BYTES,
                                       &sealed_bytes);
    }
    gnutls_aead_cipher_deinit(cipher);
    if (r < 0) {
        return ERR_NOMEM;
    }
    out->n += AEAD_NONCE_BYTES + sealed_bytes;
    return ERR_OK;
}

enum err aead_open(enum aead_kind kind, const uint8_t key[AEAD_KEY_BYTES], struct str about,
                   struct str sealed, struct buf *out)
{
    gnutls_aead_cipher_hd_t cipher;
    if (sealed.n < AEAD_NONCE_BYTES + AEAD_TAG_BYTES) {
        return ERR_ACCESS;
    }
    size_t plain_bytes = sealed.n - AEAD_NONCE_BYTES - AEAD_TAG_BYTES;
    if (!buf_reserve(out, plain_bytes + 1) || cipher_open(kind, key, &cipher) < 0) {
        return ERR_NOMEM;
    }
    int r = gnutls_aead_cipher_decrypt(cipher, sealed.p, AEAD_NONCE_BYTES, about.p, about.n,
                                       AEAD_TAG_BYTES, sealed.p + AEAD_NONCE_BYTES,
                                       sealed.n - AEAD_NONCE_BYTES, out->p + out->n, &plain_bytes);
    gnutls_aead_cipher_deinit(cipher);
    if (r < 0) {
        return r == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_ACCESS;
    }
    out->n += plain_bytes;
    return ERR_OK;
}
