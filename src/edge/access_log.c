/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/access_log.h"

#include "edge/request_id.h"

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
    return sample_ppm >= 1000000 || (int64_t)(pipeline_random(p) % 1000000) < sample_ppm;
}

void access_log_request(struct pipeline *p, struct request *r, enum err cause)
{
    const struct route_keys *keys = r->route ? r->route->keys : NULL;
    if (!p->access || (keys && (!keys->log.is_on || !access_is_sampled(p, keys->log.sample_ppm)))) {
        return;
    }
    const struct exchange *x = r->x;
    const struct http_fields *fields = &x->request->fields;
    uint64_t duration = loop_clock_ns(p->loop) - x->start_ns;
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
        .request_id = request_id(r),
        .trace_id = request_trace_id(r),
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
        .protocol = access_protocol(peer->version),
        .error = str_of(reason),
        .status = status,
    };
    access_write(p, ACCESS_JSON, NULL, &record);
}

void access_log_stream(struct pipeline *p, const struct access_stream *stream)
{
    if (!p->access) {
        return;
    }
    uint64_t duration = loop_clock_ns(p->loop) - stream->start_ns;
    const struct access_record record = {
        .time_ns = loop_wall_ns(p->loop) - (loop_now_ns(p->loop) - stream->start_ns),
        .duration_ns = duration,
        .body_bytes = stream->out_bytes,
        .client_ip = stream->peer->host,
        .target = stream->endpoint,
        .protocol = stream->protocol,
        .host = stream->name,
        .error = str_of(stream->error),
    };
    access_write(p, p->use->site->stream_format, NULL, &record);
}
