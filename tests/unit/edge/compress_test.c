/* SPDX-License-Identifier: Apache-2.0 */
/* Streams in all three codings, decoded by the libraries' own decoders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "edge/compress.h"

#define BODY_BYTES 300000

static char body[BODY_BYTES];
static char decoded[BODY_BYTES + 1];

static int make_body(void **state)
{
    uint32_t x = 1;
    (void)state;
    for (size_t i = 0; i < BODY_BYTES; i++) {
        x = x * 1103515245u + 12345u;
        body[i] = (char)((x >> 16) % 4 ? "abcdefgh"[(x >> 20) % 8] : (char)(x >> 24));
    }
    return 0;
}

/* Decodes as far as it goes; `*ret_is_end` says whether the stream is complete. */
static size_t decode(enum compress_coding coding, struct str in, bool *ret_is_end)
{
    if (coding == COMPRESS_GZIP) {
        z_stream z = {.next_in = (Bytef *)(uintptr_t)in.p,
                      .avail_in = (uInt)in.n,
                      .next_out = (Bytef *)decoded,
                      .avail_out = sizeof(decoded)};
        assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
        *ret_is_end = inflate(&z, Z_SYNC_FLUSH) == Z_STREAM_END && z.avail_in == 0;
        inflateEnd(&z);
        return z.total_out;
    }
    if (coding == COMPRESS_BROTLI) {
        BrotliDecoderState *b = BrotliDecoderCreateInstance(NULL, NULL, NULL);
        const uint8_t *next_in = (const uint8_t *)in.p;
        uint8_t *next_out = (uint8_t *)decoded;
        size_t avail_out = sizeof(decoded), total = 0;
        *ret_is_end = BrotliDecoderDecompressStream(b, &in.n, &next_in, &avail_out, &next_out,
                                                    &total) == BROTLI_DECODER_RESULT_SUCCESS;
        BrotliDecoderDestroyInstance(b);
        return total;
    }
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, 23);
    ZSTD_inBuffer from = {in.p, in.n, 0};
    ZSTD_outBuffer to = {decoded, sizeof(decoded), 0};
    size_t left = 1;
    while (from.pos < from.size && !ZSTD_isError(left)) {
        left = ZSTD_decompressStream(d, &to, &from);
    }
    *ret_is_end = left == 0;
    ZSTD_freeDCtx(d);
    return to.pos;
}

static enum err step(struct compress *c, enum compress_step what, struct str input, size_t room,
                     struct buf *out)
{
    for (bool is_done = false; !is_done;) {
        size_t before = out->n;
        enum err e = compress_run(c, what, &input, room, out, &is_done);
        if (e) {
            return e;
        }
        assert_true(out->n - before <= room);
    }
    assert_int_equal(input.n, 0);
    return ERR_OK;
}

static void test_streams(void **state)
{
    static const size_t rooms[] = {64, 1000, 65536};
    (void)state;
    for (int coding = COMPRESS_GZIP; coding <= COMPRESS_ZSTD; coding++) {
        for (size_t i = 0; i < 9; i++) {
            struct compress_options settings = {(enum compress_coding)coding, i % 3 == 0 ? 1 : 5,
                                                i < 3 ? 0 : BODY_BYTES};
            struct compress *c;
            struct buf out;
            bool is_end = false;
            buf_init(&out, 0);
            assert_int_equal(compress_create(&settings, &c), ERR_OK);
            size_t at = 0;
            for (size_t piece = 1; at < BODY_BYTES; at += piece, piece = piece * 3 + 1) {
                piece = piece > BODY_BYTES - at ? BODY_BYTES - at : piece;
                assert_int_equal(
                    step(c, COMPRESS_FEED, str_make(body + at, piece), rooms[i % 3], &out), ERR_OK);
            }
            assert_int_equal(step(c, COMPRESS_END, STR(""), rooms[i % 3], &out), ERR_OK);
            assert_int_equal(decode((enum compress_coding)coding, buf_str(&out), &is_end),
                             BODY_BYTES);
            assert_true(is_end);
            assert_memory_equal(decoded, body, BODY_BYTES);
            assert_true(out.n < BODY_BYTES);
            struct str none = STR("");
            bool is_done;
            assert_int_equal(compress_run(c, COMPRESS_FEED, &none, 64, &out, &is_done), ERR_CLOSED);
            compress_destroy(c);
            buf_done(&out);
        }
    }
}

static void test_flush_and_empty(void **state)
{
    (void)state;
    for (int coding = COMPRESS_GZIP; coding <= COMPRESS_ZSTD; coding++) {
        struct compress_options settings = {(enum compress_coding)coding, 3, 10};
        struct compress *c;
        struct buf out;
        bool is_end = false;
        buf_init(&out, 0);
        assert_int_equal(compress_create(&settings, &c), ERR_OK);
        assert_int_equal(step(c, COMPRESS_FLUSH, STR("data: 1\n\n"), 64, &out), ERR_OK);
        assert_int_equal(decode((enum compress_coding)coding, buf_str(&out), &is_end), 9);
        assert_false(is_end);
        assert_int_equal(step(c, COMPRESS_FLUSH, STR(""), 64, &out), ERR_OK);
        assert_int_equal(step(c, COMPRESS_END, STR("x"), 64, &out), ERR_OK);
        assert_int_equal(decode((enum compress_coding)coding, buf_str(&out), &is_end), 10);
        assert_true(is_end);
        compress_destroy(c);
        buf_clear(&out);
        assert_int_equal(compress_create(&settings, &c), ERR_OK);
        assert_int_equal(step(c, COMPRESS_END, STR(""), 64, &out), ERR_OK);
        assert_int_equal(decode((enum compress_coding)coding, buf_str(&out), &is_end), 0);
        assert_true(is_end);
        compress_destroy(c);
        buf_done(&out);
    }
    compress_destroy(NULL);
}

static void test_bound(void **state)
{
    struct compress_options settings = {COMPRESS_GZIP, 1, 0};
    struct compress *c;
    struct buf out;
    struct str input = str_make(body, BODY_BYTES);
    bool is_done;
    enum err e = ERR_OK;
    (void)state;
    buf_init(&out, 8192);
    assert_int_equal(compress_create(&settings, &c), ERR_OK);
    for (int i = 0; i < 100 && !e; i++) {
        e = compress_run(c, COMPRESS_FEED, &input, 1000, &out, &is_done);
    }
    assert_int_equal(e, ERR_LIMIT);
    assert_int_equal(compress_run(c, COMPRESS_FEED, &input, 1000, &out, &is_done), ERR_CLOSED);
    compress_destroy(c);
    buf_done(&out);
}

static void test_levels(void **state)
{
    (void)state;
    assert_int_equal(compress_level(COMPRESS_BROTLI, 0), 5);
    assert_int_equal(compress_level(COMPRESS_GZIP, 300), 6);
    assert_int_equal(compress_level(COMPRESS_ZSTD, 900), 1);
    assert_int_equal(compress_level(COMPRESS_ZSTD, 100000), 1);
    for (int coding = COMPRESS_GZIP; coding <= COMPRESS_ZSTD; coding++) {
        for (unsigned load = 0; load < 1100; load++) {
            int level = compress_level((enum compress_coding)coding, load);
            assert_true(level >= 1 && level <= 6);
            assert_true(level >= compress_level((enum compress_coding)coding, load + 1));
        }
    }
    assert_true(str_eq(compress_coding_name(COMPRESS_BROTLI), STR("br")));
}

static enum err scenario(enum compress_coding coding)
{
    struct compress_options settings = {coding, 5, 0};
    struct compress *c;
    struct buf out;
    buf_init(&out, 0);
    enum err e = compress_create(&settings, &c);
    if (!e) {
        e = step(c, COMPRESS_FEED, str_make(body, BODY_BYTES), 4096, &out);
        if (!e) {
            e = step(c, COMPRESS_END, STR(""), 4096, &out);
        }
        compress_destroy(c);
    }
    buf_done(&out);
    return e;
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int coding = COMPRESS_GZIP; coding <= COMPRESS_ZSTD; coding++) {
        mem_test_fail_at(0);
        assert_int_equal(scenario((enum compress_coding)coding), ERR_OK);
        unsigned long count = mem_test_fail_at(0);
        assert_true(count > 3);
        for (unsigned long i = 1; i <= count; i++) {
            mem_test_fail_at(i);
            assert_int_equal(scenario((enum compress_coding)coding), ERR_NOMEM);
            mem_test_fail_at(0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),   cmocka_unit_test(test_flush_and_empty),
        cmocka_unit_test(test_bound),     cmocka_unit_test(test_levels),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, make_body, NULL);
}
