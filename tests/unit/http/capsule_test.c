/* SPDX-License-Identifier: Apache-2.0 */
/* Integers of variable length, and the capsule protocol: the same however the bytes were cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "http/capsule.h"

/* RFC 9000 A.1, and the ends of each form. */
static void test_varint(void **state)
{
    static const struct {
        struct str bytes;
        uint64_t value;
        bool is_shortest;
    } known[] = {
        {STR("\xc2\x19\x7c\x5e\xff\x14\xe8\x8c"), 151288809941952652u, true},
        {STR("\x9d\x7f\x3e\x7d"), 494878333, true},
        {STR("\x7b\xbd"), 15293, true},
        {STR("\x25"), 37, true},
        {STR("\x40\x25"), 37, false},
        {STR("\x00"), 0, true},
        {STR("\x3f"), 63, true},
        {STR("\x40\x40"), 64, true},
        {STR("\x7f\xff"), 16383, true},
        {STR("\x80\x00\x40\x00"), 16384, true},
        {STR("\xbf\xff\xff\xff"), (1u << 30) - 1, true},
        {STR("\xc0\x00\x00\x00\x40\x00\x00\x00"), 1u << 30, true},
        {STR("\xff\xff\xff\xff\xff\xff\xff\xff"), VARINT_MAX, true},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        char out[VARINT_BYTES_MAX];
        uint64_t value = 1;
        struct str bytes = known[i].bytes;
        assert_int_equal(varint_read(bytes, &value), bytes.n);
        assert_true(value == known[i].value);
        for (size_t n = 0; n < bytes.n; n++) {
            assert_int_equal(varint_read(str_make(bytes.p, n), &value), 0);
        }
        size_t n = varint_write(value, out);
        assert_true(!known[i].is_shortest || str_eq(str_make(out, n), bytes));
        assert_true(varint_read(str_make(out, n), &value) == n && value == known[i].value);
    }
}

/* What a reader makes of bytes that come in pieces of `step`, the first one of `first`. */
struct outcome {
    struct buf text; /* the datagrams, each in brackets */
    unsigned skipped;
    enum err e;
    bool is_whole;
};

static void read_pieces(struct str bytes, size_t first, size_t step, struct outcome *ret)
{
    struct capsule_reader r;
    size_t n = first < bytes.n ? first : bytes.n;
    capsule_reader_init(&r);
    *ret = (struct outcome){.skipped = 0};
    buf_init(&ret->text, 0);
    do {
        struct str piece = str_make(bytes.p, n), datagram;
        bytes = str_make(bytes.p + n, bytes.n - n);
        n = step < bytes.n ? step : bytes.n;
        while ((ret->e = capsule_next(&r, &piece, &datagram)) == ERR_OK || ret->e == ERR_LIMIT) {
            ret->skipped += ret->e == ERR_LIMIT;
            if (!ret->e) {
                buf_add_char(&ret->text, '[');
                buf_add_str(&ret->text, datagram);
                buf_add_char(&ret->text, ']');
            }
        }
        assert_true(ret->e != ERR_AGAIN || piece.n == 0);
    } while (ret->e == ERR_AGAIN && bytes.n);
    ret->is_whole = capsule_is_whole(&r);
    capsule_reader_done(&r);
}

static const struct {
    struct str bytes;
    const char *text;
    bool is_whole;
} cases[] = {
    {STR(""), "", true},
    {STR("\0\0"), "[]", true},
    {STR("\0\x03"
         "abc\0\x01"
         "d"),
     "[abc][d]", true},
    {STR("\x40\0\xc0\0\0\0\0\0\0\x02"
         "ab\0\0"),
     "[ab][]", true},
    {STR("\x17\x02xx\0\x01y"), "[y]", true},                             /* another kind */
    {STR("\xc0\0\0\0\0\0\0\x17\xc0\0\0\0\0\0\0\0\0\x01y"), "[y]", true}, /* its longest form */
    {STR("\x01\0\0\0"), "[]", true},
    {STR("\0"), "", false},
    {STR("\0\x02"
         "a"),
     "", false},
    {STR("\0\x01"
         "a\x17\x05zz"),
     "[a]", false},
    {STR("\x17\xff\xff\xff\xff\xff\xff\xff\xff and so on"), "", false},
};

static void test_every_cut(void **state)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t first = 0; first <= cases[i].bytes.n; first++) {
            for (size_t step = 1; step <= cases[i].bytes.n + 1; step++) {
                struct outcome o;
                read_pieces(cases[i].bytes, first, step, &o);
                assert_int_equal(o.e, ERR_AGAIN);
                assert_true(str_eq(buf_str(&o.text), str_of(cases[i].text)));
                assert_int_equal(o.is_whole, cases[i].is_whole);
                assert_int_equal(o.skipped, 0);
                buf_done(&o.text);
            }
        }
    }
}

static void add_capsule(struct buf *b, size_t n)
{
    char head[CAPSULE_HEAD_BYTES_MAX];
    buf_add(b, head, capsule_write_head(n, head));
    for (size_t i = 0; i < n; i++) {
        buf_add_char(b, (char)i);
    }
}

static void test_the_longest(void **state)
{
    static const size_t steps[] = {1, 1000, 65536, 1000000};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct buf b;
        struct outcome o;
        buf_init(&b, 0);
        add_capsule(&b, CAPSULE_DATAGRAM_BYTES_MAX);
        add_capsule(&b, CAPSULE_DATAGRAM_BYTES_MAX + 1);
        add_capsule(&b, 1);
        read_pieces(buf_str(&b), 0, steps[i], &o);
        assert_int_equal(o.skipped, 1);
        assert_int_equal(o.text.n, 2 + CAPSULE_DATAGRAM_BYTES_MAX + 3);
        assert_true(o.is_whole);
        buf_done(&o.text);
        buf_done(&b);
    }
}

static void test_out_of_memory(void **state)
{
    struct buf b;
    buf_init(&b, 0);
    add_capsule(&b, 1000);
    unsigned failures = 0;
    for (unsigned long n = 1; n < 20; n++) {
        struct capsule_reader r;
        enum err e = ERR_AGAIN;
        capsule_reader_init(&r);
        (void)mem_test_fail_at(n);
        for (size_t i = 0; i < b.n && e == ERR_AGAIN; i++) {
            struct str piece = str_make(b.p + i, 1), datagram;
            e = capsule_next(&r, &piece, &datagram);
        }
        (void)mem_test_fail_at(0);
        assert_true(e == ERR_NOMEM || e == ERR_OK);
        failures += e == ERR_NOMEM;
        capsule_reader_done(&r);
    }
    assert_in_range(failures, 1, 18);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varint),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_the_longest),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
