/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backend is made of, part of the site. A handler asks for an endpoint before each try, and
 * says afterwards how it went; which one is next, and whether another try is due, is decided here
 * and in balance.h and nowhere else.
 */
#pragma once

#include "base/arena.h"
#include "conf/settings.h"
#include "crypto/fault.h"
#include "net/client.h"

struct endpoint;
struct endpoint_set;
struct pipeline;
struct upstream;

struct upstream_endpoint {
    struct str name;             /* as configured, for logs */
    struct str authority;        /* its own, for Host; never empty */
    struct client_target target; /* its address, unless it has a name */
    struct str host;             /* its name; empty: it has an address */
    uint16_t port;
    struct endpoint *state; /* shared by all loops and by the sites before and after */
    uint32_t weight;
    bool is_backup;
};

/* One request on its way through the tries; zeroed at first but for the key. */
struct upstream_use {
    uint64_t key; /* balance_hash of what backend.hash names; 0 where nothing goes by it */
    unsigned try_count;
    uint64_t tried; /* a bit for each endpoint */
    uint64_t start_ns;
    uint32_t pause_ms;                        /* before the next try */
    const struct upstream_endpoint *endpoint; /* of the last try */
    bool wants_new_connection;
    bool is_under_way;
    bool is_retry; /* counted in the budget of retries */
};

/* What a backend is made from; what is known of its endpoints is kept by `endpoints` under the name
 * `backend`. */
struct upstream_input {
    struct arena *arena;
    const struct backend_settings *settings;
    struct str backend;
    struct endpoint_set *endpoints;
};

/* Lives in the arena, but is ended by upstream_done; `*ret_upstream` is NULL for a backend that is
 * built in. ERR_CONFIG: its TLS; ERR_NOMEM. */
enum err upstream_create(const struct upstream_input *input, struct upstream **ret_upstream,
                         struct fault *reterr_fault) MUST_CHECK;
void upstream_done(struct upstream *u); /* NULL is a no-op */

const struct backend_settings *upstream_settings(const struct upstream *u);
const struct client_timeouts *upstream_timeouts(const struct upstream *u);

/* Sets the endpoint of the next try, which is under way from here on. False: each has as many
 * requests as it may. */
bool upstream_pick(struct pipeline *p, const struct upstream *u, struct upstream_use *use);

/* The head of an answer came. */
void upstream_answered(struct pipeline *p, const struct upstream *u, struct upstream_use *use,
                       uint16_t status);

/* The try is not under way any more; a no-op where none is. */
void upstream_release(const struct upstream *u, struct upstream_use *use);

/* The try ended; counts it and releases it. True: another one is due after use->pause_ms, which the
 * caller allows by `is_replayable`: nothing of the request's body is spent, nothing of an answer
 * was given. It is made where the upstream cannot have seen the request, or may see it twice (RFC
 * 9110 9.2.2): no connection, or one that was used before and ended without a byte; and at another
 * endpoint also where any connection did. */
bool upstream_report(struct pipeline *p, const struct upstream *u, struct upstream_use *use,
                     const struct client_end *end, bool is_idempotent, bool is_replayable);

/* Whether the due try may begin; false: as many retries as may be are under way, and use->pause_ms
 * says when to ask again. */
bool upstream_begin_retry(struct pipeline *p, const struct upstream *u, struct upstream_use *use);
