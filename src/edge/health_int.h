/* SPDX-License-Identifier: Apache-2.0 */
/* A probe is one endpoint and how it is asked. health.c decides when, and what an answer means for
 * the endpoint; a kind of check knows how to get one. */
#pragma once

#include "base/buf.h"
#include "edge/health.h"
#include "edge/members.h"
#include "loop/loop.h"
#include "net/client.h"
#include "net/proxy_header.h"
#include "net/resolver.h"

#define HEALTH_BODY_BYTES_MAX 65536u
#define HEALTH_REASON_BYTES 160

struct health_probe;

struct health_kind {
    /* Asks the address p->target, and tells by health_verdict, not from within this call. An error
     * is a verdict too. */
    enum err (*begin)(struct health_probe *p);
    /* No verdict is wanted any more. */
    void (*cancel)(struct health_probe *p);
};

extern const struct health_kind health_kind_http, health_kind_tcp, health_kind_grpc;

struct health_probe {
    struct list link;
    struct health *health;
    /* What is asked, as long as `members` and the site of `health` live. */
    struct members *members;
    const struct upstream_endpoint *endpoint;
    const struct upstream *upstream;
    const struct check_settings *settings;
    bool is_wanted; /* by the site that is being looked at */
    /* The check under way. */
    bool is_under_way;
    const struct health_kind *kind; /* NULL: no address is known yet, or none is under way */
    struct client_target target;
    char greeting[PROXY_HEADER_WRITTEN_MAX];
    struct resolver_question question;
    struct client_exchange *exchange; /* HTTP */
    struct loop_watch watch;          /* TCP */
    struct buf body;
    struct timer turn;     /* the next check */
    struct timer deadline; /* of this one */
    /* What is known. */
    unsigned pass_count, fail_count; /* in a row */
    bool has_passed;                 /* ever */
};

struct loop *health_loop(const struct health *h);

/* NULL: no memory for it. */
struct client *health_client(struct health *h);

/* Begins an exchange with the endpoint on a connection of its own: Host and User-Agent are put
 * before `own`, which has room for them, and nothing but the deadline of the check ends it. Errors
 * of client_start. */
enum err health_exchange_begin(struct health_probe *p, struct client_request *request,
                               const struct http_fields *own,
                               const struct client_service *service) MUST_CHECK;

/* Breaks it off where it is under way. */
void health_exchange_cancel(struct health_probe *p);

/* The same, and the check ends with `reason`. */
void health_exchange_end(struct health_probe *p, const char *reason);

/* The check ends because the exchange failed. */
void health_exchange_failed(struct health_probe *p, const struct client_end *end);

/* The check under way ended; `reason` NULL: it passed. Copied. */
void health_verdict(struct health_probe *p, const char *reason);
