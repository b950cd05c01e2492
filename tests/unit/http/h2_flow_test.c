/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent next and how much: priorities and windows, ours and the client's. */
#include "h2_harness.h"

/* In which order the bodies end. */
static void assert_ends(struct test *t, const char *wanted)
{
    char order[64];
    size_t n = 0;
    struct str rest = buf_str(&t->out);
    struct wire_frame f;
    while (wire_next(&rest, &f)) {
        if (f.type == WIRE_DATA && (f.flags & WIRE_END_STREAM)) {
            n += (size_t)snprintf(order + n, sizeof(order) - n, "%u ", f.id);
        }
    }
    order[n] = 0;
    assert_string_equal(order, wanted);
}

static void test_urgency(void **state)
{
    struct test *t = *state;
    t->answer_bytes = 40000;
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 0, 1u << 20);
    wire_request(&t->in, 1, WIRE_END_STREAM, "GET", "/", "priority: u=5\n");
    wire_request(&t->in, 3, WIRE_END_STREAM, "GET", "/", "priority: u=1\n");
    wire_request(&t->in, 5, WIRE_END_STREAM, "GET", "/", "");
    wire_request(&t->in, 7, WIRE_END_STREAM, "GET", "/", "priority: u=7\n");
    wire_put(&t->in, WIRE_PRIORITY_UPDATE, 0, 0, str_make("\0\0\0\7u=0", 7));
    run(t);
    assert_ends(t, "7 3 5 1 ");
}

/* Of updates that come before their stream the newest counts, however many others there are. */
static void test_early_updates(void **state)
{
    struct test *t = *state;
    t->answer_bytes = 40000;
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 0, 1u << 20);
    for (char i = 0; i < 7; i++) {
        char update[7] = {0, 0, 0, (char)(21 + 2 * i), 'u', '=', '2'};
        wire_put(&t->in, WIRE_PRIORITY_UPDATE, 0, 0, str_make(update, sizeof(update)));
    }
    wire_put(&t->in, WIRE_PRIORITY_UPDATE, 0, 0, str_make("\0\0\0\3u=7", 7));
    wire_put(&t->in, WIRE_PRIORITY_UPDATE, 0, 0, str_make("\0\0\0\3u=0", 7));
    wire_request(&t->in, 1, WIRE_END_STREAM, "GET", "/", "");
    wire_request(&t->in, 3, WIRE_END_STREAM, "GET", "/", "priority: u=6\n");
    run(t);
    assert_ends(t, "3 1 ");
}

/* An earlier stream of the same urgency that has nothing to offer, or no window, holds nobody up,
 * and goes first again when it has. */
static void test_held_stream(void **state)
{
    struct test *t = *state;
    t->answer_bytes = 40000;
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 0, 1u << 20);
    wire_put(&t->in, WIRE_SETTINGS, 0, 0, str_make("\0\4\0\0\0\0", 6));
    for (uint32_t id = 1; id <= 7; id += 2) {
        wire_request(&t->in, id, WIRE_END_STREAM, "GET", "/", "");
    }
    run(t);
    struct test_stream *first = (struct test_stream *)CONTAINER_OF(
        h2_session_streams(t->session)->next, struct mux_stream, link);
    first->is_held = true;
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 5, 40000);
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 1, 40000);
    run(t);
    assert_ends(t, "5 ");
    first->is_held = false;
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 7, 40000);
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 3, 40000);
    h2_session_resume(t->session, &first->stream);
    run(t);
    assert_ends(t, "5 1 3 7 ");
}

static void test_incremental(void **state)
{
    struct test *t = *state;
    t->answer_bytes = 60000;
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 0, 1u << 20);
    wire_request(&t->in, 1, WIRE_END_STREAM, "GET", "/", "priority: i\n");
    wire_request(&t->in, 3, WIRE_END_STREAM, "GET", "/", "priority: i\n");
    run(t);
    struct str rest = buf_str(&t->out);
    struct wire_frame f;
    unsigned changes = 0;
    uint32_t last = 0;
    while (wire_next(&rest, &f)) {
        if (f.type == WIRE_DATA) {
            changes += f.id != last;
            last = f.id;
        }
    }
    assert_true(changes >= 6);
}

/* The body of one stream took the window of the connection: another one ends all the same, by
 * trailers or by an empty frame, and the order of the bodies stays. */
static void test_ends_need_no_window(void **state)
{
    struct test *t = *state;
    struct response_head head = {.status = 200};
    const struct mux_response response = {
        .head = &head, .body_bytes = MUX_LENGTH_UNKNOWN, .has_body = true};
    http_fields_init(&head.fields, NULL, 0);
    wire_put(&t->in, WIRE_SETTINGS, 0, 0, str_make("\0\4\0\1\0\0", 6));
    t->answer_bytes = 70000;
    wire_request(&t->in, 1, WIRE_END_STREAM, "GET", "/", "");
    wire_request(&t->in, 3, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    assert_false(h2_session_wants_output(t->session));
    t->is_silent = true;
    wire_request(&t->in, 5, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    struct test_stream *late = (struct test_stream *)CONTAINER_OF(
        h2_session_streams(t->session)->prev, struct mux_stream, link);
    late->is_held = true;
    assert_int_equal(h2_session_respond(t->session, &late->stream, &response), ERR_OK);
    wire_put(&t->in, WIRE_PING, 0, 0, STR("12345678"));
    run(t);
    assert_false(h2_session_wants_output(t->session));
    assert_ends(t, "");
    late->is_held = false;
    h2_session_resume(t->session, &late->stream);
    wire_put(&t->in, WIRE_PING, 0, 0, STR("12345678"));
    run(t);
    assert_ends(t, "5 ");
    assert_false(h2_session_wants_output(t->session));
    /* One that is answered and ended at once: the head first. */
    wire_request(&t->in, 7, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    struct mux_stream *last =
        CONTAINER_OF(h2_session_streams(t->session)->prev, struct mux_stream, link);
    size_t before = t->out.n;
    struct wire_frame f;
    assert_int_equal(h2_session_respond(t->session, last, &response), ERR_OK);
    wire_put(&t->in, WIRE_PING, 0, 0, STR("12345678"));
    run(t);
    struct str rest = str_sub(buf_str(&t->out), before, t->out.n);
    assert_true(wire_next(&rest, &f) && f.type == WIRE_HEADERS && f.id == 7);
    assert_ends(t, "5 7 ");
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 0, 1u << 20);
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 1, 1u << 20);
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 3, 1u << 20);
    run(t);
    assert_ends(t, "5 7 1 3 ");
}

/* A window that settings take back goes below zero, and what updates give is counted from there
 * (RFC 9113 6.9.2). */
static void test_windows_below_zero(void **state)
{
    struct test *t = *state;
    bool is_ended;
    t->answer_bytes = 100000;
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 0, INT32_MAX - 65535);
    wire_request(&t->in, 1, WIRE_END_STREAM, "GET", "/", "");
    run(t);
    assert_int_equal(wire_body(buf_str(&t->out), 1, &is_ended), 65535);
    wire_put(&t->in, WIRE_SETTINGS, 0, 0, str_make("\0\4\0\0\0\0", 6));
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 1, 65535);
    run(t);
    assert_int_equal(wire_body(buf_str(&t->out), 1, &is_ended), 65535);
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 1, 5);
    run(t);
    assert_int_equal(wire_body(buf_str(&t->out), 1, &is_ended), 65540);
    /* As large as it may be, and one more by way of settings. */
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 1, INT32_MAX);
    assert_no_goaway(t);
    t->is_silent = true;
    wire_request(&t->in, 3, WIRE_END_STREAM, "GET", "/", "");
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 3, INT32_MAX);
    assert_no_goaway(t);
    wire_put(&t->in, WIRE_SETTINGS, 0, 0, str_make("\0\4\0\0\0\1", 6));
    run(t);
    assert_int_equal(wire_goaway_code(buf_str(&t->out)), H2_FLOW_CONTROL_ERROR);
}

static void test_window_of_the_connection_overflows(void **state)
{
    struct test *t = *state;
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 0, INT32_MAX - 65535);
    assert_no_goaway(t);
    wire_put_u32(&t->in, WIRE_WINDOW_UPDATE, 0, 1);
    run(t);
    assert_int_equal(wire_goaway_code(buf_str(&t->out)), H2_FLOW_CONTROL_ERROR);
}

static void test_windows_hold(void **state)
{
    struct test *t = *state;
    static char block[16384];
    t->is_silent = t->is_hoarding = true;
    wire_put(&t->in, WIRE_SETTINGS, WIRE_ACK, 0, STR(""));
    wire_request(&t->in, 1, 0, "POST", "/", "");
    for (size_t sent = 0; sent < H2_WINDOW_STREAM; sent += sizeof(block)) {
        wire_put(&t->in, WIRE_DATA, 0, 1, str_make(block, sizeof(block)));
    }
    assert_no_goaway(t);
    assert_int_equal(wire_count(buf_str(&t->out), WIRE_WINDOW_UPDATE, 1, NULL), 0);
    assert_int_equal(t->body.n, H2_WINDOW_STREAM);
    wire_put(&t->in, WIRE_DATA, 0, 1, STR("!"));
    run(t);
    assert_true(wire_goaway_code(buf_str(&t->out)) == H2_FLOW_CONTROL_ERROR ||
                wire_reset_code(buf_str(&t->out), 1) == H2_FLOW_CONTROL_ERROR);
}

/* The frame that the dice say; returns what it takes of the
 * window of the connection. */
static size_t put_some_upload(struct test *t, uint64_t *dice, uint32_t id, bool *ret_is_open)
{
    static char block[16384];
    *dice = *dice * 6364136223846793005u + 1442695040888963407u;
    unsigned kind = (unsigned)(*dice >> 60);
    size_t n = (size_t)(*dice >> 33) % sizeof(block);
    *ret_is_open = true;
    switch (kind) {
    case 0: /* the client gives up */
        wire_put_u32(&t->in, WIRE_RST_STREAM, id, H2_CANCEL);
        *ret_is_open = false;
        return 0;
    case 1: /* the end, and then more, which provokes a reset */
        wire_put(&t->in, WIRE_DATA, WIRE_END_STREAM, id, STR("end"));
        break;
    case 2: { /* we give up */
        LIST_FOR_EACH(at, h2_session_streams(t->session))
        {
            struct mux_stream *stream = CONTAINER_OF(at, struct mux_stream, link);
            if (stream->id == id) {
                h2_session_reset(t->session, stream, H2_CANCEL);
            }
        }
        return 0;
    }
    case 3: /* padding alone */
        wire_put(&t->in, WIRE_DATA, WIRE_PADDED, id, STR("\0"));
        return 1;
    default:
        block[0] = (char)(n ? (n - 1) % 256 : 0);
        n = n ? n : 1;
        wire_put(&t->in, WIRE_DATA, kind & 1 ? WIRE_PADDED : 0, id, str_make(block, n));
        return n;
    }
    return 3;
}

/* Whatever becomes of a body (used, dropped, refused, too long, late or padding), the connection
 * gets its bytes back. */
static void test_credit_is_conserved(void **state)
{
    static const char *const more[] = {"", "content-length: 20000\n", "host: other\n"};
    struct test *t = *state;
    uint64_t dice = 7, sent = 0;
    int64_t window = 65535;
    uint32_t next = 1, ids[8];
    bool is_open[8] = {false};
    t->answer_bytes = 10;
    for (unsigned i = 0; i < 8000; i++) {
        unsigned place = i % COUNT_OF(ids);
        if (!is_open[place]) {
            ids[place] = next;
            is_open[place] = true;
            t->is_silent = next % 3 != 0;
            wire_request(&t->in, next, 0, "POST", "/", more[next / 2 % COUNT_OF(more)]);
            next += 2;
            run(t);
        }
        size_t n = put_some_upload(t, &dice, ids[place], &is_open[place]);
        sent += n;
        window -= (int64_t)n;
        t->now_ms += H2_ABUSE_WINDOW_MS;
        run(t);
        struct str rest = buf_str(&t->out);
        struct wire_frame f;
        while (wire_next(&rest, &f)) {
            bool is_ours = f.type == WIRE_WINDOW_UPDATE && f.id == 0;
            window += is_ours ? wire_payload_u32(&f, 0) : 0;
            assert_int_not_equal(f.type, WIRE_GOAWAY);
        }
        buf_clear(&t->out);
        buf_clear(&t->body);
        assert_true(window > H2_WINDOW_CONNECTION / 2 && window <= H2_WINDOW_CONNECTION);
    }
    assert_true(next > 500 && sent > 30u * H2_WINDOW_CONNECTION);
}

/* A round trip that brings a window's worth makes the window larger, up to its maximum. */
static void test_windows_grow(void **state)
{
    struct test *t = *state;
    static char block[16384];
    struct wire_frame ping, update;
    t->is_silent = true;
    wire_request(&t->in, 1, 0, "POST", "/", "");
    uint64_t granted = H2_WINDOW_STREAM;
    for (int round = 0; round < 12; round++) {
        t->now_ms += 200;
        size_t window = H2_WINDOW_STREAM;
        buf_clear(&t->out);
        for (int i = 0; i < 16; i++) {
            wire_put(&t->in, WIRE_DATA, 0, 1, str_make(block, sizeof(block)));
            run(t);
        }
        if (wire_count(buf_str(&t->out), WIRE_PING, 0, &ping) == 0) {
            continue;
        }
        for (int i = 0; i < 16; i++) {
            wire_put(&t->in, WIRE_DATA, 0, 1, str_make(block, sizeof(block)));
            run(t);
        }
        char payload[8];
        struct str rest = buf_str(&t->out);
        while (wire_next(&rest, &ping)) {
            if (ping.type == WIRE_PING) {
                memcpy(payload, ping.payload.p, 8);
            }
        }
        buf_clear(&t->out);
        wire_put(&t->in, WIRE_PING, WIRE_ACK, 0, str_make(payload, 8));
        run(t);
        if (wire_count(buf_str(&t->out), WIRE_WINDOW_UPDATE, 1, &update)) {
            granted = wire_payload_u32(&update, 0);
            assert_true(granted > 0 && granted <= H2_WINDOW_MAX);
            assert_true(window == H2_WINDOW_STREAM);
            return;
        }
    }
    fail_msg("the window stayed as it was");
}

/* Not where the owner leaves the bytes lie, however fast they come. */
static void test_windows_stay_where_bodies_lie(void **state)
{
    struct test *t = *state;
    static char block[16384];
    struct wire_frame ping;
    t->is_silent = t->is_hoarding = true;
    wire_request(&t->in, 1, 0, "POST", "/", "");
    for (uint32_t id = 1; id <= 3; id += 2) {
        for (int i = 0; i < 16; i++) {
            wire_put(&t->in, WIRE_DATA, 0, id, str_make(block, sizeof(block)));
            run(t);
        }
        if (wire_count(buf_str(&t->out), WIRE_PING, 0, &ping)) {
            char payload[8];
            memcpy(payload, ping.payload.p, 8);
            wire_put(&t->in, WIRE_PING, WIRE_ACK, 0, str_make(payload, 8));
        }
        t->now_ms += 200;
        wire_request(&t->in, id + 2, 0, "POST", "/", "");
        run(t);
    }
    assert_int_equal(wire_count(buf_str(&t->out), WIRE_PING, 0, NULL), 2);
    assert_int_equal(wire_count(buf_str(&t->out), WIRE_WINDOW_UPDATE, UINT32_MAX, NULL), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_urgency),
        T(test_early_updates),
        T(test_held_stream),
        T(test_incremental),
        T(test_ends_need_no_window),
        T(test_windows_below_zero),
        T(test_window_of_the_connection_overflows),
        T(test_windows_hold),
        T(test_credit_is_conserved),
        T(test_windows_grow),
        T(test_windows_stay_where_bodies_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
