/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of proofs share: cmocka, a log in memory with a signing key, a source of numbers.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "proof/merkle.h"
#include "proof/sign.h"

#define RIG_LOG_MAX 600

/* Every leaf hash of a log, and the nodes above them computed anew each time. */
struct rig_log {
    uint64_t size;
    uint8_t leaves[RIG_LOG_MAX][MERKLE_HASH_BYTES];
    struct merkle_tree tree;
    unsigned long asked; /* nodes */
};

/* A log of `size` entries "entry 0", "entry 1", and so on. */
struct rig_log *rig_log_create(uint64_t size);
struct str rig_entry(uint64_t index, char ret_text[32]);
struct merkle_source rig_log_source(struct rig_log *log);

/* MTH(D[start:end]) as RFC 9162 section 2.1.1 writes it. */
void rig_naive_root(const struct rig_log *log, uint64_t start, uint64_t end,
                    uint8_t ret_root[MERKLE_HASH_BYTES]);

/* A seed of equal bytes; the caller destroys it. */
struct secret *rig_seed(uint8_t byte);

uint64_t rig_random(uint64_t *state);

/* The whole file, NUL-terminated, to be freed; fails the test if there is none. */
char *rig_file(const char *path, size_t *ret_n);
