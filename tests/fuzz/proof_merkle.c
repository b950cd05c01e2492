/* SPDX-License-Identifier: Apache-2.0 */
/* Proofs are made and verified for any two trees of up to 300 leaves, and refused for any other
 * leaf, size or hash that the input chooses. */
#include "base/assert.h"
#include "input.h"
#include "proof/merkle.h"

#define LEAVES 300

static uint8_t nodes[10][LEAVES][MERKLE_HASH_BYTES];
static uint8_t roots[LEAVES + 1][MERKLE_HASH_BYTES];

static enum err keep(void *arg, unsigned level, uint64_t index,
                     const uint8_t hash[MERKLE_HASH_BYTES])
{
    (void)arg;
    memcpy(nodes[level][index], hash, MERKLE_HASH_BYTES);
    return ERR_OK;
}

static enum err node(void *arg, unsigned level, uint64_t index, uint8_t ret_hash[MERKLE_HASH_BYTES])
{
    (void)arg;
    memcpy(ret_hash, nodes[level][index], MERKLE_HASH_BYTES);
    return ERR_OK;
}

static void start(void)
{
    struct merkle_tree t;
    static bool is_started;
    if (is_started) {
        return;
    }
    is_started = true;
    merkle_init(&t);
    for (unsigned i = 0; i <= LEAVES; i++) {
        merkle_root(&t, roots[i]);
        if (i < LEAVES) {
            uint8_t leaf[MERKLE_HASH_BYTES];
            sws_leaf_hash(&i, sizeof(i), leaf);
            enum err e = merkle_append(&t, leaf, keep, NULL);
            ASSERT(!e);
        }
    }
}

static uint64_t take_size(struct input *in)
{
    return (take(in) << 8 | take(in)) % (LEAVES + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    const struct merkle_source source = {node, NULL};
    struct merkle_path path;
    start();
    uint64_t size = take_size(&in), index = take_size(&in), other = take_size(&in);
    unsigned mask = take(&in), cut = take(&in) % 3;
    if (!merkle_inclusion(&source, size, index, &path)) {
        struct sws_inclusion c = {index,       size,        nodes[0][index],
                                  roots[size], path.hashes, path.count};
        ASSERT(sws_verify_inclusion(&c) == SWS_PROOF_OK);
        c.leaf_hash = nodes[0][other % LEAVES];
        ASSERT((sws_verify_inclusion(&c) == SWS_PROOF_OK) == (other % LEAVES == index));
        c.leaf_hash = nodes[0][index];
        c.index = other;
        ASSERT((sws_verify_inclusion(&c) == SWS_PROOF_OK) == (other == index));
        c.index = index;
        path.hashes[0][take(&in) % 32] ^= (uint8_t)mask;
        c.path_count = path.count + cut;
        ASSERT((sws_verify_inclusion(&c) == SWS_PROOF_OK) == (!cut && (!mask || !path.count)));
    }
    if (!merkle_consistency(&source, index, size, &path)) {
        struct sws_consistency c = {index,       size,        roots[index],
                                    roots[size], path.hashes, path.count};
        ASSERT(sws_verify_consistency(&c) == SWS_PROOF_OK);
        c.old_root = roots[other];
        ASSERT((sws_verify_consistency(&c) == SWS_PROOF_OK) == (other == index));
        c.old_root = roots[index];
        path.hashes[0][take(&in) % 32] ^= (uint8_t)mask;
        c.path_count = path.count + cut;
        ASSERT((sws_verify_consistency(&c) == SWS_PROOF_OK) == (!cut && (!mask || !path.count)));
    }
    return 0;
}
