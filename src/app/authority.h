/* SPDX-License-Identifier: Apache-2.0 */
/* The local certificate authority as it lies in the state directory: `root.pem` for people to
 * trust, `root.key` for this program alone. */
#pragma once

#include <limits.h>

#include "base/err.h"
#include "base/str.h"
#include "crypto/local_ca.h"

/* Opens it, or makes and keeps it where there is none yet. `now_s` in Unix seconds. On failure
 * `reterr_fault` says what to do. */
enum err authority_open(struct str state_dir, int64_t now_s, struct local_ca **ret_ca,
                        struct fault *reterr_fault) MUST_CHECK;

/* The path of root.pem. */
enum err authority_root_path(struct str state_dir, char ret_path[PATH_MAX]) MUST_CHECK;
