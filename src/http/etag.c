/* SPDX-License-Identifier: Apache-2.0 */
#include "http/etag.h"

#include "base/assert.h"

#define CODING_BYTES_MAX 8

/* Hexadecimal without leading zeros. */
static char *put_hex(char *at, uint64_t value)
{
    static const char digits[] = "0123456789abcdef";
    unsigned n = value ? (67U - (unsigned)__builtin_clzll(value)) / 4 : 1;
    for (unsigned i = n; i > 0; i--) {
        at[i - 1] = digits[value & 15];
        value >>= 4;
    }
    return at + n;
}

struct str http_etag_make(const struct http_etag_source *source, char out[HTTP_ETAG_BYTES_MAX])
{
    char *at = out;
    ASSERT(source->coding.n <= CODING_BYTES_MAX);
    if (source->is_weak) {
        *at++ = 'W';
        *at++ = '/';
    }
    *at++ = '"';
    at = put_hex(at, (uint64_t)source->mtime_ns);
    *at++ = '-';
    at = put_hex(at, source->size);
    *at++ = '-';
    at = put_hex(at, source->inode);
    if (source->coding.n > 0) {
        *at++ = '-';
        memcpy(at, source->coding.p, source->coding.n);
        at += source->coding.n;
    }
    *at++ = '"';
    return str_make(out, (size_t)(at - out));
}

/* etagc of RFC 9110 8.8.3; obs-text is allowed. */
static bool is_etag_char(char c)
{
    unsigned byte = (unsigned char)c;
    return byte == 0x21 || (byte >= 0x23 && byte != 0x7f);
}

/* Takes a tag off the front of `*s`. */
static bool take_tag(struct str *s, struct http_etag *ret_tag)
{
    bool is_weak = str_starts_with(*s, STR("W/"));
    struct str rest = is_weak ? str_sub(*s, 2, s->n) : *s;
    if (rest.n < 2 || rest.p[0] != '"') {
        return false;
    }
    size_t n = 1;
    while (n < rest.n && is_etag_char(rest.p[n])) {
        n++;
    }
    if (n == rest.n || rest.p[n] != '"') {
        return false;
    }
    *ret_tag = (struct http_etag){str_sub(rest, 0, n + 1), is_weak};
    *s = str_sub(rest, n + 1, rest.n);
    return true;
}

enum err http_etag_next(struct str *rest, struct http_etag *ret_tag)
{
    struct str s = str_trim(*rest);
    while (s.n > 0 && s.p[0] == ',') {
        s = str_trim(str_sub(s, 1, s.n));
    }
    if (s.n == 0) {
        return ERR_NOT_FOUND;
    }
    struct http_etag tag;
    if (!take_tag(&s, &tag)) {
        return ERR_SYNTAX;
    }
    s = str_trim(s);
    if (s.n > 0 && s.p[0] != ',') {
        return ERR_SYNTAX;
    }
    *rest = s;
    *ret_tag = tag;
    return ERR_OK;
}

enum err http_etag_parse(struct str s, struct http_etag *ret_tag)
{
    struct http_etag tag;
    if (!take_tag(&s, &tag) || s.n > 0) {
        return ERR_SYNTAX;
    }
    *ret_tag = tag;
    return ERR_OK;
}

bool http_etag_matches_strongly(const struct http_etag *a, const struct http_etag *b)
{
    return !a->is_weak && !b->is_weak && str_eq(a->opaque, b->opaque);
}

bool http_etag_matches_weakly(const struct http_etag *a, const struct http_etag *b)
{
    return str_eq(a->opaque, b->opaque);
}
