/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/base64.h"

#define SIZE 100

/* A log with a key, a witness that the policy knows and one that it does not. */
struct receipt_rig {
    struct rig_log *log;
    struct secret *seeds[3];
    struct sign_key keys[3];
    struct buf key_text;
    struct sws_policy policy;
    struct buf checkpoint;
};

static int rig_start(void **state)
{
    static const char *const names[3] = {"log.example", "w1.example", "w2.example"};
    struct receipt_rig *rig = calloc(1, sizeof(*rig));
    struct sws_key key;
    uint8_t root[32];
    rig->log = rig_log_create(SIZE);
    for (unsigned i = 0; i < 3; i++) {
        rig->seeds[i] = rig_seed((uint8_t)(i + 1));
        rig->keys[i] =
            (struct sign_key){str_of(names[i]), i ? SWS_KEY_WITNESS : SWS_KEY_LOG, rig->seeds[i]};
    }
    buf_init(&rig->key_text, 0);
    buf_init(&rig->checkpoint, 0);
    assert_int_equal(sign_key_write(&rig->keys[0], &rig->key_text), ERR_OK);
    assert_int_equal(sws_key_parse(rig->key_text.p, rig->key_text.n, &key), SWS_PROOF_OK);
    assert_int_equal(sws_policy_of_log(&key, &rig->policy), SWS_PROOF_OK);
    merkle_root(&rig->log->tree, root);
    struct sign_checkpoint c = {rig->keys[0].name, SIZE, root, root};
    assert_int_equal(sign_checkpoint_write(&c, &rig->checkpoint), ERR_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(sign_note(&rig->keys[i], 1000, &rig->checkpoint), ERR_OK);
    }
    *state = rig;
    return 0;
}

static int rig_end(void **state)
{
    struct receipt_rig *rig = *state;
    for (unsigned i = 0; i < 3; i++) {
        secret_destroy(rig->seeds[i]);
    }
    buf_done(&rig->key_text);
    buf_done(&rig->checkpoint);
    free(rig->log);
    free(rig);
    return 0;
}

static enum err rig_receipt(struct receipt_rig *rig, uint64_t index, struct str entry,
                            struct buf *out)
{
    struct merkle_source source = rig_log_source(rig->log);
    struct merkle_path path;
    assert_int_equal(merkle_inclusion(&source, SIZE, index, &path), ERR_OK);
    struct sign_receipt receipt = {entry, index, &path, buf_str(&rig->checkpoint)};
    return sign_receipt_write(&receipt, out);
}

static enum sws_proof_error verify(struct receipt_rig *rig, struct str text,
                                   const struct sws_text *entry, struct sws_receipt *ret)
{
    /* In a block of its own size, so that the sanitizers see a read past it. */
    char *copy = malloc(text.n ? text.n : 1);
    memcpy(copy, text.p, text.n);
    enum sws_proof_error e = sws_verify_receipt(copy, text.n, &rig->policy, entry, ret);
    free(copy);
    return e;
}

static void test_every_entry_has_a_receipt(void **state)
{
    struct receipt_rig *rig = *state;
    struct buf b;
    buf_init(&b, 0);
    for (uint64_t i = 0; i < SIZE; i++) {
        char text[32];
        uint8_t entry[32];
        struct str wanted = rig_entry(i, text);
        struct sws_receipt r;
        buf_clear(&b);
        assert_int_equal(rig_receipt(rig, i, wanted, &b), ERR_OK);
        assert_int_equal(sws_verify_receipt(b.p, b.n, &rig->policy, NULL, &r), SWS_PROOF_OK);
        assert_true(r.index == i && r.checkpoint.size == SIZE && r.entry_bytes == wanted.n);
        sws_receipt_entry(&r, entry);
        assert_memory_equal(entry, wanted.p, wanted.n);
        assert_memory_equal(r.leaf_hash, rig->log->leaves[i], 32);
    }
    buf_done(&b);
}

/* Also those of a signature whose key the policy does not know, and of the bytes of line ends. */
static void test_every_flipped_bit_is_refused(void **state)
{
    struct receipt_rig *rig = *state;
    struct sws_receipt r;
    struct buf b;
    buf_init(&b, 0);
    assert_int_equal(rig_receipt(rig, 73, STR("entry 73"), &b), ERR_OK);
    const struct sws_text entry = {"entry 73", 8};
    for (unsigned given = 0; given < 2; given++) {
        const struct sws_text *e = given ? &entry : NULL;
        assert_int_equal(verify(rig, buf_str(&b), e, &r), SWS_PROOF_OK);
        for (size_t bit = 0; bit < b.n * 8; bit++) {
            b.p[bit / 8] ^= (char)(1 << bit % 8);
            if (verify(rig, buf_str(&b), e, &r) == SWS_PROOF_OK) {
                fail_msg("bit %zu does not count", bit);
            }
            b.p[bit / 8] ^= (char)(1 << bit % 8);
        }
    }
    buf_done(&b);
}

static void test_every_cut_and_insertion_is_refused(void **state)
{
    static const char more[] = "\n =A0\r\x80";
    struct receipt_rig *rig = *state;
    struct sws_receipt r;
    struct buf b, longer;
    buf_init(&b, 0);
    buf_init(&longer, 0);
    assert_int_equal(rig_receipt(rig, 5, STR("entry 5"), &b), ERR_OK);
    for (size_t at = 0; at <= b.n; at++) {
        if (at < b.n) {
            assert_int_not_equal(verify(rig, str_make(b.p, at), NULL, &r), SWS_PROOF_OK);
        }
        for (size_t i = 0; i < sizeof(more); i++) {
            buf_clear(&longer);
            buf_add(&longer, b.p, at);
            buf_add_char(&longer, more[i]);
            buf_add(&longer, b.p + at, b.n - at);
            assert_int_not_equal(verify(rig, buf_str(&longer), NULL, &r), SWS_PROOF_OK);
        }
    }
    buf_done(&b);
    buf_done(&longer);
}

/* What a C2SP tlog-proof without our extra line says holds for an entry that is given. */
static void test_receipts_of_others(void **state)
{
    struct receipt_rig *rig = *state;
    struct sws_receipt r;
    struct buf b, plain;
    const struct sws_text entry = {"entry 5", 7}, other = {"entry 6", 7};
    buf_init(&b, 0);
    buf_init(&plain, 0);
    assert_int_equal(rig_receipt(rig, 5, STR("entry 5"), &b), ERR_OK);
    const char *extra = memchr(b.p, '\n', b.n);
    const char *index = memchr(extra + 1, '\n', b.n - (size_t)(extra + 1 - b.p));
    buf_add(&plain, b.p, (size_t)(extra + 1 - b.p));
    buf_add(&plain, index + 1, b.n - (size_t)(index + 1 - b.p));
    assert_int_equal(verify(rig, buf_str(&plain), NULL, &r), SWS_PROOF_NO_ENTRY);
    assert_int_equal(verify(rig, buf_str(&plain), &entry, &r), SWS_PROOF_OK);
    assert_true(r.entry_bytes == 0 && r.index == 5);
    assert_int_equal(verify(rig, buf_str(&plain), &other, &r), SWS_PROOF_ROOT);
    assert_int_equal(verify(rig, buf_str(&b), &other, &r), SWS_PROOF_OTHER_ENTRY);
    /* An extra line of somebody else. */
    buf_clear(&b);
    buf_add_str(&b, STR("c2sp.org/tlog-proof@v1\nextra AAAA\n"));
    buf_add_str(&b, str_sub(buf_str(&plain), strlen("c2sp.org/tlog-proof@v1\n"), plain.n));
    assert_int_equal(verify(rig, buf_str(&b), &entry, &r), SWS_PROOF_VERSION);
    assert_int_equal(verify(rig, STR("c2sp.org/tlog-proof@v2\n"), NULL, &r), SWS_PROOF_VERSION);
    buf_done(&b);
    buf_done(&plain);
}

static void test_entries_of_every_length(void **state)
{
    static char entry[SWS_ENTRY_BYTES_MAX + 1], found[SWS_ENTRY_BYTES_MAX];
    static const size_t lengths[] = {0, 1, 2, 3, 4, 38, 39, 40, 41, 42, 1000, SWS_ENTRY_BYTES_MAX};
    struct receipt_rig *rig = *state;
    struct buf b;
    buf_init(&b, 0);
    memset(entry, 'e', sizeof(entry));
    for (unsigned i = 0; i < COUNT_OF(lengths); i++) {
        /* A log with this one entry. */
        struct str text = str_make(entry, lengths[i]);
        struct merkle_path path = {.count = 0};
        uint8_t root[32];
        struct sws_receipt r;
        struct buf note;
        sws_leaf_hash(text.p, text.n, root);
        struct sign_checkpoint c = {rig->keys[0].name, 1, root, NULL};
        buf_init(&note, 0);
        buf_clear(&b);
        assert_int_equal(sign_checkpoint_write(&c, &note), ERR_OK);
        assert_int_equal(sign_note(&rig->keys[0], 0, &note), ERR_OK);
        struct sign_receipt receipt = {text, 0, &path, buf_str(&note)};
        assert_int_equal(sign_receipt_write(&receipt, &b), ERR_OK);
        assert_int_equal(sws_verify_receipt(b.p, b.n, &rig->policy, NULL, &r), SWS_PROOF_OK);
        assert_int_equal(r.entry_bytes, lengths[i]);
        sws_receipt_entry(&r, (uint8_t *)found);
        assert_memory_equal(found, entry, lengths[i]);
        buf_done(&note);
    }
    struct str long_one = str_make(entry, sizeof(entry));
    assert_int_equal(rig_receipt(rig, 0, long_one, &b), ERR_RANGE);
    buf_done(&b);
}

static void test_sizes_are_bounded(void **state)
{
    static char huge[SWS_RECEIPT_BYTES_MAX + 1];
    struct receipt_rig *rig = *state;
    struct sws_receipt r;
    const struct sws_text entry = {huge, SWS_ENTRY_BYTES_MAX + 1};
    struct buf b;
    assert_int_equal(verify(rig, str_make(huge, sizeof(huge)), NULL, &r), SWS_PROOF_LIMIT);
    buf_init(&b, 0);
    assert_int_equal(rig_receipt(rig, 5, STR("entry 5"), &b), ERR_OK);
    assert_int_equal(verify(rig, buf_str(&b), &entry, &r), SWS_PROOF_LIMIT);
    buf_clear(&b);
    buf_add_str(&b, STR("c2sp.org/tlog-proof@v1\nindex 0\n"));
    for (unsigned i = 0; i <= SWS_PATH_MAX; i++) {
        buf_add_str(&b, STR("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"));
    }
    const struct sws_text small = {"x", 1};
    assert_int_equal(verify(rig, buf_str(&b), &small, &r), SWS_PROOF_LENGTH);
    buf_done(&b);
}

/* Views without a pointer are empty texts. */
static void test_nothing_at_all(void **state)
{
    struct receipt_rig *rig = *state;
    struct sws_receipt r;
    struct sws_key key;
    struct sws_policy policy;
    uint8_t hash[SWS_HASH_BYTES], empty[SWS_HASH_BYTES];
    uint32_t line = 7;
    const struct sws_text nothing = {NULL, 0};
    struct sws_state_claim claim = {.key = NULL};
    assert_int_equal(sws_key_parse(NULL, 0, &key), SWS_PROOF_KEY);
    assert_int_equal(sws_policy_parse(NULL, 0, &policy, &line), SWS_PROOF_POLICY);
    assert_int_equal(line, 0);
    assert_int_equal(sws_policy_parse(NULL, 0, &policy, NULL), SWS_PROOF_POLICY);
    assert_int_equal(sws_verify_checkpoint(NULL, 0, &rig->policy, &r.checkpoint), SWS_PROOF_SYNTAX);
    assert_int_equal(sws_verify_receipt(NULL, 0, &rig->policy, &nothing, &r), SWS_PROOF_VERSION);
    assert_int_equal(sws_verify_state(hash, &claim, 1, NULL, 0), SWS_PROOF_VERSION);
    sws_leaf_hash(NULL, 0, hash);
    sws_leaf_hash("", 0, empty);
    assert_memory_equal(hash, empty, sizeof(hash));
}

static void test_writing_without_memory(void **state)
{
    struct receipt_rig *rig = *state;
    unsigned long n = 0;
    enum err e;
    do {
        struct buf b;
        buf_init(&b, 0);
        mem_test_fail_at(++n);
        e = rig_receipt(rig, 3, STR("entry 3"), &b);
        mem_test_fail_at(0);
        assert_true(e == ERR_NOMEM || e == ERR_OK);
        assert_true(e == ERR_OK || b.n == 0);
        buf_done(&b);
    } while (e);
    assert_true(n > 3);
}

static void test_every_error_has_a_sentence(void **state)
{
    for (int e = 0; e >= SWS_PROOF_DUPLICATE; e--) {
        assert_string_not_equal(sws_proof_error_text((enum sws_proof_error)e), "unknown error");
    }
    assert_string_equal(sws_proof_error_text((enum sws_proof_error) - 99), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_entry_has_a_receipt, rig_start, rig_end),
        cmocka_unit_test_setup_teardown(test_every_flipped_bit_is_refused, rig_start, rig_end),
        cmocka_unit_test_setup_teardown(test_every_cut_and_insertion_is_refused, rig_start,
                                        rig_end),
        cmocka_unit_test_setup_teardown(test_receipts_of_others, rig_start, rig_end),
        cmocka_unit_test_setup_teardown(test_entries_of_every_length, rig_start, rig_end),
        cmocka_unit_test_setup_teardown(test_sizes_are_bounded, rig_start, rig_end),
        cmocka_unit_test_setup_teardown(test_nothing_at_all, rig_start, rig_end),
        cmocka_unit_test_setup_teardown(test_writing_without_memory, rig_start, rig_end),
        cmocka_unit_test(test_every_error_has_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
