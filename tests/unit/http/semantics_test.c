/* SPDX-License-Identifier: Apache-2.0 */
/* Dates, entity tags, conditions, ranges, negotiation and media types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/mem.h"
#include "http/conditional.h"
#include "http/date.h"
#include "http/etag.h"
#include "http/media_type.h"
#include "http/negotiate.h"
#include "http/range.h"

#define NOV94 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define NOW 1800000000  /* 2027 */

static void test_dates(void **state)
{
    (void)state;
    static const char *const good[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                       "Sunday, 06-Nov-94 08:49:37 GMT",
                                       "Sun Nov  6 08:49:37 1994"};
    static const char *const bad[] = {"",
                                      "Sun",
                                      "Sun, 6 Nov 1994 08:49:37 GMT",
                                      "Sun, 06 nov 1994 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 08:49:37 UTC",
                                      "Sun, 06 Nov 1994 08:49:37 GMT ",
                                      "Sun, 06 Nov 1994 08:49 GMT",
                                      "Xxx, 06 Nov 1994 08:49:37 GMT",
                                      "Sun, 31 Feb 1994 08:49:37 GMT",
                                      "Sun, 29 Feb 1900 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 24:00:00 GMT",
                                      "Sun, 06 Nov 1994 08:60:37 GMT",
                                      "Sun, 00 Nov 1994 08:49:37 GMT",
                                      "784111777",
                                      "0"};
    int64_t t;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_int_equal(http_date_parse(str_of(good[i]), NOW, &t), ERR_OK);
        assert_int_equal(t, NOV94);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_not_equal(http_date_parse(str_of(bad[i]), NOW, &t), ERR_OK);
    }
    assert_int_equal(http_date_parse(STR("Tue, 29 Feb 2000 00:00:00 GMT"), NOW, &t), ERR_OK);
    assert_int_equal(t, 951782400);
    assert_int_equal(http_date_parse(STR("Monday, 01-Jan-77 00:00:00 GMT"), NOW, &t), ERR_OK);
    assert_int_equal(t, 3376684800); /* 2077: 50 years ahead */
    assert_int_equal(http_date_parse(STR("Monday, 01-Jan-78 00:00:00 GMT"), NOW, &t), ERR_OK);
    assert_int_equal(t, 252460800); /* 1978 */
    /* Against the C library over 400 years, and back. */
    for (int64_t s = -6000000000; s < 7000000000; s += 12345679) {
        char ours[HTTP_DATE_BYTES], theirs[64];
        struct tm tm;
        time_t clock = (time_t)s;
        assert_non_null(gmtime_r(&clock, &tm));
        size_t n = strftime(theirs, sizeof(theirs), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        http_date_format(s, ours);
        assert_int_equal(n, HTTP_DATE_BYTES);
        assert_memory_equal(ours, theirs, n);
        assert_int_equal(http_date_parse(str_make(ours, n), NOW, &t), ERR_OK);
        assert_int_equal(t, s);
    }
    char out[HTTP_DATE_BYTES];
    http_date_format(INT64_MAX, out);
    assert_memory_equal(out, "Fri, 31 Dec 9999 23:59:59 GMT", HTTP_DATE_BYTES);
    http_date_format(INT64_MIN, out);
    assert_memory_equal(out, "Sat, 01 Jan 0000 00:00:00 GMT", HTTP_DATE_BYTES);
}

static void test_etags(void **state)
{
    (void)state;
    char out[HTTP_ETAG_BYTES_MAX];
    struct http_etag_source source = {.mtime_ns = 0x10, .size = 0, .inode = 0xab};
    assert_true(str_eq(http_etag_make(&source, out), STR("\"10-0-ab\"")));
    source = (struct http_etag_source){-1, UINT64_MAX, UINT64_MAX, STR("identity"), true};
    struct str longest = http_etag_make(&source, out);
    assert_true(longest.n <= HTTP_ETAG_BYTES_MAX && str_starts_with(longest, STR("W/\"ffff")));
    struct http_etag a, b;
    assert_int_equal(http_etag_parse(longest, &a), ERR_OK);
    assert_true(a.is_weak);
    static const char *const bad[] = {"", "a", "\"", "\"a", "w/\"a\"", "W/a", "\"a\" ", "\"a b\""};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(http_etag_parse(str_of(bad[i]), &a), ERR_SYNTAX);
    }
    assert_int_equal(http_etag_parse(STR("W/\"a\""), &a), ERR_OK);
    assert_int_equal(http_etag_parse(STR("\"a\""), &b), ERR_OK);
    assert_true(http_etag_matches_weakly(&a, &b) && !http_etag_matches_strongly(&a, &b));
    assert_true(http_etag_matches_strongly(&b, &b) && !http_etag_matches_strongly(&a, &a));
    struct str list = STR(" \"a,b\" ,, W/\"\" ");
    assert_int_equal(http_etag_next(&list, &a), ERR_OK);
    assert_true(str_eq(a.opaque, STR("\"a,b\"")));
    assert_int_equal(http_etag_next(&list, &a), ERR_OK);
    assert_true(a.is_weak);
    assert_int_equal(http_etag_next(&list, &a), ERR_NOT_FOUND);
}

#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define EXACT "Sun, 06 Nov 1994 08:49:37 GMT"
#define GO HTTP_CONDITION_PROCEED
#define NM HTTP_CONDITION_NOT_MODIFIED
#define PF HTTP_CONDITION_FAILED

static const struct {
    enum http_method method;
    const char *match, *unmodified, *none, *modified;
    enum http_condition result;
} conditions[] = {
    {HTTP_GET, NULL, NULL, NULL, NULL, GO},
    {HTTP_PUT, "\"v\"", NULL, NULL, NULL, GO},
    {HTTP_PUT, "\"x\", \"v\"", NULL, NULL, NULL, GO},
    {HTTP_PUT, "\"x\"", NULL, NULL, NULL, PF},
    {HTTP_PUT, "W/\"v\"", NULL, NULL, NULL, PF},
    {HTTP_PUT, "*", NULL, NULL, NULL, GO},
    {HTTP_PUT, "v", NULL, NULL, NULL, PF},
    {HTTP_PUT, "\"v\"", BEFORE, NULL, NULL, GO},
    {HTTP_PUT, NULL, BEFORE, NULL, NULL, PF},
    {HTTP_PUT, NULL, EXACT, NULL, NULL, GO},
    {HTTP_PUT, NULL, "yesterday", NULL, NULL, GO},
    {HTTP_GET, NULL, NULL, "\"v\"", NULL, NM},
    {HTTP_HEAD, NULL, NULL, "W/\"v\"", NULL, NM},
    {HTTP_GET, NULL, NULL, "\"x\",W/\"v\"", NULL, NM},
    {HTTP_GET, NULL, NULL, "*", NULL, NM},
    {HTTP_PUT, NULL, NULL, "*", NULL, PF},
    {HTTP_POST, NULL, NULL, "\"v\"", NULL, PF},
    {HTTP_GET, NULL, NULL, "\"x\"", EXACT, GO},
    {HTTP_GET, NULL, NULL, "v", NULL, GO},
    {HTTP_GET, NULL, NULL, NULL, EXACT, NM},
    {HTTP_GET, NULL, NULL, NULL, BEFORE, GO},
    {HTTP_POST, NULL, NULL, NULL, EXACT, GO},
    {HTTP_GET, NULL, NULL, NULL, "0", GO},
    {HTTP_GET, "\"v\"", NULL, "\"v\"", NULL, NM},
    {HTTP_GET, "\"x\"", NULL, "\"v\"", NULL, PF},
};

static void add(struct http_fields *f, enum http_field_id id, const char *value)
{
    if (value) {
        assert_int_equal(http_fields_add_id(f, id, str_of(value)), ERR_OK);
    }
}

static void test_conditions(void **state)
{
    (void)state;
    struct http_validators current = {STR("\"v\""), NOV94, true, true}, none = {0};
    struct http_field v[4];
    for (size_t i = 0; i < COUNT_OF(conditions); i++) {
        struct request_head head = {.method = conditions[i].method};
        http_fields_init(&head.fields, v, 4);
        add(&head.fields, HTTP_FIELD_IF_MATCH, conditions[i].match);
        add(&head.fields, HTTP_FIELD_IF_UNMODIFIED_SINCE, conditions[i].unmodified);
        add(&head.fields, HTTP_FIELD_IF_NONE_MATCH, conditions[i].none);
        add(&head.fields, HTTP_FIELD_IF_MODIFIED_SINCE, conditions[i].modified);
        if (http_condition_check(&head, &current, NOW) != conditions[i].result) {
            fail_msg("condition %zu", i);
        }
        /* Nothing is there: only If-Match can fail. */
        assert_int_equal(http_condition_check(&head, &none, NOW), conditions[i].match ? PF : GO);
    }
}

static void test_if_range(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool matches;
    } cases[] = {{NULL, true},  {"\"v\"", true}, {"W/\"v\"", false}, {"\"x\"", false},
                 {EXACT, true}, {BEFORE, false}, {"x", false},       {"\"v\", \"x\"", false}};
    struct http_validators current = {STR("\"v\""), NOV94, true, true};
    struct http_field v[1];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct request_head head = {.method = HTTP_GET};
        http_fields_init(&head.fields, v, 1);
        add(&head.fields, HTTP_FIELD_IF_RANGE, cases[i].value);
        assert_int_equal(http_if_range_matches(&head, &current, NOW), cases[i].matches);
        if (cases[i].value && strcmp(cases[i].value, EXACT) == 0) {
            assert_false(http_if_range_matches(&head, &current, NOV94));
        }
    }
}

static const struct {
    const char *value;
    uint64_t size;
    enum http_range_result result;
    const char *ranges;
} ranges_cases[] = {
    {"bytes=0-4", 10, HTTP_RANGE_PARTIAL, "0+5 "},
    {"BYTES=5-", 10, HTTP_RANGE_PARTIAL, "5+5 "},
    {"bytes=-3", 10, HTTP_RANGE_PARTIAL, "7+3 "},
    {"bytes=-30", 10, HTTP_RANGE_PARTIAL, "0+10 "},
    {"bytes=0-99999999999999999999999", 10, HTTP_RANGE_PARTIAL, "0+10 "},
    {"bytes=0-0, 2-3 ,, 9-", 10, HTTP_RANGE_PARTIAL, "0+1 2+2 9+1 "},
    {"bytes=9-9,0-0", 10, HTTP_RANGE_PARTIAL, "9+1 0+1 "},
    {"bytes=0-1,50-60", 10, HTTP_RANGE_PARTIAL, "0+2 "},
    {"bytes=10-", 10, HTTP_RANGE_UNSATISFIABLE, ""},
    {"bytes=-0", 10, HTTP_RANGE_UNSATISFIABLE, ""},
    {"bytes=0-", 0, HTTP_RANGE_UNSATISFIABLE, ""},
    {"bytes=99999999999999999999999-", 10, HTTP_RANGE_UNSATISFIABLE, ""},
    {"bytes=5-4", 10, HTTP_RANGE_WHOLE, ""},
    {"bytes=", 10, HTTP_RANGE_WHOLE, ""},
    {"bytes=,", 10, HTTP_RANGE_WHOLE, ""},
    {"bytes=a-b", 10, HTTP_RANGE_WHOLE, ""},
    {"bytes=--5", 10, HTTP_RANGE_WHOLE, ""},
    {"bytes=+1-5", 10, HTTP_RANGE_WHOLE, ""},
    {"bytes 0-5", 10, HTTP_RANGE_WHOLE, ""},
    {"lines=0-5", 10, HTTP_RANGE_WHOLE, ""},
    {"bytes=0-9,0-0", 10, HTTP_RANGE_WHOLE, ""},
    {"bytes=0-,0-,0-", 10, HTTP_RANGE_WHOLE, ""},
    {"bytes=0-9,5-9,6-9", 100, HTTP_RANGE_PARTIAL, "0+10 5+5 6+4 "},
    {"bytes=0-9,5-9,6-9,7-9", 100, HTTP_RANGE_WHOLE, ""},
    {"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-30",
     100, HTTP_RANGE_PARTIAL,
     "0+1 2+1 4+1 6+1 8+1 10+1 12+1 14+1 16+1 18+1 20+1 22+1 24+1 26+1 28+1 30+1 "},
    {"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-30,"
     "32-32",
     100, HTTP_RANGE_WHOLE, ""},
};

static void test_ranges(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(ranges_cases); i++) {
        struct http_ranges r = {0};
        char text[256] = "";
        int n = 0;
        enum http_range_result got =
            http_range_parse(str_of(ranges_cases[i].value), ranges_cases[i].size, &r);
        for (unsigned j = 0; j < r.n; j++) {
            n += snprintf(text + n, sizeof(text) - (size_t)n, "%llu+%llu ",
                          (unsigned long long)r.v[j].offset, (unsigned long long)r.v[j].n);
        }
        if (got != ranges_cases[i].result || strcmp(text, ranges_cases[i].ranges) != 0) {
            fail_msg("%s: %d %s", ranges_cases[i].value, (int)got, text);
        }
    }
    char out[HTTP_CONTENT_RANGE_BYTES_MAX];
    struct http_range range = {UINT64_MAX - 1, 1};
    assert_true(str_eq(http_content_range(NULL, 10, out), STR("bytes */10")));
    assert_true(
        str_eq(http_content_range(&range, UINT64_MAX, out),
               STR("bytes 18446744073709551614-18446744073709551614/18446744073709551615")));
    struct http_multipart m = {STR("B"), STR("a/b"), 10};
    struct http_ranges two = {2, {{0, 1}, {8, 2}}};
    struct buf b;
    buf_init(&b, 0);
    http_multipart_part(&m, &two.v[0], true, &b);
    buf_add_str(&b, STR("x"));
    http_multipart_part(&m, &two.v[1], false, &b);
    buf_add_str(&b, STR("yz"));
    http_multipart_end(&m, &b);
    assert_true(str_eq(buf_str(&b),
                       STR("--B\r\nContent-Type: a/b\r\nContent-Range: bytes 0-0/10\r\n\r\nx"
                           "\r\n--B\r\nContent-Type: a/b\r\nContent-Range: bytes 8-9/10\r\n\r\nyz"
                           "\r\n--B--\r\n")));
    assert_int_equal(http_multipart_bytes(&m, &two), b.n);
    buf_done(&b);
}

static void test_weights(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int weight;
    } cases[] = {{"0", 0},   {"1", 1000}, {"0.5", 500}, {"0.001", 1},  {"1.000", 1000},
                 {"0.", 0},  {"", -1},    {"2", -1},    {"1.001", -1}, {"0.0001", -1},
                 {"-1", -1}, {".5", -1},  {"0,5", -1},  {"0.5a", -1},  {"1.0000", -1}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        unsigned weight = 0;
        enum err e = http_qvalue_parse(str_of(cases[i].text), &weight);
        assert_int_equal(e == ERR_OK ? (int)weight : -1, cases[i].weight);
    }
}

static void test_negotiation(void **state)
{
    (void)state;
    static const struct str codings[] = {{"zstd", 4}, {"br", 2}, {"gzip", 4}};
    static const struct {
        const char *value;
        int choice;
    } encodings[] = {{NULL, -1},
                     {"", -1},
                     {"gzip", 2},
                     {"gzip, deflate, br, zstd", 0},
                     {"gzip;q=1.0, br;q=0.5", 2},
                     {"GZIP ; Q=0.3", 2},
                     {"x-gzip", 2},
                     {"*", 0},
                     {"*;q=0.1, zstd;q=0", 1},
                     {"br;q=0", -1},
                     {"identity", -1},
                     {"identity;q=1, gzip;q=0.5", -1},
                     {"identity;q=0.5, gzip;q=0.5", 2},
                     {"identity;q=0", -2},
                     {"*;q=0", -2},
                     {"*;q=0, identity", -1},
                     {"*;q=0, br", 1},
                     {"gzip;q=x", -1},
                     {"deflate", -1}};
    static const struct str types[] = {{"text/html", 9}, {"application/json", 16}};
    static const struct {
        const char *value;
        int choice;
    } accepts[] = {{NULL, 0},
                   {"*/*", 0},
                   {"application/json", 1},
                   {"application/*;q=0.5, text/html;q=0.4", 1},
                   {"text/html, */*;q=0.1", 0},
                   {"text/html;q=0, */*", 1},
                   {"application/json;charset=\"a,b;q=0\";q=0.9, text/html;q=0.1", 1},
                   {"image/png", -1},
                   {"TEXT/HTML", 0},
                   {"", -1}};
    struct http_field v[1];
    struct http_fields f;
    for (size_t i = 0; i < COUNT_OF(encodings); i++) {
        http_fields_init(&f, v, 1);
        add(&f, HTTP_FIELD_ACCEPT_ENCODING, encodings[i].value);
        if (http_accept_encoding(&f, codings, 3) != encodings[i].choice) {
            fail_msg("%s: %d", encodings[i].value, http_accept_encoding(&f, codings, 3));
        }
    }
    for (size_t i = 0; i < COUNT_OF(accepts); i++) {
        http_fields_init(&f, v, 1);
        add(&f, HTTP_FIELD_ACCEPT, accepts[i].value);
        if (http_accept_media_type(&f, types, 2) != accepts[i].choice) {
            fail_msg("%s: %d", accepts[i].value, http_accept_media_type(&f, types, 2));
        }
    }
}

static void test_media_types(void **state)
{
    (void)state;
    struct arena a;
    struct media_types t;
    arena_init(&a, 4096, 0);
    struct str text = STR("# comment\r\ntext/x a A2\r\nbad a\nno/ext\n text/y\tb  a # c\ntext/z b");
    assert_int_equal(media_types_load(&a, text, &t), ERR_OK);
    assert_int_equal(t.n, 3);
    assert_true(str_eq(media_types_find(&t, STR("/d.d/x.A")), STR("text/x")));
    assert_true(str_eq(media_types_find(&t, STR("x.a2")), STR("text/x")));
    assert_true(str_eq(media_types_find(&t, STR("x.a.b")), STR("text/y")));
    static const char *const unknown[] = {"", "a", ".", "x.", "x.c", "x.a/b", "x.aa"};
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        assert_null(media_types_find(&t, str_of(unknown[i])).p);
    }
    assert_int_equal(media_types_load(&a, media_types_builtin(), &t), ERR_OK);
    assert_true(str_eq(media_types_find(&t, STR("index.HTML")), STR("text/html")));
    assert_true(str_eq(media_types_find(&t, STR("a.tar.gz")), STR("application/gzip")));
    assert_int_equal(media_types_load(&a, STR(""), &t), ERR_OK);
    assert_null(media_types_find(&t, STR("a.b")).p);
    arena_done(&a);
    /* Each of the two allocations fails once. */
    for (unsigned i = 1; i <= 2; i++) {
        arena_init(&a, 256, 0);
        (void)mem_test_fail_at(i);
        assert_int_equal(media_types_load(&a, media_types_builtin(), &t), ERR_NOMEM);
        (void)mem_test_fail_at(0);
        arena_done(&a);
    }
    static const char *const squeezed[] = {
        "text/html; charset=utf-8", "application/json", "a/b+xml", "image/svg+xml",
        "application/wasm",         "font/ttf"};
    static const char *const packed[] = {
        "image/png", "application/zip",         "font/woff2", "video/mp4", "text/event-stream",
        "",          "application/octet-stream"};
    for (size_t i = 0; i < COUNT_OF(squeezed); i++) {
        assert_true(media_type_is_compressible(str_of(squeezed[i])));
    }
    for (size_t i = 0; i < COUNT_OF(packed); i++) {
        assert_false(media_type_is_compressible(str_of(packed[i])));
    }
    assert_true(media_type_has_charset(STR("text/plain")));
    assert_true(media_type_has_charset(STR("application/javascript")));
    assert_false(media_type_has_charset(STR("application/json")));
    assert_false(media_type_has_charset(STR("image/png")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates),       cmocka_unit_test(test_etags),
        cmocka_unit_test(test_conditions),  cmocka_unit_test(test_if_range),
        cmocka_unit_test(test_ranges),      cmocka_unit_test(test_weights),
        cmocka_unit_test(test_negotiation), cmocka_unit_test(test_media_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
