/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "http/h1_chunked.h"
#include "http/h1_write.h"

struct body {
    const char *text;
    enum err result; /* ERR_AGAIN: not complete */
    const char *data;
};

static const struct body bodies[] = {
    {"0\r\n\r\n", ERR_OK, ""},
    {"5\r\nhello\r\n0\r\n\r\n", ERR_OK, "hello"},
    {"00000000000005\r\nhello\r\n000\r\n\r\n", ERR_OK, "hello"},
    {"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", ERR_OK, "01234567890123456789"},
    {"2;a\r\nhi\r\n0;b=c;d=\"e\\\"; f\"\r\n\r\n", ERR_OK, "hi"},
    {"2; a = b ;c\r\nhi\r\n0\r\n\r\n", ERR_OK, "hi"},
    {"0\r\nX-Sum: 1\r\ny:\r\n\r\n", ERR_OK, ""},
    {"5\r\nhel", ERR_AGAIN, "hel"},
    {"0\r\n", ERR_AGAIN, ""},
    {"5\nhello\r\n0\r\n\r\n", ERR_SYNTAX, NULL},
    {"5\r\nhello\n0\r\n\r\n", ERR_SYNTAX, NULL},
    {"5\r\nhello0\r\n\r\n", ERR_SYNTAX, NULL},
    {"5\r\nhelloX\n0\r\n\r\n", ERR_SYNTAX, NULL},
    {"5\rXhello", ERR_SYNTAX, NULL},
    {"0\r\n\n", ERR_SYNTAX, NULL},
    {"0\r\n\rX", ERR_SYNTAX, NULL},
    {"0x5\r\nhello", ERR_SYNTAX, NULL},
    {"\r\n", ERR_SYNTAX, NULL},
    {"+5\r\nhello", ERR_SYNTAX, NULL},
    {"-1\r\n", ERR_SYNTAX, NULL},
    {" 5\r\nhello", ERR_SYNTAX, NULL},
    {"5 \r\nhello", ERR_SYNTAX, NULL},
    {"5\t;a\r\nhello", ERR_SYNTAX, NULL},
    {"g\r\n", ERR_SYNTAX, NULL},
    {"5;\r\nhello", ERR_SYNTAX, NULL},
    {"5;a=\r\nhello", ERR_SYNTAX, NULL},
    {"5;a \r\nhello", ERR_SYNTAX, NULL},
    {"5;a=b c\r\nhello", ERR_SYNTAX, NULL},
    {"5;a=\"b\r\n\"\r\nhello", ERR_SYNTAX, NULL},
    {"5;a\nhello", ERR_SYNTAX, NULL},
    {"5;a\x01\r\nhello", ERR_SYNTAX, NULL},
    {"7fffffffffffffff\r\nx", ERR_AGAIN, "x"},
    {"8000000000000000\r\n", ERR_RANGE, NULL},
    {"ffffffffffffffff\r\n", ERR_RANGE, NULL},
    {"10000000000000000\r\n", ERR_RANGE, NULL},
    {"00000000000000005\r\nhello", ERR_RANGE, NULL},
    {"0\r\nTransfer-Encoding: chunked\r\n\r\n", ERR_SYNTAX, NULL},
    {"0\r\ncontent-length: 5\r\n\r\n", ERR_SYNTAX, NULL},
    {"0\r\nHost: a\r\n\r\n", ERR_SYNTAX, NULL},
    {"0\r\nTrailer: a\r\n\r\n", ERR_SYNTAX, NULL},
    {"0\r\nX : a\r\n\r\n", ERR_SYNTAX, NULL},
    {"0\r\nX: a\n\r\n", ERR_SYNTAX, NULL},
    {"0\r\nX: a\r\n b\r\n\r\n", ERR_SYNTAX, NULL},
    {"0\r\nX\r\n\r\n", ERR_SYNTAX, NULL},
    {"0\r\nX: a\rb\r\n\r\n", ERR_SYNTAX, NULL},
};

/* Feeds the pieces [0, first), then `step` bytes each. */
static enum err feed(const char *p, size_t n, size_t first, size_t step, struct buf *trailers,
                     struct buf *data, struct h1_chunked *d)
{
    h1_chunked_init(d, trailers, 0);
    size_t at = 0, end = first < n ? first : n;
    while (!h1_chunked_is_done(d)) {
        size_t used;
        struct str span;
        if (at == end) {
            if (end == n) {
                return ERR_AGAIN;
            }
            end = n - end > step ? end + step : n;
        }
        enum err e = h1_chunked_feed(d, p + at, end - at, &used, &span);
        if (e != ERR_OK) {
            assert_int_equal(h1_chunked_feed(d, p, 1, &used, &span), ERR_SYNTAX);
            return e;
        }
        assert_true(used > 0);
        buf_add_str(data, span);
        at += used;
    }
    return at == n ? ERR_OK : ERR_EXISTS;
}

static void test_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        size_t n = strlen(bodies[i].text);
        for (size_t cut = 1; cut <= n * 2; cut++) {
            struct buf trailers, data;
            struct h1_chunked d;
            buf_init(&trailers, 0);
            buf_init(&data, 0);
            size_t first = cut <= n ? cut : 1, step = cut <= n ? n : cut - n;
            enum err e = feed(bodies[i].text, n, first, step, &trailers, &data, &d);
            if (e != bodies[i].result) {
                fail_msg("body %zu cut %zu: %s", i, cut, err_name(e));
            }
            if (bodies[i].data) {
                assert_true(str_eq(buf_str(&data), str_of(bodies[i].data)));
            }
            buf_done(&trailers);
            buf_done(&data);
        }
    }
}

static void test_trailers(void **state)
{
    (void)state;
    struct buf trailers, data;
    struct h1_chunked d;
    struct http_field v[2];
    struct http_fields fields;
    const char *text = "0\r\nX-Sum: 1\r\nServer-Timing:  a \r\n\r\n";
    buf_init(&trailers, 0);
    buf_init(&data, 0);
    assert_int_equal(feed(text, strlen(text), 3, 1, &trailers, &data, &d), ERR_OK);
    http_fields_init(&fields, v, 2);
    assert_int_equal(h1_chunked_trailers(&d, &fields), ERR_OK);
    assert_int_equal(fields.n, 2);
    assert_true(str_eq(v[1].value, STR("a")));
    http_fields_init(&fields, v, 1);
    assert_int_equal(h1_chunked_trailers(&d, &fields), ERR_LIMIT);
    buf_done(&trailers);
    /* The one allocation of a body with trailers fails. */
    (void)mem_test_fail_at(1);
    buf_clear(&data);
    assert_int_equal(feed(text, strlen(text), 3, 9, &trailers, &data, &d), ERR_NOMEM);
    (void)mem_test_fail_at(0);
    buf_done(&trailers);
    buf_done(&data);
}

static void add_times(struct buf *b, char c, size_t n)
{
    while (n-- > 0) {
        buf_add_char(b, c);
    }
}

static enum err feed_all(struct buf *text)
{
    struct buf trailers, data;
    struct h1_chunked d;
    buf_init(&trailers, 0);
    buf_init(&data, 0);
    enum err e = feed(text->p, text->n, 100, 1000, &trailers, &data, &d);
    buf_done(&trailers);
    buf_done(&data);
    buf_clear(text);
    return e;
}

static void test_limits(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 0);
    for (size_t extra = 0; extra < 2; extra++) {
        buf_add_str(&text, STR("0;"));
        add_times(&text, 'a', H1_CHUNK_EXTENSION_BYTES_MAX + extra);
        buf_add_str(&text, STR("\r\n\r\n"));
        assert_int_equal(feed_all(&text), extra ? ERR_LIMIT : ERR_OK);

        for (size_t i = 0; i < 16 + extra; i++) {
            buf_add_str(&text, STR("1;"));
            add_times(&text, 'a', 1024);
            buf_add_str(&text, STR("\r\nx\r\n"));
        }
        buf_add_str(&text, STR("0\r\n\r\n"));
        assert_int_equal(feed_all(&text), extra ? ERR_LIMIT : ERR_OK);

        buf_add_str(&text, STR("0\r\nA:"));
        add_times(&text, 'a', H1_CHUNK_TRAILERS_BYTES_MAX - 4 + extra);
        buf_add_str(&text, STR("\r\n\r\n"));
        assert_int_equal(feed_all(&text), extra ? ERR_LIMIT : ERR_OK);
    }
    buf_done(&text);
}

static void test_encoder(void **state)
{
    (void)state;
    char out[H1_CHUNK_HEAD_BYTES];
    assert_true(str_eq(str_make(out, h1_chunk_head(1, out)), STR("1\r\n")));
    assert_true(str_eq(str_make(out, h1_chunk_head(16, out)), STR("10\r\n")));
    assert_true(str_eq(str_make(out, h1_chunk_head(0xabcdef, out)), STR("abcdef\r\n")));
    assert_true(str_eq(str_make(out, h1_chunk_head(UINT64_MAX, out)), STR("ffffffffffffffff\r\n")));
    struct buf b;
    struct http_field v[2];
    struct http_fields trailers;
    buf_init(&b, 0);
    http_fields_init(&trailers, v, 2);
    assert_int_equal(h1_chunk_end(&b, NULL), ERR_OK);
    assert_true(str_eq(buf_str(&b), STR("0\r\n\r\n")));
    buf_clear(&b);
    assert_int_equal(http_fields_add(&trailers, STR("x-sum"), STR("1")), ERR_OK);
    assert_int_equal(h1_chunk_end(&b, &trailers), ERR_OK);
    assert_true(str_eq(buf_str(&b), STR("0\r\nx-sum: 1\r\n\r\n")));
    buf_clear(&b);
    assert_int_equal(http_fields_add(&trailers, STR("Content-Length"), STR("1")), ERR_OK);
    assert_int_equal(h1_chunk_end(&b, &trailers), ERR_SYNTAX);
    assert_int_equal(b.n, 0);
    buf_done(&b);
}

static void test_heads(void **state)
{
    (void)state;
    static const char *const bad_values[] = {"a\r\nSet-Cookie: x", "a\nb", "a\rb", "a\x01", " a"};
    static const char *const bad_names[] = {"", "a b", "a:", "a\r\nb", "a\n"};
    struct buf b;
    struct http_field v[2];
    struct response_head head = {.status = 200};
    buf_init(&b, 0);
    http_fields_init(&head.fields, v, 2);
    assert_int_equal(http_fields_add(&head.fields, STR("content-type"), STR("text/html")), ERR_OK);
    assert_int_equal(h1_write_response(&b, &head), ERR_OK);
    assert_true(str_eq(buf_str(&b), STR("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")));
    buf_clear(&b);
    for (size_t i = 0; i < COUNT_OF(bad_values); i++) {
        v[0].value = str_of(bad_values[i]);
        assert_int_equal(h1_write_response(&b, &head), ERR_SYNTAX);
        assert_int_equal(b.n, 0);
    }
    v[0].value = str_make("a\0b", 3);
    assert_int_equal(h1_write_response(&b, &head), ERR_SYNTAX);
    for (size_t i = 0; i < COUNT_OF(bad_names); i++) {
        v[0] = (struct http_field){str_of(bad_names[i]), STR("v"), HTTP_FIELD_OTHER};
        assert_int_equal(h1_write_response(&b, &head), ERR_SYNTAX);
    }
    head.status = 100;
    assert_int_equal(h1_write_response(&b, &head), ERR_SYNTAX);
    assert_int_equal(h1_write_interim(&b, 100, NULL), ERR_OK);
    assert_true(str_eq(buf_str(&b), STR("HTTP/1.1 100 Continue\r\n\r\n")));
    assert_int_equal(h1_write_interim(&b, 200, NULL), ERR_SYNTAX);
    buf_done(&b);
    buf_init(&b, 20);
    assert_int_equal(h1_write_interim(&b, 100, NULL), ERR_NOMEM);
    assert_int_equal(b.n, 0);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies), cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_encoder),
        cmocka_unit_test(test_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
