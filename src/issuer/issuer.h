/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does what a task says: looks which certificates are due, orders them one after the other, keeps
 * what it gets (issuer/acme_store.h). May be ended at any moment: what was begun is gone on with.
 */
#pragma once

#include "issuer/acme.h"
#include "issuer/task.h"

enum issuer_event {
    ISSUER_ORDERS,    /* a certificate is ordered; text: the CA */
    ISSUER_ISSUED,    /* it is there: the edge should take it; text: the CA */
    ISSUER_FAILED,    /* it was not got; text: why */
    ISSUER_STAPLED,   /* there is an answer of an OCSP responder: the edge should take it */
    ISSUER_UNSTAPLED, /* there is none, or no new one; text: why */
    ISSUER_REVOKED,   /* the responder says so: the edge should staple nothing; text: more, or empty
                       */
    ISSUER_REFUSED,   /* the service of the user does not want the name */
    ISSUER_WARNING,   /* something else went wrong; text: what */
};

/* How the issuer reaches the world; replaceable for tests. */
struct issuer_io {
    void *context;
    int64_t (*now_s)(void *context); /* Unix seconds */

    /* As web_client_send, trusting whom the request says. */
    enum err (*send)(void *context, const struct web_request *request,
                     struct web_answer *ret_answer, const char **ret_reason);

    /* Waits until that time; false: there is to be an end now. */
    bool (*wait)(void *context, int64_t until_s);

    void (*on_event)(void *context, enum issuer_event event, const struct task_set *set,
                     const char *text);
};

/* Does everything that is due. Returns when to come back, in Unix seconds; 0: `io->wait` said that
 * there is to be an end. */
int64_t issuer_work(const struct task *task, const struct issuer_io *io);

enum issuer_state {
    ISSUER_WAITS, /* there is none yet */
    ISSUER_GOOD,
    ISSUER_TROUBLED, /* there is one, but its renewal fails */
};

/* What people want to know of one certificate. */
struct issuer_status {
    enum issuer_state state;
    struct str ca; /* who signed it, or shall */
    int64_t not_after_s;
    int64_t retry_at_s;
    char error[320]; /* of the last failure; empty = none */
};

/* The certificate of `set` that is to be served: that of its CA, or of its second one where that is
 * fresher. ERR_NOT_FOUND: there is none yet. `ret_status` is filled in any case and may be NULL. */
struct certificate;
enum err issuer_certificate(struct str folder, const struct task_set *set,
                            struct certificate **ret_certificate,
                            struct issuer_status *ret_status) MUST_CHECK;
