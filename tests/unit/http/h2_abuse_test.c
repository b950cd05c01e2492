/* SPDX-License-Identifier: Apache-2.0 */
/* Floods, bombs and broken codings: each ends the stream or the connection, at a bounded cost. */
#include "h2_harness.h"

/* One entry of 4000 bytes, then 30000 references of one byte: 120 MB if anyone kept them. */
static void test_bomb(void **state)
{
    struct test *t = *state;
    struct buf block;
    char value[4000];
    memset(value, 'v', sizeof(value));
    buf_init(&block, 0);
    wire_fields(&block, STR(HEAD));
    buf_add_char(&block, 0x40);
    wire_length(&block, 1);
    buf_add_char(&block, 'x');
    wire_length(&block, sizeof(value));
    buf_add(&block, value, sizeof(value));
    while (block.n < 16384) {
        buf_add_char(&block, (char)0xbe);
    }
    wire_put(&t->in, WIRE_HEADERS, WIRE_END_STREAM, 1, str_make(block.p, 16384));
    memset(block.p, 0xbe, 16384);
    wire_put(&t->in, WIRE_CONTINUATION, WIRE_END_HEADERS, 1, str_make(block.p, 16384));
    (void)mem_test_fail_at(0);
    assert_status(t, 1, H1_REJECT_HEAD_LONG, 431);
    assert_true(mem_test_fail_at(0) < 60);
    buf_done(&block);
}

static void assert_calm(struct test *t, enum h2_abuse abuse)
{
    assert_int_equal(wire_goaway_code(buf_str(&t->out)), H2_ENHANCE_YOUR_CALM);
    assert_int_equal(h2_session_abuse(t->session), abuse);
    assert_true(h2_session_is_over(t->session));
}

/* One entry with a name of 4000 bytes, then entries of two bytes that have it copied. */
static void test_copied_names(void **state)
{
    struct test *t = *state;
    struct buf block;
    char name[4000];
    memset(name, 'n', sizeof(name));
    buf_init(&block, 0);
    wire_fields(&block, STR(HEAD));
    buf_add_char(&block, 0x40);
    wire_length(&block, sizeof(name));
    buf_add(&block, name, sizeof(name));
    buf_add_char(&block, 0);
    for (int i = 0; i < 16; i++) {
        buf_add(&block, "\x7e\0", 2);
    }
    wire_put(&t->in, WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, 1, buf_str(&block));
    assert_status(t, 1, H1_REJECT_HEAD_LONG, 431);
    buf_add(&block, "\x7e\0", 2);
    wire_put(&t->in, WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, 3, buf_str(&block));
    run(t);
    assert_calm(t, H2_ABUSE_HEADERS);
    buf_done(&block);
}

static void put_open_and_reset(struct test *t, uint32_t *id, unsigned count)
{
    for (unsigned i = 0; i < count; i++, *id += 2) {
        wire_request(&t->in, *id, WIRE_END_STREAM, "GET", "/", "");
        wire_put_u32(&t->in, WIRE_RST_STREAM, *id, H2_CANCEL);
    }
}

static void test_rapid_reset(void **state)
{
    struct test *t = *state;
    uint32_t id = 1;
    t->is_silent = true;
    put_open_and_reset(t, &id, H2_RESETS_MAX);
    assert_no_goaway(t);
    assert_int_equal(t->live, 0); /* the work is cancelled */
    t->now_ms += H2_ABUSE_WINDOW_MS;
    put_open_and_reset(t, &id, H2_RESETS_MAX);
    assert_no_goaway(t);
    put_open_and_reset(t, &id, 1);
    run(t);
    assert_calm(t, H2_ABUSE_RESETS);
}

/* The client makes the server reset: a window update past the maximum. */
static void test_provoked_reset(void **state)
{
    struct test *t = *state;
    t->is_silent = true;
    for (unsigned i = 0; i <= H2_RESETS_MAX; i++) {
        assert_int_equal(h2_session_abuse(t->session), H2_ABUSE_NONE);
        wire_request(&t->in, 2 * i + 1, WIRE_END_STREAM, "GET", "/", "");
        wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 2 * i + 1, INT32_MAX);
        run(t);
    }
    assert_calm(t, H2_ABUSE_RESETS);
}

static void test_malformed_heads_are_resets(void **state)
{
    struct test *t = *state;
    for (unsigned i = 0; i <= H2_RESETS_MAX; i++) {
        wire_request(&t->in, 2 * i + 1, WIRE_END_STREAM, "GET", "/", "host: other\n");
        run(t);
    }
    assert_calm(t, H2_ABUSE_RESETS);
}

/* Trailers that are too many cost as much as what is malformed. */
static void test_long_trailers_are_resets(void **state)
{
    struct test *t = *state;
    struct buf block;
    t->is_silent = true;
    buf_init(&block, 0);
    for (int i = 0; i < 101; i++) {
        wire_field(&block, STR("x"), STR("y"));
    }
    for (unsigned i = 0; i <= H2_RESETS_MAX; i++) {
        assert_int_equal(h2_session_abuse(t->session), H2_ABUSE_NONE);
        wire_request(&t->in, 2 * i + 1, 0, "POST", "/", "");
        wire_put(&t->in, WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, 2 * i + 1,
                 buf_str(&block));
        run(t);
    }
    assert_calm(t, H2_ABUSE_RESETS);
    buf_done(&block);
}

enum flood {
    FLOOD_PING,
    FLOOD_SETTINGS,
    FLOOD_PRIORITY,
    FLOOD_PRIORITY_UPDATE,
    FLOOD_DATA,
    FLOOD_PADDING,
    FLOOD_LATE_END,
    FLOOD_LATE_HEAD,
    FLOOD_GOAWAY,
    FLOOD_UPDATE,
    FLOOD_UNKNOWN
};

static void put_flood(struct test *t, enum flood flood)
{
    switch (flood) {
    case FLOOD_PING:
        wire_put(&t->in, WIRE_PING, 0, 0, STR("12345678"));
        break;
    case FLOOD_SETTINGS:
        wire_put(&t->in, WIRE_SETTINGS, 0, 0, STR(""));
        break;
    case FLOOD_PRIORITY:
        wire_put(&t->in, WIRE_PRIORITY, 0, 9, str_make("\0\0\0\1\7", 5));
        break;
    case FLOOD_PRIORITY_UPDATE:
        wire_put(&t->in, WIRE_PRIORITY_UPDATE, 0, 0, str_make("\0\0\0\7u=0", 7));
        break;
    case FLOOD_DATA:
        wire_put(&t->in, WIRE_DATA, 0, 1, STR(""));
        break;
    case FLOOD_PADDING:
        wire_put(&t->in, WIRE_DATA, WIRE_PADDED, 1, str_make("\2\0\0", 3));
        break;
    case FLOOD_LATE_END: /* the session resets stream 3 */
        wire_put(&t->in, WIRE_DATA, WIRE_END_STREAM, 3, STR(""));
        break;
    case FLOOD_LATE_HEAD:
        wire_put(&t->in, WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, 3, STR(""));
        break;
    case FLOOD_GOAWAY:
        wire_put(&t->in, WIRE_GOAWAY, 0, 0, str_make("\0\0\0\0\0\0\0\0", 8));
        break;
    case FLOOD_UPDATE:
        wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 0, 1);
        break;
    case FLOOD_UNKNOWN:
        wire_put(&t->in, 0x77, 0, 0, STR("?"));
        break;
    }
}

static void test_control_floods(void **state)
{
    for (enum flood flood = FLOOD_PING; flood <= FLOOD_UNKNOWN; flood++) {
        struct test t;
        const struct mux_limits limits = test_limits();
        assert_int_equal(open_with(&t, &limits), ERR_OK);
        t.is_silent = true;
        wire_request(&t.in, 1, 0, "POST", "/", "");
        wire_request(&t.in, 3, WIRE_END_STREAM, "GET", "/", "host: other\n");
        run(&t);
        /* The settings of the hello count too, and 100 unacknowledged ones are another matter. */
        for (unsigned i = 0; i + 1 < H2_CONTROL_MAX; i++) {
            put_flood(&t, flood);
            if (i % 50 == 49) {
                run(&t);
            }
        }
        assert_no_goaway(&t);
        put_flood(&t, flood);
        run(&t);
        if (h2_session_abuse(t.session) == H2_ABUSE_NONE) {
            fail_msg("flood %d", (int)flood);
        }
        assert_calm(&t, H2_ABUSE_CONTROL);
        close_test(&t);
    }
}

/* A frame of settings that repeats what costs most. */
static void test_long_settings(void **state)
{
    struct test *t = *state;
    struct buf entries;
    buf_init(&entries, 0);
    for (unsigned i = 0; i < H2_SETTINGS_MAX; i++) {
        buf_add(&entries, "\0\4\0\1\0\0", 6);
    }
    wire_put(&t->in, WIRE_SETTINGS, 0, 0, buf_str(&entries));
    assert_no_goaway(t);
    buf_add(&entries, "\0\4\0\1\0\0", 6);
    wire_put(&t->in, WIRE_SETTINGS, 0, 0, buf_str(&entries));
    run(t);
    assert_calm(t, H2_ABUSE_CONTROL);
    buf_done(&entries);
}

static void test_unacked(void **state)
{
    struct test *t = *state;
    run(t);
    for (unsigned i = 0; i <= H2_UNACKED_MAX; i++) {
        put_flood(t, FLOOD_PING);
    }
    run(t);
    assert_calm(t, H2_ABUSE_CONTROL);
}

/* Window updates that answer our data are no flood. */
static void test_updates_of_a_download(void **state)
{
    struct test *t = *state;
    t->answer_bytes = 30u << 20;
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 0, INT32_MAX - 65535);
    wire_request(&t->in, 1, WIRE_END_STREAM, "GET", "/", "");
    for (unsigned i = 0; i < 1900; i++) {
        wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 1, 16384);
        run(t);
        buf_clear(&t->out);
    }
    assert_no_goaway(t);
}

static void test_continuations(void **state)
{
    struct test *t = *state;
    unsigned long before;
    wire_put(&t->in, WIRE_HEADERS, WIRE_END_STREAM, 1, STR(""));
    for (int i = 0; i < 9; i++) {
        wire_put(&t->in, WIRE_CONTINUATION, 0, 1, STR(""));
    }
    (void)mem_test_fail_at(0);
    run(t);
    before = mem_test_fail_at(0);
    assert_true(before < 60);
    assert_calm(t, H2_ABUSE_HEADERS);
}

static void test_long_block(void **state)
{
    struct test *t = *state;
    static char block[16384];
    memset(block, 0x82, sizeof(block)); /* ":method: GET", again and again */
    wire_put(&t->in, WIRE_HEADERS, WIRE_END_STREAM, 1, str_make(block, sizeof(block)));
    for (int i = 0; i < 2; i++) {
        wire_put(&t->in, WIRE_CONTINUATION, 0, 1, str_make(block, sizeof(block)));
    }
    run(t);
    assert_calm(t, H2_ABUSE_HEADERS);
}

static void test_hpack(void **state)
{
    static const struct str blocks[] = {
        STR("\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), /* an index without bounds */
        STR("\xbe"),                                 /* one that is not there */
        STR("\x3f\xe2\x7f"),                         /* a table larger than allowed */
        STR("\x82\x3f\x00"),                         /* a change of size within the block */
        STR("\x40\x81\xff\x00"),                     /* padding of eight bits */
        STR("\x40\x81\x18\x00"),                     /* padding of zeros */
        STR("\x40\x84\xff\xff\xff\xff\x00"),         /* the end of a string as a symbol */
        STR("\x40\x7f\xff\xff\xff\xff\xff\x0f"),     /* a length without bounds */
        STR("\x80"),                                 /* index 0 */
    };
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        struct test t;
        const struct mux_limits limits = test_limits();
        assert_int_equal(open_with(&t, &limits), ERR_OK);
        wire_put(&t.in, WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, 1, blocks[i]);
        run(&t);
        long code = wire_goaway_code(buf_str(&t.out));
        if (code != H2_COMPRESSION_ERROR) {
            fail_msg("block %zu: %ld", i, code);
        }
        close_test(&t);
    }
}

static void test_stream_limit(void **state)
{
    struct test *t = *state;
    t->is_silent = true;
    wire_put(&t->in, WIRE_SETTINGS, WIRE_ACK, 0, STR(""));
    for (uint32_t i = 0; i < 100; i++) {
        wire_request(&t->in, 2 * i + 1, WIRE_END_STREAM, "GET", "/", "");
    }
    assert_no_goaway(t);
    wire_request(&t->in, 201, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    assert_int_equal(wire_goaway_code(buf_str(&t->out)), H2_PROTOCOL_ERROR);
    assert_int_equal(t->live, 100);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_bomb),
        T(test_copied_names),
        T(test_rapid_reset),
        T(test_provoked_reset),
        T(test_malformed_heads_are_resets),
        T(test_long_trailers_are_resets),
        cmocka_unit_test(test_control_floods),
        T(test_long_settings),
        T(test_unacked),
        T(test_updates_of_a_download),
        T(test_continuations),
        T(test_long_block),
        cmocka_unit_test(test_hpack),
        T(test_stream_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
