/* SPDX-License-Identifier: Apache-2.0 */
/* Whole or cut into pieces of any size: same data, same trailers, same error, same end. */
#include "base/assert.h"
#include "http/h1_chunked.h"

struct outcome {
    struct buf data;
    struct buf trailers;
    enum err e;
    size_t used;
};

static void run(const char *p, size_t n, size_t step, struct outcome *o)
{
    struct h1_chunked d;
    buf_init(&o->data, 0);
    buf_init(&o->trailers, 0);
    o->e = ERR_OK;
    o->used = 0;
    h1_chunked_init(&d, &o->trailers, 256);
    while (o->used < n && !h1_chunked_is_done(&d) && o->e == ERR_OK) {
        size_t end = n - o->used > step ? o->used + step : n;
        while (o->used < end && !h1_chunked_is_done(&d)) {
            size_t used;
            struct str span;
            o->e = h1_chunked_feed(&d, p + o->used, end - o->used, &used, &span);
            if (o->e != ERR_OK) {
                break;
            }
            ASSERT(used > 0 && used <= end - o->used);
            buf_add_str(&o->data, span);
            o->used += used;
        }
    }
    if (o->e != ERR_OK) {
        o->used = 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct outcome whole, cut;
    if (n < 1) {
        return 0;
    }
    run((const char *)data + 1, n - 1, n, &whole);
    run((const char *)data + 1, n - 1, (size_t)data[0] % 17 + 1, &cut);
    ASSERT(whole.e == cut.e);
    ASSERT(whole.used == cut.used);
    ASSERT(str_eq(buf_str(&whole.data), buf_str(&cut.data)));
    if (whole.e == ERR_OK) {
        ASSERT(str_eq(buf_str(&whole.trailers), buf_str(&cut.trailers)));
    }
    buf_done(&whole.data);
    buf_done(&whole.trailers);
    buf_done(&cut.data);
    buf_done(&cut.trailers);
    return 0;
}
