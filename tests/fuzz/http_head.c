/* SPDX-License-Identifier: Apache-2.0 */
/* All scanners agree, and the result does not depend on where the bytes were cut. */
#include <stdlib.h>

#include "base/assert.h"
#include "http/h1_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct http_field array[HTTP_FIELDS_MAX];
    struct h1_limits limits = {4096, 512, 20};
    struct h1_request r;
    if (n < 2) {
        return 0;
    }
    size_t cut = (size_t)(data[0] << 8 | data[1]);
    const char *p = (const char *)data + 2;
    n -= 2;
    cut = n ? cut % (n + 1) : 0;
    ptrdiff_t want = 0;
    enum h1_reject reason = H1_REJECT_NONE;
    for (unsigned simd = 0; simd < H1_SIMD_COUNT; simd++) {
        if (!h1_simd_select((enum h1_simd)simd)) {
            continue;
        }
        http_fields_init(&r.head.fields, array, COUNT_OF(array));
        ptrdiff_t got = h1_parse_request(p, n, 0, &limits, &r);
        if (simd > 0) {
            ASSERT(got == want);
            ASSERT(r.reject == reason);
        }
        want = got;
        reason = r.reject;
    }
    ASSERT(want != 0 && want <= (ptrdiff_t)n);
    char *head = malloc(cut ? cut : 1);
    if (!head) {
        return 0;
    }
    memcpy(head, p, cut);
    ptrdiff_t got = h1_parse_request(head, cut, 0, &limits, &r);
    free(head);
    if (got == ERR_AGAIN && want != ERR_AGAIN) {
        got = h1_parse_request(p, n, cut, &limits, &r);
        /* Bytes past the head may hold no line feed: then only a refusal can be late. */
        ASSERT(got == want || (got == ERR_AGAIN && want < 0));
    } else {
        ASSERT(got == want);
    }
    return 0;
}
