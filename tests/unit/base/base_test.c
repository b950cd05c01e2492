/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/chunk.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/slab.h"
#include "base/str.h"

static void test_numbers_are_strict(void **state)
{
    uint64_t v = 7;
    assert_int_equal(str_to_u64(STR("18446744073709551615"), &v), ERR_OK);
    assert_true(v == UINT64_MAX);
    assert_int_equal(str_to_u64(STR("18446744073709551616"), &v), ERR_RANGE);
    assert_int_equal(str_to_u64(STR(""), &v), ERR_SYNTAX);
    assert_int_equal(str_to_u64(STR("+5"), &v), ERR_SYNTAX);
    assert_int_equal(str_to_u64(STR("5 "), &v), ERR_SYNTAX);
    assert_true(v == UINT64_MAX);
}

static void test_distance_counts_edits(void **state)
{
    assert_int_equal(str_distance(STR("listen"), STR("listen")), 0);
    assert_int_equal(str_distance(STR("lsiten"), STR("listen")), 1);
    assert_int_equal(str_distance(STR("root"), STR("roots")), 1);
    assert_int_equal(str_distance(STR(""), STR("abc")), 3);
}

static void test_split_gives_every_part(void **state)
{
    struct str rest = STR("a,,b"), part;
    assert_true(str_split(&rest, ',', &part) && str_eq(part, STR("a")));
    assert_true(str_split(&rest, ',', &part) && part.n == 0);
    assert_true(str_split(&rest, ',', &part) && str_eq(part, STR("b")));
    assert_false(str_split(&rest, ',', &part));
}

static void test_arena_lent_bytes_come_first(void **state)
{
    struct arena a;
    alignas(max_align_t) char bytes[64];
    arena_init(&a, 256, 0);
    arena_lend(&a, bytes, sizeof(bytes));
    char *first = arena_alloc(&a, 40);
    char *second = arena_alloc(&a, 40);
    assert_non_null(first);
    assert_non_null(second);
#ifdef SWS_POOLS
    assert_ptr_equal(first, bytes);
#endif
    assert_true(second < bytes || second >= bytes + sizeof(bytes));
    arena_done(&a);
    assert_non_null(arena_alloc(&a, 8));
    arena_done(&a);
}

static void test_arena_pieces_do_not_overlap(void **state)
{
    struct arena a;
    arena_init(&a, 256, 10000);
    char *pieces[20];
    for (int i = 0; i < 20; i++) {
        pieces[i] = arena_alloc(&a, (size_t)(i * 20 + 1));
        assert_non_null(pieces[i]);
        memset(pieces[i], i, (size_t)(i * 20 + 1));
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pieces[i][0], i);
        assert_int_equal(pieces[i][i * 20], i);
    }
    assert_null(arena_alloc(&a, 10000));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 9000));
    const struct str texts[] = {STR("for="), {NULL, 0}, STR("::1"), STR("")};
    struct str joined = arena_join(&a, texts, COUNT_OF(texts));
    assert_int_equal(joined.n, 7);
    assert_string_equal(joined.p, "for=::1");
    struct str s = arena_printf(&a, "%d-%s", 12, "x");
    assert_true(str_eq(s, STR("12-x")));
    arena_done(&a);
}

static void test_buf_survives_failed_allocations(void **state)
{
    struct buf b;
    buf_init(&b, 0);
    for (unsigned long n = 1; n < 4; n++) {
        mem_test_fail_at(n);
        for (int i = 0; i < 300; i++) {
            buf_add(&b, "0123456789", 10);
        }
        mem_test_fail_at(0);
        assert_true(b.is_failed);
        buf_done(&b);
    }
    buf_add_u64(&b, UINT64_MAX);
    buf_printf(&b, "/%s", "end");
    assert_true(str_eq(buf_str(&b), STR("18446744073709551615/end")));
    buf_consume(&b, 21);
    assert_true(str_eq(buf_str(&b), STR("end")));
    buf_done(&b);
    buf_init(&b, 5);
    buf_add(&b, "abc", 3);
    buf_add(&b, "def", 3);
    assert_true(b.is_failed && b.n == 3);
    buf_done(&b);
}

static void test_slab_reuses_and_bounds(void **state)
{
    struct slab s;
    slab_init(&s, 40, 3);
    char *a = slab_alloc(&s), *b = slab_alloc(&s), *c = slab_alloc(&s);
    assert_non_null(c);
    assert_null(slab_alloc(&s));
    memset(b, 1, 40);
    slab_free(&s, b);
    b = slab_alloc(&s);
    assert_int_equal(b[39], 0);
    slab_free(&s, a);
    slab_free(&s, b);
    slab_free(&s, c);
    slab_done(&s);
}

static void test_chunk_counts_references(void **state)
{
    struct chunk *c = chunk_from(STR("body"));
    assert_ptr_equal(chunk_ref(c), c);
    chunk_unref(c);
    assert_memory_equal(c->data, "body", 4);
    chunk_unref(c);
    chunk_unref(NULL);
}

static void test_hash_spreads(void **state)
{
    unsigned seen[64] = {0};
    char text[8];
    for (unsigned i = 0; i < 6400; i++) {
        int n = snprintf(text, sizeof(text), "%u", i);
        seen[hash_str(str_make(text, (size_t)n)) % 64]++;
    }
    for (unsigned i = 0; i < 64; i++) {
        assert_in_range(seen[i], 50, 160);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_strict),
        cmocka_unit_test(test_distance_counts_edits),
        cmocka_unit_test(test_split_gives_every_part),
        cmocka_unit_test(test_arena_lent_bytes_come_first),
        cmocka_unit_test(test_arena_pieces_do_not_overlap),
        cmocka_unit_test(test_buf_survives_failed_allocations),
        cmocka_unit_test(test_slab_reuses_and_bounds),
        cmocka_unit_test(test_chunk_counts_references),
        cmocka_unit_test(test_hash_spreads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
