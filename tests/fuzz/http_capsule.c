/* SPDX-License-Identifier: Apache-2.0 */
/* Whole or cut into pieces of any size: the same datagrams, the same ones skipped, the same end;
 * and never more is kept than one datagram. */
#include "base/assert.h"
#include "http/capsule.h"

struct outcome {
    struct buf text;
    unsigned skipped;
    bool is_whole;
};

static void run(struct str bytes, size_t step, struct outcome *o)
{
    struct capsule_reader r;
    capsule_reader_init(&r);
    buf_init(&o->text, 0);
    o->skipped = 0;
    while (bytes.n) {
        struct str piece = str_sub(bytes, 0, step), datagram;
        enum err e;
        bytes = str_sub(bytes, step, bytes.n);
        while ((e = capsule_next(&r, &piece, &datagram)) == ERR_OK || e == ERR_LIMIT) {
            o->skipped += e == ERR_LIMIT;
            if (!e) {
                char head[CAPSULE_HEAD_BYTES_MAX];
                ASSERT(datagram.n <= CAPSULE_DATAGRAM_BYTES_MAX);
                buf_add(&o->text, head, capsule_write_head(datagram.n, head));
                buf_add_str(&o->text, datagram);
            }
        }
        ASSERT(e == ERR_AGAIN && piece.n == 0);
        ASSERT(r.kept.n <= CAPSULE_DATAGRAM_BYTES_MAX);
    }
    o->is_whole = capsule_is_whole(&r);
    capsule_reader_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct outcome whole, cut, again;
    if (n < 2) {
        return 0;
    }
    struct str bytes = str_make((const char *)data + 1, n - 1);
    run(bytes, bytes.n, &whole);
    run(bytes, (size_t)data[0] % 33 + 1, &cut);
    ASSERT(whole.skipped == cut.skipped && whole.is_whole == cut.is_whole);
    ASSERT(str_eq(buf_str(&whole.text), buf_str(&cut.text)));
    run(buf_str(&whole.text), n, &again); /* what was written is read as what it was */
    ASSERT(str_eq(buf_str(&whole.text), buf_str(&again.text)));
    ASSERT(again.is_whole && again.skipped == 0);
    buf_done(&whole.text);
    buf_done(&cut.text);
    buf_done(&again.text);
    return 0;
}
