/* SPDX-License-Identifier: Apache-2.0 */
/* The client side against an upstream that the test plays by hand, over Unix sockets on a simulated
 * loop: every answer cut at every byte, broken off at every byte, with every allocation failing. */
#include "client_rig.h"

/* ---- answers ---- */

#define S "HTTP/1.1 200 OK\r\n"
#define TE "Transfer-Encoding: chunked\r\n"

struct answer {
    const char *method;
    const char *text;
    enum client_fault fault;
    unsigned status;
    const char *body;
    const char *trailers;
    bool is_kept;
    bool needs_close; /* only then it is whole */
};

static const struct answer answers[] = {
    {"GET", S "Content-Length: 5\r\n\r\nhello", .status = 200, .body = "hello", .is_kept = true},
    {"GET", S "Content-Length: 0\r\n\r\n", .status = 200, .is_kept = true},
    {"HEAD", S "Content-Length: 5\r\n\r\n", .status = 200, .is_kept = true},
    {"HEAD", S TE "\r\n", .status = 200, .is_kept = true},
    {"GET", "HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n", .status = 304, .is_kept = true},
    {"GET", "HTTP/1.1 204\r\n\r\n", .status = 204, .is_kept = true},
    {"GET", S TE "\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", .status = 200, .body = "hello",
     .is_kept = true},
    {"GET", S TE "\r\n5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n", .status = 200, .body = "hello",
     .trailers = "A=b;C=d;", .is_kept = true},
    {"GET", S TE "Connection: close\r\n\r\n0\r\n\r\n", .status = 200},
    {"GET", S "\r\nhello", .status = 200, .body = "hello", .needs_close = true},
    {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", .status = 200, .body = "hello"},
    {"GET",
     "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 103 x\r\nLink: <a>\r\n\r\n" S "Content-Length: 1\r\n\r\n!",
     .status = 200, .body = "!", .is_kept = true},
    /* What follows an answer is no answer. */
    {"GET", S "Content-Length: 5\r\n\r\nhello!", .status = 200, .body = "hello"},
    {"HEAD", S "Content-Length: 5\r\n\r\nhello", .status = 200},
    {"GET", "HTTP/1.1 204\r\n\r\n" S "\r\n", .status = 204},
    {"GET", S "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
     .fault = CLIENT_FAULT_RESPONSE},
    {"GET", S "A: b\n\n", .fault = CLIENT_FAULT_RESPONSE},
    {"GET", "nonsense", .fault = CLIENT_FAULT_RESPONSE},
    {"GET", S TE "\r\n5\r\nhello\n0\r\n\r\n", .fault = CLIENT_FAULT_RESPONSE, .status = 200,
     .body = "hello"},
    {"GET", S TE "\r\nx", .fault = CLIENT_FAULT_RESPONSE, .status = 200},
    {"GET", S TE "\r\n0\r\nContent-Length: 1\r\n\r\n", .fault = CLIENT_FAULT_RESPONSE,
     .status = 200},
    {"GET", "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: y\r\n\r\n",
     .fault = CLIENT_FAULT_UPGRADE},
};

static void check_answer(struct rig *r, const struct answer *want, struct ask *a)
{
    buf_add_char(&a->body, '\0');
    buf_add_char(&a->trailers, '\0');
    if (!a->is_ended || a->end.fault != want->fault || a->status != want->status) {
        fail_msg("%s: %s, status %u", want->text, client_fault_name(a->end.fault), a->status);
    }
    assert_string_equal(a->body.p, want->body ? want->body : "");
    assert_string_equal(a->trailers.p, want->trailers ? want->trailers : "");
    assert_int_equal(client_idle_count(r->client), want->is_kept);
    assert_true(is_open(r) == want->is_kept || want->needs_close);
}

/* All of it, in two pieces. */
static void test_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct str text = str_of(answers[i].text);
        for (size_t cut = 0; cut <= text.n; cut++) {
            struct rig r;
            struct ask a = {0};
            rig_start(&r);
            ask(&r, &a, answers[i].method);
            assert_true(take(&r));
            say(&r, str_sub(text, 0, cut));
            try_to_say(&r, str_sub(text, cut, text.n));
            if (answers[i].needs_close) {
                assert_false(a.is_ended);
                shutdown(r.fd, SHUT_WR);
                settle(&r);
            }
            if (cut == 0 || cut == text.n) {
                check_answer(&r, &answers[i], &a);
            } else {
                /* What stands behind a whole answer and comes later ends a connection at rest. */
                assert_true(a.is_ended);
                assert_int_equal(a.end.fault, answers[i].fault);
                assert_int_equal(client_idle_count(r.client), answers[i].is_kept);
            }
            ask_done(&a);
            rig_stop(&r);
        }
    }
}

/* The upstream dies after each byte. An answer that is not whole is never taken for one. */
static void test_broken_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct str text = str_of(answers[i].text);
        for (size_t cut = 0; cut < text.n; cut++) {
            struct rig r;
            struct ask a = {0};
            rig_start(&r);
            ask(&r, &a, answers[i].method);
            assert_true(take(&r));
            say(&r, str_sub(text, 0, cut));
            hang_up(&r);
            settle(&r);
            assert_true(a.is_ended);
            bool is_early = a.end.fault == CLIENT_FAULT_CLOSED;
            bool is_cut = a.end.fault == CLIENT_FAULT_CUT;
            assert_int_equal(is_early, a.status == 0 && a.end.fault != CLIENT_FAULT_RESPONSE);
            assert_true(is_early || is_cut || a.end.fault == answers[i].fault);
            assert_int_equal(a.end.has_answered, cut > 0);
            if (a.end.fault == CLIENT_FAULT_NONE && !answers[i].needs_close) {
                /* Whole already: what is missing stood behind it. */
                assert_int_equal(a.body.n, answers[i].body ? strlen(answers[i].body) : 0);
                assert_false(answers[i].is_kept);
            }
            assert_int_equal(client_idle_count(r.client), 0);
            ask_done(&a);
            rig_stop(&r);
        }
    }
}

/* A body that is not asked for stays where it is, also behind an upstream that is gone. */
static void test_slow_reader(void **state)
{
    static char block[300000];
    struct rig r;
    struct ask a = {.is_slow = true};
    (void)state;
    memset(block, 'b', sizeof(block));
    rig_start(&r);
    ask(&r, &a, "GET");
    assert_true(take(&r));
    say(&r, STR(S "Content-Length: 150000\r\n\r\n"));
    say(&r, str_make(block, 150000));
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.n, 0);
    hang_up(&r);
    settle(&r);
    advance(&r, 100000); /* no time limit: it is us who do not read */
    assert_false(a.is_ended);
    while (!a.is_ended) {
        size_t before = a.body.n;
        client_read_body(a.x);
        settle(&r);
        assert_true(a.body.n > before);
    }
    assert_int_equal(a.body.n, 150000);
    assert_int_equal(a.end.fault, CLIENT_FAULT_NONE);
    ask_done(&a);
    rig_stop(&r);
}

/* ---- requests ---- */

static void test_requests(void **state)
{
    struct rig r;
    struct ask a = {0};
    struct http_field array[2];
    struct http_fields trailers;
    (void)state;
    rig_start(&r);
    ask(&r, &a, "GET");
    assert_true(take(&r));
    assert_hears(&r, "GET /a HTTP/1.1\r\nHost: u\r\n\r\n");
    ask_done(&a);
    assert_false(is_open(&r));

    ask_upload(&r, &a, 5);
    assert_int_equal(client_send(a.x, STR("he")), ERR_OK); /* before there is a connection */
    assert_true(take(&r));
    assert_int_equal(client_send(a.x, STR("llo")), ERR_OK);
    assert_int_equal(client_send(a.x, STR("!")), ERR_SYNTAX);
    assert_int_equal(client_finish(a.x, NULL), ERR_OK);
    assert_int_equal(client_send(a.x, STR("!")), ERR_SYNTAX);
    assert_hears(&r, "PUT /a HTTP/1.1\r\nHost: u\r\nContent-Length: 5\r\n\r\nhello");
    ask_done(&a);

    ask_upload(&r, &a, 5);
    assert_int_equal(client_send(a.x, STR("hell")), ERR_OK);
    assert_int_equal(client_finish(a.x, NULL), ERR_SYNTAX);
    ask_done(&a);

    http_fields_init(&trailers, array, 2);
    assert_int_equal(http_fields_add(&trailers, STR("X-Sum"), STR("1")), ERR_OK);
    (void)take(&r);
    ask_upload(&r, &a, CLIENT_LENGTH_UNKNOWN);
    assert_true(take(&r));
    assert_int_equal(client_send(a.x, STR("hello")), ERR_OK);
    assert_int_equal(client_finish(a.x, &trailers), ERR_OK);
    assert_hears(&r, "PUT /a HTTP/1.1\r\nHost: u\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n");
    ask_done(&a);

    r.target.idle_max = 0;
    ask(&r, &a, "DELETE");
    assert_true(take(&r));
    assert_hears(&r, "DELETE /a HTTP/1.1\r\nHost: u\r\nConnection: close\r\n\r\n");
    ask_done(&a);
    ask_upgrade(&r, &a);
    assert_true(take(&r));
    assert_hears(&r, "GET /a HTTP/1.1\r\nHost: u\r\nConnection: upgrade\r\n"
                     "Upgrade: websocket\r\n\r\n");
    ask_done(&a);

    const struct client_request bad = {.method = STR("GET"), .target = STR("/ x")};
    assert_int_equal(ask_with(&r, &a, &bad), ERR_SYNTAX);
    ask_done(&a);
    rig_stop(&r);
}

/* ---- the pool ---- */

static void answer(struct rig *r, struct ask *a)
{
    say(r, STR(S "Content-Length: 0\r\n\r\n"));
    assert_true(a->is_ended);
    assert_int_equal(a->end.fault, CLIENT_FAULT_NONE);
    ask_done(a);
}

static void test_reuse(void **state)
{
    struct rig r;
    struct ask a = {0}, b = {0}, c = {0};
    (void)state;
    rig_start(&r);
    ask(&r, &a, "GET");
    assert_true(take(&r));
    answer(&r, &a);
    assert_false(a.end.is_reused);
    ask(&r, &a, "GET");
    assert_false(take(&r));
    answer(&r, &a);
    assert_true(a.end.is_reused);

    /* It ends while it rests, which the kernel knows and we do not yet. */
    hang_up(&r);
    ask(&r, &a, "GET");
    assert_true(take(&r));
    assert_int_equal(client_idle_count(r.client), 0);
    answer(&r, &a);

    /* Bytes that nobody asked for, before and behind the loop's back. */
    say(&r, STR(S));
    assert_int_equal(client_idle_count(r.client), 0);
    ask(&r, &a, "GET");
    assert_true(take(&r));
    answer(&r, &a);
    assert_int_equal(send(r.fd, "x", 1, MSG_NOSIGNAL), 1);
    ask(&r, &a, "GET");
    assert_true(take(&r));

    /* No more than idle_max rest. */
    ask(&r, &b, "GET");
    ask(&r, &c, "GET");
    answer(&r, &a);
    int first = r.fd;
    r.fd = -1;
    assert_true(take(&r));
    answer(&r, &b);
    int second = r.fd;
    r.fd = -1;
    assert_int_equal(client_idle_count(r.client), 2);
    assert_true(take(&r));
    answer(&r, &c);
    assert_int_equal(client_idle_count(r.client), 2);
    assert_false(is_open(&r));

    /* Time ends them. */
    advance(&r, 60001);
    assert_int_equal(client_idle_count(r.client), 0);
    close(first);
    close(second);
    rig_stop(&r);
}

static void test_no_upstream(void **state)
{
    struct rig r;
    struct ask a = {0};
    const struct client_request request = {.method = STR("GET"), .target = STR("/")};
    (void)state;
    rig_start(&r);
    file_close(r.listen_fd);
    assert_int_equal(ask_with(&r, &a, &request), ERR_NOT_FOUND);
    assert_int_equal(socket_address_ip(STR("127.0.0.1"), 1, &r.target.address), ERR_OK);
    enum err e = ask_with(&r, &a, &request);
    settle(&r);
    assert_true(e == ERR_NOT_FOUND || (a.is_ended && a.end.fault == CLIENT_FAULT_CONNECT));
    ask_done(&a);
    r.listen_fd = -1;
    rig_stop(&r);
}

/* ---- uploads ---- */

static void test_upload_back_pressure(void **state)
{
    static char block[65536];
    struct rig r;
    struct ask a = {0};
    struct buf got;
    size_t given = 0;
    (void)state;
    buf_init(&got, 0);
    rig_start(&r);
    ask_upload(&r, &a, 8u << 20);
    assert_true(take(&r));
    while (client_room(a.x) > 0) {
        assert_int_equal(client_send(a.x, str_make(block, sizeof(block))), ERR_OK);
        given += sizeof(block);
    }
    assert_true(given < (2u << 20)); /* the socket's buffer and ours */
    while (given < (8u << 20)) {
        unsigned rooms = a.rooms;
        assert_true(hear(&r, &got));
        assert_true(a.rooms > rooms);
        while (given < (8u << 20) && client_room(a.x) > 0) {
            assert_int_equal(client_send(a.x, str_make(block, sizeof(block))), ERR_OK);
            given += sizeof(block);
        }
    }
    assert_int_equal(client_finish(a.x, NULL), ERR_OK);
    assert_true(hear(&r, &got));
    assert_int_equal(got.n - (8u << 20),
                     strlen("PUT /a HTTP/1.1\r\nHost: u\r\nContent-Length: 8388608\r\n\r\n"));
    answer(&r, &a);
    assert_int_equal(client_idle_count(r.client), 1);
    buf_done(&got);
    rig_stop(&r);
}

/* The answer comes before the request is whole: it counts, and the connection does not. */
static void test_early_answer(void **state)
{
    struct rig r;
    struct ask a = {0};
    (void)state;
    rig_start(&r);
    ask_upload(&r, &a, 1000);
    assert_true(take(&r));
    assert_int_equal(client_send(a.x, STR("some")), ERR_OK);
    settle(&r);
    answer(&r, &a);
    assert_int_equal(client_idle_count(r.client), 0);
    assert_false(is_open(&r));

    /* It stops reading, and answers before it goes. */
    ask_upload(&r, &a, 1000);
    assert_true(take(&r));
    assert_int_equal(send(r.fd, S "Content-Length: 2\r\n\r\nno", 42 - 2, MSG_NOSIGNAL), 40);
    hang_up(&r);
    assert_int_equal(client_send(a.x, STR("some")), ERR_OK);
    settle(&r);
    assert_true(a.is_ended);
    assert_int_equal(a.status, 200);
    ask_done(&a);
    rig_stop(&r);
}

/* ---- time ---- */

static void test_times(void **state)
{
    struct rig r;
    struct ask a = {0};
    (void)state;
    rig_start(&r);
    ask(&r, &a, "GET");
    assert_true(take(&r));
    advance(&r, 59000);
    assert_false(a.is_ended);
    advance(&r, 2000);
    assert_true(a.is_ended);
    assert_int_equal(a.end.fault, CLIENT_FAULT_FIRST_TIME);
    assert_false(is_open(&r));
    ask_done(&a);

    ask(&r, &a, "GET");
    assert_true(take(&r));
    say(&r, STR(S "Content-Length: 9\r\n\r\nhel"));
    advance(&r, 29000);
    say(&r, STR("lo"));
    advance(&r, 29000);
    assert_false(a.is_ended);
    advance(&r, 2000);
    assert_int_equal(a.end.fault, CLIENT_FAULT_IDLE_TIME);
    ask_done(&a);

    /* Whoever sends the body takes their time; the upstream waits. */
    ask_upload(&r, &a, 1000);
    assert_true(take(&r));
    advance(&r, 600000);
    assert_false(a.is_ended);
    ask_done(&a);

    /* An upstream that takes nothing. */
    static char block[4u << 20];
    ask_upload(&r, &a, sizeof(block));
    assert_true(take(&r));
    assert_int_equal(client_send(a.x, str_make(block, sizeof(block))), ERR_OK);
    settle(&r);
    advance(&r, 61000); /* what its socket took counts as progress once */
    assert_int_equal(a.end.fault, CLIENT_FAULT_IDLE_TIME);
    ask_done(&a);
    rig_stop(&r);
}

static void test_interim_storm(void **state)
{
    struct rig r;
    struct ask a = {0};
    (void)state;
    rig_start(&r);
    ask(&r, &a, "GET");
    assert_true(take(&r));
    for (unsigned i = 0; i < 1000 && !a.is_ended; i++) {
        say(&r, STR("HTTP/1.1 103 x\r\n\r\n"));
    }
    assert_int_equal(a.end.fault, CLIENT_FAULT_INTERIM);
    assert_int_equal(a.last_interim, 103);
    assert_true(a.interims < 100);
    assert_false(is_open(&r));
    ask_done(&a);
    rig_stop(&r);
}

/* ---- tunnels ---- */

#define SWITCH "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

static void test_tunnel(void **state)
{
    struct rig r;
    struct ask a = {0};
    (void)state;
    rig_start(&r);
    ask_upgrade(&r, &a);
    assert_true(take(&r));
    assert_int_equal(client_send(a.x, STR("early")), ERR_SYNTAX);
    assert_true(is_open(&r));
    say(&r, STR(SWITCH "first"));
    assert_int_equal(a.status, 101);
    assert_int_equal(a.body.n, 5);
    assert_int_equal(client_send(a.x, STR("bytes")), ERR_OK);
    assert_hears(&r, "bytes");
    advance(&r, 3000000);
    say(&r, STR("more"));
    advance(&r, 3000000);
    assert_false(a.is_ended);
    shutdown(r.fd, SHUT_WR);
    settle(&r);
    assert_true(a.is_tunnel_ended);
    assert_false(a.is_ended);
    assert_int_equal(client_send(a.x, STR("last")), ERR_OK);
    assert_int_equal(client_finish(a.x, NULL), ERR_OK);
    assert_hears(&r, "last");
    assert_true(a.is_ended);
    assert_int_equal(a.end.fault, CLIENT_FAULT_NONE);
    ask_done(&a);

    /* Our side ends first. */
    ask_upgrade(&r, &a);
    assert_true(take(&r));
    say(&r, STR(SWITCH));
    assert_int_equal(client_finish(a.x, NULL), ERR_OK);
    assert_false(is_open(&r));
    say(&r, STR("answer"));
    hang_up(&r);
    settle(&r);
    assert_true(a.is_ended);
    assert_int_equal(a.body.n, 6);
    ask_done(&a);

    /* It may say no; then it is an answer like any other. */
    ask_upgrade(&r, &a);
    assert_true(take(&r));
    say(&r, STR("HTTP/1.1 403 no\r\nContent-Length: 2\r\n\r\nno"));
    assert_int_equal(a.status, 403);
    assert_int_equal(a.end.fault, CLIENT_FAULT_NONE);
    assert_int_equal(client_idle_count(r.client), 1);
    ask_done(&a);

    /* Silence ends it. */
    ask_upgrade(&r, &a);
    settle(&r);
    say(&r, STR(SWITCH));
    advance(&r, 3600001);
    assert_int_equal(a.end.fault, CLIENT_FAULT_IDLE_TIME);
    ask_done(&a);
    rig_stop(&r);
}

/* ---- allocation failures ---- */

/* An upload, an answer in chunks that come in pieces and late, trailers, and the next request. The
 * `fail_at`-th allocation of ours fails. */
static unsigned long scenario(unsigned long fail_at)
{
    struct rig r;
    struct ask a = {.is_slow = true};
    const struct client_request request = {.method = STR("PUT"),
                                           .method_id = HTTP_PUT,
                                           .target = STR("/a"),
                                           .has_body = true,
                                           .body_bytes = CLIENT_LENGTH_UNKNOWN};
    rig_start(&r);
    mem_test_fail_at(fail_at);
    enum err e = ask_with(&r, &a, &request);
    e = e ? e : client_send(a.x, STR("hello"));
    e = e ? e : client_finish(a.x, NULL);
    assert_true(e == ERR_OK || e == ERR_NOMEM);
    bool is_there = !e && take(&r) && !a.is_ended;
    if (is_there) {
        say(&r, STR(S TE "\r\n5\r\nhel"));
        try_to_say(&r, STR("lo\r\n0\r\nA: b\r\n\r\n"));
    }
    for (unsigned i = 0; is_there && i < 20 && !a.is_ended; i++) {
        client_read_body(a.x);
        settle(&r);
    }
    unsigned long count = mem_test_fail_at(0);
    assert_true(!is_there || a.is_ended);
    if (is_there && a.end.fault == CLIENT_FAULT_NONE) {
        assert_true(a.body.n == 5 || a.body.is_failed);
        assert_int_equal(client_idle_count(r.client), 1);
    } else if (a.is_ended) {
        assert_int_equal(a.end.fault, CLIENT_FAULT_MEMORY);
    }
    assert_true(fail_at > 0 || (is_there && a.end.fault == CLIENT_FAULT_NONE));
    ask_done(&a);
    rig_stop(&r);
    return count;
}

static void test_allocation_failures(void **state)
{
    (void)state;
    unsigned long count = scenario(0);
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
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_no_upstream),
        cmocka_unit_test(test_upload_back_pressure),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_interim_storm),
        cmocka_unit_test(test_tunnel),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
