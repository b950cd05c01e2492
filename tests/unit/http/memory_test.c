/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that writes into a buffer, behind any number of bytes, with each allocation failing:
 * it says so, and what stood there before stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "http/h1_chunked.h"
#include "http/h1_write.h"
#include "http/range.h"
#include "http/target.h"

#define BEFORE_MAX 600

static struct http_field array[4];
static struct http_fields fields;

static enum err write_response(struct buf *out)
{
    const struct response_head head = {404, fields};
    return h1_write_response(out, &head);
}

static enum err write_interim(struct buf *out)
{
    return h1_write_interim(out, 103, &fields);
}

static enum err write_request(struct buf *out)
{
    return h1_write_request(out, STR("GET"), STR("/a?b"), &fields);
}

static enum err write_chunk_end(struct buf *out)
{
    return h1_chunk_end(out, &fields);
}

static enum err write_multipart(struct buf *out)
{
    static const struct http_range ranges[] = {{0, 1}, {8, 2}};
    static const struct http_multipart m = {{"boundary", 8}, {"text/plain", 10}, 10};
    http_multipart_part(&m, &ranges[0], true, out);
    http_multipart_part(&m, &ranges[1], false, out);
    http_multipart_end(&m, out);
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}

static enum err write_path(struct buf *out)
{
    http_path_encode(STR("/some path/with \"quotes\" and more text than one block of memory holds, "
                         "so that it has to grow in the middle of the way/\xc3\xa9%25%2F"),
                     out);
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}

static const struct {
    enum err (*write)(struct buf *out);
    bool is_whole_or_nothing;
} writers[] = {
    {write_response, true},  {write_interim, true},    {write_request, true},
    {write_chunk_end, true}, {write_multipart, false}, {write_path, false},
};

static void begin(struct buf *b, size_t before)
{
    buf_init(b, 0);
    for (size_t i = 0; i < before; i++) {
        buf_add_char(b, (char)('a' + i % 26));
    }
}

/* Returns how many allocations the writer made. */
static unsigned long sweep(size_t writer, size_t before)
{
    struct buf right;
    unsigned long count = 0;
    begin(&right, before);
    for (unsigned long n = 0; n <= count; n++) {
        struct buf b;
        begin(&b, before);
        (void)mem_test_fail_at(n);
        enum err e = writers[writer].write(&b);
        unsigned long made = mem_test_fail_at(0);
        if (n == 0) {
            count = made;
            assert_int_equal(e, ERR_OK);
            assert_true(b.n > before);
            assert_memory_equal(b.p, right.p, before);
            buf_clear(&right);
            buf_add_str(&right, buf_str(&b));
        } else {
            assert_int_equal(e, ERR_NOMEM);
            assert_true(b.n < right.n);
            assert_true(!writers[writer].is_whole_or_nothing || b.n == before);
            assert_memory_equal(b.p ? b.p : "", right.p, b.n);
        }
        buf_done(&b);
    }
    buf_done(&right);
    return count;
}

static void test_no_memory(void **state)
{
    (void)state;
    http_fields_init(&fields, array, COUNT_OF(array));
    assert_int_equal(http_fields_add(&fields, STR("Link"), STR("</a.css>; rel=preload")), ERR_OK);
    assert_int_equal(http_fields_add(&fields, STR("X-Long"),
                                     STR("a value that, with its name and what stands around it, "
                                         "needs more than the first block of the buffer, twice")),
                     ERR_OK);
    for (size_t i = 0; i < COUNT_OF(writers); i++) {
        unsigned long count = 0;
        for (size_t before = 0; before < BEFORE_MAX; before++) {
            count += sweep(i, before);
        }
        assert_true(count > 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
