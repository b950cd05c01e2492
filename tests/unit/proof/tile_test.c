/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdlib.h>

#include "proof/tile.h"

#define FOLDER "tests/golden/proof/tlog/"
#define VKEY "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"

static void test_paths(void **state)
{
    static const struct {
        struct tile tile;
        const char *path;
    } cases[] = {
        {{false, 0, 0, 256}, "tile/0/000"},
        {{false, 1, 1234067, 256}, "tile/1/x001/x234/067"}, /* the example of the standard */
        {{false, 7, 999, 1}, "tile/7/999.p/1"},
        {{true, 0, 1000, 255}, "tile/entries/x001/000.p/255"},
        {{false, 0, UINT64_MAX, 256}, "tile/0/x018/x446/x744/x073/x709/x551/615"},
    };
    static const char *const bad[] = {
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/8/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/001/000",
        "tile/0/x1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/1/",
        "tile/0/000/",
        "/tile/0/000",
        "tile/-1/000",
        "tile/entries",
        "tile/entries/0/000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/0/999999999999999999999",
    };
    char path[TILE_PATH_BYTES_MAX];
    struct tile t;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(tile_path(&cases[i].tile, path), strlen(cases[i].path));
        assert_string_equal(path, cases[i].path);
        assert_int_equal(tile_parse(str_of(path), &t), ERR_OK);
        assert_true(t.is_entries == cases[i].tile.is_entries && t.level == cases[i].tile.level);
        assert_true(t.index == cases[i].tile.index && t.width == cases[i].tile.width);
    }
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(tile_parse(str_of(bad[i]), &t), ERR_SYNTAX);
    }
}

static void test_widths(void **state)
{
    /* The example of the standard: a log of 70,000 entries. */
    assert_int_equal(tile_width(0, 272, 70000), 256);
    assert_int_equal(tile_width(0, 273, 70000), 112);
    assert_int_equal(tile_width(0, 274, 70000), 0);
    assert_int_equal(tile_width(1, 0, 70000), 256);
    assert_int_equal(tile_width(1, 1, 70000), 17);
    assert_int_equal(tile_width(2, 0, 70000), 1);
    assert_int_equal(tile_width(3, 0, 70000), 0);
    assert_int_equal(tile_width(1, 0, 256), 1);
    assert_int_equal(tile_width(0, UINT64_MAX, UINT64_MAX), 0);
    assert_int_equal(tile_width(8, 0, UINT64_MAX), 0);
}

static void test_bundles(void **state)
{
    static char longest[SWS_ENTRY_BYTES_MAX + 1];
    struct buf b;
    struct str rest, entry;
    buf_init(&b, 0);
    assert_int_equal(bundle_add(&b, STR("one")), ERR_OK);
    assert_int_equal(bundle_add(&b, STR("")), ERR_OK);
    assert_int_equal(bundle_add(&b, str_make(longest, SWS_ENTRY_BYTES_MAX)), ERR_OK);
    assert_int_equal(bundle_add(&b, str_make(longest, sizeof(longest))), ERR_RANGE);
    rest = buf_str(&b);
    assert_int_equal(bundle_next(&rest, &entry), ERR_OK);
    assert_true(str_eq(entry, STR("one")));
    assert_int_equal(bundle_next(&rest, &entry), ERR_OK);
    assert_int_equal(entry.n, 0);
    struct str cut = str_sub(rest, 0, rest.n - 1);
    assert_int_equal(bundle_next(&cut, &entry), ERR_SYNTAX);
    cut = str_sub(rest, 0, 1);
    assert_int_equal(bundle_next(&cut, &entry), ERR_SYNTAX);
    assert_int_equal(bundle_next(&rest, &entry), ERR_OK);
    assert_int_equal(entry.n, SWS_ENTRY_BYTES_MAX);
    assert_int_equal(bundle_next(&rest, &entry), ERR_EOF);
    buf_done(&b);
}

static void test_bundles_without_memory(void **state)
{
    struct buf b;
    buf_init(&b, 0);
    mem_test_fail_at(1);
    assert_int_equal(bundle_add(&b, STR("one")), ERR_NOMEM);
    mem_test_fail_at(0);
    buf_done(&b);
}

/* ---- the log of others ---- */

static void check_log(unsigned size, struct merkle_tree *t)
{
    char path[64];
    size_t n;
    struct sws_key key;
    struct sws_policy policy;
    struct sws_checkpoint c;
    uint8_t root[MERKLE_HASH_BYTES];
    snprintf(path, sizeof(path), FOLDER "checkpoint.%u", size);
    char *text = rig_file(path, &n);
    assert_int_equal(sws_key_parse(VKEY, strlen(VKEY), &key), SWS_PROOF_OK);
    assert_int_equal(sws_policy_of_log(&key, &policy), SWS_PROOF_OK);
    assert_int_equal(sws_verify_checkpoint(text, n, &policy, &c), SWS_PROOF_OK);
    assert_true(c.size == size && !c.has_state && c.witness_count == 0);
    merkle_root(t, root);
    assert_memory_equal(c.root, root, sizeof(root));
    free(text);
}

static void test_the_log_of_others(void **state)
{
    size_t n, tile_bytes;
    char *entries = rig_file(FOLDER "tile/entries/000.p/15", &n);
    char *tile = rig_file(FOLDER "tile/0/000.p/15", &tile_bytes);
    struct str rest = str_make(entries, n), entry;
    struct merkle_tree t;
    assert_int_equal(tile_bytes, 15 * MERKLE_HASH_BYTES);
    merkle_init(&t);
    check_log(0, &t);
    while (bundle_next(&rest, &entry) == ERR_OK) {
        uint8_t leaf[MERKLE_HASH_BYTES];
        sws_leaf_hash(entry.p, entry.n, leaf);
        assert_memory_equal(leaf, tile + t.size * MERKLE_HASH_BYTES, sizeof(leaf));
        assert_int_equal(merkle_append(&t, leaf, NULL, NULL), ERR_OK);
        check_log((unsigned)t.size, &t);
    }
    assert_int_equal(t.size, 15);
    free(entries);
    free(tile);
}

/* ---- proofs out of tiles ---- */

struct disk {
    struct rig_log *log;
    unsigned loads;
    unsigned fail_at;
};

static enum err load(void *arg, const struct tile *tile, uint8_t *ret_hashes)
{
    struct disk *disk = arg;
    unsigned level = tile->level * TILE_HEIGHT;
    assert_true(!tile->is_entries && tile->width >= 1 && tile->width <= TILE_WIDTH);
    if (++disk->loads == disk->fail_at) {
        return ERR_IO;
    }
    for (unsigned i = 0; i < tile->width; i++) {
        uint64_t index = tile->index * TILE_WIDTH + i;
        rig_naive_root(disk->log, index << level, (index + 1) << level,
                       ret_hashes + (size_t)i * MERKLE_HASH_BYTES);
    }
    return ERR_OK;
}

static void test_proofs_out_of_tiles(void **state)
{
    static const uint64_t sizes[] = {1, 2, 255, 256, 257, 511, 512, 513, 600};
    struct disk disk = {.log = rig_log_create(600)};
    struct merkle_source plain = rig_log_source(disk.log);
    struct tile_reader *reader = malloc(sizeof(*reader));
    struct merkle_path a, b;
    assert_non_null(reader);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        for (uint64_t index = 0; index < sizes[i]; index += 1 + sizes[i] / 9) {
            tile_reader_init(reader, sizes[i], load, &disk);
            struct merkle_source source = tile_reader_source(reader);
            disk.loads = 0;
            assert_int_equal(merkle_inclusion(&source, sizes[i], index, &a), ERR_OK);
            assert_true(disk.loads <= 4); /* its tile, those on the right edge, one above */
            assert_int_equal(merkle_inclusion(&plain, sizes[i], index, &b), ERR_OK);
            assert_int_equal(a.count, b.count);
            assert_memory_equal(a.hashes, b.hashes, a.count * MERKLE_HASH_BYTES);
            assert_int_equal(merkle_consistency(&source, index + 1, sizes[i], &a), ERR_OK);
            assert_true(disk.loads <= 5);
            assert_int_equal(merkle_consistency(&plain, index + 1, sizes[i], &b), ERR_OK);
            assert_int_equal(a.count, b.count);
            assert_memory_equal(a.hashes, b.hashes, a.count * MERKLE_HASH_BYTES);
        }
    }
    free(reader);
    free(disk.log);
}

static void test_errors_of_a_disk_are_passed_on(void **state)
{
    struct disk disk = {.log = rig_log_create(600)};
    struct tile_reader *reader = malloc(sizeof(*reader));
    struct merkle_path path;
    uint8_t hash[MERKLE_HASH_BYTES];
    assert_non_null(reader);
    for (disk.fail_at = 1; disk.fail_at <= 3; disk.fail_at++) {
        disk.loads = 0;
        tile_reader_init(reader, 600, load, &disk);
        struct merkle_source source = tile_reader_source(reader);
        assert_int_equal(merkle_inclusion(&source, 600, 300, &path), ERR_IO);
        assert_int_equal(merkle_inclusion(&source, 600, 300, &path), ERR_OK); /* the next time */
    }
    struct merkle_source source = tile_reader_source(reader);
    assert_int_equal(source.node(source.arg, 0, 600, hash), ERR_RANGE);
    assert_int_equal(source.node(source.arg, 9, 1, hash), ERR_RANGE);
    assert_int_equal(source.node(source.arg, 64, 0, hash), ERR_RANGE);
    free(reader);
    free(disk.log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_bundles),
        cmocka_unit_test(test_bundles_without_memory),
        cmocka_unit_test(test_the_log_of_others),
        cmocka_unit_test(test_proofs_out_of_tiles),
        cmocka_unit_test(test_errors_of_a_disk_are_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
