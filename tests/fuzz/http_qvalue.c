/* SPDX-License-Identifier: Apache-2.0 */
/* Weights stay in range, and a choice is one of those offered and not refused. */
#include "base/assert.h"
#include "http/negotiate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct str codings[] = {{"zstd", 4}, {"br", 2}, {"gzip", 4}};
    static const struct str types[] = {{"text/html", 9}, {"application/json", 16}};
    struct str text = str_make((const char *)data, n);
    struct http_field v[2];
    struct http_fields fields;
    unsigned weight;
    if (http_qvalue_parse(text, &weight) == ERR_OK) {
        ASSERT(weight <= HTTP_QVALUE_MAX);
    }
    http_fields_init(&fields, v, 2);
    ASSERT(http_fields_add_id(&fields, HTTP_FIELD_ACCEPT_ENCODING, text) == ERR_OK);
    ASSERT(http_fields_add_id(&fields, HTTP_FIELD_ACCEPT, text) == ERR_OK);
    int coding = http_accept_encoding(&fields, codings, 3);
    ASSERT(coding >= HTTP_CODING_REFUSED && coding < 3);
    int type = http_accept_media_type(&fields, types, 2);
    ASSERT(type >= -1 && type < 2);
    if (type >= 0) {
        ASSERT(http_accept_weight(&fields, types[type]) >=
               http_accept_weight(&fields, types[1 - type]));
    }
    ASSERT(http_accept_weight(&fields, types[0]) <= HTTP_QVALUE_MAX);
    return 0;
}
