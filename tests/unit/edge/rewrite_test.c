/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "base/mem.h"
#include "edge/rewrite.h"

static bool get_field(void *user, struct str name, struct str *ret_value)
{
    (void)user;
    if (!str_eq_ci(name, STR("accept"))) {
        return false;
    }
    *ret_value = STR("text/html, */*");
    return true;
}

static bool has_file(void *user, enum rewrite_file_kind kind, struct str path)
{
    (void)user;
    bool is_dir = str_eq(path, STR("/dir"));
    bool is_file = str_eq(path, STR("/there.html"));
    return kind == REWRITE_FILE ? is_file : kind == REWRITE_DIR ? is_dir : is_dir || is_file;
}

static struct rewrite_request make_request(const char *path, const char *query)
{
    return (struct rewrite_request){.method = STR("GET"),
                                    .host = STR("www.example.com"),
                                    .path = str_of(path),
                                    .query = str_of(query),
                                    .field = get_field,
                                    .has_file = has_file};
}

struct row {
    const char *from, *to, *condition, *flags;
    const char *path, *query;
    enum rewrite_outcome outcome;
    unsigned status;
    const char *new_path; /* or the location */
    const char *new_query;
};

static const struct row rows[] = {
    {"^/old/(.*)$", "/new/$1", "", "", "/old/a b", "x=1", REWRITE_CHANGED, 0, "/new/a b", "x=1"},
    {"^/no$", "/new", "", "", "/old", "", REWRITE_UNCHANGED, 0, "/old", ""},
    {"^/u/(?<id>[0-9]+)$", "/user?id=${id}", "", "", "/u/42", "a=b", REWRITE_CHANGED, 0, "/user",
     "id=42&a=b"},
    {"^/u/(.+)$", "/user?id=${1}?", "", "", "/u/4&2=", "a=b", REWRITE_CHANGED, 0, "/user",
     "id=4%262%3D"},
    {"^/drop$", "/d?", "", "", "/drop", "a=b", REWRITE_CHANGED, 0, "/d", ""},
    {"^/price$", "/$$5", "", "", "/price", "", REWRITE_CHANGED, 0, "/$5", ""},
    {"^/a(x)?b$", "/[$1]", "", "", "/ab", "", REWRITE_CHANGED, 0, "/[]", ""},
    {"^/r/(.*)", "/n/$1", "", "R", "/r/a b?", "q=1", REWRITE_REDIRECT, 302, "/n/a%20b%3F?q=1", ""},
    {"^/(.*)", "https://example.com/$1", "host ^WWW\\.", "R=308", "/p", "q", REWRITE_REDIRECT, 308,
     "https://example.com/p?q", ""},
    {"^/x(.*)$", "/$1", "", "R", "/x/evil.test", "", REWRITE_REDIRECT, 302, "/evil.test", ""},
    {"^/secret", "-", "", "F", "/secret/x", "", REWRITE_REFUSED, 403, "", ""},
    {"^/gone", "", "", "G", "/gone", "", REWRITE_REFUSED, 410, "", ""},
    {"^/(.*)$", "/n/$1", "", "L", "/a", "", REWRITE_CHANGED, 0, "/n/a", ""},
    {"^/(.*)$", "/n/$1", "", "", "/a", "", REWRITE_REFUSED, 500, "", ""},
    {"^/b(.*)$", "/$1", "", "", "/b\r\nX: y", "", REWRITE_REFUSED, 400, "", ""},
    {"^/b(.*)$", "/$1", "", "R", "/b\nX", "", REWRITE_REFUSED, 400, "", ""},
    {"^/b(.*)$", "/?q=$1", "", "", "/b\n", "", REWRITE_REFUSED, 400, "", ""},
    {"^/c(.*)$", "/x/$1/y", "", "", "/c..", "", REWRITE_REFUSED, 400, "", ""},
    {"^/c(.*)$", "$1", "", "", "/cx", "", REWRITE_REFUSED, 400, "", ""},
    {"^/(a+)+$", "/x", "", "", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "",
     REWRITE_REFUSED, 500, "", ""},
    /* conditions */
    {".*", "/index.html", "!file && !dir", "L", "/spa", "", REWRITE_CHANGED, 0, "/index.html", ""},
    {".*", "/index.html", "!exists", "L", "/dir", "", REWRITE_UNCHANGED, 0, "/dir", ""},
    {".*", "/index.html", "!file", "L", "/there.html", "", REWRITE_UNCHANGED, 0, "/there.html", ""},
    {".*", "/f", "dir", "L", "/dir", "", REWRITE_CHANGED, 0, "/f", ""},
    {".*", "/m", "method GET HEAD", "L", "/a", "", REWRITE_CHANGED, 0, "/m", ""},
    {".*", "/m", "!method GET", "L", "/a", "", REWRITE_UNCHANGED, 0, "/a", ""},
    {".*", "/h", "header Accept text/html", "L", "/a", "", REWRITE_CHANGED, 0, "/h", ""},
    {".*", "/h", "header accept ^image/", "L", "/a", "", REWRITE_UNCHANGED, 0, "/a", ""},
    {".*", "/h", "!header Cookie", "L", "/a", "", REWRITE_CHANGED, 0, "/h", ""},
    {".*", "/q", "query k ^a b$", "L", "/a", "j=1&k=a%20b", REWRITE_CHANGED, 0, "/q",
     "j=1&k=a%20b"},
    {".*", "/q", "query k ^a b$", "L", "/a", "k=a+b", REWRITE_CHANGED, 0, "/q", "k=a+b"},
    {".*", "/q", "query k", "L", "/a", "kk=1", REWRITE_UNCHANGED, 0, "/a", "kk=1"},
};

static void test_table(void **state)
{
    struct rewrite_scratch *scratch;
    (void)state;
    assert_int_equal(rewrite_scratch_create(&scratch), ERR_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        struct rewrite_rule rule = {str_of(r->from), str_of(r->to), str_of(r->condition),
                                    str_of(r->flags)};
        struct rewrite_set *set;
        struct rewrite_fault fault = {0};
        struct rewrite_request request = make_request(r->path, r->query);
        struct rewrite_result result;
        if (rewrite_create(&rule, 1, &set, &fault)) {
            fail_msg("row %zu: %s: %s", i, fault.key, fault.reason);
        }
        assert_int_equal(rewrite_run(set, scratch, &request, &result), ERR_OK);
        bool is_right = result.outcome == r->outcome && result.status == r->status;
        if (is_right && r->outcome == REWRITE_REDIRECT) {
            is_right = str_eq(result.location, str_of(r->new_path));
        } else if (is_right && r->outcome != REWRITE_REFUSED) {
            is_right = str_eq(result.path, str_of(r->new_path)) &&
                       str_eq(result.query, str_of(r->new_query));
        }
        if (!is_right) {
            fail_msg("row %zu: outcome %d status %d path %.*s query %.*s location %.*s: %s", i,
                     (int)result.outcome, result.status, STR_ARG(result.path),
                     STR_ARG(result.query), STR_ARG(result.location),
                     result.reason ? result.reason : "");
        }
        assert_true(r->outcome != REWRITE_REFUSED || r->status == 403 || r->status == 410 ||
                    result.reason != NULL);
        rewrite_destroy(set);
    }
    rewrite_scratch_destroy(scratch);
}

static void test_faults(void **state)
{
    static const struct {
        const char *from, *to, *condition, *flags, *key;
        enum err e;
    } faults[] = {
        {"(", "/", "", "", "from", ERR_CONFIG},
        {"a", "/$1", "", "", "to", ERR_CONFIG},
        {"(a)", "/${x}", "", "", "to", ERR_CONFIG},
        {"(a)", "/${", "", "", "to", ERR_CONFIG},
        {"a", "/$", "", "", "to", ERR_CONFIG},
        {"a", "x", "", "", "to", ERR_CONFIG},
        {"a", "https://x/", "", "", "to", ERR_CONFIG},
        {"a", "/a b", "", "", "to", ERR_CONFIG},
        {"a", "-", "", "R", "to", ERR_CONFIG},
        {"a", "/", "", "P", "flags", ERR_UNSUPPORTED},
        {"a", "/", "", "R=200", "flags", ERR_CONFIG},
        {"a", "/", "", "R,F", "flags", ERR_CONFIG},
        {"a", "/", "", "X", "flags", ERR_CONFIG},
        {"a", "/", "sometimes", "", "if", ERR_CONFIG},
        {"a", "/", "header", "", "if", ERR_CONFIG},
        {"a", "/", "host (", "", "if", ERR_CONFIG},
        {"a", "/", "file x", "", "if", ERR_CONFIG},
        {"a\\Cb", "/", "", "", "from", ERR_CONFIG},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct rewrite_rule rules[2] = {{STR("x"), STR("/y"), STR(""), STR("L")},
                                        {str_of(faults[i].from), str_of(faults[i].to),
                                         str_of(faults[i].condition), str_of(faults[i].flags)}};
        struct rewrite_set *set;
        struct rewrite_fault fault = {0};
        if (rewrite_create(rules, 2, &set, &fault) != faults[i].e ||
            !str_eq(str_of(fault.key), str_of(faults[i].key)) || fault.rule_index != 1 ||
            !fault.reason[0]) {
            fail_msg("row %zu: %s %s", i, fault.key ? fault.key : "", fault.reason);
        }
    }
}

static void test_too_long(void **state)
{
    struct rewrite_rule rule = {STR("^(/.*)$"), STR("$1$1$1$1$1$1$1$1"), STR(""), STR("")};
    struct rewrite_set *set;
    struct rewrite_scratch *scratch;
    struct rewrite_result result;
    char path[4000];
    (void)state;
    memset(path, 'a', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    struct rewrite_request request = make_request(path, "");
    assert_int_equal(rewrite_create(&rule, 1, &set, NULL), ERR_OK);
    assert_int_equal(rewrite_scratch_create(&scratch), ERR_OK);
    assert_int_equal(rewrite_run(set, scratch, &request, &result), ERR_OK);
    assert_int_equal(result.outcome, REWRITE_REFUSED);
    assert_int_equal(result.status, 414);
    rewrite_scratch_destroy(scratch);
    rewrite_destroy(set);
}

/* Each of these takes 2^n steps or more without a limit. */
static void test_explosions_end(void **state)
{
    static const char *const patterns[] = {"^/(a+)+$", "^/(a|aa)+$", "^/(a*)*b$", "(x+x+)+y",
                                           "^/((a)+)*?$"};
    struct rewrite_scratch *scratch;
    char path[2001];
    (void)state;
    memset(path, 'a', 2000);
    memset(path + 1000, 'x', 1000);
    path[0] = '/';
    path[2000] = '\0';
    assert_int_equal(rewrite_scratch_create(&scratch), ERR_OK);
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        struct rewrite_rule rule = {str_of(patterns[i]), STR("/x"), STR(""), STR("")};
        struct rewrite_set *set;
        struct rewrite_result result;
        struct rewrite_request request = make_request(path, "");
        clock_t start = clock();
        assert_int_equal(rewrite_create(&rule, 1, &set, NULL), ERR_OK);
        assert_int_equal(rewrite_run(set, scratch, &request, &result), ERR_OK);
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        assert_true(result.outcome == REWRITE_UNCHANGED || result.status == 500);
        assert_true(seconds < 2.0);
        rewrite_destroy(set);
    }
    rewrite_scratch_destroy(scratch);
}

/* All of it once: compile, scratch, run. Returns the first error. */
static enum err scenario(void)
{
    struct rewrite_rule rules[] = {
        {STR("^/a/(?<x>.*)$"), STR("/b/${x}?k=$1"), STR("host example && query z"), STR("")},
        {STR("^/b/"), STR("/c"), STR("header accept html"), STR("R=301")}};
    struct rewrite_set *set = NULL;
    struct rewrite_scratch *scratch = NULL;
    struct rewrite_result result;
    struct rewrite_request request = make_request("/a/1", "z=1");
    enum err e = rewrite_create(rules, 2, &set, NULL);
    if (!e) {
        e = rewrite_scratch_create(&scratch);
    }
    if (!e) {
        e = rewrite_run(set, scratch, &request, &result);
    }
    if (!e) {
        assert_int_equal(result.status, 301);
        assert_true(str_eq(result.location, STR("/c?k=1&z=1")));
    }
    rewrite_scratch_destroy(scratch);
    rewrite_destroy(set);
    return e;
}

static void test_no_memory(void **state)
{
    (void)state;
    mem_test_fail_at(0);
    assert_int_equal(scenario(), ERR_OK);
    unsigned long count = mem_test_fail_at(0);
    unsigned long failures = 0;
    for (unsigned long i = 1; i <= count; i++) {
        mem_test_fail_at(i);
        enum err e = scenario();
        mem_test_fail_at(0);
        /* PCRE2 goes on without JIT when only that could not be had. */
        assert_true(e == ERR_NOMEM || e == ERR_OK);
        failures += e == ERR_NOMEM;
    }
    assert_true(failures * 4 > count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),     cmocka_unit_test(test_faults),
        cmocka_unit_test(test_too_long),  cmocka_unit_test(test_explosions_end),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
