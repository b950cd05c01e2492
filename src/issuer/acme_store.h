/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an issuer keeps on disk, below one folder:
 *
 *     <ca>/account.key     the key of the account (0600)
 *     <ca>/account.json    its URL, and when orders were made
 *     <ca>/<set>.json      one certificate: the order under way, failures, renewal window (0600)
 *     <ca>/<set>.pem       its chain and its key in one file, so that they always fit (0600)
 *     challenge/<token>    the answer of an HTTP-01 challenge
 *     demand/<name>        a name that was allowed to have a certificate (issuer/demand.h)
 *     ocsp/<leaf>.der      what the OCSP responder of a certificate said (issuer/stapler.h)
 *     alpn/<name>.pem      the certificate of a TLS-ALPN-01 challenge, and its key
 *
 * Each file is replaced as a whole, so that a crash at any moment leaves the old or the new one.
 */
#pragma once

#include <limits.h>

#include "base/buf.h"
#include "base/str.h"
#include "crypto/private_key.h"
#include "issuer/plan.h"

#define STORE_CHALLENGE_FOLDER "challenge"
#define STORE_ALPN_FOLDER "alpn"
#define STORE_OCSP_FOLDER "ocsp"
#define STORE_DEMAND_FOLDER "demand"

/* One certificate: its names, and which CA signs. Texts end with a NUL. */
struct store_set {
    struct str folder;
    struct str ca; /* directory URL */
    const struct str *names;
    size_t name_count;
};

struct store_account {
    struct private_key *key;
    char url[ACME_URL_BYTES_MAX + 1]; /* empty = not registered yet */
    struct plan_orders orders;
};

struct store_record {
    char order_url[ACME_URL_BYTES_MAX + 1]; /* empty = none under way */
    struct buf key_pem;                     /* of the certificate that is under way; secret */
    unsigned failures;
    unsigned turn; /* which of the possible challenges is tried next */
    int64_t retry_at_s;
    char error[320];
    struct acme_window window; /* start_s 0 = none */
    int64_t window_again_s;    /* when to ask for it again */
    uint64_t settings;         /* a mark of what was asked for, see store_settings */
};

/* Makes the folder of the CA. Opening an account does so too. */
enum err store_make_folder(const struct store_set *set) MUST_CHECK;

/* Loads the account with the CA of `set`, or makes a key for one. ERR_SYNTAX: a file holds
 * something else; ERR_NOMEM, and what files say. */
enum err store_open_account(const struct store_set *set, struct store_account *ret_account,
                            struct fault *reterr_fault) MUST_CHECK;
enum err store_keep_account(const struct store_set *set,
                            const struct store_account *account) MUST_CHECK;
void store_account_done(struct store_account *account);

/* An empty record where there is none, or none that can be read. ERR_NOMEM. Ended by
 * store_record_done. */
enum err store_read_record(const struct store_set *set, struct store_record *ret_record) MUST_CHECK;
enum err store_keep_record(const struct store_set *set,
                           const struct store_record *record) MUST_CHECK;
void store_record_done(struct store_record *record);

/* Appends chain and key in one text; the caller wipes it. ERR_NOT_FOUND, ... */
enum err store_read_certificate(const struct store_set *set, struct buf *out) MUST_CHECK;
enum err store_keep_certificate(const struct store_set *set, struct str chain_pem,
                                struct str key_pem) MUST_CHECK;

/* Removes record and certificate, where there are any. */
enum err store_remove(const struct store_set *set) MUST_CHECK;

/* The same for the same names in any order. */
uint64_t store_seed(const struct store_set *set);

/* Writes `<folder>/<a>/<b>`. ERR_LIMIT. */
enum err store_path(struct str folder, const char *a, const char *b,
                    char ret_path[PATH_MAX]) MUST_CHECK;

/* Wipes and frees. */
void store_wipe(struct buf *secret);
