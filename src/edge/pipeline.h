/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request head to a handler, in the one order that `sws explain` prints: normalise,
 * envelope, host, rewrite and route, handler; and from its end to counters and the log.
 */
#pragma once

#include "base/slab.h"
#include "crypto/tls_server.h"
#include "edge/site.h"
#include "log/log.h"
#include "log/metrics.h"
#include "log/writer.h"
#include "net/client.h"
#include "net/resolver.h"
#include "net/server.h"

struct explain;
struct file_cache;
struct upstream_view;
struct ws_loop;

#define HOST_MEMO_BYTES 64

/* The host of the last request: most requests name the one before again. */
struct host_memo {
    uint64_t generation; /* of the site; 0 = nothing */
    const struct site_host *host;
    size_t n;
    char authority[HOST_MEMO_BYTES];
};

/* What one loop needs to serve; only its thread touches it. */
struct pipeline {
    struct loop *loop;
    struct server *server;
    struct site_use *use; /* the site in force */
    struct host_memo memo;
    struct file_cache *files;
    struct rewrite_scratch *rewrite;
    struct ws_loop *ws;        /* NULL before the first WebSocket */
    struct client *client;     /* NULL before the first request to a backend */
    struct resolver *resolver; /* NULL before the first name of one */
    struct list mirrors;       /* copies under way, see mirror.h */
    unsigned mirror_count;
    struct metrics_block *metrics;
    struct writer_producer *access;         /* NULL = no access log */
    struct certificate_store *certificates; /* in force; NULL before TLS is served */
    struct str alt_svc;                     /* where HTTP/3 is spoken (RFC 7838), or empty */
    char alt_svc_text[24];
    uint16_t https_port; /* where plain requests are sent; 0 = nowhere */
    void (*on_demand)(void *context, struct str name); /* a certificate is wanted and missing */
    void *demand_context;
    int challenge_root;                   /* folder of answers for HTTP-01; -1 = none */
    int alpn_root;                        /* folder of certificates for TLS-ALPN-01; -1 = none */
    struct tls_policy *alpn_policy;       /* made when first needed, as is the next */
    struct certificate_store *alpn_store; /* of the last such handshake */
    struct log *log;                      /* the error log; NULL = none */
    uint64_t said_second; /* the last one in which programs wrote to it, and how often */
    unsigned said_count;
    struct slab uses;
    struct buf line; /* scratch for one log line */
    uint64_t id_state[2];
    const atomic_bool *is_ready; /* for /readyz */
    struct explain *explain;     /* who is told why; NULL: nobody asks */
};

/* A site as one loop sees it: the exchanges that use it are counted without atomics. */
struct site_use {
    struct site *site;
    struct upstream_view *views; /* of its backends */
    unsigned use_count;
    struct slab *home;
};

/* One reference less. */
void site_use_end(struct site_use *use);

enum err pipeline_init(struct pipeline *p, struct loop *loop, struct site *site) MUST_CHECK;
void pipeline_done(struct pipeline *p);

/* The next of a sequence that is not secret, only spread. */
uint64_t pipeline_random(struct pipeline *p);

/* The connections to backends; made when first needed. ERR_NOMEM. */
enum err pipeline_client(struct pipeline *p, struct client **ret_client) MUST_CHECK;

/* As resolver_ask, from the name servers that `site` names; the resolver is made when first needed.
 * Errors as resolver_create and resolver_ask. */
enum err pipeline_ask(struct pipeline *p, const struct site *site, struct str name, uint16_t port,
                      struct resolver_question *q, resolver_answer_fn on_answer) MUST_CHECK;

/* Requests that come from now on see `site`; those under way go on with the old one. */
enum err pipeline_set_site(struct pipeline *p, struct site *site) MUST_CHECK;

/* Certificates for handshakes that begin from now on; takes a reference. */
void pipeline_set_certificates(struct pipeline *p, struct certificate_store *store);

/* Chooses policy and certificates by name; `context` is the pipeline. */
struct tls_server_hooks pipeline_tls_hooks(struct pipeline *p);

/* The hooks for the server of this loop. */
/* HTTP/3 is spoken on `port`; 0: nowhere. */
void pipeline_set_h3_port(struct pipeline *p, uint16_t port);

struct server_hooks pipeline_hooks(struct pipeline *p);

/* The labels of the counters of refusals: limits, reasons of heads that were refused, and causes of
 * failures at backends. */
const char *const *pipeline_limit_names(void);
const char *const *pipeline_reason_names(void);
const char *const *pipeline_cause_names(void);
