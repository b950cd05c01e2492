/* SPDX-License-Identifier: Apache-2.0 */
/* upstream.c holds the list and says how a try went; upstream_queue.c lets requests wait. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "edge/upstream.h"

/* All loops count here, and find the list in force. */
struct upstream_shared {
    atomic_uint turns;
    atomic_uint active; /* tries under way */
    atomic_uint retries;
    atomic_uint pending;  /* requests that wait for room */
    pthread_mutex_t lock; /* held to take a reference of `members`, and to replace it */
    _Atomic(struct members *) members;
};

struct upstream {
    const struct backend_settings *settings;
    struct str name;
    struct str zone; /* ours */
    size_t index;
    struct client_timeouts timeouts;
    struct balance_rules rules;
    struct tls_client *tls; /* what its endpoints have that speak it; NULL: none does */
    struct upstream_shared *shared;
};

/* A list as one loop uses it. */
struct members_use {
    struct members *members;
    unsigned use_count;
};

enum upstream_choice {
    UPSTREAM_GIVEN,
    UPSTREAM_FULL,   /* each has as many requests as it may, or there is none at the moment */
    UPSTREAM_CLOSED, /* all are drained */
};

/* upstream_pick, but for the counter. */
enum upstream_choice upstream_choose(struct pipeline *p, const struct upstream *u,
                                     struct upstream_use *use);

/* A request of this loop ended somewhere; no-op where nobody waits. */
void upstream_queue_room(struct upstream_view *view);

/* It waits no more; no-op where it does not. */
void upstream_queue_leave(const struct upstream *u, struct upstream_use *use);
