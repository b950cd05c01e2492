/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a log and its witnesses write: keys, checkpoints, signatures, cosignatures and receipts.
 * <sws/proof.h> reads them. All of it is appended to a buffer; ERR_NOMEM is that there is no room
 * in it, and then it holds what it held.
 */
#pragma once

#include <sws/proof.h>

#include "base/buf.h"
#include "crypto/secret.h"
#include "proof/merkle.h"

/* Who signs. The seed is a secret of 32 bytes (RFC 8032). */
struct sign_key {
    struct str name;
    enum sws_key_type type;
    const struct secret *seed;
};

/* Appends the verifier key. ERR_SYNTAX: a key must not have that name. */
enum err sign_key_write(const struct sign_key *key, struct buf *out) MUST_CHECK;

struct sign_checkpoint {
    struct str origin;
    uint64_t size;
    const uint8_t *root;
    const uint8_t *state_root; /* NULL: none */
};

/* Appends the text of a checkpoint and the empty line behind it: signatures follow. ERR_SYNTAX: no
 * log may be called that. */
enum err sign_checkpoint_write(const struct sign_checkpoint *checkpoint,
                               struct buf *out) MUST_CHECK;

/* Appends a signature to the note that is all of `note`; that of a witness says `time` (seconds
 * since 1970). ERR_SYNTAX: it is no note, or a key must not have that name; ERR_LIMIT: the text is
 * longer than SWS_CHECKPOINT_BYTES_MAX; ERR_RANGE: the time is past 2^63 - 1. */
enum err sign_note(const struct sign_key *key, uint64_t time, struct buf *note) MUST_CHECK;

struct sign_receipt {
    struct str entry;
    uint64_t index;
    const struct merkle_path *path; /* in the tree of the checkpoint */
    struct str checkpoint;          /* with its signatures */
};

/* Appends a receipt. ERR_RANGE: the entry is longer than SWS_ENTRY_BYTES_MAX. */
enum err sign_receipt_write(const struct sign_receipt *receipt, struct buf *out) MUST_CHECK;
