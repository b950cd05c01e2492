/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP dates (RFC 9110 5.6.7) with our own calendar arithmetic: no locale, no time zone data. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define HTTP_DATE_BYTES 29

/* Writes `Sun, 06 Nov 1994 08:49:37 GMT` without a NUL. `unix_s`: 0000-01-01 to 9999-12-31; values
 * outside are clamped. */
void http_date_format(int64_t unix_s, char out[HTTP_DATE_BYTES]);

/* Reads IMF-fixdate, the RFC 850 form and the asctime form. `now_unix_s` settles the century of
 * two-digit years: more than 50 years ahead means the past. The name of the weekday must be one but
 * need not fit the date. ERR_SYNTAX, ERR_RANGE (30 February, hour 25). */
enum err http_date_parse(struct str s, int64_t now_unix_s, int64_t *ret_unix_s) MUST_CHECK;
