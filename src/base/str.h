/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view of bytes: pointer and length, not NUL-terminated, not owned. The empty view may have a
 * NULL pointer. Comparisons that say `_ci` fold ASCII letters only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){"" literal "", sizeof(literal) - 1})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_of(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}

static inline struct str str_make(const char *p, size_t n)
{
    return (struct str){p, n};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline char ascii_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c | 0x20) : c;
}

static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(char c)
{
    return (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

/* 0 to 15, or -1 where `c` is no hexadecimal digit. */
static inline int ascii_hex_value(char c)
{
    if (ascii_is_digit(c)) {
        return c - '0';
    }
    c = ascii_lower(c);
    return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}

bool str_eq_ci(struct str a, struct str b);
int str_cmp(struct str a, struct str b);
bool str_starts_with(struct str s, struct str prefix);
bool str_ends_with(struct str s, struct str suffix);

/* Index of the first `c` in `s`, or -1. */
ptrdiff_t str_index(struct str s, char c);

/* `s` from `start` on, at most `n` bytes; clamps to the end. */
struct str str_sub(struct str s, size_t start, size_t n);

/* Without leading and trailing spaces and tabs. */
struct str str_trim(struct str s);

/* Takes the part of `*rest` before `separator` and moves `*rest` behind it. False when `*rest`
 * is used up (its pointer is NULL then). */
bool str_split(struct str *rest, char separator, struct str *ret_part);

/* Decimal digits only, no sign, no space, at least one digit. ERR_SYNTAX or ERR_RANGE. */
enum err str_to_u64(struct str s, uint64_t *ret_value) MUST_CHECK;

/* The byte at `*at` of a query, percent and plus decoded, moving `*at` behind it (which must be
 * within `s`). A percent sign that starts no escape stands for itself. */
char str_query_byte(struct str s, size_t *at);

/* Edit distance (insert, delete, replace, swap of neighbours), for "did you mean". Lengths past
 * 64 count as far away. */
unsigned str_distance(struct str a, struct str b);
