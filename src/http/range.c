/* SPDX-License-Identifier: Apache-2.0 */
#include "http/range.h"

#include <stdio.h>

#include "base/assert.h"

#define OVERLAPS_MAX 2 /* RFC 9110 14.2 calls more of them a sign of a broken or hostile client */

enum spec { SPEC_MALFORMED, SPEC_OUTSIDE, SPEC_INSIDE };

/* Decimal digits; a number past 2^64 - 1 counts as that. */
static bool read_position(struct str s, uint64_t *ret_value)
{
    enum err e = str_to_u64(s, ret_value);
    if (e == ERR_RANGE) {
        *ret_value = UINT64_MAX;
    }
    return e != ERR_SYNTAX;
}

/* One of `5-9`, `5-`, `-5` against `size`. */
static enum spec read_spec(struct str s, uint64_t size, struct http_range *ret_range)
{
    ptrdiff_t dash = str_index(s, '-');
    uint64_t first, last;
    if (dash < 0) {
        return SPEC_MALFORMED;
    }
    struct str left = str_sub(s, 0, (size_t)dash);
    struct str right = str_sub(s, (size_t)dash + 1, s.n);
    if (left.n == 0) {
        if (!read_position(right, &last)) {
            return SPEC_MALFORMED;
        }
        if (last == 0 || size == 0) {
            return SPEC_OUTSIDE;
        }
        first = last < size ? size - last : 0;
        *ret_range = (struct http_range){first, size - first};
        return SPEC_INSIDE;
    }
    if (!read_position(left, &first)) {
        return SPEC_MALFORMED;
    }
    last = UINT64_MAX;
    if (right.n > 0 && (!read_position(right, &last) || last < first)) {
        return SPEC_MALFORMED;
    }
    if (first >= size) {
        return SPEC_OUTSIDE;
    }
    last = last < size ? last : size - 1;
    *ret_range = (struct http_range){first, last - first + 1};
    return SPEC_INSIDE;
}

static bool overlaps_earlier(const struct http_ranges *ranges, const struct http_range *range)
{
    for (unsigned i = 0; i < ranges->n; i++) {
        const struct http_range *other = &ranges->v[i];
        if (range->offset < other->offset + other->n && other->offset < range->offset + range->n) {
            return true;
        }
    }
    return false;
}

enum http_range_result http_range_parse(struct str value, uint64_t size,
                                        struct http_ranges *ret_ranges)
{
    struct http_ranges ranges = {0};
    unsigned specs = 0, overlaps = 0;
    uint64_t left = size; /* what the sum may still take */
    ptrdiff_t equals = str_index(value, '=');
    if (equals < 0 || !str_eq_ci(str_sub(value, 0, (size_t)equals), STR("bytes"))) {
        return HTTP_RANGE_WHOLE;
    }
    struct str rest = str_sub(value, (size_t)equals + 1, value.n), part;
    while (str_split(&rest, ',', &part)) {
        struct http_range range;
        if (++specs > HTTP_RANGES_MAX) {
            return HTTP_RANGE_WHOLE;
        }
        part = str_trim(part);
        if (part.n == 0) {
            continue; /* an empty list element; it counts, so that it cannot be had for nothing */
        }
        enum spec spec = read_spec(part, size, &range);
        if (spec == SPEC_MALFORMED) {
            return HTTP_RANGE_WHOLE;
        }
        if (spec == SPEC_OUTSIDE) {
            continue;
        }
        overlaps += overlaps_earlier(&ranges, &range);
        if (range.n > left || overlaps > OVERLAPS_MAX) {
            return HTTP_RANGE_WHOLE;
        }
        left -= range.n;
        ranges.v[ranges.n++] = range;
    }
    if (ranges.n == 0) {
        /* Nothing but commas is malformed. */
        return str_index(value, '-') < 0 ? HTTP_RANGE_WHOLE : HTTP_RANGE_UNSATISFIABLE;
    }
    *ret_ranges = ranges;
    return HTTP_RANGE_PARTIAL;
}

struct str http_content_range(const struct http_range *range, uint64_t size,
                              char out[HTTP_CONTENT_RANGE_BYTES_MAX])
{
    int n;
    if (range) {
        ASSERT(range->n > 0);
        n = snprintf(out, HTTP_CONTENT_RANGE_BYTES_MAX, "bytes %llu-%llu/%llu",
                     (unsigned long long)range->offset,
                     (unsigned long long)(range->offset + range->n - 1), (unsigned long long)size);
    } else {
        n = snprintf(out, HTTP_CONTENT_RANGE_BYTES_MAX, "bytes */%llu", (unsigned long long)size);
    }
    return str_make(out, (size_t)n);
}

void http_multipart_part(const struct http_multipart *m, const struct http_range *range,
                         bool is_first, struct buf *out)
{
    char text[HTTP_CONTENT_RANGE_BYTES_MAX];
    buf_add_str(out, is_first ? STR("--") : STR("\r\n--"));
    buf_add_str(out, m->boundary);
    if (m->content_type.n > 0) {
        buf_add_str(out, STR("\r\nContent-Type: "));
        buf_add_str(out, m->content_type);
    }
    buf_add_str(out, STR("\r\nContent-Range: "));
    buf_add_str(out, http_content_range(range, m->size, text));
    buf_add_str(out, STR("\r\n\r\n"));
}

void http_multipart_end(const struct http_multipart *m, struct buf *out)
{
    buf_add_str(out, STR("\r\n--"));
    buf_add_str(out, m->boundary);
    buf_add_str(out, STR("--\r\n"));
}

uint64_t http_multipart_bytes(const struct http_multipart *m, const struct http_ranges *ranges)
{
    char text[HTTP_CONTENT_RANGE_BYTES_MAX];
    uint64_t n = 0;
    size_t fixed = sizeof("\r\n--\r\nContent-Range: \r\n\r\n") - 1 + m->boundary.n;
    if (m->content_type.n > 0) {
        fixed += sizeof("\r\nContent-Type: ") - 1 + m->content_type.n;
    }
    for (unsigned i = 0; i < ranges->n; i++) {
        n += fixed + http_content_range(&ranges->v[i], m->size, text).n + ranges->v[i].n;
    }
    /* The first part has no CR LF before it. */
    return n - (ranges->n ? 2 : 0) + sizeof("\r\n----\r\n") - 1 + m->boundary.n;
}
