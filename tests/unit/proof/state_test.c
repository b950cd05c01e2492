/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdlib.h>

#include "base/assert.h"
#include "proof/state.h"

#define NODES_MAX 200000
#define KEYS 300

/* A store in memory that knows which nodes are in use, and gives back bytes, not structs. */
struct memory {
    struct stored {
        uint8_t bytes[STATE_NODE_BYTES_MAX];
        uint8_t n;
        bool is_dropped;
    } * nodes;
    uint64_t in_use;
    unsigned long calls, fail_at;
};

static enum err tick(struct memory *m)
{
    return ++m->calls == m->fail_at ? ERR_IO : ERR_OK;
}

static enum err memory_load(void *arg, uint64_t id, struct state_node *ret_node)
{
    struct memory *m = arg;
    assert_true(id < NODES_MAX && m->nodes[id].n);
    enum err e = tick(m);
    return e ? e
             : state_node_decode(str_make((char *)m->nodes[id].bytes, m->nodes[id].n), ret_node);
}

static enum err memory_save(void *arg, uint64_t id, const struct state_node *node)
{
    struct memory *m = arg;
    assert_true(id > 0 && id < NODES_MAX);
    enum err e = tick(m);
    if (!e) {
        m->nodes[id].n = (uint8_t)state_node_encode(node, m->nodes[id].bytes);
        m->nodes[id].is_dropped = false;
        m->in_use++;
    }
    return e;
}

static enum err memory_drop(void *arg, uint64_t id)
{
    struct memory *m = arg;
    enum err e = tick(m);
    if (!e) {
        assert_true(m->nodes[id].n && !m->nodes[id].is_dropped);
        m->nodes[id].is_dropped = true;
        m->in_use--;
    }
    return e;
}

static struct state_store memory_store(struct memory *m)
{
    return (struct state_store){memory_load, memory_save, memory_drop, m};
}

static void memory_init(struct memory *m)
{
    *m = (struct memory){.nodes = calloc(NODES_MAX, sizeof(*m->nodes))};
    assert_non_null(m->nodes);
}

/* ---- the definition: a root from a set, with no tree ---- */

struct pair {
    bool is_there;
    unsigned value;
    uint8_t path[32], value_hash[32];
};

static struct str key_text(unsigned i, char ret_text[16])
{
    return str_make(ret_text, (size_t)snprintf(ret_text, 16, "key/%u", i));
}

static struct str value_text(unsigned value, char ret_text[16])
{
    return str_make(ret_text, (size_t)snprintf(ret_text, 16, "value %u", value));
}

static void naive_root(struct pair *const *pairs, size_t n, unsigned depth, uint8_t ret[32])
{
    struct pair *side[2][KEYS];
    size_t count[2] = {0, 0};
    uint8_t hash[2][32];
    memset(ret, 0, 32);
    if (n == 1) {
        state_hash_pair(STATE_PREFIX_LEAF, pairs[0]->path, pairs[0]->value_hash, ret);
    }
    if (n < 2) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned bit = state_path_bit(pairs[i]->path, depth);
        side[bit][count[bit]++] = pairs[i];
    }
    naive_root(side[0], count[0], depth + 1, hash[0]);
    naive_root(side[1], count[1], depth + 1, hash[1]);
    state_hash_pair(STATE_PREFIX_INNER, hash[0], hash[1], ret);
}

struct model {
    struct pair pairs[KEYS];
};

static void model_init(struct model *m)
{
    memset(m, 0, sizeof(*m));
    for (unsigned i = 0; i < KEYS; i++) {
        char text[16];
        struct str key = key_text(i, text);
        state_hash(STATE_PREFIX_KEY, key.p, key.n, m->pairs[i].path);
    }
}

static void model_set(struct model *m, unsigned key, unsigned value)
{
    char text[16];
    struct str s = value_text(value, text);
    m->pairs[key].is_there = true;
    m->pairs[key].value = value;
    state_hash(STATE_PREFIX_VALUE, s.p, s.n, m->pairs[key].value_hash);
}

static uint64_t model_root(struct model *m, uint8_t ret_root[32])
{
    struct pair *present[KEYS];
    size_t n = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        if (m->pairs[i].is_there) {
            present[n++] = &m->pairs[i];
        }
    }
    naive_root(present, n, 0, ret_root);
    return n;
}

static void change_to(const struct model *m, unsigned key, struct state_change *ret)
{
    char text[16], value[16];
    if (m->pairs[key].is_there) {
        state_change_set(ret, key_text(key, text), value_text(m->pairs[key].value, value));
    } else {
        state_change_remove(ret, key_text(key, text));
    }
}

/* Changes some keys of model and tree alike. Returns how many. */
static size_t random_batch(struct model *m, uint64_t *seed, struct state_change *ret)
{
    size_t n = 0, wanted = rig_random(seed) % 40;
    unsigned first = (unsigned)(rig_random(seed) % KEYS);
    for (; n < wanted; n++) {
        unsigned key = (unsigned)(first + n * 7) % KEYS; /* 7 and KEYS share no factor: distinct */
        if (rig_random(seed) % 3) {
            model_set(m, key, (unsigned)(rig_random(seed) % 4));
        } else {
            m->pairs[key].is_there = false;
        }
        change_to(m, key, &ret[n]);
    }
    return n;
}

/* ---- proofs of what the model holds ---- */

struct claims {
    struct sws_state_claim list[KEYS];
    char keys[KEYS][16], values[KEYS][16];
    uint8_t paths[KEYS][32];
};

static void claim_key(struct claims *c, size_t at, unsigned key, bool is_there, unsigned value)
{
    struct str k = key_text(key, c->keys[at]), v = value_text(value, c->values[at]);
    c->list[at] = (struct sws_state_claim){
        .key = k.p, .key_bytes = k.n, .value = is_there ? v.p : NULL, .value_bytes = v.n};
    state_hash(STATE_PREFIX_KEY, k.p, k.n, c->paths[at]);
}

static void claim_some(const struct model *m, struct claims *c, unsigned first, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned key = (unsigned)(first + i * 7) % KEYS;
        claim_key(c, i, key, m->pairs[key].is_there, m->pairs[key].value);
    }
}

/* True as it is; refused with a claim turned round, cut, or with a bit flipped. */
static void check_proof(const struct state_tree *t, struct claims *c, size_t n, struct buf *proof,
                        size_t step)
{
    const uint8_t *p = (const uint8_t *)proof->p;
    assert_int_equal(sws_verify_state(t->root.hash, c->list, n, p, proof->n), SWS_PROOF_OK);
    for (size_t i = 0; i < n; i++) {
        struct sws_state_claim before = c->list[i];
        c->list[i].value = before.value ? NULL : "x";
        c->list[i].value_bytes = 1;
        assert_int_not_equal(sws_verify_state(t->root.hash, c->list, n, p, proof->n), SWS_PROOF_OK);
        /* The verifier has sorted them already, so the place is the same. */
        c->list[i] = before;
        if (before.value) {
            c->list[i].value_bytes--;
            assert_int_equal(sws_verify_state(t->root.hash, c->list, n, p, proof->n),
                             SWS_PROOF_ROOT);
            c->list[i] = before;
        }
    }
    for (size_t cut = 0; cut < proof->n; cut += step) {
        assert_int_not_equal(sws_verify_state(t->root.hash, c->list, n, p, cut), SWS_PROOF_OK);
    }
    for (size_t bit = 0; bit < proof->n * 8; bit += step) {
        proof->p[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_not_equal(sws_verify_state(t->root.hash, c->list, n, p, proof->n), SWS_PROOF_OK);
        proof->p[bit / 8] ^= (char)(1 << bit % 8);
    }
    buf_add_char(proof, 0);
    assert_int_equal(
        sws_verify_state(t->root.hash, c->list, n, (const uint8_t *)proof->p, proof->n),
        SWS_PROOF_LENGTH);
}

static void prove_some(const struct state_tree *t, const struct state_store *store,
                       const struct model *m, unsigned first, size_t n, size_t step)
{
    static struct claims c;
    struct buf proof;
    buf_init(&proof, 0);
    claim_some(m, &c, first, n);
    assert_int_equal(state_prove(t, store, c.paths, n, &proof), ERR_OK);
    check_proof(t, &c, n, &proof, step);
    buf_done(&proof);
}

/* After every batch the root, the number of keys and of nodes are those of the definition, whatever
 * way led there, and proofs of any set of keys hold. */
static void test_the_tree_is_its_definition(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct memory memory;
        struct state_store store;
        struct state_tree t;
        struct model m;
        uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);
        memory_init(&memory);
        store = memory_store(&memory);
        state_init(&t);
        model_init(&m);
        for (unsigned round = 0; round < 60; round++) {
            struct state_change changes[KEYS];
            uint8_t root[32];
            size_t n = random_batch(&m, &random, changes);
            assert_int_equal(state_update(&t, &store, changes, n), ERR_OK);
            assert_int_equal(t.key_count, model_root(&m, root));
            assert_memory_equal(t.root.hash, root, sizeof(root));
            size_t asked = 1 + rig_random(&random) % 12;
            prove_some(&t, &store, &m, (unsigned)rig_random(&random) % KEYS, asked, 61);
        }
        /* A tree that is made at once has as many nodes, and none of ours is left behind. */
        struct memory fresh;
        memory_init(&fresh);
        struct state_store fresh_store = memory_store(&fresh);
        struct state_tree at_once;
        struct state_change all[KEYS];
        state_init(&at_once);
        for (unsigned i = 0; i < KEYS; i++) {
            change_to(&m, i, &all[i]);
        }
        assert_int_equal(state_update(&at_once, &fresh_store, all, KEYS), ERR_OK);
        assert_memory_equal(at_once.root.hash, t.root.hash, 32);
        assert_int_equal(fresh.in_use, memory.in_use);
        /* The same again changes nothing at all. */
        uint64_t next = t.next_id;
        for (unsigned i = 0; i < KEYS; i += 50) {
            change_to(&m, i, &all[0]);
            assert_int_equal(state_update(&t, &store, all, 1), ERR_OK);
        }
        assert_int_equal(t.next_id, next);
        for (unsigned i = 0; i < KEYS; i++) {
            char text[16];
            state_change_remove(&all[i], key_text(i, text));
        }
        assert_int_equal(state_update(&t, &store, all, KEYS), ERR_OK);
        assert_true(t.root.id == 0 && t.key_count == 0 && memory.in_use == 0);
        assert_true(state_hash_is_zero(t.root.hash));
        free(memory.nodes);
        free(fresh.nodes);
    }
}

static void test_every_bit_of_small_proofs_counts(void **state)
{
    struct memory memory;
    struct state_tree t;
    struct model m;
    memory_init(&memory);
    struct state_store store = memory_store(&memory);
    state_init(&t);
    model_init(&m);
    prove_some(&t, &store, &m, 0, 1, 1); /* of the empty state */
    prove_some(&t, &store, &m, 0, 9, 1);
    for (unsigned i = 0; i < 40; i++) {
        struct state_change change;
        model_set(&m, i * 3, i);
        change_to(&m, i * 3, &change);
        assert_int_equal(state_update(&t, &store, &change, 1), ERR_OK);
        prove_some(&t, &store, &m, i * 3, 1, 1); /* present */
        prove_some(&t, &store, &m, 1, 1, 1);     /* absent */
        prove_some(&t, &store, &m, i, 9, 3);
    }
    free(memory.nodes);
}

/* Paths that differ in their last bit make the deepest tree there can be. */
static void test_the_deepest_tree(void **state)
{
    struct memory memory;
    struct state_tree t;
    struct state_change changes[2] = {{.is_removal = false}};
    uint8_t paths[2][32] = {{0}};
    struct buf proof;
    memory_init(&memory);
    struct state_store store = memory_store(&memory);
    state_init(&t);
    changes[1].path[31] = 1;
    assert_int_equal(state_update(&t, &store, changes, 2), ERR_OK);
    assert_int_equal(memory.in_use, 256 + 2);
    paths[1][31] = 1;
    buf_init(&proof, 0);
    assert_int_equal(state_prove(&t, &store, paths, 2, &proof), ERR_OK);
    assert_int_equal(proof.n, 1 + 256 + 2);
    changes[0].is_removal = true;
    assert_int_equal(state_update(&t, &store, changes, 1), ERR_OK);
    assert_int_equal(memory.in_use, 1);
    /* A proof that goes on and on is refused. */
    static uint8_t endless[1000];
    struct sws_state_claim claim = {.key = "a", .key_bytes = 1};
    memset(endless, STATE_TOKEN_ONE_EMPTY, sizeof(endless));
    endless[0] = STATE_PROOF_VERSION;
    assert_int_equal(sws_verify_state(t.root.hash, &claim, 1, endless, sizeof(endless)),
                     SWS_PROOF_SYNTAX);
    buf_done(&proof);
    free(memory.nodes);
}

static void test_duplicates_and_nothing(void **state)
{
    struct memory memory;
    struct state_tree t;
    struct state_change changes[3];
    struct claims *c = calloc(1, sizeof(*c));
    struct buf proof;
    memory_init(&memory);
    struct state_store store = memory_store(&memory);
    state_init(&t);
    buf_init(&proof, 0);
    state_change_set(&changes[0], STR("a"), STR("1"));
    state_change_set(&changes[1], STR("b"), STR("1"));
    state_change_remove(&changes[2], STR("a"));
    assert_int_equal(state_update(&t, &store, changes, 3), ERR_EXISTS);
    assert_int_equal(memory.calls, 0);
    assert_int_equal(state_update(&t, &store, changes, 0), ERR_OK);
    claim_key(c, 0, 1, false, 0);
    claim_key(c, 1, 1, false, 0);
    assert_int_equal(state_prove(&t, &store, c->paths, 2, &proof), ERR_EXISTS);
    assert_int_equal(state_prove(&t, &store, c->paths, 0, &proof), ERR_RANGE);
    assert_int_equal(state_prove(&t, &store, c->paths, 1, &proof), ERR_OK);
    const uint8_t *p = (const uint8_t *)proof.p;
    assert_int_equal(sws_verify_state(t.root.hash, c->list, 2, p, proof.n), SWS_PROOF_DUPLICATE);
    assert_int_equal(sws_verify_state(t.root.hash, c->list, 0, p, proof.n), SWS_PROOF_CLAIM);
    assert_int_equal(sws_verify_state(t.root.hash, c->list, SWS_STATE_CLAIMS_MAX + 1, p, proof.n),
                     SWS_PROOF_LIMIT);
    proof.p[0]++;
    assert_int_equal(sws_verify_state(t.root.hash, c->list, 1, p, proof.n), SWS_PROOF_VERSION);
    buf_done(&proof);
    free(c);
    free(memory.nodes);
}

/* Each call of the store fails once: the tree is as before, and can be changed the next time. */
static void test_errors_of_the_store(void **state)
{
    struct memory memory;
    struct state_tree t;
    struct model m;
    uint64_t seed = 7;
    memory_init(&memory);
    struct state_store store = memory_store(&memory);
    state_init(&t);
    model_init(&m);
    for (unsigned round = 0; round < 4; round++) {
        struct state_change changes[KEYS];
        random_batch(&m, &seed, changes);
        for (unsigned i = 0; i < KEYS; i++) {
            change_to(&m, i, &changes[i]);
        }
        uint8_t root[32];
        model_root(&m, root);
        struct stored *before = malloc(NODES_MAX * sizeof(*before));
        assert_non_null(before);
        for (unsigned long at = 1;; at++) {
            struct state_tree tree_before = t;
            uint64_t in_use = memory.in_use;
            memcpy(before, memory.nodes, 4000 * sizeof(*before));
            memory.calls = 0;
            memory.fail_at = at;
            enum err e = state_update(&t, &store, changes, KEYS);
            memory.fail_at = 0;
            if (!e) {
                break;
            }
            assert_int_equal(e, ERR_IO);
            assert_memory_equal(&t, &tree_before, sizeof(t));
            memcpy(memory.nodes, before, 4000 * sizeof(*before)); /* a transaction rolled back */
            memory.in_use = in_use;
        }
        assert_memory_equal(t.root.hash, root, 32);
        free(before);
    }
    free(memory.nodes);
}

/* Any changed byte of any node that is in use is noticed by whoever reads it. */
static void test_a_changed_node_is_noticed(void **state)
{
    struct memory memory;
    struct state_tree t;
    struct model m;
    struct state_change changes[KEYS];
    static uint8_t paths[KEYS][32];
    struct buf proof;
    memory_init(&memory);
    struct state_store store = memory_store(&memory);
    state_init(&t);
    model_init(&m);
    buf_init(&proof, 0);
    for (unsigned i = 0; i < KEYS; i++) {
        model_set(&m, i, i);
        change_to(&m, i, &changes[i]);
        memcpy(paths[i], m.pairs[i].path, 32);
    }
    assert_int_equal(state_update(&t, &store, changes, KEYS), ERR_OK);
    for (uint64_t id = 1; id < t.next_id; id += 5) {
        struct stored *s = &memory.nodes[id];
        for (unsigned byte = 0; byte<s->n; byte += s->n> 70 && byte >= 1 && byte < 9 ? 8 : 1) {
            bool is_number = s->n > 70 && ((byte >= 1 && byte < 9) || (byte >= 41 && byte < 49));
            s->bytes[byte] ^= 0x10;
            if (!is_number) { /* a wrong number leads to a node of another hash, or to none */
                assert_int_equal(state_prove(&t, &store, paths, KEYS, &proof), ERR_SYNTAX);
                assert_int_equal(proof.n, 0);
            }
            s->bytes[byte] ^= 0x10;
        }
    }
    assert_int_equal(state_prove(&t, &store, paths, KEYS, &proof), ERR_OK);
    buf_done(&proof);
    free(memory.nodes);
}

static void test_proofs_without_memory(void **state)
{
    struct memory memory;
    struct state_tree t;
    struct model m;
    struct state_change changes[KEYS];
    static uint8_t paths[KEYS][32];
    unsigned long n = 0;
    enum err e;
    memory_init(&memory);
    struct state_store store = memory_store(&memory);
    state_init(&t);
    model_init(&m);
    for (unsigned i = 0; i < KEYS; i++) {
        model_set(&m, i, i);
        change_to(&m, i, &changes[i]);
    }
    mem_test_fail_at(0);
    assert_int_equal(state_update(&t, &store, changes, KEYS), ERR_OK);
    assert_int_equal(mem_test_fail_at(0), 0); /* an update allocates nothing */
    for (unsigned i = 0; i < 50; i++) {
        memcpy(paths[i], m.pairs[i].path, 32);
    }
    do {
        struct buf proof;
        buf_init(&proof, 0);
        mem_test_fail_at(++n);
        e = state_prove(&t, &store, paths, 50, &proof);
        mem_test_fail_at(0);
        assert_true(e == ERR_OK || (e == ERR_NOMEM && proof.n == 0));
        buf_done(&proof);
    } while (e);
    assert_true(n > 3);
    free(memory.nodes);
}

static void test_encoded_nodes_have_one_form(void **state)
{
    uint8_t bytes[STATE_NODE_BYTES_MAX + 1] = {0};
    struct state_node node;
    assert_int_equal(state_node_decode(STR(""), &node), ERR_SYNTAX);
    assert_int_equal(state_node_decode(str_make((char *)bytes, 64), &node), ERR_SYNTAX);
    assert_int_equal(state_node_decode(str_make((char *)bytes, 65), &node), ERR_OK);
    assert_int_equal(state_node_decode(str_make((char *)bytes, 66), &node), ERR_SYNTAX);
    bytes[0] = 1;
    assert_int_equal(state_node_decode(str_make((char *)bytes, 81), &node), ERR_OK);
    assert_int_equal(state_node_decode(str_make((char *)bytes, 80), &node), ERR_SYNTAX);
    assert_int_equal(state_node_decode(str_make((char *)bytes, 82), &node), ERR_SYNTAX);
    bytes[1] = 1; /* a number and the hash of nothing */
    assert_int_equal(state_node_decode(str_make((char *)bytes, 81), &node), ERR_SYNTAX);
    bytes[1] = 0;
    bytes[0] = 3; /* nothing is no leaf */
    assert_int_equal(state_node_decode(str_make((char *)bytes, 81), &node), ERR_SYNTAX);
    bytes[0] = 9;
    assert_int_equal(state_node_decode(str_make((char *)bytes, 81), &node), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_tree_is_its_definition),
        cmocka_unit_test(test_every_bit_of_small_proofs_counts),
        cmocka_unit_test(test_the_deepest_tree),
        cmocka_unit_test(test_duplicates_and_nothing),
        cmocka_unit_test(test_errors_of_the_store),
        cmocka_unit_test(test_a_changed_node_is_noticed),
        cmocka_unit_test(test_proofs_without_memory),
        cmocka_unit_test(test_encoded_nodes_have_one_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
