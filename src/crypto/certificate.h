/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate chain and its private key, checked and ready to serve. Immutable and
 * reference-counted; may be shared between threads. Names are the DNS and IP entries of the
 * subject alternative name, in lower case; the common name is ignored (RFC 9110 4.3.4). The private
 * key lies in a secret (crypto/secret.h) and leaves it for the length of a signature only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "crypto/fault.h"

#define CERTIFICATE_FINGERPRINT_BYTES 32
#define CERTIFICATE_CHAIN_MAX 10
#define CERTIFICATE_NAMES_MAX 1000
#define CERTIFICATE_PEM_BYTES_MAX (1024u * 1024u)

enum certificate_key { CERTIFICATE_ECDSA, CERTIFICATE_RSA, CERTIFICATE_ED25519 };

struct certificate;

/* Reads a chain (leaf first) and a key (PKCS#8, RSA or EC) from PEM; `key_pem` may be within the
 * same text as the chain. The caller keeps and wipes its bytes. ERR_SYNTAX: not PEM, or a
 * name with a NUL or any other byte that no host name has; ERR_UNSUPPORTED: an encrypted key, or a
 * kind of key that is not served; ERR_CONFIG: the key is not the leaf's, or the chain is out of
 * order; ERR_LIMIT; ERR_NOMEM. */
enum err certificate_create(struct str chain_pem, struct str key_pem, struct certificate **ret_cert,
                            struct fault *reterr_fault) MUST_CHECK;

/* The same of a chain alone, whose key is elsewhere: to ask and judge responders, never to serve.
 */
enum err certificate_create_public(struct str chain_pem, struct certificate **ret_cert,
                                   struct fault *reterr_fault) MUST_CHECK;

/* The same certificate with a stapled OCSP response (DER, RFC 6960) that was checked: signed by
 * the issuer (which must be in the chain) or by a responder it certified, about this certificate,
 * "good", and fresh at `now_s` (Unix seconds). The old one stays as it is. ERR_SYNTAX,
 * ERR_UNSUPPORTED (no issuer in the chain), ERR_CONFIG (not about this certificate),
 * ERR_TIMEOUT (not fresh), ERR_ACCESS (bad signature, or not known to its issuer), ERR_CANCELLED
 * (revoked), ERR_NOMEM. */
enum err certificate_staple(struct certificate *c, struct str response, int64_t now_s,
                            struct certificate **ret_cert, struct fault *reterr_fault) MUST_CHECK;

/* One reference more; returns `c`. Thread-safe, as is certificate_unref. */
struct certificate *certificate_ref(struct certificate *c);

/* One reference less; the last one frees. NULL is a no-op. */
void certificate_unref(struct certificate *c);

/* Everything below lives as long as the certificate. */
size_t certificate_name_count(const struct certificate *c);

/* A DNS name (may start with "*.") or the text of an IP address. */
struct str certificate_name(const struct certificate *c, size_t i);

enum certificate_key certificate_key_kind(const struct certificate *c);
int64_t certificate_not_before_s(const struct certificate *c);
int64_t certificate_not_after_s(const struct certificate *c);

/* Both bring the same certificates in the same order (and so the same key). */
bool certificate_has_same_chain(const struct certificate *a, const struct certificate *b);

/* SHA-256 of the leaf. */
const uint8_t *certificate_fingerprint(const struct certificate *c);

/* SHA-256 of the issuer's public key (subjectPublicKeyInfo), or NULL: the chain has no issuer. */
const uint8_t *certificate_issuer_key_hash(const struct certificate *c);

/* The first OCSP responder's URL; empty when there is none. */
struct str certificate_ocsp_url(const struct certificate *c);

/* A DER request about the leaf for that responder, appended to `out` (a struct buf).
 * ERR_UNSUPPORTED: no issuer in the chain. */
struct buf;
enum err certificate_ocsp_request(const struct certificate *c, struct buf *out) MUST_CHECK;

/* From when to when the stapled response holds (Unix seconds); 0 = there is none. */
int64_t certificate_staple_from_s(const struct certificate *c);
int64_t certificate_staple_until_s(const struct certificate *c);

/* Clients shall insist on a staple (RFC 7633). */
bool certificate_must_staple(const struct certificate *c);

/* Appends leaf and issuer in PEM: what certificate_create_public needs. ERR_NOMEM, ERR_UNSUPPORTED:
 * no issuer in the chain. */
enum err certificate_put_chain(const struct certificate *c, struct buf *out) MUST_CHECK;

/* The two parts of an ARI identifier (RFC 9773 4.1), raw; empty where the leaf has no such field.
 */
struct str certificate_authority_key_id(const struct certificate *c);
struct str certificate_serial(const struct certificate *c);
