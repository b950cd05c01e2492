/* SPDX-License-Identifier: Apache-2.0 */
/* Conditional requests (RFC 9110 section 13). Evaluate only where the answer without conditions
 * would be 2xx (13.2.1), and before Range. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "http/head.h"

struct http_validators {
    struct str etag;         /* as sent, with quotes and W/; empty when there is none */
    int64_t last_modified_s; /* seconds since 1970 */
    bool has_last_modified;
    bool exists; /* there is a current representation; false for a PUT that creates */
};

enum http_condition { HTTP_CONDITION_PROCEED, HTTP_CONDITION_NOT_MODIFIED, HTTP_CONDITION_FAILED };

/* The order of RFC 9110 13.2.2, without If-Range. NOT_MODIFIED is answered with 304, FAILED with
 * 412. A date or a tag list that does not parse is ignored, as 13.1 asks for dates; a malformed
 * If-Match fails, because it guards a change. `now_unix_s`: see http_date_parse. */
enum http_condition http_condition_check(const struct request_head *head,
                                         const struct http_validators *validators,
                                         int64_t now_unix_s);

/* Whether Range may be obeyed: there is no If-Range, or it matches strongly (RFC 9110 13.1.5). A
 * date matches only when it is exact and the file had been still for a second. */
bool http_if_range_matches(const struct request_head *head,
                           const struct http_validators *validators, int64_t now_unix_s);
