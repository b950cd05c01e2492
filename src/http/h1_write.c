/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_write.h"

#include "http/h1_scan_int.h"

static struct str written_name(const struct http_field *f)
{
    return f->id == HTTP_FIELD_OTHER ? f->name : http_field_title((enum http_field_id)f->id);
}

/* Bytes that `fields` take as lines. */
static size_t lines_bytes(const struct http_fields *fields)
{
    size_t n = 0;
    for (unsigned i = 0; i < fields->n; i++) {
        n += written_name(&fields->v[i]).n + fields->v[i].value.n + sizeof(": \r\n") - 1;
    }
    return n;
}

static bool are_valid(const struct http_fields *fields)
{
    for (unsigned i = 0; i < fields->n; i++) {
        const struct http_field *f = &fields->v[i];
        if (f->id == HTTP_FIELD_OTHER && !http_token_is_valid(f->name)) {
            return false;
        }
        if (!http_field_value_is_valid(f->value)) {
            return false;
        }
    }
    return true;
}

static char *put(char *at, struct str s)
{
    if (s.n > 0) {
        memcpy(at, s.p, s.n);
    }
    return at + s.n;
}

enum err h1_write_fields(struct buf *out, const struct http_fields *fields)
{
    if (!are_valid(fields)) {
        return ERR_SYNTAX;
    }
    if (fields->n == 0) {
        return ERR_OK;
    }
    if (!buf_reserve(out, lines_bytes(fields))) {
        return ERR_NOMEM;
    }
    char *at = out->p + out->n;
    for (unsigned i = 0; i < fields->n; i++) {
        const struct http_field *f = &fields->v[i];
        at = put(at, written_name(f));
        at = put(at, STR(": "));
        at = put(at, f->value);
        at = put(at, STR("\r\n"));
    }
    out->n = (size_t)(at - out->p);
    return ERR_OK;
}

static enum err write_head(struct buf *out, uint16_t status, const struct http_fields *fields)
{
    size_t before = out->n;
    struct str reason = http_status_reason(status);
    buf_add_str(out, STR("HTTP/1.1 "));
    const char digits[3] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                            (char)('0' + status % 10)};
    buf_add(out, digits, sizeof(digits));
    buf_add_char(out, ' ');
    buf_add_str(out, reason);
    buf_add_str(out, STR("\r\n"));
    enum err e = fields ? h1_write_fields(out, fields) : ERR_OK;
    buf_add_str(out, STR("\r\n"));
    if (e == ERR_OK && out->is_failed) {
        e = ERR_NOMEM;
    }
    if (e != ERR_OK) {
        out->n = before;
    }
    return e;
}

enum err h1_write_response(struct buf *out, const struct response_head *head)
{
    if (head->status < 200 || head->status > 599) {
        return ERR_SYNTAX;
    }
    return write_head(out, head->status, &head->fields);
}

enum err h1_write_interim(struct buf *out, uint16_t status, const struct http_fields *fields)
{
    if (status < 100 || status > 199) {
        return ERR_SYNTAX;
    }
    return write_head(out, status, fields);
}

static bool is_target(struct str target)
{
    for (size_t i = 0; i < target.n; i++) {
        if (!h1_class_has(&h1_class_target, target.p[i])) {
            return false;
        }
    }
    return target.n > 0;
}

enum err h1_write_request(struct buf *out, struct str method, struct str target,
                          const struct http_fields *fields)
{
    size_t before = out->n;
    if (!http_token_is_valid(method) || !is_target(target)) {
        return ERR_SYNTAX;
    }
    buf_add_str(out, method);
    buf_add_char(out, ' ');
    buf_add_str(out, target);
    buf_add_str(out, STR(" HTTP/1.1\r\n"));
    enum err e = h1_write_fields(out, fields);
    if (e == ERR_OK && out->is_failed) {
        e = ERR_NOMEM;
    }
    if (e != ERR_OK) {
        out->n = before;
    }
    return e;
}
