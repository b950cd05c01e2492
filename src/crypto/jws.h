/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of JSON Web Signature (RFC 7515, 7518) that ACME needs. Keys are P-256. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "crypto/private_key.h"

#define JWS_ES256_BYTES 64

/* The ES256 signature of `s`: r and s, 32 bytes each (RFC 7518 3.4). ERR_UNSUPPORTED: an RSA key;
 * ERR_NOMEM. */
enum err jws_sign_es256(const struct private_key *key, struct str s,
                        uint8_t ret_signature[JWS_ES256_BYTES]) MUST_CHECK;

/* Appends the public key as a JWK in the form that its thumbprint is made of (RFC 7638 3).
 * ERR_UNSUPPORTED, ERR_NOMEM. */
enum err jws_put_jwk(const struct private_key *key, struct buf *out) MUST_CHECK;

/* Appends the thumbprint (RFC 7638, SHA-256) in base64url. ERR_UNSUPPORTED, ERR_NOMEM. */
enum err jws_put_thumbprint(const struct private_key *key, struct buf *out) MUST_CHECK;
