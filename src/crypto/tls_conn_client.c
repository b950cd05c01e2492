/* SPDX-License-Identifier: Apache-2.0 */
/* Telling about the client's certificate. */
#include "crypto/tls_conn_int.h"

#include <gnutls/x509.h>

static const char digits[] = "0123456789abcdef";

/* Puts at most half of what is left into the text of `d`; cut when too long. */
static struct str put_text(struct tls_client_certificate *d, size_t *used, const gnutls_datum_t *t)
{
    size_t room = (sizeof(d->text) - *used) / 2;
    size_t n = t->size < room ? t->size : room;
    struct str s = str_make(d->text + *used, n);
    if (n) {
        memcpy(d->text + *used, t->data, n);
    }
    *used += n;
    return s;
}

static int describe(gnutls_x509_crt_t crt, struct tls_client_certificate *d)
{
    size_t used = 0, fingerprint_bytes = sizeof(d->fingerprint);
    uint8_t serial[64];
    size_t serial_bytes = sizeof(serial);
    gnutls_datum_t subject = {NULL, 0}, issuer = {NULL, 0};
    int r =
        gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, d->fingerprint, &fingerprint_bytes);
    if (r >= 0) {
        r = gnutls_x509_crt_get_serial(crt, serial, &serial_bytes);
    }
    if (r >= 0) {
        d->serial = str_make(d->text, serial_bytes * 2);
        for (size_t i = 0; i < serial_bytes; i++) {
            d->text[used++] = digits[serial[i] >> 4];
            d->text[used++] = digits[serial[i] & 15];
        }
        r = gnutls_x509_crt_get_dn3(crt, &subject, 0);
    }
    if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
        r = 0; /* an empty subject is legal */
    }
    if (r >= 0) {
        d->subject = put_text(d, &used, &subject);
        r = gnutls_x509_crt_get_issuer_dn3(crt, &issuer, 0);
    }
    if (r >= 0) {
        d->issuer = put_text(d, &used, &issuer);
        d->not_after_s = gnutls_x509_crt_get_expiration_time(crt);
    }
    gnutls_free(subject.data);
    gnutls_free(issuer.data);
    return r;
}

enum err tls_conn_client_certificate(const struct tls_conn *c,
                                     struct tls_client_certificate *ret_certificate)
{
    unsigned count = 0;
    gnutls_x509_crt_t crt;
    const gnutls_datum_t *chain = c->is_handshaken && c->policy->client_auth != TLS_CLIENT_OFF
                                      ? gnutls_certificate_get_peers(c->session, &count)
                                      : NULL;
    ret_certificate->is_present = false;
    if (!chain || count == 0) {
        return ERR_NOT_FOUND;
    }
    if (gnutls_x509_crt_init(&crt) < 0) {
        return ERR_NOMEM;
    }
    int r = gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER);
    if (r >= 0) {
        r = describe(crt, ret_certificate);
    }
    gnutls_x509_crt_deinit(crt);
    ret_certificate->is_present = r >= 0;
    return r < 0 ? ERR_NOMEM : ERR_OK;
}
