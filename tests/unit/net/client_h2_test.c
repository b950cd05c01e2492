/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 towards an upstream that the test plays by hand. */
#include "client_rig.h"

#include "../http/h2_wire.h"

#define OK200 ":status: 200\n"
#define CODE_CANCEL 8
#define CODE_NO_ERROR 0

/* What the upstream says next. */
static struct buf words;

static void speak(struct rig *r)
{
    say(r, buf_str(&words));
    buf_done(&words);
    buf_init(&words, 0);
}

/* The same where the connection may be closed already. */
static void try_to_speak(struct rig *r)
{
    try_to_say(r, buf_str(&words));
    buf_done(&words);
    buf_init(&words, 0);
}

static void start(struct rig *r)
{
    rig_start(r);
    r->target.protocol = CLIENT_H2;
    buf_init(&words, 0);
}

static void put_settings(void)
{
    wire_put(&words, WIRE_SETTINGS, 0, 0, STR(""));
}

static void put_streams_max(unsigned n)
{
    const char entry[6] = {0, 3, 0, 0, 0, (char)n};
    wire_put(&words, WIRE_SETTINGS, 0, 0, str_make(entry, sizeof(entry)));
}

/* A connection, whose settings came. */
static void greet(struct rig *r)
{
    assert_true(take(r));
    put_settings();
    speak(r);
}

/* What came, without the preface. */
static struct str heard(struct rig *r, struct buf *got)
{
    buf_init(got, 0);
    (void)hear(r, got);
    struct str all = buf_str(got);
    bool is_first = str_starts_with(all, STR(WIRE_PREFACE));
    return str_sub(all, is_first ? sizeof(WIRE_PREFACE) - 1 : 0, all.n);
}

static unsigned hears(struct rig *r, unsigned type)
{
    struct buf got;
    unsigned count = wire_count(heard(r, &got), type, UINT32_MAX, NULL);
    buf_done(&got);
    return count;
}

static void assert_done(struct ask *a, unsigned status, const char *body)
{
    assert_true(a->is_ended);
    assert_int_equal(a->end.fault, CLIENT_FAULT_NONE);
    assert_int_equal(a->status, status);
    assert_int_equal(a->body.n, strlen(body));
    assert_memory_equal(a->body.p ? a->body.p : "", body, a->body.n);
}

static void test_get(void **state)
{
    struct rig r;
    struct ask a = {0};
    (void)state;
    start(&r);
    for (uint32_t i = 0; i < 3; i++) {
        ask(&r, &a, "GET");
        if (i == 0) {
            greet(&r);
        }
        assert_int_equal(hears(&r, WIRE_HEADERS), 1);
        wire_headers(&words, i * 2 + 1, 0, ":status: 103\nlink: x\n");
        wire_headers(&words, i * 2 + 1, 0, OK200 "content-length: 5\n");
        wire_put(&words, WIRE_DATA, 0, i * 2 + 1, STR("hello"));
        wire_headers(&words, i * 2 + 1, WIRE_END_STREAM, "x-sum: 1\n");
        speak(&r);
        assert_done(&a, 200, "hello");
        assert_int_equal(a.body_bytes, 5);
        assert_int_equal(a.interims, 1);
        assert_int_equal(a.end.is_reused, i > 0);
        assert_int_equal(client_idle_count(r.client), 1);
        ask_done(&a);
    }
    /* At rest it answers, and ends. */
    (void)hears(&r, WIRE_PING);
    wire_put(&words, WIRE_PING, 0, 0, STR("12345678"));
    speak(&r);
    assert_int_equal(hears(&r, WIRE_PING), 1);
    assert_int_equal(client_idle_count(r.client), 1);
    advance(&r, 60001);
    assert_int_equal(client_idle_count(r.client), 0);
    rig_stop(&r);
}

static void test_end_at_rest(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        struct rig r;
        struct ask a = {0};
        start(&r);
        ask(&r, &a, "GET");
        greet(&r);
        wire_headers(&words, 1, WIRE_END_STREAM, OK200);
        speak(&r);
        assert_done(&a, 200, "");
        ask_done(&a);
        if (how == 0) {
            hang_up(&r);
        } else if (how == 1) {
            wire_put(&words, WIRE_GOAWAY, 0, 0, str_make("\0\0\0\1\0\0\0\0", 8));
            speak(&r);
        } else {
            wire_put(&words, WIRE_PUSH_PROMISE, WIRE_END_HEADERS, 1, str_make("\0\0\0\2", 4));
            speak(&r);
        }
        settle(&r);
        assert_int_equal(client_idle_count(r.client), 0);
        ask(&r, &a, "GET");
        assert_true(take(&r));
        ask_done(&a);
        rig_stop(&r);
    }
}

/* Many on one connection, each with an end of its own. */
static void test_many(void **state)
{
    struct rig r;
    struct ask asks[20];
    (void)state;
    start(&r);
    memset(asks, 0, sizeof(asks));
    for (unsigned i = 0; i < COUNT_OF(asks); i++) {
        ask(&r, &asks[i], "GET");
    }
    assert_true(take(&r));
    /* Before its settings came, the upstream gets one. */
    assert_int_equal(hears(&r, WIRE_HEADERS), 1);
    put_settings();
    speak(&r);
    assert_int_equal(hears(&r, WIRE_HEADERS), COUNT_OF(asks) - 1);
    for (unsigned i = COUNT_OF(asks); i-- > 0;) {
        wire_headers(&words, i * 2 + 1, 0, OK200);
        wire_put(&words, WIRE_DATA, WIRE_END_STREAM, i * 2 + 1, STR("x"));
        assert_false(asks[i].is_ended);
        speak(&r);
        assert_done(&asks[i], 200, "x");
    }
    assert_int_equal(client_idle_count(r.client), 1);
    for (unsigned i = 0; i < COUNT_OF(asks); i++) {
        ask_done(&asks[i]);
    }
    rig_stop(&r);
}

/* What is too much for one connection goes to the next one. */
static void test_streams_max(void **state)
{
    struct rig r;
    struct ask asks[3];
    (void)state;
    start(&r);
    memset(asks, 0, sizeof(asks));
    for (unsigned i = 0; i < 3; i++) {
        ask(&r, &asks[i], "GET");
    }
    assert_true(take(&r));
    put_streams_max(2);
    speak(&r);
    assert_int_equal(hears(&r, WIRE_HEADERS), 2);
    int first = r.fd;
    r.fd = -1;
    assert_true(take(&r));
    assert_int_equal(hears(&r, WIRE_HEADERS), 1);
    put_streams_max(2);
    wire_headers(&words, 1, WIRE_END_STREAM, OK200);
    speak(&r);
    assert_done(&asks[2], 200, "");
    assert_false(asks[0].is_ended || asks[1].is_ended);
    for (unsigned i = 0; i < 3; i++) {
        ask_done(&asks[i]);
    }
    close(first);
    rig_stop(&r);
}

/* ---- what was not processed ---- */

static void assert_hears_body(struct rig *r, const char *body)
{
    struct buf got;
    struct wire_frame f;
    assert_int_equal(wire_count(heard(r, &got), WIRE_DATA, 1, &f), 1);
    assert_int_equal(f.payload.n, strlen(body));
    assert_memory_equal(f.payload.p, body, f.payload.n);
    buf_done(&got);
}

/* The upstream leaves `count` times without having looked at it. */
static void check_moves(unsigned count)
{
    struct rig r;
    struct ask a = {0};
    start(&r);
    ask_upload(&r, &a, 5);
    for (unsigned i = 0; !a.is_ended; i++) {
        greet(&r);
        if (i == 0) {
            assert_int_equal(client_send(a.x, STR("hello")), ERR_OK);
            assert_int_equal(client_finish(a.x, NULL), ERR_OK);
            settle(&r);
        }
        assert_hears_body(&r, "hello");
        if (i == count) {
            wire_headers(&words, 1, WIRE_END_STREAM, OK200);
        } else {
            wire_put(&words, WIRE_GOAWAY, 0, 0, str_make("\0\0\0\0\0\0\0\0", 8));
        }
        speak(&r);
    }
    assert_int_equal(a.end.fault, count <= 2 ? CLIENT_FAULT_NONE : CLIENT_FAULT_GOAWAY);
    assert_int_equal(a.status, count <= 2 ? 200 : 0);
    ask_done(&a);
    rig_stop(&r);
}

static void test_moves(void **state)
{
    (void)state;
    for (unsigned count = 0; count < 4; count++) {
        check_moves(count);
    }
}

/* The connection of a stream that was refused stays, and may take it the next time. */
static void test_refused(void **state)
{
    struct rig r;
    struct ask a = {0};
    (void)state;
    start(&r);
    ask(&r, &a, "POST");
    greet(&r);
    for (uint32_t i = 0; i < 3; i++) {
        assert_false(a.is_ended);
        wire_put_u32(&words, WIRE_RST_STREAM, i * 2 + 1, 7);
        speak(&r);
    }
    assert_true(a.is_ended);
    assert_int_equal(a.end.fault, CLIENT_FAULT_REFUSED);
    assert_int_equal(client_idle_count(r.client), 1);
    ask_done(&a);
    rig_stop(&r);
}

/* A body whose beginning is gone cannot begin again. */
static void test_long_body_does_not_move(void **state)
{
    static char bytes[65536];
    struct rig r;
    struct ask a = {0};
    (void)state;
    start(&r);
    ask_upload(&r, &a, CLIENT_LENGTH_UNKNOWN);
    greet(&r);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(client_send(a.x, str_make(bytes, sizeof(bytes))), ERR_OK);
        (void)hears(&r, WIRE_DATA);
    }
    wire_put(&words, WIRE_GOAWAY, 0, 0, str_make("\0\0\0\0\0\0\0\0", 8));
    speak(&r);
    assert_true(a.is_ended);
    assert_int_equal(a.end.fault, CLIENT_FAULT_GOAWAY);
    assert_false(take(&r));
    ask_done(&a);
    rig_stop(&r);
}

/* ---- bodies ---- */

static void test_slow_reader(void **state)
{
    static char bytes[16384];
    struct rig r;
    struct ask a = {.is_slow = true}, b = {0};
    (void)state;
    start(&r);
    ask(&r, &a, "GET");
    greet(&r);
    wire_headers(&words, 1, 0, OK200);
    for (unsigned i = 0; i < 4; i++) {
        wire_put(&words, WIRE_DATA, i == 3 ? WIRE_END_STREAM : 0, 1,
                 str_make(bytes, sizeof(bytes)));
    }
    speak(&r);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.n, 0);
    /* Another one is not held up. */
    ask(&r, &b, "GET");
    settle(&r);
    wire_headers(&words, 3, WIRE_END_STREAM, OK200);
    speak(&r);
    assert_done(&b, 200, "");
    /* What came is there, although the upstream is gone. */
    hang_up(&r);
    settle(&r);
    assert_false(a.is_ended);
    for (unsigned i = 0; i < 10 && !a.is_ended; i++) {
        client_read_body(a.x);
        settle(&r);
    }
    assert_true(a.is_ended);
    assert_int_equal(a.end.fault, CLIENT_FAULT_NONE);
    assert_int_equal(a.body.n, 4 * sizeof(bytes));
    ask_done(&a);
    ask_done(&b);
    rig_stop(&r);
}

static void test_upload_back_pressure(void **state)
{
    static char bytes[32768];
    struct rig r;
    struct ask a = {0};
    size_t sent = 0;
    (void)state;
    start(&r);
    ask_upload(&r, &a, CLIENT_LENGTH_UNKNOWN);
    assert_int_equal(client_room(a.x), 0);
    greet(&r);
    assert_true(a.rooms > 0);
    while (client_room(a.x) >= sizeof(bytes)) {
        assert_int_equal(client_send(a.x, str_make(bytes, sizeof(bytes))), ERR_OK);
        sent += sizeof(bytes);
        settle(&r);
        assert_true(sent < 1000000);
    }
    /* The window of HTTP/2, and what may wait beside it. */
    assert_true(sent <= 65535 + 65536 + sizeof(bytes));
    unsigned before = a.rooms;
    wire_put_u32(&words, WIRE_WINDOW_UPDATE, 0, 1000000);
    wire_put_u32(&words, WIRE_WINDOW_UPDATE, 1, 1000000);
    speak(&r);
    assert_true(a.rooms > before);
    assert_int_equal(client_finish(a.x, NULL), ERR_OK);
    settle(&r);
    wire_headers(&words, 1, WIRE_END_STREAM, OK200);
    speak(&r);
    assert_done(&a, 200, "");
    ask_done(&a);
    rig_stop(&r);
}

static void test_wrong_lengths(void **state)
{
    struct rig r;
    struct ask a = {0};
    (void)state;
    start(&r);
    ask_upload(&r, &a, 5);
    greet(&r);
    assert_int_equal(client_send(a.x, STR("hell")), ERR_OK);
    assert_int_equal(client_finish(a.x, NULL), ERR_SYNTAX);
    assert_int_equal(client_send(a.x, STR("oo")), ERR_SYNTAX);
    ask_done(&a);
    rig_stop(&r);
}

/* The rest of the request is not sent; its stream is reset without a complaint. */
static void test_early_answer(void **state)
{
    struct rig r;
    struct ask a = {0};
    struct buf got;
    (void)state;
    start(&r);
    ask_upload(&r, &a, 500);
    greet(&r);
    assert_int_equal(client_send(a.x, STR("hello")), ERR_OK);
    settle(&r);
    wire_headers(&words, 1, WIRE_END_STREAM, ":status: 413\n");
    speak(&r);
    assert_done(&a, 413, "");
    assert_int_equal(wire_reset_code(heard(&r, &got), 1), CODE_NO_ERROR);
    buf_done(&got);
    assert_int_equal(client_idle_count(r.client), 1);
    ask_done(&a);
    rig_stop(&r);
}

static void test_cancel(void **state)
{
    struct rig r;
    struct ask a = {0};
    struct buf got;
    (void)state;
    start(&r);
    ask(&r, &a, "GET");
    greet(&r);
    client_cancel(a.x);
    a.x = NULL;
    settle(&r);
    assert_int_equal(wire_reset_code(heard(&r, &got), 1), CODE_CANCEL);
    buf_done(&got);
    assert_int_equal(client_idle_count(r.client), 1);
    assert_false(a.is_ended);
    ask_done(&a);
    /* Before there is a connection. */
    hang_up(&r);
    ask(&r, &a, "GET");
    client_cancel(a.x);
    a.x = NULL;
    settle(&r);
    ask_done(&a);
    rig_stop(&r);
}

/* Clients that go away in numbers would make the upstream end a connection that others share. */
static void test_many_cancels(void **state)
{
    struct rig r;
    struct ask kept = {0}, a = {0};
    (void)state;
    start(&r);
    ask(&r, &kept, "GET");
    greet(&r);
    for (unsigned i = 0; i < 50; i++) {
        ask(&r, &a, "GET");
        assert_false(take(&r));
        client_cancel(a.x);
        a.x = NULL;
        ask_done(&a);
    }
    settle(&r);
    int first = r.fd;
    r.fd = -1;
    ask(&r, &a, "GET");
    assert_true(take(&r)); /* a connection of its own */
    int second = r.fd;
    r.fd = first;
    wire_headers(&words, 1, WIRE_END_STREAM, OK200);
    speak(&r);
    assert_done(&kept, 200, "");
    assert_false(is_open(&r));
    hang_up(&r);
    r.fd = second;
    ask_done(&kept);
    ask_done(&a);
    rig_stop(&r);
}

/* ---- how it fails ---- */

static void test_faults(void **state)
{
    static const struct {
        const char *head; /* NULL: none came */
        unsigned how;     /* 0: closed, 1: reset, 2: broken, 3: malformed */
        enum client_fault fault;
    } cases[] = {
        {NULL, 0, CLIENT_FAULT_CLOSED},   {OK200, 0, CLIENT_FAULT_CUT},
        {NULL, 1, CLIENT_FAULT_RESET},    {OK200, 1, CLIENT_FAULT_CUT},
        {NULL, 2, CLIENT_FAULT_RESPONSE}, {OK200, 2, CLIENT_FAULT_RESPONSE},
        {NULL, 3, CLIENT_FAULT_RESPONSE}, {OK200, 3, CLIENT_FAULT_RESPONSE},
    };
    (void)state;
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        struct rig r;
        struct ask a = {0};
        start(&r);
        ask(&r, &a, "GET");
        greet(&r);
        if (cases[i].head) {
            wire_headers(&words, 1, 0, cases[i].head);
        }
        if (cases[i].how == 1) {
            wire_put_u32(&words, WIRE_RST_STREAM, 1, 2);
        } else if (cases[i].how == 2) {
            wire_put(&words, WIRE_PUSH_PROMISE, WIRE_END_HEADERS, 1, str_make("\0\0\0\2", 4));
        } else if (cases[i].how == 3) {
            wire_headers(&words, 1, WIRE_END_STREAM, "A: b\n");
        }
        speak(&r);
        if (cases[i].how == 0) {
            hang_up(&r);
            settle(&r);
        }
        assert_true(a.is_ended);
        assert_int_equal(a.end.fault, cases[i].fault);
        assert_int_equal(client_idle_count(r.client), cases[i].how % 2);
        ask_done(&a);
        rig_stop(&r);
    }
}

static void test_interim_storm(void **state)
{
    struct rig r;
    struct ask a = {0};
    (void)state;
    start(&r);
    ask(&r, &a, "GET");
    greet(&r);
    for (unsigned i = 0; i < 33; i++) {
        wire_headers(&words, 1, 0, ":status: 102\n");
    }
    speak(&r);
    assert_int_equal(a.end.fault, CLIENT_FAULT_INTERIM);
    assert_int_equal(a.interims, 32);
    assert_int_equal(client_idle_count(r.client), 1);
    ask_done(&a);
    rig_stop(&r);
}

/* ---- time ---- */

static void test_times(void **state)
{
    struct rig r;
    struct ask a = {0};
    (void)state;
    start(&r);
    /* No settings. */
    ask(&r, &a, "GET");
    assert_true(take(&r));
    advance(&r, 2001);
    assert_int_equal(a.end.fault, CLIENT_FAULT_CONNECT_TIME);
    ask_done(&a);
    /* No answer; the connection is none the worse. */
    ask(&r, &a, "GET");
    greet(&r);
    advance(&r, 60001);
    assert_int_equal(a.end.fault, CLIENT_FAULT_FIRST_TIME);
    assert_int_equal(client_idle_count(r.client), 1);
    ask_done(&a);
    rig_stop(&r);
}

/* A connection that was silent for long must say that it lives before it gets a request. */
static void test_silence(void **state)
{
    (void)state;
    for (unsigned lives = 0; lives < 2; lives++) {
        struct rig r;
        struct ask a = {0};
        struct buf got;
        struct wire_frame ping;
        start(&r);
        ask(&r, &a, "GET");
        greet(&r);
        wire_headers(&words, 1, WIRE_END_STREAM, OK200);
        speak(&r);
        ask_done(&a);
        (void)hears(&r, WIRE_HEADERS);
        advance(&r, 10001);
        ask(&r, &a, "GET");
        struct str said = heard(&r, &got);
        assert_int_equal(wire_count(said, WIRE_HEADERS, UINT32_MAX, NULL), 0);
        assert_int_equal(wire_count(said, WIRE_PING, 0, &ping), 1);
        if (lives) {
            wire_put(&words, WIRE_PING, WIRE_ACK, 0, ping.payload);
            speak(&r);
            assert_int_equal(hears(&r, WIRE_HEADERS), 1);
            wire_headers(&words, 3, WIRE_END_STREAM, OK200);
        } else {
            advance(&r, 2001);
            greet(&r); /* another one */
            wire_headers(&words, 1, WIRE_END_STREAM, OK200);
        }
        speak(&r);
        assert_done(&a, 200, "");
        buf_done(&got);
        ask_done(&a);
        rig_stop(&r);
    }
}

/* ---- tunnels ---- */

static void test_tunnel(void **state)
{
    struct rig r;
    struct ask a = {0};
    struct buf got;
    struct wire_frame f;
    (void)state;
    start(&r);
    ask_upgrade(&r, &a);
    assert_true(take(&r));
    assert_int_equal(hears(&r, WIRE_HEADERS), 0); /* not before the settings allow it */
    wire_put(&words, WIRE_SETTINGS, 0, 0, str_make("\0\x08\0\0\0\1", 6));
    speak(&r);
    assert_int_equal(hears(&r, WIRE_HEADERS), 1);
    wire_headers(&words, 1, 0, OK200);
    wire_put(&words, WIRE_DATA, 0, 1, STR("theirs"));
    speak(&r);
    assert_int_equal(a.status, 101);
    assert_memory_equal(a.body.p, "theirs", 6);
    assert_int_equal(client_send(a.x, STR("ours")), ERR_OK);
    settle(&r);
    assert_int_equal(wire_count(heard(&r, &got), WIRE_DATA, 1, &f), 1);
    assert_memory_equal(f.payload.p, "ours", 4);
    buf_done(&got);
    wire_put(&words, WIRE_DATA, WIRE_END_STREAM, 1, STR(""));
    speak(&r);
    assert_true(a.is_tunnel_ended);
    assert_false(a.is_ended);
    assert_int_equal(client_finish(a.x, NULL), ERR_OK);
    settle(&r);
    assert_true(a.is_ended);
    assert_int_equal(a.end.fault, CLIENT_FAULT_NONE);
    assert_int_equal(client_idle_count(r.client), 1);
    ask_done(&a);
    rig_stop(&r);
}

static void test_no_tunnel(void **state)
{
    struct rig r;
    struct ask a = {0};
    (void)state;
    start(&r);
    ask_upgrade(&r, &a);
    greet(&r);
    assert_true(a.is_ended);
    assert_int_equal(a.end.fault, CLIENT_FAULT_UPGRADE);
    assert_int_equal(client_idle_count(r.client), 1);
    ask_done(&a);
    rig_stop(&r);
}

/* ---- allocation failures ---- */

/* An upload that moves to another connection, an answer that waits for its reader, and trailers. */
static unsigned long scenario(unsigned long fail_at)
{
    struct rig r;
    struct ask a = {.is_slow = true};
    const struct client_request request = {.method = STR("PUT"),
                                           .method_id = HTTP_PUT,
                                           .target = STR("/a"),
                                           .has_body = true,
                                           .body_bytes = CLIENT_LENGTH_UNKNOWN};
    start(&r);
    mem_test_fail_at(fail_at);
    enum err e = ask_with(&r, &a, &request);
    e = e ? e : client_send(a.x, STR("hello"));
    e = e ? e : client_finish(a.x, NULL);
    assert_true(e == ERR_OK || e == ERR_NOMEM);
    bool is_there = !e && take(&r);
    if (is_there && !a.is_ended) {
        unsigned long used = mem_test_fail_at(0); /* the test's own */
        put_settings();
        wire_put(&words, WIRE_GOAWAY, 0, 0, str_make("\0\0\0\0\0\0\0\0", 8));
        mem_test_fail_at(fail_at > used ? fail_at - used : 0);
        try_to_speak(&r);
        is_there = take(&r);
        used += mem_test_fail_at(0);
        if (is_there && !a.is_ended) {
            put_settings();
            wire_headers(&words, 1, 0, OK200 "x-own: y\n");
            wire_put(&words, WIRE_DATA, 0, 1, STR("hel"));
            wire_put(&words, WIRE_DATA, 0, 1, STR("lo"));
            wire_headers(&words, 1, WIRE_END_STREAM, "a: b\n");
        }
        mem_test_fail_at(fail_at > used ? fail_at - used : 0);
        if (words.n) {
            try_to_speak(&r);
        }
        for (unsigned i = 0; i < 20 && !a.is_ended; i++) {
            client_read_body(a.x);
            settle(&r);
        }
        used += mem_test_fail_at(0);
        assert_true(a.is_ended);
        /* A head that found no room is told as one that was too long. */
        assert_true(a.end.fault == CLIENT_FAULT_MEMORY || a.end.fault == CLIENT_FAULT_RESPONSE ||
                    (a.end.fault == CLIENT_FAULT_NONE && (a.body.n == 5 || a.body.is_failed)));
        assert_true(fail_at > 0 || a.end.fault == CLIENT_FAULT_NONE);
        ask_done(&a);
        rig_stop(&r);
        return used;
    }
    unsigned long count = mem_test_fail_at(0);
    assert_true(fail_at > 0);
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
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_end_at_rest),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_streams_max),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_long_body_does_not_move),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_upload_back_pressure),
        cmocka_unit_test(test_wrong_lengths),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_many_cancels),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_interim_storm),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_tunnel),
        cmocka_unit_test(test_no_tunnel),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
