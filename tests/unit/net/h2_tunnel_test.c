/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges of HTTP/2 that turn into two byte streams by an extended CONNECT (RFC 8441). */
#include <unistd.h>

#include "h2_client.h"
#include "os/socket.h"

#define ASK(path)                                                                                  \
    ":method: CONNECT\n:protocol: bytes\n:scheme: http\n:path: " path "\n:authority: a\n"
#define BLOCK_BYTES 16000u
#define MANY_BYTES (4u << 20)

static struct server_limits tunnel_limits(void)
{
    struct server_limits limits = h2_limits_of_rig();
    limits.has_connect_protocol = true;
    return limits;
}

static int begin_tunnels(void **state)
{
    const struct server_limits limits = tunnel_limits();
    open_with(&limits);
    return 0;
}

static void data(uint32_t id, unsigned flags, struct str bytes)
{
    wire_put(&out, WIRE_DATA, flags, id, bytes);
}

/* All DATA of `id`. */
static void assert_bytes(uint32_t id, const char *wanted, bool is_ended)
{
    struct buf all;
    struct str rest = got();
    struct wire_frame f;
    bool has_ended;
    buf_init(&all, 0);
    while (wire_next(&rest, &f)) {
        if (f.type == WIRE_DATA && f.id == id) {
            buf_add_str(&all, f.payload);
        }
    }
    assert_int_equal(wire_body(got(), id, &has_ended), strlen(wanted));
    assert_true(str_eq(buf_str(&all), str_of(wanted)));
    assert_int_equal(has_ended, is_ended);
    buf_done(&all);
}

static void test_bytes(void **state)
{
    wire_headers(&out, 1, 0, ASK("/w"));
    talk();
    assert_status(1, "200");
    assert_int_equal(client_count(&client, "content-length"), 0);
    assert_non_null(memmem(client.got.p, client.got.n, "\0\x08\0\0\0\x01", 6)); /* announced */
    data(1, 0, STR("one"));
    talk();
    data(1, 0, STR("two"));
    get(3, "/n");
    talk();
    assert_bytes(1, "onetwo", false);
    assert_body(3, 4);
    data(1, WIRE_END_STREAM, STR("three"));
    talk();
    assert_bytes(1, "onetwothree", true);
    assert_int_equal(rig.ended_well, 2);
    assert_int_equal(wire_reset_code(got(), 1), -1);
}

/* What comes before the answer waits, its end too. */
static void test_early_bytes_wait(void **state)
{
    wire_headers(&out, 1, 0, ASK("/o"));
    data(1, 0, STR("ear"));
    data(1, WIRE_END_STREAM, STR("ly"));
    wire_headers(&out, 3, WIRE_END_STREAM, ASK("/w"));
    talk();
    assert_bytes(1, "", false);
    assert_bytes(3, "", true);
    rig_advance(&rig, RIG_LATER_MS + 2);
    talk();
    assert_status(1, "200");
    assert_bytes(1, "early", true);
    assert_int_equal(rig.ended_well, 2);
}

static void test_not_asked(void **state)
{
    wire_request(&out, 1, WIRE_END_STREAM, "GET", "/w", "");
    wire_request(&out, 3, 0, "POST", "/w", "");
    talk();
    assert_status(1, "400");
    assert_status(3, "400");
}

/* RFC 8441 section 4, RFC 9113 8.5. */
static void test_malformed(void **state)
{
    static const char *const heads[] = {
        ":method: CONNECT\n:protocol: bytes\n:path: /w\n:authority: a\n",
        ":method: CONNECT\n:protocol: bytes\n:scheme: http\n:authority: a\n",
        ":method: CONNECT\n:protocol: bytes\n:scheme: http\n:path: /w\n",
        ":method: CONNECT\n:protocol: bytes\n:scheme: http\n:path: /w\nhost: a\n",
        ":method: CONNECT\n:protocol: bytes\n:scheme: http\n:path: w\n:authority: a\n",
        ":method: CONNECT\n:protocol: bytes\n:scheme: http\n:path: *\n:authority: a\n",
        ":method: CONNECT\n:protocol: bytes\n:authority: a:1\n",
        ":method: CONNECT\n:scheme: http\n:path: /w\n:authority: a:1\n",
        ":method: GET\n:protocol: bytes\n:scheme: http\n:path: /w\n:authority: a\n",
        ASK("/w") ":protocol: bytes\n",
        ASK("/w") "content-length: 0\n",
        ASK("/w") "content-length: 3\n",
        ASK("/w") "connection: upgrade\n",
        ASK("/w") "upgrade: bytes\n",
    };
    for (uint32_t i = 0; i < COUNT_OF(heads); i++) {
        wire_headers(&out, 2 * i + 1, 0, heads[i]);
        talk();
        assert_int_equal(wire_reset_code(got(), 2 * i + 1), NGHTTP2_PROTOCOL_ERROR);
        assert_int_equal(rig.refused, i + 1);
    }
    assert_int_equal(rig.exchanges, 0);
    assert_int_equal(wire_goaway_code(got()), -1);
}

static void test_not_announced(void **state)
{
    const struct server_limits limits = h2_limits_of_rig();
    open_with(&limits);
    wire_headers(&out, 1, 0, ASK("/w"));
    talk();
    assert_int_equal(wire_reset_code(got(), 1), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(rig.refused, 1);
    end(state);
}

/* Bytes are all that may come. */
static void test_no_trailers(void **state)
{
    wire_headers(&out, 1, 0, ASK("/w"));
    talk();
    wire_headers(&out, 1, WIRE_END_STREAM, "x-trailer: no\n");
    get(3, "/n");
    talk();
    assert_int_equal(wire_reset_code(got(), 1), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(rig.refused, 1);
    assert_int_equal(rig.ended, 2);
    assert_int_equal(rig.ended_well, 1);
    assert_body(3, 4);
}

static void test_client_breaks_off(void **state)
{
    wire_headers(&out, 1, 0, ASK("/w"));
    talk();
    wire_put_u32(&out, WIRE_RST_STREAM, 1, NGHTTP2_CANCEL);
    talk();
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.ended_well, 0);
    assert_int_equal(rig.connections, 1);
}

static void test_client_leaves(void **state)
{
    wire_headers(&out, 1, 0, ASK("/w"));
    talk();
    close(client.fd);
    rig_settle(&rig);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.ended_well, 0);
    assert_int_equal(rig.connections, 0);
    client.fd = -1;
}

static struct mux_conn *connection(void)
{
    struct conn *conn = CONTAINER_OF(rig.server->connections.next, struct conn, link);
    return &CONTAINER_OF(conn, struct h2_conn, mux.conn)->mux;
}

/* Nobody takes: the service stops reading, our window closes, and memory has a bound. With windows
 * all goes on. */
static void test_back_pressure(void **state)
{
    static char block[BLOCK_BYTES];
    size_t sent = 0, credit = H2_WINDOW_STREAM;
    unsigned updates = 0;
    bool is_ended;
    wire_put(&out, WIRE_SETTINGS, WIRE_ACK, 0, STR("")); /* our window holds from here on */
    wire_headers(&out, 1, 0, ASK("/w"));
    talk();
    while (sent + sizeof(block) <= credit) {
        data(1, 0, str_make(block, sizeof(block)));
        sent += sizeof(block);
        talk();
        struct wire_frame f;
        unsigned count = wire_count(got(), WIRE_WINDOW_UPDATE, 1, &f);
        if (count > updates) {
            assert_int_equal(count, updates + 1);
            credit += wire_payload_u32(&f, 0);
            updates = count;
        }
        assert_true(sent < MANY_BYTES);
    }
    assert_true(connection()->out_bytes <= MUX_STREAM_ROOM_BYTES + BLOCK_BYTES);
    assert_int_equal(wire_body(got(), 1, &is_ended), 65535);
    wire_put_u32(&out, WIRE_WINDOW_UPDATE, 0, MANY_BYTES);
    wire_put_u32(&out, WIRE_WINDOW_UPDATE, 1, MANY_BYTES);
    talk();
    assert_int_equal(wire_body(got(), 1, &is_ended), sent);
    data(1, WIRE_END_STREAM, STR("end"));
    talk();
    assert_body(1, sent + 3);
    assert_int_equal(connection()->out_bytes, 0);
}

/* Silence has a limit of its own; that of bodies and their rate do not hold. */
static void test_idle_time(void **state)
{
    struct server_limits limits = tunnel_limits();
    limits.tunnel_idle_ms = 100000;
    limits.min_rate_bytes_per_s = 1000;
    open_with(&limits);
    wire_headers(&out, 1, 0, ASK("/w"));
    talk();
    rig_advance(&rig, 90000);
    data(1, 0, STR("a"));
    talk();
    rig_advance(&rig, 99000);
    talk();
    assert_int_equal(wire_reset_code(got(), 1), -1);
    rig_advance(&rig, 2000);
    talk();
    assert_int_equal(wire_reset_code(got(), 1), NGHTTP2_CANCEL);
    assert_int_equal(rig.limits[SERVER_LIMIT_TUNNEL_TIME], 1);
    assert_int_equal(rig.limits[SERVER_LIMIT_READ_TIME] + rig.limits[SERVER_LIMIT_RATE], 0);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.ended_well, 0);
    get(3, "/n");
    talk();
    assert_body(3, 4);
    end(state);
}

/* A short time is kept although bodies have a longer one; the same for a client that stops taking.
 */
static void test_short_idle_time(void **state)
{
    struct server_limits limits = tunnel_limits();
    limits.tunnel_idle_ms = 1000;
    open_with(&limits);
    wire_headers(&out, 1, 0, ASK("/w"));
    talk();
    rig_advance(&rig, 1100);
    talk();
    assert_int_equal(wire_reset_code(got(), 1), NGHTTP2_CANCEL);
    assert_int_equal(rig.limits[SERVER_LIMIT_TUNNEL_TIME], 1);
    end(state);
}

static void test_client_takes_nothing(void **state)
{
    static char block[BLOCK_BYTES];
    wire_put(&out, WIRE_SETTINGS, 0, 0, str_make("\0\4\0\0\0\1", 6));
    wire_headers(&out, 1, 0, ASK("/w"));
    data(1, 0, str_make(block, sizeof(block)));
    talk();
    rig_advance(&rig, 31000);
    talk();
    assert_int_equal(wire_reset_code(got(), 1), NGHTTP2_CANCEL);
    assert_int_equal(rig.limits[SERVER_LIMIT_WRITE_TIME], 1);
}

/* The service has ended, the client goes on: what comes is dropped for a while. */
static void test_client_does_not_end(void **state)
{
    wire_headers(&out, 1, 0, ASK("/w"));
    talk();
    server_drain(rig.server, 5000, NULL);
    talk();
    assert_bytes(1, "bye", true);
    data(1, 0, STR("dropped"));
    talk();
    rig_advance(&rig, MUX_LINGER_MS - 100);
    talk();
    assert_int_equal(wire_reset_code(got(), 1), -1);
    rig_advance(&rig, 200);
    talk();
    assert_int_equal(wire_reset_code(got(), 1), NGHTTP2_NO_ERROR);
    assert_int_equal(rig.ended_well, 1);
    assert_bytes(1, "bye", true);
}

static void test_no_size_limit(void **state)
{
    struct server_limits limits = tunnel_limits();
    static char bytes[5000];
    limits.body_bytes_max = 1000;
    open_with(&limits);
    wire_headers(&out, 1, 0, ASK("/w"));
    wire_headers(&out, 3, 0, ASK("/o"));
    data(1, WIRE_END_STREAM, str_make(bytes, sizeof(bytes)));
    data(3, WIRE_END_STREAM, str_make(bytes, sizeof(bytes)));
    talk();
    rig_advance(&rig, RIG_LATER_MS + 2);
    talk();
    assert_body(1, sizeof(bytes));
    assert_body(3, sizeof(bytes));
    assert_int_equal(rig.limits[SERVER_LIMIT_BODY], 0);
    end(state);
}

static void test_drain(void **state)
{
    wire_headers(&out, 1, 0, ASK("/o"));
    wire_headers(&out, 3, 0, ASK("/w"));
    get(5, "/h");
    talk();
    rig_advance(&rig, RIG_LATER_MS + 2);
    server_drain(rig.server, 0, NULL);
    talk();
    assert_int_equal(wire_goaway_code(got()), NGHTTP2_NO_ERROR);
    assert_bytes(3, "bye", true);
    data(1, 0, STR("still here"));
    data(3, WIRE_END_STREAM, STR(""));
    talk();
    assert_bytes(1, "still here", false);
    assert_int_equal(rig.connections, 1);
    assert_int_equal(rig.ended_well, 1);
    data(1, WIRE_END_STREAM, STR(""));
    wire_put_u32(&out, WIRE_RST_STREAM, 5, NGHTTP2_CANCEL);
    talk();
    assert_true(client.is_closed);
    assert_int_equal(rig.connections, 0);
}

static void test_drain_of_many(void **state)
{
    for (uint32_t id = 1; id < 60; id += 2) {
        wire_headers(&out, id, 0, ASK("/w"));
    }
    talk();
    server_drain(rig.server, 5000, NULL);
    talk();
    for (uint32_t id = 1; id < 60; id += 2) {
        data(id, WIRE_END_STREAM, STR(""));
    }
    talk();
    for (uint32_t id = 1; id < 60; id += 2) {
        assert_bytes(id, "bye", true);
    }
    assert_int_equal(rig.ended_well, 30);
}

/* RFC 9297: the same exchange as over HTTP/3, by capsules. */
static void test_datagrams(void **state)
{
    wire_headers(&out, 1, 0, ASK("/d"));
    wire_headers(&out, 3, 0, ASK("/d"));
    data(1, 0, STR("\x00\x03one\x00"));
    data(3, 0,
         STR("\x00\x03"
             "end"));
    data(1, 0, STR("\x03t"));
    data(1, 0, STR("wo\x17\x02xx"));
    talk();
    assert_true(has_field(1, "capsule-protocol", "?1"));
    data(1, WIRE_END_STREAM, STR(""));
    talk();
    assert_body(1, 10);
    assert_int_equal(client_count(&client, "one"), 1);
    assert_body(3, 0);
    data(3, WIRE_END_STREAM, STR("dropped"));
    talk();
    assert_int_equal(rig.ended_well, 2);
    assert_int_equal(rig.refused, 0);
}

static void test_capsule_that_is_cut_off(void **state)
{
    wire_headers(&out, 1, 0, ASK("/d"));
    data(1, WIRE_END_STREAM, STR("\x00\x04one"));
    get(3, "/n");
    talk();
    assert_int_equal(wire_reset_code(got(), 1), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(rig.refused, 1);
    assert_int_equal(rig.ended, 2);
    assert_int_equal(rig.ended_well, 1);
    assert_body(3, 4);
}

static void converse(void)
{
    struct client other = {.rig = &rig, .fd = -1};
    struct buf hello;
    buf_init(&hello, 0);
    buf_init(&other.got, 0);
    assert_int_equal(socket_connect(&rig.address, &other.fd), ERR_OK);
    wire_hello(&hello);
    wire_headers(&hello, 1, 0, ASK("/w"));
    wire_headers(&hello, 3, 0, ASK("/o"));
    wire_put(&hello, WIRE_DATA, 0, 1, STR("one"));
    wire_put(&hello, WIRE_DATA, WIRE_END_STREAM, 3, STR("two"));
    wire_headers(&hello, 5, 0, ASK("/d"));
    wire_put(&hello, WIRE_DATA, 0, 5, STR("\x00\x05th"));
    wire_put(&hello, WIRE_DATA, WIRE_END_STREAM, 5, STR("ree"));
    for (size_t at = 0; at < hello.n;) {
        size_t sent = client_put(&other, str_sub(buf_str(&hello), at, 60));
        at = sent ? at + sent : hello.n;
        rig_settle(&rig);
        client_take(&other);
    }
    rig_advance(&rig, RIG_LATER_MS + 2);
    client_close(&other);
    buf_done(&hello);
}

static void test_out_of_memory(void **state)
{
    (void)mem_test_fail_at(0);
    converse();
    unsigned long total = mem_test_fail_at(0);
    assert_int_equal(rig.ended_well, 2);
    for (unsigned long n = 1; n <= total; n++) {
        (void)mem_test_fail_at(n);
        converse();
        (void)mem_test_fail_at(0);
        rig_settle(&rig);
        assert_int_equal(rig.ended, rig.exchanges);
        assert_int_equal(rig.connections, 1);
    }
    assert_true(total > 8);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin_tunnels, end)
    const struct CMUnitTest tests[] = {
        T(test_bytes),
        T(test_early_bytes_wait),
        T(test_not_asked),
        T(test_malformed),
        cmocka_unit_test(test_not_announced),
        T(test_no_trailers),
        T(test_client_breaks_off),
        T(test_client_leaves),
        T(test_back_pressure),
        cmocka_unit_test(test_idle_time),
        cmocka_unit_test(test_short_idle_time),
        T(test_client_takes_nothing),
        T(test_client_does_not_end),
        cmocka_unit_test(test_no_size_limit),
        T(test_drain),
        T(test_drain_of_many),
        T(test_datagrams),
        T(test_capsule_that_is_cut_off),
        T(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
