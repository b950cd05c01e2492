/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_chunked.h"

#include "base/assert.h"
#include "http/h1_parse_int.h"
#include "http/h1_scan_int.h"
#include "http/h1_write.h"

#define SIZE_DIGITS_MAX 16

/* Where we stand in `;name=value` (RFC 9112 7.1.1); white space is allowed around `=` and behind
 * and before `;`, not before the line end. */
enum extension_state {
    EXTENSION_BEFORE_NAME,
    EXTENSION_NAME,
    EXTENSION_NAME_SPACE,
    EXTENSION_BEFORE_VALUE,
    EXTENSION_VALUE,
    EXTENSION_QUOTED,
    EXTENSION_ESCAPE,
    EXTENSION_QUOTE_CLOSED,
    EXTENSION_VALUE_SPACE,
    EXTENSION_END, /* CR seen */
    EXTENSION_INVALID
};

static bool is_white(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_token(char c)
{
    return h1_class_has(&h1_class_token, c);
}

/* Behind a complete name or value: the next extension, the line end, or `space`. */
static enum extension_state after_part(char c, enum extension_state space)
{
    if (c == ';') {
        return EXTENSION_BEFORE_NAME;
    }
    if (c == '\r') {
        return EXTENSION_END;
    }
    return is_white(c) ? space : EXTENSION_INVALID;
}

static enum extension_state extension_next(enum extension_state state, char c)
{
    switch (state) {
    case EXTENSION_BEFORE_NAME:
        if (is_white(c)) {
            return EXTENSION_BEFORE_NAME;
        }
        return is_token(c) ? EXTENSION_NAME : EXTENSION_INVALID;
    case EXTENSION_NAME:
        if (is_token(c)) {
            return EXTENSION_NAME;
        }
        return c == '=' ? EXTENSION_BEFORE_VALUE : after_part(c, EXTENSION_NAME_SPACE);
    case EXTENSION_NAME_SPACE:
        if (c == '=') {
            return EXTENSION_BEFORE_VALUE;
        }
        return c == '\r' ? EXTENSION_INVALID : after_part(c, EXTENSION_NAME_SPACE);
    case EXTENSION_BEFORE_VALUE:
        if (is_white(c)) {
            return EXTENSION_BEFORE_VALUE;
        }
        if (c == '"') {
            return EXTENSION_QUOTED;
        }
        return is_token(c) ? EXTENSION_VALUE : EXTENSION_INVALID;
    case EXTENSION_VALUE:
        return is_token(c) ? EXTENSION_VALUE : after_part(c, EXTENSION_VALUE_SPACE);
    case EXTENSION_QUOTED:
        if (c == '"') {
            return EXTENSION_QUOTE_CLOSED;
        }
        if (c == '\\') {
            return EXTENSION_ESCAPE;
        }
        return h1_class_has(&h1_class_value, c) ? EXTENSION_QUOTED : EXTENSION_INVALID;
    case EXTENSION_ESCAPE:
        return h1_class_has(&h1_class_value, c) ? EXTENSION_QUOTED : EXTENSION_INVALID;
    case EXTENSION_QUOTE_CLOSED:
        return after_part(c, EXTENSION_VALUE_SPACE);
    case EXTENSION_VALUE_SPACE:
        return c == '\r' ? EXTENSION_INVALID : after_part(c, EXTENSION_VALUE_SPACE);
    case EXTENSION_END:
    case EXTENSION_INVALID:
        break;
    }
    return EXTENSION_INVALID;
}

static enum err read_size(struct h1_chunked *d, char c)
{
    int value = ascii_hex_value(c);
    if (value >= 0) {
        if (++d->digits > SIZE_DIGITS_MAX) {
            return ERR_RANGE;
        }
        d->remaining = d->remaining << 4 | (uint64_t)value;
        return ERR_OK;
    }
    if (d->digits == 0 || (c != ';' && c != '\r')) {
        return ERR_SYNTAX;
    }
    if (d->remaining > INT64_MAX) {
        return ERR_RANGE;
    }
    d->digits = 0;
    d->extension_bytes = 0;
    d->extension_state = EXTENSION_BEFORE_NAME;
    d->state = c == ';' ? H1_CHUNKED_EXTENSION : H1_CHUNKED_SIZE_LF;
    return ERR_OK;
}

static enum err read_extension(struct h1_chunked *d, char c)
{
    enum extension_state next = extension_next((enum extension_state)d->extension_state, c);
    if (next == EXTENSION_INVALID) {
        return ERR_SYNTAX;
    }
    if (next == EXTENSION_END) {
        d->state = H1_CHUNKED_SIZE_LF;
        return ERR_OK;
    }
    d->extension_state = (uint8_t)next;
    if (++d->extension_bytes > H1_CHUNK_EXTENSION_BYTES_MAX ||
        ++d->extensions_bytes > H1_CHUNK_EXTENSIONS_BYTES_MAX) {
        return ERR_LIMIT;
    }
    return ERR_OK;
}

static enum err expect(struct h1_chunked *d, char c, char wanted, enum h1_chunked_state next)
{
    if (c != wanted) {
        return ERR_SYNTAX;
    }
    d->state = (uint8_t)next;
    return ERR_OK;
}

/* The complete line at the end of the buffer. */
static enum err check_trailer(struct h1_chunked *d)
{
    const char *at = d->trailers->p + d->line_start;
    const char *end = d->trailers->p + d->trailers->n;
    struct str name, value;
    enum h1_reject reason;
    if (h1_field_line(&at, end, &name, &value, &reason) != ERR_OK || at != end ||
        http_field_is_forbidden_in_trailer(http_field_id(name))) {
        return ERR_SYNTAX;
    }
    d->line_start = d->trailers->n;
    return ERR_OK;
}

/* Takes up to one line of the trailer section; `*at` moves behind what was taken. */
static enum err read_trailer(struct h1_chunked *d, const char **at, const char *end)
{
    bool is_line_start = d->trailers->n == d->line_start;
    if (is_line_start && **at == '\r') {
        d->state = H1_CHUNKED_END_LF;
        ++*at;
        return ERR_OK;
    }
    const char *feed = memchr(*at, '\n', (size_t)(end - *at));
    size_t n = (size_t)((feed ? feed + 1 : end) - *at);
    if (n > d->trailers_bytes_max || d->trailers->n > d->trailers_bytes_max - n) {
        return ERR_LIMIT;
    }
    buf_add(d->trailers, *at, n);
    if (d->trailers->is_failed) {
        return ERR_NOMEM;
    }
    *at += n;
    return feed ? check_trailer(d) : ERR_OK;
}

void h1_chunked_init(struct h1_chunked *d, struct buf *trailers, uint32_t trailers_bytes_max)
{
    ASSERT(trailers && trailers->n == 0);
    *d = (struct h1_chunked){
        .trailers = trailers,
        .trailers_bytes_max = trailers_bytes_max ? trailers_bytes_max : H1_CHUNK_TRAILERS_BYTES_MAX,
        .state = H1_CHUNKED_SIZE,
    };
}

/* Everything but data: one byte, or one line of trailers. */
static enum err read_framing(struct h1_chunked *d, const char **at, const char *end)
{
    switch ((enum h1_chunked_state)d->state) {
    case H1_CHUNKED_SIZE:
        return read_size(d, *(*at)++);
    case H1_CHUNKED_EXTENSION:
        return read_extension(d, *(*at)++);
    case H1_CHUNKED_SIZE_LF:
        return expect(d, *(*at)++, '\n', d->remaining ? H1_CHUNKED_DATA : H1_CHUNKED_TRAILER);
    case H1_CHUNKED_DATA_CR:
        return expect(d, *(*at)++, '\r', H1_CHUNKED_DATA_LF);
    case H1_CHUNKED_DATA_LF:
        return expect(d, *(*at)++, '\n', H1_CHUNKED_SIZE);
    case H1_CHUNKED_TRAILER:
        return read_trailer(d, at, end);
    case H1_CHUNKED_END_LF:
        return expect(d, *(*at)++, '\n', H1_CHUNKED_DONE);
    case H1_CHUNKED_DATA:
    case H1_CHUNKED_DONE:
    case H1_CHUNKED_FAILED:
        break;
    }
    return ERR_SYNTAX;
}

enum err h1_chunked_feed(struct h1_chunked *d, const char *p, size_t n, size_t *ret_used,
                         struct str *ret_data)
{
    const char *at = p, *end = p + n;
    struct str data = {NULL, 0};
    if (d->state == H1_CHUNKED_FAILED) {
        return ERR_SYNTAX;
    }
    while (at < end && data.n == 0 && d->state != H1_CHUNKED_DONE) {
        if (d->state == H1_CHUNKED_DATA) {
            size_t here = (size_t)(end - at);
            data = str_make(at, d->remaining < here ? (size_t)d->remaining : here);
            d->remaining -= data.n;
            at += data.n;
            if (d->remaining == 0) {
                d->state = H1_CHUNKED_DATA_CR;
            }
            continue;
        }
        enum err e = read_framing(d, &at, end);
        if (e != ERR_OK) {
            d->state = H1_CHUNKED_FAILED;
            return e;
        }
    }
    *ret_used = (size_t)(at - p);
    *ret_data = data;
    return ERR_OK;
}

enum err h1_chunked_trailers(const struct h1_chunked *d, struct http_fields *fields)
{
    ASSERT(d->state == H1_CHUNKED_DONE);
    const char *at = d->trailers->p, *end = at + d->trailers->n;
    while (at < end) {
        struct str name, value;
        enum h1_reject reason;
        enum err e = h1_field_line(&at, end, &name, &value, &reason);
        if (e == ERR_OK) {
            e = http_fields_add(fields, name, value);
        }
        if (e != ERR_OK) {
            return e;
        }
    }
    return ERR_OK;
}

size_t h1_chunk_head(uint64_t size, char out[H1_CHUNK_HEAD_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    ASSERT(size > 0);
    size_t n = (67U - (unsigned)__builtin_clzll(size)) / 4;
    for (size_t i = n; i > 0; i--) {
        out[i - 1] = digits[size & 15];
        size >>= 4;
    }
    out[n] = '\r';
    out[n + 1] = '\n';
    return n + 2;
}

enum err h1_chunk_end(struct buf *out, const struct http_fields *trailers)
{
    size_t before = out->n;
    enum err e = ERR_OK;
    buf_add_str(out, STR("0\r\n"));
    if (trailers) {
        for (unsigned i = 0; i < trailers->n && e == ERR_OK; i++) {
            if (http_field_is_forbidden_in_trailer((enum http_field_id)trailers->v[i].id)) {
                e = ERR_SYNTAX;
            }
        }
        if (e == ERR_OK) {
            e = h1_write_fields(out, trailers);
        }
    }
    buf_add_str(out, STR("\r\n"));
    if (e == ERR_OK && out->is_failed) {
        e = ERR_NOMEM;
    }
    if (e != ERR_OK) {
        out->n = before;
    }
    return e;
}
