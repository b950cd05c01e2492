/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Merkle tree of a log (RFC 9162 section 2.1, SHA-256). A tree that grows keeps the roots of
 * its complete subtrees, largest first, and no more; proofs are made from any source of the hashes
 * of complete subtrees. Nothing here allocates. <sws/proof.h> verifies.
 *
 * Node (level, index) is the root of the leaves [index << level, (index + 1) << level).
 */
#pragma once

#include <sws/proof.h>

#include "base/err.h"

#define MERKLE_LEVELS 64
#define MERKLE_HASH_BYTES SWS_HASH_BYTES

void merkle_hash_node(const uint8_t left[MERKLE_HASH_BYTES], const uint8_t right[MERKLE_HASH_BYTES],
                      uint8_t ret_hash[MERKLE_HASH_BYTES]);

/* The root of the tree without leaves. */
void merkle_hash_empty(uint8_t ret_hash[MERKLE_HASH_BYTES]);

/* ---- a tree that grows ---- */

struct merkle_tree {
    uint64_t size;
    uint8_t peaks[MERKLE_LEVELS][MERKLE_HASH_BYTES]; /* one for each bit of size that is set */
};

/* Told of each node that became complete, leaves (level 0) first. Its error ends the append. */
typedef enum err (*merkle_node_fn)(void *arg, unsigned level, uint64_t index,
                                   const uint8_t hash[MERKLE_HASH_BYTES]);

void merkle_init(struct merkle_tree *t);

/* Adds a leaf by its hash; `on_node` may be NULL. ERR_LIMIT: 2^64 - 1 leaves; or what `on_node`
 * returned. The tree is as before then. */
enum err merkle_append(struct merkle_tree *t, const uint8_t leaf_hash[MERKLE_HASH_BYTES],
                       merkle_node_fn on_node, void *arg) MUST_CHECK;

void merkle_root(const struct merkle_tree *t, uint8_t ret_root[MERKLE_HASH_BYTES]);

/* ---- proofs ---- */

/* Gives nodes that are complete in the tree of the size asked about; an error of it is passed on.
 */
struct merkle_source {
    enum err (*node)(void *arg, unsigned level, uint64_t index,
                     uint8_t ret_hash[MERKLE_HASH_BYTES]);
    void *arg;
};

struct merkle_path {
    size_t count;
    uint8_t hashes[SWS_PATH_MAX][MERKLE_HASH_BYTES];
};

/* The tree of `size` leaves as it was when it had them. Asks for at most 64 nodes. */
enum err merkle_restore(const struct merkle_source *source, uint64_t size,
                        struct merkle_tree *ret_tree) MUST_CHECK;

/* PATH(index, D[size]) of RFC 9162 section 2.1.3.1. ERR_RANGE: no such leaf. */
enum err merkle_inclusion(const struct merkle_source *source, uint64_t size, uint64_t index,
                          struct merkle_path *ret_path) MUST_CHECK;

/* PROOF(old_size, D[new_size]) of RFC 9162 section 2.1.4.1; empty for equal sizes. ERR_RANGE: the
 * old size is 0 or the larger one. */
enum err merkle_consistency(const struct merkle_source *source, uint64_t old_size,
                            uint64_t new_size, struct merkle_path *ret_path) MUST_CHECK;
