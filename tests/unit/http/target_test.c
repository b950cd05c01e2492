/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "http/target.h"

static const struct {
    const char *raw, *path; /* path NULL: refused */
} cases[] = {
    {"/", "/"},
    {"/a/b.html", "/a/b.html"},
    {"/.well-known/x", "/.well-known/x"},
    {"/...", "/..."},
    {"/a.", "/a."},
    {"//", "/"},
    {"//a///b//", "/a/b/"},
    {"/./a/.", "/a/"},
    {"/a/b/..", "/a/"},
    {"/a/b/../", "/a/"},
    {"/a//../b", "/b"},
    {"/a/../b/./c/../d", "/b/d"},
    {"/a/..", "/"},
    {"/%61%2e%7E", "/a.~"},
    {"/a/%2e%2E/b", "/b"},
    {"/a%20b", "/a b"},
    {"/a%3Bx", "/a;x"},
    {"/a;x", "/a;x"},
    {"/%3f%23", "/?#"},
    {"/a%2fb", "/a%2Fb"},
    {"/%252e%252e/", "/%252e%252e/"},
    {"/100%25", "/100%25"},
    {"/%c3%a9", "/\xc3\xa9"},
    {"/\xc3\xa9", "/\xc3\xa9"},
    {"/%f0%9f%98%80", "/\xf0\x9f\x98\x80"},
    {"/img../x", "/img../x"},
    {"", NULL},
    {"a", NULL},
    {"*", NULL},
    {"/..", NULL},
    {"/a/../..", NULL},
    {"/%2e%2e/etc", NULL},
    {"/.%2e/etc", NULL},
    {"/a/..;/b", NULL},
    {"/a/..;x=1/b", NULL},
    {"/a/.;/b", NULL},
    {"/a/..%3b/b", NULL},
    {"/a/..%2fb", NULL},
    {"/a/x%2f..", NULL},
    {"/a/x%2f..;y/b", NULL},
    {"/a\\b", NULL},
    {"/a%5cb", NULL},
    {"/..%5C..", NULL},
    {"/%00", NULL},
    {"/a%0a", NULL},
    {"/a%0D", NULL},
    {"/a%1b", NULL},
    {"/a%7f", NULL},
    {"/%", NULL},
    {"/%4", NULL},
    {"/%zz", NULL},
    {"/%4g", NULL},
    {"/%u0041", NULL},
    {"/%c0%af", NULL},
    {"/%c0%ae%c0%ae", NULL},
    {"/%e0%80%af", NULL},
    {"/%ed%a0%80", NULL},
    {"/%f4%90%80%80", NULL},
    {"/%ff", NULL},
    {"/%c3", NULL},
    {"/%c2%85", NULL},
};

static void test_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[64], again[64];
        struct http_path path, second;
        struct str raw = str_of(cases[i].raw);
        enum err e = http_path_canonical(raw, out, &path);
        if ((e == ERR_OK) != (cases[i].path != NULL) ||
            (e == ERR_OK && !str_eq(path.path, str_of(cases[i].path)))) {
            fail_msg("%s: %s " STR_FMT, cases[i].raw, err_name(e), STR_ARG(path.path));
        }
        if (e == ERR_OK) {
            assert_int_equal(http_path_canonical(path.path, again, &second), ERR_OK);
            assert_ptr_equal(second.path.p, path.path.p);
            assert_int_equal(path.has_encoded_slash, strstr(cases[i].path, "%2F") != NULL);
            assert_true(!str_eq(raw, path.path) || path.path.p == raw.p);
        }
    }
    struct http_path path;
    char out[8];
    assert_int_equal(http_path_canonical(str_make("/a\0b", 4), out, &path), ERR_SYNTAX);
}

static void test_forms(void **state)
{
    (void)state;
    char out[32];
    struct str name;
    struct buf b;
    assert_int_equal(http_path_to_file(STR("/100%25 a"), out, &name), ERR_OK);
    assert_true(str_eq(name, STR("/100% a")));
    assert_int_equal(http_path_to_file(STR("/a%2Fb"), out, &name), ERR_SYNTAX);
    buf_init(&b, 0);
    http_path_encode(STR("/a b?#\xc3\xa9%25%2F;=\"<|"), &b);
    assert_true(str_eq(buf_str(&b), STR("/a%20b%3F%23%C3%A9%25%2F;=%22%3C%7C")));
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_paths), cmocka_unit_test(test_forms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
