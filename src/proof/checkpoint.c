/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints (C2SP tlog-checkpoint). */
#include "proof/checkpoint_int.h"

#include "proof/policy_int.h"

enum sws_proof_error checkpoint_parse(struct str text, struct sws_checkpoint *ret_checkpoint)
{
    struct sws_checkpoint c = {.has_state = 0};
    struct str mark = STR(CHECKPOINT_STATE_MARK), origin, size, root, line;
    if (!note_line(&text, &origin) || !note_line(&text, &size) || !note_line(&text, &root) ||
        !origin.n || !note_number(size, &c.size) || !note_hash(root, c.root)) {
        return SWS_PROOF_SYNTAX;
    }
    c.origin = text_of(origin);
    while (text.n) {
        if (!note_line(&text, &line) || !line.n) {
            return SWS_PROOF_SYNTAX;
        }
        if (str_starts_with(line, mark)) {
            if (c.has_state || !note_hash(str_sub(line, mark.n, line.n), c.state_root)) {
                return SWS_PROOF_SYNTAX;
            }
            c.has_state = 1;
        }
    }
    *ret_checkpoint = c;
    return SWS_PROOF_OK;
}

enum sws_proof_error sws_verify_checkpoint(const char *text, size_t text_bytes,
                                           const struct sws_policy *policy,
                                           struct sws_checkpoint *ret_checkpoint)
{
    struct note note;
    struct sws_checkpoint c;
    enum sws_proof_error e = note_parse(str_make(text, text_bytes), &note);
    if (!e && note.text.n > SWS_CHECKPOINT_BYTES_MAX) {
        e = SWS_PROOF_LIMIT;
    }
    if (!e) {
        e = checkpoint_parse(note.text, &c);
    }
    if (!e) {
        e = policy_verify(policy, &note, text_str(c.origin), &c.witness_count, &c.witness_time);
    }
    if (!e) {
        *ret_checkpoint = c;
    }
    return e;
}
