/* SPDX-License-Identifier: Apache-2.0 */
/* Byte ranges (RFC 9110 section 14) and multipart/byteranges (14.6). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define HTTP_RANGES_MAX 16
#define HTTP_CONTENT_RANGE_BYTES_MAX 80

struct http_range {
    uint64_t offset;
    uint64_t n; /* at least 1 */
};

struct http_ranges {
    unsigned n;
    struct http_range v[HTTP_RANGES_MAX]; /* in the order asked for */
};

enum http_range_result {
    HTTP_RANGE_WHOLE,        /* answer 200 as if there were no Range */
    HTTP_RANGE_PARTIAL,      /* 206 with ret_ranges->n >= 1 */
    HTTP_RANGE_UNSATISFIABLE /* 416 */
};

/*
 * The value of a Range field against a representation of `size` bytes. WHOLE for another unit, a
 * malformed set, more than HTTP_RANGES_MAX ranges, more than two that overlap an earlier one, and
 * ranges that together are longer than the whole: sending all is cheaper than what they cost.
 */
enum http_range_result http_range_parse(struct str value, uint64_t size,
                                        struct http_ranges *ret_ranges);

/* The value of Content-Range, for a part or, with `range` NULL, for 416. A view of `out`. */
struct str http_content_range(const struct http_range *range, uint64_t size,
                              char out[HTTP_CONTENT_RANGE_BYTES_MAX]);

/* A multipart/byteranges body. The boundary is the caller's (random, at most 70 characters, RFC
 * 2046 5.1.1); `content_type` may be empty. */
struct http_multipart {
    struct str boundary;
    struct str content_type;
    uint64_t size; /* of the whole representation */
};

/* Appends what stands before the data of a part. `is_first`: no CR LF before it. */
void http_multipart_part(const struct http_multipart *m, const struct http_range *range,
                         bool is_first, struct buf *out);

/* Appends what stands after the last part. */
void http_multipart_end(const struct http_multipart *m, struct buf *out);

/* The length of the whole body: parts, their heads and the end. */
uint64_t http_multipart_bytes(const struct http_multipart *m, const struct http_ranges *ranges);
