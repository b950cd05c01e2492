/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "json_check.h"
#include "log/metrics.h"

static const char *const limits[] = {"rate_ip", "body_bytes"};
static const char *const reasons[] = {"bad_target", "two_lengths", "obs_fold"};
static const char *const causes[] = {"connect"};
static const struct metrics_options options = {2, limits, 2, reasons, 3, causes, 1};

static struct metrics *filled(void)
{
    struct metrics *m;
    assert_int_equal(metrics_create(&options, &m), ERR_OK);
    struct metrics_block *a = metrics_block(m, 0), *b = metrics_block(m, 1);
    metrics_request(a, METRICS_METHOD_GET, 200, 1500000);
    metrics_request(b, METRICS_METHOD_GET, 200, 100000);
    metrics_request(b, metrics_method_of(STR("BREW")), 418, UINT64_C(3600000000000));
    metrics_request(a, METRICS_METHOD_QUERY, 99999, 0);
    metrics_add(a, METRICS_CONN_ACTIVE, 5);
    metrics_add(b, METRICS_CONN_ACTIVE, -2);
    metrics_add(a, METRICS_CONN_ACCEPTED, 7);
    metrics_add(a, METRICS_BYTES_IN, 1000);
    metrics_add_at(a, METRICS_LIMIT_HITS, 1, 3);
    metrics_add_at(b, METRICS_BAD_REQUESTS, 2, 4);
    metrics_add_at(b, METRICS_BAD_REQUESTS, 3, 4); /* out of range: ignored */
    metrics_set(b, METRICS_LOOP_LAG, 1500000);
    metrics_set_process(m, METRICS_MEMORY, 123456789);
    metrics_set_process(m, METRICS_RELOAD_STATE, 1);
    metrics_set_process(m, METRICS_LOG_DROPPED, 11);
    return m;
}

static void has(const struct buf *out, const char *text)
{
    if (!memmem(out->p, out->n, text, strlen(text))) {
        fail_msg("no %s in\n%.*s", text, STR_ARG(buf_str(out)));
    }
}

static void test_prometheus(void **state)
{
    struct metrics *m = filled();
    struct buf out;
    (void)state;
    buf_init(&out, 0);
    metrics_write_prometheus(m, &out);
    has(&out, "\nsws_http_requests_total{method=\"GET\",status=\"200\"} 2\n");
    has(&out, "\nsws_http_requests_total{method=\"OTHER\",status=\"418\"} 1\n");
    has(&out, "\nsws_http_requests_total{method=\"QUERY\",status=\"0\"} 1\n");
    has(&out, "\nsws_http_request_duration_seconds_bucket{le=\"0.0001\"} 2\n");
    has(&out, "\nsws_http_request_duration_seconds_bucket{le=\"0.001\"} 2\n");
    has(&out, "\nsws_http_request_duration_seconds_bucket{le=\"0.0025\"} 3\n");
    has(&out, "\nsws_http_request_duration_seconds_bucket{le=\"60\"} 3\n");
    has(&out, "\nsws_http_request_duration_seconds_bucket{le=\"+Inf\"} 4\n");
    has(&out, "\nsws_http_request_duration_seconds_sum 3600.001600000\n");
    has(&out, "\nsws_http_request_duration_seconds_count 4\n");
    has(&out, "\nsws_conn_active 3\n");
    has(&out, "\nsws_limit_hits_total{limit=\"body_bytes\"} 3\n");
    has(&out, "\nsws_bad_requests_total{reason=\"obs_fold\"} 4\n");
    has(&out, "\nsws_loop_lag_seconds{loop=\"1\"} 0.001500000\n");
    has(&out, "\nsws_memory_bytes 123456789\n");
    has(&out, "\nsws_log_dropped_lines_total 11\n");
    assert_int_equal(metrics_get(m, METRICS_CONN_ACTIVE), 3);
    assert_int_equal(metrics_get(m, METRICS_MEMORY), 123456789);
    buf_done(&out);
    metrics_destroy(m);
}

/* The real linter, where it is installed. */
static void test_promtool(void **state)
{
    struct metrics *m = filled();
    struct buf out;
    (void)state;
    buf_init(&out, 0);
    metrics_write_prometheus(m, &out);
    bool has_tool = system("command -v promtool >/dev/null 2>&1") == 0;
    if (has_tool) {
        FILE *tool = popen("promtool check metrics >&2", "w");
        assert_non_null(tool);
        assert_int_equal(fwrite(out.p, 1, out.n, tool), out.n);
        assert_int_equal(pclose(tool), 0);
    }
    buf_done(&out);
    metrics_destroy(m);
    if (!has_tool) {
        skip();
    }
}

static void test_json(void **state)
{
    struct metrics *m = filled();
    struct buf out;
    (void)state;
    buf_init(&out, 0);
    metrics_write_json(m, &out);
    assert_true(json_check_line(out.p, out.n));
    has(&out, "\"sws_conn_active\":{\"type\":\"gauge\",\"values\":[{\"labels\":{},\"value\":3}]}");
    has(&out, "{\"labels\":{\"method\":\"GET\",\"status\":\"200\"},\"value\":2}");
    has(&out, "\"+Inf\":4},\"sum\":3600.001600000,\"count\":4}");
    buf_done(&out);
    metrics_destroy(m);
}

#define ROUNDS 200000

static void *count_requests(void *block)
{
    for (int i = 0; i < ROUNDS; i++) {
        metrics_request(block, METRICS_METHOD_GET, 200, 1000);
        metrics_add(block, METRICS_CONN_ACCEPTED, 1);
    }
    return NULL;
}

/* Nothing is lost, and a reader beside the writers sees a sum that only grows. */
static void test_threads(void **state)
{
    struct metrics *m;
    pthread_t threads[2];
    int64_t last = 0;
    (void)state;
    assert_int_equal(metrics_create(&options, &m), ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, count_requests, metrics_block(m, i));
    }
    for (int i = 0; i < 1000; i++) {
        int64_t now = metrics_get(m, METRICS_CONN_ACCEPTED);
        assert_true(now >= last);
        last = now;
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(metrics_get(m, METRICS_CONN_ACCEPTED), 2 * ROUNDS);
    metrics_destroy(m);
}

static void test_no_memory(void **state)
{
    struct metrics *m;
    (void)state;
    mem_test_fail_at(0);
    metrics_destroy(filled());
    unsigned long count = mem_test_fail_at(0);
    for (unsigned long i = 1; i <= count; i++) {
        mem_test_fail_at(i);
        assert_int_equal(metrics_create(&options, &m), ERR_NOMEM);
        mem_test_fail_at(0);
    }
    assert_int_equal(metrics_method_of(STR("get")), METRICS_METHOD_OTHER);
    assert_int_equal(metrics_method_of(STR("PATCH")), METRICS_METHOD_PATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prometheus), cmocka_unit_test(test_promtool),
        cmocka_unit_test(test_json),       cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
