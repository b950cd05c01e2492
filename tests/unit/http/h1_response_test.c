/* SPDX-License-Identifier: Apache-2.0 */
/* Response heads: every case under every scanner, at every cut, with the bytes at the end of their
 * own heap block; and the request heads that ask for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/assert.h"
#include "http/h1_response.h"
#include "http/h1_write.h"

#define S "HTTP/1.1 200 OK\r\n"
#define CL "Content-Length: 5\r\n"
#define TE "Transfer-Encoding: chunked\r\n"
#define UP "Connection: Upgrade\r\nUpgrade: websocket\r\n"

struct good {
    enum http_method method;
    const char *text;
    unsigned status;
    enum h1_framing framing;
    uint64_t length;
    bool keep_alive;
};

static const struct good goods[] = {
    {HTTP_GET, S CL "\r\n", 200, H1_FRAMING_LENGTH, 5, true},
    {HTTP_GET, S "Content-Length: 0\r\n\r\n", 200, H1_FRAMING_LENGTH, 0, true},
    {HTTP_GET, S TE "\r\n", 200, H1_FRAMING_CHUNKED, H1_LENGTH_NONE, true},
    {HTTP_GET, S "transfer-encoding:\tCHUNKED \r\n\r\n", 200, H1_FRAMING_CHUNKED, H1_LENGTH_NONE,
     true},
    {HTTP_GET, S "\r\n", 200, H1_FRAMING_CLOSE, H1_LENGTH_NONE, false},
    {HTTP_GET, S CL "Connection: close\r\n\r\n", 200, H1_FRAMING_LENGTH, 5, false},
    {HTTP_GET, "HTTP/1.0 200 OK\r\n" CL "\r\n", 200, H1_FRAMING_LENGTH, 5, false},
    {HTTP_GET, "HTTP/1.0 200 OK\r\n" CL "Connection: keep-alive\r\n\r\n", 200, H1_FRAMING_LENGTH, 5,
     true},
    {HTTP_HEAD, S CL "\r\n", 200, H1_FRAMING_NONE, 5, true},
    {HTTP_HEAD, S TE "\r\n", 200, H1_FRAMING_NONE, H1_LENGTH_NONE, true},
    {HTTP_HEAD, S "\r\n", 200, H1_FRAMING_NONE, H1_LENGTH_NONE, true},
    {HTTP_GET, "HTTP/1.1 304 Not Modified\r\n" CL "\r\n", 304, H1_FRAMING_NONE, 5, true},
    {HTTP_GET, "HTTP/1.1 204\r\n\r\n", 204, H1_FRAMING_NONE, H1_LENGTH_NONE, true},
    {HTTP_GET, "HTTP/1.1 204 \r\n\r\n", 204, H1_FRAMING_NONE, H1_LENGTH_NONE, true},
    {HTTP_GET, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 103, H1_FRAMING_NONE,
     H1_LENGTH_NONE, true},
    {HTTP_GET, "HTTP/1.1 101 x\r\n" UP "\r\n", 101, H1_FRAMING_NONE, H1_LENGTH_NONE, true},
    {HTTP_GET, "HTTP/1.1 299 \xc3\xa9 \t\r\n" CL "\r\n", 299, H1_FRAMING_LENGTH, 5, true},
    {HTTP_POST, "HTTP/1.1 599 x\r\n" CL "\r\n", 599, H1_FRAMING_LENGTH, 5, true},
};

struct bad {
    const char *text;
    enum h1_reject reason;
};

static const struct bad bads[] = {
    {"HTTP/1.1 099 x\r\n\r\n", H1_REJECT_STATUS},
    {"HTTP/1.1 600 x\r\n\r\n", H1_REJECT_STATUS},
    {"HTTP/1.1 20 x\r\n\r\n", H1_REJECT_STATUS},
    {"HTTP/1.1 2000 x\r\n\r\n", H1_REJECT_STATUS},
    {"HTTP/1.1  200 x\r\n\r\n", H1_REJECT_STATUS},
    {"HTTP/1.1 200x\r\n\r\n", H1_REJECT_STATUS},
    {"HTTP/1.2 200 x\r\n\r\n", H1_REJECT_STATUS},
    {"HTTP/2.0 200 x\r\n\r\n", H1_REJECT_STATUS},
    {"http/1.1 200 x\r\n\r\n", H1_REJECT_STATUS},
    {"ICY 200 OK\r\n\r\n", H1_REJECT_STATUS},
    {"\r\n" S "\r\n", H1_REJECT_STATUS},
    {" " S "\r\n", H1_REJECT_STATUS},
    {"<html>", H1_REJECT_STATUS},
    {"HTTP/1.1 200 a\001b\r\n\r\n", H1_REJECT_STATUS},
    {"HTTP/1.1 200 OK\n\n", H1_REJECT_LINE_END},
    {"HTTP/1.1 200 OK\rX: y\r\n\r\n", H1_REJECT_LINE_END},
    {"HTTP/1.1 200\n\n", H1_REJECT_LINE_END},
    {S "A: b\n\r\n", H1_REJECT_LINE_END},
    {S "A: b\rC: d\r\n\r\n", H1_REJECT_LINE_END},
    {S CL "\n", H1_REJECT_LINE_END},
    {S "A: b\001\r\n\r\n", H1_REJECT_FIELD_VALUE},
    {S "A : b\r\n\r\n", H1_REJECT_FIELD_NAME_SPACE},
    {S " A: b\r\n\r\n", H1_REJECT_FIELD_FOLD},
    {S "A: b\r\n c\r\n\r\n", H1_REJECT_FIELD_FOLD},
    {S ": b\r\n\r\n", H1_REJECT_FIELD_NAME},
    {S "A\r\n\r\n", H1_REJECT_FIELD_NAME},
    {S CL TE "\r\n", H1_REJECT_LENGTH_AND_CODING},
    {S CL CL "\r\n", H1_REJECT_LENGTH_DUPLICATE},
    {S "Content-Length: 5, 5\r\n\r\n", H1_REJECT_LENGTH},
    {S "Content-Length: +5\r\n\r\n", H1_REJECT_LENGTH},
    {S "Content-Length: -1\r\n\r\n", H1_REJECT_LENGTH},
    {S "Content-Length: 0x5\r\n\r\n", H1_REJECT_LENGTH},
    {S "Content-Length:\r\n\r\n", H1_REJECT_LENGTH},
    {S "Content-Length: 18446744073709551616\r\n\r\n", H1_REJECT_LENGTH},
    {S "Content-Length: 9223372036854775808\r\n\r\n", H1_REJECT_LENGTH},
    {S TE TE "\r\n", H1_REJECT_CODING},
    {S "Transfer-Encoding: gzip, chunked\r\n\r\n", H1_REJECT_CODING},
    {S "Transfer-Encoding: identity\r\n\r\n", H1_REJECT_CODING},
    {S "Transfer-Encoding: xchunked\r\n\r\n", H1_REJECT_CODING},
    {"HTTP/1.0 200 OK\r\n" TE "\r\n", H1_REJECT_CODING_VERSION},
    {"HTTP/1.1 204 x\r\n" TE "\r\n", H1_REJECT_BODY_UNEXPECTED},
    {"HTTP/1.1 103 x\r\n" TE "\r\n", H1_REJECT_BODY_UNEXPECTED},
    {"HTTP/1.1 101 x\r\n\r\n", H1_REJECT_STATUS},
    {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", H1_REJECT_STATUS},
    {"HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n", H1_REJECT_STATUS},
};

static ptrdiff_t parse(const char *text, size_t n, size_t before, enum http_method method,
                       const struct h1_limits *limits, struct h1_response *r)
{
    static struct http_field array[HTTP_FIELDS_MAX];
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    http_fields_init(&r->head.fields, array, COUNT_OF(array));
    ptrdiff_t got = h1_parse_response(copy, n, before, limits, method, r);
    free(copy);
    return got;
}

static void test_good(void **state)
{
    const struct h1_limits limits = h1_limits_default();
    (void)state;
    for (size_t i = 0; i < COUNT_OF(goods); i++) {
        const struct good *g = &goods[i];
        size_t n = strlen(g->text);
        for (unsigned simd = 0; simd < H1_SIMD_COUNT; simd++) {
            struct h1_response r;
            if (!h1_simd_select((enum h1_simd)simd)) {
                continue;
            }
            for (size_t cut = 0; cut < n; cut++) {
                assert_int_equal(parse(g->text, cut, 0, g->method, &limits, &r), ERR_AGAIN);
                assert_int_equal(parse(g->text, n, cut, g->method, &limits, &r), (ptrdiff_t)n);
            }
            if (r.head.status != g->status || r.framing != g->framing ||
                r.content_length != g->length || r.keep_alive != g->keep_alive) {
                fail_msg("case %zu: %s", i, g->text);
            }
            assert_int_equal(r.upgrade.n, g->status == 101 ? strlen("websocket") : 0);
        }
    }
    h1_simd_select(h1_simd_best());
}

/* A cut may hide the fault, but never turn it into another one or into success. */
static void test_bad(void **state)
{
    const struct h1_limits limits = h1_limits_default();
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bads); i++) {
        const struct bad *b = &bads[i];
        size_t n = strlen(b->text);
        for (unsigned simd = 0; simd < H1_SIMD_COUNT; simd++) {
            struct h1_response r;
            if (!h1_simd_select((enum h1_simd)simd)) {
                continue;
            }
            for (size_t cut = 0; cut <= n; cut++) {
                ptrdiff_t got = parse(b->text, cut, 0, HTTP_GET, &limits, &r);
                if (got == ERR_AGAIN && cut < n) {
                    continue;
                }
                if (got >= 0 || got == ERR_AGAIN || r.reject != b->reason) {
                    fail_msg("case %zu cut at %zu: %td, %s", i, cut, got,
                             h1_reject_name(r.reject).p);
                }
            }
        }
    }
    h1_simd_select(h1_simd_best());
}

/* A NUL is not in the tables, whose texts end with one. */
static void test_nul(void **state)
{
    static const char text[] = S "A: b\0c\r\n\r\n";
    const struct h1_limits limits = h1_limits_default();
    struct h1_response r;
    (void)state;
    assert_int_equal(parse(text, sizeof(text) - 1, 0, HTTP_GET, &limits, &r), ERR_SYNTAX);
    assert_int_equal(r.reject, H1_REJECT_FIELD_VALUE);
}

static void test_limits(void **state)
{
    static const char text[] = S "A: b\r\nC: d\r\n\r\n";
    struct h1_limits limits = h1_limits_default();
    struct h1_response r;
    (void)state;
    limits.field_count_max = 1;
    assert_int_equal(parse(text, sizeof(text) - 1, 0, HTTP_GET, &limits, &r), ERR_LIMIT);
    assert_int_equal(r.reject, H1_REJECT_FIELD_COUNT);
    limits.field_count_max = 2;
    limits.head_bytes_max = sizeof(text) - 2;
    assert_int_equal(parse(text, sizeof(text) - 1, 0, HTTP_GET, &limits, &r), ERR_LIMIT);
    assert_int_equal(r.reject, H1_REJECT_HEAD_LONG);
    limits.head_bytes_max = sizeof(text) - 1;
    assert_int_equal(parse(text, sizeof(text) - 1, 0, HTTP_GET, &limits, &r), sizeof(text) - 1);
}

static void test_request(void **state)
{
    struct http_field array[2];
    struct http_fields fields;
    struct buf out;
    (void)state;
    http_fields_init(&fields, array, 2);
    assert_int_equal(http_fields_add(&fields, STR("host"), STR("a")), ERR_OK);
    assert_int_equal(http_fields_add(&fields, STR("x-y"), STR("")), ERR_OK);
    buf_init(&out, 0);
    assert_int_equal(h1_write_request(&out, STR("GET"), STR("/a?b"), &fields), ERR_OK);
    assert_memory_equal(out.p, "GET /a?b HTTP/1.1\r\nHost: a\r\nx-y: \r\n", out.n);
    size_t n = out.n;
    assert_int_equal(h1_write_request(&out, STR("G T"), STR("/"), &fields), ERR_SYNTAX);
    assert_int_equal(h1_write_request(&out, STR("GET"), STR(""), &fields), ERR_SYNTAX);
    assert_int_equal(h1_write_request(&out, STR("GET"), STR("/ "), &fields), ERR_SYNTAX);
    assert_int_equal(h1_write_request(&out, STR("GET"), STR("/\r\nA: b"), &fields), ERR_SYNTAX);
    assert_int_equal(h1_write_request(&out, STR("GET"), STR("/\xc3\xa9"), &fields), ERR_SYNTAX);
    array[1].value = STR("a\r\nb");
    assert_int_equal(h1_write_request(&out, STR("GET"), STR("/"), &fields), ERR_SYNTAX);
    assert_int_equal(out.n, n);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),   cmocka_unit_test(test_bad),     cmocka_unit_test(test_nul),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
