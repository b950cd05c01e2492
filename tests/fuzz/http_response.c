/* SPDX-License-Identifier: Apache-2.0 */
/* Response heads: all scanners agree, the result does not depend on where the bytes were cut, and
 * what is accepted can be framed in one way only. */
#include <stdlib.h>

#include "base/assert.h"
#include "http/h1_response.h"

static void check_framing(const struct h1_response *r, enum http_method method)
{
    const struct http_fields *fields = &r->head.fields;
    bool has_length = http_fields_get(fields, HTTP_FIELD_CONTENT_LENGTH) != NULL;
    bool has_coding = http_fields_get(fields, HTTP_FIELD_TRANSFER_ENCODING) != NULL;
    ASSERT(!has_length || !has_coding);
    ASSERT(http_status_is_valid(r->head.status));
    ASSERT(has_length == (r->content_length != H1_LENGTH_NONE));
    if (method == HTTP_HEAD || !http_status_has_content(r->head.status)) {
        ASSERT(r->framing == H1_FRAMING_NONE);
    } else {
        ASSERT(r->framing == (has_length   ? H1_FRAMING_LENGTH
                              : has_coding ? H1_FRAMING_CHUNKED
                                           : H1_FRAMING_CLOSE));
    }
    ASSERT(!r->keep_alive || r->framing != H1_FRAMING_CLOSE);
    for (unsigned i = 0; i < fields->n; i++) {
        ASSERT(http_token_is_valid(fields->v[i].name));
        ASSERT(http_field_value_is_valid(fields->v[i].value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct http_field array[HTTP_FIELDS_MAX];
    const struct h1_limits limits = {.head_bytes_max = 4096, .field_count_max = 20};
    struct h1_response r;
    if (n < 3) {
        return 0;
    }
    size_t cut = (size_t)(data[0] << 8 | data[1]);
    enum http_method method = data[2] & 1 ? HTTP_HEAD : HTTP_GET;
    const char *p = (const char *)data + 3;
    n -= 3;
    cut = n ? cut % (n + 1) : 0;
    ptrdiff_t want = 0;
    enum h1_reject reason = H1_REJECT_NONE;
    for (unsigned simd = 0; simd < H1_SIMD_COUNT; simd++) {
        if (!h1_simd_select((enum h1_simd)simd)) {
            continue;
        }
        http_fields_init(&r.head.fields, array, COUNT_OF(array));
        ptrdiff_t got = h1_parse_response(p, n, 0, &limits, method, &r);
        ASSERT(simd == 0 || (got == want && r.reject == reason));
        want = got;
        reason = r.reject;
    }
    ASSERT(want != 0 && want <= (ptrdiff_t)n);
    if (want > 0) {
        check_framing(&r, method);
    }
    char *head = malloc(cut ? cut : 1);
    if (!head) {
        return 0;
    }
    memcpy(head, p, cut);
    ptrdiff_t got = h1_parse_response(head, cut, 0, &limits, method, &r);
    free(head);
    if (got == ERR_AGAIN && want != ERR_AGAIN) {
        got = h1_parse_response(p, n, cut, &limits, method, &r);
        /* Bytes past the head may hold no line feed: then only a refusal can be late. */
        ASSERT(got == want || (got == ERR_AGAIN && want < 0));
    } else {
        ASSERT(got == want);
    }
    return 0;
}
