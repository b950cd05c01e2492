/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input builds a state in steps and asks about keys. Proofs hold for what is there and for
 * nothing else, also after the input changed some of their bytes; what the input says is a proof
 * never proves two values of one key.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "input.h"
#include "proof/state.h"
#include <sws/proof.h>

#define KEYS 16
#define NODES_MAX 8192

static struct state_node nodes[NODES_MAX];

static enum err load(void *arg, uint64_t id, struct state_node *ret_node)
{
    (void)arg;
    ASSERT(id && id < NODES_MAX);
    *ret_node = nodes[id];
    return ERR_OK;
}

static enum err save(void *arg, uint64_t id, const struct state_node *node)
{
    (void)arg;
    if (id >= NODES_MAX) {
        return ERR_LIMIT;
    }
    nodes[id] = *node;
    return ERR_OK;
}

static enum err drop(void *arg, uint64_t id)
{
    (void)arg;
    ASSERT(id && id < NODES_MAX);
    return ERR_OK;
}

static const struct state_store store = {load, save, drop, NULL};
static const char names[KEYS] = "abcdefghijklmnop";

static struct str key_of(unsigned i)
{
    return str_make(&names[i], 1);
}

static struct sws_state_claim claim_of(unsigned i, const char *value)
{
    return (struct sws_state_claim){
        .key = &names[i], .key_bytes = 1, .value = value, .value_bytes = value ? 1 : 0};
}

/* One set of bits says which keys change, one which of them go. */
static bool change(struct state_tree *t, struct input *in, const char *values[KEYS])
{
    struct state_change changes[KEYS];
    unsigned which = take(in) | take(in) << 8, gone = take(in) | take(in) << 8;
    size_t n = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        if (!(which >> i & 1)) {
            continue;
        }
        values[i] = gone >> i & 1 ? NULL : &names[take(in) % KEYS];
        if (values[i]) {
            state_change_set(&changes[n++], key_of(i), str_make(values[i], 1));
        } else {
            state_change_remove(&changes[n++], key_of(i));
        }
    }
    return state_update(t, &store, changes, n) == ERR_OK;
}

static void check(const struct state_tree *t, struct input *in, const char *const values[KEYS])
{
    struct sws_state_claim claims[KEYS];
    uint8_t paths[KEYS][STATE_HASH_BYTES];
    unsigned which = take(in) | take(in) << 8;
    size_t n = 0;
    struct buf proof;
    for (unsigned i = 0; i < KEYS; i++) {
        if (which >> i & 1) {
            state_hash(STATE_PREFIX_KEY, &names[i], 1, paths[n]);
            claims[n++] = claim_of(i, values[i]);
        }
    }
    if (!n) {
        return;
    }
    buf_init(&proof, 0);
    enum err e = state_prove(t, &store, paths, n, &proof);
    ASSERT(!e);
    const uint8_t *p = (const uint8_t *)proof.p;
    ASSERT(sws_verify_state(t->root.hash, claims, n, p, proof.n) == SWS_PROOF_OK);
    size_t at = take(in) % n;
    const void *value = claims[at].value;
    claims[at].value = value ? NULL : "!";
    claims[at].value_bytes = value ? 0 : 1;
    ASSERT(sws_verify_state(t->root.hash, claims, n, p, proof.n) != SWS_PROOF_OK);
    claims[at].value = value;
    claims[at].value_bytes = value ? 1 : 0;
    unsigned mask = take(in);
    proof.p[(take(in) << 8 | take(in)) % proof.n] ^= (char)mask;
    ASSERT((sws_verify_state(t->root.hash, claims, n, p, proof.n) == SWS_PROOF_OK) == !mask);
    buf_done(&proof);
}

/* The rest of the input as a proof of one key, under the root that the state has. */
static void check_forged(const struct state_tree *t, const struct input *in,
                         const char *const values[KEYS])
{
    for (unsigned i = 0; i < KEYS; i += 5) {
        struct sws_state_claim no = claim_of(i, NULL), yes = claim_of(i, "!");
        bool is_absent = sws_verify_state(t->root.hash, &no, 1, in->p, in->n) == SWS_PROOF_OK;
        bool is_forged = sws_verify_state(t->root.hash, &yes, 1, in->p, in->n) == SWS_PROOF_OK;
        ASSERT(!is_forged && (!is_absent || !values[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    struct state_tree t;
    const char *values[KEYS] = {NULL};
    state_init(&t);
    for (unsigned steps = take(&in) % 8; steps; steps--) {
        if (!change(&t, &in, values)) {
            return 0;
        }
        check(&t, &in, values);
    }
    struct state_node node;
    uint8_t again[STATE_NODE_BYTES_MAX];
    struct str bytes = str_make((const char *)in.p, in.n);
    if (!state_node_decode(bytes, &node)) {
        ASSERT(str_eq(bytes, str_make((char *)again, state_node_encode(&node, again))));
    }
    check_forged(&t, &in, values);
    return 0;
}
