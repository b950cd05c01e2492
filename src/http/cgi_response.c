/* SPDX-License-Identifier: Apache-2.0 */
#include "http/cgi_response.h"

#include "http/status.h"

enum { SCAN_LINE_START, SCAN_IN_LINE, SCAN_CR };

size_t cgi_scan(cgi_scan_state *state, const char *p, size_t n, bool *ret_is_whole)
{
    *ret_is_whole = false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n') {
            if (*state != SCAN_IN_LINE) {
                *ret_is_whole = true;
                return i + 1;
            }
            *state = SCAN_LINE_START;
        } else {
            bool is_first_cr = p[i] == '\r' && *state == SCAN_LINE_START;
            *state = is_first_cr ? SCAN_CR : SCAN_IN_LINE;
        }
    }
    return n;
}

static enum err refuse(struct cgi_response *r, enum err e, const char *fault)
{
    r->fault = fault;
    return e;
}

/* `NNN` or `NNN reason`. */
static enum err take_status(struct cgi_response *r, struct str value)
{
    bool is_number = value.n >= 3 && ascii_is_digit(value.p[0]) && ascii_is_digit(value.p[1]) &&
                     ascii_is_digit(value.p[2]) && (value.n == 3 || value.p[3] == ' ');
    if (r->head.status != 0 || !is_number) {
        return refuse(r, ERR_SYNTAX, "Status is no number, or stands there twice");
    }
    r->head.status =
        (uint16_t)((value.p[0] - '0') * 100 + (value.p[1] - '0') * 10 + (value.p[2] - '0'));
    return r->head.status >= 200 && http_status_is_valid(r->head.status)
               ? ERR_OK
               : refuse(r, ERR_SYNTAX, "Status is not that of a final answer");
}

static enum err take_field(struct cgi_response *r, struct str line)
{
    ptrdiff_t colon = str_index(line, ':');
    struct str name = str_sub(line, 0, colon < 0 ? 0 : (size_t)colon);
    struct str value = colon < 0 ? line : str_trim(str_sub(line, (size_t)colon + 1, line.n));
    if (!http_token_is_valid(name) || !http_field_value_is_valid(value)) {
        return refuse(r, ERR_SYNTAX, "a line of its head is no field");
    }
    if (str_eq_ci(name, STR("status"))) {
        return take_status(r, value);
    }
    enum http_field_id id = http_field_id(name);
    bool is_single = id == HTTP_FIELD_CONTENT_TYPE || id == HTTP_FIELD_LOCATION ||
                     id == HTTP_FIELD_CONTENT_LENGTH;
    if (id == HTTP_FIELD_TRANSFER_ENCODING || (is_single && http_fields_get(&r->head.fields, id))) {
        return refuse(r, ERR_SYNTAX, "a field that must not stand there, or not twice");
    }
    enum err e = http_fields_add(&r->head.fields, name, value);
    return e ? refuse(r, e, "too many fields") : ERR_OK;
}

static enum err decide(struct cgi_response *r)
{
    const struct http_fields *fields = &r->head.fields;
    const struct http_field *location = http_fields_get(fields, HTTP_FIELD_LOCATION);
    const struct http_field *length = http_fields_get(fields, HTTP_FIELD_CONTENT_LENGTH);
    if (r->head.status == 0 && !location && !http_fields_get(fields, HTTP_FIELD_CONTENT_TYPE)) {
        return refuse(r, ERR_SYNTAX, "neither Status nor Content-Type nor Location");
    }
    if (location && location->value.n == 0) {
        return refuse(r, ERR_SYNTAX, "Location is empty");
    }
    if (length && (str_to_u64(length->value, &r->content_length) != ERR_OK ||
                   r->content_length > INT64_MAX)) {
        return refuse(r, ERR_SYNTAX, "Content-Length is no number");
    }
    if (r->head.status == 0) {
        r->head.status = location ? 302 : 200;
    }
    return ERR_OK;
}

enum err cgi_parse(struct str head, struct cgi_response *ret_response)
{
    struct http_fields *fields = &ret_response->head.fields;
    struct str rest = head, line;
    enum err e = ERR_OK;
    http_fields_init(fields, fields->v, fields->capacity);
    ret_response->head.status = 0;
    ret_response->content_length = CGI_LENGTH_NONE;
    ret_response->fault = NULL;
    while (!e && str_split(&rest, '\n', &line)) {
        line.n -= line.n > 0 && line.p[line.n - 1] == '\r';
        if (line.n == 0) {
            return decide(ret_response);
        }
        e = take_field(ret_response, line);
    }
    return e ? e : refuse(ret_response, ERR_SYNTAX, "its head has no end");
}
