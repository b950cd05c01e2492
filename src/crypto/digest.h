/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes, keyed hashes and key derivation. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum digest_kind {
    DIGEST_SHA256,
    DIGEST_SHA384,
    DIGEST_BLAKE2B, /* 256 bits */
    DIGEST_SHA1     /* for protocols that name it; it protects nothing */
};

#define DIGEST_BYTES_MAX 48

/* 20, 32 or 48. */
size_t digest_bytes(enum digest_kind kind);

/* The hash of `s`; `ret_hash` has digest_bytes(kind) bytes. ERR_NOMEM. */
enum err digest_of(enum digest_kind kind, struct str s, uint8_t *ret_hash) MUST_CHECK;

struct digest;

/* A hash of bytes that come piece by piece. ERR_NOMEM. */
enum err digest_create(enum digest_kind kind, struct digest **ret_digest) MUST_CHECK;
void digest_add(struct digest *d, struct str s);

/* The hash of what was added; frees `d`. */
void digest_finish(struct digest *d, uint8_t *ret_hash);

/* Frees without a result; NULL is a no-op. */
void digest_destroy(struct digest *d);

/* HMAC-SHA-256 (RFC 2104). ERR_NOMEM. */
enum err digest_hmac(struct str key, struct str s, uint8_t ret_mac[32]) MUST_CHECK;

/* HKDF-SHA-256 with an empty salt (RFC 5869): `n` bytes (at most 8160) from `secret` for the
 * purpose `info`. ERR_NOMEM. */
enum err digest_derive(struct str secret, struct str info, uint8_t *ret_bytes, size_t n) MUST_CHECK;
