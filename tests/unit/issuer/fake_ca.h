/* SPDX-License-Identifier: Apache-2.0 */
/* An ACME server in memory, that keeps to RFC 8555 unless it is told not to. It lies in shared
 * memory: what a child process did to it is seen by its parent. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "issuer/acme.h"

#define FAKE_DIRECTORY "https://ca.test/dir"
#define FAKE_ORDERS_MAX 64
#define FAKE_NAMES_MAX 4

enum fake_step {
    FAKE_NONE,
    FAKE_AT_DIRECTORY,
    FAKE_AT_NONCE,
    FAKE_AT_ACCOUNT,
    FAKE_AT_NEW_ORDER,
    FAKE_AT_AUTHORIZATION,
    FAKE_AT_CHALLENGE,
    FAKE_AT_FINALIZE,
    FAKE_AT_ORDER,
    FAKE_AT_CERTIFICATE,
    FAKE_AT_WINDOW,
    FAKE_STEPS,
};

struct fake_order {
    char names[FAKE_NAMES_MAX][64];
    unsigned name_count;
    bool was_asked[FAKE_NAMES_MAX]; /* the challenge was answered */
    unsigned polls[FAKE_NAMES_MAX];
    bool is_valid[FAKE_NAMES_MAX];
    bool is_invalid;
    bool is_finalized;
    unsigned processing_polls;
    char chain[4096];
};

struct fake_ca {
    /* what it does */
    unsigned pending_polls;    /* an authorization is pending for so many looks */
    unsigned processing_polls; /* and an order is processing */
    unsigned bad_nonces;       /* so many good nonces are refused */
    enum fake_step error_at;   /* this step is answered with an error, */
    unsigned error_count;      /* so many times, */
    unsigned error_status;     /* of this kind: */
    const char *error_type;
    const char *retry_after;   /* also of polls; NULL = none */
    enum fake_step garbage_at; /* this step is answered with `garbage` */
    const char *garbage;
    bool refuses_proofs; /* authorizations become invalid */
    bool has_no_tls_alpn;
    bool has_window;
    bool needs_eab;
    bool signs_other_key; /* certificates do not fit */
    int64_t not_before_s, not_after_s;
    /* what it saw */
    unsigned requests[FAKE_STEPS];
    unsigned accounts;
    unsigned order_count;
    unsigned nonce_count;
    bool is_nonce_used[4096];
    char replaces[256];
    char last_contact[64];
    bool had_eab;
    struct fake_order orders[FAKE_ORDERS_MAX];
};

struct fake_ca *fake_ca_create(void);
void fake_ca_destroy(struct fake_ca *f);

/* Answers what an ACME_SEND says; the result lives until the next call. Its own memory does not
 * count for mem_test_fail_at. */
void fake_ca_answer(struct fake_ca *f, const struct acme_action *request,
                    struct web_answer *ret_answer);

/* For the same reason: runs with the fault of the caller put aside. */
extern unsigned long fake_ca_fail_at; /* the n of the sweep; 0 = none */
