/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "runner/check.h"
#include "runner/report.h"
#include "runner/spec.h"

static struct settings *load(const char *host)
{
    struct buf text;
    struct diag_list diags;
    struct settings *s = NULL;
    buf_init(&text, 0);
    diag_list_init(&diags);
    buf_printf(&text, "hosts:\n  - {domains: app.test, %s}\n", host);
    enum err e = settings_load_text("test", buf_str(&text), NULL, &s, &diags);
    if (e) {
        buf_clear(&text);
        diag_list_print(&diags, &text);
        buf_add_char(&text, '\0');
        fail_msg("%s", text.p);
    }
    diag_list_done(&diags);
    buf_done(&text);
    return s;
}

static struct spec *make(const char *process, struct settings **ret_settings)
{
    struct buf host;
    struct spec *spec;
    buf_init(&host, 0);
    buf_printf(&host, "backend: {process: %s}", process);
    buf_add_char(&host, '\0');
    *ret_settings = load(host.p);
    buf_done(&host);
    const struct process_settings *p = &(*ret_settings)->hosts.items[0].keys.backend.process;
    assert_int_equal(spec_create(p, 1000, &spec), ERR_OK);
    return spec;
}

static uint64_t fingerprint(const char *process)
{
    struct settings *s;
    struct spec *spec = make(process, &s);
    uint64_t mark = spec->fingerprint;
    spec_unref(spec);
    settings_destroy(s);
    return mark;
}

static void test_fingerprint(void **state)
{
    static const char *const others[] = {
        "{command: node b.js}",
        "{command: [node, a.js, '']}",
        "{command: node a.js, env: {A: b}}",
        "{command: node a.js, cwd: /}",
        "{command: node a.js, user: root}",
        "{command: node a.js, socket: activate}",
        "{command: node a.js, socket: 'true'}",
        "{command: node a.js, memory: 100MB}",
        "{command: node a.js, cpu: 50%}",
        "{command: node a.js, files: 100}",
    };
    (void)state;
    uint64_t mark = fingerprint("node a.js");
    assert_int_equal(mark, fingerprint("{command: [node, a.js], stop: 1s, instances: 4, log: off, "
                                       "restart: never, ready: /a, backoff: {min: 1s}}"));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_not_equal(mark, fingerprint(others[i]));
    }
}

static bool has(char **list, const char *text)
{
    for (; *list; list++) {
        if (strcmp(*list, text) == 0) {
            return true;
        }
    }
    return false;
}

static void test_start(void **state)
{
    struct settings *s;
    struct spec *spec = make(
        "{command: [/bin/echo, 'x$PORT-$HOST', $SOCKET], env: {HOME: /h, A: '1'}, cwd: /}", &s);
    const struct spec_place place = {.port = 1234, .socket = STR("")};
    struct spec_start start;
    struct arena arena;
    char reason[256];
    const char *key;
    (void)state;
    arena_init(&arena, 1024, 0);
    assert_int_equal(spec_prepare(spec, &place, &arena, &start, &key, reason, sizeof(reason)),
                     ERR_OK);
    assert_string_equal(start.path, "/bin/echo");
    assert_string_equal(start.argv[1], "x1234-127.0.0.1");
    assert_string_equal(start.argv[2], "$SOCKET");
    assert_null(start.argv[3]);
    assert_true(has(start.env, "PORT=1234") && has(start.env, "HOST=127.0.0.1"));
    assert_true(has(start.env, "HOME=/h") && has(start.env, "A=1"));
    assert_int_equal(start.has_user, geteuid() == 0);
    arena_done(&arena);
    spec_unref(spec);
    settings_destroy(s);
}

static void test_check(void **state)
{
    struct settings *s =
        load("backend: {process: {command: sh, cwd: /}}, routes: ["
             "{path: /a}, {path: /b, backend: {process: {command: no-such-program}}}, "
             "{path: /c, backend: {process: {cwd: /no/such}}}]");
    struct diag_list diags;
    struct buf text;
    (void)state;
    diag_list_init(&diags);
    assert_int_equal(runner_check(s, &diags), ERR_CONFIG);
    assert_int_equal(diags.count, 2);
    buf_init(&text, 0);
    diag_list_print(&diags, &text);
    buf_add_char(&text, '\0');
    assert_non_null(strstr(text.p, "command: there is no program no-such-program in PATH"));
    assert_non_null(strstr(text.p, "cwd: the directory /no/such: not found"));
    buf_done(&text);
    diag_list_done(&diags);
    /* What a route inherits is the same process, what it changes is another one. */
    assert_true(
        str_eq(s->hosts.items[0].routes.items[0].keys.backend.process.name, STR("app.test")));
    assert_true(
        str_eq(s->hosts.items[0].routes.items[1].keys.backend.process.name, STR("app.test/b")));
    settings_destroy(s);
}

static void test_words(void **state)
{
    static const struct {
        const char *text;
        size_t count;
        const char *last;
    } rows[] = {
        {"a", 1, "a"},
        {"  a \t b ", 2, "b"},
        {"a 'b c' d", 3, "d"},
        {"a \"b 'c\"", 2, "b 'c"},
        {"a x'y z'w", 2, "xy zw"},
        {"a ''", 2, ""},
        {"a b\\c", 2, "b\\c"},
    };
    struct arena arena;
    struct str_list list;
    size_t at;
    (void)state;
    arena_init(&arena, 256, 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_null(value_split_words(&arena, str_of(rows[i].text), &list, &at));
        assert_int_equal(list.count, rows[i].count);
        assert_string_equal(list.items[list.count - 1].p, rows[i].last);
    }
    assert_non_null(value_split_words(&arena, STR("a 'b"), &list, &at));
    assert_int_equal(at, 2);
    assert_non_null(value_split_words(&arena, STR("  "), &list, &at));
    arena_done(&arena);
}

static void test_no_memory(void **state)
{
    struct settings *s =
        load("backend: {process: {command: [/bin/echo, $PORT], env: {A: b}, cwd: /}}");
    const struct process_settings *p = &s->hosts.items[0].keys.backend.process;
    const struct spec_place place = {.port = 1};
    (void)state;
    for (unsigned long n = 1;; n++) {
        struct spec *spec = NULL;
        struct spec_start start;
        struct arena arena;
        char reason[256];
        const char *key;
        arena_init(&arena, 256, 0);
        mem_test_fail_at(n);
        enum err e = spec_create(p, 1, &spec);
        e = e ? e : spec_prepare(spec, &place, &arena, &start, &key, reason, sizeof(reason));
        unsigned long made = mem_test_fail_at(0);
        arena_done(&arena);
        spec_unref(spec);
        if (!e) {
            assert_true(made < n);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
    }
    settings_destroy(s);
}

static void test_report(void **state)
{
    const struct report_process process = {.name = STR("app"),
                                           .fault = STR("none"),
                                           .epoch = 9,
                                           .roll_count = 1,
                                           .roll_failure_count = 2,
                                           .restart_count = 3,
                                           .dropped_lines = 4};
    const struct report_instance instance = {.process = STR("app"),
                                             .address = STR("http://127.0.0.1:1"),
                                             .fault = STR(""),
                                             .id = 1ull << 40,
                                             .number = 2,
                                             .pid = 3,
                                             .state = INSTANCE_DRAINING,
                                             .restart_count = 4,
                                             .since_s = 5,
                                             .memory_bytes = 6,
                                             .dropped_lines = 7};
    struct arena arena;
    struct buf bytes;
    struct report r;
    (void)state;
    buf_init(&bytes, 0);
    arena_init(&arena, 256, 0);
    report_add_process(&bytes, &process);
    size_t border = bytes.n;
    report_add_instance(&bytes, &instance);
    assert_int_equal(report_read(&arena, buf_str(&bytes), &r), ERR_OK);
    assert_int_equal(r.process_count, 1);
    assert_int_equal(r.instance_count, 1);
    assert_true(str_eq(r.instances[0].address, instance.address));
    assert_int_equal(r.instances[0].id, instance.id);
    assert_int_equal(r.instances[0].dropped_lines, 7);
    assert_int_equal(r.processes[0].dropped_lines, 4);
    assert_int_equal(r.processes[0].epoch, 9);
    for (size_t n = 1; n < bytes.n; n++) {
        assert_int_equal(report_read(&arena, str_make(bytes.p, n), &r),
                         n == border ? ERR_OK : ERR_SYNTAX);
    }
    mem_test_fail_at(1);
    struct arena empty;
    arena_init(&empty, 256, 0);
    assert_int_equal(report_read(&empty, buf_str(&bytes), &r), ERR_NOMEM);
    mem_test_fail_at(0);
    arena_done(&empty);
    arena_done(&arena);
    buf_done(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fingerprint), cmocka_unit_test(test_start),
        cmocka_unit_test(test_check),       cmocka_unit_test(test_words),
        cmocka_unit_test(test_no_memory),   cmocka_unit_test(test_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
