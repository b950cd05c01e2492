/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/x509_int.h"

#include <arpa/inet.h>
#include <gnutls/crypto.h>

#include "crypto/certificate_int.h"

#define SERIAL_BYTES 16
#define ADDRESS_TEXT_BYTES 64

size_t x509_address(struct str name, unsigned char ret_bytes[16])
{
    char text[ADDRESS_TEXT_BYTES];
    if (name.n == 0 || name.n >= sizeof(text) || memchr(name.p, '\0', name.n)) {
        return 0;
    }
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    if (inet_pton(AF_INET, text, ret_bytes) == 1) {
        return 4;
    }
    return inet_pton(AF_INET6, text, ret_bytes) == 1 ? 16 : 0;
}

int x509_begin(gnutls_x509_crt_t crt, const struct private_key *key, int64_t now_s, int64_t until_s)
{
    unsigned char serial[SERIAL_BYTES], id[64];
    size_t id_bytes = sizeof(id);
    int r = gnutls_x509_crt_set_version(crt, 3);
    if (r >= 0) {
        r = gnutls_x509_crt_set_key(crt, key->x509);
    }
    if (r >= 0) {
        r = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
    }
    if (r >= 0) {
        serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40); /* positive, without a leading 0 */
        r = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
    }
    if (r >= 0) {
        r = gnutls_x509_crt_get_key_id(crt, 0, id, &id_bytes);
    }
    if (r >= 0) {
        r = gnutls_x509_crt_set_subject_key_id(crt, id, id_bytes);
    }
    if (r >= 0) {
        r = gnutls_x509_crt_set_activation_time(crt, now_s - X509_BACKDATE_S);
    }
    return r < 0 ? r : gnutls_x509_crt_set_expiration_time(crt, until_s);
}

int x509_add_name(gnutls_x509_crt_t crt, struct str name)
{
    unsigned char address[16];
    size_t n = x509_address(name, address);
    if (n) {
        return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, address, (unsigned)n,
                                                    GNUTLS_FSAN_APPEND);
    }
    if (!certificate_name_is_legal(name)) {
        return GNUTLS_E_ILLEGAL_PARAMETER;
    }
    return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, name.p, (unsigned)name.n,
                                                GNUTLS_FSAN_APPEND);
}

int x509_put_pem(gnutls_x509_crt_t crt, struct buf *out)
{
    gnutls_datum_t pem = {NULL, 0};
    int r = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);
    if (r < 0) {
        return r;
    }
    buf_add(out, pem.data, pem.size);
    gnutls_free(pem.data);
    return out->is_failed ? GNUTLS_E_MEMORY_ERROR : 0;
}
