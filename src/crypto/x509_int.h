/* SPDX-License-Identifier: Apache-2.0 */
/* Steps that are the same for every certificate we make. They return a code of GnuTLS. */
#pragma once

#include <gnutls/x509.h>

#include "base/buf.h"
#include "crypto/private_key_int.h"

#define X509_BACKDATE_S 3600

/* Whether `name` is the text of an address; then its 4 or 16 bytes. */
size_t x509_address(struct str name, unsigned char ret_bytes[16]);

/* Version, key, random serial, key id, and the time from an hour before `now_s` to `until_s`. */
int x509_begin(gnutls_x509_crt_t crt, const struct private_key *key, int64_t now_s,
               int64_t until_s);

/* Adds a host name or address to the alternative names. GNUTLS_E_ILLEGAL_PARAMETER: neither. */
int x509_add_name(gnutls_x509_crt_t crt, struct str name);

/* Appends the certificate in PEM. */
int x509_put_pem(gnutls_x509_crt_t crt, struct buf *out);
