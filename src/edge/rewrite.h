/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rewrites: rules that change the path and query of a request before it is routed, or answer it
 * at once. `from` is a PCRE2 expression over the canonical path; `to` is a template:
 *   $0 to $9, ${1}, ${name}   a capture; $$ is a dollar; unset captures are empty
 *   ?a=b                      sets the query; the old query is appended unless `to` ends in `?`
 *   -                         leaves path and query alone
 * Captures are inserted raw into a path, percent-encoded into a query or a redirect.
 *
 * `if` is one or more terms joined by ` && `, each may be negated with `!`:
 *   file | dir | exists       asked of the caller for the path as it stands now
 *   method NAME...            the request method is one of these
 *   host REGEX                the canonical host (case does not matter)
 *   header NAME [REGEX]       the field exists (and matches)
 *   query NAME [REGEX]        the parameter exists (and its decoded value matches)
 *
 * Flags, separated by commas or spaces: L last rule, nothing further is tried; R or R=301, 302,
 * 303, 307, 308 answers with a redirect (302); F answers 403; G answers 410.
 *
 * The rules run in order, again and again until a round changes nothing, ten rounds at most.
 * Matching is bounded in steps and memory: an expression that explodes is an error, not a hang.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define REWRITE_ROUNDS_MAX 10
#define REWRITE_TARGET_BYTES_MAX 16384

struct rewrite_set;
struct rewrite_scratch;

struct rewrite_rule {
    struct str from;
    struct str to;
    struct str condition; /* empty: always */
    struct str flags;
};

/* What a person wrote wrongly: which rule, which key of it, at which byte, and why. */
struct rewrite_fault {
    size_t rule_index;
    const char *key; /* "from", "to", "if" or "flags" */
    size_t column;
    char reason[160];
};

enum rewrite_file_kind {
    REWRITE_FILE,   /* a regular file */
    REWRITE_DIR,    /* a directory */
    REWRITE_EXISTS, /* either */
};

/* The request as the rules see it. The callbacks may be NULL: no field, no file. */
struct rewrite_request {
    struct str method;
    struct str host;  /* canonical */
    struct str path;  /* canonical, starts with a slash */
    struct str query; /* raw, without the question mark */
    void *user;
    /* True where the field `name` (case does not matter) exists; its value lives as long as the
     * request. */
    bool (*field)(void *user, struct str name, struct str *ret_value);
    /* True where `path` names such a thing below the site's root. */
    bool (*has_file)(void *user, enum rewrite_file_kind kind, struct str path);
};

enum rewrite_outcome {
    REWRITE_UNCHANGED,
    REWRITE_CHANGED,  /* go on with `path` and `query` */
    REWRITE_REDIRECT, /* answer `status` with `location` */
    REWRITE_REFUSED,  /* answer `status`: F, G, or the reason says what went wrong */
};

/* The views live until the next run with the same scratch. */
struct rewrite_result {
    enum rewrite_outcome outcome;
    uint16_t status;
    uint16_t rounds;
    uint32_t rule; /* the last rule that acted; meaningless when unchanged */
    struct str path;
    struct str query;
    struct str location;
    const char *reason; /* static; NULL unless refused for a fault (400, 500) */
};

/* Compiles `rules`; immutable afterwards and shared by threads. ERR_CONFIG fills `reterr_fault`
 * (may be NULL); ERR_UNSUPPORTED likewise for the flag P; ERR_NOMEM. */
enum err rewrite_create(const struct rewrite_rule *rules, size_t rule_count,
                        struct rewrite_set **ret_set,
                        struct rewrite_fault *reterr_fault) MUST_CHECK;
void rewrite_destroy(struct rewrite_set *set);

/* What one loop needs to run any set: match memory and buffers. Not shared between threads. */
enum err rewrite_scratch_create(struct rewrite_scratch **ret_scratch) MUST_CHECK;
void rewrite_scratch_destroy(struct rewrite_scratch *scratch);

/* Runs the rules. ERR_NOMEM is the only failure; everything a peer or a rule can cause is an
 * outcome: 400 where the result would hold CR, LF, NUL or a dot segment, 414 where it grows past
 * REWRITE_TARGET_BYTES_MAX, 500 where a limit of the matcher was hit or the rules never settle. */
enum err rewrite_run(const struct rewrite_set *set, struct rewrite_scratch *scratch,
                     const struct rewrite_request *request,
                     struct rewrite_result *ret_result) MUST_CHECK;
