/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "proof/note_int.h"

/* Whether a checkpoint of that origin is signed as the policy wants it; how many of the witnesses
 * have signed it, and the latest of their times. SWS_PROOF_LOG, SWS_PROOF_SIGNATURE,
 * SWS_PROOF_QUORUM. */
enum sws_proof_error policy_verify(const struct sws_policy *p, const struct note *note,
                                   struct str origin, uint32_t *ret_count, uint64_t *ret_time);
