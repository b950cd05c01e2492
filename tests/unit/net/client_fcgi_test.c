/* SPDX-License-Identifier: Apache-2.0 */
/* FastCGI against an upstream that the test plays by hand: every answer cut at every byte, broken
 * off at every byte, and with every allocation failing. */
#include "client_rig.h"

#define HEAD "Content-Type: a\r\n\r\n" /* 19 bytes */
#define OUT(n) "\1\6\0\1\0" n "\0\0"
#define LOG(n) "\1\7\0\1\0" n "\0\0"
#define END "\1\3\0\1\0\10\0\0\0\0\0\0\0\0\0\0"
#define FAILED "\1\3\0\1\0\10\0\0\0\0\0\1\0\0\0\0"
#define BUSY "\1\3\0\1\0\10\0\0\0\0\0\0\2\0\0\0"

struct answer {
    const char *method;
    struct str text;
    const char *body;
    unsigned status;
    enum client_fault fault;
    bool is_kept;
};

static const struct answer answers[] = {
    {"GET", STR(OUT("\30") HEAD "hello" OUT("\0") END), "hello", 200, 0, true},
    {"GET", STR(LOG("\3") "log" OUT("\23") HEAD LOG("\3") "log" OUT("\2") "ok" END), "ok", 200, 0,
     true},
    {"GET", STR(OUT("\5") "Conte" OUT("\23") "nt-Type: a\r\n\r\nhello" END), "hello", 200, 0, true},
    {"HEAD", STR(OUT("\30") HEAD "hello" END), "", 200, 0, true},
    {"GET", STR(OUT("\30") HEAD "hello" END "more"), "hello", 200, 0, false},
    {"GET", STR(OUT("\46") "Content-Length: 5\n" HEAD "h" OUT("\4") "ello" END), "hello", 200, 0,
     true},
    {"GET", STR(OUT("\46") "Content-Length: 5\n" HEAD "h" END), "h", 200, CLIENT_FAULT_CUT, false},
    {"GET", STR(OUT("\47") "Content-Length: 1\n" HEAD "hi" END), "", 200, CLIENT_FAULT_RESPONSE,
     false},
    {"GET", STR(OUT("\30") HEAD "hello" FAILED), "hello", 200, CLIENT_FAULT_CUT, false},
    {"GET", STR(FAILED), "", 0, CLIENT_FAULT_RESPONSE, false},
    {"GET", STR(BUSY), "", 0, CLIENT_FAULT_REFUSED, false},
    {"GET", STR(END), "", 0, CLIENT_FAULT_RESPONSE, false},
    {"GET", STR("\2\6\0\1\0\0\0\0"), "", 0, CLIENT_FAULT_RESPONSE, false},
    {"GET", STR(OUT("\2") "\r\n" END), "", 0, CLIENT_FAULT_RESPONSE, false},
};

static void fcgi_start(struct rig *r)
{
    rig_start(r);
    r->target.protocol = CLIENT_FCGI;
}

/* All of it, in two pieces. */
static void test_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        const struct answer *want = &answers[i];
        for (size_t cut = 0; cut <= want->text.n; cut++) {
            struct rig r;
            struct ask a = {0};
            fcgi_start(&r);
            ask(&r, &a, want->method);
            assert_true(take(&r));
            say(&r, str_sub(want->text, 0, cut));
            try_to_say(&r, str_sub(want->text, cut, want->text.n));
            assert_true(a.is_ended);
            if (a.end.fault != want->fault || a.status != want->status) {
                fail_msg("%zu at %zu: %s", i, cut, client_fault_name(a.end.fault));
            }
            buf_add_char(&a.body, '\0');
            /* More than was announced is refused where it is seen. */
            bool is_more = want->fault == CLIENT_FAULT_RESPONSE && want->status;
            assert_true(is_more || strcmp(a.body.p, want->body) == 0);
            if (cut == want->text.n) {
                assert_int_equal(client_idle_count(r.client), want->is_kept);
            }
            ask_done(&a);
            rig_stop(&r);
        }
    }
}

/* The upstream dies after each byte: what is not whole is never taken for it. */
static void test_broken_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        const struct answer *want = &answers[i];
        for (size_t cut = 0; cut < want->text.n; cut++) {
            struct rig r;
            struct ask a = {0};
            fcgi_start(&r);
            ask(&r, &a, want->method);
            assert_true(take(&r));
            say(&r, str_sub(want->text, 0, cut));
            hang_up(&r);
            settle(&r);
            assert_true(a.is_ended);
            bool is_over = a.end.fault == CLIENT_FAULT_CLOSED || a.end.fault == CLIENT_FAULT_CUT;
            bool is_whole = a.end.fault == CLIENT_FAULT_NONE && !want->is_kept && !want->fault;
            assert_true(is_over || is_whole || (want->fault && a.end.fault == want->fault));
            assert_int_equal(a.end.has_answered, cut > 0);
            assert_true(a.end.fault != CLIENT_FAULT_CLOSED || a.status == 0);
            ask_done(&a);
            rig_stop(&r);
        }
    }
}

/* Bytes that nobody asked for stay where they are. */
static void test_slow_reader(void **state)
{
    static char record[8 + 60000];
    struct rig r;
    struct ask a = {.is_slow = true};
    (void)state;
    fcgi_start(&r);
    ask(&r, &a, "GET");
    assert_true(take(&r));
    say(&r, STR(OUT("\23") HEAD));
    memcpy(record, "\1\6\0\1\352\140\0\0", 8); /* 60000 */
    memset(record + 8, 'x', 60000);
    say(&r, str_make(record, sizeof(record)));
    say(&r, STR(END));
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.n, 0);
    assert_false(a.is_ended);
    for (unsigned i = 0; i < 20 && !a.is_ended; i++) {
        client_read_body(a.x);
        settle(&r);
    }
    assert_true(a.is_ended);
    assert_int_equal(a.end.fault, CLIENT_FAULT_NONE);
    assert_int_equal(a.body.n, 60000);
    ask_done(&a);
    rig_stop(&r);
}

static void test_requests(void **state)
{
    struct rig r;
    struct ask a = {0};
    struct buf got;
    (void)state;
    fcgi_start(&r);
    /* Neither a tunnel nor a body without a length can be said. */
    const struct client_request upgrade = {
        .method = STR("GET"), .target = STR("/"), .upgrade = STR("websocket")};
    assert_int_equal(ask_with(&r, &a, &upgrade), ERR_SYNTAX);
    ask_done(&a);
    const struct client_request endless = {.method = STR("PUT"),
                                           .target = STR("/"),
                                           .has_body = true,
                                           .body_bytes = CLIENT_LENGTH_UNKNOWN};
    assert_int_equal(ask_with(&r, &a, &endless), ERR_SYNTAX);
    ask_done(&a);
    ask_upload(&r, &a, 5);
    while (take(&r)) {
        /* The connections of those that could not begin are over. */
    }
    assert_int_equal(client_send(a.x, STR("hel")), ERR_OK);
    assert_int_equal(client_finish(a.x, NULL), ERR_SYNTAX);
    assert_int_equal(client_send(a.x, STR("lo!")), ERR_SYNTAX);
    assert_int_equal(client_send(a.x, STR("lo")), ERR_OK);
    assert_int_equal(client_finish(a.x, NULL), ERR_OK);
    buf_init(&got, 0);
    assert_true(hear(&r, &got));
    static const char tail[] = "\1\5\0\1\0\3\0\0hel\1\5\0\1\0\2\0\0lo\1\5\0\1\0\0\0\0";
    assert_true(got.n > sizeof(tail));
    assert_memory_equal(got.p, "\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0", 16);
    assert_memory_equal(got.p + got.n - (sizeof(tail) - 1), tail, sizeof(tail) - 1);
    assert_non_null(memmem(got.p, got.n, "\11\1HTTP_HOSTu", 12));
    assert_non_null(memmem(got.p, got.n, "\16\1CONTENT_LENGTH5", 17));
    buf_done(&got);
    say(&r, STR(OUT("\23") HEAD END));
    assert_true(a.is_ended && a.end.fault == CLIENT_FAULT_NONE);
    ask_done(&a);
    rig_stop(&r);
}

/* The answer comes first: the rest is not sent, and the connection is not used again. */
static void test_early_answer(void **state)
{
    struct rig r;
    struct ask a = {0};
    (void)state;
    fcgi_start(&r);
    ask_upload(&r, &a, 5);
    assert_true(take(&r));
    assert_int_equal(client_send(a.x, STR("hel")), ERR_OK);
    say(&r, STR(OUT("\23") HEAD END));
    assert_true(a.is_ended && a.end.fault == CLIENT_FAULT_NONE);
    assert_int_equal(client_idle_count(r.client), 0);
    ask_done(&a);
    rig_stop(&r);
}

/* A program that only writes for its log makes no progress. */
static void test_log_is_no_progress(void **state)
{
    struct rig r;
    struct ask a = {0};
    (void)state;
    fcgi_start(&r);
    ask(&r, &a, "GET");
    assert_true(take(&r));
    for (unsigned i = 0; i < 61 && !a.is_ended; i++) {
        try_to_say(&r, STR(LOG("\3") "log"));
        advance(&r, 1000);
    }
    assert_true(a.is_ended);
    assert_int_equal(a.end.fault, CLIENT_FAULT_FIRST_TIME);
    ask_done(&a);
    rig_stop(&r);
}

/* An upload, an answer in pieces; the `fail_at`-th allocation of ours fails. */
static unsigned long scenario(unsigned long fail_at)
{
    static char block[70000];
    struct rig r;
    struct ask a = {.is_slow = true};
    const struct client_variable variables[] = {{STR("A"), STR("b")},
                                                {STR("LONG"), str_make(block, 40000)},
                                                {STR("MORE"), str_make(block, 40000)}};
    const struct client_request request = {.method = STR("PUT"),
                                           .method_id = HTTP_PUT,
                                           .target = STR("/a"),
                                           .has_body = true,
                                           .body_bytes = sizeof(block),
                                           .variables = variables,
                                           .variable_count = COUNT_OF(variables)};
    struct buf got;
    fcgi_start(&r);
    mem_test_fail_at(fail_at);
    enum err e = ask_with(&r, &a, &request);
    e = e ? e : client_send(a.x, str_make(block, sizeof(block)));
    e = e ? e : client_finish(a.x, NULL);
    assert_true(e == ERR_OK || e == ERR_NOMEM);
    buf_init(&got, 0);
    bool is_there = !e && take(&r) && !a.is_ended && hear(&r, &got);
    if (is_there) {
        say(&r, STR(OUT("\5") "Conte"));
        try_to_say(&r, STR(OUT("\23") "nt-Type: a\r\n\r\nhello" END));
    }
    for (unsigned i = 0; is_there && i < 20 && !a.is_ended; i++) {
        client_read_body(a.x);
        settle(&r);
    }
    unsigned long count = mem_test_fail_at(0);
    assert_true(!is_there || a.is_ended);
    if (is_there && a.end.fault == CLIENT_FAULT_NONE) {
        assert_true(a.body.n == 5 || a.body.is_failed);
    } else if (a.is_ended) {
        assert_int_equal(a.end.fault, CLIENT_FAULT_MEMORY);
    }
    assert_true(fail_at > 0 || (is_there && a.end.fault == CLIENT_FAULT_NONE));
    buf_done(&got);
    ask_done(&a);
    rig_stop(&r);
    return count;
}

static void test_allocation_failures(void **state)
{
    (void)state;
    unsigned long count = scenario(0);
    assert_true(count > 5);
    for (unsigned long i = 1; i <= count; i++) {
        scenario(i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_broken_off),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_log_is_no_progress),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
