/* SPDX-License-Identifier: Apache-2.0 */
#include "log/escape.h"

#include <stdbool.h>

static const char hex_digits[] = "0123456789abcdef";

/* How many bytes at `p` are one valid UTF-8 character (RFC 3629), 0 where there is none. C1
 * controls (U+0080 to U+009F) count as invalid: terminals obey them. */
static size_t escape_utf8_length(const unsigned char *p, size_t n)
{
    unsigned char lead = p[0];
    size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (length == 0 || n < length) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool is_bad = (lead == 0xc2 && p[1] < 0xa0) || (lead == 0xe0 && p[1] < 0xa0) ||
                  (lead == 0xed && p[1] > 0x9f) || (lead == 0xf0 && p[1] < 0x90) ||
                  (lead == 0xf4 && p[1] > 0x8f);
    return is_bad ? 0 : length;
}

static bool escape_is_json_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* How many bytes at `p` need no escape at all: eight at a time, as most text is plain. A word is
 * refused where a byte is above 0x7e, below 0x20, a quote or a backslash; borrows can only refuse
 * too much, and the loop behind then looks at single bytes. */
static size_t escape_plain_length(const unsigned char *p, size_t n)
{
    const uint64_t ones = 0x0101010101010101u;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, p + i, 8);
        uint64_t quote = word ^ ones * '"';
        uint64_t slash = word ^ ones * '\\';
        uint64_t bad =
            word | (word + ones) | (word - ones * 0x20) | (quote - ones) | (slash - ones);
        if (bad & ones * 0x80) {
            break;
        }
    }
    while (i < n && escape_is_json_plain(p[i])) {
        i++;
    }
    return i;
}

static void escape_json_ascii(struct buf *out, unsigned char c)
{
    char code[6] = {'\\', 'u', '0', '0', hex_digits[c >> 4], hex_digits[c & 15]};
    switch (c) {
    case '"':
    case '\\':
        code[1] = (char)c;
        break;
    case '\n':
        code[1] = 'n';
        break;
    case '\r':
        code[1] = 'r';
        break;
    case '\t':
        code[1] = 't';
        break;
    default:
        buf_add(out, code, 6);
        return;
    }
    buf_add(out, code, 2);
}

void escape_json(struct buf *out, struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t start = 0, i = 0;
    if (s.n == 0) {
        return;
    }
    for (;;) {
        i += escape_plain_length(p + i, s.n - i);
        if (i == s.n) {
            break;
        }
        if (p[i] >= 0x80) {
            size_t length = escape_utf8_length(p + i, s.n - i);
            if (length > 0) {
                i += length;
                continue;
            }
        }
        buf_add(out, s.p + start, i - start);
        if (p[i] >= 0x80) {
            buf_add(out, "\\ufffd", 6);
        } else {
            escape_json_ascii(out, p[i]);
        }
        start = ++i;
    }
    buf_add(out, s.p + start, i - start);
}

void escape_clf(struct buf *out, struct str s)
{
    size_t start = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (escape_is_json_plain(c)) {
            continue;
        }
        char code[4] = {'\\', 'x', hex_digits[c >> 4], hex_digits[c & 15]};
        bool is_pair = c == '"' || c == '\\';
        if (is_pair) {
            code[1] = (char)c;
        }
        buf_add(out, s.p + start, i - start);
        buf_add(out, code, is_pair ? 2 : 4);
        start = i + 1;
    }
    buf_add(out, s.p + start, s.n - start);
}

void escape_logfmt(struct buf *out, struct str s)
{
    bool is_bare = s.n > 0;
    for (size_t i = 0; i < s.n && is_bare; i++) {
        unsigned char c = (unsigned char)s.p[i];
        is_bare = escape_is_json_plain(c) && c != ' ' && c != '=';
    }
    if (is_bare) {
        buf_add_str(out, s);
        return;
    }
    buf_add_char(out, '"');
    escape_json(out, s);
    buf_add_char(out, '"');
}

struct escape_date {
    unsigned year, month, day, hour, minute, second, millisecond;
};

/* Days since 1970 to a date of the Gregorian calendar: eras of 400 years that begin in March. */
static struct escape_date escape_date_of(uint64_t time_ns)
{
    uint64_t seconds = time_ns / 1000000000u;
    unsigned of_day = (unsigned)(seconds % 86400);
    uint64_t days = seconds / 86400 + 719468;
    unsigned of_era = (unsigned)(days % 146097);
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * of_year + 2) / 153; /* from March */
    struct escape_date d = {
        .day = of_year - (153 * month + 2) / 5 + 1,
        .month = month < 10 ? month + 3 : month - 9,
        .hour = of_day / 3600,
        .minute = of_day / 60 % 60,
        .second = of_day % 60,
        .millisecond = (unsigned)(time_ns / 1000000 % 1000),
    };
    d.year = year + (unsigned)(days / 146097) * 400 + (d.month <= 2);
    return d;
}

/* `value` in `count` digits, the last ones where it does not fit. */
static char *escape_digits(char *to, unsigned value, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        to[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return to + count;
}

void escape_time_rfc3339(struct buf *out, uint64_t time_ns)
{
    struct escape_date d = escape_date_of(time_ns);
    char text[24];
    char *at = escape_digits(text, d.year, 4);
    *at++ = '-';
    at = escape_digits(at, d.month, 2);
    *at++ = '-';
    at = escape_digits(at, d.day, 2);
    *at++ = 'T';
    at = escape_digits(at, d.hour, 2);
    *at++ = ':';
    at = escape_digits(at, d.minute, 2);
    *at++ = ':';
    at = escape_digits(at, d.second, 2);
    *at++ = '.';
    at = escape_digits(at, d.millisecond, 3);
    *at = 'Z';
    buf_add(out, text, sizeof(text));
}

void escape_time_clf(struct buf *out, uint64_t time_ns)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct escape_date d = escape_date_of(time_ns);
    char text[20];
    char *at = escape_digits(text, d.day, 2);
    *at++ = '/';
    memcpy(at, months + 3 * (d.month - 1), 3);
    at[3] = '/';
    at = escape_digits(at + 4, d.year, 4);
    *at++ = ':';
    at = escape_digits(at, d.hour, 2);
    *at++ = ':';
    at = escape_digits(at, d.minute, 2);
    *at++ = ':';
    escape_digits(at, d.second, 2);
    buf_add(out, text, sizeof(text));
    buf_add_str(out, STR(" +0000"));
}
