/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdlib.h>

#include <jansson.h>

#include "base/base64.h"

#define SIZES 80

static void test_known_roots(void **state)
{
    /* RFC 6962's reference tree, as every implementation of it tests. */
    static const char *const entries[8] = {"",
                                           "\x00",
                                           "\x10",
                                           "\x20\x21",
                                           "\x30\x31",
                                           "\x40\x41\x42\x43",
                                           "\x50\x51\x52\x53\x54\x55\x56\x57",
                                           ("\x60\x61\x62\x63\x64\x65\x66\x67"
                                            "\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f")};
    static const size_t lengths[8] = {0, 1, 1, 2, 2, 4, 8, 16};
    static const uint8_t root[] = {0x5d, 0xc9, 0xda, 0x79, 0xa7, 0x06, 0x59, 0xa9, 0xad, 0x55, 0x9c,
                                   0xb7, 0x01, 0xde, 0xd9, 0xa2, 0xab, 0x9d, 0x82, 0x3a, 0xad, 0x2f,
                                   0x49, 0x60, 0xcf, 0xe3, 0x70, 0xef, 0xf4, 0x60, 0x43, 0x28};
    struct merkle_tree t;
    uint8_t hash[MERKLE_HASH_BYTES];
    merkle_init(&t);
    for (unsigned i = 0; i < 8; i++) {
        sws_leaf_hash(entries[i], lengths[i], hash);
        assert_int_equal(merkle_append(&t, hash, NULL, NULL), ERR_OK);
    }
    merkle_root(&t, hash);
    assert_memory_equal(hash, root, sizeof(root));
}

struct seen {
    const struct rig_log *log;
    unsigned count;
    unsigned fail_at;
};

static enum err on_node(void *arg, unsigned level, uint64_t index,
                        const uint8_t hash[MERKLE_HASH_BYTES])
{
    struct seen *seen = arg;
    uint8_t expected[MERKLE_HASH_BYTES];
    rig_naive_root(seen->log, index << level, (index + 1) << level, expected);
    assert_memory_equal(hash, expected, sizeof(expected));
    return ++seen->count == seen->fail_at ? ERR_IO : ERR_OK;
}

static void test_roots_and_nodes_are_those_of_the_definition(void **state)
{
    struct rig_log *log = rig_log_create(SIZES);
    struct seen seen = {.log = log};
    struct merkle_tree t, restored;
    struct merkle_source source = rig_log_source(log);
    uint8_t root[MERKLE_HASH_BYTES], naive[MERKLE_HASH_BYTES];
    merkle_init(&t);
    for (uint64_t n = 0;; n++) {
        merkle_root(&t, root);
        rig_naive_root(log, 0, n, naive);
        assert_memory_equal(root, naive, sizeof(root));
        assert_int_equal(merkle_restore(&source, n, &restored), ERR_OK);
        merkle_root(&restored, root);
        assert_memory_equal(root, naive, sizeof(root));
        if (n == SIZES) {
            break;
        }
        assert_int_equal(merkle_append(&t, log->leaves[n], on_node, &seen), ERR_OK);
    }
    assert_int_equal(seen.count, 80 + 40 + 20 + 10 + 5 + 2 + 1); /* every complete node, once */
    free(log);
}

static void test_a_failed_append_changes_nothing(void **state)
{
    struct rig_log *log = rig_log_create(8);
    struct merkle_tree t;
    uint8_t root[MERKLE_HASH_BYTES], after[MERKLE_HASH_BYTES];
    merkle_init(&t);
    for (unsigned i = 0; i < 7; i++) {
        assert_int_equal(merkle_append(&t, log->leaves[i], NULL, NULL), ERR_OK);
    }
    merkle_root(&t, root);
    for (unsigned fail_at = 1; fail_at <= 4; fail_at++) {
        struct seen seen = {.log = log, .fail_at = fail_at};
        assert_int_equal(merkle_append(&t, log->leaves[7], on_node, &seen), ERR_IO);
        merkle_root(&t, after);
        assert_memory_equal(root, after, sizeof(root));
    }
    assert_int_equal(merkle_append(&t, log->leaves[7], NULL, NULL), ERR_OK);
    merkle_root(&t, root);
    merkle_root(&log->tree, after);
    assert_memory_equal(root, after, sizeof(root));
    t.size = UINT64_MAX;
    assert_int_equal(merkle_append(&t, log->leaves[7], NULL, NULL), ERR_LIMIT);
    free(log);
}

/* A proof that holds is refused with any bit flipped, cut or with a hash too many. */
static void check_inclusion(struct sws_inclusion claim, struct merkle_path *path, unsigned bit)
{
    claim.path = path->hashes;
    claim.path_count = path->count;
    assert_int_equal(sws_verify_inclusion(&claim), SWS_PROOF_OK);
    for (size_t i = 0; i < path->count; i++) {
        path->hashes[i][bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(sws_verify_inclusion(&claim), SWS_PROOF_ROOT);
        path->hashes[i][bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    claim.path_count++;
    assert_int_equal(sws_verify_inclusion(&claim), SWS_PROOF_LENGTH);
    claim.path_count -= 2;
    if (path->count) {
        assert_int_equal(sws_verify_inclusion(&claim), SWS_PROOF_LENGTH);
    }
    claim.path_count++;
    claim.index++;
    assert_int_not_equal(sws_verify_inclusion(&claim), SWS_PROOF_OK);
}

static void test_inclusion_of_every_leaf(void **state)
{
    struct rig_log *log = rig_log_create(SIZES);
    struct merkle_source source = rig_log_source(log);
    uint8_t root[MERKLE_HASH_BYTES];
    struct merkle_path path;
    for (uint64_t size = 1; size <= SIZES; size++) {
        rig_naive_root(log, 0, size, root);
        for (uint64_t index = 0; index < size; index++) {
            assert_int_equal(merkle_inclusion(&source, size, index, &path), ERR_OK);
            struct sws_inclusion claim = {index, size, log->leaves[index], root, NULL, 0};
            check_inclusion(claim, &path, (unsigned)(size * 7 + index) % 256);
        }
        assert_int_equal(merkle_inclusion(&source, size, size, &path), ERR_RANGE);
    }
    free(log);
}

static void test_consistency_of_every_pair(void **state)
{
    struct rig_log *log = rig_log_create(SIZES);
    struct merkle_source source = rig_log_source(log);
    uint8_t old_root[MERKLE_HASH_BYTES], new_root[MERKLE_HASH_BYTES];
    struct merkle_path path;
    for (uint64_t size = 1; size <= SIZES; size++) {
        rig_naive_root(log, 0, size, new_root);
        for (uint64_t old = 1; old <= size; old++) {
            rig_naive_root(log, 0, old, old_root);
            assert_int_equal(merkle_consistency(&source, old, size, &path), ERR_OK);
            struct sws_consistency claim = {old, size, old_root, new_root, path.hashes, path.count};
            assert_int_equal(sws_verify_consistency(&claim), SWS_PROOF_OK);
            for (size_t i = 0; i < path.count; i++) {
                path.hashes[i][i % 32] ^= 4;
                assert_int_equal(sws_verify_consistency(&claim), SWS_PROOF_ROOT);
                path.hashes[i][i % 32] ^= 4;
            }
            claim.path_count++;
            assert_int_equal(sws_verify_consistency(&claim), SWS_PROOF_LENGTH);
            claim.path_count -= 2;
            if (path.count) {
                assert_int_equal(sws_verify_consistency(&claim), SWS_PROOF_LENGTH);
            }
        }
        assert_int_equal(merkle_consistency(&source, size + 1, size, &path), ERR_RANGE);
    }
    assert_int_equal(merkle_consistency(&source, 0, 5, &path), ERR_RANGE);
    struct sws_consistency backwards = {5, 4, old_root, new_root, path.hashes, 0};
    assert_int_equal(sws_verify_consistency(&backwards), SWS_PROOF_RANGE);
    struct sws_consistency from_nothing = {0, 4, old_root, new_root, path.hashes, 0};
    assert_int_equal(sws_verify_consistency(&from_nothing), SWS_PROOF_RANGE);
    free(log);
}

/* At every level the largest tree asks for few nodes and its paths fit. */
static enum err any_node(void *arg, unsigned level, uint64_t index,
                         uint8_t ret_hash[MERKLE_HASH_BYTES])
{
    unsigned *asked = arg;
    ++*asked;
    memset(ret_hash, (int)(level + index), MERKLE_HASH_BYTES);
    return ERR_OK;
}

static void test_the_largest_trees(void **state)
{
    unsigned asked = 0;
    struct merkle_source source = {any_node, &asked};
    struct merkle_tree t;
    struct merkle_path path;
    uint8_t root[MERKLE_HASH_BYTES], leaf[MERKLE_HASH_BYTES] = {0};
    assert_int_equal(merkle_restore(&source, UINT64_MAX, &t), ERR_OK);
    merkle_root(&t, root);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t index = i ? UINT64_MAX - 1 : 0;
        assert_int_equal(merkle_inclusion(&source, UINT64_MAX, index, &path), ERR_OK);
        assert_true(path.count <= 64);
        struct sws_inclusion claim = {index, UINT64_MAX, leaf, root, path.hashes, path.count};
        assert_int_equal(sws_verify_inclusion(&claim), SWS_PROOF_ROOT); /* and no other error */
    }
    uint64_t old = UINT64_MAX / 2 + 2; /* a proof as long as they come */
    assert_int_equal(merkle_consistency(&source, old, UINT64_MAX, &path), ERR_OK);
    assert_true(path.count <= SWS_PATH_MAX);
    assert_true(asked < 5000);
}

/* ---- vectors of others ---- */

/* Some vectors have words for roots: they are filled up with zeros. */
static void hash_of(const json_t *value, uint8_t ret_hash[32])
{
    struct str text = str_of(json_string_value(value));
    assert_true(base64_bytes(text) <= 32);
    memset(ret_hash, 0, 32);
    assert_int_equal(base64_decode(text, ret_hash), ERR_OK);
}

/* False: it has hashes of another length than the interface can be given. */
static bool read_path(const json_t *proof, struct merkle_path *ret_path)
{
    size_t i;
    json_t *value;
    ret_path->count = json_array_size(proof);
    assert_true(ret_path->count <= SWS_PATH_MAX);
    json_array_foreach(proof, i, value)
    {
        if (base64_bytes(str_of(json_string_value(value))) != 32) {
            return false;
        }
        hash_of(value, ret_path->hashes[i]);
    }
    return true;
}

/* Indexes up to 2^64 - 1, which jansson reads as doubles where they do not fit. The vectors of
 * subtrees call sizes the end of the subtree and the size of the whole. */
static uint64_t number_of(const char *line, const char *name, const char *other)
{
    const char *at = strstr(line, name);
    if (!at) {
        name = other;
        at = strstr(line, name);
    }
    assert_non_null(at);
    return strtoull(at + strlen(name), NULL, 10);
}

static enum sws_proof_error verify_line(const char *line, const json_t *o, bool is_inclusion)
{
    uint8_t a[32], b[32];
    struct merkle_path path;
    hash_of(json_object_get(o, is_inclusion ? "leafHash" : "root1"), a);
    hash_of(json_object_get(o, is_inclusion ? "root" : "root2"), b);
    if (!read_path(json_object_get(o, "proof"), &path)) {
        return SWS_PROOF_SYNTAX;
    }
    if (is_inclusion) {
        struct sws_inclusion claim = {number_of(line, "\"leafIdx\":", ""),
                                      number_of(line, "\"treeSize\":", "\"end\":"),
                                      a,
                                      b,
                                      path.hashes,
                                      path.count};
        return sws_verify_inclusion(&claim);
    }
    struct sws_consistency claim = {number_of(line, "\"size1\":", "\"end\":"),
                                    number_of(line, "\"size2\":", "\"size\":"),
                                    a,
                                    b,
                                    path.hashes,
                                    path.count};
    return sws_verify_consistency(&claim);
}

static unsigned check_vectors(const char *path, bool is_inclusion)
{
    size_t n;
    unsigned count = 0;
    char *text = rig_file(path, &n);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), count++) {
        json_t *o = json_loads(line, JSON_DECODE_INT_AS_REAL, NULL);
        assert_non_null(o);
        bool is_refused = verify_line(line, o, is_inclusion) != SWS_PROOF_OK;
        if (is_refused != json_is_true(json_object_get(o, "wantErr"))) {
            fail_msg("%s", json_string_value(json_object_get(o, "name")));
        }
        json_decref(o);
    }
    free(text);
    return count;
}

static void test_public_vectors(void **state)
{
    assert_int_equal(check_vectors("tests/golden/proof/merkle/inclusion.jsonl", true), 50);
    assert_int_equal(check_vectors("tests/golden/proof/merkle/consistency.jsonl", false), 96);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_roots),
        cmocka_unit_test(test_roots_and_nodes_are_those_of_the_definition),
        cmocka_unit_test(test_a_failed_append_changes_nothing),
        cmocka_unit_test(test_inclusion_of_every_leaf),
        cmocka_unit_test(test_consistency_of_every_pair),
        cmocka_unit_test(test_the_largest_trees),
        cmocka_unit_test(test_public_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
