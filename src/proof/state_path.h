/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes and paths of the state: what the tree and the verifier share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_HASH_BYTES 32
#define STATE_DEPTH_MAX 256

/* The first byte of what is hashed, so that no hash can stand for one of another kind, nor for one
 * of the log. The hash of an empty subtree is all zeros. */
enum state_prefix {
    STATE_PREFIX_LEAF = 2,
    STATE_PREFIX_INNER = 3,
    STATE_PREFIX_KEY = 4,
    STATE_PREFIX_VALUE = 5
};

/* A proof is its version, then tokens and hashes in the order of a walk from the root, left before
 * right; only nodes that some asked path leads through are visited. */
#define STATE_PROOF_VERSION 1

enum state_token {
    STATE_TOKEN_EMPTY = 0,
    STATE_TOKEN_ASKED = 1,      /* the leaf of an asked key */
    STATE_TOKEN_OTHER = 2,      /* another leaf: its path and the hash of its value follow */
    STATE_TOKEN_BOTH = 3,       /* an inner node, asked paths lead to both sides */
    STATE_TOKEN_ONE_EMPTY = 4,  /* to one side, the other is empty */
    STATE_TOKEN_ONE_SIBLING = 5 /* to one side, the hash of the other follows */
};

/* The path of a key from the root (bit 0 is the top bit of the first byte) and the hash of a value.
 */
void state_hash(enum state_prefix prefix, const void *bytes, size_t n,
                uint8_t ret_hash[STATE_HASH_BYTES]);

/* The hash of a leaf (path, hash of the value) or of an inner node (left, right). */
void state_hash_pair(enum state_prefix prefix, const uint8_t a[STATE_HASH_BYTES],
                     const uint8_t b[STATE_HASH_BYTES], uint8_t ret_hash[STATE_HASH_BYTES]);

bool state_hash_is_zero(const uint8_t hash[STATE_HASH_BYTES]);

/* Whether two paths have their first `depth` bits in common. */
bool state_path_has_prefix(const uint8_t a[STATE_HASH_BYTES], const uint8_t b[STATE_HASH_BYTES],
                           unsigned depth);

static inline unsigned state_path_bit(const uint8_t path[STATE_HASH_BYTES], unsigned depth)
{
    return path[depth / 8] >> (7 - depth % 8) & 1u;
}

/* An array of structs that hold a path at a fixed place. */
struct state_items {
    uint8_t *p;
    size_t n;
    size_t item_bytes; /* at most STATE_ITEM_BYTES_MAX */
    size_t path_at;
};

#define STATE_ITEM_BYTES_MAX 128

static inline const uint8_t *state_items_path(const struct state_items *items, size_t i)
{
    return items->p + i * items->item_bytes + items->path_at;
}

/* Sorts by path, in place, without memory. False: two are equal. */
bool state_items_sort(const struct state_items *items);

/* How many of the sorted items, which have their first `depth` bits in common, go left there. */
size_t state_items_split(const struct state_items *items, unsigned depth);

/* The place of a path among sorted items, or SIZE_MAX. */
size_t state_items_find(const struct state_items *items, const uint8_t path[STATE_HASH_BYTES]);

static inline struct state_items state_items_part(const struct state_items *items, size_t start,
                                                  size_t n)
{
    struct state_items part = *items;
    part.p += start * items->item_bytes;
    part.n = n;
    return part;
}
