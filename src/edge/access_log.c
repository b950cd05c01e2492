/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/access_log.h"

#define ID_BYTES 32
#define ID_BYTES_MAX 128

/* xoroshiro128+ (Blackman and Vigna, 2018): ids need not be secret, only different. */
static uint64_t access_random(uint64_t s[2])
{
    uint64_t a = s[0], b = s[1] ^ s[0];
    uint64_t result = a + s[1];
    s[0] = ((a << 24) | (a >> 40)) ^ b ^ (b << 16);
    s[1] = (b << 37) | (b >> 27);
    return result;
}

static struct str access_make_id(struct pipeline *p, char text[ID_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    for (unsigned half = 0; half < 2; half++) {
        uint64_t bits = access_random(p->id_state);
        for (unsigned i = 0; i < 16; i++) {
            text[half * 16 + i] = hex[bits >> (60 - 4 * i) & 15];
        }
    }
    return str_make(text, ID_BYTES);
}

/* 00-<32 hex trace id>-<16 hex parent>-<2 hex flags> (W3C Trace Context, level 1). */
static struct str access_trace_id(const struct http_fields *fields)
{
    struct str t = http_fields_value(fields, HTTP_FIELD_TRACEPARENT);
    bool has_shape = t.n == 55 && t.p[2] == '-' && t.p[35] == '-' && t.p[52] == '-';
    for (size_t i = 3; has_shape && i < 35; i++) {
        has_shape = ascii_hex_value(t.p[i]) >= 0;
    }
    return has_shape ? str_sub(t, 3, 32) : STR("");
}

static struct str access_protocol(uint8_t version)
{
    switch (version) {
    case HTTP_VERSION_10:
        return STR("HTTP/1.0");
    case HTTP_VERSION_20:
        return STR("HTTP/2");
    case HTTP_VERSION_30:
        return STR("HTTP/3");
    default:
        return STR("HTTP/1.1");
    }
}

static void access_write(struct pipeline *p, enum access_format format,
                         const struct access_policy *policy, const struct access_record *record)
{
    buf_clear(&p->line);
    access_format(format, policy, record, &p->line);
    if (!p->line.is_failed) {
        writer_add(p->access, buf_str(&p->line), loop_now_ns(p->loop));
    }
}

static bool access_is_sampled(struct pipeline *p, int64_t sample_ppm)
{
    return sample_ppm >= 1000000 || (int64_t)(access_random(p->id_state) % 1000000) < sample_ppm;
}

void access_log_request(struct pipeline *p, const struct request *r, enum err cause)
{
    const struct route_keys *keys = r->route ? r->route->keys : NULL;
    if (!p->access || (keys && (!keys->log.is_on || !access_is_sampled(p, keys->log.sample_ppm)))) {
        return;
    }
    const struct exchange *x = r->x;
    const struct http_fields *fields = &x->request->fields;
    uint64_t duration = loop_clock_ns(p->loop) - x->start_ns;
    char id[ID_BYTES], trace[ID_BYTES];
    struct str request_id = http_fields_value(fields, HTTP_FIELD_X_REQUEST_ID);
    if (!http_token_is_valid(request_id) || request_id.n > ID_BYTES_MAX) {
        request_id = access_make_id(p, id);
    }
    struct str trace_id = access_trace_id(fields);
    if (trace_id.n == 0) {
        trace_id = access_make_id(p, trace);
    }
    const struct access_record record = {
        .time_ns = loop_wall_ns(p->loop) - (loop_now_ns(p->loop) - x->start_ns),
        .duration_ns = duration,
        .body_bytes = x->sent_bytes,
        .client_ip = r->client,
        .method = x->request->method_text,
        .target = x->request->target,
        .protocol = access_protocol(x->request->version),
        .host = x->request->authority,
        .referer = http_fields_value(fields, HTTP_FIELD_REFERER),
        .user_agent = http_fields_value(fields, HTTP_FIELD_USER_AGENT),
        .request_id = request_id,
        .trace_id = trace_id,
        .route = r->route ? r->route->name : STR(""),
        .error = r->error ? str_of(r->error) : (cause ? str_of(err_text(cause)) : STR("")),
        .status = x->status,
    };
    struct access_policy policy = {0};
    if (keys) {
        policy.query_names = keys->log.redact.items;
        policy.query_name_count = keys->log.redact.count;
    }
    access_write(p, r->route ? r->route->log_format : ACCESS_JSON, &policy, &record);
}

void access_log_refused(struct pipeline *p, const struct exchange_peer *peer, const char *reason,
                        uint16_t status)
{
    if (!p->access) {
        return;
    }
    const struct access_record record = {
        .time_ns = loop_wall_ns(p->loop),
        .client_ip = peer->host,
        .protocol = STR("HTTP/1.1"),
        .error = str_of(reason),
        .status = status,
    };
    access_write(p, ACCESS_JSON, NULL, &record);
}
