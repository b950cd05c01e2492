/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/private_key.h"

#include "base/mem.h"
#include "crypto/certificate_int.h"
#include "crypto/private_key_int.h"
#include "crypto/secret.h"

#define RSA_BITS 2048

static struct private_key *key_alloc(void)
{
    struct private_key *k = mem_zalloc(1, sizeof(*k));
    if (!k) {
        return NULL;
    }
    if (gnutls_x509_privkey_init(&k->x509) < 0) {
        k->x509 = NULL;
    }
    if (!k->x509 || gnutls_privkey_init(&k->key) < 0) {
        k->key = NULL;
        private_key_destroy(k);
        return NULL;
    }
    return k;
}

enum err private_key_create(enum private_key_kind kind, struct private_key **ret_key)
{
    struct private_key *k = key_alloc();
    if (!k) {
        return ERR_NOMEM;
    }
    k->kind = kind;
    int r = kind == PRIVATE_KEY_P256
                ? gnutls_x509_privkey_generate(k->x509, GNUTLS_PK_ECDSA,
                                               GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0)
                : gnutls_x509_privkey_generate(k->x509, GNUTLS_PK_RSA, RSA_BITS, 0);
    if (r >= 0) {
        r = gnutls_privkey_import_x509(k->key, k->x509, 0);
    }
    if (r < 0) {
        private_key_destroy(k);
        return ERR_NOMEM;
    }
    *ret_key = k;
    return ERR_OK;
}

static bool is_p256(gnutls_x509_privkey_t x509)
{
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    gnutls_datum_t x = {NULL, 0}, y = {NULL, 0}, secret = {NULL, 0};
    int r = gnutls_x509_privkey_export_ecc_raw(x509, &curve, &x, &y, &secret);
    if (secret.data) {
        secret_wipe(secret.data, secret.size);
    }
    gnutls_free(secret.data);
    gnutls_free(x.data);
    gnutls_free(y.data);
    return r >= 0 && curve == GNUTLS_ECC_CURVE_SECP256R1;
}

enum err private_key_import(struct str pem, struct private_key **ret_key,
                            struct fault *reterr_fault)
{
    gnutls_datum_t data = datum_of(pem);
    struct private_key *k = key_alloc();
    if (!k) {
        return fault_set(reterr_fault, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    }
    int r = gnutls_x509_privkey_import(k->x509, &data, GNUTLS_X509_FMT_PEM);
    if (r >= 0) {
        r = gnutls_privkey_import_x509(k->key, k->x509, 0);
    }
    enum err e =
        r < 0 ? fault_set(reterr_fault, crypto_err(r), "the private key: %s", gnutls_strerror(r))
              : ERR_OK;
    if (!e) {
        int algorithm = gnutls_x509_privkey_get_pk_algorithm(k->x509);
        k->kind = algorithm == GNUTLS_PK_RSA ? PRIVATE_KEY_RSA_2048 : PRIVATE_KEY_P256;
        if (algorithm != GNUTLS_PK_RSA && (algorithm != GNUTLS_PK_ECDSA || !is_p256(k->x509))) {
            e = fault_set(reterr_fault, ERR_UNSUPPORTED, "the key must be P-256 or RSA");
        }
    }
    if (e) {
        private_key_destroy(k);
        return e;
    }
    *ret_key = k;
    return ERR_OK;
}

enum err private_key_export(const struct private_key *k, struct buf *out)
{
    gnutls_datum_t pem = {NULL, 0};
    int r = gnutls_x509_privkey_export2_pkcs8(k->x509, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
                                              &pem);
    if (r < 0) {
        return ERR_NOMEM;
    }
    buf_add(out, pem.data, pem.size);
    secret_wipe(pem.data, pem.size);
    gnutls_free(pem.data);
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}

void private_key_destroy(struct private_key *k)
{
    if (!k) {
        return;
    }
    if (k->key) {
        gnutls_privkey_deinit(k->key);
    }
    if (k->x509) {
        gnutls_x509_privkey_deinit(k->x509);
    }
    mem_free(k);
}

enum private_key_kind private_key_kind(const struct private_key *k)
{
    return k->kind;
}
