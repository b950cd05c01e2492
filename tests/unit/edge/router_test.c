/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns by table, and the tree against a matcher that tries every rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "edge/router.h"

static void test_pattern_match(void **state)
{
    static const struct {
        const char *pattern, *path;
        bool is_match;
    } rows[] = {
        {"/", "/", true},
        {"/", "/a", false},
        {"/a", "/a", true},
        {"/a", "/a/", false},
        {"/a/", "/a/", true},
        {"/a", "/ab", false},
        {"/a*b", "/a", false}, /* refused below; never compiled */
        {"/*", "/a", true},
        {"/*", "/", false},
        {"/*", "/a/b", false},
        {"/*/b", "/a/b", true},
        {"/*/b", "//b", false},
        {"/**", "/", true},
        {"/**", "/a/b/c", true},
        {"/**", "*", false},
        {"/**", "", false},
        {"/admin/**", "/admin", true},
        {"/admin/**", "/admin/", true},
        {"/admin/**", "/admin/x/y", true},
        {"/admin/**", "/administrator", false},
        {"/admin/**", "/x/admin", false},
        {"/a/*/c/**", "/a/b/c", true},
        {"/a/*/c/**", "/a/b/cc", false},
        {"/prod", "/prod-x", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena arena;
        arena_init(&arena, 1024, 0);
        struct pattern pattern;
        if (pattern_compile(&arena, str_of(rows[i].pattern), &pattern, NULL) == ERR_OK) {
            if (pattern_match(&pattern, str_of(rows[i].path)) != rows[i].is_match) {
                fail_msg("%s on %s", rows[i].pattern, rows[i].path);
            }
            const struct router *router;
            struct router_rule rule = {str_of(rows[i].pattern), 0};
            uint32_t found;
            assert_int_equal(router_build(&arena, &rule, 1, &router, NULL), ERR_OK);
            assert_int_equal(router_match(router, str_of(rows[i].path), NULL, NULL, &found),
                             rows[i].is_match);
        } else {
            assert_false(rows[i].is_match);
        }
        arena_done(&arena);
    }
}

static void test_pattern_faults(void **state)
{
    static const struct {
        const char *pattern;
        size_t column;
    } rows[] = {{"", 0},       {"a", 0},      {"*", 0},       {"/a/**/b", 3}, {"/a*b", 1},
                {"/x/***", 3}, {"/a//b", 3},  {"/a/../b", 3}, {"/./a", 1},    {"/a?b", 1},
                {"/a/b#c", 3}, {"/a\x01", 1}, {"/a\n", 1}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pattern_fault fault = {0, 99, NULL};
        assert_int_equal(pattern_check(str_of(rows[i].pattern), &fault), ERR_SYNTAX);
        assert_int_equal(fault.column, rows[i].column);
        assert_non_null(fault.reason);
    }
}

static bool take_odd(void *user, uint32_t rule)
{
    (void)user;
    return rule % 2 == 1;
}

static void test_order(void **state)
{
    static const struct router_rule rules[] = {
        {{"/**", 3}, 0},  {{"/a/**", 5}, 0},   {{"/a/*", 4}, 0},
        {{"/a/b", 4}, 0}, {{"/*/b", 4}, 0},    {{"/a/b", 4}, 0},
        {{"/**", 3}, 5},  {{"/a/b/**", 7}, 0}, {{"/a/b", 4}, -1},
    };
    static const uint32_t expected[] = {6, 3, 5, 7, 2, 1, 4, 0, 8};
    struct arena arena;
    const struct router *router;
    struct router_cursor cursor;
    uint32_t rule = 0;
    (void)state;
    arena_init(&arena, 1024, 0);
    assert_int_equal(router_build(&arena, rules, 9, &router, NULL), ERR_OK);
    router_start(router, STR("/a/b"), &cursor);
    for (size_t i = 0; i < 9; i++) {
        assert_true(router_next(&cursor, &rule));
        assert_int_equal(rule, expected[i]);
    }
    assert_false(router_next(&cursor, &rule));
    assert_false(router_next(&cursor, &rule));
    assert_true(router_match(router, STR("/a/b"), take_odd, NULL, &rule));
    assert_int_equal(rule, 3);
    arena_done(&arena);
}

static void test_faults(void **state)
{
    struct arena arena;
    const struct router *router;
    struct pattern_fault fault;
    struct router_rule rules[300];
    uint32_t rule;
    (void)state;
    arena_init(&arena, 1024, 0);
    for (int i = 0; i < 300; i++) {
        rules[i] = (struct router_rule){STR("/a"), i};
    }
    assert_int_equal(router_build(&arena, rules, 300, &router, &fault), ERR_LIMIT);
    assert_int_equal(router_build(&arena, rules, 256, &router, &fault), ERR_OK);
    assert_true(router_match(router, STR("/a"), NULL, NULL, &rule));
    assert_int_equal(rule, 255);
    rules[7].pattern = STR("/x*");
    assert_int_equal(router_build(&arena, rules, 10, &router, &fault), ERR_SYNTAX);
    assert_int_equal(fault.rule_index, 7);
    assert_int_equal(router_build(&arena, NULL, 0, &router, &fault), ERR_OK);
    assert_false(router_match(router, STR("/a"), NULL, NULL, &rule));
    arena_done(&arena);
}

/* The random comparison. A small alphabet, so that patterns overlap. */

#define RULES_MAX 40

static uint64_t seed = 0x5eed5eed5eed5eedu;

static unsigned pick(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static struct str random_text(char *out, bool is_pattern)
{
    static const char *const parts[] = {"a", "b", "ab", "abc", "*", "**"};
    size_t n = 0;
    unsigned segments = 1 + pick(4);
    for (unsigned i = 0; i < segments; i++) {
        unsigned part = pick(is_pattern ? (i + 1 == segments ? 6 : 5) : 4);
        n += (size_t)sprintf(out + n, "/%s", parts[part]);
    }
    if (n > 1 && out[n - 1] != '*' && pick(8) == 0) {
        out[n++] = '/';
    }
    if (pick(20) == 0) {
        n = 1;
    }
    return str_make(out, n);
}

struct naive_rule {
    struct pattern pattern;
    int32_t priority;
    uint32_t index;
};

static int naive_compare(const void *left, const void *right)
{
    const struct naive_rule *a = left, *b = right;
    if (a->priority != b->priority) {
        return a->priority > b->priority ? -1 : 1;
    }
    int order = pattern_compare(&a->pattern, &b->pattern);
    return order ? order : a->index < b->index ? -1 : 1;
}

static void compare_once(void)
{
    char texts[RULES_MAX][64], path_text[64];
    struct router_rule rules[RULES_MAX];
    struct pattern patterns[RULES_MAX];
    struct arena arena;
    const struct router *router;
    size_t count = pick(RULES_MAX + 1);
    arena_init(&arena, 4096, 0);
    for (size_t i = 0; i < count; i++) {
        rules[i].pattern = random_text(texts[i], true);
        rules[i].priority = pick(4) ? 0 : (int32_t)pick(5) - 2;
        assert_int_equal(pattern_compile(&arena, rules[i].pattern, &patterns[i], NULL), ERR_OK);
    }
    assert_int_equal(router_build(&arena, rules, count, &router, NULL), ERR_OK);
    for (int round = 0; round < 20; round++) {
        struct str path = random_text(path_text, false);
        struct naive_rule matches[RULES_MAX];
        size_t match_count = 0;
        for (size_t i = 0; i < count; i++) {
            if (pattern_match(&patterns[i], path)) {
                matches[match_count++] =
                    (struct naive_rule){patterns[i], rules[i].priority, (uint32_t)i};
            }
        }
        qsort(matches, match_count, sizeof(matches[0]), naive_compare);
        struct router_cursor cursor;
        uint32_t rule;
        router_start(router, path, &cursor);
        for (size_t i = 0; i < match_count; i++) {
            if (!router_next(&cursor, &rule) || rule != matches[i].index) {
                fail_msg("path %.*s, candidate %zu", (int)path.n, path.p, i);
            }
        }
        assert_false(router_next(&cursor, &rule));
    }
    arena_done(&arena);
}

static void test_against_naive(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        compare_once();
    }
}

static void test_no_memory(void **state)
{
    static const struct router_rule rules[] = {
        {{"/a/*/c", 6}, 0}, {{"/a/b/**", 7}, 1}, {{"/abc", 4}, 0}, {{"/abd", 4}, 0}};
    struct arena arena;
    const struct router *router;
    (void)state;
    mem_test_fail_at(0);
    arena_init(&arena, 256, 0);
    assert_int_equal(router_build(&arena, rules, 4, &router, NULL), ERR_OK);
    arena_done(&arena);
    unsigned long count = mem_test_fail_at(0);
    assert_true(count >= 3);
    for (unsigned long i = 1; i <= count; i++) {
        arena_init(&arena, 256, 0);
        mem_test_fail_at(i);
        assert_int_equal(router_build(&arena, rules, 4, &router, NULL), ERR_NOMEM);
        mem_test_fail_at(0);
        arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pattern_match), cmocka_unit_test(test_pattern_faults),
        cmocka_unit_test(test_order),         cmocka_unit_test(test_faults),
        cmocka_unit_test(test_against_naive), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
