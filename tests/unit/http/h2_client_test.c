/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of HTTP/2. */
#include "h2_client_harness.h"

#define OK200 ":status: 200\n"

static void begin_client(struct client_test *t)
{
    assert_int_equal(open_client(t), ERR_OK);
    wire_put(&t->in, WIRE_SETTINGS, 0, 0, STR(""));
}

/* ---- what is sent ---- */

static void note_field(void *context, const struct hpack_field *f)
{
    buf_printf(context, STR_FMT "=" STR_FMT "%s;", STR_ARG(f->name), STR_ARG(f->value),
               f->note ? "+" : "");
}

static void assert_block(struct client_test *t, uint32_t id, const char *wanted)
{
    struct wire_frame f;
    struct buf got;
    struct str sent = buf_str(&t->out);
    buf_init(&got, 0);
    sent = str_sub(sent, str_starts_with(sent, STR(WIRE_PREFACE)) ? sizeof(WIRE_PREFACE) - 1 : 0,
                   sent.n);
    assert_int_equal(wire_count(sent, WIRE_HEADERS, id, &f), 1);
    assert_int_equal(hpack_decode(&t->decoder, (const uint8_t *)f.payload.p, f.payload.n,
                                  &t->pool.scratch, note_field, &got),
                     ERR_OK);
    buf_add_char(&got, 0);
    assert_string_equal(got.p, wanted);
    buf_done(&got);
    buf_clear(&t->out);
}

/* What repeats is in the table ("+"); what is secret, or new each time, is not. */
static void test_request_heads(void **state)
{
    struct client_test t;
    (void)state;
    begin_client(&t);
    const char *fields = "Host: b\nAccept: x\nX-Own: y\nTE: trailers\nConnection: close\n"
                         "Keep-Alive: 5\nCookie: c=d\nAuthorization: e\n";
    assert_int_equal(request(&t, "GET", fields, 0, NULL), ERR_OK);
    run(&t);
    assert_true(str_starts_with(buf_str(&t.out), STR(WIRE_PREFACE)));
    assert_block(&t, 1,
                 ":method=GET;:scheme=https;:path=/p;:authority=a+;accept=x+;x-own=y+;"
                 "cookie=c=d;authorization=e;te=trailers+;");
    assert_int_equal(request(&t, "PUT", "Host: b\n", 5, NULL), ERR_OK);
    run(&t);
    assert_block(&t, 3, ":method=PUT;:scheme=https;:path=/p;:authority=a+;content-length=5;");
    close_client(&t);
}

static void test_first_settings(void **state)
{
    struct client_test t;
    struct wire_frame f;
    (void)state;
    begin_client(&t);
    assert_int_equal(pull(&t), ERR_OK);
    struct str sent = str_sub(buf_str(&t.out), sizeof(WIRE_PREFACE) - 1, t.out.n);
    assert_true(wire_next(&sent, &f));
    assert_int_equal(f.type, WIRE_SETTINGS);
    /* SETTINGS_ENABLE_PUSH 0 */
    assert_memory_equal(f.payload.p, "\0\2\0\0\0\0", 6);
    close_client(&t);
}

static void test_what_cannot_be_sent(void **state)
{
    struct client_test t;
    struct http_fields none;
    (void)state;
    begin_client(&t);
    http_fields_init(&none, NULL, 0);
    const struct h2_request wrong[] = {
        {STR("G T"), HTTP_METHOD_OTHER, STR("http"), STR("a"), STR("/"), STR(""), &none, 0, false},
        {STR("GET"), HTTP_GET, STR("http"), STR("a\n"), STR("/"), STR(""), &none, 0, false},
        {STR("GET"), HTTP_GET, STR("http"), STR("a"), STR("/\r\n"), STR(""), &none, 0, false},
        {STR("GET"), HTTP_GET, STR("http"), STR("a"), STR(""), STR(""), &none, 0, false},
        {STR("GET"), HTTP_GET, STR(""), STR("a"), STR("/"), STR(""), &none, 0, false},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct mux_stream stream = {0};
        assert_int_equal(h2_request_check(&wrong[i]), ERR_SYNTAX);
        assert_int_equal(h2_session_request(t.session, &wrong[i], &stream), ERR_SYNTAX);
    }
    assert_int_equal(request(&t, "GET", "x: a\rb\n", 0, NULL), ERR_SYNTAX);
    assert_int_equal(request(&t, "GET", "x y: a\n", 0, NULL), ERR_SYNTAX);
    get(&t);
    run(&t);
    assert_int_equal(h2_session_stream_count(t.session), 1);
    close_client(&t);
}

/* ---- answers ---- */

static void put_answer(struct client_test *t)
{
    wire_headers(&t->in, 1, 0, ":status: 103\nlink: l\n");
    wire_headers(&t->in, 1, 0, OK200 "content-length: 5\nset-cookie: a\nset-cookie: b\n");
    wire_put(&t->in, WIRE_DATA, WIRE_PADDED, 1, str_make("\3hel\0\0\0", 7));
    wire_put(&t->in, WIRE_DATA, 0, 1, STR("lo"));
    wire_headers(&t->in, 1, WIRE_END_STREAM, "x-sum: 1\n");
}

static const char whole[] = "1 sent\n1 103 link=l\n1 200 (5) content-length=5 set-cookie=a "
                            "set-cookie=b\n1 body x-sum=1\n1 end\n";

static void test_answer(void **state)
{
    (void)state;
    for (size_t step = 1; step < 200; step++) {
        struct client_test t;
        begin_client(&t);
        get(&t);
        put_answer(&t);
        assert_int_equal(run_cut(&t, step), ERR_OK);
        assert_log(&t, whole);
        assert_int_equal(t.body.n, 5);
        assert_memory_equal(t.body.p, "hello", 5);
        assert_false(h2_session_is_broken(t.session));
        close_client(&t);
    }
}

struct answer_case {
    const char *method;
    const char *head;
    const char *body; /* NULL: the head is the end */
    const char *log;
};

static const struct answer_case answers[] = {
    {"GET", OK200, NULL, "1 sent\n1 200 (0)\n1 body\n1 end\n"},
    {"GET", OK200, "", "1 sent\n1 200\n1 body\n1 end\n"},
    {"HEAD", OK200 "content-length: 5\n", NULL,
     "1 sent\n1 200 (5) content-length=5\n1 body\n1 end\n"},
    {"HEAD", OK200 "content-length: 5\n", "",
     "1 sent\n1 200 (5) content-length=5\n1 body\n1 end\n"},
    {"GET", ":status: 304\ncontent-length: 5\n", NULL,
     "1 sent\n1 304 (5) content-length=5\n1 body\n1 end\n"},
    {"GET", ":status: 204\n", NULL, "1 sent\n1 204\n1 body\n1 end\n"},
    /* Malformed. */
    {"GET", "a: b\n", "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", ":status: 20\n", "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", ":status: 600\n", "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", ":status: 1000\n", "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", ":status: 2x0\n", "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", ":status: 101\n", "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", ":status: 100\n", NULL, "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", OK200 OK200, "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", "a: b\n" OK200, "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", OK200 ":path: /\n", "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", OK200 "A: b\n", "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", OK200 "connection: close\n", "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", OK200 "transfer-encoding: chunked\n", "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", OK200 "content-length: x\n", "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", OK200 "content-length: 1\ncontent-length: 1\n", "x", "1 sent\n1 ERR_RESET malformed\n"},
    {"GET", OK200 "content-length: 1\n", NULL, "1 sent\n1 ERR_RESET malformed\n"},
    /* What the body makes so. */
    {"GET", OK200 "content-length: 2\n", "x",
     "1 sent\n1 200 (2) content-length=2\n1 ERR_RESET malformed\n"},
    {"GET", OK200 "content-length: 1\n", "xx",
     "1 sent\n1 200 (1) content-length=1\n1 ERR_RESET malformed\n"},
    {"HEAD", OK200, "x", "1 sent\n1 200\n1 ERR_RESET malformed\n"},
    {"GET", ":status: 204\n", "x", "1 sent\n1 204\n1 ERR_RESET malformed\n"},
};

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        const struct answer_case *c = &answers[i];
        struct client_test t;
        begin_client(&t);
        assert_int_equal(request(&t, c->method, "", 0, NULL), ERR_OK);
        run(&t);
        wire_headers(&t.in, 1, c->body ? 0 : WIRE_END_STREAM, c->head);
        if (c->body) {
            wire_put(&t.in, WIRE_DATA, WIRE_END_STREAM, 1, str_of(c->body));
        }
        run(&t);
        assert_log(&t, c->log);
        /* The connection is none the worse. */
        assert_false(h2_session_is_broken(t.session));
        get(&t);
        wire_headers(&t.in, 3, WIRE_END_STREAM, OK200);
        run(&t);
        assert_log(&t, "3 sent\n3 200 (0)\n3 body\n3 end\n");
        close_client(&t);
    }
}

/* The answer first, its stream ends with the request. */
static void test_answer_before_the_request(void **state)
{
    struct client_test t;
    struct client_stream *s = NULL;
    (void)state;
    begin_client(&t);
    assert_int_equal(request(&t, "PUT", "", 5, &s), ERR_OK);
    s->is_held = true;
    wire_headers(&t.in, 1, WIRE_END_STREAM, OK200);
    run(&t);
    assert_log(&t, "1 200 (0)\n1 body\n");
    s->is_held = false;
    h2_session_resume(t.session, &s->stream);
    run(&t);
    assert_log(&t, "1 sent\n1 end\n");
    close_client(&t);
}

static void test_data_before_a_head(void **state)
{
    struct client_test t;
    (void)state;
    begin_client(&t);
    get(&t);
    run(&t);
    wire_put(&t.in, WIRE_DATA, 0, 1, STR("x"));
    run(&t);
    assert_log(&t, "1 sent\n1 ERR_RESET malformed\n");
    /* Also the end alone. */
    get(&t);
    run(&t);
    wire_put(&t.in, WIRE_DATA, WIRE_END_STREAM, 3, STR(""));
    run(&t);
    assert_log(&t, "3 sent\n3 ERR_RESET malformed\n");
    close_client(&t);
}

/* ---- limits of the head ---- */

static void test_head_too_large(void **state)
{
    struct client_test t;
    struct buf head;
    (void)state;
    begin_client(&t);
    get(&t);
    run(&t);
    buf_init(&head, 0);
    buf_add_str(&head, STR(OK200));
    for (unsigned i = 0; i < 101; i++) {
        buf_printf(&head, "a%u: b\n", i);
    }
    buf_add_char(&head, '\0');
    wire_headers(&t.in, 1, WIRE_END_STREAM, head.p);
    run(&t);
    assert_log(&t, "1 sent\n1 ERR_RESET malformed\n");
    buf_done(&head);
    close_client(&t);
}

/* ---- what ends the connection ---- */

enum breaking {
    BREAK_PUSH,
    BREAK_IDLE_STREAM,
    BREAK_EVEN_STREAM,
    BREAK_WINDOW,
    BREAK_ENABLE_PUSH,
    BREAK_PRIORITY_UPDATE,
    BREAK_PADDING,
    BREAK_BLOCK,
    BREAK_PREFACE,
    BREAK_OPEN_BLOCK,
    BREAK_CLOSED,
    BREAK_COUNT,
};

static long put_breaking(struct client_test *t, enum breaking which)
{
    switch (which) {
    case BREAK_PUSH:
        wire_put(&t->in, WIRE_PUSH_PROMISE, WIRE_END_HEADERS, 1, str_make("\0\0\0\2", 4));
        return H2_PROTOCOL_ERROR;
    case BREAK_IDLE_STREAM:
        wire_headers(&t->in, 5, WIRE_END_STREAM, OK200);
        return H2_PROTOCOL_ERROR;
    case BREAK_EVEN_STREAM:
        wire_headers(&t->in, 2, WIRE_END_STREAM, OK200);
        return H2_PROTOCOL_ERROR;
    case BREAK_WINDOW:
        wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 0, INT32_MAX);
        return H2_FLOW_CONTROL_ERROR;
    case BREAK_ENABLE_PUSH:
        wire_put(&t->in, WIRE_SETTINGS, 0, 0, str_make("\0\2\0\0\0\1", 6));
        return H2_PROTOCOL_ERROR;
    case BREAK_PRIORITY_UPDATE:
        wire_put(&t->in, WIRE_PRIORITY_UPDATE, 0, 0, str_make("\0\0\0\1u=1", 7));
        return H2_PROTOCOL_ERROR;
    case BREAK_PADDING:
        wire_put(&t->in, WIRE_DATA, WIRE_PADDED, 1, STR("\5x"));
        return H2_PROTOCOL_ERROR;
    case BREAK_BLOCK:
        wire_put(&t->in, WIRE_HEADERS, WIRE_END_HEADERS, 1, STR("\xff\xff\xff\xff\x0f"));
        return H2_COMPRESSION_ERROR;
    case BREAK_PREFACE:
        buf_add_str(&t->in, STR("HTTP/1.1 400 Bad Request\r\n\r\n"));
        return H2_FRAME_SIZE_ERROR;
    case BREAK_OPEN_BLOCK:
        wire_put(&t->in, WIRE_HEADERS, 0, 1, STR("\x88"));
        wire_put(&t->in, WIRE_PING, 0, 0, STR("12345678"));
        return H2_PROTOCOL_ERROR;
    case BREAK_CLOSED:
        wire_headers(&t->in, 1, WIRE_END_STREAM, OK200);
        wire_put(&t->in, WIRE_DATA, 0, 1, STR("x"));
        return H2_STREAM_CLOSED;
    case BREAK_COUNT:
        break;
    }
    return 0;
}

static void test_broken(void **state)
{
    (void)state;
    for (unsigned i = 0; i < BREAK_COUNT; i++) {
        struct client_test t;
        assert_int_equal(open_client(&t), ERR_OK);
        get(&t);
        if (i != BREAK_PREFACE) {
            wire_put(&t.in, WIRE_SETTINGS, 0, 0, STR(""));
        }
        run(&t);
        buf_clear(&t.out);
        long code = put_breaking(&t, (enum breaking)i);
        run(&t);
        assert_int_equal(wire_goaway_code(buf_str(&t.out)), code);
        assert_true(h2_session_is_broken(t.session) && h2_session_is_closing(t.session));
        assert_int_equal(h2_session_is_ready(t.session), i != BREAK_PREFACE);
        assert_int_equal(request(&t, "GET", "", 0, NULL), ERR_LIMIT);
        /* Its GOAWAY names no stream of the peer: there is none. */
        struct wire_frame f;
        wire_count(buf_str(&t.out), WIRE_GOAWAY, 0, &f);
        assert_int_equal(wire_payload_u32(&f, 0), 0);
        close_client(&t);
    }
}

static void test_floods(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 5; kind++) {
        struct client_test t;
        begin_client(&t);
        get(&t);
        run(&t);
        if (kind == 2) {
            wire_headers(&t.in, 1, 0, OK200);
        } else if (kind == 3) {
            wire_put(&t.in, WIRE_HEADERS, 0, 1, STR("\x88"));
        }
        for (unsigned i = 0; i < 1100; i++) {
            if (kind == 0) {
                wire_put(&t.in, WIRE_PING, 0, 0, STR("12345678"));
            } else if (kind == 1) {
                wire_put(&t.in, WIRE_SETTINGS, 0, 0, STR(""));
            } else if (kind == 2) {
                wire_put(&t.in, WIRE_DATA, 0, 1, STR(""));
            } else if (kind == 3) {
                wire_put(&t.in, WIRE_CONTINUATION, 0, 1, STR(""));
            } else {
                wire_put_u32(&t.in, WIRE_RST_STREAM, 1, 0); /* but the first: of no stream */
            }
        }
        run(&t);
        assert_int_equal(h2_session_abuse(t.session),
                         kind == 3 ? H2_ABUSE_HEADERS : H2_ABUSE_CONTROL);
        close_client(&t);
    }
}

/* Each stream is a request of our own, so that no number of faults on them is a flood. */
static void test_many_resets_are_no_flood(void **state)
{
    struct client_test t;
    (void)state;
    begin_client(&t);
    for (uint32_t i = 0; i < 500; i++) {
        get(&t);
        run(&t);
        if (i % 2) {
            wire_put_u32(&t.in, WIRE_RST_STREAM, i * 2 + 1, H2_INTERNAL_ERROR);
        } else {
            wire_headers(&t.in, i * 2 + 1, WIRE_END_STREAM, "a: b\n");
        }
        run(&t);
    }
    assert_int_equal(h2_session_abuse(t.session), H2_ABUSE_NONE);
    assert_false(h2_session_is_closing(t.session));
    close_client(&t);
}

/* ---- streams that end otherwise ---- */

static void test_resets(void **state)
{
    struct client_test t;
    (void)state;
    begin_client(&t);
    for (unsigned i = 0; i < 4; i++) {
        get(&t);
    }
    run(&t);
    buf_clear(&t.log);
    wire_put_u32(&t.in, WIRE_RST_STREAM, 1, H2_REFUSED_STREAM);
    wire_put_u32(&t.in, WIRE_RST_STREAM, 3, H2_CANCEL);
    wire_headers(&t.in, 5, 0, OK200);
    wire_put_u32(&t.in, WIRE_RST_STREAM, 5, H2_REFUSED_STREAM);
    run(&t);
    assert_log(&t, "1 ERR_RESET unprocessed\n3 ERR_RESET\n5 200\n5 ERR_RESET\n");
    /* Ours, and what was on its way. */
    struct mux_stream *last =
        CONTAINER_OF(h2_session_streams(t.session)->next, struct mux_stream, link);
    h2_session_reset(t.session, last, H2_CANCEL);
    buf_clear(&t.out);
    run(&t);
    assert_int_equal(wire_reset_code(buf_str(&t.out), 7), H2_CANCEL);
    assert_log(&t, "7 ERR_RESET\n");
    wire_headers(&t.in, 7, 0, OK200);
    wire_put(&t.in, WIRE_DATA, WIRE_END_STREAM, 7, STR("late"));
    run(&t);
    assert_false(h2_session_is_broken(t.session));
    assert_int_equal(t.body.n, 0);
    close_client(&t);
}

static void test_goaway(void **state)
{
    struct client_test t;
    (void)state;
    begin_client(&t);
    for (unsigned i = 0; i < 3; i++) {
        get(&t);
    }
    run(&t);
    buf_clear(&t.log);
    wire_put(&t.in, WIRE_GOAWAY, 0, 0, str_make("\0\0\0\1\0\0\0\0", 8));
    run(&t);
    assert_log(&t, "3 ERR_RESET unprocessed\n5 ERR_RESET unprocessed\n");
    assert_true(h2_session_is_closing(t.session));
    assert_false(h2_session_is_over(t.session));
    assert_int_equal(h2_session_room(t.session), 0);
    assert_int_equal(request(&t, "GET", "", 0, NULL), ERR_LIMIT);
    wire_headers(&t.in, 1, WIRE_END_STREAM, OK200);
    run(&t);
    assert_log(&t, "1 200 (0)\n1 body\n1 end\n");
    assert_true(h2_session_is_over(t.session));
    close_client(&t);
}

static void test_streams_max(void **state)
{
    struct client_test t;
    (void)state;
    begin_client(&t);
    assert_true(h2_session_room(t.session) > 1000);
    wire_put(&t.in, WIRE_SETTINGS, 0, 0, str_make("\0\3\0\0\0\2\0\x08\0\0\0\1", 12));
    run(&t);
    assert_int_equal(h2_session_room(t.session), 2);
    assert_true(h2_session_has_connect(t.session));
    get(&t);
    get(&t);
    assert_int_equal(request(&t, "GET", "", 0, NULL), ERR_LIMIT);
    wire_headers(&t.in, 1, WIRE_END_STREAM, OK200);
    run(&t);
    assert_int_equal(h2_session_room(t.session), 1);
    close_client(&t);
}

static void test_ping(void **state)
{
    struct client_test t;
    struct wire_frame f;
    (void)state;
    begin_client(&t);
    run(&t);
    buf_clear(&t.out);
    h2_session_ping(t.session);
    h2_session_ping(t.session);
    run(&t);
    assert_int_equal(wire_count(buf_str(&t.out), WIRE_PING, 0, &f), 1);
    assert_true(h2_session_is_pinging(t.session));
    wire_put(&t.in, WIRE_PING, WIRE_ACK, 0, STR("anything"));
    run(&t);
    assert_true(h2_session_is_pinging(t.session));
    wire_put(&t.in, WIRE_PING, WIRE_ACK, 0, f.payload);
    run(&t);
    assert_false(h2_session_is_pinging(t.session));
    close_client(&t);
}

/* ---- windows ---- */

static void put_data(struct client_test *t, uint32_t id, size_t n)
{
    static char bytes[16384];
    while (n > 0) {
        size_t step = n < sizeof(bytes) ? n : sizeof(bytes);
        wire_put(&t->in, WIRE_DATA, 0, id, str_make(bytes, step));
        n -= step;
    }
}

/* The connection has credit for others although nobody takes the answer; the stream has none. */
static void test_kept_answers(void **state)
{
    struct client_test t;
    struct wire_frame f;
    (void)state;
    begin_client(&t);
    t.is_hoarding = true;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 100; i++) {
        get(&t);
        run(&t);
        buf_clear(&t.out);
        wire_headers(&t.in, i * 2 + 1, 0, OK200);
        put_data(&t, i * 2 + 1, H2_CLIENT_WINDOW);
        run(&t);
        assert_int_equal(wire_count(buf_str(&t.out), WIRE_WINDOW_UPDATE, i * 2 + 1, &f), 0);
        sum += H2_CLIENT_WINDOW;
        assert_int_equal(t.body.n, sum);
        assert_false(h2_session_is_broken(t.session));
    }
    /* One byte more than the window of a stream. */
    put_data(&t, 1, 1);
    run(&t);
    assert_int_equal(wire_reset_code(buf_str(&t.out), 1), H2_FLOW_CONTROL_ERROR);
    /* The peer may send as much again as is given back. */
    struct mux_stream *third =
        CONTAINER_OF(h2_session_streams(t.session)->next, struct mux_stream, link);
    assert_int_equal(third->id, 3);
    buf_clear(&t.out);
    ((struct client_stream *)third)->hoarded -= H2_CLIENT_WINDOW;
    h2_session_consume(t.session, third, H2_CLIENT_WINDOW);
    run(&t);
    assert_int_equal(wire_count(buf_str(&t.out), WIRE_WINDOW_UPDATE, 3, &f), 1);
    assert_int_equal(wire_payload_u32(&f, 0), H2_CLIENT_WINDOW);
    close_client(&t);
}

/* What is sent keeps to the windows of the peer. */
static void test_upload_windows(void **state)
{
    struct client_test t;
    struct client_stream *s = NULL;
    (void)state;
    begin_client(&t);
    assert_int_equal(request(&t, "PUT", "", 200000, &s), ERR_OK);
    run(&t);
    assert_int_equal(s->body_left, 200000 - 65535);
    wire_put_u32(&t.in, WIRE_WINDOW_UPDATE, 0, 1000000);
    run(&t);
    assert_int_equal(s->body_left, 200000 - 65535);
    wire_put_u32(&t.in, WIRE_WINDOW_UPDATE, 1, 1000);
    run(&t);
    assert_int_equal(s->body_left, 200000 - 66535);
    wire_put(&t.in, WIRE_SETTINGS, 0, 0, str_make("\0\4\0\x0f\0\0", 6));
    run(&t);
    assert_int_equal(s->body_left, 0);
    assert_log(&t, "1 sent\n");
    close_client(&t);
}

/* ---- memory ---- */

static void test_out_of_memory(void **state)
{
    unsigned long total = 0;
    (void)state;
    for (unsigned long n = 0; n <= total; n++) {
        struct client_test t;
        struct buf in;
        buf_init(&in, 0);
        wire_put(&in, WIRE_SETTINGS, 0, 0, STR(""));
        wire_put(&in, WIRE_HEADERS, 0, 1, STR("\x88"));
        wire_put(&in, WIRE_CONTINUATION, WIRE_END_HEADERS, 1, STR(""));
        wire_put(&in, WIRE_DATA, 0, 1, STR("body"));
        wire_headers(&in, 1, WIRE_END_STREAM, "x-sum: 1\n");
        (void)mem_test_fail_at(n);
        enum err e = open_client(&t);
        t.session = e ? NULL : t.session;
        e = e ? e : request(&t, "PUT", "X-Own: a\nAccept: b\n", 5, NULL);
        if (!e) {
            buf_add_str(&t.in, buf_str(&in));
            e = t.in.is_failed ? ERR_NOMEM : run_cut(&t, 3);
        }
        unsigned long used = mem_test_fail_at(0);
        total = n ? total : used;
        assert_true(e == ERR_OK || e == ERR_NOMEM);
        close_client(&t);
        buf_done(&in);
    }
    assert_true(total > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_heads),
        cmocka_unit_test(test_first_settings),
        cmocka_unit_test(test_what_cannot_be_sent),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_answer_before_the_request),
        cmocka_unit_test(test_data_before_a_head),
        cmocka_unit_test(test_head_too_large),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_many_resets_are_no_flood),
        cmocka_unit_test(test_resets),
        cmocka_unit_test(test_goaway),
        cmocka_unit_test(test_streams_max),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_kept_answers),
        cmocka_unit_test(test_upload_windows),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
