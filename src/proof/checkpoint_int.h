/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "proof/note_int.h"

/* The extension line that names the root of the state. */
#define CHECKPOINT_STATE_MARK "state/v1 "

/* Reads the text of a checkpoint; its witnesses stay as they are. SWS_PROOF_SYNTAX. */
enum sws_proof_error checkpoint_parse(struct str text, struct sws_checkpoint *ret_checkpoint);
