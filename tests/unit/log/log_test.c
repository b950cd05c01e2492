/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "log/log.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/sws_log_XXXXXX");
    return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void test_format(void **state)
{
    const struct log_field fields[] = {
        log_str("host", STR("a.b")), log_str("why", STR("x\n\"y\" z")),
        log_u64("status", 502),      log_i64("left", INT64_MIN),
        log_err(ERR_RESET),          log_str("none", STR(""))};
    struct buf out;
    (void)state;
    buf_init(&out, 0);
    log_format(0, LOG_LEVEL_WARN, "upstream failed", fields, 6, &out);
    assert_true(
        str_eq(buf_str(&out), STR("1970-01-01T00:00:00.000Z warn upstream failed host=a.b "
                                  "why=\"x\\n\\\"y\\\" z\" status=502 left=-9223372036854775808 "
                                  "error=\"the connection was reset\" none=\"\"\n")));
    buf_done(&out);
}

static void test_long_lines_are_cut(void **state)
{
    static char text[5000];
    struct log_field fields[10];
    struct buf out;
    (void)state;
    memset(text, 1, sizeof(text));
    for (int i = 0; i < 10; i++) {
        fields[i] = log_str("k", str_make(text, sizeof(text)));
    }
    buf_init(&out, 0);
    log_format(0, LOG_LEVEL_WARN, "t", fields, 10, &out);
    assert_true(out.n <= LOG_LINE_BYTES_MAX);
    assert_true(str_ends_with(buf_str(&out), STR(" cut=true\n")));
    buf_done(&out);
}

static unsigned evaluated;

static uint64_t count_evaluation(void)
{
    return ++evaluated;
}

static size_t read_file(const char *path, char *to, size_t room)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(to, 1, room - 1, f);
    to[n] = '\0';
    fclose(f);
    return n;
}

static void test_file_level_reopen(void **state)
{
    char path[96], moved[96], text[4096];
    struct log *log;
    (void)state;
    snprintf(path, sizeof(path), "%s/error.log", folder);
    snprintf(moved, sizeof(moved), "%s/moved.log", folder);
    assert_int_equal(log_create(str_of(path), LOG_LEVEL_INFO, &log), ERR_OK);
    LOG(log, LOG_LEVEL_DEBUG, "hidden", log_u64("n", count_evaluation()));
    assert_int_equal(evaluated, 0);
    LOG(log, LOG_LEVEL_INFO, "one", log_u64("n", count_evaluation()));
    log_set_level(log, LOG_LEVEL_DEBUG);
    LOG(log, LOG_LEVEL_DEBUG, "two", log_u64("n", count_evaluation()));
    log_set_level(log, LOG_LEVEL_OFF);
    LOG(log, LOG_LEVEL_ERROR, "hidden", log_u64("n", count_evaluation()));
    log_event(log, LOG_LEVEL_OFF, "hidden", NULL, 0);
    log_event(NULL, LOG_LEVEL_ERROR, "nowhere", NULL, 0);
    assert_int_equal(evaluated, 2);
    log_set_level(log, LOG_LEVEL_NOTICE);
    assert_int_equal(log_get_level(log), LOG_LEVEL_NOTICE);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(log_reopen(log), ERR_OK);
    log_event(log, LOG_LEVEL_ERROR, "three", NULL, 0);
    read_file(moved, text, sizeof(text));
    assert_non_null(strstr(text, " info one n=1\n"));
    assert_non_null(strstr(text, " debug two n=2\n"));
    assert_null(strstr(text, "hidden"));
    assert_null(strstr(text, "three"));
    read_file(path, text, sizeof(text));
    assert_non_null(strstr(text, " error three\n"));
    assert_int_equal(log_lost_count(log), 0);
    log_destroy(log);
    unlink(path);
    unlink(moved);
}

static void test_failures(void **state)
{
    struct log *log;
    enum log_level level;
    (void)state;
    assert_int_equal(log_create(STR("/nonexistent/x"), LOG_LEVEL_INFO, &log), ERR_NOT_FOUND);
    for (unsigned long i = 1; i <= 2; i++) {
        mem_test_fail_at(i);
        assert_int_equal(log_create(STR("/dev/null"), LOG_LEVEL_INFO, &log), ERR_NOMEM);
        mem_test_fail_at(0);
    }
    assert_int_equal(log_create(STR("/dev/full"), LOG_LEVEL_INFO, &log), ERR_OK);
    log_event(log, LOG_LEVEL_ERROR, "lost", NULL, 0);
    assert_int_equal(log_lost_count(log), 1);
    mem_test_fail_at(1);
    log_event(log, LOG_LEVEL_ERROR, "lost", NULL, 0);
    mem_test_fail_at(0);
    assert_int_equal(log_lost_count(log), 2);
    log_destroy(log);
    log_destroy(NULL);
    assert_int_equal(log_level_parse(STR("warn"), &level), ERR_OK);
    assert_int_equal(level, LOG_LEVEL_WARN);
    assert_int_equal(log_level_parse(STR("loud"), &level), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_file_level_reopen),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
