/* SPDX-License-Identifier: Apache-2.0 */
/*
 * permessage-deflate (RFC 7692): what is agreed on, and the streams that do it. The streams of
 * connections that keep no context between messages come from a pool, so that a connection that is
 * silent owns none.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/field.h"

/* What was agreed on. The window of the client may always be the largest: a smaller one would save
 * memory only where contexts are kept, and what zlib makes of a client that breaks its word depends
 * on how much memory the output is given. */
struct websocket_deflate {
    bool is_on;
    bool server_no_context_takeover;
    bool client_no_context_takeover;
    bool has_server_bits; /* the client asked, so the answer says it */
    uint8_t server_bits;  /* 9 to 15; zlib cannot make windows of 8 */
};

/* What the server would like. */
struct websocket_deflate_policy {
    bool server_context_takeover; /* keep it where the client does not object: about 260 KB */
    bool client_context_takeover; /* about 40 KB */
};

/* Takes the first offer of Sec-WebSocket-Extensions that can be met, or leaves `is_on` false. An
 * offer with a parameter that is unknown, given twice or malformed is none. */
struct websocket_deflate websocket_deflate_agree(const struct http_fields *fields,
                                                 const struct websocket_deflate_policy *policy);

/* The value of Sec-WebSocket-Extensions in the answer. */
void websocket_deflate_text(const struct websocket_deflate *d, struct buf *out);

struct websocket_inflater;
struct websocket_deflater;

#define WEBSOCKET_POOL_COUNT 4

/* Streams with full windows that nobody uses now. One loop's. All zero is empty. */
struct websocket_pool {
    struct websocket_inflater *inflaters[WEBSOCKET_POOL_COUNT];
    struct websocket_deflater *deflaters[WEBSOCKET_POOL_COUNT];
    unsigned inflater_count;
    unsigned deflater_count;
};

void websocket_pool_done(struct websocket_pool *pool);

/* `pool` may be NULL. ERR_NOMEM. */
enum err websocket_inflater_open(struct websocket_pool *pool,
                                 struct websocket_inflater **ret_inflater) MUST_CHECK;

/* Back to the pool where there is room; NULL is a no-op. */
void websocket_inflater_close(struct websocket_pool *pool, struct websocket_inflater *i);

struct websocket_inflate_step {
    const char *in;
    size_t in_bytes;  /* after the call: left */
    char *out;        /* after the call: behind what was made */
    size_t out_bytes; /* after the call: left */
};

/* Makes what it can. When `out_bytes` is 0 afterwards there may be more without further input.
 * ERR_SYNTAX: not deflate. ERR_NOMEM. */
enum err websocket_inflate(struct websocket_inflater *i,
                           struct websocket_inflate_step *step) MUST_CHECK;

/* What came so far ends with a block. */
bool websocket_inflater_is_at_end(const struct websocket_inflater *i);

/* As for inflaters; `bits`: of the window, 9 to 15. */
enum err websocket_deflater_open(struct websocket_pool *pool, unsigned bits,
                                 struct websocket_deflater **ret_deflater) MUST_CHECK;
void websocket_deflater_close(struct websocket_pool *pool, struct websocket_deflater *d);

/* Appends what is ready of the compressed message to `out`, at the end of the message all of it,
 * in the form of RFC 7692 7.2.1. ERR_NOMEM. */
enum err websocket_deflate_bytes(struct websocket_deflater *d, struct str bytes, bool is_last,
                                 struct buf *out) MUST_CHECK;
