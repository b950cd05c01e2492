/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The documents of an ACME server (RFC 8555, RFC 9773) as plain structs. They are a stranger's
 * bytes: what is missing or of another kind is ERR_SYNTAX, what is unknown is skipped. Results live
 * in the arena that is passed.
 *
 * jansson keeps to malloc(3) and not to base/mem.h: where memory runs out within a text, its reader
 * drops bytes and says nothing, so making its allocations fail would test no more than that.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define ACME_NAMES_MAX 100
#define ACME_URL_BYTES_MAX 2048
#define ACME_TOKEN_BYTES_MAX 128

/* What the objects of 7.1.6 can be. */
enum acme_status {
    ACME_PENDING,
    ACME_READY,
    ACME_PROCESSING,
    ACME_VALID,
    ACME_INVALID, /* also: deactivated, expired, revoked, unknown */
};

enum acme_challenge_kind { ACME_TLS_ALPN_01, ACME_HTTP_01, ACME_DNS_01, ACME_CHALLENGE_KINDS };

struct acme_directory {
    struct str new_nonce;
    struct str new_account;
    struct str new_order;
    struct str renewal_info; /* pointer NULL = the CA has none */
    bool needs_external_account;
};

/* An error in the sense of RFC 7807; both empty where there is none. */
struct acme_problem {
    struct str type; /* without urn:ietf:params:acme:error: */
    struct str detail;
};

struct acme_order {
    enum acme_status status;
    struct str *authorizations; /* URLs */
    size_t authorization_count;
    struct str finalize;
    struct str certificate; /* pointer NULL before it is valid */
    struct acme_problem problem;
};

struct acme_challenge {
    struct str url; /* pointer NULL = not offered */
    struct str token;
    enum acme_status status;
    struct acme_problem problem;
};

struct acme_authorization {
    enum acme_status status;
    struct str name; /* without the star of a wildcard */
    struct acme_challenge challenges[ACME_CHALLENGE_KINDS];
};

struct acme_window {
    int64_t start_s;
    int64_t end_s;
};

/* ERR_SYNTAX, ERR_NOMEM. */
enum err acme_parse_directory(struct arena *arena, struct str json,
                              struct acme_directory *ret) MUST_CHECK;
enum err acme_parse_order(struct arena *arena, struct str json, struct acme_order *ret) MUST_CHECK;
enum err acme_parse_authorization(struct arena *arena, struct str json,
                                  struct acme_authorization *ret) MUST_CHECK;
enum err acme_parse_window(struct str json, struct acme_window *ret) MUST_CHECK;

/* Of an answer that is an error; one that is no problem document has an empty type. */
enum err acme_parse_problem(struct arena *arena, struct str json,
                            struct acme_problem *ret) MUST_CHECK;

/* https, printable, nothing that JSON or a header would have to escape. */
bool acme_url_is_good(struct str url);

/* base64url, so that it can stand in a path (RFC 8555 8.3). */
bool acme_token_is_good(struct str token);

/* Seconds since 1970 of a date in the form of RFC 3339. ERR_SYNTAX. */
enum err acme_parse_date(struct str text, int64_t *ret_s) MUST_CHECK;
