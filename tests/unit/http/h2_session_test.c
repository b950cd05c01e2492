/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of streams: heads, bodies, trailers and the end. */
#include "h2_harness.h"
#include "http/hpack_int.h"

static void on_field(void *context, const struct hpack_field *f)
{
    buf_add_str(context, f->name);
    buf_add_char(context, ' ');
}

static void test_head(void **state)
{
    struct test *t = *state;
    wire_request(&t->in, 1, WIRE_END_STREAM, "GET", "/p%20q?x=1",
                 "accept: */*\ncookie: a=1\nx-other: v\ncookie: b=2\nhost: A\n");
    wire_headers(&t->in, 3, WIRE_END_STREAM,
                 ":path: /\n:method: BREW\n:scheme: HTTPS\nhost: b.test:8443\nte: trailers\n");
    wire_request(&t->in, 5, WIRE_END_STREAM, "OPTIONS", "*", "");
    run(t);
    assert_log(t, "1 GET http://a/p%20q?x=1 accept=*/* x-other=v host=A cookie=a=1; b=2\n"
                  "3 BREW https://b.test:8443/ host=b.test:8443 te=trailers\n"
                  "5 OPTIONS http://a*\n"
                  "1 answered\n1 end\n3 answered\n3 end\n5 answered\n5 end\n");
    assert_int_equal(t->refused, 0);
}

static void test_cuts(void **state)
{
    struct test *t = *state;
    for (size_t step = 1; step < 40; step += 7) {
        struct test other;
        const struct mux_limits limits = test_limits();
        assert_int_equal(open_with(&other, &limits), ERR_OK);
        other.is_silent = true;
        wire_put(&other.in, WIRE_PRIORITY, 0, 7, str_make("\0\0\0\5\7", 5));
        wire_request(&other.in, 1, 0, "POST", "/", "content-length: 10\n");
        wire_put(&other.in, WIRE_DATA, 0, 1, STR("hello"));
        wire_put(&other.in, WIRE_DATA, WIRE_END_STREAM, 1, STR("world"));
        assert_int_equal(run_cut(&other, step), ERR_OK);
        assert_true(str_eq(buf_str(&other.body), STR("helloworld")));
        assert_int_equal(wire_goaway_code(buf_str(&other.out)), -1);
        close_test(&other);
    }
    run(t);
}

static const struct {
    const char *fields;
    enum h1_reject reason;
} malformed[] = {
    {":method: GET\n:scheme: http\n:path: /\n", H1_REJECT_MESSAGE},
    {":scheme: http\n:path: /\n:authority: a\n", H1_REJECT_MESSAGE},
    {":method: GET\n:path: /\n:authority: a\n", H1_REJECT_MESSAGE},
    {":method: GET\n:scheme: http\n:authority: a\n", H1_REJECT_MESSAGE},
    {":method: GET\n:scheme: http\n:path: \n:authority: a\n", H1_REJECT_MESSAGE},
    {HEAD ":path: /again\n", H1_REJECT_MESSAGE},
    {":method: GET\n:scheme: http\nx: y\n:path: /\n:authority: a\n", H1_REJECT_MESSAGE},
    {HEAD ":status: 200\n", H1_REJECT_MESSAGE},
    {HEAD ":protocol: websocket\n", H1_REJECT_MESSAGE},
    {HEAD "Upper: case\n", H1_REJECT_MESSAGE},
    {HEAD "sp ace: v\n", H1_REJECT_MESSAGE},
    {HEAD "x: cr\rlf\n", H1_REJECT_MESSAGE},
    {HEAD "x: ctl\x01\n", H1_REJECT_MESSAGE},
    {HEAD "x:  led by a space\n", H1_REJECT_MESSAGE},
    {HEAD "connection: close\n", H1_REJECT_MESSAGE},
    {HEAD "keep-alive: 1\n", H1_REJECT_MESSAGE},
    {HEAD "proxy-connection: close\n", H1_REJECT_MESSAGE},
    {HEAD "upgrade: h2c\n", H1_REJECT_MESSAGE},
    {HEAD "transfer-encoding: chunked\n", H1_REJECT_MESSAGE},
    {HEAD "http2-settings: AAMAAABk\n", H1_REJECT_FIELD_NAME},
    {HEAD "te: gzip\n", H1_REJECT_MESSAGE},
    {HEAD "host: b\n", H1_REJECT_AUTHORITY},
    {HEAD "host: a\nhost: a\n", H1_REJECT_MESSAGE},
    {HEAD "content-length: 1\ncontent-length: 1\n", H1_REJECT_MESSAGE},
    {HEAD "content-length: +1\n", H1_REJECT_MESSAGE},
    {HEAD "content-length: 18446744073709551616\n", H1_REJECT_MESSAGE},
    {HEAD "content-length: 10\n", H1_REJECT_MESSAGE}, /* and the stream ends here */
    {":method: GET\n:scheme: http\n:path: /\n:authority: u@a\n", H1_REJECT_AUTHORITY},
    {":method: GET\n:scheme: http\n:path: /\n:authority: a:0\n", H1_REJECT_AUTHORITY},
    {":method: GET\n:scheme: http\n:path: /\n:authority: a:99999\n", H1_REJECT_AUTHORITY},
    {":method: GET\n:scheme: http\n:path: /#f\n:authority: a\n", H1_REJECT_TARGET},
    {":method: GET\n:scheme: http\n:path: /a b\n:authority: a\n", H1_REJECT_MESSAGE},
    {":method: GET\n:scheme: http\n:path: x\n:authority: a\n", H1_REJECT_MESSAGE},
    {":method: GET\n:scheme: http\n:path: *\n:authority: a\n", H1_REJECT_MESSAGE},
    {":method: GET\n:scheme: ftp\n:path: /\n:authority: a\n", H1_REJECT_TARGET_FORM},
    {":method: G T\n:scheme: http\n:path: /\n:authority: a\n", H1_REJECT_MESSAGE},
    {":method: CONNECT\n:scheme: http\n:path: /\n:authority: a:1\n", H1_REJECT_MESSAGE},
    {":method: CONNECT\n:authority: a\n", H1_REJECT_AUTHORITY},
    {":method: GET\n:scheme: http\n:path: /\n:authority: \n", H1_REJECT_AUTHORITY},
    {":method: GET\n:scheme: http\n:path: /\n:authority: \nhost: a\n", H1_REJECT_AUTHORITY},
    {":method: GET\n:scheme: http\n:path: /\nhost: \n", H1_REJECT_HOST_INVALID},
    {":method: \n:scheme: http\n:path: /\n:authority: a\n", H1_REJECT_MESSAGE},
    {":method: GET\n:scheme: \n:path: /\n:authority: a\n", H1_REJECT_TARGET_FORM},
    {HEAD "content-length: \n", H1_REJECT_MESSAGE},
    {HEAD "content-length: 0, 0\n", H1_REJECT_MESSAGE},
    {HEAD ":method: GET\n", H1_REJECT_MESSAGE},
    {"", H1_REJECT_MESSAGE},
};

static void test_malformed(void **state)
{
    for (size_t i = 0; i < COUNT_OF(malformed); i++) {
        struct test t;
        const struct mux_limits limits = test_limits();
        assert_int_equal(open_with(&t, &limits), ERR_OK);
        wire_headers(&t.in, 1, WIRE_END_STREAM, malformed[i].fields);
        wire_request(&t.in, 3, WIRE_END_STREAM, "GET", "/", "");
        run(&t);
        long code = wire_reset_code(buf_str(&t.out), 1);
        if (code != H2_PROTOCOL_ERROR || t.refused != 1 || t.reject != malformed[i].reason ||
            wire_count(buf_str(&t.out), WIRE_HEADERS, 3, NULL) != 1) {
            fail_msg("row %zu: code %ld, refused %u for %d: %s", i, code, t.refused, t.reject,
                     malformed[i].fields);
        }
        close_test(&t);
    }
}

/* What a line of text cannot say. */
static void test_malformed_bytes(void **state)
{
    static const struct {
        struct str name, value;
    } wrong[] = {
        {STR(""), STR("v")},          {STR("x"), STR("a\0b")}, {STR("x\0"), STR("v")},
        {STR("x"), STR("a\n")},       {STR("x"), STR(" v")},   {STR("x"), STR("v\t")},
        {STR("x:y"), STR("v")},       {STR("\xc3"), STR("v")}, {STR("x"), STR("v\r\nHost: b")},
        {STR(":"), STR("v")},         {STR(":x"), STR("v")},   {STR("x "), STR("v")},
        {STR("TE"), STR("trailers")},
    };
    struct test *t = *state;
    for (uint32_t i = 0; i < COUNT_OF(wrong); i++) {
        struct buf block;
        buf_init(&block, 0);
        wire_fields(&block, STR(HEAD));
        wire_field(&block, wrong[i].name, wrong[i].value);
        wire_put(&t->in, WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, 2 * i + 1,
                 buf_str(&block));
        run(t);
        if (wire_reset_code(buf_str(&t->out), 2 * i + 1) != H2_PROTOCOL_ERROR ||
            t->refused != i + 1) {
            fail_msg("row %u", i);
        }
        buf_done(&block);
    }
    assert_null(memmem(t->log.p, t->log.n, "GET", 3));
}

/* A field that was refused stays refused when a table brings it again; one that was fit for a head
 * is not for trailers. */
static void test_malformed_by_the_table(void **state)
{
    static const char *const names[] = {"Upper", "connection", ":status", "transfer-encoding"};
    struct test *t = *state;
    uint32_t id = 1;
    struct buf block;
    t->is_silent = true;
    buf_init(&block, 0);
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        for (unsigned again = 0; again < 2; again++, id += 2) {
            buf_clear(&block);
            wire_fields(&block, STR(HEAD));
            if (again) {
                buf_add_char(&block, (char)0xbe);
            } else {
                buf_add_char(&block, 0x40);
                wire_length(&block, strlen(names[i]));
                buf_add_str(&block, str_of(names[i]));
                buf_add(&block, "\1v", 2);
            }
            wire_put(&t->in, WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, id, buf_str(&block));
            run(t);
            assert_int_equal(wire_reset_code(buf_str(&t->out), id), H2_PROTOCOL_ERROR);
        }
    }
    buf_clear(&block);
    wire_fields(&block, STR(HEAD));
    buf_add(&block,
            "\x5c\1"
            "4",
            3); /* content-length, into the table */
    wire_put(&t->in, WIRE_HEADERS, WIRE_END_HEADERS, id, buf_str(&block));
    wire_put(&t->in, WIRE_DATA, 0, id, STR("1234"));
    assert_no_goaway(t);
    assert_int_equal(wire_reset_code(buf_str(&t->out), id), -1);
    wire_put(&t->in, WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, id, STR("\xbe"));
    assert_no_goaway(t);
    assert_int_equal(wire_reset_code(buf_str(&t->out), id), H2_PROTOCOL_ERROR);
    buf_done(&block);
}

/* A table that shrinks to nothing and grows again within one frame is said to have done so. */
static void test_table_sizes(void **state)
{
    struct test *t = *state;
    struct wire_frame f;
    wire_put(&t->in, WIRE_SETTINGS, 0, 0, str_make("\0\1\0\0\0\0\0\1\0\0\x10\0", 12));
    wire_request(&t->in, 1, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    assert_int_equal(wire_count(buf_str(&t->out), WIRE_HEADERS, 1, &f), 1);
    assert_true(f.payload.n > 5 && memcmp(f.payload.p, "\x20\x3f\xe1\x1f\x88", 5) == 0);
    wire_put(&t->in, WIRE_SETTINGS, 0, 0, str_make("\0\1\xff\xff\xff\xff", 6));
    wire_request(&t->in, 3, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    assert_int_equal(wire_count(buf_str(&t->out), WIRE_HEADERS, 3, &f), 1);
    assert_int_equal((uint8_t)f.payload.p[0], 0x88);
}

#define PRIORITY_OF_1 "\0\0\0\1\0"

/* What ends the connection: one frame, with stream 1 open, and the code for it. */
static const struct {
    unsigned type, flags;
    uint32_t id;
    struct str payload;
    enum h2_code code;
} faults[] = {
    /* Padding and priorities that do not fit. */
    {WIRE_HEADERS, WIRE_PADDED | WIRE_END_HEADERS, 3, STR(""), H2_PROTOCOL_ERROR},
    {WIRE_HEADERS, WIRE_PADDED | WIRE_END_HEADERS, 3, STR("\5abcd"), H2_PROTOCOL_ERROR},
    {WIRE_HEADERS, WIRE_END_HEADERS | 0x20, 3, STR("1234"), H2_PROTOCOL_ERROR},
    {WIRE_HEADERS, WIRE_END_HEADERS | 0x20, 1, STR(PRIORITY_OF_1), H2_PROTOCOL_ERROR},
    {WIRE_DATA, WIRE_PADDED, 1, STR(""), H2_PROTOCOL_ERROR},
    {WIRE_DATA, WIRE_PADDED, 1, STR("\1"), H2_PROTOCOL_ERROR},
    {WIRE_DATA, WIRE_PADDED, 1, STR("\xff\0\0"), H2_PROTOCOL_ERROR},
    {WIRE_PRIORITY, 0, 1, STR(PRIORITY_OF_1), H2_PROTOCOL_ERROR},
    /* Lengths. */
    {WIRE_RST_STREAM, 0, 1, STR("123"), H2_FRAME_SIZE_ERROR},
    {WIRE_WINDOW_UPDATE, 0, 1, STR("12345"), H2_FRAME_SIZE_ERROR},
    {WIRE_PING, 0, 0, STR("1234567"), H2_FRAME_SIZE_ERROR},
    {WIRE_SETTINGS, 0, 0, STR("12345"), H2_FRAME_SIZE_ERROR},
    {WIRE_SETTINGS, WIRE_ACK, 0, STR("\0\1\0\0\0\0"), H2_FRAME_SIZE_ERROR},
    {WIRE_GOAWAY, 0, 0, STR("1234567"), H2_FRAME_SIZE_ERROR},
    {WIRE_PRIORITY_UPDATE, 0, 0, STR("123"), H2_FRAME_SIZE_ERROR},
    {WIRE_PRIORITY, 0, 1, STR("1234"), H2_FRAME_SIZE_ERROR},
    /* Streams. */
    {WIRE_DATA, 0, 0, STR("x"), H2_PROTOCOL_ERROR},
    {WIRE_HEADERS, WIRE_END_HEADERS, 0, STR(""), H2_PROTOCOL_ERROR},
    {WIRE_HEADERS, WIRE_END_HEADERS, 2, STR(""), H2_PROTOCOL_ERROR},
    {WIRE_RST_STREAM, 0, 0, STR("1234"), H2_PROTOCOL_ERROR},
    {WIRE_PRIORITY, 0, 0, STR("12345"), H2_PROTOCOL_ERROR},
    {WIRE_SETTINGS, 0, 1, STR(""), H2_PROTOCOL_ERROR},
    {WIRE_PING, 0, 1, STR("12345678"), H2_PROTOCOL_ERROR},
    {WIRE_GOAWAY, 0, 1, STR("12345678"), H2_PROTOCOL_ERROR},
    {WIRE_PRIORITY_UPDATE, 0, 1, STR("\0\0\0\1u=1"), H2_PROTOCOL_ERROR},
    {WIRE_PRIORITY_UPDATE, 0, 0, STR("\0\0\0\0u=1"), H2_PROTOCOL_ERROR},
    {WIRE_PRIORITY_UPDATE, 0, 0, STR("\0\0\0\2u=1"), H2_PROTOCOL_ERROR},
    {WIRE_PUSH_PROMISE, WIRE_END_HEADERS, 1, STR("\0\0\0\2"), H2_PROTOCOL_ERROR},
    {WIRE_CONTINUATION, WIRE_END_HEADERS, 1, STR(""), H2_PROTOCOL_ERROR},
    /* Streams that nobody began. */
    {WIRE_DATA, 0, 3, STR("x"), H2_PROTOCOL_ERROR},
    {WIRE_RST_STREAM, 0, 3, STR("1234"), H2_PROTOCOL_ERROR},
    {WIRE_WINDOW_UPDATE, 0, 3, STR("\0\0\0\1"), H2_PROTOCOL_ERROR},
    /* Windows and settings. */
    {WIRE_WINDOW_UPDATE, 0, 0, STR("\0\0\0\0"), H2_PROTOCOL_ERROR},
    {WIRE_WINDOW_UPDATE, 0, 0, STR("\x80\0\0\0"), H2_PROTOCOL_ERROR},
    {WIRE_SETTINGS, 0, 0, STR("\0\2\0\0\0\2"), H2_PROTOCOL_ERROR},
    {WIRE_SETTINGS, 0, 0, STR("\0\4\x80\0\0\0"), H2_FLOW_CONTROL_ERROR},
    {WIRE_SETTINGS, 0, 0, STR("\0\5\0\0\x3f\xff"), H2_PROTOCOL_ERROR},
    {WIRE_SETTINGS, 0, 0, STR("\0\5\1\0\0\0"), H2_PROTOCOL_ERROR},
    {WIRE_SETTINGS, 0, 0, STR("\0\x08\0\0\0\2"), H2_PROTOCOL_ERROR},
    {WIRE_SETTINGS, 0, 0, STR("\0\x09\0\0\0\2"), H2_PROTOCOL_ERROR},
};

/* However the bytes were cut, the verdict is the same, nothing is told of the frame, and the GOAWAY
 * is the last word. */
static void test_faults_of_frames(void **state)
{
    for (size_t i = 0; i < 2 * COUNT_OF(faults); i++) {
        struct test t;
        struct wire_frame f;
        const struct mux_limits limits = test_limits();
        size_t row = i / 2;
        assert_int_equal(open_with(&t, &limits), ERR_OK);
        t.is_silent = true;
        wire_request(&t.in, 1, 0, "POST", "/", "");
        wire_put(&t.in, faults[row].type, faults[row].flags, faults[row].id, faults[row].payload);
        wire_request(&t.in, 5, WIRE_END_STREAM, "GET", "/", "");
        assert_int_equal(run_cut(&t, i % 2 ? 1 : SIZE_MAX), ERR_OK);
        struct str rest = buf_str(&t.out);
        while (wire_next(&rest, &f)) {
            assert_true(f.type != WIRE_GOAWAY || rest.n == 0);
        }
        if (wire_goaway_code(buf_str(&t.out)) != (long)faults[row].code) {
            fail_msg("row %zu: %ld", row, wire_goaway_code(buf_str(&t.out)));
        }
        assert_int_equal(wire_payload_u32(&f, 0), 1);
        assert_log(&t, "1 POST http://a/\n");
        assert_true(h2_session_is_over(t.session));
        close_test(&t);
    }
}

/* A header block is one piece: nothing else may come within it. */
static void test_faults_within_a_block(void **state)
{
    for (int i = 0; i < 4; i++) {
        struct test t;
        const struct mux_limits limits = test_limits();
        assert_int_equal(open_with(&t, &limits), ERR_OK);
        wire_put(&t.in, WIRE_HEADERS, WIRE_END_STREAM, 1, STR("\x82\x84"));
        switch (i) {
        case 0:
            wire_put(&t.in, WIRE_PING, 0, 0, STR("12345678"));
            break;
        case 1:
            wire_put(&t.in, WIRE_CONTINUATION, WIRE_END_HEADERS, 3, STR("\x86"));
            break;
        case 2:
            wire_put(&t.in, 0x77, 0, 1, STR("?"));
            break;
        default:
            wire_put(&t.in, WIRE_HEADERS, WIRE_END_HEADERS, 1, STR("\x86"));
            break;
        }
        run(&t);
        assert_int_equal(wire_goaway_code(buf_str(&t.out)), H2_PROTOCOL_ERROR);
        assert_int_equal(t.live, 0);
        close_test(&t);
    }
}

static void test_limits_are_answered(void **state)
{
    struct test *t = *state;
    struct buf block;
    char path[9000];
    buf_init(&block, 0);
    wire_fields(&block, STR(HEAD));
    for (int i = 0; i < 101; i++) {
        wire_field(&block, STR("cookie"), STR("a"));
    }
    wire_put(&t->in, WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, 1, buf_str(&block));
    assert_status(t, 1, H1_REJECT_FIELD_COUNT, 431);

    memset(path, 'p', sizeof(path));
    path[0] = '/';
    buf_clear(&block);
    wire_fields(&block, STR(":method: GET\n:scheme: http\n:authority: a\n"));
    wire_field(&block, STR(":path"), str_make(path, sizeof(path)));
    wire_put(&t->in, WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, 3, buf_str(&block));
    assert_status(t, 3, H1_REJECT_TARGET_LONG, 414);

    wire_request(&t->in, 5, WIRE_END_STREAM, "METHODSOFMORETHANTHIRTYTWOLETTERS", "/", "");
    assert_status(t, 5, H1_REJECT_METHOD_LONG, 501);
    wire_request(&t->in, 7, WIRE_END_STREAM, "GET", "/", "expect: more\n");
    assert_status(t, 7, H1_REJECT_EXPECT, 417);
    buf_done(&block);
}

static void test_body_must_be_as_long_as_said(void **state)
{
    struct test *t = *state;
    t->is_silent = true;
    wire_request(&t->in, 1, 0, "POST", "/", "content-length: 4\n");
    wire_put(&t->in, WIRE_DATA, 0, 1, STR("12345"));
    wire_request(&t->in, 3, 0, "POST", "/", "content-length: 4\n");
    wire_put(&t->in, WIRE_DATA, WIRE_END_STREAM, 3, STR("123"));
    wire_request(&t->in, 5, 0, "POST", "/", "content-length: 4\n");
    wire_put(&t->in, WIRE_DATA, 0, 5, STR("123"));
    wire_headers(&t->in, 5, WIRE_END_STREAM, "x-sum: 1\n");
    wire_request(&t->in, 7, 0, "POST", "/", "content-length: 0\n");
    wire_put(&t->in, WIRE_DATA, WIRE_PADDED, 7, STR("\1x\0"));
    run(t);
    assert_int_equal(wire_reset_code(buf_str(&t->out), 1), H2_PROTOCOL_ERROR);
    assert_int_equal(wire_reset_code(buf_str(&t->out), 3), H2_PROTOCOL_ERROR);
    assert_int_equal(wire_reset_code(buf_str(&t->out), 5), H2_PROTOCOL_ERROR);
    assert_int_equal(wire_reset_code(buf_str(&t->out), 7), H2_PROTOCOL_ERROR);
    assert_int_equal(t->live, 0);
    assert_int_equal(wire_goaway_code(buf_str(&t->out)), -1);
}

/* ---- trailers, CONNECT ---- */

/* An answer that is given while another one's body is taken comes before the trailers of that one
 * in the table, so it leaves before them too. */
static void test_answer_within_a_body(void **state)
{
    struct test *t = *state;
    struct hpack_decoder decoder;
    struct buf scratch, fields;
    struct wire_frame f;
    t->has_trailers = true;
    t->answer_bytes = 3;
    t->is_answering_in_turn = true;
    for (uint32_t id = 1; id < 9; id += 2) {
        wire_request(&t->in, id, WIRE_END_STREAM, "GET", "/", "");
    }
    run(t);
    struct str rest = buf_str(&t->out);
    hpack_decoder_init(&decoder);
    buf_init(&scratch, 0);
    buf_init(&fields, 0);
    while (wire_next(&rest, &f)) {
        if (f.type == WIRE_HEADERS) {
            enum err e = hpack_decode(&decoder, (const uint8_t *)f.payload.p, f.payload.n, &scratch,
                                      on_field, &fields);
            assert_int_equal(e, ERR_OK);
        }
    }
    buf_add_char(&fields, 0);
    assert_string_equal(fields.p, ":status date content-length x-own "
                                  ":status date content-length x-own x-sum "
                                  ":status date content-length x-own x-sum "
                                  ":status date content-length x-own x-sum x-sum ");
    hpack_decoder_done(&decoder);
    buf_done(&scratch);
    buf_done(&fields);
}

static void test_trailers(void **state)
{
    struct test *t = *state;
    bool is_ended;
    t->has_trailers = true;
    t->answer_bytes = 3;
    wire_request(&t->in, 1, 0, "POST", "/", "");
    wire_put(&t->in, WIRE_DATA, 0, 1, STR("x"));
    wire_headers(&t->in, 1, WIRE_END_STREAM, "x-sum: 1\n");
    run(t);
    assert_log(t, "1 POST http://a/\n1 body x-sum=1\n1 answered\n1 end\n");
    assert_int_equal(wire_count(buf_str(&t->out), WIRE_HEADERS, 1, NULL), 2);
    assert_int_equal(wire_body(buf_str(&t->out), 1, &is_ended), 3);
    assert_true(is_ended);
}

static void test_bad_trailers(void **state)
{
    static const char *const bad[] = {":path: /\n", "content-length: 1\n", "host: a\n",
                                      "te: trailers\n", "Upper: 1\n"};
    struct test *t = *state;
    t->is_silent = true;
    for (uint32_t i = 0; i < COUNT_OF(bad); i++) {
        wire_request(&t->in, 2 * i + 1, 0, "POST", "/", "");
        wire_headers(&t->in, 2 * i + 1, WIRE_END_STREAM, bad[i]);
        run(t);
        assert_int_equal(wire_reset_code(buf_str(&t->out), 2 * i + 1), H2_PROTOCOL_ERROR);
    }
    assert_int_equal(t->live, 0);
}

static void test_trailers_count_as_fields(void **state)
{
    struct test *t = *state;
    struct buf block;
    t->is_silent = true;
    buf_init(&block, 0);
    for (int i = 0; i < 101; i++) {
        wire_field(&block, STR("x"), STR("y"));
    }
    wire_request(&t->in, 1, 0, "POST", "/", "");
    wire_put(&t->in, WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, 1, buf_str(&block));
    run(t);
    assert_int_equal(wire_reset_code(buf_str(&t->out), 1), H2_ENHANCE_YOUR_CALM);
    buf_done(&block);
}

static void test_connect(void **state)
{
    struct test t;
    struct mux_limits limits = test_limits();
    limits.has_connect_protocol = true;
    assert_int_equal(open_with(&t, &limits), ERR_OK);
    wire_headers(&t.in, 1, 0,
                 ":method: CONNECT\n:protocol: websocket\n:scheme: https\n:path: /chat?a\n"
                 ":authority: a\n");
    wire_headers(&t.in, 3, 0, ":method: CONNECT\n:authority: a:1\n");
    wire_headers(&t.in, 5, 0,
                 ":method: CONNECT\n:protocol: \n:scheme: https\n:path: /\n:authority: a\n");
    t.is_silent = true;
    run(&t);
    assert_int_equal(wire_reset_code(buf_str(&t.out), 5), H2_PROTOCOL_ERROR);
    assert_log(&t, "1 CONNECT https://a/chat?a protocol=websocket\n3 CONNECT ://a:1\n"
                   "5 ERR_RESET\n");
    struct wire_frame f;
    assert_int_equal(wire_count(buf_str(&t.out), WIRE_SETTINGS, 0, &f), 2);
    assert_non_null(memmem(t.out.p, t.out.n, "\0\x08\0\0\0\x01", 6));
    close_test(&t);
}

/* An answer's head of more than a frame goes on in others, and is one block. */
static void test_long_answer_head(void **state)
{
    struct test *t = *state;
    static char value[20000];
    struct response_head head = {.status = 200};
    struct http_field v[3];
    struct hpack_decoder decoder;
    struct buf scratch, block, names;
    struct wire_frame f;
    memset(value, '!', sizeof(value)); /* not shorter in the code */
    http_fields_init(&head.fields, v, 3);
    for (int i = 0; i < 3; i++) {
        enum err e = http_fields_add(&head.fields, STR("X-Long"), str_make(value, sizeof(value)));
        assert_int_equal(e, ERR_OK);
    }
    const struct mux_response response = {.head = &head};
    t->is_silent = true;
    wire_request(&t->in, 1, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    struct mux_stream *stream =
        CONTAINER_OF(h2_session_streams(t->session)->next, struct mux_stream, link);
    assert_int_equal(h2_session_respond(t->session, stream, &response), ERR_OK);
    buf_clear(&t->out);
    wire_put(&t->in, WIRE_PING, WIRE_ACK, 0, STR("12345678"));
    run(t);
    hpack_decoder_init(&decoder);
    buf_init(&scratch, 0);
    buf_init(&block, 0);
    buf_init(&names, 0);
    struct str rest = buf_str(&t->out);
    for (unsigned i = 0; wire_next(&rest, &f); i++) {
        assert_int_equal(f.type, i ? WIRE_CONTINUATION : WIRE_HEADERS);
        assert_int_equal(f.id, 1);
        assert_int_equal(f.flags, (i ? 0 : WIRE_END_STREAM) | (rest.n ? 0 : WIRE_END_HEADERS));
        assert_true(f.payload.n == 16384 || rest.n == 0);
        buf_add_str(&block, f.payload);
    }
    assert_int_equal(
        hpack_decode(&decoder, (const uint8_t *)block.p, block.n, &scratch, on_field, &names),
        ERR_OK);
    buf_add_char(&names, 0);
    assert_string_equal(names.p, ":status content-length x-long x-long x-long ");
    hpack_decoder_done(&decoder);
    buf_done(&scratch);
    buf_done(&block);
    buf_done(&names);
}

static void test_finish(void **state)
{
    struct test *t = *state;
    struct wire_frame f;
    t->is_silent = true;
    wire_request(&t->in, 1, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    h2_session_notice(t->session);
    wire_request(&t->in, 3, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    assert_int_equal(wire_count(buf_str(&t->out), WIRE_GOAWAY, 0, &f), 1);
    assert_int_equal(wire_payload_u32(&f, 0), INT32_MAX);
    assert_int_equal(h2_session_stream_count(t->session), 2);
    assert_int_equal(wire_count(buf_str(&t->out), WIRE_PING, 0, &f), 1);
    assert_false(h2_session_is_noticed(t->session));
    char payload[8];
    memcpy(payload, f.payload.p, 8);
    wire_put(&t->in, WIRE_PING, WIRE_ACK, 0, str_make(payload, 8));
    run(t);
    assert_true(h2_session_is_noticed(t->session));
    h2_session_finish(t->session);
    wire_put(&t->in, WIRE_PING, 0, 0, STR("12345678"));
    run(t);
    assert_int_equal(wire_count(buf_str(&t->out), WIRE_GOAWAY, 0, &f), 2);
    assert_int_equal(wire_payload_u32(&f, 0), 3);
    wire_request(&t->in, 5, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    assert_int_equal(h2_session_stream_count(t->session), 2);
    struct list *streams = h2_session_streams(t->session);
    LIST_FOR_EACH(at, streams)
    {
        answer(t, CONTAINER_OF(at, struct mux_stream, link));
    }
    wire_put(&t->in, WIRE_PING, 0, 0, STR("12345678"));
    run(t);
    assert_true(h2_session_is_over(t->session));
    assert_false(h2_session_is_broken(t->session));
}

/* What a client sent before it heard of the end, a whole upload, is passed over (RFC 9113 6.8);
 * the requests that were taken are not hurt, and the connection gets its credit back. */
static void test_finish_passes_late_streams_over(void **state)
{
    struct test *t = *state;
    static char block[16384];
    struct wire_frame f;
    t->is_silent = true;
    wire_request(&t->in, 1, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    h2_session_finish(t->session);
    wire_request(&t->in, 3, 0, "POST", "/", "");
    for (int i = 0; i < 32; i++) {
        wire_put(&t->in, WIRE_DATA, 0, 3, str_make(block, sizeof(block)));
    }
    wire_headers(&t->in, 3, WIRE_END_STREAM, "x-sum: 1\n");
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 3, 1);
    wire_put_u32(&t->in, WIRE_RST_STREAM, 3, H2_CANCEL);
    run(t);
    assert_int_equal(wire_count(buf_str(&t->out), WIRE_GOAWAY, 0, &f), 1);
    assert_int_equal(wire_payload_u32(&f, 0), 1);
    assert_int_equal(wire_payload_u32(&f, 4), H2_NO_ERROR);
    wire_count(buf_str(&t->out), WIRE_WINDOW_UPDATE, 0, &f);
    assert_int_equal(wire_payload_u32(&f, 0), sizeof(block) * 32);
    answer(t, CONTAINER_OF(h2_session_streams(t->session)->next, struct mux_stream, link));
    wire_put(&t->in, WIRE_PING, 0, 0, STR("12345678"));
    run(t);
    assert_log(t, "1 GET http://a/\n1 answered\n1 end\n");
    assert_true(h2_session_is_over(t->session));
    assert_false(h2_session_is_broken(t->session));
}

/* The last identifier there is; nothing larger can be asked for, and smaller ones are used up. */
static void test_last_stream_id(void **state)
{
    struct test *t = *state;
    wire_request(&t->in, INT32_MAX, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    assert_log(t, "2147483647 GET http://a/\n2147483647 answered\n2147483647 end\n");
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, INT32_MAX, 1);
    assert_no_goaway(t);
    wire_request(&t->in, 3, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    assert_int_equal(wire_goaway_code(buf_str(&t->out)), H2_PROTOCOL_ERROR);
}

/* A client that leaves is answered to the end. */
static void test_client_leaves(void **state)
{
    struct test *t = *state;
    t->is_silent = true;
    wire_request(&t->in, 1, WIRE_END_STREAM, "GET", "/", "");
    wire_put(&t->in, WIRE_GOAWAY, 0, 0, str_make("\0\0\0\0\0\0\0\0", 8));
    run(t);
    assert_false(h2_session_is_over(t->session));
    answer(t, CONTAINER_OF(h2_session_streams(t->session)->next, struct mux_stream, link));
    wire_put(&t->in, WIRE_PING, 0, 0, STR("12345678"));
    run(t);
    assert_log(t, "1 GET http://a/\n1 answered\n1 end\n");
    assert_true(h2_session_is_over(t->session));
    assert_int_equal(wire_goaway_code(buf_str(&t->out)), -1);
}

/* Frames for streams that closed: an error, but where we reset them. */
static void test_closed_streams(void **state)
{
    struct test *t = *state;
    t->is_silent = true;
    wire_request(&t->in, 1, 0, "POST", "/", "");
    run(t);
    h2_session_reset(t->session,
                     CONTAINER_OF(h2_session_streams(t->session)->next, struct mux_stream, link),
                     H2_CANCEL);
    wire_put(&t->in, WIRE_PING, 0, 0, STR("12345678"));
    run(t);
    assert_int_equal(t->live, 0);
    wire_put(&t->in, WIRE_DATA, 0, 1, STR("late"));
    wire_headers(&t->in, 1, WIRE_END_STREAM, "x: late\n");
    assert_no_goaway(t);
    t->is_silent = false;
    wire_request(&t->in, 3, WIRE_END_STREAM, "GET", "/", "");
    assert_no_goaway(t);
    wire_put(&t->in, WIRE_DATA, 0, 3, STR("wrong"));
    run(t);
    assert_int_equal(wire_goaway_code(buf_str(&t->out)), H2_STREAM_CLOSED);
}

/* Every allocation of a busy session fails once. */
static void test_out_of_memory(void **state)
{
    unsigned long total = 0;
    for (unsigned long n = 0; n <= total; n++) {
        struct test t;
        const struct mux_limits limits = test_limits();
        struct buf in;
        buf_init(&in, 0);
        wire_request(&in, 1, WIRE_END_STREAM, "GET", "/p?q", "cookie: a\ncookie: b\nx-o: 1\n");
        wire_request(&in, 3, 0, "POST", "/", "");
        wire_put(&in, WIRE_DATA, 0, 3, STR("body"));
        wire_headers(&in, 3, WIRE_END_STREAM, "x-sum: 1\n");
        (void)mem_test_fail_at(n);
        enum err e = open_with(&t, &limits);
        t.answer_bytes = 100;
        t.has_trailers = true;
        if (!e) {
            buf_add_str(&t.in, buf_str(&in));
            e = t.in.is_failed ? ERR_NOMEM : run_cut(&t, 1000);
        } else {
            t.session = NULL;
        }
        unsigned long used = mem_test_fail_at(0);
        total = n ? total : used;
        assert_true(e == ERR_OK || e == ERR_NOMEM);
        close_test(&t);
        buf_done(&in);
    }
    assert_true(total > 5);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_head),
        T(test_cuts),
        cmocka_unit_test(test_malformed),
        T(test_malformed_bytes),
        T(test_malformed_by_the_table),
        T(test_table_sizes),
        cmocka_unit_test(test_faults_of_frames),
        cmocka_unit_test(test_faults_within_a_block),
        T(test_limits_are_answered),
        T(test_body_must_be_as_long_as_said),
        T(test_trailers),
        T(test_answer_within_a_body),
        T(test_bad_trailers),
        T(test_trailers_count_as_fields),
        cmocka_unit_test(test_connect),
        T(test_long_answer_head),
        T(test_finish),
        T(test_finish_passes_late_streams_over),
        T(test_last_stream_id),
        T(test_client_leaves),
        T(test_closed_streams),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
