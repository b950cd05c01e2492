/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTPS records (RFC 9460) that tell clients in the DNS what a site speaks. */
#pragma once

#include "base/buf.h"
#include "edge/site.h"

/* Appends a record for each public name that has HTTPS and each of its ports, in the form of a
 * zone file behind "# ", after a line that says what they are for; nothing where there is none. */
void dns_hint_print(const struct site *site, struct buf *out);
