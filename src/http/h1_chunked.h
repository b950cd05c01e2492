/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunked transfer coding (RFC 9112 section 7): an incremental strict decoder that gives the
 * data back in place, and the encoder. The result does not depend on how the bytes were cut.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/field.h"

#define H1_CHUNK_EXTENSION_BYTES_MAX 1024U   /* of one chunk */
#define H1_CHUNK_EXTENSIONS_BYTES_MAX 16384U /* of one body */
#define H1_CHUNK_TRAILERS_BYTES_MAX 8192U    /* default; names, values and line ends */
#define H1_CHUNK_HEAD_BYTES 20               /* room for the head of a chunk */

enum h1_chunked_state {
    H1_CHUNKED_SIZE,
    H1_CHUNKED_EXTENSION,
    H1_CHUNKED_SIZE_LF,
    H1_CHUNKED_DATA,
    H1_CHUNKED_DATA_CR,
    H1_CHUNKED_DATA_LF,
    H1_CHUNKED_TRAILER,
    H1_CHUNKED_END_LF,
    H1_CHUNKED_DONE,
    H1_CHUNKED_FAILED
};

/* Embedded by the connection; treat as opaque. */
struct h1_chunked {
    uint64_t remaining;       /* of the size read so far, then of the data */
    struct buf *trailers;     /* the caller's: raw trailer lines */
    size_t line_start;        /* of the trailer line in progress */
    uint32_t extension_bytes; /* of this chunk */
    uint32_t extensions_bytes;
    uint32_t trailers_bytes_max;
    uint8_t digits;
    uint8_t extension_state;
    uint8_t state; /* enum h1_chunked_state */
};

/* `trailers`: an empty buffer that takes the trailer section and lives as long as the decoder; no
 * memory is used while there are none. `trailers_bytes_max` 0: the default. */
void h1_chunked_init(struct h1_chunked *d, struct buf *trailers, uint32_t trailers_bytes_max);

/*
 * Reads from the `n` bytes at `p`. `ret_used`: bytes taken, all of them unless body data was found
 * or the body ended; `ret_data`: body data within them, possibly empty. Call again with the rest
 * until it is empty or h1_chunked_is_done.
 * ERR_SYNTAX: grammar, or a forbidden name in the trailers. ERR_RANGE: size with more than 16
 * digits or above INT64_MAX. ERR_LIMIT: extensions or trailers. ERR_NOMEM. After an error every
 * further call fails; the connection cannot be used again.
 */
enum err h1_chunked_feed(struct h1_chunked *d, const char *p, size_t n, size_t *ret_used,
                         struct str *ret_data) MUST_CHECK;

static inline bool h1_chunked_is_done(const struct h1_chunked *d)
{
    return d->state == H1_CHUNKED_DONE;
}

/* After the end: appends the trailers to `fields`, as views into the buffer of the caller.
 * ERR_LIMIT when they do not fit. */
enum err h1_chunked_trailers(const struct h1_chunked *d, struct http_fields *fields) MUST_CHECK;

/* Writes the line before `size` > 0 bytes of data into `out` and returns its length. The data is
 * followed by CR LF. */
size_t h1_chunk_head(uint64_t size, char out[H1_CHUNK_HEAD_BYTES]);

/* Appends the last chunk and the trailers (NULL: none). ERR_SYNTAX for a name or value that must
 * not be sent, with nothing appended; ERR_NOMEM. */
enum err h1_chunk_end(struct buf *out, const struct http_fields *trailers) MUST_CHECK;
