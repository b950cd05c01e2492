/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libswsproof: checks what a ledger answered, without the ledger. docs/proofs.md has the formats.
 *
 * Nothing here allocates, keeps state, reads files or the clock, and every function may be called
 * from any thread. Inputs come from anywhere: whatever their bytes, a function returns, in time
 * that is linear in their length. Texts and structs that were parsed from them are views: the text
 * must outlive them. Outputs (`ret_`) are written on success only.
 */
#ifndef SWS_PROOF_H
#define SWS_PROOF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SWS_PROOF_API __attribute__((visibility("default")))
#define SWS_PROOF_CHECK __attribute__((warn_unused_result))
#else
#define SWS_PROOF_API
#define SWS_PROOF_CHECK
#endif

#define SWS_HASH_BYTES 32
#define SWS_PUBLIC_KEY_BYTES 32

#define SWS_ENTRY_BYTES_MAX 65535       /* of one entry of a log */
#define SWS_NOTE_BYTES_MAX (256 * 1024) /* of a checkpoint with its signatures */
#define SWS_NOTE_SIGNATURES_MAX 64
#define SWS_CHECKPOINT_BYTES_MAX 4096 /* of a checkpoint without its signatures */
#define SWS_RECEIPT_BYTES_MAX (512 * 1024)
#define SWS_PATH_MAX 65 /* hashes of an inclusion or consistency proof */
#define SWS_POLICY_BYTES_MAX (256 * 1024)
#define SWS_POLICY_LOGS_MAX 32
#define SWS_POLICY_MEMBERS_MAX 128 /* witnesses and groups */
#define SWS_STATE_CLAIMS_MAX 65536

/* name, value, sentence for people */
#define SWS_PROOF_ERRORS(X)                                                                        \
    X(SWS_PROOF_OK, 0, "it is proved")                                                             \
    X(SWS_PROOF_SYNTAX, -1, "it is not in the one form that its format allows")                    \
    X(SWS_PROOF_VERSION, -2, "it is of a kind or version that this program does not know")         \
    X(SWS_PROOF_LIMIT, -3, "it is larger than a proof may be")                                     \
    X(SWS_PROOF_RANGE, -4, "its sizes and indexes contradict each other")                          \
    X(SWS_PROOF_LENGTH, -5, "the proof has too many or too few hashes")                            \
    X(SWS_PROOF_ROOT, -6, "the proof does not lead to the root hash")                              \
    X(SWS_PROOF_KEY, -7, "this is not a verifier key that can be used here")                       \
    X(SWS_PROOF_POLICY, -8, "this line of the policy is wrong")                                    \
    X(SWS_PROOF_LOG, -9, "no log that is trusted has signed it")                                   \
    X(SWS_PROOF_SIGNATURE, -10, "the signature of a known key is wrong")                           \
    X(SWS_PROOF_QUORUM, -11, "too few of the witnesses have signed it")                            \
    X(SWS_PROOF_DAMAGED, -12, "it was changed after it was made")                                  \
    X(SWS_PROOF_NO_ENTRY, -13, "it does not hold its entry, which must be given too")              \
    X(SWS_PROOF_OTHER_ENTRY, -14, "it is for another entry than the one given")                    \
    X(SWS_PROOF_CLAIM, -15, "the state does not hold what is claimed")                             \
    X(SWS_PROOF_DUPLICATE, -16, "a key is claimed twice")

enum sws_proof_error {
#define X(name, value, text) name = value,
    SWS_PROOF_ERRORS(X)
#undef X
};

/* The sentence for `error`; never NULL, static. */
SWS_PROOF_API const char *sws_proof_error_text(enum sws_proof_error error);

/* A view of text, not NUL-terminated, not owned. */
struct sws_text {
    const char *p;
    size_t n;
};

/* ---- the log: RFC 9162 section 2.1 with SHA-256 ---- */

/* The hash of an entry as a leaf. */
SWS_PROOF_API void sws_leaf_hash(const void *entry, size_t entry_bytes,
                                 uint8_t ret_hash[SWS_HASH_BYTES]);

struct sws_inclusion {
    uint64_t index; /* of the leaf, from 0 */
    uint64_t size;  /* leaves of the tree */
    const uint8_t *leaf_hash;
    const uint8_t *root;
    const uint8_t (*path)[SWS_HASH_BYTES]; /* from the leaf's sibling upwards */
    size_t path_count;
};

/* Whether the leaf is in the tree at that index (RFC 9162 section 2.1.3.2). SWS_PROOF_RANGE,
 * SWS_PROOF_LENGTH, SWS_PROOF_ROOT. */
SWS_PROOF_API enum sws_proof_error
sws_verify_inclusion(const struct sws_inclusion *claim) SWS_PROOF_CHECK;

struct sws_consistency {
    uint64_t old_size, new_size;
    const uint8_t *old_root, *new_root;
    const uint8_t (*path)[SWS_HASH_BYTES];
    size_t path_count;
};

/* Whether the old tree is a prefix of the new one (RFC 9162 section 2.1.4.2). Of equal sizes the
 * roots must be equal and the path empty. The empty tree is a prefix of every other one, which
 * needs no proof and has none. SWS_PROOF_RANGE, SWS_PROOF_LENGTH, SWS_PROOF_ROOT. */
SWS_PROOF_API enum sws_proof_error
sws_verify_consistency(const struct sws_consistency *claim) SWS_PROOF_CHECK;

/* ---- keys and policies: C2SP signed-note, tlog-policy ---- */

enum sws_key_type {
    SWS_KEY_LOG = 1,    /* Ed25519 */
    SWS_KEY_WITNESS = 4 /* Ed25519 cosignature/v1, with a time */
};

struct sws_key {
    struct sws_text name;
    uint32_t id;
    enum sws_key_type type;
    uint8_t public_key[SWS_PUBLIC_KEY_BYTES];
};

/* Reads a verifier key, `name+id+key`. SWS_PROOF_KEY: it is none, or its id is not that of its name
 * and key, or its type is neither of those above. */
SWS_PROOF_API enum sws_proof_error sws_key_parse(const char *text, size_t text_bytes,
                                                 struct sws_key *ret_key) SWS_PROOF_CHECK;

/* A witness, or a group that has witnessed where `threshold` of its members have. */
struct sws_policy_member {
    struct sws_text name;
    int32_t group; /* the group it is a member of, or -1; always behind it in the list */
    uint16_t threshold, member_count; /* of a group; a threshold of 0 makes it a witness */
    struct sws_key key;               /* of a witness */
};

/* Which logs are trusted, and which witnesses must have signed. About 20 KB. */
struct sws_policy {
    uint32_t log_count, member_count;
    int32_t quorum; /* index of a member, or -1: no witness is needed */
    struct sws_key logs[SWS_POLICY_LOGS_MAX];
    struct sws_policy_member members[SWS_POLICY_MEMBERS_MAX];
};

/* Reads a policy. SWS_PROOF_POLICY, SWS_PROOF_KEY, SWS_PROOF_LIMIT: `reterr_line` (may be NULL) is
 * the line, from 1, or 0 where the text is too long or says nothing of a quorum, and `ret_policy`
 * is of no use. */
SWS_PROOF_API enum sws_proof_error sws_policy_parse(const char *text, size_t text_bytes,
                                                    struct sws_policy *ret_policy,
                                                    uint32_t *reterr_line) SWS_PROOF_CHECK;

/* Trusts one log in place of those that the policy names. SWS_PROOF_KEY: not the key of a log. */
SWS_PROOF_API enum sws_proof_error sws_policy_set_log(struct sws_policy *policy,
                                                      const struct sws_key *key) SWS_PROOF_CHECK;

/* The policy that trusts one log and needs no witness. SWS_PROOF_KEY: not the key of a log. */
SWS_PROOF_API enum sws_proof_error sws_policy_of_log(const struct sws_key *key,
                                                     struct sws_policy *ret_policy) SWS_PROOF_CHECK;

/* ---- checkpoints: C2SP tlog-checkpoint, tlog-cosignature ---- */

struct sws_checkpoint {
    struct sws_text origin;
    uint64_t size;
    uint8_t root[SWS_HASH_BYTES];
    int has_state; /* whether it names the root of a state */
    uint8_t state_root[SWS_HASH_BYTES];
    uint32_t witness_count; /* how many of the policy's witnesses have signed */
    uint64_t witness_time;  /* the latest of their times, seconds since 1970; 0 without witness */
};

/* Reads a checkpoint and judges its signatures. Those of unknown keys are ignored, as the standard
 * wants it; a wrong one of a known key refuses all. SWS_PROOF_SYNTAX, SWS_PROOF_LIMIT,
 * SWS_PROOF_LOG, SWS_PROOF_SIGNATURE, SWS_PROOF_QUORUM. */
SWS_PROOF_API enum sws_proof_error
sws_verify_checkpoint(const char *text, size_t text_bytes, const struct sws_policy *policy,
                      struct sws_checkpoint *ret_checkpoint) SWS_PROOF_CHECK;

/* ---- receipts: C2SP tlog-proof ---- */

struct sws_receipt {
    uint64_t index;
    struct sws_checkpoint checkpoint;
    size_t entry_bytes;         /* of the entry that it holds; 0 if it holds none */
    struct sws_text entry_text; /* for sws_receipt_entry */
    uint8_t leaf_hash[SWS_HASH_BYTES];
};

/* Whether the log has the entry. A receipt of Selenia holds it and is sealed: any changed bit is
 * refused, also where a signature of an unknown key is hit. `entry` may be NULL then; otherwise it
 * must be the same. For a receipt without `extra` line it must be given. The errors of
 * sws_verify_checkpoint and sws_verify_inclusion, and SWS_PROOF_VERSION, SWS_PROOF_DAMAGED,
 * SWS_PROOF_NO_ENTRY, SWS_PROOF_OTHER_ENTRY. */
SWS_PROOF_API enum sws_proof_error
sws_verify_receipt(const char *text, size_t text_bytes, const struct sws_policy *policy,
                   const struct sws_text *entry, struct sws_receipt *ret_receipt) SWS_PROOF_CHECK;

/* Copies the `entry_bytes` of the entry that a verified receipt holds. */
SWS_PROOF_API void sws_receipt_entry(const struct sws_receipt *receipt, uint8_t *ret_entry);

/* ---- the state: an authenticated map ---- */

struct sws_state_claim {
    const void *key;
    size_t key_bytes;
    const void *value; /* NULL: the state has no such key */
    size_t value_bytes;
    uint8_t work[2 * SWS_HASH_BYTES]; /* the library's */
};

/* Whether a state of that root holds all that is claimed, by one proof for all keys. Puts `claims`
 * into another order. SWS_PROOF_SYNTAX, SWS_PROOF_VERSION, SWS_PROOF_LIMIT, SWS_PROOF_LENGTH,
 * SWS_PROOF_ROOT; SWS_PROOF_CLAIM: the proof tells that a key is present that is claimed absent, or
 * the other way round; SWS_PROOF_DUPLICATE. A wrong value leads to SWS_PROOF_ROOT. */
SWS_PROOF_API enum sws_proof_error sws_verify_state(const uint8_t root[SWS_HASH_BYTES],
                                                    struct sws_state_claim *claims, size_t count,
                                                    const uint8_t *proof,
                                                    size_t proof_bytes) SWS_PROOF_CHECK;

#ifdef __cplusplus
}
#endif

#endif
