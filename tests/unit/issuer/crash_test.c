/* SPDX-License-Identifier: Apache-2.0 */
/* The issuer is stopped before each of its file operations, and goes on in a new process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/assert.h"
#include "crypto/certificate.h"
#include "fake_ca.h"
#include "issuer/acme_store.h"
#include "issuer/issuer.h"

#define CRASHED 9
#define NOW_S 1000000000

static unsigned crash_at; /* 0 = never */
static struct fake_ca *ca;
static char folder[64];

int __real_rename(const char *from, const char *to);
int __real_fsync(int fd);
int __real_unlink(const char *path);
int __real_mkdir(const char *path, mode_t mode);

static void may_crash(void)
{
    if (crash_at && --crash_at == 0) {
        _exit(CRASHED);
    }
}

int __wrap_rename(const char *from, const char *to)
{
    may_crash();
    return __real_rename(from, to);
}

int __wrap_fsync(int fd)
{
    (void)fd;
    may_crash();
    return 0; /* the disk itself is not tested here */
}

int __wrap_unlink(const char *path)
{
    may_crash();
    return __real_unlink(path);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    may_crash();
    return __real_mkdir(path, mode);
}

/* ---- the world of the issuer ---- */

struct world {
    int64_t now_s;
    unsigned issued;
    unsigned failed;
    int64_t stop_s; /* waits past this are the end */
    char text[512];
};

static int64_t world_now_s(void *context)
{
    return ((struct world *)context)->now_s;
}

static enum err world_send(void *context, const struct web_request *request,
                           struct web_answer *ret_answer, const char **ret_reason)
{
    const struct acme_action action = {
        .kind = ACME_SEND, .method = request->method, .url = request->url, .body = request->body};
    (void)context;
    (void)ret_reason;
    fake_ca_answer(ca, &action, ret_answer);
    return ERR_OK;
}

static bool world_wait(void *context, int64_t until_s)
{
    struct world *w = context;
    w->now_s = until_s;
    return until_s < w->stop_s;
}

static void world_on_event(void *context, enum issuer_event event, const struct task_set *set,
                           const char *text)
{
    struct world *w = context;
    (void)set;
    w->issued += event == ISSUER_ISSUED;
    w->failed += event == ISSUER_FAILED;
    snprintf(w->text, sizeof(w->text), "%s", text);
}

static struct str names[] = {STR("a.test"), STR("b.test")};
static struct task_set set = {.names = names, .name_count = 2, .acme = {.ca = STR(FAKE_DIRECTORY)}};

static int64_t work(struct world *w)
{
    const struct task task = {
        .folder = str_of(folder), .has_plain = true, .sets = &set, .count = 1};
    const struct issuer_io io = {w, world_now_s, world_send, world_wait, world_on_event};
    w->stop_s = w->stop_s ? w->stop_s : w->now_s + 3600;
    return issuer_work(&task, &io);
}

static void begin(void)
{
    strcpy(folder, "/tmp/issuer_crash_XXXXXX");
    assert_non_null(mkdtemp(folder));
    ca = fake_ca_create();
}

static void end(void)
{
    char line[128];
    snprintf(line, sizeof(line), "rm -r %s", folder);
    assert_int_equal(system(line), 0);
    fake_ca_destroy(ca);
}

/* Works in a process of its own; false: it was stopped. */
static bool work_in_child(unsigned stop_at)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct world w = {.now_s = NOW_S + 10};
        crash_at = stop_at;
        work(&w);
        _exit(w.failed ? 1 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == CRASHED);
    return WEXITSTATUS(status) == 0;
}

/* What lies there is whole, whatever happened. */
static bool expect_whole_files(void)
{
    struct certificate *c;
    struct issuer_status status;
    struct buf pem;
    const struct store_set place = {str_of(folder), set.acme.ca, names, 2};
    buf_init(&pem, 0);
    bool has_file = store_read_certificate(&place, &pem) == ERR_OK;
    buf_done(&pem);
    enum err e = issuer_certificate(str_of(folder), &set, &c, &status);
    assert_int_equal(e, has_file ? ERR_OK : ERR_NOT_FOUND);
    assert_int_equal(status.state, has_file ? ISSUER_GOOD : ISSUER_WAITS);
    if (has_file) {
        certificate_unref(c);
    }
    return has_file;
}

static void test_every_crash(void **state)
{
    for (unsigned at = 1;; at++) {
        begin();
        bool is_whole = work_in_child(at);
        expect_whole_files();
        unsigned before = ca->order_count;
        assert_true(work_in_child(0));
        assert_true(expect_whole_files());
        /* Only an order whose answer was not on disk yet may be made again. */
        assert_true(ca->order_count == 1 || (before == 1 && ca->order_count == 2));
        unsigned orders = ca->order_count;
        assert_true(work_in_child(0));
        assert_int_equal(ca->order_count, orders);
        assert_true(ca->accounts <= 2);
        end();
        if (is_whole) {
            assert_true(at > 20);
            return;
        }
    }
}

/* The order that is not known any more is one of a few crash points, not of all. */
static void test_orders_are_rarely_lost(void **state)
{
    unsigned lost = 0;
    for (unsigned at = 1;; at++) {
        begin();
        bool is_whole = work_in_child(at);
        assert_true(work_in_child(0));
        lost += ca->order_count - 1;
        end();
        if (is_whole) {
            break;
        }
    }
    assert_in_range(lost, 1, 5); /* unlink, fsync, rename of the one file that says it */
}

static void test_crash_after_crash(void **state)
{
    begin();
    unsigned runs = 0;
    for (bool is_whole = false; !is_whole; runs++) {
        is_whole = work_in_child(12 + runs / 2);
        expect_whole_files();
        assert_true(runs < 60);
    }
    assert_true(expect_whole_files());
    end();
}

static void test_life_of_a_certificate(void **state)
{
    begin();
    struct world w = {.now_s = NOW_S + 10};
    int64_t next_s = work(&w);
    assert_int_equal(w.issued, 1);
    assert_true(next_s > w.now_s + 3600);
    /* Asked again and again it does nothing until two thirds of the life are over. */
    while (w.issued == 1 && w.now_s < NOW_S + 91 * 86400) {
        w.now_s = next_s;
        w.stop_s = w.now_s + 3600;
        ca->not_before_s = w.now_s;
        ca->not_after_s = w.now_s + 90 * 86400;
        next_s = work(&w);
    }
    assert_int_equal(ca->order_count, 2);
    assert_true(w.now_s > NOW_S + 54 * 86400 && w.now_s < NOW_S + 61 * 86400);
    assert_string_equal(ca->replaces, "");
    end();
}

static void test_window_moves_the_renewal(void **state)
{
    begin();
    struct world w = {.now_s = NOW_S + 10};
    ca->has_window = true; /* 2001-11-01 to 2001-11-02, after 52 days */
    int64_t next_s = work(&w);
    assert_int_equal(ca->requests[FAKE_AT_WINDOW], 1);
    assert_int_equal(next_s - w.now_s, 21600); /* asks again */
    while (w.issued == 1 && w.now_s < NOW_S + 91 * 86400) {
        w.now_s = next_s;
        w.stop_s = w.now_s + 3600;
        next_s = work(&w);
    }
    assert_true(w.now_s >= 1004572800 && w.now_s < 1004572800 + 86400 + 21600);
    assert_true(strlen(ca->replaces) > 8);
    end();
}

static void test_other_challenge_then_pause(void **state)
{
    begin();
    struct world w = {.now_s = NOW_S + 10};
    struct issuer_status status;
    struct certificate *c;
    ca->refuses_proofs = true;
    int64_t next_s = work(&w);
    assert_int_equal(w.failed, 2); /* TLS-ALPN-01, then HTTP-01 */
    assert_int_equal(ca->order_count, 2);
    assert_true(next_s >= w.now_s + 60 && next_s <= w.now_s + 240);
    assert_int_equal(issuer_certificate(str_of(folder), &set, &c, &status), ERR_NOT_FOUND);
    assert_non_null(strstr(status.error, "could not be proved"));
    assert_int_equal(status.retry_at_s, next_s);
    /* For a whole day it stays below the limit of each hour. */
    unsigned hour = 0, first = ca->order_count;
    for (int64_t end_s = w.now_s + 86400; next_s < end_s;) {
        unsigned before = ca->order_count;
        w.now_s = next_s;
        w.stop_s = w.now_s + 3600;
        next_s = work(&w);
        hour += ca->order_count - before;
        assert_true(next_s > w.now_s);
    }
    assert_true(hour >= 8 && first + hour < 40);
    /* What a person changed is tried at once. */
    ca->refuses_proofs = false;
    set.acme.email = STR("new@a.test");
    w.stop_s = w.now_s + 3600;
    work(&w);
    assert_int_equal(w.issued, 1);
    set.acme.email = (struct str){NULL, 0};
    end();
}

static void test_certificate_that_does_not_fit(void **state)
{
    begin();
    struct world w = {.now_s = NOW_S + 10};
    ca->signs_other_key = true;
    work(&w);
    assert_int_equal(w.issued, 0);
    assert_true(w.failed >= 1);
    assert_false(expect_whole_files());
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_crash),
        cmocka_unit_test(test_orders_are_rarely_lost),
        cmocka_unit_test(test_crash_after_crash),
        cmocka_unit_test(test_life_of_a_certificate),
        cmocka_unit_test(test_window_moves_the_renewal),
        cmocka_unit_test(test_other_challenge_then_pause),
        cmocka_unit_test(test_certificate_that_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
