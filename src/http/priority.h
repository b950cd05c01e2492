/* SPDX-License-Identifier: Apache-2.0 */
/* How urgent an answer is (RFC 9218). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define HTTP_URGENCY_COUNT 8 /* 0 is the most urgent */

struct http_priority {
    uint8_t urgency;
    bool is_incremental; /* parts of it are of use, so it shares with others */
};

#define HTTP_PRIORITY_DEFAULT ((struct http_priority){3, false})

/* What the value of a Priority field or a PRIORITY_UPDATE frame says; what it does not say, or says
 * wrongly, stays as it is in `p`. */
void http_priority_parse(struct str value, struct http_priority *p);
