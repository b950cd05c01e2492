/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of text that other folders interpret: what they get is at least well formed. */
#include "conf/value.h"

static bool is_token_char(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

const char *value_check_pattern(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    if (text.n == 0 || text.p[0] != '/') {
        return "a path begins with /";
    }
    size_t start = 1;
    while (start <= text.n) {
        size_t end = start;
        while (end < text.n && text.p[end] != '/') {
            unsigned char c = (unsigned char)text.p[end];
            *ret_at = end;
            if (c <= 0x20 || c == 0x7f) {
                return "a path holds no spaces or control characters";
            }
            if (c == '?' || c == '#') {
                return "a path has no query or fragment: match.query tests the query";
            }
            if (c == '%' && end + 2 < text.n && ascii_hex_value(text.p[end + 1]) >= 0 &&
                ascii_hex_value(text.p[end + 2]) >= 0) {
                return "paths are compared decoded: write the character itself, not its %XX form";
            }
            end++;
        }
        struct str segment = str_sub(text, start, end - start);
        *ret_at = start;
        if (segment.n == 0 && end < text.n) {
            return "a path has no empty segment (//)";
        }
        if (str_eq(segment, STR(".")) || str_eq(segment, STR(".."))) {
            return "a path has no . or .. segment";
        }
        if (str_eq(segment, STR("**"))) {
            if (end < text.n) {
                return "** stands for the rest of the path and is the last segment";
            }
        } else if (!str_eq(segment, STR("*")) && str_index(segment, '*') >= 0) {
            *ret_at = start + (size_t)str_index(segment, '*');
            return "* stands for one whole segment, ** for the rest";
        }
        start = end + 1;
    }
    return NULL;
}

static const char *check_visible(struct str text, size_t *ret_at)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c <= 0x20 || c == 0x7f) {
            *ret_at = i;
            return "no spaces or control characters can stand here";
        }
    }
    return NULL;
}

const char *value_check_url_path(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    if (text.n == 0 || text.p[0] != '/') {
        return "a path begins with /";
    }
    return check_visible(text, ret_at);
}

const char *value_check_target(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    bool is_path = text.n > 0 && text.p[0] == '/' && !(text.n > 1 && text.p[1] == '/');
    struct str authority = str_make(NULL, 0);
    if (str_starts_with(text, STR("http://"))) {
        authority = str_sub(text, 7, text.n);
    } else if (str_starts_with(text, STR("https://"))) {
        authority = str_sub(text, 8, text.n);
    }
    if (!is_path && (authority.n == 0 || authority.p[0] == '/')) {
        return "this is neither a URL such as https://example.com nor a path such as /new";
    }
    return check_visible(text, ret_at);
}

const char *value_check_token(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    if (text.n == 0) {
        return "a field name cannot be empty";
    }
    for (size_t i = 0; i < text.n; i++) {
        if (!is_token_char(text.p[i])) {
            *ret_at = i;
            return "a field name holds letters, digits and !#$%&'*+-.^_`|~ only";
        }
    }
    return NULL;
}

const char *value_check_method(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    if (text.n == 0) {
        return "a method cannot be empty";
    }
    for (size_t i = 0; i < text.n; i++) {
        *ret_at = i;
        if (text.p[i] >= 'a' && text.p[i] <= 'z') {
            return "methods are written in upper case, such as GET";
        }
        if (!is_token_char(text.p[i])) {
            return "a method is one word, such as GET";
        }
    }
    return NULL;
}

const char *value_check_field_value(struct str text, size_t *ret_at)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        *ret_at = i;
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return "a field value holds no line ends or control characters";
        }
        if ((i == 0 || i + 1 == text.n) && (c == ' ' || c == '\t')) {
            return "a field value does not begin or end with a space";
        }
    }
    return NULL;
}

static const char *check_media(struct str text, bool is_range, size_t *ret_at)
{
    static const char *fault = "this is not a media type, such as text/html";
    *ret_at = 0;
    ptrdiff_t slash = str_index(text, '/');
    if (slash <= 0) {
        return fault;
    }
    for (size_t i = 0; i < text.n; i++) {
        *ret_at = i;
        if (i == (size_t)slash) {
            continue;
        }
        if (!is_range && text.p[i] == ';' && i > (size_t)slash + 1) {
            return value_check_field_value(text, ret_at);
        }
        bool is_star = text.p[i] == '*';
        if (is_star && is_range && i == (size_t)slash + 1 && i + 1 == text.n) {
            continue;
        }
        if (is_star || !is_token_char(text.p[i])) {
            return fault;
        }
    }
    *ret_at = text.n;
    return (size_t)slash + 1 < text.n ? NULL : fault;
}

const char *value_check_media_type(struct str text, size_t *ret_at)
{
    return check_media(text, false, ret_at);
}

const char *value_check_media_range(struct str text, size_t *ret_at)
{
    return check_media(text, true, ret_at);
}

const char *value_check_file_name(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    if (text.n == 0 || str_index(text, '/') >= 0 || str_eq(text, STR(".")) ||
        str_eq(text, STR(".."))) {
        return "this is the name of one file, without a directory";
    }
    return NULL;
}

const char *value_check_not_empty(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    return text.n == 0 ? "this cannot be empty" : NULL;
}
