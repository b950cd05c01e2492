/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/merkle.h"

#include <string.h>

#include "crypto/sha256.h"

void sws_leaf_hash(const void *entry, size_t entry_bytes, uint8_t ret_hash[SWS_HASH_BYTES])
{
    struct sha256 h;
    sha256_init(&h);
    sha256_add(&h, "\x00", 1);
    sha256_add(&h, entry, entry_bytes);
    sha256_finish(&h, ret_hash);
}

void merkle_hash_node(const uint8_t left[MERKLE_HASH_BYTES], const uint8_t right[MERKLE_HASH_BYTES],
                      uint8_t ret_hash[MERKLE_HASH_BYTES])
{
    struct sha256 h;
    sha256_init(&h);
    sha256_add(&h, "\x01", 1);
    sha256_add(&h, left, MERKLE_HASH_BYTES);
    sha256_add(&h, right, MERKLE_HASH_BYTES);
    sha256_finish(&h, ret_hash);
}

void merkle_hash_empty(uint8_t ret_hash[MERKLE_HASH_BYTES])
{
    struct sha256 h;
    sha256_init(&h);
    sha256_finish(&h, ret_hash);
}

void merkle_init(struct merkle_tree *t)
{
    t->size = 0;
}

enum err merkle_append(struct merkle_tree *t, const uint8_t leaf_hash[MERKLE_HASH_BYTES],
                       merkle_node_fn on_node, void *arg)
{
    uint8_t hash[MERKLE_HASH_BYTES];
    if (t->size == UINT64_MAX) {
        return ERR_LIMIT;
    }
    /* The new leaf completes a subtree for each one at the low end of the size. */
    unsigned peak = (unsigned)__builtin_popcountll(t->size), level = 0;
    memcpy(hash, leaf_hash, sizeof(hash));
    for (;; level++) {
        enum err e = on_node ? on_node(arg, level, t->size >> level, hash) : ERR_OK;
        if (e) {
            return e;
        }
        if (!(t->size >> level & 1)) {
            break;
        }
        merkle_hash_node(t->peaks[--peak], hash, hash);
    }
    memcpy(t->peaks[peak], hash, sizeof(hash));
    t->size++;
    return ERR_OK;
}

void merkle_root(const struct merkle_tree *t, uint8_t ret_root[MERKLE_HASH_BYTES])
{
    unsigned peak = (unsigned)__builtin_popcountll(t->size);
    if (!peak) {
        merkle_hash_empty(ret_root);
        return;
    }
    memcpy(ret_root, t->peaks[--peak], MERKLE_HASH_BYTES);
    while (peak) {
        merkle_hash_node(t->peaks[--peak], ret_root, ret_root);
    }
}
