/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capsule protocol (RFC 9297 section 3), as far as datagrams need it: a reader that gives the
 * datagrams out of a stream and skips every other capsule, and the head to write before one. The
 * result does not depend on how the bytes were cut. A datagram that comes in one piece is not
 * copied; what was gathered is freed as soon as it was given.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/varint.h"

/* A UDP payload and what stands before it (RFC 9298); longer ones are skipped. */
#define CAPSULE_DATAGRAM_BYTES_MAX 65535u
#define CAPSULE_HEAD_BYTES_MAX (2 * VARINT_BYTES_MAX)

/* Embedded by the owner; treat as opaque. */
struct capsule_reader {
    struct buf kept; /* of a datagram that came in pieces */
    uint64_t left;   /* of the value */
    uint8_t head_bytes;
    bool is_in_value; /* the head is complete */
    bool is_datagram; /* and its value is wanted */
    bool is_given;    /* what is kept was given in the last call */
    char head[CAPSULE_HEAD_BYTES_MAX];
};

void capsule_reader_init(struct capsule_reader *r);
void capsule_reader_done(struct capsule_reader *r);

/* Reads on in `in`, which becomes what is left of it. ERR_OK: `ret_datagram` is one, a view that
 * holds until the next call or the end of the input. ERR_LIMIT: one that is too long is skipped,
 * call again. ERR_AGAIN: all is used. ERR_NOMEM: the stream cannot be read on. */
enum err capsule_next(struct capsule_reader *r, struct str *in,
                      struct str *ret_datagram) MUST_CHECK;

/* Whether the stream may end here (RFC 9297 3.3). */
static inline bool capsule_is_whole(const struct capsule_reader *r)
{
    return r->head_bytes == 0;
}

/* Writes what goes before a datagram of `n` bytes; returns how many bytes. */
size_t capsule_write_head(size_t n, char out[CAPSULE_HEAD_BYTES_MAX]);
