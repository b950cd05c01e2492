/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

bool str_eq_ci(struct str a, struct str b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (ascii_lower(a.p[i]) != ascii_lower(b.p[i])) {
            return false;
        }
    }
    return true;
}

int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    if (order == 0 && a.n != b.n) {
        order = a.n < b.n ? -1 : 1;
    }
    return order;
}

bool str_starts_with(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq(str_make(s.p, prefix.n), prefix);
}

bool str_ends_with(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_sub(s, s.n - suffix.n, suffix.n), suffix);
}

ptrdiff_t str_index(struct str s, char c)
{
    const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;
    return hit ? hit - s.p : -1;
}

struct str str_sub(struct str s, size_t start, size_t n)
{
    if (start > s.n) {
        start = s.n;
    }
    if (n > s.n - start) {
        n = s.n - start;
    }
    return str_make(s.p ? s.p + start : NULL, n);
}

struct str str_trim(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

bool str_split(struct str *rest, char separator, struct str *ret_part)
{
    if (!rest->p) {
        return false;
    }
    ptrdiff_t at = str_index(*rest, separator);
    if (at < 0) {
        *ret_part = *rest;
        *rest = (struct str){NULL, 0};
    } else {
        *ret_part = str_make(rest->p, (size_t)at);
        *rest = str_make(rest->p + at + 1, rest->n - (size_t)at - 1);
    }
    return true;
}

enum err str_to_u64(struct str s, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (s.n == 0) {
        return ERR_SYNTAX;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_digit(s.p[i])) {
            return ERR_SYNTAX;
        }
    }
    for (size_t i = 0; i < s.n; i++) {
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return ERR_RANGE;
        }
        value = value * 10 + digit;
    }
    *ret_value = value;
    return ERR_OK;
}

char str_query_byte(struct str s, size_t *at)
{
    size_t i = *at;
    char c = s.p[i];
    if (c == '%' && i + 2 < s.n && ascii_hex_value(s.p[i + 1]) >= 0 &&
        ascii_hex_value(s.p[i + 2]) >= 0) {
        c = (char)(ascii_hex_value(s.p[i + 1]) * 16 + ascii_hex_value(s.p[i + 2]));
        i += 2;
    } else if (c == '+') {
        c = ' ';
    }
    *at = i + 1;
    return c;
}

#define DISTANCE_MAX 64

unsigned str_distance(struct str a, struct str b)
{
    unsigned rows[3][DISTANCE_MAX + 1];
    if (a.n > DISTANCE_MAX || b.n > DISTANCE_MAX) {
        return DISTANCE_MAX;
    }
    unsigned *before = rows[0], *previous = rows[1], *current = rows[2];
    for (unsigned j = 0; j <= b.n; j++) {
        previous[j] = j;
    }
    for (unsigned i = 1; i <= a.n; i++) {
        current[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned cost = ascii_lower(a.p[i - 1]) != ascii_lower(b.p[j - 1]);
            unsigned best = previous[j - 1] + cost;
            if (previous[j] + 1 < best) {
                best = previous[j] + 1;
            }
            if (current[j - 1] + 1 < best) {
                best = current[j - 1] + 1;
            }
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
                before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            current[j] = best;
        }
        unsigned *spare = before;
        before = previous;
        previous = current;
        current = spare;
    }
    return previous[b.n];
}
