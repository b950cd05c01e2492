/* SPDX-License-Identifier: Apache-2.0 */
/* The WebSocket codec by itself, by CPU time: masks taken off and text checked in bytes per second,
 * frames of usual sizes read and written, messages inflated and deflated. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "http/websocket.h"
#include "http/websocket_mask_int.h"

#define BYTES 65536
#define SECONDS 0.3
#define BATCH_BYTES_MAX 65536

static char from[BYTES], to[BYTES];

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure_mask(enum h1_simd simd)
{
    websocket_mask_fn *mask = websocket_mask_of(simd);
    if (!mask) {
        return;
    }
    static const size_t sizes[] = {125, 1400, 16384, BYTES};
    printf("unmask %-8s", h1_simd_name(simd));
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        double start = now_s(), end = start;
        uint64_t bytes = 0;
        while (end - start < SECONDS) {
            for (int k = 0; k < 100; k++) {
                mask(to, from, sizes[i], 0x9a123456u + (uint32_t)k);
                bytes += sizes[i];
            }
            end = now_s();
        }
        printf("  %6zu B: %5.1f GB/s", sizes[i], (double)bytes / (end - start) / 1e9);
    }
    printf("\n");
}

static void measure_utf8(const char *name, const char *sample)
{
    size_t n = strlen(sample), bytes = BYTES / n * n;
    for (size_t i = 0; i < bytes; i++) {
        from[i] = sample[i % n];
    }
    double start = now_s(), end = start;
    uint64_t count = 0;
    while (end - start < SECONDS) {
        ASSERT(utf8_is_valid(from, bytes));
        count++;
        end = now_s();
    }
    printf("utf-8  %-8s  %5.2f GB/s\n", name, (double)(count * bytes) / (end - start) / 1e9);
}

/* As many masked frames of `n` bytes as make a receive, read and answered with the same. */
static void measure_frames(size_t n, enum websocket_opcode opcode)
{
    static const struct websocket_deflate plain = {.server_bits = 15};
    struct websocket w;
    struct buf in, out;
    size_t frames = 0;
    buf_init(&in, 0);
    buf_init(&out, 0);
    memset(from, 'x', n);
    while (in.n + n + WEBSOCKET_HEAD_BYTES_MAX <= BATCH_BYTES_MAX) {
        char head[WEBSOCKET_SENT_HEAD_BYTES_MAX];
        const struct websocket_frame frame = {opcode, true, false, n};
        size_t head_bytes = websocket_write_head(&frame, head);
        head[1] = (char)((uint8_t)head[1] | 0x80);
        buf_add(&in, head, head_bytes);
        buf_add(&in, "\1\2\3\4", 4);
        buf_add(&in, from, n);
        websocket_mask(in.p + in.n - n, in.p + in.n - n, n, 0x04030201u);
        frames++;
    }
    websocket_init(&w, &plain, NULL, WEBSOCKET_MESSAGE_BYTES_MAX);
    double start = now_s(), end = start;
    uint64_t count = 0;
    while (end - start < SECONDS) {
        struct websocket_input input = {in.p, in.n, to, sizeof(to), 0};
        struct websocket_event e;
        buf_clear(&out);
        while (websocket_next(&w, &input, &e) == WEBSOCKET_EVENT_DATA) {
            char head[WEBSOCKET_SENT_HEAD_BYTES_MAX];
            const struct websocket_frame frame = {opcode, e.is_last, false, e.bytes.n};
            buf_add(&out, head, websocket_write_head(&frame, head));
            buf_add_str(&out, e.bytes);
        }
        count += frames;
        end = now_s();
    }
    double rate = (double)count / (end - start);
    printf("frames %-6s %6zu B: %5.1f million/s, %5.2f GB/s\n",
           opcode == WEBSOCKET_TEXT ? "text" : "binary", n, rate / 1e6, rate * (double)n / 1e9);
    websocket_done(&w);
    buf_done(&in);
    buf_done(&out);
}

static void measure_deflate(size_t n)
{
    struct websocket_pool pool = {0};
    struct buf coded;
    buf_init(&coded, 0);
    for (size_t i = 0; i < n; i++) {
        from[i] = "{\"id\": 1, \"name\": \"value\", \"x\": 2}, "[(i * 7 + i / 37) % 36];
    }
    double start = now_s(), end = start;
    uint64_t count = 0;
    while (end - start < SECONDS) {
        struct websocket_deflater *d;
        struct websocket_inflater *i;
        buf_clear(&coded);
        ASSERT(websocket_deflater_open(&pool, 15, &d) == ERR_OK);
        ASSERT(websocket_deflate_bytes(d, str_make(from, n), true, &coded) == ERR_OK);
        websocket_deflater_close(&pool, d);
        struct websocket_inflate_step step = {coded.p, coded.n, to, sizeof(to)};
        ASSERT(websocket_inflater_open(&pool, &i) == ERR_OK);
        ASSERT(websocket_inflate(i, &step) == ERR_OK);
        websocket_inflater_close(&pool, i);
        count++;
        end = now_s();
    }
    printf("deflate and inflate %6zu B: %6.1f thousand/s\n", n,
           (double)count / (end - start) / 1e3);
    buf_done(&coded);
    websocket_pool_done(&pool);
}

int main(void)
{
    for (unsigned simd = 0; simd < H1_SIMD_COUNT; simd++) {
        measure_mask((enum h1_simd)simd);
    }
    measure_utf8("ASCII", "hello ");
    measure_utf8("Greek", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5 ");
    measure_frames(125, WEBSOCKET_BINARY);
    measure_frames(125, WEBSOCKET_TEXT);
    measure_frames(16384, WEBSOCKET_BINARY);
    measure_frames(16384, WEBSOCKET_TEXT);
    measure_deflate(125);
    measure_deflate(16384);
    return 0;
}
