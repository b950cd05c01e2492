/* SPDX-License-Identifier: Apache-2.0 */
#include "http/fcgi.h"

#include "base/assert.h"

enum {
    FCGI_VERSION = 1,
    FCGI_REQUEST_ID = 1,
    FCGI_ROLE_RESPONDER = 1,
    FCGI_FLAG_KEEP_CONN = 1,
    FCGI_LONG_LENGTH = 0x80, /* in the first byte of a length: it has four */
};

/* ---- the request ---- */

void fcgi_record_head(enum fcgi_type type, size_t n, char ret_head[FCGI_HEAD_BYTES])
{
    ASSERT(n <= FCGI_CONTENT_MAX);
    const char head[FCGI_HEAD_BYTES] = {FCGI_VERSION,   (char)type,      0, FCGI_REQUEST_ID,
                                        (char)(n >> 8), (char)(n & 255), 0, 0};
    memcpy(ret_head, head, sizeof(head));
}

static void fcgi_add_head(struct buf *out, enum fcgi_type type, size_t n)
{
    char head[FCGI_HEAD_BYTES];
    fcgi_record_head(type, n, head);
    buf_add(out, head, sizeof(head));
}

void fcgi_add_begin(struct buf *out, bool keeps)
{
    const char content[8] = {0, FCGI_ROLE_RESPONDER, keeps ? FCGI_FLAG_KEEP_CONN : 0};
    fcgi_add_head(out, FCGI_BEGIN_REQUEST, sizeof(content));
    buf_add(out, content, sizeof(content));
}

void fcgi_params_begin(struct fcgi_params *p, struct buf *out)
{
    p->out = out;
    p->at = out->n;
    fcgi_add_head(out, FCGI_PARAMS, 0);
}

static size_t fcgi_params_filled(const struct fcgi_params *p)
{
    return p->out->n - p->at - FCGI_HEAD_BYTES;
}

/* The record says how long it became. */
static void fcgi_params_close(struct fcgi_params *p)
{
    if (!p->out->is_failed) {
        fcgi_record_head(FCGI_PARAMS, fcgi_params_filled(p), p->out->p + p->at);
    }
}

static void fcgi_add_length(struct buf *out, size_t n)
{
    if (n < FCGI_LONG_LENGTH) {
        buf_add_char(out, (char)n);
    } else {
        const char bytes[4] = {(char)(FCGI_LONG_LENGTH | n >> 24), (char)(n >> 16), (char)(n >> 8),
                               (char)n};
        buf_add(out, bytes, sizeof(bytes));
    }
}

static size_t fcgi_length_bytes(size_t n)
{
    return n < FCGI_LONG_LENGTH ? 1 : 4;
}

enum err fcgi_params_add(struct fcgi_params *p, struct str name, struct str value)
{
    if (name.n > FCGI_CONTENT_MAX || value.n > FCGI_CONTENT_MAX) {
        return ERR_LIMIT;
    }
    size_t n = fcgi_length_bytes(name.n) + fcgi_length_bytes(value.n) + name.n + value.n;
    if (n > FCGI_CONTENT_MAX) {
        return ERR_LIMIT;
    }
    if (p->out->is_failed) {
        return ERR_OK;
    }
    if (n > FCGI_CONTENT_MAX - fcgi_params_filled(p)) {
        fcgi_params_close(p);
        fcgi_params_begin(p, p->out);
    }
    fcgi_add_length(p->out, name.n);
    fcgi_add_length(p->out, value.n);
    buf_add_str(p->out, name);
    buf_add_str(p->out, value);
    return ERR_OK;
}

void fcgi_params_end(struct fcgi_params *p)
{
    if (!p->out->is_failed && fcgi_params_filled(p) > 0) {
        fcgi_params_close(p);
        fcgi_add_head(p->out, FCGI_PARAMS, 0);
    }
}

/* ---- the answer ---- */

static unsigned fcgi_u16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/* A management record answers a question that was never asked, and is passed over. */
static enum err fcgi_check_management(struct fcgi_reader *r)
{
    if (r->head[1] != FCGI_GET_VALUES_RESULT && r->head[1] != FCGI_UNKNOWN_TYPE) {
        return ERR_SYNTAX;
    }
    return ++r->idle_records > FCGI_IDLE_RECORDS_MAX ? ERR_LIMIT : ERR_OK;
}

/* Content behind the end of a stream, or a second end, is what no server sends. */
static enum err fcgi_check_stream(bool *is_ended, uint32_t content_bytes)
{
    if (*is_ended) {
        return ERR_SYNTAX;
    }
    *is_ended = content_bytes == 0;
    return ERR_OK;
}

static enum err fcgi_begin_record(struct fcgi_reader *r)
{
    unsigned id = fcgi_u16(r->head + 2);
    r->content_left = fcgi_u16(r->head + 4);
    r->padding_left = r->head[6];
    if (r->head[0] != FCGI_VERSION) {
        return ERR_SYNTAX;
    }
    if (id == 0) {
        return fcgi_check_management(r);
    }
    if (id != FCGI_REQUEST_ID) {
        return ERR_SYNTAX;
    }
    switch (r->head[1]) {
    case FCGI_STDOUT:
        return fcgi_check_stream(&r->is_stdout_ended, r->content_left);
    case FCGI_STDERR:
        return fcgi_check_stream(&r->is_stderr_ended, r->content_left);
    case FCGI_END_REQUEST:
        return r->content_left == sizeof(r->end) ? ERR_OK : ERR_SYNTAX;
    default:
        return ERR_SYNTAX;
    }
}

/* Which of the streams the record belongs to. */
static enum fcgi_event fcgi_stream_of(const struct fcgi_reader *r)
{
    bool is_of_request = fcgi_u16(r->head + 2) == FCGI_REQUEST_ID;
    return !is_of_request              ? FCGI_EVENT_NONE
           : r->head[1] == FCGI_STDOUT ? FCGI_EVENT_STDOUT
           : r->head[1] == FCGI_STDERR ? FCGI_EVENT_STDERR
                                       : FCGI_EVENT_NONE;
}

/* Content that is not given to the caller. */
static void fcgi_skip_content(struct fcgi_reader *r, const char *p, size_t n)
{
    bool is_end = r->head[1] == FCGI_END_REQUEST && fcgi_u16(r->head + 2) == FCGI_REQUEST_ID;
    if (is_end) {
        memcpy(r->end + r->end_n, p, n);
        r->end_n = (uint8_t)(r->end_n + n);
    }
    r->content_left -= (uint32_t)n;
}

/* The record is used up. */
static bool fcgi_end_record(struct fcgi_reader *r, struct fcgi_piece *piece)
{
    r->head_n = 0;
    if (r->end_n < sizeof(r->end)) {
        return false;
    }
    r->is_ended = true;
    piece->event = FCGI_EVENT_END;
    piece->app_status = (uint32_t)fcgi_u16(r->end) << 16 | fcgi_u16(r->end + 2);
    piece->protocol_status = r->end[4];
    return true;
}

enum err fcgi_read(struct fcgi_reader *r, const char *p, size_t n, size_t *ret_used,
                   struct fcgi_piece *ret_piece)
{
    size_t used = 0;
    ASSERT(!r->is_ended);
    *ret_piece = (struct fcgi_piece){.event = FCGI_EVENT_NONE};
    for (;;) {
        *ret_used = used;
        if (r->head_n == FCGI_HEAD_BYTES && r->content_left == 0 && r->padding_left == 0) {
            if (fcgi_end_record(r, ret_piece)) {
                return ERR_OK;
            }
            continue;
        }
        size_t left = n - used;
        if (left == 0) {
            return ERR_OK;
        }
        if (r->head_n < FCGI_HEAD_BYTES) {
            size_t due = FCGI_HEAD_BYTES - r->head_n;
            size_t step = left < due ? left : due;
            memcpy(r->head + r->head_n, p + used, step);
            r->head_n = (uint8_t)(r->head_n + step);
            used += step;
            enum err e = r->head_n == FCGI_HEAD_BYTES ? fcgi_begin_record(r) : ERR_OK;
            if (e) {
                return e;
            }
        } else if (r->content_left > 0) {
            size_t step = left < r->content_left ? left : r->content_left;
            ret_piece->event = fcgi_stream_of(r);
            if (ret_piece->event != FCGI_EVENT_NONE) {
                ret_piece->data = str_make(p + used, step);
                return ERR_OK;
            }
            fcgi_skip_content(r, p + used, step);
            used += step;
        } else {
            size_t step = left < r->padding_left ? left : r->padding_left;
            r->padding_left = (uint8_t)(r->padding_left - step);
            used += step;
        }
    }
}

void fcgi_take(struct fcgi_reader *r, size_t n)
{
    ASSERT(n <= r->content_left);
    r->content_left -= (uint32_t)n;
}
