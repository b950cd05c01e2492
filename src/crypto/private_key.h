/* SPDX-License-Identifier: Apache-2.0 */
/* A private key of our own: for the local CA, for certificate requests, for ACME accounts. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "crypto/fault.h"

enum private_key_kind { PRIVATE_KEY_P256, PRIVATE_KEY_RSA_2048 };

struct private_key;

/* A new key. RSA takes long (a tenth of a second and more): not in an event loop. ERR_NOMEM. */
enum err private_key_create(enum private_key_kind kind, struct private_key **ret_key) MUST_CHECK;

/* Reads PEM: PKCS#8, RSA or EC, not encrypted. ERR_SYNTAX, ERR_UNSUPPORTED (not P-256 or RSA),
 * ERR_NOMEM. */
enum err private_key_import(struct str pem, struct private_key **ret_key,
                            struct fault *reterr_fault) MUST_CHECK;

/* Appends PKCS#8 in PEM to `out`; the caller wipes it. ERR_NOMEM. */
enum err private_key_export(const struct private_key *k, struct buf *out) MUST_CHECK;

/* Wipes and frees; NULL is a no-op. */
void private_key_destroy(struct private_key *k);

enum private_key_kind private_key_kind(const struct private_key *k);
