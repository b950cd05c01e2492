/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges over HTTP/1.x connections: order, framing, bodies, the end of a connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/assert.h"
#include "rig.h"

#define HOST " HTTP/1.1\r\nHost: a\r\n"
#define GET(path) "GET " path HOST "\r\n"

static struct rig rig;
static struct client client;

static int begin(void **state)
{
    struct server_limits limits = rig_limits();
    rig_start(&rig, &limits);
    client_open(&rig, &client);
    return 0;
}

static int end(void **state)
{
    client_close(&client);
    rig_stop(&rig);
    return 0;
}

static unsigned answers(void)
{
    return client_count(&client, "HTTP/1.1 200 OK\r\n");
}

static void put_body(struct client *c, const char *head, size_t n)
{
    char *body = malloc(n);
    memset(body, 'b', n);
    client_send(c, str_of(head));
    client_send(c, str_make(body, n));
    free(body);
}

static void test_keep_alive(void **state)
{
    for (unsigned i = 1; i <= 3; i++) {
        client_send(&client, STR(GET("/n")));
        assert_int_equal(answers(), i);
        assert_int_equal(rig.ended_well, i);
    }
    assert_int_equal(client_count(&client, "Connection:"), 0);
    assert_int_equal(client_count(&client, "\r\nDate: "), 3);
    assert_int_equal(rig.connections, 1);
}

static void test_pipeline(void **state)
{
    client_send(&client, STR(GET("/n") GET("/y") "\r\n" GET("/n") GET("/y")));
    assert_int_equal(answers(), 4);
    assert_int_equal(rig.sends, 1);
    assert_int_equal(rig.ended_well, 4);
    const char *first = memmem(client.got.p, client.got.n, "now\n", 4);
    const char *second = memmem(client.got.p, client.got.n, "ready\n", 6);
    assert_true(first && second && first < second);
}

static void test_pipeline_waits_for_a_late_answer(void **state)
{
    client_send(&client, STR(GET("/n") GET("/l") GET("/n") GET("/l") GET("/y")));
    assert_int_equal(answers(), 1);
    rig_advance(&rig, RIG_LATER_MS + 2);
    client_send(&client, STR(""));
    assert_int_equal(answers(), 3);
    rig_advance(&rig, RIG_LATER_MS + 2);
    client_send(&client, STR(""));
    assert_int_equal(answers(), 5);
    assert_int_equal(rig.ended_well, 5);
}

/* More answers than the queue holds, from input that was received all at once. */
static void test_pipeline_past_the_queue(void **state)
{
    struct buf all;
    buf_init(&all, 0);
    for (int i = 0; i < 10; i++) {
        buf_add_str(&all, STR(GET("/s") GET("/n") GET("/t")));
    }
    client_send(&client, buf_str(&all));
    assert_int_equal(answers(), 30);
    assert_int_equal(rig.ended_well, 30);
    buf_done(&all);
}

/* The queue is full while requests wait that were received already; nothing else arrives that could
 * wake the connection. */
static void test_requests_wait_for_room(void **state)
{
    struct buf all;
    buf_init(&all, 0);
    for (int i = 0; i < 20; i++) {
        buf_add_str(&all, STR(GET("/g")));
    }
    client_put(&client, buf_str(&all));
    rig_settle(&rig);
    assert_true(rig.exchanges < 20);
    client_send(&client, STR(""));
    assert_int_equal(answers(), 20);
    assert_int_equal(rig.ended_well, 20);
    buf_done(&all);
}

static void test_head(void **state)
{
    client_send(&client,
                STR("HEAD /n" HOST "\r\nHEAD /t" HOST "\r\nHEAD /y" HOST "\r\n" GET("/n")));
    assert_int_equal(answers(), 4);
    assert_int_equal(client_count(&client, "Content-Length: 4\r\n"), 2);
    assert_int_equal(client_count(&client, "now\n"), 1);
    assert_int_equal(client_count(&client, "ready\n"), 0);
    assert_int_equal(client_count(&client, "\r\n0\r\n"), 0);
}

static void test_no_content(void **state)
{
    client_send(&client, STR(GET("/x") GET("/n")));
    assert_int_equal(client_count(&client, "HTTP/1.1 204 No Content\r\n"), 1);
    assert_int_equal(client_count(&client, "content"), 0);
    assert_int_equal(answers(), 1);
}

static void test_version_10(void **state)
{
    client_send(&client, STR("GET /n HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    assert_int_equal(client_count(&client, "Connection: keep-alive\r\n"), 1);
    assert_false(client.is_closed);
    client_send(&client, STR("GET /y HTTP/1.0\r\n\r\n"));
    assert_int_equal(client_count(&client, "Connection: close\r\n"), 1);
    assert_int_equal(client_count(&client, "ready\n"), 1);
    assert_true(client.is_closed);
}

static void test_version_10_body_ends_with_the_connection(void **state)
{
    client_send(&client, STR("GET /t HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    assert_int_equal(client_count(&client, "Transfer-Encoding"), 0);
    assert_int_equal(client_body_bytes(&client), RIG_STREAM_BYTES);
    assert_true(client.is_closed);
}

static void test_close_asked(void **state)
{
    client_send(&client, STR("GET /n" HOST "Connection: close\r\n\r\n" GET("/n")));
    assert_int_equal(answers(), 1);
    assert_int_equal(rig.exchanges, 1);
    assert_true(client.is_closed);
}

static void test_echo_under_back_pressure(void **state)
{
    const size_t n = 3u << 20;
    char *body = malloc(n);
    memset(body, 'b', n);
    client_put(&client, STR("POST /e" HOST "Content-Length: 3145728\r\n\r\n"));
    struct str left = str_make(body, n);
    size_t sent = 0, stalled = 0;
    while (stalled < 2) { /* nothing is taken: the server must stop reading */
        size_t step = client_put(&client, str_sub(left, sent, n));
        sent += step;
        stalled = step ? 0 : stalled + 1;
        rig_settle(&rig);
    }
    assert_true(sent < n);
    client_send(&client, str_sub(left, sent, n));
    assert_int_equal(client_body_bytes(&client), n);
    assert_int_equal(rig.ended_well, 1);
    free(body);
    client_send(&client, STR(GET("/n")));
    assert_int_equal(answers(), 2);
}

static void test_empty_and_kept_bodies(void **state)
{
    client_send(&client, STR("POST /e" HOST "Content-Length: 0\r\n\r\n"
                             "POST /k" HOST "Content-Length: 4\r\n\r\nkept" GET("/c")));
    assert_int_equal(answers(), 3);
    assert_int_equal(client_count(&client, "\r\n\r\nkeptHTTP"), 1);
    assert_int_equal(client_count(&client, "counted 0"), 1);
}

static void test_echo_chunked(void **state)
{
    client_send(&client, STR("POST /e" HOST "Transfer-Encoding: chunked\r\n\r\n"
                             "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nA: b\r\n\r\n" GET("/n")));
    assert_int_equal(client_count(&client, "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"), 1);
    assert_int_equal(answers(), 2);
}

#define CHUNKED "Transfer-Encoding: chunked\r\n"

/* They come back where the client takes them, and only behind a chunked body. */
static void test_trailers(void **state)
{
    static const char body[] = "\r\n2\r\nab\r\n0\r\nX-One: 1\r\nx-two:\t2 \r\n\r\n";
    char request[512];
    snprintf(request, sizeof(request), "POST /e" HOST CHUNKED "TE: gzip, trailers\r\n%s", body);
    client_send(&client, str_of(request));
    assert_int_equal(client_count(&client, "0\r\nX-One: 1\r\nx-two: 2\r\n\r\n"), 1);
    snprintf(request, sizeof(request), "POST /e" HOST CHUNKED "%s", body);
    client_send(&client, str_of(request));
    assert_int_equal(client_count(&client, "2\r\nab\r\n0\r\n\r\n"), 1);
    client_send(&client, STR("GET /v" HOST "TE: trailers\r\n\r\n"));
    assert_int_equal(client_count(&client, "0\r\nX-Sum: 12\r\nETag: \"e\"\r\n\r\n"), 1);
    client_send(&client, STR("HEAD /v" HOST "TE: trailers\r\n\r\n" GET("/v")));
    assert_int_equal(client_count(&client, "X-Sum: 12"), 1);
    assert_int_equal(rig.ended_well, 5);
    assert_int_equal(rig.connections, 1);
    client_send(&client, STR("GET /v HTTP/1.0\r\nTE: trailers\r\n\r\n"));
    assert_int_equal(client_count(&client, "X-Sum: 12"), 1);
    assert_int_equal(rig.ended_well, 6);
}

static void test_wrong_trailers(void **state)
{
    static const char *const trailers[] = {
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Host: b",
        "Authorization: Basic x",
        "Content-Type: text/html",
        "Connection: close",
        "No colon",
        "X-Folded: a\r\n b",
        "X: a\x01z",
    };
    for (unsigned i = 0; i < COUNT_OF(trailers); i++) {
        struct client c;
        char request[512];
        client_open(&rig, &c);
        snprintf(request, sizeof(request), "POST /c" HOST CHUNKED "\r\n0\r\n%s\r\n\r\n",
                 trailers[i]);
        client_send(&c, str_of(request));
        assert_int_equal(client_count(&c, "HTTP/1.1 400 "), 1);
        assert_true(c.is_closed || client_count(&c, "Connection: close\r\n") == 1);
        assert_int_equal(rig.refused, i + 1);
        client_close(&c);
    }
    assert_int_equal(rig.ended_well, 0);
}

static void test_too_many_trailers(void **state)
{
    char request[4096] = "POST /c" HOST CHUNKED "\r\n0\r\n";
    for (unsigned i = 0; i <= rig_limits().header_count_max; i++) {
        strcat(request, "X-T: 1\r\n");
    }
    strcat(request, "\r\n");
    client_send(&client, str_of(request));
    assert_int_equal(client_count(&client, "HTTP/1.1 413 "), 1);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.ended_well, 0);
}

static void test_expect_asked(void **state)
{
    client_send(&client, STR("POST /c" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
    assert_int_equal(client_count(&client, "HTTP/1.1 100 Continue\r\n\r\n"), 1);
    client_send(&client, STR("abc"));
    assert_int_equal(client_count(&client, "counted 3"), 1);
    assert_false(client.is_closed);
}

static void test_expect_not_asked(void **state)
{
    client_send(&client, STR("POST /n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
    assert_int_equal(client_count(&client, "100 Continue"), 0);
    assert_int_equal(client_count(&client, "Connection: close\r\n"), 1);
    assert_true(client.is_closed);
}

static void test_no_100_behind_the_head(void **state)
{
    client_send(&client, STR("POST /b" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
    client_send(&client, STR("abc"));
    assert_int_equal(client_count(&client, "100 Continue"), 0);
    assert_int_equal(client_count(&client, "counted 3"), 1);
}

static void test_small_unread_body(void **state)
{
    put_body(&client, "POST /n" HOST "Content-Length: 60000\r\n\r\n", 60000);
    client_send(&client, STR("POST /n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                             "3\r\nabc\r\n0\r\n\r\n" GET("/n")));
    assert_int_equal(answers(), 3);
    assert_int_equal(client_count(&client, "Connection:"), 0);
}

static void test_large_unread_body(void **state)
{
    put_body(&client, "POST /n" HOST "Content-Length: 900000\r\n\r\n", 900000);
    assert_int_equal(client_count(&client, "Connection: close\r\n"), 1);
    assert_true(client.is_closed);        /* the answer has ended */
    assert_int_equal(rig.connections, 1); /* but the rest is still read */
    client_send(&client, STR(GET("/n")));
    assert_int_equal(rig.exchanges, 1);
    shutdown(client.fd, SHUT_WR);
    rig_settle(&rig);
    assert_int_equal(rig.connections, 0);
}

static void test_linger_ends(void **state)
{
    put_body(&client, "POST /n" HOST "Content-Length: 900000\r\n\r\n", 1000);
    assert_int_equal(rig.connections, 1);
    rig_advance(&rig, 2100);
    assert_int_equal(rig.connections, 0);
    assert_int_equal(rig.limits[SERVER_LIMIT_IDLE_TIME], 0);
}

static void test_broken_unread_body(void **state)
{
    client_send(&client, STR("POST /n" HOST "Transfer-Encoding: chunked\r\n\r\nzz" GET("/n")));
    assert_int_equal(answers(), 1);
    assert_int_equal(rig.exchanges, 1);
    assert_true(client.is_closed);
}

/* What was echoed before the body broke is sent, and nothing that looks like an end. */
static void test_body_breaks_within_the_answer(void **state)
{
    client_send(&client, STR("POST /e" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz"));
    assert_int_equal(client_count(&client, "3\r\nabc\r\n"), 1);
    assert_int_equal(client_count(&client, "0\r\n\r\n"), 0);
    assert_true(client.is_closed);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.ended_well, 0);
}

static void test_body_breaks_before_the_answer(void **state)
{
    client_send(&client, STR("POST /c" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz"));
    assert_int_equal(client_count(&client, "HTTP/1.1 400 "), 1);
    assert_true(client.is_closed);
}

static void test_bad_head(void **state)
{
    client_send(&client, STR(GET("/n") "GET  /\r\n\r\n" GET("/n")));
    assert_int_equal(answers(), 1);
    assert_int_equal(client_count(&client, "HTTP/1.1 400 "), 1);
    assert_int_equal(rig.refused_status, 400);
    assert_true(client.is_closed);
}

static void test_half_closed(void **state)
{
    client_put(&client, STR(GET("/n") GET("/l") GET("/t") "GET /n HT"));
    shutdown(client.fd, SHUT_WR);
    client_send(&client, STR(""));
    rig_advance(&rig, RIG_LATER_MS + 2);
    client_send(&client, STR(""));
    assert_int_equal(answers(), 3);
    assert_true(client.is_closed);
    assert_int_equal(rig.ended_well, 3);
    assert_int_equal(rig.connections, 0);
}

static void test_half_closed_within_an_unread_body(void **state)
{
    client_put(&client, STR("POST /s" HOST "Content-Length: 10\r\n\r\nabc"));
    shutdown(client.fd, SHUT_WR);
    client_send(&client, STR(""));
    assert_int_equal(client_body_bytes(&client), RIG_STREAM_BYTES);
    assert_int_equal(rig.ended_well, 1);
    assert_true(client.is_closed);
}

static void test_client_leaves(void **state)
{
    static const char *const requests[] = {GET("/s"),
                                           GET("/f"),
                                           GET("/h"),
                                           GET("/l"),
                                           "GET /",
                                           "POST /c" HOST "Content-Length: 9\r\n\r\nabc",
                                           "POST /e" HOST "Content-Length: 9\r\n\r\nabc"};
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        struct client other;
        client_open(&rig, &other);
        client_put(&other, str_of(requests[i]));
        rig_settle(&rig);
        client_close(&other);
        assert_int_equal(rig.connections, 1);
    }
    assert_int_equal(rig.ended, rig.exchanges);
    assert_int_equal(rig.ended_well, 0);
}

static void test_service_resets(void **state)
{
    client_send(&client, STR(GET("/r") GET("/n")));
    assert_int_equal(client.got.n, 0);
    assert_true(client.is_closed);
    assert_int_equal(rig.exchanges, 1);
    client_close(&client);
    client_open(&rig, &client);
    client_send(&client, STR(GET("/p")));
    assert_int_equal(client_count(&client, "short"), 0);
    assert_true(client.is_closed);
    assert_int_equal(rig.ended, 2);
}

static void test_file(void **state)
{
    client_send(&client, STR(GET("/f") GET("/n")));
    assert_int_equal(answers(), 2);
    assert_true(client_body_bytes(&client) > RIG_FILE_BYTES);
}

static void test_file_is_cut(void **state)
{
    client_put(&client, STR(GET("/f") GET("/n")));
    rig_settle(&rig);
    assert_int_equal(ftruncate(rig.file_fd, 4096), 0);
    client_send(&client, STR(""));
    assert_true(client.is_closed);
    assert_true(client_body_bytes(&client) < RIG_FILE_BYTES);
    assert_int_equal(answers(), 1);
    assert_int_equal(rig.ended, rig.exchanges);
}

static void run_cut(struct str all, size_t cut, struct buf *ret_got)
{
    struct client c;
    client_open(&rig, &c);
    client_send(&c, str_sub(all, 0, cut));
    client_send(&c, str_sub(all, cut, all.n));
    rig_advance(&rig, RIG_LATER_MS + 2);
    client_send(&c, STR(""));
    rig_blank_dates(&c.got);
    buf_init(ret_got, 0);
    buf_add_str(ret_got, buf_str(&c.got));
    client_close(&c);
}

static void test_cuts(void **state)
{
    static const char *const scenarios[] = {
        GET("/n") "\r\nHEAD /y" HOST "\r\n" GET("/l") GET("/y?q=1"),
        "POST /c" HOST "Content-Length: 5\r\n\r\nabcde" GET("/n"),
        "POST /c" HOST "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\n"
        "T: u\r\n\r\n" GET("/n"),
        "POST /n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" GET("/n"),
        "POST /n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n\r\n" GET("/n"),
        "POST /e" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde" GET("/n"),
        "POST /c" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde" GET("/n"),
        "POST /n HTTP/1.0\r\nContent-Length: 5\r\n\r\nabcde" GET("/n"),
        GET("/n") "GET /\x01" HOST "\r\n" GET("/n"),
        GET("/n") "GET /n" HOST "Connection: close\r\n\r\n" GET("/n"),
    };
    for (size_t i = 0; i < COUNT_OF(scenarios); i++) {
        struct str all = str_of(scenarios[i]);
        struct buf whole;
        run_cut(all, all.n, &whole);
        assert_true(whole.n > 0);
        for (size_t cut = 1; cut < all.n; cut++) {
            struct buf got;
            run_cut(all, cut, &got);
            if (!str_eq(buf_str(&got), buf_str(&whole))) {
                fail_msg("scenario %zu cut at %zu:\n%.*s\nwhole:\n%.*s", i, cut, (int)got.n, got.p,
                         (int)whole.n, whole.p);
            }
            buf_done(&got);
        }
        buf_done(&whole);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keep_alive),
        TEST(test_pipeline),
        TEST(test_pipeline_waits_for_a_late_answer),
        TEST(test_pipeline_past_the_queue),
        TEST(test_requests_wait_for_room),
        TEST(test_head),
        TEST(test_no_content),
        TEST(test_version_10),
        TEST(test_version_10_body_ends_with_the_connection),
        TEST(test_close_asked),
        TEST(test_echo_under_back_pressure),
        TEST(test_empty_and_kept_bodies),
        TEST(test_echo_chunked),
        TEST(test_trailers),
        TEST(test_wrong_trailers),
        TEST(test_too_many_trailers),
        TEST(test_expect_asked),
        TEST(test_expect_not_asked),
        TEST(test_no_100_behind_the_head),
        TEST(test_small_unread_body),
        TEST(test_large_unread_body),
        TEST(test_linger_ends),
        TEST(test_broken_unread_body),
        TEST(test_body_breaks_within_the_answer),
        TEST(test_body_breaks_before_the_answer),
        TEST(test_bad_head),
        TEST(test_half_closed),
        TEST(test_half_closed_within_an_unread_body),
        TEST(test_client_leaves),
        TEST(test_service_resets),
        TEST(test_file),
        TEST(test_file_is_cut),
        TEST(test_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
