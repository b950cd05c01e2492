/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vectorised search for the first byte outside a class. A class is any set of bytes that two
 * 16-entry tables can tell apart: a byte belongs when low[byte & 15] & high[byte >> 4] is not 0.
 * One shuffle per table classifies a whole vector, so that one loop serves names, values and
 * targets alike.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct h1_class {
    uint8_t low[16];
    uint8_t high[16];
};

extern const struct h1_class h1_class_token;  /* tchar, RFC 9110 5.6.2 */
extern const struct h1_class h1_class_value;  /* all but controls; HTAB is in */
extern const struct h1_class h1_class_target; /* visible ASCII but `#` */
extern const struct h1_class h1_class_host;   /* unreserved, RFC 3986 2.3 */

/* The first byte of [p, end) outside the class, or `end`. Never reads at or past `end`. */
typedef const char *h1_scan_fn(const char *p, const char *end, const struct h1_class *class);

/* The scanner in use; set before main() and by h1_simd_select. */
extern h1_scan_fn *h1_scan;

static inline bool h1_class_has(const struct h1_class *class, char c)
{
    uint8_t byte = (uint8_t)c;
    return (class->low[byte & 15] & class->high[byte >> 4]) != 0;
}
