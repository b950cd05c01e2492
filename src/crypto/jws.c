/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/jws.h"

#include <gnutls/crypto.h>

#include "base/base64url.h"
#include "crypto/certificate_int.h"
#include "crypto/digest.h"
#include "crypto/private_key_int.h"

#define NUMBER_BYTES 32

/* A number of any length in `ret_bytes`, right-aligned; false when it does not fit. */
static bool put_number(const gnutls_datum_t *number, uint8_t ret_bytes[NUMBER_BYTES])
{
    const unsigned char *p = number->data;
    size_t n = number->size;
    while (n > NUMBER_BYTES && *p == 0) {
        p++;
        n--;
    }
    if (n > NUMBER_BYTES) {
        return false;
    }
    memset(ret_bytes, 0, NUMBER_BYTES - n);
    memcpy(ret_bytes + NUMBER_BYTES - n, p, n);
    return true;
}

enum err jws_sign_es256(const struct private_key *key, struct str s,
                        uint8_t ret_signature[JWS_ES256_BYTES])
{
    gnutls_datum_t data = datum_of(s), der = {NULL, 0}, first = {NULL, 0}, second = {NULL, 0};
    bool is_good = false;
    if (key->kind != PRIVATE_KEY_P256) {
        return ERR_UNSUPPORTED;
    }
    int r = gnutls_privkey_sign_data(key->key, GNUTLS_DIG_SHA256, 0, &data, &der);
    if (r >= 0) {
        r = gnutls_decode_rs_value(&der, &first, &second);
    }
    if (r >= 0) {
        is_good =
            put_number(&first, ret_signature) && put_number(&second, ret_signature + NUMBER_BYTES);
    }
    gnutls_free(first.data);
    gnutls_free(second.data);
    gnutls_free(der.data);
    return is_good ? ERR_OK : ERR_NOMEM;
}

static enum err read_point(const struct private_key *key, uint8_t ret_point[2 * NUMBER_BYTES])
{
    gnutls_ecc_curve_t curve;
    gnutls_datum_t x = {NULL, 0}, y = {NULL, 0};
    gnutls_pubkey_t public_key;
    bool is_good = false;
    if (key->kind != PRIVATE_KEY_P256) {
        return ERR_UNSUPPORTED;
    }
    if (gnutls_pubkey_init(&public_key) < 0) {
        return ERR_NOMEM;
    }
    int r = gnutls_pubkey_import_privkey(public_key, key->key, 0, 0);
    if (r >= 0) {
        r = gnutls_pubkey_export_ecc_raw(public_key, &curve, &x, &y);
    }
    if (r >= 0) {
        is_good = put_number(&x, ret_point) && put_number(&y, ret_point + NUMBER_BYTES);
    }
    gnutls_pubkey_deinit(public_key);
    gnutls_free(x.data);
    gnutls_free(y.data);
    return is_good ? ERR_OK : ERR_NOMEM;
}

enum err jws_put_jwk(const struct private_key *key, struct buf *out)
{
    uint8_t point[2 * NUMBER_BYTES];
    enum err e = read_point(key, point);
    if (e) {
        return e;
    }
    buf_add_str(out, STR("{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\""));
    base64url_encode(out, str_make((char *)point, NUMBER_BYTES));
    buf_add_str(out, STR("\",\"y\":\""));
    base64url_encode(out, str_make((char *)point + NUMBER_BYTES, NUMBER_BYTES));
    buf_add_str(out, STR("\"}"));
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}

enum err jws_put_thumbprint(const struct private_key *key, struct buf *out)
{
    struct buf jwk;
    uint8_t hash[32];
    buf_init(&jwk, 0);
    enum err e = jws_put_jwk(key, &jwk);
    if (!e) {
        e = digest_of(DIGEST_SHA256, buf_str(&jwk), hash);
    }
    if (!e) {
        base64url_encode(out, str_make((char *)hash, sizeof(hash)));
        e = out->is_failed ? ERR_NOMEM : ERR_OK;
    }
    buf_done(&jwk);
    return e;
}
