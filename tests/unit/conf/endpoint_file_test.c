/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "conf/endpoint_file.h"

/* The list as text: "url*weight!zone " with ~ before backups; or the line and sentence of a fault.
 */
static enum err parse(const char *text, struct buf *out)
{
    struct arena arena;
    struct endpoint_list list = {NULL, 0};
    struct diag_list diags;
    arena_init(&arena, 1024, 0);
    diag_list_init(&diags);
    enum err e = endpoint_file_parse(&arena, "app.list", str_of(text), &list, &diags);
    for (size_t i = 0; !e && i < list.count; i++) {
        const struct endpoint_settings *one = &list.items[i];
        buf_printf(out, "%s" STR_FMT "*%d!" STR_FMT " ", one->backup ? "~" : "", STR_ARG(one->url),
                   (int)one->weight, STR_ARG(one->zone.p ? one->zone : STR("")));
    }
    if (e == ERR_CONFIG) {
        assert_true(diags.count > 0);
        buf_printf(out, "%u: " STR_FMT, diags.items[0].line, STR_ARG(diags.items[0].sentence));
    }
    diag_list_done(&diags);
    arena_done(&arena);
    buf_add_char(out, '\0');
    return e;
}

static const struct {
    const char *text, *want;
    enum err e;
} ROWS[] = {
    {"", "", ERR_OK},
    {"\n  \n# nobody\n", "", ERR_OK},
    {"http://a:1\nunix:/b # here\n\n  https://c  \n", "http://a:1*1! unix:/b*1! https://c*1! ",
     ERR_OK},
    {"http://a\r\nhttp://b\r\n", "http://a*1! http://b*1! ", ERR_OK},
    {"# first\n- http://a\n- {url: \"http://b\", weight: 3, backup: true, zone: z}\n",
     "http://a*1! ~http://b*3!z ", ERR_OK},
    {"[http://a,\n http://b]", "http://a*1! http://b*1! ", ERR_OK},
    {"http://a\nhttp://\n",
     "2: url: an address or a name of letters, digits and hyphens is due here", ERR_CONFIG},
    {"http://a\n\nunix:/b\x01\n", "3: an address holds printable ASCII alone", ERR_CONFIG},
    {"unix:/a b\n", "1: an address holds printable ASCII alone", ERR_CONFIG},
    {"- {weight: 2}\n", "2: an endpoint needs the key \"url\"", ERR_CONFIG},
    {"[{url: http://a, weight: 0}]", "1: weight: this is less than is allowed", ERR_CONFIG},
};

static void test_rows(void **state)
{
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        struct buf out;
        buf_init(&out, 0);
        assert_int_equal(parse(ROWS[i].text, &out), ROWS[i].e);
        assert_string_equal(out.p, ROWS[i].want);
        buf_done(&out);
    }
    (void)state;
}

static void test_allocations(void **state)
{
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        enum err e = ERR_NOMEM;
        for (unsigned long n = 1; e == ERR_NOMEM; n++) {
            struct buf out;
            buf_init(&out, 0);
            assert_true(buf_reserve(&out, 4096));
            mem_test_fail_at(n);
            e = parse(ROWS[i].text, &out);
            mem_test_fail_at(0);
            buf_done(&out);
            assert_true(n < 1000);
        }
        assert_int_equal(e, ROWS[i].e);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
