/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 connections: exchanges, limits, time, the way in from HTTP/1, and the end. */
#include <sys/socket.h>
#include <unistd.h>

#include "h2_client.h"

static void test_get(void **state)
{
    get(1, "/n");
    get(3, "/y");
    wire_request(&out, 5, WIRE_END_STREAM, "HEAD", "/y", "");
    get(7, "/x");
    get(9, "/l");
    talk();
    assert_status(1, "200");
    assert_body(1, 4);
    assert_body(3, 6);
    assert_body(5, 0);
    assert_status(7, "204");
    assert_body(7, 0);
    rig_advance(&rig, RIG_LATER_MS + 2);
    talk();
    assert_body(9, 5);
    assert_int_equal(rig.ended_well, 5);
}

static void test_bytes_one_by_one(void **state)
{
    get(1, "/n");
    for (size_t i = 0; i < out.n; i++) {
        client_send(&client, str_make(out.p + i, 1));
    }
    buf_clear(&out);
    assert_body(1, 4);
}

static void test_large_bodies(void **state)
{
    open_windows();
    get(1, "/f");
    get(3, "/s");
    get(5, "/t");
    get(7, "/g");
    talk();
    assert_body(1, RIG_FILE_BYTES);
    assert_body(3, RIG_STREAM_BYTES);
    assert_body(5, RIG_STREAM_BYTES);
    assert_body(7, RIG_BIG_BYTES);
    assert_int_equal(rig.ended_well, 4);
}

static void test_uploads(void **state)
{
    static const char block[16000] = {'u'};
    open_windows();
    wire_request(&out, 1, 0, "POST", "/e", "content-length: 160000\n");
    wire_request(&out, 3, 0, "POST", "/c", "");
    wire_request(&out, 5, 0, "POST", "/k", "expect: 100-continue\n");
    talk();
    assert_status(5, "100");
    for (int i = 0; i < 10; i++) {
        unsigned flags = i == 9 ? WIRE_END_STREAM : 0;
        wire_put(&out, WIRE_DATA, flags, 1, str_make(block, sizeof(block)));
        wire_put(&out, WIRE_DATA, flags, 3, str_make(block, 100));
    }
    wire_put(&out, WIRE_DATA, 0, 5, STR("kept"));
    wire_put(&out, WIRE_DATA, WIRE_END_STREAM, 5, STR(""));
    talk();
    assert_body(1, 160000);
    assert_body(3, sizeof("counted 1000\n") - 1);
    assert_body(5, 4);
    assert_int_equal(client_count(&client, "counted 1000\n"), 1);
}

static void test_trailers(void **state)
{
    bool is_ended;
    wire_request(&out, 1, 0, "POST", "/e", "");
    wire_put(&out, WIRE_DATA, 0, 1, STR("body"));
    wire_headers(&out, 1, WIRE_END_STREAM, "x-one: 1\netag: t\n");
    wire_request(&out, 3, 0, "POST", "/e", "content-length: 0\n");
    wire_headers(&out, 3, WIRE_END_STREAM, "x-one: none\n");
    get(5, "/v");
    wire_request(&out, 7, WIRE_END_STREAM, "HEAD", "/v", "");
    talk();
    assert_body(1, 4);
    assert_true(has_field(1, "x-one", "1"));
    assert_true(has_field(1, "etag", "t"));
    assert_int_equal(wire_count(got(), WIRE_HEADERS, 1, NULL), 2);
    assert_body(3, 0);
    assert_int_equal(wire_body(got(), 5, &is_ended), 5);
    assert_true(is_ended);
    assert_true(has_field(5, "x-sum", "12"));
    assert_int_equal(wire_count(got(), WIRE_HEADERS, 7, NULL), 1);
    assert_int_equal(rig.ended_well, 4);
}

static void test_wrong_trailers(void **state)
{
    static const char *const trailers[] = {
        "content-length: 5\n", "host: b\n",  "authorization: x\n", "content-type: text/html\n",
        "connection: close\n", ":path: /\n", "Upper: x\n"};
    for (uint32_t i = 0; i < COUNT_OF(trailers); i++) {
        wire_request(&out, 2 * i + 1, 0, "POST", "/c", "");
        wire_headers(&out, 2 * i + 1, WIRE_END_STREAM, trailers[i]);
        talk();
        assert_int_equal(wire_reset_code(got(), 2 * i + 1), NGHTTP2_PROTOCOL_ERROR);
        assert_int_equal(rig.refused, i + 1);
    }
    assert_int_equal(rig.ended_well, 0);
    assert_int_equal(rig.ended, COUNT_OF(trailers));
}

/* The window opens only as the service takes the body. */
static void test_unread_body_is_held(void **state)
{
    static const char block[16384];
    wire_put(&out, WIRE_SETTINGS, WIRE_ACK, 0, STR(""));
    wire_request(&out, 1, 0, "POST", "/h", "");
    for (size_t sent = 0; sent < H2_WINDOW_STREAM; sent += sizeof(block)) {
        wire_put(&out, WIRE_DATA, 0, 1, str_make(block, sizeof(block)));
    }
    talk();
    assert_int_equal(wire_count(got(), WIRE_WINDOW_UPDATE, 1, NULL), 0);
    assert_int_equal(wire_goaway_code(got()), -1);
    wire_put_u32(&out, WIRE_RST_STREAM, 1, NGHTTP2_CANCEL);
    wire_request(&out, 3, 0, "POST", "/c", "");
    wire_put(&out, WIRE_DATA, WIRE_END_STREAM, 3, STR("more"));
    talk();
    assert_body(3, sizeof("counted 4\n") - 1);
    assert_int_equal(rig.ended, 2);
}

/* New limits hold for the next request. */
static void test_new_limits(void **state)
{
    struct server_limits limits = h2_limits_of_rig();
    get(1, "/n");
    talk();
    limits.uri_bytes_max = 1;
    assert_int_equal(server_set_limits(rig.server, &limits), ERR_OK);
    get(3, "/n");
    talk();
    assert_status(1, "200");
    assert_status(3, "414");
}

static void test_early_answer(void **state)
{
    wire_request(&out, 1, 0, "POST", "/n", "content-length: 1000000\n");
    wire_request(&out, 3, 0, "POST", "/n", "");
    talk();
    static const char block[16000];
    assert_body(1, 4);
    assert_body(3, 4);
    assert_int_equal(rig.ended_well, 2);
    wire_put(&out, WIRE_SETTINGS, WIRE_ACK, 0, STR(""));
    wire_put(&out, WIRE_DATA, WIRE_END_STREAM, 3, STR("dropped"));
    for (int i = 0; i < 4; i++) {
        wire_put(&out, WIRE_DATA, 0, 1, str_make(block, sizeof(block)));
    }
    wire_request(&out, 5, 0, "POST", "/n", "");
    wire_request(&out, 7, 0, "POST", "/n", "");
    talk();
    assert_body(5, 4);
    assert_body(7, 4);
    wire_put(&out, WIRE_DATA, WIRE_END_STREAM, 7, STR("")); /* an end without a byte is one */
    talk();
    rig_advance(&rig, MUX_LINGER_MS - 100);
    talk();
    assert_int_equal(wire_count(got(), WIRE_RST_STREAM, UINT32_MAX, NULL), 0);
    assert_int_equal(wire_count(got(), WIRE_WINDOW_UPDATE, 1, NULL), 0);
    rig_advance(&rig, 200);
    talk();
    assert_int_equal(wire_reset_code(got(), 1), NGHTTP2_NO_ERROR);
    assert_int_equal(wire_reset_code(got(), 5), NGHTTP2_NO_ERROR);
    assert_int_equal(wire_reset_code(got(), 3), -1);
    assert_int_equal(wire_reset_code(got(), 7), -1);
    assert_int_equal(wire_goaway_code(got()), -1);
    assert_int_equal(rig.limits[SERVER_LIMIT_READ_TIME], 0);
}

static void test_body_limit(void **state)
{
    struct server_limits limits = h2_limits_of_rig();
    limits.body_bytes_max = 10;
    open_with(&limits);
    wire_request(&out, 1, 0, "POST", "/c", "content-length: 11\n");
    wire_request(&out, 3, 0, "POST", "/c", "");
    wire_put(&out, WIRE_DATA, 0, 3, STR("more than ten bytes"));
    wire_request(&out, 5, 0, "POST", "/b", "");
    wire_put(&out, WIRE_DATA, 0, 5, STR("more than ten bytes"));
    talk();
    assert_status(1, "413");
    assert_status(3, "413");
    assert_int_equal(wire_reset_code(got(), 5), NGHTTP2_CANCEL);
    assert_int_equal(rig.limits[SERVER_LIMIT_BODY], 3);
    end(state);
}

/* An answer that is not whole ends in a reset, never in padding. */
static void test_broken_answers(void **state)
{
    open_windows();
    get(1, "/r");
    get(3, "/p");
    assert_int_equal(ftruncate(rig.file_fd, 100000), 0);
    get(5, "/f");
    get(7, "/n");
    talk();
    bool is_ended;
    assert_int_equal(wire_reset_code(got(), 1), NGHTTP2_INTERNAL_ERROR);
    assert_int_equal(wire_reset_code(got(), 3), NGHTTP2_INTERNAL_ERROR);
    assert_int_equal(wire_reset_code(got(), 5), NGHTTP2_INTERNAL_ERROR);
    assert_true(wire_body(got(), 5, &is_ended) <= 100000);
    assert_false(is_ended);
    assert_body(7, 4);
    assert_int_equal(rig.ended_well, 1);
}

static void test_cancelled_work(void **state)
{
    get(1, "/h");
    talk();
    wire_put_u32(&out, WIRE_RST_STREAM, 1, NGHTTP2_CANCEL);
    talk();
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.ended_well, 0);
    assert_int_equal(rig.connections, 1);
}

static void test_floods_end_the_connection(void **state)
{
    for (uint32_t i = 0; i <= H2_RESETS_MAX; i++) {
        get(2 * i + 1, "/h");
        wire_put_u32(&out, WIRE_RST_STREAM, 2 * i + 1, NGHTTP2_CANCEL);
    }
    talk();
    assert_int_equal(wire_goaway_code(got()), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(rig.limits[SERVER_LIMIT_RESETS], 1);
    assert_int_equal(rig.ended, rig.exchanges);
    rig_advance(&rig, MUX_LINGER_MS + 10);
    assert_int_equal(rig.connections, 0);
}

/* The client may be sending still: a close at once could take the reason from it. */
static void test_faults_linger(void **state)
{
    get(1, "/h");
    wire_put(&out, WIRE_PUSH_PROMISE, WIRE_END_HEADERS, 1, STR("\0\0\0\2"));
    talk();
    assert_int_equal(wire_goaway_code(got()), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.connections, 1);
    get(3, "/n");
    talk();
    assert_int_equal(rig.exchanges, 1);
    rig_advance(&rig, MUX_LINGER_MS + 10);
    assert_int_equal(rig.connections, 0);
}

/* ---- time ---- */

static void test_stalled_windows(void **state)
{
    wire_put(&out, WIRE_SETTINGS, 0, 0, str_make("\0\4\0\0\0\1", 6));
    for (uint32_t i = 0; i < 100; i++) {
        get(2 * i + 1, i % 2 ? "/f" : "/s");
    }
    talk();
    struct conn *conn = CONTAINER_OF(rig.server->connections.next, struct conn, link);
    assert_true(CONTAINER_OF(conn, struct h2_conn, mux.conn)->mux.out_bytes <= 1024u * 1024u);
    rig_advance(&rig, 29000);
    talk();
    assert_int_equal(wire_count(got(), WIRE_RST_STREAM, UINT32_MAX, NULL), 0);
    rig_advance(&rig, 2000);
    talk();
    assert_true(wire_count(got(), WIRE_RST_STREAM, UINT32_MAX, NULL) >= 75);
    /* The others found no room until then. */
    rig_advance(&rig, 31000);
    talk();
    assert_int_equal(wire_count(got(), WIRE_RST_STREAM, UINT32_MAX, NULL), 100);
    assert_int_equal(rig.limits[SERVER_LIMIT_WRITE_TIME], 100);
    assert_int_equal(rig.ended, 100);
    get(201, "/x");
    talk();
    assert_body(201, 0);
}

/* A window that opens by little is progress. */
/* What stands in the queues of stalled streams leaves room for another in the end. */
static void test_room_of_the_connection(void **state)
{
    wire_put(&out, WIRE_SETTINGS, 0, 0, str_make("\0\4\0\0\0\0", 6));
    wire_put_u32(&out, WIRE_WINDOW_UPDATE, 0, INT32_MAX - 65535);
    for (uint32_t i = 0; i < 90; i++) {
        get(2 * i + 1, "/s");
    }
    get(199, "/s");
    talk();
    wire_put_u32(&out, WIRE_WINDOW_UPDATE, 199, INT32_MAX);
    talk();
    for (uint32_t i = 0; i < 90; i++) {
        wire_put_u32(&out, WIRE_RST_STREAM, 2 * i + 1, NGHTTP2_CANCEL);
    }
    talk();
    assert_body(199, RIG_STREAM_BYTES);
}

static void test_slow_windows(void **state)
{
    wire_put(&out, WIRE_SETTINGS, 0, 0, str_make("\0\4\0\0\0\1", 6));
    get(1, "/s");
    talk();
    for (int i = 0; i < 5; i++) {
        rig_advance(&rig, 20000);
        wire_put_u32(&out, WIRE_WINDOW_UPDATE, 1, 1);
        talk();
    }
    assert_int_equal(wire_reset_code(got(), 1), -1);
    assert_int_equal(rig.ended, 0);
}

static void test_read_idle(void **state)
{
    wire_request(&out, 1, 0, "POST", "/c", "");
    get(3, "/h");
    talk();
    rig_advance(&rig, 15000);
    wire_put(&out, WIRE_DATA, 0, 1, STR("b"));
    talk();
    rig_advance(&rig, 19900);
    assert_int_equal(rig.ended, 0);
    rig_advance(&rig, 200);
    talk();
    assert_int_equal(wire_reset_code(got(), 1), NGHTTP2_CANCEL);
    assert_int_equal(rig.limits[SERVER_LIMIT_READ_TIME], 1);
    assert_int_equal(rig.ended, 1); /* the service of the other may take its time */
    rig_advance(&rig, 3600u * 1000u);
    assert_int_equal(rig.connections, 1);
}

static void test_idle(void **state)
{
    get(1, "/n");
    talk();
    rig_advance(&rig, 59900);
    assert_int_equal(rig.connections, 1);
    rig_advance(&rig, 200);
    talk();
    assert_int_equal(rig.connections, 0);
    assert_int_equal(wire_goaway_code(got()), NGHTTP2_NO_ERROR);
    assert_int_equal(rig.limits[SERVER_LIMIT_IDLE_TIME], 1);
}

static void test_header_time(void **state)
{
    buf_clear(&out);
    buf_add_str(&out, STR(WIRE_PREFACE));
    talk();
    rig_advance(&rig, 10100);
    assert_int_equal(rig.connections, 0);
    assert_int_equal(rig.limits[SERVER_LIMIT_HEADER_TIME], 1);
}

static void test_header_time_of_a_block(void **state)
{
    talk();
    wire_put(&out, WIRE_HEADERS, WIRE_END_STREAM, 1, STR("\x82"));
    talk();
    rig_advance(&rig, 5000);
    wire_put(&out, WIRE_CONTINUATION, 0, 1, STR("\x86"));
    talk();
    assert_int_equal(rig.connections, 1);
    rig_advance(&rig, 5100);
    assert_int_equal(rig.connections, 0);
}

static void test_rate_of_an_upload(void **state)
{
    struct server_limits limits = h2_limits_of_rig();
    limits.min_rate_bytes_per_s = 100;
    open_with(&limits);
    wire_request(&out, 1, 0, "POST", "/c", "");
    talk();
    for (int i = 0; i < 30 && rig.connections; i++) {
        wire_put(&out, WIRE_DATA, 0, 1, STR("slow"));
        talk();
        rig_advance(&rig, 1000);
    }
    assert_int_equal(rig.connections, 0);
    assert_int_equal(rig.limits[SERVER_LIMIT_RATE], 1);
    end(state);
}

/* A client that takes nothing from its socket. */
static void test_write_idle(void **state)
{
    open_windows();
    get(1, "/f");
    client_put(&client, buf_str(&out));
    rig_settle(&rig);
    rig_advance(&rig, 29900);
    assert_int_equal(rig.connections, 1);
    rig_advance(&rig, 200);
    assert_int_equal(rig.connections, 0);
    assert_int_equal(rig.limits[SERVER_LIMIT_WRITE_TIME], 1);
}

/* ---- the way in, and the end ---- */

static void test_http1_stays_http1(void **state)
{
    client_send(&client, STR("P"));
    client_send(&client, STR("RI /n HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_int_equal(client_count(&client, "HTTP/1.1 200 OK"), 1);
    client_send(&client, STR(WIRE_PREFACE));
    assert_int_equal(client_count(&client, "HTTP/1.1 505"), 1);
}

static void test_h2c_must_be_wanted(void **state)
{
    struct server_limits limits = h2_limits_of_rig();
    limits.speaks_h2c = false;
    open_with(&limits);
    talk();
    assert_int_equal(client_count(&client, "HTTP/1.1 505"), 1);
    end(state);
}

static void test_h1_may_be_refused(void **state)
{
    struct server_limits limits = h2_limits_of_rig();
    limits.refuses_h1 = true;
    open_with(&limits);
    client_send(&client, STR("GET /n HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_int_equal(client_count(&client, "HTTP/1.1 505"), 1);
    assert_int_equal(rig.exchanges, 0);
    client_close(&client);
    client_open(&rig, &client);
    get(1, "/n");
    talk();
    assert_body(1, 4);
    end(state);
}

static void on_drained(struct server *s)
{
    rig.drained++;
}

static void test_drain(void **state)
{
    struct wire_frame f;
    get(1, "/l");
    talk();
    server_drain(rig.server, 5000, on_drained);
    rig_settle(&rig);
    client_take(&client);
    assert_int_equal(wire_count(got(), WIRE_GOAWAY, 0, &f), 1);
    assert_int_equal(wire_payload_u32(&f, 0), INT32_MAX);
    get(3, "/l");
    talk();
    assert_int_equal(rig.exchanges, 2);
    assert_int_equal(wire_count(got(), WIRE_PING, 0, &f), 1);
    char payload[8];
    memcpy(payload, f.payload.p, 8);
    wire_put(&out, WIRE_PING, WIRE_ACK, 0, str_make(payload, 8));
    talk();
    assert_int_equal(wire_count(got(), WIRE_GOAWAY, 0, &f), 2);
    assert_int_equal(wire_payload_u32(&f, 0), 3);
    get(5, "/n");
    talk();
    assert_int_equal(rig.exchanges, 2);
    rig_advance(&rig, RIG_LATER_MS + 2);
    talk();
    assert_body(1, 5);
    assert_body(3, 5);
    assert_int_equal(rig.drained, 1);
}

static void test_drain_of_an_idle_connection(void **state)
{
    talk();
    server_drain(rig.server, 1000, on_drained);
    rig_advance(&rig, 900);
    assert_int_equal(rig.drained, 0);
    rig_advance(&rig, 200);
    assert_int_equal(rig.drained, 1);
}

static void test_drain_at_once(void **state)
{
    get(1, "/h");
    talk();
    server_drain(rig.server, 0, on_drained);
    talk();
    assert_int_equal(wire_goaway_code(got()), NGHTTP2_NO_ERROR);
    assert_int_equal(rig.drained, 0);
    server_abort(rig.server);
    assert_int_equal(rig.ended, 1);
}

static void test_client_ends_its_side(void **state)
{
    get(1, "/l");
    wire_request(&out, 3, 0, "POST", "/c", "");
    talk();
    shutdown(client.fd, SHUT_WR);
    rig_settle(&rig);
    assert_int_equal(rig.ended, 1);
    rig_advance(&rig, RIG_LATER_MS + 2);
    client_send(&client, STR(""));
    assert_body(1, 5);
    assert_int_equal(rig.connections, 0);
}

/* The last answer waits for the socket when the client ends its side: it is sent all the same. */
static void test_client_ends_its_side_while_output_waits(void **state)
{
    static char body[8192];
    uint32_t id = 1;
    open_windows();
    client_put(&client, buf_str(&out));
    rig_settle(&rig);
    struct conn *conn = CONTAINER_OF(rig.server->connections.next, struct conn, link);
    const struct h2_conn *c = CONTAINER_OF(conn, struct h2_conn, mux.conn);
    for (; c->rest.n == 0; id += 2) {
        buf_clear(&out);
        wire_request(&out, id, 0, "POST", "/k", "");
        wire_put(&out, WIRE_DATA, WIRE_END_STREAM, id, str_make(body, sizeof(body)));
        assert_int_equal(client_put(&client, buf_str(&out)), out.n);
        rig_settle(&rig);
        assert_true(id < 1000);
    }
    assert_int_equal(h2_session_stream_count(c->session), 0);
    shutdown(client.fd, SHUT_WR);
    rig_settle(&rig);
    client_send(&client, STR(""));
    for (; id > 1; id -= 2) {
        assert_body(id - 2, sizeof(body));
    }
    assert_int_equal(rig.connections, 0);
}

static void test_idle_connections_are_small(void **state)
{
    open_windows();
    get(1, "/f");
    talk();
    struct conn *conn = CONTAINER_OF(rig.server->connections.next, struct conn, link);
    const struct h2_conn *c = CONTAINER_OF(conn, struct h2_conn, mux.conn);
    assert_int_equal(c->rest.capacity, 0);
    assert_int_equal(c->mux.out_bytes, 0);
}

/* A conversation while each allocation fails in turn: exchanges end once, nothing leaks. */
static void converse(void)
{
    struct client other;
    struct buf hello;
    buf_init(&hello, 0);
    other = (struct client){.rig = &rig, .fd = -1};
    ASSERT(socket_connect(&rig.address, &other.fd) == ERR_OK);
    buf_init(&other.got, 0);
    wire_hello(&hello);
    wire_request(&hello, 1, WIRE_END_STREAM, "GET", "/y", "cookie: a\ncookie: b\n");
    wire_request(&hello, 3, 0, "POST", "/k", "");
    wire_put(&hello, WIRE_DATA, WIRE_END_STREAM, 3, STR("body"));
    wire_request(&hello, 5, WIRE_END_STREAM, "GET", "/f", "");
    wire_request(&hello, 7, WIRE_END_STREAM, "GET", "/s", "");
    wire_request(&hello, 9, 0, "POST", "/e", "");
    wire_headers(&hello, 9, WIRE_END_STREAM, "x-one: 1\n");
    for (size_t at = 0; at < hello.n;) {
        size_t sent = client_put(&other, str_sub(buf_str(&hello), at, 60));
        at = sent ? at + sent : hello.n;
        rig_settle(&rig);
        client_take(&other);
    }
    client_close(&other);
    buf_done(&hello);
}

static void test_out_of_memory(void **state)
{
    (void)mem_test_fail_at(0);
    converse();
    unsigned long total = mem_test_fail_at(0);
    for (unsigned long n = 1; n <= total; n++) {
        (void)mem_test_fail_at(n);
        converse();
        (void)mem_test_fail_at(0);
        rig_settle(&rig);
        assert_int_equal(rig.ended, rig.exchanges);
        assert_int_equal(rig.connections, 1);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_get),
        T(test_bytes_one_by_one),
        T(test_large_bodies),
        T(test_uploads),
        T(test_trailers),
        T(test_wrong_trailers),
        T(test_unread_body_is_held),
        T(test_new_limits),
        T(test_early_answer),
        cmocka_unit_test(test_body_limit),
        T(test_broken_answers),
        T(test_cancelled_work),
        T(test_floods_end_the_connection),
        T(test_faults_linger),
        T(test_stalled_windows),
        T(test_room_of_the_connection),
        T(test_slow_windows),
        T(test_read_idle),
        T(test_idle),
        T(test_header_time),
        T(test_header_time_of_a_block),
        cmocka_unit_test(test_rate_of_an_upload),
        T(test_write_idle),
        T(test_http1_stays_http1),
        cmocka_unit_test(test_h2c_must_be_wanted),
        cmocka_unit_test(test_h1_may_be_refused),
        T(test_drain),
        T(test_drain_of_an_idle_connection),
        T(test_drain_at_once),
        T(test_client_ends_its_side),
        T(test_client_ends_its_side_while_output_waits),
        T(test_idle_connections_are_small),
        T(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
