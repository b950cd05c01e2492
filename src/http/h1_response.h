/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.x response head (RFC 9112), as strict as that of requests: a program behind us that
 * could be read in two ways is not passed on. Everything returned is a view of the input. How the
 * body ends is decided here and nowhere else.
 */
#pragma once

#include "http/h1_parse.h"

struct h1_response {
    /* In: head.fields initialised by the caller with http_fields_init. Out: everything. */
    struct response_head head;
    uint8_t version; /* enum http_version, 10 or 11 */
    enum h1_framing framing;
    uint64_t content_length; /* for H1_FRAMING_LENGTH; else what was declared for a body that is
                              * not sent, or H1_LENGTH_NONE */
    bool keep_alive;         /* the connection may be used again after this response */
    struct str upgrade;      /* of a 101: the protocol that follows; else empty */
    enum h1_reject reject;   /* set with every error but ERR_AGAIN */
};

#define H1_LENGTH_NONE UINT64_MAX

/*
 * Parses one response head at the start of the `n` bytes at `p`, the answer to a request with
 * `method`; never reads past them. `scanned_before` and the result as for h1_parse_request; of
 * `limits` only the size of the head and the number of fields count.
 * A head that RFC 9112 6.3 lets two parsers read in two ways is an error: both Content-Length and
 * Transfer-Encoding, either of them twice, a coding other than `chunked` or on HTTP/1.0 or on an
 * answer that has no content, a length that is no number, a 101 that names no protocol.
 */
ptrdiff_t h1_parse_response(const char *p, size_t n, size_t scanned_before,
                            const struct h1_limits *limits, enum http_method method,
                            struct h1_response *ret_response) MUST_CHECK;
