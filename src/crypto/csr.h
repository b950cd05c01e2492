/* SPDX-License-Identifier: Apache-2.0 */
/* What a public CA asks of us: a certificate request, and the certificate that proves by TLS
 * alone who serves a name. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "crypto/private_key.h"

#define CSR_NAMES_MAX 100

/* Appends a PKCS #10 request (DER) for `count` host names or addresses, without a common name.
 * ERR_RANGE, ERR_SYNTAX (a name that is neither), ERR_NOMEM. */
enum err csr_create(const struct private_key *key, const struct str *names, size_t count,
                    struct buf *out) MUST_CHECK;

/* Appends the PEM form of such a request. ERR_NOMEM. */
enum err csr_put_pem(struct str der, struct buf *out) MUST_CHECK;

/* Appends the self-signed certificate (PEM) that answers a TLS-ALPN-01 challenge (RFC 8737 3) for
 * `name`: its critical extension holds `authorization`, the SHA-256 of the key authorization.
 * ERR_SYNTAX, ERR_NOMEM. */
enum err csr_create_challenge(const struct private_key *key, struct str name,
                              const uint8_t authorization[32], int64_t now_s,
                              struct buf *out) MUST_CHECK;
