/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header blocks as they come, several of one connection: the first byte of each piece of input says
 * how long it is. What can be read is encoded anew with a table of our own, and must come out of
 * another decoder as it was.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "http/hpack_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct pass {
    struct buf text; /* the fields, with their lengths */
    struct hpack_encoder *encoder;
    struct buf *out;
};

static void on_field(void *context, const struct hpack_field *f)
{
    struct pass *pass = context;
    buf_printf(&pass->text, "%zu,%zu:", f->name.n, f->value.n);
    buf_add_str(&pass->text, f->name);
    buf_add_str(&pass->text, f->value);
    if (f->id != HTTP_FIELD_OTHER) {
        ASSERT(str_eq(f->name, http_field_name((enum http_field_id)f->id)));
    }
    if (f->note) {
        *f->note = 1;
    }
    if (pass->encoder) {
        hpack_encode(pass->encoder, pass->out, f->id, f->name, f->value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct hpack_decoder reader, back;
    struct hpack_encoder encoder;
    struct buf scratch;
    buf_init(&scratch, 0);
    hpack_decoder_init(&reader);
    hpack_decoder_init(&back);
    hpack_encoder_init(&encoder);
    enum err e = ERR_OK;
    while (n > 1 && !e) {
        size_t size = p[0] < n - 1 ? p[0] : n - 1;
        uint8_t *block = malloc(size ? size : 1);
        struct buf out;
        struct pass first = {.encoder = &encoder, .out = &out}, second = {0};
        memcpy(block, p + 1, size);
        p += 1 + size;
        n -= 1 + size;
        buf_init(&out, 0);
        buf_init(&first.text, 0);
        buf_init(&second.text, 0);
        if (size && block[0] % 16 == 15) {
            hpack_encoder_resize(&encoder, (uint32_t)block[size - 1] * 20);
        }
        hpack_encode_start(&encoder, &out);
        e = hpack_decode(&reader, block, size, &scratch, on_field, &first);
        free(block);
        ASSERT(reader.table.cost <= HPACK_TABLE_BYTES && encoder.table.cost <= HPACK_TABLE_BYTES);
        /* Also what was read before a fault was encoded, and the tables must stay alike. */
        enum err again =
            hpack_decode(&back, (const uint8_t *)out.p, out.n, &scratch, on_field, &second);
        ASSERT(again == ERR_OK);
        ASSERT(str_eq(buf_str(&first.text), buf_str(&second.text)));
        buf_done(&out);
        buf_done(&first.text);
        buf_done(&second.text);
    }
    hpack_decoder_done(&reader);
    hpack_decoder_done(&back);
    hpack_encoder_done(&encoder);
    buf_done(&scratch);
    return 0;
}
