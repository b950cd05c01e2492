/* SPDX-License-Identifier: Apache-2.0 */
/* The examples of RFC 7541 appendix C, and long conversations with the coder of nghttp2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "base/assert.h"
#include "base/mem.h"
#include "http/hpack_int.h"

struct got {
    struct buf text;
    unsigned notes;
};

static void on_field(void *context, const struct hpack_field *f)
{
    struct got *g = context;
    buf_printf(&g->text, STR_FMT ": " STR_FMT "\n", STR_ARG(f->name), STR_ARG(f->value));
    if (f->id != HTTP_FIELD_OTHER) {
        assert_true(str_eq(f->name, http_field_name((enum http_field_id)f->id)));
    }
    if (f->note) {
        g->notes += *f->note;
        *f->note = 1;
    }
}

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; *hex; hex++) {
        if (*hex != ' ') {
            char two[3] = {hex[0], hex[1], 0};
            out[n++] = (uint8_t)strtoul(two, NULL, 16);
            hex++;
        }
    }
    return n;
}

static enum err decode(struct hpack_decoder *d, const uint8_t *p, size_t n, struct got *g)
{
    struct buf scratch;
    buf_init(&scratch, 0);
    buf_clear(&g->text);
    /* A block of its own, so that a read past its end is seen. */
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, p, n);
    enum err e = hpack_decode(d, copy, n, &scratch, on_field, g);
    free(copy);
    buf_done(&scratch);
    return e;
}

static void expect(struct hpack_decoder *d, struct got *g, const char *hex, const char *fields,
                   uint32_t cost)
{
    uint8_t bytes[512];
    assert_int_equal(decode(d, bytes, from_hex(hex, bytes), g), ERR_OK);
    buf_add_char(&g->text, '\0');
    assert_string_equal(g->text.p, fields);
    assert_int_equal(d->table.cost, cost);
}

static void test_examples_of_requests(void **state)
{
    static const char first[] =
        ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n";
    static const char second[] = ":method: GET\n:scheme: http\n:path: /\n:authority: "
                                 "www.example.com\ncache-control: no-cache\n";
    static const char third[] = ":method: GET\n:scheme: https\n:path: /index.html\n:authority: "
                                "www.example.com\ncustom-key: custom-value\n";
    struct got g = {0};
    struct hpack_decoder d;
    buf_init(&g.text, 0);
    hpack_decoder_init(&d); /* C.3 */
    expect(&d, &g, "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", first, 57);
    expect(&d, &g, "8286 84be 5808 6e6f 2d63 6163 6865", second, 110);
    expect(&d, &g, "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
           third, 164);
    assert_int_equal(g.notes, 2); /* the authority came again twice */
    hpack_decoder_done(&d);
    hpack_decoder_init(&d); /* C.4 */
    expect(&d, &g, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", first, 57);
    expect(&d, &g, "8286 84be 5886 a8eb 1064 9cbf", second, 110);
    expect(&d, &g, "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", third, 164);
    hpack_decoder_done(&d);
    buf_done(&g.text);
}

static void test_examples_of_answers_in_a_small_table(void **state)
{
    struct got g = {0};
    struct hpack_decoder d;
    buf_init(&g.text, 0);
    hpack_decoder_init(&d); /* C.6, with a table of 256 bytes */
    expect(&d, &g,
           "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 "
           "2d1b "
           "ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
           ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: "
           "https://www.example.com\n",
           222);
    expect(&d, &g, "4883 640e ffc1 c0bf",
           ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: "
           "https://www.example.com\n",
           222);
    expect(&d, &g,
           "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad "
           "94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 "
           "65c0 03ed 4ee5 b106 3d50 07",
           ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\nlocation: "
           "https://www.example.com\ncontent-encoding: gzip\nset-cookie: "
           "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n",
           215);
    hpack_decoder_done(&d);
    buf_done(&g.text);
}

static void test_what_is_no_block(void **state)
{
    static const char *const wrong[] = {
        "80",                   /* index 0 */
        "be",                   /* an entry that is not there */
        "ff 80 80 80 80 80 01", /* an integer without end */
        "ff ff ff ff ff 7f",    /* and one that is too large */
        "7f",                   /* cut in the integer */
        "40 05 61 62",          /* cut in a name */
        "40 01 61",             /* no value */
        "41 85 ff ff ff ff ff", /* the end symbol */
        "41 81 fe",             /* padding that is not ones */
        "41 83 f1 e3 ff ff",    /* a valid one, then an index that is too large */
        "41 82 07 ff",          /* more than seven bits of padding */
        "3f e2 1f",             /* a table of 4097 bytes */
        "82 20",                /* a change of size behind a field */
        "04",                   /* no name, no value */
    };
    struct got g = {0};
    buf_init(&g.text, 0);
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        uint8_t bytes[64];
        struct hpack_decoder d;
        hpack_decoder_init(&d);
        enum err e = decode(&d, bytes, from_hex(wrong[i], bytes), &g);
        if (e != ERR_SYNTAX) {
            fail_msg("%s: %d", wrong[i], e);
        }
        hpack_decoder_done(&d);
    }
    buf_done(&g.text);
}

static unsigned next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*seed >> 33);
}

struct pair {
    char name[64];
    char value[600];
    uint16_t id;
};

static void make_pair(uint64_t *seed, struct pair *p)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    unsigned kind = next_random(seed) % 4;
    p->id = kind ? (uint16_t)(1 + next_random(seed) % (HTTP_FIELD_COUNT - 1)) : 0;
    struct str name = http_field_name((enum http_field_id)p->id);
    memcpy(p->name, name.p, name.n);
    p->name[name.n] = '\0';
    if (!p->id) {
        unsigned n = 1 + next_random(seed) % 3;
        snprintf(p->name, sizeof(p->name), "x-%.*s", (int)n, letters + next_random(seed) % 8);
    }
    /* Few different values, so that entries are found again; some of any bytes. */
    unsigned n = next_random(seed) % 8 == 0 ? next_random(seed) % 500 : next_random(seed) % 9;
    for (unsigned i = 0; i < n; i++) {
        p->value[i] = kind == 3 ? (char)(1 + next_random(seed) % 255) : letters[i % 37];
    }
    p->value[n] = '\0';
}

static uint32_t random_size(uint64_t *seed)
{
    static const uint32_t sizes[] = {0, 31, 33, 100, 256, 1000, 4096, 4096, 65536};
    return sizes[next_random(seed) % COUNT_OF(sizes)];
}

/* What we encode, nghttp2 reads. */
static void test_encoder_beside_nghttp2(void **state)
{
    for (uint64_t round = 0; round < 30; round++) {
        uint64_t seed = round;
        nghttp2_hd_inflater *inflater;
        struct hpack_encoder e;
        hpack_encoder_init(&e);
        assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
        for (int block = 0; block < 60; block++) {
            struct pair pairs[12];
            struct buf out;
            buf_init(&out, 0);
            if (next_random(&seed) % 10 == 0) {
                for (unsigned k = 0; k < 1 + next_random(&seed) % 3; k++) {
                    uint32_t size = random_size(&seed);
                    assert_int_equal(nghttp2_hd_inflate_change_table_size(inflater, size), 0);
                    hpack_encoder_resize(&e, size);
                }
            }
            hpack_encode_start(&e, &out);
            uint16_t status = (uint16_t)(200 + next_random(&seed) % 300);
            hpack_encode_status(&e, &out, status);
            unsigned n = next_random(&seed) % COUNT_OF(pairs);
            for (unsigned i = 0; i < n; i++) {
                make_pair(&seed, &pairs[i]);
                hpack_encode(&e, &out, pairs[i].id, str_of(pairs[i].name), str_of(pairs[i].value));
            }
            const uint8_t *p = (const uint8_t *)out.p;
            size_t left = out.n;
            int flags = 0;
            for (int i = -1; !(flags & NGHTTP2_HD_INFLATE_FINAL); i++) {
                nghttp2_nv nv;
                ssize_t got = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, p, left, 1);
                assert_true(got >= 0);
                p += got;
                left -= (size_t)got;
                if (!(flags & NGHTTP2_HD_INFLATE_EMIT)) {
                    continue;
                }
                if (i < 0) {
                    assert_int_equal(atoi((const char *)nv.value), status);
                    continue;
                }
                assert_true(i < (int)n);
                assert_string_equal(nv.name, pairs[i].name);
                assert_int_equal(nv.valuelen, strlen(pairs[i].value));
                assert_memory_equal(nv.value, pairs[i].value, nv.valuelen);
            }
            assert_int_equal(left, 0);
            nghttp2_hd_inflate_end_headers(inflater);
            buf_done(&out);
        }
        nghttp2_hd_inflate_del(inflater);
        hpack_encoder_done(&e);
    }
}

/* What nghttp2 encodes, we read. */
static void test_decoder_beside_nghttp2(void **state)
{
    for (uint64_t round = 0; round < 30; round++) {
        uint64_t seed = round + 1000;
        nghttp2_hd_deflater *deflater;
        struct hpack_decoder d;
        struct got g = {0};
        buf_init(&g.text, 0);
        hpack_decoder_init(&d);
        assert_int_equal(nghttp2_hd_deflate_new(&deflater, 4096), 0);
        for (int block = 0; block < 60; block++) {
            struct pair pairs[12];
            nghttp2_nv nv[12];
            uint8_t bytes[16384];
            struct buf expected;
            buf_init(&expected, 0);
            if (next_random(&seed) % 10 == 0) {
                uint32_t size = random_size(&seed);
                assert_int_equal(
                    nghttp2_hd_deflate_change_table_size(deflater, size < 4096 ? size : 4096), 0);
            }
            unsigned n = next_random(&seed) % COUNT_OF(pairs);
            for (unsigned i = 0; i < n; i++) {
                make_pair(&seed, &pairs[i]);
                nv[i] = (nghttp2_nv){.name = (uint8_t *)pairs[i].name,
                                     .namelen = strlen(pairs[i].name),
                                     .value = (uint8_t *)pairs[i].value,
                                     .valuelen = strlen(pairs[i].value)};
                buf_printf(&expected, "%s: %s\n", pairs[i].name, pairs[i].value);
            }
            ssize_t got = nghttp2_hd_deflate_hd(deflater, bytes, sizeof(bytes), nv, n);
            assert_true(got >= 0);
            assert_int_equal(decode(&d, bytes, (size_t)got, &g), ERR_OK);
            assert_int_equal(g.text.n, expected.n);
            if (expected.n) {
                assert_memory_equal(g.text.p, expected.p, expected.n);
            }
            buf_done(&expected);
        }
        nghttp2_hd_deflate_del(deflater);
        hpack_decoder_done(&d);
        buf_done(&g.text);
    }
}

/* Each octet alone and all in one, there and back. */
static void test_huffman(void **state)
{
    char all[256];
    uint8_t coded[1024];
    char plain[HPACK_PLAIN_BYTES(1024)];
    size_t n;
    for (int i = 0; i < 256; i++) {
        all[i] = (char)i;
    }
    for (int i = 0; i <= 256; i++) {
        struct str s = i < 256 ? str_make(&all[i], 1) : str_make(all, sizeof(all));
        size_t bytes = hpack_huffman_bytes(s);
        hpack_huffman_encode(s, coded);
        assert_int_equal(hpack_huffman_decode(coded, bytes, plain, &n), ERR_OK);
        assert_true(str_eq(str_make(plain, n), s));
    }
}

static enum err failing_scenario(void)
{
    static const char block[] = "\x40\x01"
                                "a\x10"
                                "bbbbbbbbbbbbbbbb\xbe\x5c\x03"
                                "123";
    struct hpack_decoder d;
    struct hpack_encoder e;
    struct buf scratch, out;
    struct got g = {0};
    hpack_decoder_init(&d);
    hpack_encoder_init(&e);
    buf_init(&scratch, 0);
    buf_init(&out, 0);
    buf_init(&g.text, 0);
    enum err err = ERR_OK;
    for (int i = 0; i < 40 && !err; i++) {
        err = hpack_decode(&d, (const uint8_t *)block, sizeof(block) - 1, &scratch, on_field, &g);
    }
    for (int i = 0; i < 40; i++) {
        char value[64];
        snprintf(value, sizeof(value), "a value of some length that is new each time: %d", i);
        hpack_encode(&e, &out, HTTP_FIELD_VARY, STR("vary"), str_of(value));
    }
    bool is_failed = out.is_failed || g.text.is_failed;
    buf_done(&scratch);
    buf_done(&out);
    buf_done(&g.text);
    hpack_decoder_done(&d);
    hpack_encoder_done(&e);
    return err ? err : is_failed ? ERR_NOMEM : ERR_OK;
}

static void test_every_allocation_may_fail(void **state)
{
    mem_test_fail_at(0);
    assert_int_equal(failing_scenario(), ERR_OK);
    unsigned long count = mem_test_fail_at(0);
    assert_true(count > 5);
    for (unsigned long i = 1; i <= count; i++) {
        mem_test_fail_at(i);
        enum err e = failing_scenario();
        assert_true(e == ERR_OK || e == ERR_NOMEM); /* the encoder does without its table */
    }
    mem_test_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_of_requests),
        cmocka_unit_test(test_examples_of_answers_in_a_small_table),
        cmocka_unit_test(test_what_is_no_block),
        cmocka_unit_test(test_encoder_beside_nghttp2),
        cmocka_unit_test(test_decoder_beside_nghttp2),
        cmocka_unit_test(test_huffman),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
