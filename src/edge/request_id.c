/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/request_id.h"

#define ID_BYTES 32
#define ID_BYTES_MAX 128

/* xoroshiro128+ (Blackman and Vigna, 2018): ids need not be secret, only different. */
uint64_t pipeline_random(struct pipeline *p)
{
    uint64_t *s = p->id_state;
    uint64_t a = s[0], b = s[1] ^ s[0];
    uint64_t result = a + s[1];
    s[0] = ((a << 24) | (a >> 40)) ^ b ^ (b << 16);
    s[1] = (b << 37) | (b >> 27);
    return result;
}

static struct str id_make(struct request *r)
{
    static const char hex[] = "0123456789abcdef";
    char *text = arena_alloc(&r->x->arena, ID_BYTES);
    if (!text) {
        return STR("");
    }
    for (unsigned half = 0; half < 2; half++) {
        uint64_t bits = pipeline_random(r->pipeline);
        for (unsigned i = 0; i < 16; i++) {
            text[half * 16 + i] = hex[bits >> (60 - 4 * i) & 15];
        }
    }
    return str_make(text, ID_BYTES);
}

struct str request_id(struct request *r)
{
    struct str given = http_fields_value(&r->x->request->fields, HTTP_FIELD_X_REQUEST_ID);
    if (http_token_is_valid(given) && given.n <= ID_BYTES_MAX) {
        return given;
    }
    if (r->id.n == 0) {
        r->id = id_make(r);
    }
    return r->id;
}

/* 00-<32 hex trace id>-<16 hex parent>-<2 hex flags> (W3C Trace Context, level 1). */
static struct str id_of_traceparent(const struct http_fields *fields)
{
    struct str t = http_fields_value(fields, HTTP_FIELD_TRACEPARENT);
    bool has_shape = t.n == 55 && t.p[2] == '-' && t.p[35] == '-' && t.p[52] == '-';
    for (size_t i = 3; has_shape && i < 35; i++) {
        has_shape = ascii_hex_value(t.p[i]) >= 0;
    }
    return has_shape ? str_sub(t, 3, 32) : STR("");
}

struct str request_trace_id(struct request *r)
{
    struct str given = id_of_traceparent(&r->x->request->fields);
    if (given.n) {
        return given;
    }
    if (r->trace_id.n == 0) {
        r->trace_id = id_make(r);
    }
    return r->trace_id;
}
