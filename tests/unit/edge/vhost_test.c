/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "edge/vhost.h"

#define R(name, priority)                                                                          \
    {                                                                                              \
        {name, sizeof(name) - 1}, priority                                                         \
    }

static const struct vhost_rule rules[] = {
    R("default", 0),  R("example.com", 0), R("*.example.com", 0),   R(".example.com", 0),
    R(".org", 0),     R("api.*", 0),       R("api.v1.*", 0),        R("www.Example.com.", 0),
    R("[0:0::1]", 0), R("192.0.2.7", 0),   R("*.b.example.com", 0),
};

static void check(const struct vhost_table *table, const char *host, int expected)
{
    uint32_t rule = 99;
    bool is_found = vhost_match(table, str_of(host), &rule);
    if (is_found != (expected >= 0) || (is_found && rule != (uint32_t)expected)) {
        fail_msg("%s: found %d rule %u, expected %d", host, is_found, rule, expected);
    }
}

static void test_match(void **state)
{
    static const struct {
        const char *host;
        int rule;
    } rows[] = {
        {"example.com", 1},
        {"EXAMPLE.com:443", 1},
        {"example.com.", 1},
        {"example.com.:80", 1},
        {"www.example.com", 7},
        {"a.example.com", 2},
        {"x.y.example.com", 2},
        {"x.b.example.com", 10},
        {"b.example.com", 2},
        {"notexample.com", 0},
        {"a.org", 4},
        {"org", 4},
        {"api.net", 5},
        {"api.v1.net", 6},
        {"api", 0},
        {"api.v1", 5},
        {"api.org", 4},
        {"[::1]", 8},
        {"[::1]:8443", 8},
        {"[0::0:1]", 8},
        {"[::2]", 0},
        {"192.0.2.7:80", 9},
        {"", 0},
        {"a..b", -1},
        {".", -1},
        {"..", -1},
        {"a b", -1},
        {"a:b", -1},
        {"a:70000", -1},
        {"[::1", -1},
        {"[::1]x", -1},
        {"ex\xc3\xa4mple.com", -1},
        {"a/b", -1},
        {"u@example.com", -1},
    };
    struct arena arena;
    const struct vhost_table *table;
    (void)state;
    arena_init(&arena, 1024, 0);
    assert_int_equal(vhost_build(&arena, rules, 11, &table, NULL), ERR_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check(table, rows[i].host, rows[i].rule);
    }
    char longest[300];
    memset(longest, 'a', sizeof(longest));
    uint32_t rule;
    assert_false(vhost_match(table, str_make(longest, sizeof(longest)), &rule));
    arena_done(&arena);
}

static void test_apex_suffix_alone(void **state)
{
    static const struct vhost_rule only[] = {R(".x.test", 0), R("*.y.test", 0)};
    struct arena arena;
    const struct vhost_table *table;
    (void)state;
    arena_init(&arena, 1024, 0);
    assert_int_equal(vhost_build(&arena, only, 2, &table, NULL), ERR_OK);
    check(table, "x.test", 0);
    check(table, "a.b.x.test", 0);
    check(table, "y.test", -1);
    check(table, "a.y.test", 1);
    check(table, "", -1);
    arena_done(&arena);
}

static void test_priority(void **state)
{
    static const struct vhost_rule some[] = {R("a.test", 0), R(".test", 5), R("a.*", 5),
                                             R("default", 9), R("b.test", 9)};
    struct arena arena;
    const struct vhost_table *table;
    (void)state;
    arena_init(&arena, 1024, 0);
    assert_int_equal(vhost_build(&arena, some, 3, &table, NULL), ERR_OK);
    check(table, "a.test", 1);
    check(table, "a.other", 2);
    assert_int_equal(vhost_build(&arena, some, 5, &table, NULL), ERR_OK);
    check(table, "a.test", 3);
    check(table, "b.test", 4);
    arena_done(&arena);
}

static void test_faults(void **state)
{
    static const struct vhost_rule bad[] = {
        R("", 0),   R("*", 0),    R("a.*.b", 0),   R("*a.b", 0), R("a:80", 0), R(".", 0),
        R("*.", 0), R("[zz]", 0), R("*.[::1]", 0), R("a b", 0),  R("-a/..", 0)};
    static const struct vhost_rule twice[] = {R("a.b", 0), R("c", 0), R("A.B", 3)};
    struct arena arena;
    const struct vhost_table *table;
    struct pattern_fault fault;
    (void)state;
    arena_init(&arena, 1024, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        fault.reason = NULL;
        if (vhost_build(&arena, &bad[i], 1, &table, &fault) != ERR_SYNTAX || !fault.reason) {
            fail_msg("accepted %s", bad[i].name.p);
        }
    }
    assert_int_equal(vhost_build(&arena, twice, 3, &table, &fault), ERR_EXISTS);
    assert_int_equal(fault.rule_index, 2);
    arena_done(&arena);
}

static void test_many(void **state)
{
    enum { COUNT = 5000 };
    struct arena arena;
    const struct vhost_table *table;
    struct vhost_rule *many = mem_zalloc(COUNT, sizeof(*many));
    (void)state;
    assert_non_null(many);
    arena_init(&arena, 65536, 0);
    for (int i = 0; i < COUNT; i++) {
        many[i].name = arena_printf(&arena, i % 2 ? "*.h%d.test" : "h%d.test", i);
    }
    assert_int_equal(vhost_build(&arena, many, COUNT, &table, NULL), ERR_OK);
    for (int i = 0; i < COUNT; i++) {
        char host[32];
        snprintf(host, sizeof(host), i % 2 ? "www.h%d.test" : "h%d.test", i);
        check(table, host, i);
    }
    check(table, "h5000.test", -1);
    mem_free(many);
    arena_done(&arena);
}

static void test_no_memory(void **state)
{
    struct arena arena;
    const struct vhost_table *table;
    (void)state;
    mem_test_fail_at(0);
    arena_init(&arena, 256, 0);
    assert_int_equal(vhost_build(&arena, rules, 11, &table, NULL), ERR_OK);
    arena_done(&arena);
    unsigned long count = mem_test_fail_at(0);
    assert_true(count > 0);
    for (unsigned long i = 1; i <= count; i++) {
        arena_init(&arena, 256, 0);
        mem_test_fail_at(i);
        assert_int_equal(vhost_build(&arena, rules, 11, &table, NULL), ERR_NOMEM);
        mem_test_fail_at(0);
        arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),    cmocka_unit_test(test_apex_suffix_alone),
        cmocka_unit_test(test_priority), cmocka_unit_test(test_faults),
        cmocka_unit_test(test_many),     cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
