/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state: a sparse Merkle tree over the hashes of keys, whose root depends on what it holds and
 * on nothing else. A subtree with one key is its leaf, an empty one is the zero hash, so the depth
 * follows the number of keys (docs/proofs.md).
 *
 * Nodes live in a store of the caller under dense numbers and never change: an update saves new
 * ones and says which ones the new tree leaves behind. Whoever keeps those keeps the old trees.
 * Values are the caller's, the tree has their hashes.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "proof/state_path.h"

/* A node by its number, with what is needed to hash its parent; number 0 is the empty subtree. */
struct state_link {
    uint64_t id;
    bool is_leaf;
    uint8_t hash[STATE_HASH_BYTES];
};

struct state_node {
    bool is_leaf;
    uint8_t path[STATE_HASH_BYTES]; /* of a leaf */
    uint8_t value_hash[STATE_HASH_BYTES];
    struct state_link child[2]; /* of an inner node */
};

#define STATE_NODE_BYTES_MAX 81

/* The bytes of a node for a store; returns how many. */
size_t state_node_encode(const struct state_node *node, uint8_t ret_bytes[STATE_NODE_BYTES_MAX]);

/* ERR_SYNTAX: no node has these bytes. */
enum err state_node_decode(struct str bytes, struct state_node *ret_node) MUST_CHECK;

struct state_store {
    enum err (*load)(void *arg, uint64_t id, struct state_node *ret_node);
    enum err (*save)(void *arg, uint64_t id, const struct state_node *node);
    /* The new tree has no use for this node. */
    enum err (*drop)(void *arg, uint64_t id);
    void *arg;
};

struct state_tree {
    struct state_link root;
    uint64_t next_id; /* all numbers below are in use or were */
    uint64_t key_count;
};

void state_init(struct state_tree *t);

struct state_change {
    uint8_t path[STATE_HASH_BYTES];
    uint8_t value_hash[STATE_HASH_BYTES];
    bool is_removal;
};

void state_change_set(struct state_change *c, struct str key, struct str value);
void state_change_remove(struct state_change *c, struct str key);

/* Makes all changes at once; puts `changes` into another order and allocates nothing. Removing
 * what is not there changes nothing. ERR_EXISTS: a key is changed twice; ERR_SYNTAX: the store gave
 * another node than was saved; or what the store returned. On an error the tree is as before, and
 * the store holds what was saved until then. */
enum err state_update(struct state_tree *t, const struct state_store *store,
                      struct state_change *changes, size_t count) MUST_CHECK;

/* Loads and checks one node. ERR_SYNTAX or what the store returned. */
enum err state_load(const struct state_store *store, const struct state_link *link,
                    struct state_node *ret_node) MUST_CHECK;

/* Appends the proof of what the tree holds under `count` paths (state_hash of keys), present or
 * not; sorts `paths`. ERR_RANGE: there are none; ERR_EXISTS: two are equal; ERR_SYNTAX as above;
 * ERR_NOMEM: no room in `out`; or what the store returned. On an error `out` holds what it held. */
enum err state_prove(const struct state_tree *t, const struct state_store *store,
                     uint8_t (*paths)[STATE_HASH_BYTES], size_t count, struct buf *out) MUST_CHECK;
