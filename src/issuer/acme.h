/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client side of ACME (RFC 8555, 8737, 8738, 9773) without I/O, files or a clock. It says what
 * to do next, one action at a time, and is told how that went:
 *
 *     acme_next -> ACME_SEND    -> acme_on_answer, or acme_on_broken
 *               -> ACME_KEEP_*, ACME_PRESENT, ACME_CLEAN -> acme_on_done
 *               -> ACME_WAIT    -> acme_next again, not before that time
 *               -> ACME_END     -> acme_failure; NULL: acme_chain or acme_window has the result
 *
 * One object talks to one CA with one account; after the end of an order another may begin.
 */
#pragma once

#include "base/buf.h"
#include "crypto/private_key.h"
#include "issuer/acme_json.h"
#include "issuer/web.h"

#define ACME_CHAIN_BYTES_MAX (256u * 1024u)

struct acme;

struct acme_config {
    struct str directory; /* URL */
    const struct private_key *key;
    struct str account; /* URL; empty: to be made */
    struct str email;   /* may be empty, as may the next two */
    struct str eab_kid;
    struct str eab_key;
};

struct acme_request_order {
    const struct str *names; /* host names and addresses; "*.x" only with ACME_DNS_01 */
    size_t name_count;
    struct str csr;      /* DER */
    struct str url;      /* of an order that was begun before; empty = none */
    struct str replaces; /* identifier of the certificate it follows (RFC 9773 5); may be empty */
    enum acme_challenge_kind challenge;
};

enum acme_action_kind {
    ACME_SEND,
    ACME_KEEP_ACCOUNT, /* `url` is the account: must be on disk before the next action */
    ACME_KEEP_ORDER,   /* `url` is the order; empty: the one that was kept is gone */
    ACME_PRESENT,      /* make the challenge answerable */
    ACME_CLEAN,        /* and take it away again */
    ACME_WAIT,
    ACME_END,
};

/* Views live until the next call. */
struct acme_action {
    enum acme_action_kind kind;
    enum web_method method;
    struct str url;
    struct str body;
    enum acme_challenge_kind challenge;
    struct str name; /* that is proved, without the star of a wildcard */
    struct str token;
    struct str key_authorization; /* RFC 8555 8.1 */
    int64_t until_s;
};

struct acme_failure {
    char text[320];      /* one sentence, without a stop */
    int64_t retry_at_s;  /* when the CA wants to be asked again; 0 = it did not say */
    bool is_unreachable; /* the CA could not be asked */
    bool is_challenge;   /* a name could not be proved: another challenge may */
};

/* Copies `config` but for the key, which must live as long. ERR_NOMEM. */
enum err acme_create(const struct acme_config *config, struct acme **ret_acme) MUST_CHECK;
void acme_destroy(struct acme *a);

/* Begins an order, copying what it says. Not before the end of the one before. ERR_NOMEM. */
enum err acme_begin_order(struct acme *a, const struct acme_request_order *request,
                          int64_t now_s) MUST_CHECK;

/* Begins to ask when the certificate `id` (RFC 9773 4.1) should be replaced. ERR_NOMEM. */
enum err acme_begin_window(struct acme *a, struct str id, int64_t now_s) MUST_CHECK;

void acme_next(struct acme *a, int64_t now_s, struct acme_action *ret_action);
void acme_on_answer(struct acme *a, int64_t now_s, const struct web_answer *answer);
void acme_on_broken(struct acme *a, const char *reason);

/* `e` ERR_OK, or why it could not be done, in words in `reason`. */
void acme_on_done(struct acme *a, enum err e, const char *reason);

/* Why it ended, or NULL: it ended well. */
const struct acme_failure *acme_failure(const struct acme *a);

/* The chain in PEM, after an order ended well. */
struct str acme_chain(const struct acme *a);

/* The window, after a question for it ended well; false: the CA does not say. `*ret_again_s`: when
 * to ask again. */
bool acme_window(const struct acme *a, struct acme_window *ret_window, int64_t *ret_again_s);
