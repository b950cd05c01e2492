/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges lie within the representation, are not empty, and together are no longer than it; the
 * computed length of a multipart body is the length of the body. */
#include "base/assert.h"
#include "http/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct http_ranges ranges;
    uint64_t size;
    if (n < sizeof(size)) {
        return 0;
    }
    memcpy(&size, data, sizeof(size));
    size >>= size & 63;
    struct str value = str_make((const char *)data + sizeof(size), n - sizeof(size));
    if (http_range_parse(value, size, &ranges) != HTTP_RANGE_PARTIAL) {
        return 0;
    }
    struct http_multipart m = {STR("boundary"), STR("text/plain"), size};
    struct buf b;
    uint64_t sum = 0;
    buf_init(&b, 0);
    ASSERT(ranges.n >= 1 && ranges.n <= HTTP_RANGES_MAX);
    for (unsigned i = 0; i < ranges.n; i++) {
        const struct http_range *r = &ranges.v[i];
        ASSERT(r->n > 0 && r->n <= size && r->offset <= size - r->n);
        ASSERT(r->n <= size - sum);
        sum += r->n;
        http_multipart_part(&m, r, i == 0, &b);
    }
    http_multipart_end(&m, &b);
    ASSERT(http_multipart_bytes(&m, &ranges) == sum + b.n);
    buf_done(&b);
    return 0;
}
