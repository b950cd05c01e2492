/* SPDX-License-Identifier: Apache-2.0 */
/* WebSockets over the pipeline: messages, compression, back-pressure, the end, and memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../http/websocket_frames.h"
#include "base/assert.h"
#include "base/mem.h"
#include "http/websocket.h"
#include "os/socket.h"
#include "rig.h"

#define FIN 0x80u
#define RSV1 0x40u
#define ASK                                                                                        \
    "GET / HTTP/1.1\r\nHost: echo.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"           \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define DEFLATE "Sec-WebSocket-Extensions: permessage-deflate\r\n"
#define CLOSE_MS 5000

static struct site *site;
static struct rig rig;

struct client {
    int fd;
    struct buf got;
    bool is_closed;
};

static void client_open(struct client *c, const char *request)
{
    *c = (struct client){.fd = -1};
    buf_init(&c->got, 0);
    assert_int_equal(socket_connect(&rig.local, &c->fd), ERR_OK);
    assert_int_equal(send(c->fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
}

static void client_close(struct client *c)
{
    close(c->fd);
    buf_done(&c->got);
    rig_advance(&rig, 1);
}

static bool client_take(struct client *c)
{
    char block[65536];
    ssize_t n = recv(c->fd, block, sizeof(block), MSG_DONTWAIT);
    if (n > 0) {
        buf_add(&c->got, block, (size_t)n);
    }
    c->is_closed = c->is_closed || n == 0 || (n < 0 && errno == ECONNRESET);
    return n > 0;
}

/* Sends all and takes what comes until nothing moves any more. Much work at once is done in turns,
 * some of which give nothing. */
static void client_say(struct client *c, struct str bytes)
{
    bool is_moving = true;
    while (is_moving) {
        ssize_t n = bytes.n ? send(c->fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        if (n > 0) {
            bytes = str_sub(bytes, (size_t)n, bytes.n);
        }
        rig_advance(&rig, 50);
        is_moving = client_take(c) || n > 0;
    }
}

/* Behind the head, which is dropped. */
static void client_begin(struct client *c, const char *request)
{
    client_open(c, request);
    client_say(c, STR(""));
    const char *end = memmem(c->got.p, c->got.n, "\r\n\r\n", 4);
    assert_non_null(end);
    assert_memory_equal(c->got.p, "HTTP/1.1 101 ", 13);
    buf_consume(&c->got, (size_t)(end + 4 - c->got.p));
}

/* Takes the next frame off what came; false: there is none. */
static bool client_frame(struct client *c, uint8_t *ret_first, struct buf *ret_payload)
{
    const uint8_t *p = (const uint8_t *)c->got.p;
    size_t n = c->got.n, head = 2, length;
    if (n < 2) {
        return false;
    }
    assert_false(p[1] & 0x80);
    length = p[1];
    if (length >= 126) {
        unsigned extra = length == 126 ? 2 : 8;
        assert_true(n >= 2 + extra);
        for (length = 0; head < 2 + extra; head++) {
            length = length << 8 | p[head];
        }
    }
    assert_true(n - head >= length);
    *ret_first = p[0];
    buf_add(ret_payload, p + head, length);
    buf_consume(&c->got, head + length);
    return true;
}

/* The message that comes next, whole; its first byte goes to `ret_first`. */
static void client_message(struct client *c, uint8_t *ret_first, struct buf *ret_message)
{
    uint8_t first = 0, next = 0;
    buf_init(ret_message, 0);
    assert_true(client_frame(c, &first, ret_message));
    next = first;
    while (!(next & FIN)) {
        assert_true(client_frame(c, &next, ret_message));
        assert_int_equal(next & ~FIN, WEBSOCKET_CONTINUATION);
    }
    *ret_first = first;
}

static void assert_message(struct client *c, unsigned opcode, struct str want)
{
    uint8_t first;
    struct buf message;
    client_message(c, &first, &message);
    assert_int_equal(first & 0x4f, opcode);
    assert_true(str_eq(buf_str(&message), want));
    buf_done(&message);
}

static void assert_close(struct client *c, unsigned code)
{
    uint8_t first;
    struct buf payload;
    buf_init(&payload, 0);
    assert_true(client_frame(c, &first, &payload));
    assert_int_equal(first, FIN | WEBSOCKET_CLOSE);
    assert_true(payload.n >= 2);
    assert_int_equal((uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1], code);
    buf_done(&payload);
}

static int begin(void **state)
{
    rig_start(&rig, site);
    return 0;
}

static int end(void **state)
{
    rig_stop(&rig);
    return 0;
}

static void test_messages(void **state)
{
    struct client c;
    struct buf b;
    buf_init(&b, 0);
    add_frame(&b, FIN | WEBSOCKET_TEXT, STR("hello"));
    add_frame(&b, WEBSOCKET_BINARY, STR("a"));
    add_frame(&b, FIN | WEBSOCKET_PING, STR("ping"));
    add_frame(&b, FIN | WEBSOCKET_CONTINUATION, STR("b"));
    add_frame(&b, FIN | WEBSOCKET_PONG, STR(""));
    add_frame(&b, FIN | WEBSOCKET_TEXT, STR(""));
    client_begin(&c, ASK "\r\n");
    client_say(&c, buf_str(&b));
    assert_message(&c, WEBSOCKET_TEXT, STR("hello"));
    /* A pong may stand within a message. */
    static const char rest[] = "\x02\x01"
                               "a\x8a\x04"
                               "ping\x80\x01"
                               "b\x81\x00";
    assert_int_equal(c.got.n, sizeof(rest) - 1);
    assert_memory_equal(c.got.p, rest, sizeof(rest) - 1);
    client_close(&c);
    buf_done(&b);
}

static void test_closing(void **state)
{
    struct client c;
    struct buf b;
    buf_init(&b, 0);
    add_frame(&b, FIN | WEBSOCKET_CLOSE, STR("\x0f\xa0why"));
    add_frame(&b, FIN | WEBSOCKET_TEXT, STR("dropped"));
    client_begin(&c, ASK "\r\n");
    client_say(&c, buf_str(&b));
    assert_close(&c, 4000);
    assert_int_equal(c.got.n, 0);
    assert_true(c.is_closed);
    client_close(&c);
    client_begin(&c, ASK "\r\n");
    client_say(&c, STR("\x81\x05hello"));
    assert_close(&c, 1002);
    assert_true(c.is_closed);
    client_close(&c);
    buf_done(&b);
}

/* Much input at once, of which nothing is read at first: nothing is lost, little is kept. */
static void test_back_pressure(void **state)
{
    struct client c;
    struct buf b;
    static char text[40000];
    const unsigned count = 200;
    memset(text, 'x', sizeof(text));
    buf_init(&b, 0);
    for (unsigned i = 0; i < count; i++) {
        text[0] = (char)i;
        add_frame(&b, FIN | WEBSOCKET_BINARY, str_make(text, sizeof(text)));
    }
    client_begin(&c, ASK "\r\n");
    size_t sent = 0;
    for (unsigned stuck = 0; stuck < 3;) {
        ssize_t n = send(c.fd, b.p + sent, b.n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        stuck = n > 0 ? 0 : stuck + 1;
        rig_advance(&rig, 1);
    }
    assert_true(sent < b.n);
    client_say(&c, str_make(b.p + sent, b.n - sent));
    for (unsigned i = 0; i < count; i++) {
        text[0] = (char)i;
        assert_message(&c, WEBSOCKET_BINARY, str_make(text, sizeof(text)));
    }
    assert_int_equal(c.got.n, 0);
    client_close(&c);
    buf_done(&b);
}

static void deflate_into(struct buf *out, struct str bytes)
{
    struct websocket_deflater *d;
    assert_int_equal(websocket_deflater_open(NULL, 15, &d), ERR_OK);
    assert_int_equal(websocket_deflate_bytes(d, bytes, true, out), ERR_OK);
    websocket_deflater_close(NULL, d);
}

/* Megabytes that came in kilobytes: they are made in many turns, and come back the same. */
static void test_compressed(void **state)
{
    struct client c;
    struct buf b, coded;
    const size_t n = 8u << 20;
    char *text = malloc(n);
    for (size_t i = 0; i < n; i++) {
        text[i] = (char)('a' + (i / 1000) % 26);
    }
    buf_init(&b, 0);
    buf_init(&coded, 0);
    deflate_into(&coded, str_make(text, n));
    assert_true(coded.n < 65536);
    for (unsigned i = 0; i < 3; i++) {
        add_frame(&b, FIN | RSV1 | WEBSOCKET_TEXT, buf_str(&coded));
    }
    add_frame(&b, FIN | WEBSOCKET_TEXT, STR("end"));
    client_begin(&c, ASK DEFLATE "\r\n");
    client_say(&c, buf_str(&b));
    for (unsigned i = 0; i < 3; i++) {
        uint8_t first;
        struct buf message;
        struct websocket_inflater *inflater;
        client_message(&c, &first, &message);
        assert_int_equal(first & 0x4f, RSV1 | WEBSOCKET_TEXT);
        char *out = malloc(n + 1);
        struct websocket_inflate_step step = {message.p, message.n, out, n + 1};
        assert_int_equal(websocket_inflater_open(NULL, &inflater), ERR_OK);
        assert_int_equal(websocket_inflate(inflater, &step), ERR_OK);
        step.in = "\0\0\xff\xff";
        step.in_bytes = 4;
        assert_int_equal(websocket_inflate(inflater, &step), ERR_OK);
        assert_int_equal(step.out_bytes, 1);
        assert_memory_equal(out, text, n);
        websocket_inflater_close(NULL, inflater);
        buf_done(&message);
        free(out);
    }
    assert_message(&c, WEBSOCKET_TEXT, STR("end"));
    client_close(&c);
    buf_done(&b);
    buf_done(&coded);
    free(text);
}

static void test_drain(void **state)
{
    struct client polite, silent;
    struct buf b;
    buf_init(&b, 0);
    client_begin(&polite, ASK "\r\n");
    client_begin(&silent, ASK "\r\n");
    server_drain(rig.server, 0, NULL);
    client_say(&polite, STR(""));
    client_say(&silent, STR(""));
    assert_close(&polite, 1001);
    assert_close(&silent, 1001);
    /* What was under way when we said so is dropped. */
    add_frame(&b, FIN | WEBSOCKET_TEXT, STR("late"));
    add_frame(&b, FIN | WEBSOCKET_CLOSE, STR("\x03\xe9"));
    client_say(&polite, buf_str(&b));
    assert_int_equal(polite.got.n, 0);
    assert_true(polite.is_closed);
    rig_advance(&rig, CLOSE_MS - 1000);
    assert_false(client_take(&silent));
    assert_false(silent.is_closed);
    rig_advance(&rig, 2000);
    assert_false(client_take(&silent));
    assert_true(silent.is_closed);
    client_close(&polite);
    client_close(&silent);
    buf_done(&b);
}

static void test_client_leaves(void **state)
{
    struct client c;
    struct buf b;
    static char text[60000];
    buf_init(&b, 0);
    for (unsigned i = 0; i < 20; i++) {
        add_frame(&b, FIN | WEBSOCKET_BINARY, str_make(text, sizeof(text)));
    }
    client_begin(&c, ASK "\r\n");
    while (send(c.fd, b.p, b.n, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
        rig_advance(&rig, 1);
    }
    client_close(&c);
    assert_int_equal(metrics_get(rig.metrics, METRICS_CONN_ACTIVE), 0);
    buf_done(&b);
}

/* Every allocation failing once: whole answers or the end of the connection, and no leak. */
static void test_memory_runs_out(void **state)
{
    unsigned long count = 0;
    struct buf b, coded;
    static char text[3000];
    memset(text, 't', sizeof(text));
    buf_init(&b, 0);
    buf_init(&coded, 0);
    deflate_into(&coded, str_make(text, sizeof(text)));
    add_frame(&b, FIN | WEBSOCKET_TEXT, STR("hello"));
    add_frame(&b, FIN | RSV1 | WEBSOCKET_TEXT, buf_str(&coded));
    add_frame(&b, FIN | WEBSOCKET_CLOSE, STR("\x03\xe8"));
    for (unsigned long n = 0; n <= count; n++) {
        struct client c;
        rig_start(&rig, site);
        client_open(&c, ASK DEFLATE "\r\n");
        (void)mem_test_fail_at(n);
        rig_advance(&rig, 1);
        (void)send(c.fd, b.p, b.n, MSG_NOSIGNAL);
        rig_advance(&rig, 1);
        unsigned long made = mem_test_fail_at(0);
        client_say(&c, STR(""));
        bool is_whole = c.got.n > 4 && memmem(c.got.p, c.got.n, "hello", 5) &&
                        memcmp(c.got.p + c.got.n - 4, "\x88\x02\x03\xe8", 4) == 0;
        if (n == 0) {
            count = made;
            assert_true(is_whole);
        }
        bool is_refused = c.got.n > 12 && memcmp(c.got.p, "HTTP/1.1 503", 12) == 0;
        assert_true(is_whole || is_refused || c.is_closed);
        client_close(&c);
        rig_stop(&rig);
    }
    assert_true(count > 15);
    buf_done(&b);
    buf_done(&coded);
}

static int begin_all(void **state)
{
    rig_files_make();
    site = rig_site();
    return 0;
}

static int end_all(void **state)
{
    site_unref(site);
    rig_files_done();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_messages),
        TEST(test_closing),
        TEST(test_back_pressure),
        TEST(test_compressed),
        TEST(test_drain),
        TEST(test_client_leaves),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
