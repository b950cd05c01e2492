/* SPDX-License-Identifier: Apache-2.0 */
/* Changes a TXT record at a name server: finds the zone, sends the update over TCP, checks the
 * signed answer. Blocks. */
#pragma once

#include "conf/settings.h"
#include "crypto/fault.h"

/* Adds the record, or removes it. `now_s` in Unix seconds. */
enum err dns_zone_change(const struct dns_update_settings *settings, struct str name,
                         struct str value, bool is_removal, int64_t now_s,
                         struct fault *reterr_fault) MUST_CHECK;
