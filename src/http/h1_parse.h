/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.x request head (RFC 9112), strict: what two parsers could read in two ways is
 * refused. Everything returned is a view of the input. Framing of the body is decided here and
 * nowhere else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "http/head.h"

/* Why a head was refused: id, name of the counter, HTTP status, error. After any of them an HTTP/1
 * connection ends once the answer is sent; an HTTP/2 stream is reset for what is malformed. */
#define H1_REJECT_TABLE(X)                                                                         \
    X(H1_REJECT_NONE, "none", 0, ERR_OK)                                                           \
    X(H1_REJECT_METHOD, "method", 400, ERR_SYNTAX)                                                 \
    X(H1_REJECT_METHOD_LONG, "method_long", 501, ERR_UNSUPPORTED)                                  \
    X(H1_REJECT_TARGET, "target", 400, ERR_SYNTAX)                                                 \
    X(H1_REJECT_TARGET_FORM, "target_form", 400, ERR_SYNTAX)                                       \
    X(H1_REJECT_TARGET_LONG, "target_long", 414, ERR_LIMIT)                                        \
    X(H1_REJECT_AUTHORITY, "authority", 400, ERR_SYNTAX)                                           \
    X(H1_REJECT_VERSION, "version", 400, ERR_SYNTAX)                                               \
    X(H1_REJECT_VERSION_UNSUPPORTED, "version_unsupported", 505, ERR_UNSUPPORTED)                  \
    X(H1_REJECT_LINE_END, "line_end", 400, ERR_SYNTAX)                                             \
    X(H1_REJECT_FIELD_NAME, "field_name", 400, ERR_SYNTAX)                                         \
    X(H1_REJECT_FIELD_NAME_SPACE, "field_name_space", 400, ERR_SYNTAX)                             \
    X(H1_REJECT_FIELD_FOLD, "field_fold", 400, ERR_SYNTAX)                                         \
    X(H1_REJECT_FIELD_VALUE, "field_value", 400, ERR_SYNTAX)                                       \
    X(H1_REJECT_FIELD_COUNT, "field_count", 431, ERR_LIMIT)                                        \
    X(H1_REJECT_HEAD_LONG, "head_long", 431, ERR_LIMIT)                                            \
    X(H1_REJECT_HOST_MISSING, "host_missing", 400, ERR_SYNTAX)                                     \
    X(H1_REJECT_HOST_DUPLICATE, "host_duplicate", 400, ERR_SYNTAX)                                 \
    X(H1_REJECT_HOST_INVALID, "host_invalid", 400, ERR_SYNTAX)                                     \
    X(H1_REJECT_LENGTH, "content_length", 400, ERR_SYNTAX)                                         \
    X(H1_REJECT_LENGTH_DUPLICATE, "content_length_duplicate", 400, ERR_SYNTAX)                     \
    X(H1_REJECT_LENGTH_AND_CODING, "content_length_and_coding", 400, ERR_SYNTAX)                   \
    X(H1_REJECT_CODING_VERSION, "transfer_coding_version", 400, ERR_SYNTAX)                        \
    X(H1_REJECT_CODING, "transfer_coding", 400, ERR_SYNTAX)                                        \
    X(H1_REJECT_BODY_UNEXPECTED, "body_unexpected", 400, ERR_SYNTAX)                               \
    X(H1_REJECT_EXPECT, "expect", 417, ERR_UNSUPPORTED)                                            \
    X(H1_REJECT_MESSAGE, "h2_message", 400, ERR_SYNTAX)                                            \
    X(H1_REJECT_CAPSULE, "capsule", 400, ERR_SYNTAX)                                               \
    X(H1_REJECT_DATAGRAM, "h3_datagram", 400, ERR_SYNTAX)                                          \
    X(H1_REJECT_STATUS, "status_line", 502, ERR_SYNTAX)

enum h1_reject {
#define X(id, name, status, err) id,
    H1_REJECT_TABLE(X)
#undef X
        H1_REJECT_COUNT
};

struct str h1_reject_name(enum h1_reject reason);
uint16_t h1_reject_status(enum h1_reject reason);

struct h1_limits {
    uint32_t head_bytes_max;   /* request line, fields and the empty line; past it 431 */
    uint32_t target_bytes_max; /* past it 414 */
    uint32_t field_count_max;  /* past it, or past the caller's array, 431 */
};

/* 32 KiB, 8 KiB, 100 fields. */
struct h1_limits h1_limits_default(void);

enum h1_framing {
    H1_FRAMING_NONE,    /* no body */
    H1_FRAMING_LENGTH,  /* content_length bytes, may be 0 */
    H1_FRAMING_CHUNKED, /* see h1_chunked.h */
    H1_FRAMING_CLOSE    /* of a response: until the connection ends */
};

struct h1_request {
    /* In: head.fields initialised by the caller with http_fields_init. Out: everything. */
    struct request_head head;
    enum h1_framing framing;
    uint64_t content_length;  /* for H1_FRAMING_LENGTH, at most INT64_MAX */
    bool keep_alive;          /* the connection may be used again after this request */
    bool expect_continue;     /* waits for 100 before it sends a body that is not empty */
    bool upgrade;             /* 1.1, Upgrade given and named by Connection */
    bool connection_names;    /* Connection names fields beyond those which are always dropped */
    struct str upgrade_value; /* the Upgrade field when `upgrade` */
    enum h1_reject reject;    /* set with every error but ERR_AGAIN */
};

/*
 * Parses one request head at the start of the `n` bytes at `p`; never reads past them.
 * `scanned_before`: the `n` of the last call for this head that returned ERR_AGAIN, 0 at first; it
 * only saves time. Errors in bytes seen later may be reported later, but the result of a head does
 * not depend on how it was cut.
 * Returns the length of the head, an empty line of CR LF before it included; ERR_AGAIN when the
 * head is not complete; otherwise the error of `ret_request->reject`. `ret_request` is complete on
 * success only; after an error the parts of the request line that were read are set, the others
 * empty, so that a log can show them.
 */
ptrdiff_t h1_parse_request(const char *p, size_t n, size_t scanned_before,
                           const struct h1_limits *limits,
                           struct h1_request *ret_request) MUST_CHECK;

/* The vector unit that scans names, values and targets. The best one is chosen before main(). */
enum h1_simd { H1_SIMD_SCALAR, H1_SIMD_SSE42, H1_SIMD_AVX2, H1_SIMD_NEON, H1_SIMD_COUNT };

/* For tests and benchmarks: switches; false when this machine lacks it. Not thread-safe. */
bool h1_simd_select(enum h1_simd simd);
enum h1_simd h1_simd_best(void);
const char *h1_simd_name(enum h1_simd simd);
