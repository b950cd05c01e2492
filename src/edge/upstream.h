/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backend is made of, part of the site and immutable. A handler asks for an endpoint before
 * each try, and says afterwards how it went; which one is next, and whether another try is due, is
 * decided here and nowhere else.
 */
#pragma once

#include "base/arena.h"
#include "conf/settings.h"
#include "crypto/fault.h"
#include "net/client.h"

struct pipeline;
struct upstream;

struct upstream_endpoint {
    struct str name;             /* as configured, for logs */
    struct str authority;        /* its own, for Host; never empty */
    struct client_target target; /* its address, unless it has a name */
    struct str host;             /* its name; empty: it has an address */
    uint16_t port;
};

/* One request on its way through the tries; zeroed at first. */
struct upstream_use {
    unsigned try_count;
    const struct upstream_endpoint *endpoint; /* of the try that is under way */
    bool wants_new_connection;
};

/* Lives in `arena`, but is ended by upstream_done; `*ret_upstream` is NULL for a backend that is
 * built in. ERR_CONFIG: its TLS; ERR_NOMEM. */
enum err upstream_create(struct arena *arena, const struct backend_settings *settings,
                         struct upstream **ret_upstream, struct fault *reterr_fault) MUST_CHECK;
void upstream_done(struct upstream *u); /* NULL is a no-op */

const struct backend_settings *upstream_settings(const struct upstream *u);
const struct client_timeouts *upstream_timeouts(const struct upstream *u);

/* Sets the endpoint of the next try. */
void upstream_pick(const struct upstream *u, struct upstream_use *use);

/* The try ended; counts it. True: another one is due, which the caller allows by `is_replayable`:
 * nothing of the request's body is spent, nothing of an answer was given. It is made where the
 * upstream cannot have seen the request, or may see it twice (RFC 9110 9.2.2): no connection, or
 * one that was used before and ended without a byte. */
bool upstream_report(struct pipeline *p, const struct upstream *u, struct upstream_use *use,
                     const struct client_end *end, bool is_idempotent, bool is_replayable);
