/* SPDX-License-Identifier: Apache-2.0 */
#include "http/capsule.h"

#include "base/assert.h"

#define CAPSULE_DATAGRAM 0 /* RFC 9297 3.5 */

void capsule_reader_init(struct capsule_reader *r)
{
    *r = (struct capsule_reader){.left = 0};
    buf_init(&r->kept, 0);
}

void capsule_reader_done(struct capsule_reader *r)
{
    buf_done(&r->kept);
}

static void capsule_end(struct capsule_reader *r)
{
    r->head_bytes = 0;
    r->is_in_value = false;
}

static struct str capsule_take(struct str *in, size_t n)
{
    struct str taken = str_make(in->p, n);
    *in = str_make(in->p + n, in->n - n);
    return taken;
}

/* Reads kind and length. ERR_AGAIN: the input ended before; ERR_LIMIT: as of capsule_next. */
static enum err capsule_read_head(struct capsule_reader *r, struct str *in)
{
    while (in->n) {
        ASSERT(r->head_bytes < sizeof(r->head));
        r->head[r->head_bytes++] = capsule_take(in, 1).p[0];
        uint64_t kind;
        struct str head = str_make(r->head, r->head_bytes);
        size_t kind_bytes = varint_read(head, &kind);
        if (kind_bytes && varint_read(str_sub(head, kind_bytes, head.n), &r->left)) {
            bool is_long = r->left > CAPSULE_DATAGRAM_BYTES_MAX;
            r->is_in_value = true;
            r->is_datagram = kind == CAPSULE_DATAGRAM && !is_long;
            return kind == CAPSULE_DATAGRAM && is_long ? ERR_LIMIT : ERR_OK;
        }
    }
    return ERR_AGAIN;
}

/* Reads a datagram, or a part of it: ERR_AGAIN. */
static enum err capsule_read_datagram(struct capsule_reader *r, struct str *in,
                                      struct str *ret_datagram)
{
    struct str part = capsule_take(in, in->n < r->left ? in->n : (size_t)r->left);
    r->left -= part.n;
    if (r->left == 0 && r->kept.n == 0) {
        *ret_datagram = part;
        capsule_end(r);
        return ERR_OK;
    }
    buf_add_str(&r->kept, part);
    if (r->kept.is_failed) {
        return ERR_NOMEM;
    }
    if (r->left) {
        return ERR_AGAIN;
    }
    *ret_datagram = buf_str(&r->kept);
    r->is_given = true;
    capsule_end(r);
    return ERR_OK;
}

enum err capsule_next(struct capsule_reader *r, struct str *in, struct str *ret_datagram)
{
    if (r->is_given) {
        r->is_given = false;
        buf_done(&r->kept);
        buf_init(&r->kept, 0);
    }
    for (;;) {
        if (!r->is_in_value) {
            enum err e = capsule_read_head(r, in);
            if (e) {
                return e;
            }
        }
        if (r->is_datagram) {
            return capsule_read_datagram(r, in, ret_datagram);
        }
        r->left -= capsule_take(in, in->n < r->left ? in->n : (size_t)r->left).n;
        if (r->left) {
            return ERR_AGAIN;
        }
        capsule_end(r);
    }
}

size_t capsule_write_head(size_t n, char out[CAPSULE_HEAD_BYTES_MAX])
{
    size_t used = varint_write(CAPSULE_DATAGRAM, out);
    return used + varint_write(n, out + used);
}
