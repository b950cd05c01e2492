/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket frames, messages, compression and the opening handshake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "http/websocket.h"
#include "http/websocket_handshake.h"
#include "websocket_frames.h"

#define FIN 0x80u
#define RSV1 0x40u
#define OUT_BYTES 4096

static const struct websocket_deflate plain = {.server_bits = 15};
static const struct websocket_deflate takeover = {.is_on = true, .server_bits = 15};
static const struct websocket_deflate no_takeover = {.is_on = true,
                                                     .server_no_context_takeover = true,
                                                     .client_no_context_takeover = true,
                                                     .server_bits = 15};

/* What came of some input, as text: "T(Hello)" "B()" "P(ping)" "O(pong)" "C1000(bye)" "F1002". */
struct run {
    struct websocket w;
    struct buf log;
    bool is_inside;
    size_t out_bytes;
    uint64_t now_ms;
};

static void run_begin(struct run *r, const struct websocket_deflate *d, uint64_t max)
{
    *r = (struct run){.out_bytes = OUT_BYTES, .now_ms = 1000000};
    websocket_init(&r->w, d, NULL, max);
    buf_init(&r->log, 0);
}

static void run_end(struct run *r)
{
    websocket_done(&r->w);
    buf_done(&r->log);
}

static void run_event(struct run *r, enum websocket_event_kind kind,
                      const struct websocket_event *e)
{
    switch (kind) {
    case WEBSOCKET_EVENT_MORE:
        break;
    case WEBSOCKET_EVENT_DATA:
        assert_true(e->is_first == !r->is_inside);
        assert_true(e->bytes.n > 0 || e->is_last);
        if (e->is_first) {
            buf_add_str(&r->log, e->is_text ? STR("T(") : STR("B("));
        }
        buf_add_str(&r->log, e->bytes);
        if (e->is_last) {
            buf_add_str(&r->log, STR(")"));
        }
        r->is_inside = !e->is_last;
        break;
    case WEBSOCKET_EVENT_PING:
        buf_printf(&r->log, "P(" STR_FMT ")", STR_ARG(e->bytes));
        break;
    case WEBSOCKET_EVENT_PONG:
        buf_printf(&r->log, "O(" STR_FMT ")", STR_ARG(e->bytes));
        break;
    case WEBSOCKET_EVENT_CLOSE:
        buf_printf(&r->log, "C%u(" STR_FMT ")", e->code, STR_ARG(e->bytes));
        break;
    case WEBSOCKET_EVENT_FAILED:
        assert_true(e->bytes.n > 0);
        buf_printf(&r->log, "F%u", e->code);
        break;
    }
}

static void run_feed(struct run *r, struct str bytes, size_t step)
{
    static char out[OUT_BYTES];
    for (size_t at = 0; at < bytes.n; at += step) {
        struct str piece = str_sub(bytes, at, step);
        struct websocket_input in = {piece.p, piece.n, out, r->out_bytes, r->now_ms};
        struct websocket_event e;
        enum websocket_event_kind kind;
        do {
            kind = websocket_next(&r->w, &in, &e);
            run_event(r, kind, &e);
        } while (kind != WEBSOCKET_EVENT_MORE);
        assert_int_equal(in.n, 0);
    }
}

static void check_log(const struct run *r, const char *want)
{
    if (!str_eq(buf_str(&r->log), str_of(want))) {
        fail_msg("got " STR_FMT ", not %s", STR_ARG(buf_str(&r->log)), want);
    }
}

/* The same for every size of the pieces that come, and of the memory for what is made. */
static void check_with(const struct websocket_deflate *d, struct str bytes, const char *want)
{
    for (size_t step = 1; step <= bytes.n; step++) {
        for (size_t out_bytes = 1; out_bytes < 12; out_bytes++) {
            struct run r;
            run_begin(&r, d, WEBSOCKET_MESSAGE_BYTES_MAX);
            r.out_bytes = out_bytes < 11 ? out_bytes : OUT_BYTES;
            run_feed(&r, bytes, step);
            check_log(&r, want);
            run_end(&r);
        }
    }
}

static void check(struct buf *bytes, const char *want)
{
    check_with(&plain, buf_str(bytes), want);
    buf_done(bytes);
    buf_init(bytes, 0);
}

static void test_messages(void **state)
{
    struct buf b;
    buf_init(&b, 0);
    add_frame(&b, FIN | WEBSOCKET_TEXT, STR("Hello"));
    add_frame(&b, FIN | WEBSOCKET_BINARY, STR("\x01\xff"));
    add_frame(&b, FIN | WEBSOCKET_TEXT, STR(""));
    check(&b, "T(Hello)B(\x01\xff)T()");

    add_frame(&b, WEBSOCKET_TEXT, STR("Hel"));
    add_frame(&b, FIN | WEBSOCKET_PING, STR("p"));
    add_frame(&b, WEBSOCKET_CONTINUATION, STR(""));
    add_frame(&b, FIN | WEBSOCKET_PONG, STR(""));
    add_frame(&b, FIN | WEBSOCKET_CONTINUATION, STR("lo"));
    add_frame(&b, WEBSOCKET_BINARY, STR(""));
    add_frame(&b, FIN | WEBSOCKET_CONTINUATION, STR(""));
    add_frame(&b, FIN | WEBSOCKET_CLOSE,
              STR("\x03\xe8"
                  "bye"));
    add_frame(&b, FIN | WEBSOCKET_TEXT, STR("dropped"));
    /* Pieces of a message may be told before or behind a ping that stands within it. */
    struct run r;
    run_begin(&r, &plain, WEBSOCKET_MESSAGE_BYTES_MAX);
    run_feed(&r, buf_str(&b), b.n);
    check_log(&r, "T(HelP(p)O()lo)B()C1000(bye)");
    run_end(&r);
    check(&b, "T(HelP(p)O()lo)B()C1000(bye)");
}

static void test_lengths(void **state)
{
    static const size_t lengths[] = {0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 200000};
    char *payload = malloc(200000);
    memset(payload, 'x', 200000);
    for (unsigned i = 0; i < COUNT_OF(lengths); i++) {
        struct run r;
        struct buf b;
        buf_init(&b, 0);
        add_frame(&b, FIN | WEBSOCKET_BINARY, str_make(payload, lengths[i]));
        run_begin(&r, &plain, WEBSOCKET_MESSAGE_BYTES_MAX);
        run_feed(&r, buf_str(&b), 1000);
        assert_int_equal(r.log.n, lengths[i] + 3);
        run_end(&r);
        buf_done(&b);
    }
    free(payload);
}

static void test_invalid_frames(void **state)
{
    static const struct {
        struct str bytes;
        const char *want;
    } table[] = {
        {STR("\x81\x05Hello"), "F1002"},                /* no mask */
        {STR("\x91"), "F1002"},                         /* RSV3 */
        {STR("\xa1"), "F1002"},                         /* RSV2 */
        {STR("\xc1"), "F1002"},                         /* RSV1, not agreed on */
        {STR("\x83"), "F1002"},                         /* reserved opcodes */
        {STR("\x87"), "F1002"},                         /* */
        {STR("\x8b"), "F1002"},                         /* */
        {STR("\x8f"), "F1002"},                         /* */
        {STR("\x80"), "F1002"},                         /* nothing to continue */
        {STR("\x00"), "F1002"},                         /* */
        {STR("\x09"), "F1002"},                         /* fragmented control frames */
        {STR("\x08"), "F1002"},                         /* */
        {STR("\x89\xfe"), "F1002"},                     /* long control frames */
        {STR("\x88\xff"), "F1002"},                     /* */
        {STR("\x82\xfe\x00\x7d"), "F1002"},             /* lengths that could be shorter */
        {STR("\x82\xff\0\0\0\0\0\0\xff\xff"), "F1002"}, /* */
        {STR("\x82\xff\x80\0\0\0\0\0\0\0"), "F1002"},   /* 64 bits */
        {STR("\x82\xff\0\0\0\0\x01\0\0\x01"), "F1009"}, /* 16 MB and a byte */
        {STR("\x01\x81\0\0\0\0a\x81"), "T(aF1002"},     /* message within a message */
        {STR("\x01\x81\0\0\0\0a\x82"), "T(aF1002"},     /* */
        {STR("\x81\x81\0\0\0\0\xff"), "F1007"},         /* not UTF-8 */
        {STR("\x81\x82\0\0\0\0\xc3\x28"), "F1007"},     /* */
        {STR("\x81\x81\0\0\0\0\xc3"), "F1007"},         /* cut character */
        {STR("\x01\x81\0\0\0\0\xc3\x80\x81\0\0\0\0\x28"), "T(\xc3"
                                                          "F1007"},
    };
    for (unsigned i = 0; i < COUNT_OF(table); i++) {
        struct run r;
        run_begin(&r, &plain, WEBSOCKET_MESSAGE_BYTES_MAX);
        run_feed(&r, table[i].bytes, table[i].bytes.n);
        check_log(&r, table[i].want);
        /* What follows is dropped. */
        run_feed(&r, STR("\x81\x85\0\0\0\0Hello"), 3);
        check_log(&r, table[i].want);
        run_end(&r);
    }
}

/* The fault is told with the first byte that no valid text can have there. */
static void test_utf8_fails_fast(void **state)
{
    struct run r;
    struct buf b;
    buf_init(&b, 0);
    add_frame(&b, FIN | WEBSOCKET_TEXT,
              STR("\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80"
                  "edited"));
    run_begin(&r, &plain, WEBSOCKET_MESSAGE_BYTES_MAX);
    run_feed(&r, str_sub(buf_str(&b), 0, 12), 1);
    assert_null(memmem(r.log.p, r.log.n, "F1007", 5));
    run_feed(&r, str_sub(buf_str(&b), 12, 1), 1);
    assert_non_null(memmem(r.log.p, r.log.n, "F1007", 5));
    run_end(&r);
    buf_done(&b);
}

static void test_close(void **state)
{
    for (unsigned code = 0; code <= UINT16_MAX; code++) {
        bool is_valid = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                        (code >= 3000 && code <= 4999);
        assert_true(websocket_close_code_is_valid((uint16_t)code) == is_valid);
        if (code > 5100 && code % 997) {
            continue;
        }
        struct run r;
        struct buf b;
        char want[32];
        const char payload[2] = {(char)(code >> 8), (char)code};
        buf_init(&b, 0);
        add_frame(&b, FIN | WEBSOCKET_CLOSE, str_make(payload, 2));
        run_begin(&r, &plain, WEBSOCKET_MESSAGE_BYTES_MAX);
        run_feed(&r, buf_str(&b), b.n);
        snprintf(want, sizeof(want), is_valid ? "C%u()" : "F1002", code);
        check_log(&r, want);
        run_end(&r);
        buf_done(&b);
    }
    struct buf b;
    buf_init(&b, 0);
    add_frame(&b, FIN | WEBSOCKET_CLOSE, STR(""));
    check(&b, "C1005()");
    add_frame(&b, FIN | WEBSOCKET_CLOSE, STR("\x03"));
    check(&b, "F1002");
    add_frame(&b, FIN | WEBSOCKET_CLOSE, STR("\x03\xe8\xce\xba"));
    check(&b, "C1000(\xce\xba)");
    add_frame(&b, FIN | WEBSOCKET_CLOSE, STR("\x03\xe8\xce"));
    check(&b, "F1007");
    add_frame(&b, FIN | WEBSOCKET_CLOSE, STR("\x03\xe8\xed\xa0\x80"));
    check(&b, "F1007");
}

static void test_message_limit(void **state)
{
    struct run r;
    struct buf b;
    buf_init(&b, 0);
    add_frame(&b, FIN | WEBSOCKET_BINARY, STR("1234567890"));
    add_frame(&b, WEBSOCKET_BINARY, STR("12345"));
    add_frame(&b, FIN | WEBSOCKET_CONTINUATION, STR("67890"));
    add_frame(&b, WEBSOCKET_BINARY, STR("12345"));
    add_frame(&b, FIN | WEBSOCKET_PING, STR("123456789012"));
    add_frame(&b, FIN | WEBSOCKET_CONTINUATION, STR("678901"));
    run_begin(&r, &plain, 10);
    run_feed(&r, buf_str(&b), b.n);
    check_log(&r, "B(1234567890)B(1234567890)B(12345P(123456789012)F1009");
    run_end(&r);
    buf_done(&b);
}

static void test_control_flood(void **state)
{
    struct run r;
    struct buf b;
    buf_init(&b, 0);
    add_frame(&b, FIN | WEBSOCKET_PONG, STR(""));
    run_begin(&r, &plain, 100);
    for (unsigned window = 0; window < 3; window++) {
        for (unsigned i = 0; i < WEBSOCKET_CONTROL_COUNT_MAX; i++) {
            run_feed(&r, buf_str(&b), b.n);
        }
        assert_null(memmem(r.log.p, r.log.n, "F", 1));
        r.now_ms += WEBSOCKET_CONTROL_WINDOW_MS;
    }
    r.now_ms -= 1;
    run_feed(&r, buf_str(&b), b.n);
    assert_non_null(memmem(r.log.p, r.log.n, "F1008", 5));
    run_end(&r);
    buf_done(&b);
}

/* ---- UTF-8 ---- */

static void test_utf8(void **state)
{
    /* Every code point, valid or not, as the plain rule of RFC 3629 would write it. */
    for (uint32_t c = 0; c < 0x120000; c += c < 0x3000 || (c > 0xd700 && c < 0xe100) ? 1 : 61) {
        char text[4];
        size_t n;
        if (c < 0x80) {
            text[0] = (char)c;
            n = 1;
        } else if (c < 0x800) {
            text[0] = (char)(0xc0 | c >> 6);
            text[1] = (char)(0x80 | (c & 0x3f));
            n = 2;
        } else if (c < 0x10000) {
            text[0] = (char)(0xe0 | c >> 12);
            text[1] = (char)(0x80 | (c >> 6 & 0x3f));
            text[2] = (char)(0x80 | (c & 0x3f));
            n = 3;
        } else {
            text[0] = (char)(0xf0 | c >> 18);
            text[1] = (char)(0x80 | (c >> 12 & 0x3f));
            text[2] = (char)(0x80 | (c >> 6 & 0x3f));
            text[3] = (char)(0x80 | (c & 0x3f));
            n = 4;
        }
        bool is_valid = c < 0xd800 || (c > 0xdfff && c <= 0x10ffff);
        assert_true(utf8_is_valid(text, n) == is_valid);
        if (is_valid) {
            assert_int_equal(utf8_cut(text, n), n);
            assert_false(n > 1 && utf8_is_valid(text, n - 1));
            assert_int_equal(utf8_cut(text, n - 1), 0);
        }
    }
    static const struct str invalid[] = {
        STR("\x80"),
        STR("\xbf"),
        STR("\xc0\x80"),
        STR("\xc1\xbf"),
        STR("\xe0\x9f\xbf"),
        STR("\xed\xa0\x80"),
        STR("\xf0\x8f\xbf\xbf"),
        STR("\xf4\x90\x80\x80"),
        STR("\xf5\x80"),
        STR("\xff"),
        STR("a\xc3"),
        STR("\xe2\x82"),
        STR("\xe2\x28\xa1"),
        STR("\xf0\x9f\x98"),
        STR("\xc3\xc3"),
    };
    for (unsigned i = 0; i < COUNT_OF(invalid); i++) {
        assert_false(utf8_is_valid(invalid[i].p, invalid[i].n));
        /* Behind ASCII of any length, which is skipped by blocks. */
        for (size_t before = 0; before < 70; before++) {
            char text[80];
            memset(text, 'a', before);
            memcpy(text + before, invalid[i].p, invalid[i].n);
            assert_false(utf8_is_valid(text, before + invalid[i].n));
            memcpy(text + before, "\xe2\x82\xac", 3);
            assert_true(utf8_is_valid(text, before + 3));
        }
    }
}

/* ---- compression ---- */

static void add_compressed(struct buf *out, struct websocket_deflater *d, unsigned opcode,
                           struct str text)
{
    struct buf made;
    buf_init(&made, 0);
    assert_int_equal(websocket_deflate_bytes(d, text, true, &made), ERR_OK);
    add_frame(out, FIN | RSV1 | opcode, buf_str(&made));
    buf_done(&made);
}

static void test_inflate(void **state)
{
    struct websocket_deflater *d;
    struct buf b;
    buf_init(&b, 0);
    assert_int_equal(websocket_deflater_open(NULL, 15, &d), ERR_OK);
    add_compressed(&b, d, WEBSOCKET_TEXT, STR("Hello, Hello, Hello"));
    add_compressed(&b, d, WEBSOCKET_TEXT, STR("Hello, Hello, Hello"));
    add_compressed(&b, d, WEBSOCKET_BINARY, STR(""));
    add_frame(&b, FIN | WEBSOCKET_TEXT, STR("plain"));
    add_compressed(&b, d, WEBSOCKET_TEXT, STR("Hello, Hello, Hello"));
    check_with(&takeover, buf_str(&b),
               "T(Hello, Hello, Hello)T(Hello, Hello, Hello)B()T(plain)T(Hello, Hello, Hello)");
    /* Without the context the second one refers to nothing. */
    struct run r;
    run_begin(&r, &no_takeover, 1000);
    run_feed(&r, buf_str(&b), b.n);
    check_log(&r, "T(Hello, Hello, Hello)F1007");
    run_end(&r);
    websocket_deflater_close(NULL, d);
    buf_done(&b);
}

/* RFC 7692 7.2.3: the examples. */
static void test_inflate_examples(void **state)
{
    static const struct str hello[] = {
        STR("\xf2\x48\xcd\xc9\xc9\x07\x00"),                         /* one block */
        STR("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),         /* not compressed */
        STR("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),                     /* with BFINAL */
        STR("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), /* two blocks */
    };
    for (unsigned i = 0; i < COUNT_OF(hello); i++) {
        struct buf b;
        buf_init(&b, 0);
        add_frame(&b, FIN | RSV1 | WEBSOCKET_TEXT, hello[i]);
        check_with(&takeover, buf_str(&b), "T(Hello)");
        check_with(&no_takeover, buf_str(&b), "T(Hello)");
        /* The second refers to the window of the first. */
        add_frame(&b, FIN | RSV1 | WEBSOCKET_TEXT, STR("\xf2\x00\x11\x00\x00"));
        check_with(&takeover, buf_str(&b), "T(Hello)T(Hello)");
        buf_done(&b);
        buf_init(&b, 0);
        add_frame(&b, RSV1 | WEBSOCKET_TEXT, str_sub(hello[i], 0, 3));
        add_frame(&b, FIN | WEBSOCKET_PING, STR("!"));
        add_frame(&b, FIN | WEBSOCKET_CONTINUATION, str_sub(hello[i], 3, hello[i].n));
        struct run r;
        run_begin(&r, &takeover, 1000);
        run_feed(&r, buf_str(&b), b.n);
        assert_non_null(memmem(r.log.p, r.log.n, "P(!)", 4));
        assert_int_equal(r.log.n, sizeof("T(Hello)P(!)") - 1);
        run_end(&r);
        buf_done(&b);
    }
}

static void test_inflate_faults(void **state)
{
    static const struct {
        unsigned first;
        struct str payload;
        const char *want;
    } table[] = {
        {FIN | RSV1 | WEBSOCKET_BINARY, STR("\xff\xff\xff"), "F1007"},
        {FIN | RSV1 | WEBSOCKET_BINARY, STR("\x06"), "F1007"},
        /* A block that the end of the message cuts. */
        {FIN | RSV1 | WEBSOCKET_BINARY, STR("\xf2\x48"), "F1007"},
        {FIN | RSV1 | WEBSOCKET_BINARY,
         STR("\x00\x09\x00\xf6\xff"
             "a"),
         "F1007"},
        {FIN | RSV1 | WEBSOCKET_TEXT, STR("\x00\x01\x00\xfe\xff\xff\x00"), "F1007"},
        {FIN | RSV1 | WEBSOCKET_PING, STR(""), "F1002"},
        {FIN | RSV1 | WEBSOCKET_CLOSE, STR(""), "F1002"},
        {FIN | RSV1 | WEBSOCKET_CONTINUATION, STR(""), "F1002"},
    };
    for (unsigned i = 0; i < COUNT_OF(table); i++) {
        struct run r;
        struct buf b;
        buf_init(&b, 0);
        add_frame(&b, table[i].first, table[i].payload);
        for (size_t step = 1; step <= b.n; step++) {
            run_begin(&r, &takeover, 1000);
            run_feed(&r, buf_str(&b), step);
            size_t n = strlen(table[i].want);
            assert_true(r.log.n >= n);
            assert_memory_equal(r.log.p + r.log.n - n, table[i].want, n);
            run_end(&r);
        }
        buf_done(&b);
    }
}

/* 16 MB of zeros in 16 KB: refused at the limit, in bounded memory. */
static void test_bomb(void **state)
{
    static char zeros[1 << 20];
    struct websocket_deflater *d;
    struct buf made, b;
    struct run r;
    buf_init(&made, 0);
    buf_init(&b, 0);
    assert_int_equal(websocket_deflater_open(NULL, 15, &d), ERR_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(websocket_deflate_bytes(d, str_make(zeros, sizeof(zeros)), i == 3, &made),
                         ERR_OK);
    }
    assert_true(made.n < 32768);
    add_frame(&b, FIN | RSV1 | WEBSOCKET_BINARY, buf_str(&made));
    run_begin(&r, &no_takeover, 4 * sizeof(zeros));
    run_feed(&r, buf_str(&b), b.n);
    assert_int_equal(r.log.n, 4 * sizeof(zeros) + 3);
    run_end(&r);
    run_begin(&r, &no_takeover, 4 * sizeof(zeros) - 1);
    run_feed(&r, buf_str(&b), b.n);
    assert_memory_equal(r.log.p + r.log.n - 5, "F1009", 5);
    run_end(&r);
    websocket_deflater_close(NULL, d);
    buf_done(&made);
    buf_done(&b);
}

static void test_pool(void **state)
{
    struct websocket_pool pool = {0};
    struct websocket_inflater *inflaters[WEBSOCKET_POOL_COUNT + 1];
    struct websocket_deflater *deflaters[WEBSOCKET_POOL_COUNT + 1];
    for (unsigned i = 0; i <= WEBSOCKET_POOL_COUNT; i++) {
        assert_int_equal(websocket_inflater_open(&pool, &inflaters[i]), ERR_OK);
        assert_int_equal(websocket_deflater_open(&pool, 15, &deflaters[i]), ERR_OK);
    }
    for (unsigned i = 0; i <= WEBSOCKET_POOL_COUNT; i++) {
        websocket_inflater_close(&pool, inflaters[i]);
        websocket_deflater_close(&pool, deflaters[i]);
    }
    assert_int_equal(pool.inflater_count, WEBSOCKET_POOL_COUNT);
    assert_int_equal(pool.deflater_count, WEBSOCKET_POOL_COUNT);
    /* One that is used again has forgotten what it saw. */
    struct buf first, second;
    buf_init(&first, 0);
    buf_init(&second, 0);
    for (int i = 0; i < 2; i++) {
        struct websocket_deflater *d;
        assert_int_equal(websocket_deflater_open(&pool, 15, &d), ERR_OK);
        assert_int_equal(
            websocket_deflate_bytes(d, STR("some text, some text"), true, i ? &second : &first),
            ERR_OK);
        websocket_deflater_close(&pool, d);
    }
    assert_true(str_eq(buf_str(&first), buf_str(&second)));
    buf_done(&first);
    buf_done(&second);
    websocket_pool_done(&pool);
}

static void test_deflate_pieces(void **state)
{
    static char text[100000];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)('a' + i * i % 23);
    }
    for (size_t step = 1; step < 70000; step = step * 7 + 3) {
        struct websocket_deflater *d;
        struct buf made, b;
        struct run r;
        buf_init(&made, 0);
        buf_init(&b, 0);
        assert_int_equal(websocket_deflater_open(NULL, 9, &d), ERR_OK);
        for (size_t at = 0; at < sizeof(text); at += step) {
            struct str piece = str_sub(str_make(text, sizeof(text)), at, step);
            assert_int_equal(websocket_deflate_bytes(d, piece, at + step >= sizeof(text), &made),
                             ERR_OK);
        }
        add_frame(&b, FIN | RSV1 | WEBSOCKET_TEXT, buf_str(&made));
        run_begin(&r, &takeover, sizeof(text));
        run_feed(&r, buf_str(&b), 1500);
        assert_int_equal(r.log.n, sizeof(text) + 3);
        assert_memory_equal(r.log.p + 2, text, sizeof(text));
        run_end(&r);
        websocket_deflater_close(NULL, d);
        buf_done(&made);
        buf_done(&b);
    }
}

/* ---- what is sent ---- */

static void test_write(void **state)
{
    char head[WEBSOCKET_SENT_HEAD_BYTES_MAX];
    char control[WEBSOCKET_SENT_CONTROL_BYTES_MAX];
    static const struct {
        struct websocket_frame frame;
        struct str want;
    } table[] = {
        {{WEBSOCKET_TEXT, true, false, 5}, STR("\x81\x05")},
        {{WEBSOCKET_BINARY, false, true, 125}, STR("\x42\x7d")},
        {{WEBSOCKET_BINARY, true, false, 126}, STR("\x82\x7e\x00\x7e")},
        {{WEBSOCKET_CONTINUATION, false, false, 65535}, STR("\x00\x7e\xff\xff")},
        {{WEBSOCKET_CONTINUATION, true, false, 65536}, STR("\x80\x7f\0\0\0\0\0\x01\0\0")},
    };
    for (unsigned i = 0; i < COUNT_OF(table); i++) {
        size_t n = websocket_write_head(&table[i].frame, head);
        assert_int_equal(n, table[i].want.n);
        assert_memory_equal(head, table[i].want.p, n);
    }
    assert_int_equal(websocket_write_control(WEBSOCKET_PONG, STR("pp"), control), 4);
    assert_memory_equal(control, "\x8a\x02pp", 4);
    assert_int_equal(websocket_write_close(WEBSOCKET_CODE_NONE, STR("no"), control), 2);
    assert_memory_equal(control, "\x88\x00", 2);
    assert_int_equal(websocket_write_close(1001, STR("bye"), control), 7);
    assert_memory_equal(control,
                        "\x88\x05\x03\xe9"
                        "bye",
                        7);
    /* 122 bytes and a character of two: it does not fit whole. */
    char reason[124];
    memset(reason, 'r', 122);
    memcpy(reason + 122, "\xc3\xa9", 2);
    assert_int_equal(websocket_write_close(1000, str_make(reason, 124), control), 2 + 2 + 122);
}

/* ---- the handshake ---- */

static struct http_field array[16];

static struct request_head head_of(struct str version)
{
    struct request_head h = {.method = HTTP_GET, .version = HTTP_VERSION_11};
    http_fields_init(&h.fields, array, COUNT_OF(array));
    h.authority = STR("example.com");
    enum err e =
        http_fields_add(&h.fields, STR("Sec-WebSocket-Key"), STR("dGhlIHNhbXBsZSBub25jZQ=="));
    e = e ? e : http_fields_add(&h.fields, STR("Sec-WebSocket-Version"), version);
    assert_int_equal(e, ERR_OK);
    return h;
}

static void add(struct request_head *h, const char *name, const char *value)
{
    assert_int_equal(http_fields_add(&h->fields, str_of(name), str_of(value)), ERR_OK);
}

static void test_handshake(void **state)
{
    const char *reason;
    struct request_head h = head_of(STR("13"));
    assert_int_equal(websocket_check_request(&h, &reason), 101);
    h.method = HTTP_POST;
    assert_int_equal(websocket_check_request(&h, &reason), 400);
    h.method = HTTP_CONNECT;
    h.version = HTTP_VERSION_20;
    http_fields_remove(&h.fields, STR("Sec-WebSocket-Key"));
    assert_int_equal(websocket_check_request(&h, &reason), 101);
    static const char *const versions[] = {"8", "", "14", "13, 8", "013"};
    for (unsigned i = 0; i < COUNT_OF(versions); i++) {
        h = head_of(str_of(versions[i]));
        assert_int_equal(websocket_check_request(&h, &reason), 426);
    }
    h = head_of(STR("13"));
    add(&h, "Sec-WebSocket-Version", "13");
    assert_int_equal(websocket_check_request(&h, &reason), 426);
    h = head_of(STR("13"));
    add(&h, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_int_equal(websocket_check_request(&h, &reason), 400);
    static const char *const keys[] = {"",
                                       "dGhlIHNhbXBsZSBub25jZQ",
                                       "dGhlIHNhbXBsZSBub25jZQ=a",
                                       "dGhlIHNhbXBsZSBub25 ZQ==",
                                       "dGhlIHNhbXBsZSBub25-ZQ==",
                                       "dGhlIHNhbXBsZSBub25jZQAA=="};
    for (unsigned i = 0; i < COUNT_OF(keys); i++) {
        h = head_of(STR("13"));
        http_fields_remove(&h.fields, STR("Sec-WebSocket-Key"));
        add(&h, "Sec-WebSocket-Key", keys[i]);
        assert_int_equal(websocket_check_request(&h, &reason), 400);
    }
    assert_true(websocket_is_asked(STR("websocket")));
    assert_true(websocket_is_asked(STR("h2c, WebSocket")));
    assert_false(websocket_is_asked(STR("websockets")));
    assert_false(websocket_is_asked(STR("")));
}

static void test_accept(void **state)
{
    /* RFC 6455 1.3 */
    static const uint8_t sha1[20] = {0xb3, 0x7a, 0x4f, 0x2c, 0xc0, 0x62, 0x4f, 0x16, 0x90, 0xf6,
                                     0x46, 0x06, 0xcf, 0x38, 0x59, 0x45, 0xb2, 0xbe, 0xc4, 0xea};
    char text[WEBSOCKET_CHALLENGE_BYTES];
    char accept[WEBSOCKET_ACCEPT_BYTES];
    websocket_challenge(STR("dGhlIHNhbXBsZSBub25jZQ=="), text);
    assert_memory_equal(text, "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 60);
    websocket_accept(sha1, accept);
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WEBSOCKET_ACCEPT_BYTES);
}

static void test_origin(void **state)
{
    static const struct str others[] = {STR("https://app.example.org")};
    static const struct {
        const char *authority, *origin;
        bool is_allowed;
    } table[] = {
        {"example.com", NULL, true},
        {"example.com", "http://example.com", true},
        {"example.com", "https://example.com", true},
        {"example.com", "https://EXAMPLE.com", true},
        {"example.com:443", "https://example.com", true},
        {"example.com:80", "https://example.com", false},
        {"example.com:8080", "http://example.com:8080", true},
        {"example.com:8080", "http://example.com", false},
        {"[::1]:81", "http://[::1]:81", true},
        {"example.com", "https://app.example.org", true},
        {"example.com", "http://app.example.org", false},
        {"example.com", "https://example.com.evil.test", false},
        {"example.com", "https://evil.test", false},
        {"example.com", "null", false},
        {"example.com", "", false},
        {"example.com", "ftp://example.com", false},
        {"example.com", "https://example.com/", false},
        {"", "https://example.com", false},
    };
    for (unsigned i = 0; i < COUNT_OF(table); i++) {
        struct request_head h = head_of(STR("13"));
        h.authority = str_of(table[i].authority);
        if (table[i].origin) {
            add(&h, "Origin", table[i].origin);
        }
        assert_true(websocket_origin_is_allowed(&h, others, 1) == table[i].is_allowed);
    }
    struct request_head h = head_of(STR("13"));
    add(&h, "Origin", "https://example.com");
    add(&h, "Origin", "https://example.com");
    assert_false(websocket_origin_is_allowed(&h, NULL, 0));
}

static void test_subprotocol(void **state)
{
    static const struct str offered[] = {STR("a.v1"), STR("b.v1")};
    struct request_head h = head_of(STR("13"));
    assert_null(websocket_subprotocol(&h.fields, offered, 2).p);
    add(&h, "Sec-WebSocket-Protocol", "x, B.v1");
    assert_null(websocket_subprotocol(&h.fields, offered, 2).p);
    add(&h, "Sec-WebSocket-Protocol", "b.v1, a.v1");
    assert_true(str_eq(websocket_subprotocol(&h.fields, offered, 2), STR("b.v1")));
}

static void test_negotiation(void **state)
{
    static const struct websocket_deflate_policy thrifty = {false, false};
    static const struct websocket_deflate_policy rich = {true, true};
    static const struct {
        const char *offer;
        const char *with_thrifty; /* NULL: none */
        const char *with_rich;
    } table[] = {
        {"permessage-deflate",
         "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
         "permessage-deflate"},
        {"permessage-deflate; client_max_window_bits",
         "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
         "permessage-deflate"},
        {"permessage-deflate; client_max_window_bits=9; server_max_window_bits=\"10\"",
         "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
         "server_max_window_bits=10",
         "permessage-deflate; server_max_window_bits=10"},
        {"permessage-deflate ; server_no_context_takeover;client_no_context_takeover",
         "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
         "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
        {"permessage-deflate; server_max_window_bits=15",
         "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
         "server_max_window_bits=15",
         "permessage-deflate; server_max_window_bits=15"},
        /* The first that cannot be met gives way to the next. */
        {"permessage-deflate; server_max_window_bits=8, x, permessage-deflate",
         "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
         "permessage-deflate"},
        {"permessage-deflate; client_max_window_bits=7", NULL, NULL},
        {"x-webkit-deflate-frame", NULL, NULL},
        {"permessage-deflate; server_max_window_bits", NULL, NULL},
        {"permessage-deflate; server_max_window_bits=16", NULL, NULL},
        {"permessage-deflate; server_max_window_bits=7", NULL, NULL},
        {"permessage-deflate; server_max_window_bits=09", NULL, NULL},
        {"permessage-deflate; client_max_window_bits=", NULL, NULL},
        {"permessage-deflate; client_max_window_bits=x", NULL, NULL},
        {"permessage-deflate; server_no_context_takeover=1", NULL, NULL},
        {"permessage-deflate; client_no_context_takeover; client_no_context_takeover", NULL, NULL},
        {"permessage-deflate; unknown", NULL, NULL},
        {"permessage-deflate;", NULL, NULL},
        {"", NULL, NULL},
    };
    for (unsigned i = 0; i < COUNT_OF(table); i++) {
        for (int is_rich = 0; is_rich < 2; is_rich++) {
            struct request_head h = head_of(STR("13"));
            const char *want = is_rich ? table[i].with_rich : table[i].with_thrifty;
            struct buf text;
            buf_init(&text, 0);
            add(&h, "Sec-WebSocket-Extensions", table[i].offer);
            struct websocket_deflate d =
                websocket_deflate_agree(&h.fields, is_rich ? &rich : &thrifty);
            assert_true(d.is_on == (want != NULL));
            if (want) {
                websocket_deflate_text(&d, &text);
                assert_true(str_eq(buf_str(&text), str_of(want)));
            }
            buf_done(&text);
        }
    }
}

/* ---- memory ---- */

/* Every allocation failing once: the connection fails with 1011, nothing leaks, the pool is whole.
 */
static void test_memory(void **state)
{
    struct buf b;
    struct websocket_deflater *d;
    unsigned long count = 0;
    buf_init(&b, 0);
    assert_int_equal(websocket_deflater_open(NULL, 15, &d), ERR_OK);
    add_compressed(&b, d, WEBSOCKET_TEXT, STR("some text, some text, some text"));
    websocket_deflater_close(NULL, d);
    for (unsigned long n = 0; n <= count; n++) {
        struct websocket w;
        struct websocket_pool pool = {0};
        char out[64];
        struct buf made;
        websocket_init(&w, &no_takeover, &pool, 1000);
        buf_init(&made, 0);
        mem_test_fail_at(n);
        struct websocket_input in = {b.p, b.n, out, sizeof(out), 0};
        struct websocket_event e;
        enum websocket_event_kind kind = websocket_next(&w, &in, &e);
        enum err err = websocket_deflater_open(&pool, 15, &d);
        if (!err) {
            err = websocket_deflate_bytes(d, STR("text"), true, &made);
            websocket_deflater_close(&pool, d);
        }
        unsigned long made_count = mem_test_fail_at(0);
        if (n == 0) {
            count = made_count;
            assert_true(count >= 5);
        }
        bool is_failed = kind == WEBSOCKET_EVENT_FAILED;
        assert_true(is_failed ? e.code == 1011 : kind == WEBSOCKET_EVENT_DATA);
        assert_true((is_failed || err == ERR_NOMEM) == (n > 0));
        websocket_done(&w);
        buf_done(&made);
        websocket_pool_done(&pool);
    }
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),       cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_invalid_frames), cmocka_unit_test(test_utf8_fails_fast),
        cmocka_unit_test(test_close),          cmocka_unit_test(test_message_limit),
        cmocka_unit_test(test_control_flood),  cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_inflate),        cmocka_unit_test(test_inflate_examples),
        cmocka_unit_test(test_inflate_faults), cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_pool),           cmocka_unit_test(test_deflate_pieces),
        cmocka_unit_test(test_write),          cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_accept),         cmocka_unit_test(test_origin),
        cmocka_unit_test(test_subprotocol),    cmocka_unit_test(test_negotiation),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
