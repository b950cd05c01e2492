/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_response.h"

#include "base/assert.h"
#include "http/h1_parse_int.h"
#include "http/h1_scan_int.h"

static enum err refuse(struct h1_response *r, enum h1_reject reason)
{
    r->reject = reason;
    return reason == H1_REJECT_FIELD_COUNT || reason == H1_REJECT_HEAD_LONG ? ERR_LIMIT
                                                                            : ERR_SYNTAX;
}

/* `HTTP/1.x NNN reason`; the reason and the space before it may be missing, as many programs leave
 * them out, and nothing depends on either. */
static enum err parse_status_line(const char **at, const char *end, struct h1_response *r)
{
    static const char form[] = "HTTP/1.0 000"; /* 0 stands for any digit */
    const size_t n = sizeof(form) - 1;
    const char *p = *at;
    for (size_t i = 0; i < n; i++) {
        if (p + i == end) {
            return ERR_AGAIN;
        }
        if (form[i] == '0' ? !ascii_is_digit(p[i]) : p[i] != form[i]) {
            return refuse(r, H1_REJECT_STATUS);
        }
    }
    r->head.status = (uint16_t)((p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0'));
    if (p[7] > '1' || !http_status_is_valid(r->head.status)) {
        return refuse(r, H1_REJECT_STATUS);
    }
    r->version = p[7] == '1' ? HTTP_VERSION_11 : HTTP_VERSION_10;
    const char *stop = p + n;
    if (stop < end && *stop == ' ') {
        stop = h1_scan(stop, end, &h1_class_value);
    }
    if (stop == end || (*stop == '\r' && stop + 1 == end)) {
        return ERR_AGAIN;
    }
    if (*stop != '\r' || stop[1] != '\n') {
        bool is_line_end = *stop == '\r' || *stop == '\n';
        return refuse(r, is_line_end ? H1_REJECT_LINE_END : H1_REJECT_STATUS);
    }
    *at = stop + 2;
    return ERR_OK;
}

/* RFC 9112 6.3, without its leniency. */
static enum err decide_body(struct h1_response *r, uint64_t repeated, enum http_method method)
{
    const struct http_fields *fields = &r->head.fields;
    const struct http_field *length = http_fields_get(fields, HTTP_FIELD_CONTENT_LENGTH);
    const struct http_field *coding = http_fields_get(fields, HTTP_FIELD_TRANSFER_ENCODING);
    bool has_content = method != HTTP_HEAD && http_status_has_content(r->head.status);
    if (length && coding) {
        return refuse(r, H1_REJECT_LENGTH_AND_CODING);
    }
    if (coding) {
        if (r->version < HTTP_VERSION_11) {
            return refuse(r, H1_REJECT_CODING_VERSION);
        }
        if ((repeated & h1_field_bit(HTTP_FIELD_TRANSFER_ENCODING)) ||
            !str_eq_ci(coding->value, STR("chunked"))) {
            return refuse(r, H1_REJECT_CODING);
        }
        /* RFC 9112 6.1: never in a 1xx or 204, whose body some would look for all the same. */
        if (r->head.status < 200 || r->head.status == 204) {
            return refuse(r, H1_REJECT_BODY_UNEXPECTED);
        }
        r->framing = has_content ? H1_FRAMING_CHUNKED : H1_FRAMING_NONE;
        return ERR_OK;
    }
    if (length) {
        if (repeated & h1_field_bit(HTTP_FIELD_CONTENT_LENGTH)) {
            return refuse(r, H1_REJECT_LENGTH_DUPLICATE);
        }
        if (str_to_u64(length->value, &r->content_length) != ERR_OK ||
            r->content_length > INT64_MAX) {
            return refuse(r, H1_REJECT_LENGTH);
        }
    }
    r->framing = !has_content ? H1_FRAMING_NONE : length ? H1_FRAMING_LENGTH : H1_FRAMING_CLOSE;
    return ERR_OK;
}

static enum err decide_connection(struct h1_response *r)
{
    const struct http_fields *fields = &r->head.fields;
    bool has_close = http_fields_has_token(fields, HTTP_FIELD_CONNECTION, STR("close"));
    bool has_keep_alive = http_fields_has_token(fields, HTTP_FIELD_CONNECTION, STR("keep-alive"));
    r->keep_alive = !has_close && (r->version == HTTP_VERSION_11 || has_keep_alive) &&
                    r->framing != H1_FRAMING_CLOSE;
    if (r->head.status != 101) {
        return ERR_OK;
    }
    r->upgrade = http_fields_value(fields, HTTP_FIELD_UPGRADE);
    bool is_named = http_fields_has_token(fields, HTTP_FIELD_CONNECTION, STR("upgrade"));
    return r->upgrade.n && is_named ? ERR_OK : refuse(r, H1_REJECT_STATUS);
}

ptrdiff_t h1_parse_response(const char *p, size_t n, size_t scanned_before,
                            const struct h1_limits *limits, enum http_method method,
                            struct h1_response *ret_response)
{
    bool is_full = n >= limits->head_bytes_max;
    struct http_fields *fields = &ret_response->head.fields;
    ASSERT(scanned_before <= n);
    http_fields_init(fields, fields->v, fields->capacity);
    ret_response->head.status = 0;
    ret_response->version = 0;
    ret_response->framing = H1_FRAMING_NONE;
    ret_response->content_length = H1_LENGTH_NONE;
    ret_response->keep_alive = false;
    ret_response->upgrade = (struct str){NULL, 0};
    ret_response->reject = H1_REJECT_NONE;
    if (n == 0 ||
        (scanned_before > 0 && !is_full && !h1_head_is_worth_parsing(p, n, scanned_before))) {
        return ERR_AGAIN;
    }
    const char *at = p, *end = p + (is_full ? limits->head_bytes_max : n);
    uint64_t repeated = 0;
    enum err e = parse_status_line(&at, end, ret_response);
    if (e == ERR_OK) {
        e = h1_field_lines(&at, end, limits->field_count_max, fields, &repeated,
                           &ret_response->reject);
    }
    if (e == ERR_OK) {
        e = decide_body(ret_response, repeated, method);
    }
    if (e == ERR_OK) {
        e = decide_connection(ret_response);
    }
    if (e == ERR_AGAIN && is_full) {
        e = refuse(ret_response, H1_REJECT_HEAD_LONG);
    }
    return e == ERR_OK ? at - p : (ptrdiff_t)e;
}
