/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent to an ACME server: signed requests (RFC 8555 6.2) and their payloads. */
#pragma once

#include "base/buf.h"
#include "base/str.h"
#include "crypto/private_key.h"

struct acme_post {
    const struct private_key *key;
    struct str account; /* URL; empty: the key itself is sent, for a new account */
    struct str nonce;
    struct str url;
    struct str payload; /* empty: POST-as-GET */
};

/* Appends the signed request (JSON serialisation of RFC 7515 7.2.2). ERR_NOMEM. */
enum err acme_put_post(const struct acme_post *post, struct buf *out) MUST_CHECK;

struct acme_account_request {
    const struct private_key *key;
    struct str url;     /* newAccount */
    struct str email;   /* empty = none */
    struct str eab_kid; /* empty = no external account */
    struct str eab_key; /* base64url */
};

/* Appends the payload of a new account (7.3, 7.3.4). ERR_SYNTAX: the external key is not base64url;
 * ERR_NOMEM. */
enum err acme_put_account(const struct acme_account_request *request, struct buf *out) MUST_CHECK;

/* Appends the payload of a new order (7.4, RFC 8738) for host names and addresses; `replaces`
 * (RFC 9773 5) may be empty. ERR_NOMEM. */
enum err acme_put_order(const struct str *names, size_t count, struct str replaces,
                        struct buf *out) MUST_CHECK;

/* Appends the payload of finalize (7.4) for a DER request. ERR_NOMEM. */
enum err acme_put_finalize(struct str csr, struct buf *out) MUST_CHECK;
