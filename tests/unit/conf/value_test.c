/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/value.h"

typedef const char *(*number_fn)(struct str text, int64_t *ret, size_t *ret_at);

static void expect_number(number_fn parse, const char *text, int64_t wanted)
{
    int64_t value = -1;
    size_t at = 0;
    const char *fault = parse(str_of(text), &value, &at);
    if (fault != NULL || value != wanted) {
        fail_msg("%s: %s, %lld", text, fault != NULL ? fault : "-", (long long)value);
    }
}

static void expect_no_number(number_fn parse, const char *text)
{
    int64_t value = -1;
    size_t at = 0;
    if (parse(str_of(text), &value, &at) == NULL) {
        fail_msg("%s was taken as %lld", text, (long long)value);
    }
    assert_int_equal(value, -1);
    assert_true(at <= strlen(text));
}

static void test_numbers(void **state)
{
    (void)state;
    expect_number(value_parse_int, "0", 0);
    expect_number(value_parse_int, "-12", -12);
    expect_no_number(value_parse_int, "0644");
    expect_no_number(value_parse_int, "1_000");
    expect_no_number(value_parse_int, "22:22");
    expect_no_number(value_parse_int, "");
    expect_no_number(value_parse_int, "9999999999999999999");
    expect_number(value_parse_duration, "500ms", 500);
    expect_number(value_parse_duration, "60s", 60000);
    expect_number(value_parse_duration, "7d", 7 * 86400000LL);
    expect_no_number(value_parse_duration, "60");
    expect_no_number(value_parse_duration, "60 s");
    expect_no_number(value_parse_duration, "-1s");
    expect_no_number(value_parse_duration, "99999999999d");
    expect_number(value_parse_size, "32KB", 32000);
    expect_number(value_parse_size, "32KiB", 32768);
    expect_number(value_parse_size, "0B", 0);
    expect_no_number(value_parse_size, "32k");
    expect_no_number(value_parse_size, "99999999TB");
    expect_number(value_parse_rate, "240B/s", 240);
    expect_no_number(value_parse_rate, "240B");
    expect_number(value_parse_share, "100%", 1000000);
    expect_number(value_parse_share, "0.25%", 2500);
    expect_no_number(value_parse_share, "100.1%");
    expect_no_number(value_parse_share, "1.%");
    expect_no_number(value_parse_share, "10");
}

static void expect_print(void (*print)(int64_t value, struct buf *out), int64_t value,
                         const char *wanted)
{
    struct buf b;
    buf_init(&b, 0);
    print(value, &b);
    buf_add_char(&b, '\0');
    assert_string_equal(b.p, wanted);
    buf_done(&b);
}

static void test_print(void **state)
{
    (void)state;
    expect_print(value_print_duration, 60000, "1m");
    expect_print(value_print_duration, 1500, "1500ms");
    expect_print(value_print_duration, 0, "0s");
    expect_print(value_print_size, 32000, "32KB");
    expect_print(value_print_size, 32768, "32KiB");
    expect_print(value_print_size, 1001, "1001B");
    expect_print(value_print_share, 2500, "0.25%");
    expect_print(value_print_share, 1000000, "100%");
    for (int64_t v = 1; v < INT64_C(1) << 40; v = v * 3 + 1) {
        struct buf b;
        buf_init(&b, 0);
        value_print_size(v, &b);
        buf_add_char(&b, '\0');
        expect_number(value_parse_size, b.p, v);
        buf_clear(&b);
        value_print_duration(v, &b);
        buf_add_char(&b, '\0');
        expect_number(value_parse_duration, b.p, v);
        buf_done(&b);
    }
}

static void test_listen(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *printed; /* NULL: refused */
    } cases[] = {
        {"80", "80"},
        {"0", "0"},
        {"127.0.0.1:8080", "127.0.0.1:8080"},
        {"http://127.0.0.1:8080", "127.0.0.1:8080"},
        {"[::1]:80", "[::1]:80"},
        {"[0:0::1]:80", "[::1]:80"},
        {"unix:/run/x.sock", "unix:/run/x.sock"},
        {"fd:3", "fd:3"},
        {"http://443", "http://443"},
        {"443", "443"},
        {"https://443", "443"},
        {"127.0.0.1:8443", "127.0.0.1:8443"},
        {"http://127.0.0.1:8443", "http://127.0.0.1:8443"},
        {"https://127.0.0.1:80", "https://127.0.0.1:80"},
        {"https://unix:/run/x.sock", "https://unix:/run/x.sock"},
        {"https://fd:3", "https://fd:3"},
        {"https://:80", NULL},
        {":80", NULL},
        {"70000", NULL},
        {"080", NULL},
        {"::1:80", NULL},
        {"[::1]", NULL},
        {"[::1", NULL},
        {"localhost:80", NULL},
        {"example.com:80", NULL},
        {"127.0.0.1", NULL},
        {"unix:x", NULL},
        {"fd:x", NULL},
        {"", NULL},
        {"[127.0.0.1]:80", NULL},
    };
    struct arena arena;
    arena_init(&arena, 1024, 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct listen_address a;
        size_t at = 0;
        const char *fault = value_parse_listen(&arena, str_of(cases[i].text), &a, &at);
        if ((fault == NULL) != (cases[i].printed != NULL)) {
            fail_msg("%s: %s", cases[i].text, fault != NULL ? fault : "was taken");
        }
        assert_true(at <= strlen(cases[i].text));
        if (fault == NULL) {
            assert_true(str_eq(a.text, str_of(cases[i].printed)));
        }
    }
    arena_done(&arena);
}

static void test_networks_and_domains(void **state)
{
    (void)state;
    struct arena arena;
    struct cidr c;
    struct domain d;
    size_t at = 0;
    arena_init(&arena, 1024, 0);
    assert_null(value_parse_cidr(&arena, STR("10.0.0.0/8"), &c, &at));
    assert_int_equal(c.prefix, 8);
    assert_null(value_parse_cidr(&arena, STR("2001:db8::/32"), &c, &at));
    assert_int_equal(c.family, 6);
    assert_null(value_parse_cidr(&arena, STR("192.0.2.1"), &c, &at));
    assert_int_equal(c.prefix, 32);
    assert_non_null(value_parse_cidr(&arena, STR("10.0.0.1/8"), &c, &at));
    assert_non_null(value_parse_cidr(&arena, STR("10.0.0.0/33"), &c, &at));
    assert_non_null(value_parse_cidr(&arena, STR("10.0.0.0/"), &c, &at));
    assert_non_null(value_parse_cidr(&arena, STR("example"), &c, &at));

    static const struct {
        const char *text;
        enum domain_kind kind;
        const char *name; /* NULL: refused */
    } cases[] = {
        {"Example.COM", DOMAIN_EXACT, "example.com"},
        {"example.com.", DOMAIN_EXACT, "example.com"},
        {"*.example.com", DOMAIN_BELOW, "example.com"},
        {".example.com", DOMAIN_APEX, "example.com"},
        {"api.*", DOMAIN_PREFIX, "api"},
        {"default", DOMAIN_DEFAULT, ""},
        {"[0::1]", DOMAIN_EXACT, "[::1]"},
        {"192.0.2.1", DOMAIN_EXACT, "192.0.2.1"},
        {"a.*.b", DOMAIN_EXACT, NULL},
        {"example.com:80", DOMAIN_EXACT, NULL},
        {"http://example.com", DOMAIN_EXACT, NULL},
        {"a..b", DOMAIN_EXACT, NULL},
        {"", DOMAIN_EXACT, NULL},
        {".", DOMAIN_EXACT, NULL},
        {"*", DOMAIN_EXACT, NULL},
        {"b\xc3\xbc.de", DOMAIN_EXACT, NULL},
        {"a b", DOMAIN_EXACT, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *fault = value_parse_domain(&arena, str_of(cases[i].text), &d, &at);
        if ((fault == NULL) != (cases[i].name != NULL)) {
            fail_msg("%s: %s", cases[i].text, fault != NULL ? fault : "was taken");
        }
        if (fault == NULL) {
            assert_int_equal(d.kind, cases[i].kind);
            assert_true(str_eq(d.name, str_of(cases[i].name)));
        }
    }
    arena_done(&arena);
}

static void test_patterns(void **state)
{
    (void)state;
    static const char *const good[] = {"/",     "/a",  "/a/", "/a/*", "/*/b",
                                       "/a/**", "/**", "/%",  "/ä"};
    static const struct {
        const char *text;
        size_t at;
    } bad[] = {{"a", 0},     {"", 0},     {"/a/**/b", 3}, {"/a*", 2},  {"/a//b", 3},
               {"/../a", 1}, {"/a b", 2}, {"/a?b", 2},    {"/%2e", 1}, {"/***", 1}};
    size_t at = 0;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_null(value_check_pattern(str_of(good[i]), &at));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_non_null(value_check_pattern(str_of(bad[i].text), &at));
        if (at != bad[i].at) {
            fail_msg("%s: %zu", bad[i].text, at);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),  cmocka_unit_test(test_print),
        cmocka_unit_test(test_listen),   cmocka_unit_test(test_networks_and_domains),
        cmocka_unit_test(test_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
