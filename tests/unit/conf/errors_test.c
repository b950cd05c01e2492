/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wrong configurations and what is said of them. Each tests/golden/conf/NAME.yaml stands beside
 * NAME.txt, the exact messages; SWS_GOLDEN_WRITE=1 writes the messages anew.
 */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "conf/settings.h"

static void check_golden(const char *path)
{
    struct buf yaml;
    struct buf wanted;
    struct buf got;
    struct diag_list diags;
    struct settings *s = NULL;
    char golden[512];
    buf_init(&yaml, 0);
    buf_init(&wanted, 0);
    buf_init(&got, 0);
    diag_list_init(&diags);
    assert_int_equal(conf_io_system.read_file(NULL, path, &yaml), ERR_OK);
    const char *name = strrchr(path, '/') + 1;
    enum err e = settings_load_text(name, buf_str(&yaml), NULL, &s, &diags);
    if (e != ERR_CONFIG) {
        fail_msg("%s: %s", path, err_name(e));
    }
    diag_list_print(&diags, &got);
    snprintf(golden, sizeof(golden), "%.*s.txt", (int)(strlen(path) - strlen(".yaml")), path);
    if (getenv("SWS_GOLDEN_WRITE") != NULL) {
        FILE *f = fopen(golden, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(got.p, 1, got.n, f), got.n);
        fclose(f);
    }
    assert_int_equal(conf_io_system.read_file(NULL, golden, &wanted), ERR_OK);
    buf_add_char(&got, '\0');
    buf_add_char(&wanted, '\0');
    assert_string_equal(got.p, wanted.p);
    diag_list_done(&diags);
    buf_done(&yaml);
    buf_done(&wanted);
    buf_done(&got);
}

static void test_golden(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob("tests/golden/conf/*.yaml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 20);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        check_golden(found.gl_pathv[i]);
    }
    globfree(&found);
}

static void expect_error(struct str text, const char *sentence)
{
    struct diag_list diags;
    struct settings *s = NULL;
    diag_list_init(&diags);
    assert_int_equal(settings_load_text("x.yaml", text, NULL, &s, &diags), ERR_CONFIG);
    assert_true(diags.count > 0);
    if (memmem(diags.items[0].sentence.p, diags.items[0].sentence.n, sentence, strlen(sentence)) ==
        NULL) {
        fail_msg("%s", diags.items[0].sentence.p);
    }
    diag_list_done(&diags);
}

static void test_limits(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    buf_add_str(&b, STR("hosts: "));
    for (int i = 0; i < 100; i++) {
        buf_add_char(&b, '[');
    }
    expect_error(buf_str(&b), "nested more than 64 levels deep");
    buf_clear(&b);
    while (b.n <= 4 * 1024 * 1024) {
        buf_add_str(&b, STR("# nothing to see in this line of a very long file\n"));
    }
    expect_error(buf_str(&b), "longer than 4 MB");
    buf_clear(&b);
    for (int i = 0; i < 50; i++) {
        buf_printf(&b, "wrong%d: 1\n", i);
    }
    struct diag_list diags;
    struct settings *s = NULL;
    diag_list_init(&diags);
    assert_int_equal(settings_load_text("x.yaml", buf_str(&b), NULL, &s, &diags), ERR_CONFIG);
    assert_int_equal(diags.count, DIAG_COUNT_MAX);
    assert_int_equal(diags.dropped_count, 30);
    diag_list_done(&diags);
    buf_done(&b);
    expect_error(STR("a\xff: 1\n"), "UTF-8");
    expect_error(STR("log: {output: \"a\\0b\"}\n"), "NUL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
