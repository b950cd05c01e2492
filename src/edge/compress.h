/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content codings made while a response is sent: gzip (RFC 1952), brotli (RFC 7932) and zstd
 * (RFC 8878, window as RFC 9659 bounds it) behind one stream. No I/O; one stream belongs to one
 * exchange.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum compress_coding {
    COMPRESS_GZIP,
    COMPRESS_BROTLI,
    COMPRESS_ZSTD,
};

enum compress_step {
    COMPRESS_FEED,  /* take the input, write what is ready */
    COMPRESS_FLUSH, /* take the input, write so much that the peer can decode all of it */
    COMPRESS_END,   /* take the input and finish the stream */
};

struct compress_options {
    enum compress_coding coding;
    int level;           /* clamped to what the coding has */
    uint64_t body_bytes; /* if known, else 0; small bodies get small windows */
};

struct compress;

/* ERR_NOMEM. */
enum err compress_create(const struct compress_options *settings,
                         struct compress **ret_compress) MUST_CHECK;
void compress_destroy(struct compress *compress);

/* Moves the stream on: consumes from the front of `*input` and appends at most `out_bytes_max`
 * (at least 64) bytes to `out`. `*ret_is_done` is true when the input is used up and the step is
 * complete; otherwise call again with the same step once there is room. ERR_CLOSED after the end,
 * ERR_NOMEM, ERR_LIMIT (`out` is at its own bound); after an error only destroy is allowed. */
enum err compress_run(struct compress *compress, enum compress_step step, struct str *input,
                      size_t out_bytes_max, struct buf *out, bool *ret_is_done) MUST_CHECK;

/* The level for content made on the fly: full up to 300 permille of CPU load, the lowest from 900
 * on, a straight line between. gzip and zstd 6 to 1, brotli 5 to 1. */
int compress_level(enum compress_coding coding, unsigned load_permille);

/* The token of Content-Encoding: "gzip", "br", "zstd". */
struct str compress_coding_name(enum compress_coding coding);
