/* SPDX-License-Identifier: Apache-2.0 */
#include "http/target.h"

/* Bytes that never call for work by themselves: visible ASCII but `%`, `\` and `;`. Dots and
 * slashes count by what stands beside them. */
static bool is_plain(char c)
{
    return c >= ' ' && c < 0x7f && c != '%' && c != '\\' && c != ';';
}

static bool is_canonical_ascii(struct str raw)
{
    char before = 0;
    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        if (!is_plain(c) || (before == '/' && (c == '/' || c == '.'))) {
            return false;
        }
        before = c;
    }
    return true;
}

/* The length of the UTF-8 character at `p` (Unicode table 3-7: no overlong forms, no surrogates, at
 * most U+10FFFF), 0 when it is not valid. `lead` is not ASCII. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    unsigned lead = p[0];
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || length > n) {
        return 0;
    }
    unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return 0;
        }
    }
    return length;
}

static bool is_valid_utf8(const char *p, size_t n)
{
    const unsigned char *at = (const unsigned char *)p, *end = at + n;
    while (at < end) {
        size_t length = *at < 0x80 ? 1 : utf8_length(at, (size_t)(end - at));
        /* U+0080 to U+009F are control characters as well. */
        if (length == 0 || (length == 2 && at[0] == 0xc2 && at[1] < 0xa0)) {
            return false;
        }
        at += length;
    }
    return true;
}

/* Decodes once into `out`; `%25` and `%2F` stay. The length goes to `ret_n`. */
static enum err decode(struct str raw, char *out, size_t *ret_n)
{
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        unsigned byte = (unsigned char)raw.p[i];
        if (byte == '%') {
            int high = i + 2 < raw.n ? ascii_hex_value(raw.p[i + 1]) : -1;
            int low = i + 2 < raw.n ? ascii_hex_value(raw.p[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return ERR_SYNTAX;
            }
            byte = (unsigned)(high * 16 + low);
            i += 2;
            if (byte == '%' || byte == '/') {
                memcpy(out + n, byte == '%' ? "%25" : "%2F", 3);
                n += 3;
                continue;
            }
        }
        if (byte < ' ' || byte == 0x7f || byte == '\\') {
            return ERR_SYNTAX;
        }
        out[n++] = (char)byte;
    }
    *ret_n = n;
    return ERR_OK;
}

static bool is_dots(struct str s)
{
    return str_eq(s, STR(".")) || str_eq(s, STR(".."));
}

/* A segment that some program behind us could turn into a dot segment: parameters cut off
 * (`..;x`), or an encoded slash taken for a separator (`..%2Fx`). */
static bool is_disguised(struct str segment)
{
    size_t start = 0;
    for (size_t i = 0; i <= segment.n; i++) {
        bool is_slash = i + 2 < segment.n && memcmp(segment.p + i, "%2F", 3) == 0;
        if (i < segment.n && !is_slash) {
            continue;
        }
        struct str part = str_sub(segment, start, i - start);
        ptrdiff_t cut = str_index(part, ';');
        if (is_dots(cut < 0 ? part : str_sub(part, 0, (size_t)cut))) {
            return true;
        }
        start = i + 3;
    }
    return false;
}

/* Removes empty and dot segments of the decoded path in place; RFC 3986 5.2.4, but going above the
 * root is an error. */
static enum err resolve(char *p, size_t *n, bool *ret_has_encoded_slash)
{
    size_t from = 1, to = 1; /* both stand behind a slash */
    while (from < *n) {
        struct str rest = str_make(p + from, *n - from);
        ptrdiff_t slash = str_index(rest, '/');
        struct str segment = str_sub(rest, 0, slash < 0 ? rest.n : (size_t)slash);
        size_t whole = segment.n + (slash < 0 ? 0 : 1);
        from += whole;
        if (segment.n == 0 || str_eq(segment, STR("."))) {
            continue;
        }
        if (str_eq(segment, STR(".."))) {
            if (to == 1) {
                return ERR_SYNTAX;
            }
            for (to--; p[to - 1] != '/'; to--) {
            }
            continue;
        }
        if (is_disguised(segment)) {
            return ERR_SYNTAX;
        }
        memmove(p + to, segment.p, whole);
        to += whole;
    }
    *n = to;
    *ret_has_encoded_slash = memmem(p, to, "%2F", 3) != NULL;
    return ERR_OK;
}

enum err http_path_canonical(struct str raw, char *out, struct http_path *ret_path)
{
    if (raw.n == 0 || raw.p[0] != '/') {
        return ERR_SYNTAX;
    }
    if (is_canonical_ascii(raw)) {
        *ret_path = (struct http_path){raw, false};
        return ERR_OK;
    }
    size_t n;
    bool has_encoded_slash;
    enum err e = decode(raw, out, &n);
    if (e == ERR_OK && !is_valid_utf8(out, n)) {
        e = ERR_SYNTAX;
    }
    if (e == ERR_OK) {
        e = resolve(out, &n, &has_encoded_slash);
    }
    if (e != ERR_OK) {
        return e;
    }
    struct str path = str_make(out, n);
    *ret_path = (struct http_path){str_eq(path, raw) ? raw : path, has_encoded_slash};
    return ERR_OK;
}

enum err http_path_to_file(struct str canonical, char *out, struct str *ret_name)
{
    size_t n = 0;
    for (size_t i = 0; i < canonical.n; i++) {
        out[n++] = canonical.p[i];
        if (canonical.p[i] == '%') {
            if (!str_eq(str_sub(canonical, i, 3), STR("%25"))) {
                return ERR_SYNTAX;
            }
            i += 2;
        }
    }
    *ret_name = str_make(out, n);
    return ERR_OK;
}

void http_path_encode(struct str canonical, struct buf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    static const char allowed[] = "-._~!$&'()*+,;=:@/%"; /* `%` stands only in %25 and %2F */
    for (size_t i = 0; i < canonical.n; i++) {
        char c = canonical.p[i];
        if (ascii_is_alpha(c) || ascii_is_digit(c) || (c && strchr(allowed, c))) {
            buf_add_char(out, c);
        } else {
            unsigned byte = (unsigned char)c;
            const char code[3] = {'%', digits[byte >> 4], digits[byte & 15]};
            buf_add(out, code, sizeof(code));
        }
    }
}
