/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4) in memory of the caller: it allocates nothing and cannot fail, which the
 * hashing of a tree needs millions of times a second. For public data: it takes no care of secrets.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define SHA256_BYTES 32
#define SHA256_BLOCK_BYTES 64

struct sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[SHA256_BLOCK_BYTES];
};

void sha256_init(struct sha256 *h);
void sha256_add(struct sha256 *h, const void *bytes, size_t n);

/* The hash of what was added; `h` is of no further use. */
void sha256_finish(struct sha256 *h, uint8_t ret_hash[SHA256_BYTES]);

/* The same with the portable code, for tests that compare it with that of the processor. */
void sha256_of_portable(struct str s, uint8_t ret_hash[SHA256_BYTES]);
