/* SPDX-License-Identifier: Apache-2.0 */
/* A quick keyed hash for tables whose keys peers choose: not for proofs or signatures. */
#pragma once

#include <stdint.h>

#include "base/str.h"

/* Sets the key of the process; call once at start with random bits. Before that the key is a
 * constant, so that tests are repeatable. */
void hash_set_key(uint64_t key);

/* 64 bits of `s` under the key of the process. */
uint64_t hash_str(struct str s);

/* Joins two hashes. */
uint64_t hash_join(uint64_t a, uint64_t b);
