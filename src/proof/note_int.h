/* SPDX-License-Identifier: Apache-2.0 */
/* Signed notes (C2SP signed-note) and the keys that sign them. */
#pragma once

#include <sws/proof.h>

#include "base/str.h"

#define NOTE_SIGNATURE_MARK "\xe2\x80\x94 " /* em dash, space */
#define NOTE_SIGNATURE_BYTES 64             /* of Ed25519 */
#define NOTE_TIME_BYTES 8
/* "cosignature/v1", "time" and the largest time. */
#define NOTE_COSIGNED_HEAD_BYTES_MAX 48

static inline struct str text_str(struct sws_text t)
{
    return str_make(t.p, t.n);
}

static inline struct sws_text text_of(struct str s)
{
    return (struct sws_text){s.p, s.n};
}

/* Whether a key may have this name: not empty, UTF-8, no space of Unicode, plus or control
 * character. */
bool note_name_is_valid(struct str name);

/* The first four bytes of the hash of name, type and public key. */
uint32_t note_key_id(struct str name, enum sws_key_type type,
                     const uint8_t public_key[SWS_PUBLIC_KEY_BYTES]);

/* A decimal number without leading zeros. */
bool note_number(struct str s, uint64_t *ret_value);

/* A hash in base64. */
bool note_hash(struct str s, uint8_t ret_hash[SWS_HASH_BYTES]);

/* Takes the line in front of `*rest`, without its end; false where no line end is left. */
bool note_line(struct str *rest, struct str *ret_line);

/* What a cosignature of that time signs is this head, then the text of the checkpoint. Returns the
 * length, at most NOTE_COSIGNED_HEAD_BYTES_MAX. */
size_t note_cosigned_head(uint64_t time, char ret_head[NOTE_COSIGNED_HEAD_BYTES_MAX]);

struct note {
    struct str text;       /* what is signed, with its last line end */
    struct str signatures; /* lines, all of them well-formed */
};

/* SWS_PROOF_SYNTAX, SWS_PROOF_LIMIT. */
enum sws_proof_error note_parse(struct str whole, struct note *ret_note);

/* Whether `key` has signed: SWS_PROOF_OK with the time of a cosignature (the latest, if it has
 * signed more than once; 0 for a log); SWS_PROOF_LOG: no signature names the key;
 * SWS_PROOF_SIGNATURE: one is wrong. The text is at most SWS_CHECKPOINT_BYTES_MAX long. */
enum sws_proof_error note_verify(const struct note *note, const struct sws_key *key,
                                 uint64_t *ret_time);
