/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/csr.h"

#include "crypto/certificate_int.h"
#include "crypto/x509_int.h"

#define OID_ACME_IDENTIFIER "1.3.6.1.5.5.7.1.31"
#define CHALLENGE_S (7 * 86400)
#define DER_OCTET_STRING 4

static enum err err_of(int r)
{
    return r == GNUTLS_E_ILLEGAL_PARAMETER ? ERR_SYNTAX : r < 0 ? ERR_NOMEM : ERR_OK;
}

static int request_add_name(gnutls_x509_crq_t request, struct str name)
{
    unsigned char address[16];
    size_t n = x509_address(name, address);
    if (n) {
        return gnutls_x509_crq_set_subject_alt_name(request, GNUTLS_SAN_IPADDRESS, address,
                                                    (unsigned)n, GNUTLS_FSAN_APPEND);
    }
    if (!certificate_name_is_legal(name)) {
        return GNUTLS_E_ILLEGAL_PARAMETER;
    }
    return gnutls_x509_crq_set_subject_alt_name(request, GNUTLS_SAN_DNSNAME, name.p,
                                                (unsigned)name.n, GNUTLS_FSAN_APPEND);
}

enum err csr_create(const struct private_key *key, const struct str *names, size_t count,
                    struct buf *out)
{
    gnutls_x509_crq_t request;
    gnutls_datum_t der = {NULL, 0};
    if (count == 0 || count > CSR_NAMES_MAX) {
        return ERR_RANGE;
    }
    if (gnutls_x509_crq_init(&request) < 0) {
        return ERR_NOMEM;
    }
    int r = gnutls_x509_crq_set_version(request, 1);
    if (r >= 0) {
        r = gnutls_x509_crq_set_key(request, key->x509);
    }
    for (size_t i = 0; i < count && r >= 0; i++) {
        r = request_add_name(request, names[i]);
    }
    if (r >= 0) {
        r = gnutls_x509_crq_privkey_sign(request, key->key, GNUTLS_DIG_SHA256, 0);
    }
    if (r >= 0) {
        r = gnutls_x509_crq_export2(request, GNUTLS_X509_FMT_DER, &der);
    }
    if (r >= 0) {
        buf_add(out, der.data, der.size);
    }
    gnutls_free(der.data);
    gnutls_x509_crq_deinit(request);
    return r >= 0 && out->is_failed ? ERR_NOMEM : err_of(r);
}

enum err csr_create_challenge(const struct private_key *key, struct str name,
                              const uint8_t authorization[32], int64_t now_s, struct buf *out)
{
    uint8_t value[2 + 32] = {DER_OCTET_STRING, 32};
    gnutls_x509_crt_t crt;
    if (gnutls_x509_crt_init(&crt) < 0) {
        return ERR_NOMEM;
    }
    memcpy(value + 2, authorization, 32);
    int r = x509_begin(crt, key, now_s, now_s + CHALLENGE_S);
    if (r >= 0) {
        r = x509_add_name(crt, name);
    }
    if (r >= 0) {
        r = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, "ACME challenge",
                                          14);
    }
    if (r >= 0) {
        r = gnutls_x509_crt_set_extension_by_oid(crt, OID_ACME_IDENTIFIER, value, sizeof(value), 1);
    }
    if (r >= 0) {
        r = gnutls_x509_crt_privkey_sign(crt, crt, key->key, GNUTLS_DIG_SHA256, 0);
    }
    if (r >= 0) {
        r = x509_put_pem(crt, out);
    }
    gnutls_x509_crt_deinit(crt);
    return err_of(r);
}

enum err csr_put_pem(struct str der, struct buf *out)
{
    const gnutls_datum_t bytes = datum_of(der);
    gnutls_datum_t text = {NULL, 0};
    int r = gnutls_pem_base64_encode2("CERTIFICATE REQUEST", &bytes, &text);
    if (r < 0) {
        return ERR_NOMEM;
    }
    buf_add(out, text.data, text.size);
    gnutls_free(text.data);
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}
