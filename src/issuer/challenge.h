/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the answer of a challenge findable (RFC 8555 8.3, 8.4; RFC 8737; RFC 8738), and takes it
 * away again. HTTP and TLS answers are files that the edge serves. */
#pragma once

#include "crypto/fault.h"
#include "issuer/acme.h"
#include "issuer/task.h"

struct challenge_place {
    struct str folder;
    const struct dns_settings *dns;
    int64_t now_s;
};

enum err challenge_present(const struct challenge_place *place, const struct acme_action *action,
                           struct fault *reterr_fault) MUST_CHECK;

/* Also of a challenge that was presented in part, or never. */
enum err challenge_clean(const struct challenge_place *place, const struct acme_action *action,
                         struct fault *reterr_fault) MUST_CHECK;
