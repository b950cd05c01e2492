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
#include "os/child.h"
#include "os/file.h"
#include "runner/capture.h"

static char path[64];

struct rig {
    struct loop *loop;
    struct log *log;
    struct capture_budget budget;
    struct capture capture;
};

static void rig_init(struct rig *r)
{
    strcpy(path, "/tmp/sws_capture_XXXXXX");
    close(mkstemp(path));
    assert_int_equal(loop_create(POLLER_KIND_SIM, &r->loop), ERR_OK);
    assert_int_equal(log_create(str_of(path), LOG_LEVEL_DEBUG, &r->log), ERR_OK);
    capture_budget_init(&r->budget, loop_now_ms(r->loop));
    r->capture = (struct capture){.loop = r->loop,
                                  .log = r->log,
                                  .budget = &r->budget,
                                  .level = LOG_LEVEL_INFO,
                                  .source = {STR("app"), 1, "stdout"}};
}

/* What was logged, the times left out. */
static void rig_done(struct rig *r, struct buf *ret_text)
{
    log_destroy(r->log);
    loop_destroy(r->loop);
    buf_init(ret_text, 0);
    assert_int_equal(file_read_all(path, 16 * 1024 * 1024, ret_text), ERR_OK);
    buf_add_char(ret_text, '\0');
    unlink(path);
}

static unsigned count(const struct buf *text, const char *what)
{
    unsigned n = 0;
    for (const char *at = text->p; (at = strstr(at, what)) != NULL; at++) {
        n++;
    }
    return n;
}

static void take(struct rig *r, const char *text)
{
    capture_take(&r->capture, text, strlen(text));
}

/* Whatever way the bytes were cut, the lines are the same. */
static void test_lines(void **state)
{
    static const char text[] = "one\ntwo words\r\n\n\xc3\xa4\xc3\xb6 three";
    struct buf logged[2];
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct rig r;
        rig_init(&r);
        for (size_t i = 0; i < sizeof(text) - 1; i += k ? 1 : sizeof(text) - 1) {
            capture_take(&r.capture, text + i, k ? 1 : sizeof(text) - 1);
        }
        capture_flush(&r.capture);
        rig_done(&r, &logged[k]);
        assert_int_equal(count(&logged[k], "\n"), 3);
        assert_int_equal(count(&logged[k], "info output process=app instance=1 stream=stdout "), 3);
        assert_int_equal(count(&logged[k], "line=one\n"), 1);
        assert_int_equal(count(&logged[k], "line=\"two words\"\n"), 1);
        buf_done(&logged[k]);
    }
}

static void test_long_line(void **state)
{
    struct rig r;
    struct buf logged;
    (void)state;
    rig_init(&r);
    for (unsigned i = 0; i < 300000; i++) {
        take(&r, "\xe2\x82\xac"); /* three bytes, which no piece cuts apart */
    }
    take(&r, "\nshort\n");
    rig_done(&r, &logged);
    assert_int_equal(count(&logged, "\n"), CAPTURE_PIECES_MAX + 1);
    assert_int_equal(count(&logged, "cut=true"), 1);
    assert_int_equal(count(&logged, "part="), CAPTURE_PIECES_MAX);
    assert_int_equal(count(&logged, "\\x"), 0);
    assert_int_equal(count(&logged, "line=short\n"), 1);
    buf_done(&logged);
}

static void test_every_byte(void **state)
{
    struct rig r;
    struct buf logged;
    char bytes[4096];
    (void)state;
    rig_init(&r);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char)(i % 256 == '\n' ? 0x80 : i % 256);
    }
    capture_take(&r.capture, bytes, sizeof(bytes));
    memset(bytes, 0x80, sizeof(bytes)); /* no character begins anywhere */
    capture_take(&r.capture, bytes, sizeof(bytes));
    capture_flush(&r.capture);
    rig_done(&r, &logged);
    for (size_t i = 0; i < logged.n - 1; i++) {
        assert_true(logged.p[i] == '\n' || (unsigned char)logged.p[i] >= ' ');
    }
    buf_done(&logged);
}

static void test_flood(void **state)
{
    struct rig r;
    struct buf logged;
    (void)state;
    rig_init(&r);
    for (unsigned i = 0; i < 10000; i++) {
        take(&r, "flood\n");
    }
    assert_int_equal(r.budget.dropped_count, 8000);
    capture_tell_dropped(&r.capture, false); /* not a second old */
    capture_tell_dropped(&r.capture, true);
    capture_tell_dropped(&r.capture, true);
    rig_done(&r, &logged);
    assert_int_equal(count(&logged, "line=flood"), 2000);
    assert_int_equal(count(&logged, "lines were dropped process=app instance=1 lines=8000"), 1);
    buf_done(&logged);
}

static void test_level(void **state)
{
    struct rig r;
    struct buf logged;
    (void)state;
    rig_init(&r);
    r.capture.level = LOG_LEVEL_OFF;
    take(&r, "unheard\n");
    rig_done(&r, &logged);
    assert_int_equal(logged.n, 1);
    buf_done(&logged);
}

/* From a pipe, to its end. */
static void test_pipe(void **state)
{
    struct rig r;
    struct buf logged;
    int ends[2];
    (void)state;
    rig_init(&r);
    assert_int_equal(child_pipe(ends), ERR_OK);
    assert_int_equal(capture_open(&r.capture, ends[0]), ERR_OK);
    assert_int_equal(write(ends[1], "a\nb", 3), 3);
    close(ends[1]);
    for (int i = 0; i < 100 && r.capture.is_open; i++) {
        loop_turn(r.loop, loop_clock_ns(r.loop) + 1000000);
    }
    assert_false(r.capture.is_open);
    capture_close(&r.capture);
    rig_done(&r, &logged);
    assert_int_equal(count(&logged, "line=a\n"), 1);
    assert_int_equal(count(&logged, "line=b\n"), 1);
    buf_done(&logged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),      cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_every_byte), cmocka_unit_test(test_flood),
        cmocka_unit_test(test_level),      cmocka_unit_test(test_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
