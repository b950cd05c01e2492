/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/local_ca.h"

#include <stdio.h>

#include "base/mem.h"
#include "crypto/certificate_int.h"
#include "crypto/x509_int.h"

#define DAY_S 86400
#define ROOT_DAYS 3652
#define COMMON_NAME_BYTES_MAX 64 /* RFC 5280, ub-common-name */

struct local_ca {
    gnutls_x509_crt_t crt;
    struct private_key *key;
};

static struct local_ca *ca_alloc(void)
{
    struct local_ca *ca = mem_zalloc(1, sizeof(*ca));
    if (ca && gnutls_x509_crt_init(&ca->crt) < 0) {
        mem_free(ca);
        return NULL;
    }
    return ca;
}

static int root_fill(const struct local_ca *ca, struct str host, int64_t now_s)
{
    char name[COMMON_NAME_BYTES_MAX + 1];
    int n = snprintf(name, sizeof(name), "Selenia local root " STR_FMT, STR_ARG(host));
    if (n > COMMON_NAME_BYTES_MAX) {
        n = COMMON_NAME_BYTES_MAX;
    }
    int r = x509_begin(ca->crt, ca->key, now_s, now_s + (int64_t)ROOT_DAYS * DAY_S);
    if (r >= 0) {
        r = gnutls_x509_crt_set_dn_by_oid(ca->crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                          (unsigned)n);
    }
    if (r >= 0) {
        r = gnutls_x509_crt_set_basic_constraints(ca->crt, 1, 0);
    }
    if (r >= 0) {
        r = gnutls_x509_crt_set_key_usage(ca->crt, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
    }
    return r < 0
               ? r
               : gnutls_x509_crt_privkey_sign(ca->crt, ca->crt, ca->key->key, GNUTLS_DIG_SHA256, 0);
}

enum err local_ca_create(struct str host, int64_t now_s, struct local_ca **ret_ca)
{
    struct local_ca *ca = ca_alloc();
    if (!ca) {
        return ERR_NOMEM;
    }
    enum err e = private_key_create(PRIVATE_KEY_P256, &ca->key);
    if (!e && root_fill(ca, host, now_s) < 0) {
        e = ERR_NOMEM;
    }
    if (e) {
        local_ca_destroy(ca);
        return e;
    }
    *ret_ca = ca;
    return ERR_OK;
}

static bool is_pair(const struct local_ca *ca)
{
    unsigned char of_crt[32], of_key[32];
    size_t n = sizeof(of_crt), key_n = sizeof(of_key);
    return gnutls_x509_crt_get_key_id(ca->crt, GNUTLS_KEYID_USE_SHA256, of_crt, &n) >= 0 &&
           gnutls_x509_privkey_get_key_id(ca->key->x509, GNUTLS_KEYID_USE_SHA256, of_key, &key_n) >=
               0 &&
           n == key_n && memcmp(of_crt, of_key, n) == 0;
}

enum err local_ca_import(struct str certificate_pem, struct str key_pem, struct local_ca **ret_ca,
                         struct fault *reterr_fault)
{
    gnutls_datum_t pem = datum_of(certificate_pem);
    struct local_ca *ca = ca_alloc();
    if (!ca) {
        return fault_set(reterr_fault, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    }
    int r = gnutls_x509_crt_import(ca->crt, &pem, GNUTLS_X509_FMT_PEM);
    enum err e = r < 0 ? fault_set(reterr_fault, crypto_err(r), "the root: %s", gnutls_strerror(r))
                       : private_key_import(key_pem, &ca->key, reterr_fault);
    if (!e && gnutls_x509_crt_get_ca_status(ca->crt, NULL) <= 0) {
        e = fault_set(reterr_fault, ERR_CONFIG, "the root is not the certificate of a CA");
    }
    if (!e && !is_pair(ca)) {
        e = fault_set(reterr_fault, ERR_CONFIG, "the root and its key do not belong together");
    }
    if (e) {
        local_ca_destroy(ca);
        return e;
    }
    *ret_ca = ca;
    return ERR_OK;
}

enum err local_ca_export_certificate(const struct local_ca *ca, struct buf *out)
{
    return x509_put_pem(ca->crt, out) < 0 ? ERR_NOMEM : ERR_OK;
}

enum err local_ca_export_key(const struct local_ca *ca, struct buf *out)
{
    return private_key_export(ca->key, out);
}

void local_ca_destroy(struct local_ca *ca)
{
    if (!ca) {
        return;
    }
    gnutls_x509_crt_deinit(ca->crt);
    private_key_destroy(ca->key);
    mem_free(ca);
}

int64_t local_ca_not_after_s(const struct local_ca *ca)
{
    return gnutls_x509_crt_get_expiration_time(ca->crt);
}

static int leaf_names(gnutls_x509_crt_t leaf, const struct local_ca_order *order)
{
    struct str first = order->names[0];
    int r = 0;
    if (first.n <= COMMON_NAME_BYTES_MAX) {
        r = gnutls_x509_crt_set_dn_by_oid(leaf, GNUTLS_OID_X520_COMMON_NAME, 0, first.p,
                                          (unsigned)first.n);
    }
    for (size_t i = 0; i < order->name_count && r >= 0; i++) {
        r = x509_add_name(leaf, order->names[i]);
    }
    return r;
}

static int leaf_sign(const struct local_ca *ca, gnutls_x509_crt_t leaf)
{
    unsigned char id[64];
    size_t id_bytes = sizeof(id);
    int r = gnutls_x509_crt_get_subject_key_id(ca->crt, id, &id_bytes, NULL);
    if (r >= 0) {
        r = gnutls_x509_crt_set_authority_key_id(leaf, id, id_bytes);
    }
    if (r >= 0) {
        r = gnutls_x509_crt_set_basic_constraints(leaf, 0, -1);
    }
    if (r >= 0) {
        r = gnutls_x509_crt_set_key_usage(leaf, GNUTLS_KEY_DIGITAL_SIGNATURE);
    }
    if (r >= 0) {
        r = gnutls_x509_crt_set_key_purpose_oid(leaf, GNUTLS_KP_TLS_WWW_SERVER, 0);
    }
    return r < 0 ? r
                 : gnutls_x509_crt_privkey_sign(leaf, ca->crt, ca->key->key, GNUTLS_DIG_SHA256, 0);
}

enum err local_ca_issue(const struct local_ca *ca, const struct local_ca_order *order,
                        int64_t now_s, struct buf *chain_out, struct buf *key_out)
{
    int64_t until_s = now_s + (int64_t)order->days * DAY_S;
    int64_t root_until_s = local_ca_not_after_s(ca);
    struct private_key *key = NULL;
    gnutls_x509_crt_t leaf;
    if (order->name_count == 0 || order->name_count > LOCAL_CA_NAMES_MAX ||
        order->days < LOCAL_CA_LEAF_DAYS_MIN || order->days > LOCAL_CA_LEAF_DAYS_MAX) {
        return ERR_RANGE;
    }
    if (now_s >= root_until_s) {
        return ERR_TIMEOUT;
    }
    if (gnutls_x509_crt_init(&leaf) < 0) {
        return ERR_NOMEM;
    }
    enum err e = private_key_create(PRIVATE_KEY_P256, &key);
    if (!e) {
        int r = x509_begin(leaf, key, now_s, until_s < root_until_s ? until_s : root_until_s);
        if (r >= 0) {
            r = leaf_names(leaf, order);
        }
        if (r >= 0) {
            r = leaf_sign(ca, leaf);
        }
        if (r >= 0) {
            r = x509_put_pem(leaf, chain_out);
        }
        e = r == GNUTLS_E_ILLEGAL_PARAMETER ? ERR_SYNTAX : r < 0 ? ERR_NOMEM : ERR_OK;
    }
    if (!e) {
        e = private_key_export(key, key_out);
    }
    private_key_destroy(key);
    gnutls_x509_crt_deinit(leaf);
    return e;
}
