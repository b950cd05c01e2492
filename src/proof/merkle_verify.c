/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "proof/merkle.h"

static enum sws_proof_error same(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, MERKLE_HASH_BYTES) == 0 ? SWS_PROOF_OK : SWS_PROOF_ROOT;
}

enum sws_proof_error sws_verify_inclusion(const struct sws_inclusion *claim)
{
    uint8_t hash[MERKLE_HASH_BYTES];
    if (claim->index >= claim->size) {
        return SWS_PROOF_RANGE;
    }
    uint64_t at = claim->index, last = claim->size - 1;
    memcpy(hash, claim->leaf_hash, sizeof(hash));
    for (size_t i = 0; i < claim->path_count; i++) {
        if (last == 0) {
            return SWS_PROOF_LENGTH;
        }
        if (at & 1 || at == last) {
            merkle_hash_node(claim->path[i], hash, hash);
            /* A node without sibling is that of its parent too. */
            while (!(at & 1) && at) {
                at >>= 1;
                last >>= 1;
            }
        } else {
            merkle_hash_node(hash, claim->path[i], hash);
        }
        at >>= 1;
        last >>= 1;
    }
    return last ? SWS_PROOF_LENGTH : same(hash, claim->root);
}

enum sws_proof_error sws_verify_consistency(const struct sws_consistency *claim)
{
    uint8_t old_hash[MERKLE_HASH_BYTES], new_hash[MERKLE_HASH_BYTES];
    if (claim->old_size == 0 || claim->old_size > claim->new_size) {
        return SWS_PROOF_RANGE;
    }
    if (claim->old_size == claim->new_size) {
        return claim->path_count ? SWS_PROOF_LENGTH : same(claim->old_root, claim->new_root);
    }
    uint64_t at = claim->old_size - 1, last = claim->new_size - 1;
    while (at & 1) {
        at >>= 1;
        last >>= 1;
    }
    /* A complete old tree is a node of the new one, so the path begins behind it. */
    size_t next = at ? 1 : 0;
    if (claim->path_count < next) {
        return SWS_PROOF_LENGTH;
    }
    memcpy(old_hash, at ? claim->path[0] : claim->old_root, sizeof(old_hash));
    memcpy(new_hash, old_hash, sizeof(new_hash));
    for (; next < claim->path_count; next++) {
        if (last == 0) {
            return SWS_PROOF_LENGTH;
        }
        if (at & 1 || at == last) {
            merkle_hash_node(claim->path[next], old_hash, old_hash);
            merkle_hash_node(claim->path[next], new_hash, new_hash);
            while (!(at & 1) && at) {
                at >>= 1;
                last >>= 1;
            }
        } else {
            merkle_hash_node(new_hash, claim->path[next], new_hash);
        }
        at >>= 1;
        last >>= 1;
    }
    if (last) {
        return SWS_PROOF_LENGTH;
    }
    enum sws_proof_error e = same(old_hash, claim->old_root);
    return e ? e : same(new_hash, claim->new_root);
}
