/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict JSON validator (RFC 8259) for tests: says whether the text is one value and nothing
 * else. Strings must be valid UTF-8 without control characters. Shared with the fuzz target.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct json_check {
    const unsigned char *p;
    const unsigned char *end;
    unsigned depth;
};

static bool json_check_value(struct json_check *c);

static bool json_check_take(struct json_check *c, char expected)
{
    if (c->p < c->end && *c->p == (unsigned char)expected) {
        c->p++;
        return true;
    }
    return false;
}

static unsigned json_check_hex4(struct json_check *c)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++, c->p++) {
        if (c->p == c->end) {
            return 0x110000;
        }
        unsigned char h = *c->p;
        unsigned digit = h >= '0' && h <= '9'   ? h - (unsigned)'0'
                         : h >= 'a' && h <= 'f' ? h - 'a' + 10u
                         : h >= 'A' && h <= 'F' ? h - 'A' + 10u
                                                : 99u;
        if (digit > 15) {
            return 0x110000;
        }
        value = value * 16 + digit;
    }
    return value;
}

static bool json_check_utf8(struct json_check *c)
{
    unsigned char lead = *c->p++;
    int more = lead >= 0xf0 && lead < 0xf5 ? 3 : lead >= 0xe0 && lead < 0xf0 ? 2 : 1;
    unsigned value = lead & (0x3fu >> more);
    if (lead < 0xc2 || lead >= 0xf5) {
        return false;
    }
    for (int i = 0; i < more; i++, c->p++) {
        if (c->p == c->end || (*c->p & 0xc0) != 0x80) {
            return false;
        }
        value = value << 6 | (*c->p & 0x3fu);
    }
    return (more == 1 || value >= (more == 2 ? 0x800u : 0x10000u)) && value <= 0x10ffff &&
           (value < 0xd800 || value > 0xdfff);
}

static bool json_check_escape(struct json_check *c)
{
    static const char simple[] = "\"\\/bfnrt";
    if (c->p == c->end) {
        return false;
    }
    unsigned char e = *c->p++;
    if (e == 'u') {
        unsigned value = json_check_hex4(c);
        return value < 0x110000 && (value < 0xd800 || value > 0xdfff);
    }
    for (size_t i = 0; simple[i]; i++) {
        if (e == (unsigned char)simple[i]) {
            return true;
        }
    }
    return false;
}

static bool json_check_string(struct json_check *c)
{
    if (!json_check_take(c, '"')) {
        return false;
    }
    while (c->p < c->end && *c->p != '"') {
        if (*c->p < 0x20) {
            return false;
        }
        if (*c->p >= 0x80) {
            if (!json_check_utf8(c)) {
                return false;
            }
        } else if (*c->p++ == '\\' && !json_check_escape(c)) {
            return false;
        }
    }
    return json_check_take(c, '"');
}

static bool json_check_digits(struct json_check *c)
{
    const unsigned char *start = c->p;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9') {
        c->p++;
    }
    return c->p > start;
}

static bool json_check_number(struct json_check *c)
{
    json_check_take(c, '-');
    const unsigned char *start = c->p;
    if (!json_check_digits(c) || (*start == '0' && c->p - start > 1)) {
        return false;
    }
    return !json_check_take(c, '.') || json_check_digits(c);
}

static bool json_check_members(struct json_check *c, char end, bool has_keys)
{
    if (++c->depth > 64) {
        return false;
    }
    c->p++;
    if (!json_check_take(c, end)) {
        do {
            if (has_keys && (!json_check_string(c) || !json_check_take(c, ':'))) {
                return false;
            }
            if (!json_check_value(c)) {
                return false;
            }
        } while (json_check_take(c, ','));
        if (!json_check_take(c, end)) {
            return false;
        }
    }
    c->depth--;
    return true;
}

static bool json_check_value(struct json_check *c)
{
    if (c->p == c->end) {
        return false;
    }
    switch (*c->p) {
    case '{':
        return json_check_members(c, '}', true);
    case '[':
        return json_check_members(c, ']', false);
    case '"':
        return json_check_string(c);
    default:
        return json_check_number(c);
    }
}

/* One value and one newline, as our writers end it; no spaces between tokens. */
static inline bool json_check_line(const char *text, size_t n)
{
    struct json_check c = {(const unsigned char *)text, (const unsigned char *)text + n, 0};
    return json_check_value(&c) && json_check_take(&c, '\n') && c.p == c.end;
}
