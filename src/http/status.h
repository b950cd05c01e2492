/* SPDX-License-Identifier: Apache-2.0 */
/* Response status codes (RFC 9110 section 15 and the IANA registry). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* The reason phrase; empty for a code that is not registered. Static. */
struct str http_status_reason(uint16_t status);

/* 100 to 599. */
static inline bool http_status_is_valid(uint16_t status)
{
    return status >= 100 && status <= 599;
}

/* False where no content follows, whatever the fields say (RFC 9110 6.4.1): 1xx, 204, 304. The
 * answer to HEAD and a 2xx answer to CONNECT have none either; the caller knows the method. */
static inline bool http_status_has_content(uint16_t status)
{
    return status >= 200 && status != 204 && status != 304;
}
