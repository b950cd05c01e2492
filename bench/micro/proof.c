/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What proofs cost: leaf and node hashes, appends to a tree, inclusion proofs made and verified in
 * a tree of a million leaves, receipts verified, and a state of a million keys under batches. The
 * store of the state is an array, so that nothing but the tree is measured.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "crypto/start.h"
#include "proof/sign.h"
#include "proof/state.h"

#define LEAVES (1u << 20)
#define ENTRY_BYTES 200
#define STATE_KEYS 1000000u
#define NODES_MAX (16u << 20)

static uint8_t (*levels[21])[MERKLE_HASH_BYTES];
static struct state_node *nodes;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void say(const char *what, double count, double seconds)
{
    printf("%-44s %9.3f us  %9.1f k/s\n", what, seconds / count * 1e6, count / seconds / 1e3);
}

static void must(bool is_good)
{
    if (!is_good) {
        fprintf(stderr, "the benchmark of proofs failed\n");
        exit(1);
    }
}

static enum err keep(void *arg, unsigned level, uint64_t index,
                     const uint8_t hash[MERKLE_HASH_BYTES])
{
    (void)arg;
    memcpy(levels[level][index], hash, MERKLE_HASH_BYTES);
    return ERR_OK;
}

static enum err node(void *arg, unsigned level, uint64_t index, uint8_t ret_hash[MERKLE_HASH_BYTES])
{
    (void)arg;
    memcpy(ret_hash, levels[level][index], MERKLE_HASH_BYTES);
    return ERR_OK;
}

static void run_tree(struct merkle_tree *tree)
{
    uint8_t entry[ENTRY_BYTES] = {0}, hash[MERKLE_HASH_BYTES] = {0};
    const struct merkle_source source = {node, NULL};
    uint8_t root[MERKLE_HASH_BYTES];
    double start = now_s();
    for (unsigned i = 0; i < LEAVES; i++) {
        memcpy(entry, &i, sizeof(i));
        sws_leaf_hash(entry, sizeof(entry), levels[0][i]);
    }
    say("leaf hash, 200 bytes", LEAVES, now_s() - start);
    start = now_s();
    for (unsigned i = 0; i < LEAVES; i++) {
        merkle_hash_node(hash, levels[0][i], hash);
    }
    say("node hash", LEAVES, now_s() - start);
    merkle_init(tree);
    start = now_s();
    for (unsigned i = 0; i < LEAVES; i++) {
        must(merkle_append(tree, levels[0][i], keep, NULL) == ERR_OK);
    }
    say("append of a leaf hash", LEAVES, now_s() - start);
    merkle_root(tree, root);
    enum { ROUNDS = 100000 };
    struct merkle_path path;
    start = now_s();
    for (unsigned i = 0; i < ROUNDS; i++) {
        must(merkle_inclusion(&source, LEAVES, i * 7919u % LEAVES, &path) == ERR_OK);
    }
    say("inclusion proof made, 20 levels", ROUNDS, now_s() - start);
    must(merkle_inclusion(&source, LEAVES, 7919, &path) == ERR_OK);
    const struct sws_inclusion claim = {7919, LEAVES,      levels[0][7919],
                                        root, path.hashes, path.count};
    start = now_s();
    for (unsigned i = 0; i < ROUNDS; i++) {
        must(sws_verify_inclusion(&claim) == SWS_PROOF_OK);
    }
    say("inclusion proof verified, 20 levels", ROUNDS, now_s() - start);
}

static void run_receipt(const struct merkle_tree *tree)
{
    static const char seed[32] = {1};
    const struct merkle_source source = {node, NULL};
    struct sign_key key = {STR("log.example"), SWS_KEY_LOG, secret_create(str_make(seed, 32))};
    uint8_t root[MERKLE_HASH_BYTES], entry[ENTRY_BYTES] = {0};
    struct sign_checkpoint c = {key.name, LEAVES, root, NULL};
    struct sws_policy policy;
    struct sws_receipt found;
    struct sws_key parsed;
    struct merkle_path path;
    struct buf text, note, receipt;
    buf_init(&text, 0);
    buf_init(&note, 0);
    buf_init(&receipt, 0);
    merkle_root(tree, root);
    must(key.seed && sign_key_write(&key, &text) == ERR_OK);
    must(sws_key_parse(text.p, text.n, &parsed) == SWS_PROOF_OK);
    must(sws_policy_of_log(&parsed, &policy) == SWS_PROOF_OK);
    must(sign_checkpoint_write(&c, &note) == ERR_OK && sign_note(&key, 0, &note) == ERR_OK);
    must(merkle_inclusion(&source, LEAVES, 0, &path) == ERR_OK);
    const struct sign_receipt r = {str_make((const char *)entry, sizeof(entry)), 0, &path,
                                   buf_str(&note)};
    enum { ROUNDS = 5000 };
    double start = now_s();
    for (unsigned i = 0; i < ROUNDS; i++) {
        buf_clear(&receipt);
        must(sign_receipt_write(&r, &receipt) == ERR_OK);
    }
    say("receipt written, one signature", ROUNDS, now_s() - start);
    start = now_s();
    for (unsigned i = 0; i < ROUNDS; i++) {
        must(sws_verify_receipt(receipt.p, receipt.n, &policy, NULL, &found) == SWS_PROOF_OK);
    }
    say("receipt verified, one signature", ROUNDS, now_s() - start);
    secret_destroy((struct secret *)(uintptr_t)key.seed);
    buf_done(&text);
    buf_done(&note);
    buf_done(&receipt);
}

static enum err load(void *arg, uint64_t id, struct state_node *ret_node)
{
    (void)arg;
    *ret_node = nodes[id];
    return ERR_OK;
}

static enum err save(void *arg, uint64_t id, const struct state_node *n)
{
    (void)arg;
    must(id < NODES_MAX);
    nodes[id] = *n;
    return ERR_OK;
}

static enum err drop(void *arg, uint64_t id)
{
    (void)arg;
    (void)id;
    return ERR_OK;
}

static void update(struct state_tree *t, struct state_change *changes, unsigned first, unsigned n,
                   unsigned factor)
{
    static const struct state_store store = {load, save, drop, NULL};
    for (unsigned i = 0; i < n; i++) {
        unsigned key = (first + i) * factor % STATE_KEYS;
        state_change_set(&changes[i], str_make((const char *)&key, sizeof(key)),
                         str_make((const char *)&first, sizeof(first)));
    }
    must(state_update(t, &store, changes, n) == ERR_OK);
}

static void run_state(void)
{
    static const struct state_store store = {load, save, drop, NULL};
    static const unsigned batches[] = {1, 100, 1000};
    struct state_change *changes = mem_zalloc(STATE_KEYS, sizeof(*changes));
    struct state_tree t;
    must(changes != NULL);
    state_init(&t);
    double start = now_s();
    update(&t, changes, 0, STATE_KEYS, 1);
    say("state built at once, 1,000,000 keys, per key", STATE_KEYS, now_s() - start);
    for (unsigned i = 0; i < 3; i++) {
        char what[64];
        unsigned rounds = 50000 / batches[i];
        start = now_s();
        for (unsigned round = 0; round < rounds; round++) {
            update(&t, changes, 1 + round * batches[i], batches[i], 7919);
        }
        snprintf(what, sizeof(what), "state updated, batch of %u, per key", batches[i]);
        say(what, (double)rounds * batches[i], now_s() - start);
    }
    enum { ROUNDS = 20000 };
    struct buf proof;
    uint8_t path[1][STATE_HASH_BYTES];
    unsigned key = 5;
    buf_init(&proof, 0);
    start = now_s();
    for (unsigned i = 0; i < ROUNDS; i++) {
        key = i * 31u % STATE_KEYS + STATE_KEYS; /* not there */
        state_hash(STATE_PREFIX_KEY, &key, sizeof(key), path[0]);
        buf_clear(&proof);
        must(state_prove(&t, &store, path, 1, &proof) == ERR_OK);
    }
    say("state proof made", ROUNDS, now_s() - start);
    struct sws_state_claim claim = {.key = &key, .key_bytes = sizeof(key)};
    start = now_s();
    for (unsigned i = 0; i < ROUNDS; i++) {
        must(sws_verify_state(t.root.hash, &claim, 1, (const uint8_t *)proof.p, proof.n) ==
             SWS_PROOF_OK);
    }
    say("state proof verified", ROUNDS, now_s() - start);
    printf("a state proof of one key of %u: %zu bytes\n", STATE_KEYS, proof.n);
    buf_done(&proof);
    mem_free(changes);
}

int main(void)
{
    struct merkle_tree tree;
    must(crypto_start(NULL) == ERR_OK);
    for (unsigned i = 0; i <= 20; i++) {
        levels[i] = malloc((size_t)(LEAVES >> i) * MERKLE_HASH_BYTES);
        must(levels[i] != NULL);
    }
    nodes = malloc((size_t)NODES_MAX * sizeof(*nodes));
    must(nodes != NULL);
    run_tree(&tree);
    run_receipt(&tree);
    run_state();
    for (unsigned i = 0; i <= 20; i++) {
        free(levels[i]);
    }
    free(nodes);
    return 0;
}
