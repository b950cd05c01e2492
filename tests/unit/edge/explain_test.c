/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are explained instead of served; memory that runs out on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "edge/explain.h"
#include "http/head.h"
#include "rig.h"

static const char *const accept_html[] = {"Accept: text/html", "Accept-Encoding: gzip"};

static struct explain_request request_of(const char *host, const char *target)
{
    return (struct explain_request){.method = STR("GET"),
                                    .host = str_of(host),
                                    .target = str_of(target),
                                    .fields = accept_html,
                                    .field_count = 2,
                                    .ip = STR("192.0.2.1"),
                                    .version = HTTP_VERSION_11};
}

static void assert_says(struct site *site, const char *host, const char *target, const char *line)
{
    struct explain_request request = request_of(host, target);
    struct buf out;
    request.is_tls = true; /* plain requests are sent on to it */
    buf_init(&out, 0);
    assert_int_equal(explain_run(site, &request, false, &out), ERR_OK);
    buf_add_char(&out, '\0');
    assert_false(out.is_failed);
    assert_non_null(strstr(out.p, line));
    buf_done(&out);
}

static void test_lines(void **state)
{
    struct site *site = rig_site();
    assert_says(site, "a.test", "/dir/", "file       index dir/index.html\n");
    assert_says(site, "a.test", "/respond", "handler    respond 201, 5 bytes\n");
    assert_says(site, "a.test", "/link-out", "answer     404");
    assert_says(site, "a.test", "/missing", "failure    404: no such file\n");
    assert_says(site, "a.test", "/missing", "its page is 404.html\n");
    assert_says(site, "none.test", "/", "failure    421: no such host\n");
    assert_says(site, "proxy.test", "/x", "X-Own: ours\n");
    assert_says(site, "echo.test", "/x", "backend echo");
    assert_says(site, "a.test", "/%00", "answer     400");
    site_unref(site);
    (void)state;
}

static void test_refused_input(void **state)
{
    static const char *const split[] = {"X: a\r\nY: b"};
    struct site *site = rig_site();
    struct explain_request request = request_of("a.test", "/");
    struct buf out;
    buf_init(&out, 0);
    request.ip = STR("nowhere");
    assert_int_equal(explain_run(site, &request, false, &out), ERR_SYNTAX);
    request = request_of("a.test", "/");
    request.fields = split;
    request.field_count = 1;
    assert_int_equal(explain_run(site, &request, false, &out), ERR_SYNTAX);
    buf_done(&out);
    site_unref(site);
    (void)state;
}

static void sweep(struct site *site, const char *host, const char *target, bool is_tls)
{
    unsigned long n = 0;
    bool has_more = true;
    while (has_more) {
        struct explain_request request = request_of(host, target);
        struct buf out;
        request.is_tls = is_tls;
        buf_init(&out, 0);
        mem_test_fail_at(++n);
        enum err e = explain_run(site, &request, n % 2, &out);
        has_more = mem_test_fail_at(0) >= n;
        assert_true(e == ERR_OK || e == ERR_NOMEM);
        buf_done(&out);
    }
    assert_true(n > 5);
}

static void test_allocations(void **state)
{
    struct site *site = rig_site();
    sweep(site, "a.test", "/missing", true);
    sweep(site, "a.test", "/app.js", true);
    sweep(site, "proxy.test", "/x?y", true);
    sweep(site, "a.test", "/", false);
    site_unref(site);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_refused_input),
        cmocka_unit_test(test_allocations),
    };
    rig_files_make();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rig_files_done();
    return failed;
}
