/* SPDX-License-Identifier: Apache-2.0 */
/* Records and heads of CGI: what is written is read again, wherever it is cut, and what is wrong is
 * refused at every cut alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "http/cgi_response.h"
#include "http/fcgi.h"

/* ---- the request ---- */

static unsigned u16(const char *p)
{
    return (unsigned)(uint8_t)p[0] << 8 | (uint8_t)p[1];
}

/* The contents of all records of `type`, which must be well-formed; their number. */
static unsigned gather(struct str records, enum fcgi_type type, struct buf *out)
{
    unsigned count = 0;
    while (records.n) {
        assert_true(records.n >= FCGI_HEAD_BYTES);
        size_t n = u16(records.p + 4);
        assert_int_equal(records.p[0], 1);
        assert_int_equal(u16(records.p + 2), 1);
        assert_int_equal(records.p[6], 0);
        assert_true(records.n >= FCGI_HEAD_BYTES + n);
        if (records.p[1] == (char)type) {
            buf_add(out, records.p + FCGI_HEAD_BYTES, n);
            count++;
        }
        records = str_sub(records, FCGI_HEAD_BYTES + n, records.n);
    }
    return count;
}

static void test_begin(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 0);
    fcgi_add_begin(&out, false);
    fcgi_add_begin(&out, true);
    assert_int_equal(out.n, 32);
    assert_memory_equal(out.p, "\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0", 16);
    assert_memory_equal(out.p + 16, "\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0", 16);
    buf_done(&out);
}

static char block[70000];

static size_t take_length(const struct buf *b, size_t *at)
{
    uint8_t first = (uint8_t)b->p[*at];
    if (first < 128) {
        *at += 1;
        return first;
    }
    size_t n =
        ((size_t)first & 127) << 24 | (size_t)(uint8_t)b->p[*at + 1] << 16 | u16(b->p + *at + 2);
    *at += 4;
    return n;
}

static void test_params(void **state)
{
    static const size_t lengths[] = {0, 1, 126, 127, 128, 129, 255, 256, 65400, 65526};
    struct buf out, got;
    struct fcgi_params params;
    (void)state;
    memset(block, 'v', sizeof(block));
    buf_init(&out, 0);
    buf_init(&got, 0);
    fcgi_params_begin(&params, &out);
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        assert_int_equal(fcgi_params_add(&params, STR("NAME"), str_make(block, lengths[i])),
                         ERR_OK);
        assert_int_equal(fcgi_params_add(&params, str_make(block, lengths[i]), STR("")), ERR_OK);
    }
    size_t before = out.n;
    assert_int_equal(fcgi_params_add(&params, STR("NAME"), str_make(block, 65527)), ERR_LIMIT);
    assert_int_equal(fcgi_params_add(&params, str_make(block, 65536), STR("")), ERR_LIMIT);
    assert_int_equal(fcgi_params_add(&params, STR(""), str_make(block, sizeof(block))), ERR_LIMIT);
    assert_int_equal(out.n, before);
    fcgi_params_end(&params);
    assert_memory_equal(out.p + out.n - 8, "\1\4\0\1\0\0\0\0", 8);
    assert_true(gather(buf_str(&out), FCGI_PARAMS, &got) >= 4);
    size_t at = 0;
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        assert_int_equal(take_length(&got, &at), 4);
        assert_int_equal(take_length(&got, &at), lengths[i]);
        assert_memory_equal(got.p + at, "NAME", 4);
        at += 4 + lengths[i];
        assert_int_equal(take_length(&got, &at), lengths[i]);
        assert_int_equal(take_length(&got, &at), 0);
        at += lengths[i];
    }
    assert_int_equal(at, got.n);
    buf_done(&out);
    buf_done(&got);
}

/* No params: the stream is ended once. */
static void test_no_params(void **state)
{
    struct buf out;
    struct fcgi_params params;
    (void)state;
    buf_init(&out, 0);
    fcgi_params_begin(&params, &out);
    fcgi_params_end(&params);
    assert_int_equal(out.n, 8);
    assert_memory_equal(out.p, "\1\4\0\1\0\0\0\0", 8);
    buf_done(&out);
}

static void write_all(struct buf *out)
{
    struct fcgi_params params;
    fcgi_add_begin(out, true);
    fcgi_params_begin(&params, out);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(fcgi_params_add(&params, STR("NAME"), str_make(block, 10000)), ERR_OK);
    }
    fcgi_params_end(&params);
}

static void test_no_memory(void **state)
{
    unsigned long count = 0;
    (void)state;
    for (unsigned long n = 0; n <= count; n++) {
        struct buf out;
        buf_init(&out, 0);
        (void)mem_test_fail_at(n);
        write_all(&out);
        unsigned long made = mem_test_fail_at(0);
        count = n ? count : made;
        assert_true(out.is_failed == (n > 0));
        buf_done(&out);
    }
    assert_true(count > 2);
}

/* ---- the answer ---- */

#define R(type, id, n, padding) "\1" type id n padding "\0"
#define OUT(n, padding) R("\6", "\0\1", n, padding)
#define ERR_(n) R("\7", "\0\1", n, "\0")
#define END_ R("\3", "\0\1", "\0\10", "\0")

struct answer {
    struct str text;
    const char *want; /* each byte behind o or e, the end as !STATUS/APP, ?: refused */
};

static const struct answer answers[] = {
    {STR(OUT("\0\3", "\0") "abc" OUT("\0\0", "\0") END_ "\0\0\0\0\0\0\0\0"), "oaoboc!0/0"},
    {STR(OUT("\0\1", "\3") "axyz" ERR_("\0\1") "e" OUT("\0\1", "\0") "b" END_ "\1\2\3\4\2\0\0\0"),
     "oaeeob!2/16909060"},
    {STR(R("\12", "\0\0", "\0\2", "\1") "nvp" END_ "\0\0\0\0\0\0\0\0"), "!0/0"},
    {STR(R("\13", "\0\0", "\0\0", "\0") END_ "\0\0\0\0\0\0\0\0"), "!0/0"},
    {STR(R("\3", "\0\1", "\0\10", "\2") "\0\0\0\0\0\0\0\0xy"), "!0/0"},
    {STR("\2\6\0\1\0\0\0\0"), "?"},
    {STR(OUT("\0\0", "\0") OUT("\0\0", "\0")), "?"},
    {STR(OUT("\0\0", "\0") OUT("\0\1", "\0")), "?"},
    {STR(ERR_("\0\0") ERR_("\0\1")), "?"},
    {STR(R("\6", "\0\2", "\0\1", "\0")), "?"},
    {STR(R("\6", "\1\1", "\0\1", "\0")), "?"},
    {STR(R("\6", "\0\0", "\0\1", "\0")), "?"},
    {STR(R("\3", "\0\1", "\0\7", "\0")), "?"},
    {STR(R("\3", "\0\1", "\1\10", "\0")), "?"},
    {STR(R("\1", "\0\1", "\0\10", "\0")), "?"},
    {STR(R("\13", "\0\1", "\0\10", "\0")), "?"},
};

/* Reads what is at `p`; a piece of output is taken in two. */
static size_t read_all(struct fcgi_reader *r, const char *p, size_t n, struct buf *log)
{
    size_t at = 0;
    while (!r->is_ended) {
        struct fcgi_piece piece;
        size_t used;
        if (fcgi_read(r, p + at, n - at, &used, &piece) != ERR_OK) {
            buf_add_char(log, '?');
            r->is_ended = true;
            return n;
        }
        at += used;
        if (piece.event == FCGI_EVENT_NONE) {
            assert_int_equal(at, n);
            break;
        }
        if (piece.event == FCGI_EVENT_END) {
            buf_printf(log, "!%u/%u", piece.protocol_status, piece.app_status);
            break;
        }
        assert_true(piece.data.p == p + at && piece.data.n > 0);
        size_t half = (piece.data.n + 1) / 2;
        for (size_t i = 0; i < half; i++) {
            buf_add_char(log, piece.event == FCGI_EVENT_STDOUT ? 'o' : 'e');
            buf_add_char(log, piece.data.p[i]);
        }
        fcgi_take(r, half);
        at += half;
    }
    return at;
}

static void test_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct str text = answers[i].text;
        struct buf whole;
        buf_init(&whole, 0);
        struct fcgi_reader first = {0};
        assert_int_equal(read_all(&first, text.p, text.n, &whole), text.n);
        for (size_t cut = 0; cut <= text.n; cut++) {
            struct fcgi_reader r = {0};
            struct buf log;
            buf_init(&log, 0);
            size_t used = read_all(&r, text.p, cut, &log);
            assert_int_equal(used, cut);
            if (!r.is_ended) {
                (void)read_all(&r, text.p + cut, text.n - cut, &log);
            }
            assert_int_equal(log.n, whole.n);
            assert_memory_equal(log.p, whole.p, whole.n);
            buf_done(&log);
        }
        buf_add_char(&whole, '\0');
        assert_string_equal(whole.p, answers[i].want);
        buf_done(&whole);
    }
}

/* The longest record there is, and one more byte of content than a careless sum would hold. */
static void test_longest(void **state)
{
    static char record[8 + 65535 + 255 + 16];
    struct fcgi_reader r = {0};
    struct fcgi_piece piece;
    size_t used;
    (void)state;
    memcpy(record, "\1\6\0\1\377\377\377\0", 8);
    memset(record + 8, 'x', 65535 + 255);
    memcpy(record + 8 + 65535 + 255, END_ "\0\0\0\0\0\0\0\0", 16);
    assert_int_equal(fcgi_read(&r, record, sizeof(record), &used, &piece), ERR_OK);
    assert_int_equal(used, 8);
    assert_int_equal(piece.data.n, 65535);
    fcgi_take(&r, 65535);
    size_t at = 8 + 65535;
    assert_int_equal(fcgi_read(&r, record + at, sizeof(record) - at, &used, &piece), ERR_OK);
    assert_int_equal(piece.event, FCGI_EVENT_END);
    assert_int_equal(used, 255 + 16);
}

static void test_idle_records(void **state)
{
    struct fcgi_reader r = {0};
    struct fcgi_piece piece;
    size_t used;
    (void)state;
    for (unsigned i = 0; i <= FCGI_IDLE_RECORDS_MAX; i++) {
        assert_int_equal(fcgi_read(&r, "\1\12\0\0\0\0\0\0", 8, &used, &piece),
                         i < FCGI_IDLE_RECORDS_MAX ? ERR_OK : ERR_LIMIT);
    }
}

/* ---- heads of CGI ---- */

struct head {
    const char *text;
    unsigned status; /* 0: refused */
    unsigned fields;
    uint64_t length;
};

static const struct head heads[] = {
    {"Content-Type: a/b\r\n\r\n", 200, 1, CGI_LENGTH_NONE},
    {"Content-Type:a/b\n\n", 200, 1, CGI_LENGTH_NONE},
    {"Status: 404\r\n\r\n", 404, 0, CGI_LENGTH_NONE},
    {"status: 404 Not Found\nX: y\r\n\n", 404, 1, CGI_LENGTH_NONE},
    {"Location: /a\r\n\r\n", 302, 1, CGI_LENGTH_NONE},
    {"Location: http://a/\r\nStatus: 301\r\n\r\n", 301, 1, CGI_LENGTH_NONE},
    {"Content-Length: 12\r\nContent-Type: a/b\r\n\r\n", 200, 2, 12},
    {"X: \r\nX: \r\nContent-Type: a/b\r\n\r\n", 200, 3, CGI_LENGTH_NONE},
    {"\r\n", .status = 0},
    {"\n", .status = 0},
    {"X: y\r\n\r\n", .status = 0},
    {"Status: 199\r\n\r\n", .status = 0},
    {"Status: 600\r\n\r\n", .status = 0},
    {"Status: 20\r\n\r\n", .status = 0},
    {"Status: 200OK\r\n\r\n", .status = 0},
    {"Status:\r\n\r\n", .status = 0},
    {"Status: 200\nStatus: 200\n\n", .status = 0},
    {"Location: /a\nLocation: /a\n\n", .status = 0},
    {"Location: \n\n", .status = 0},
    {"Content-Type: a\nContent-Type: a\n\n", .status = 0},
    {"Content-Type: a\nContent-Length: 1\nContent-Length: 1\n\n", .status = 0},
    {"Content-Type: a\nContent-Length: 1x\n\n", .status = 0},
    {"Content-Type: a\nContent-Length: 18446744073709551615\n\n", .status = 0},
    {"Content-Type: a\nTransfer-Encoding: chunked\n\n", .status = 0},
    {"Content-Type: a\n b\n\n", .status = 0},
    {"Content-Type : a\n\n", .status = 0},
    {"Content-Type: a\rb\n\n", .status = 0},
    {"Content-Type: a\r\r\n\r\n", .status = 0},
    {"no field\n\n", .status = 0},
    {": a\n\n", .status = 0},
    {"A: 1\nB: 2\nC: 3\nD: 4\nE: 5\nContent-Type: a\n\n", .status = 0},
};

static void test_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        struct http_field array[4];
        struct cgi_response r;
        struct str text = str_of(heads[i].text);
        for (size_t cut = 0; cut < text.n; cut++) {
            cgi_scan_state scan = 0;
            bool is_whole;
            assert_int_equal(cgi_scan(&scan, text.p, cut, &is_whole), cut);
            assert_false(is_whole);
            assert_int_equal(cgi_scan(&scan, text.p + cut, text.n - cut, &is_whole), text.n - cut);
            assert_true(is_whole);
        }
        http_fields_init(&r.head.fields, array, COUNT_OF(array));
        enum err e = cgi_parse(text, &r);
        if ((e == ERR_OK) != (heads[i].status != 0)) {
            fail_msg("%s: %s", heads[i].text, err_name(e));
        }
        assert_true((r.fault == NULL) == (e == ERR_OK));
        if (e == ERR_OK) {
            assert_int_equal(r.head.status, heads[i].status);
            assert_int_equal(r.head.fields.n, heads[i].fields);
            assert_int_equal(r.content_length, heads[i].length);
        }
    }
}

/* What stands behind the head is not of it. */
static void test_scan_stops(void **state)
{
    cgi_scan_state scan = 0;
    bool is_whole;
    (void)state;
    assert_int_equal(cgi_scan(&scan, "A: b\r\n\r\n\r\nbody", 14, &is_whole), 8);
    assert_true(is_whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begin),        cmocka_unit_test(test_params),
        cmocka_unit_test(test_no_params),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_read),         cmocka_unit_test(test_longest),
        cmocka_unit_test(test_idle_records), cmocka_unit_test(test_heads),
        cmocka_unit_test(test_scan_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
