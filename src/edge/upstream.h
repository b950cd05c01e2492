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
#include "edge/members.h"
#include "loop/loop.h"
#include "net/client.h"

struct members_use;
struct pipeline;
struct upstream;

/* A backend as one loop sees it: the list of its endpoints that was in force when somebody asked
 * last. The requests that go by a list are counted without atomics. Zeroed at first. */
struct upstream_view {
    struct members_use *now; /* NULL before the first request */
    /* Requests that wait for room; the rest is not set before the first of them. */
    struct list waiting;
    struct timer timer;
    struct pipeline *pipeline;
    const struct upstream *upstream;
};

/* One request on its way through the tries; zeroed at first but for the view, the key and
 * the mark. */
struct upstream_use {
    struct upstream_view *view; /* of the loop and the site that the request has */
    struct members_use *list;   /* what `tried` and `endpoint` are of; NULL before the first try */
    uint64_t key; /* balance_hash of what backend.hash names; 0 where nothing goes by it */
    bool has_mark;
    char mark[STICKY_MARK_BYTES]; /* what the cookie says */
    unsigned try_count;
    uint64_t tried; /* a bit for each endpoint */
    uint64_t start_ns;
    uint32_t pause_ms;                        /* before the next try */
    const struct upstream_endpoint *endpoint; /* of the last try */
    bool wants_new_connection;
    bool is_under_way;
    bool is_tunnel;
    bool is_retry; /* counted in the budget of retries */
    /* While it waits for room. */
    bool is_waiting;
    struct list wait_link;
    uint64_t wait_until_ms;
    void (*on_turn)(struct upstream_use *use);
};

struct upstream_input {
    struct arena *arena;
    const struct backend_settings *settings;
    struct str name;               /* for people; no two of a site have one; kept as it is */
    struct str zone;               /* of this node; empty: none; kept as it is */
    size_t index;                  /* among those of its site */
    const struct upstream *before; /* of this name in the site before; NULL: there was none */
};

/* Lives in the arena, but is ended by upstream_done. What is known of the endpoints of `before`
 * goes on, and so does its list where the settings name no endpoint. ERR_CONFIG: its TLS;
 * ERR_NOMEM. */
enum err upstream_create(const struct upstream_input *input, struct upstream **ret_upstream,
                         struct fault *reterr_fault) MUST_CHECK;
void upstream_done(struct upstream *u); /* NULL is a no-op */

struct str upstream_name(const struct upstream *u);
size_t upstream_index(const struct upstream *u);
const struct backend_settings *upstream_settings(const struct upstream *u);
const struct client_timeouts *upstream_timeouts(const struct upstream *u);

/* How much of a request's body is worth keeping for another try. */
size_t upstream_replay_bytes(const struct upstream *u);

/* The list in force, for the thread that publishes. */
struct members *upstream_members(const struct upstream *u);

/* Another list of endpoints from here on; an empty one is none that can serve. Those whose names
 * stay keep what is known of them, requests under way keep the endpoint they have. Of one thread,
 * which may be another than those that serve. Errors as members_create, and the list is unchanged.
 */
enum err upstream_publish(const struct upstream *u, const struct member *list, size_t count,
                          struct fault *reterr_fault) MUST_CHECK;

/* The loop asks no more. */
void upstream_view_done(struct upstream_view *view);

/* Whether the list that was asked last had any endpoint. */
bool upstream_has_endpoint(const struct upstream_use *use);

/* Sets the endpoint of the next try, which is under way from here on. False: each has as many
 * requests as it may, or there is none. */
bool upstream_pick(struct pipeline *p, const struct upstream *u, struct upstream_use *use);

enum upstream_answer {
    UPSTREAM_PICKED,
    UPSTREAM_WAITS, /* on_turn comes, unless upstream_end is called before */
    UPSTREAM_REFUSED,
};

/* As upstream_pick, but where each endpoint has as many requests as it may, or there is none at the
 * moment, it waits up to a second for its turn; then `endpoint` is set, or NULL: it was in vain.
 * Nobody waits where breaker.pending do so already, or where all endpoints are drained. */
enum upstream_answer upstream_pick_or_wait(struct pipeline *p, const struct upstream *u,
                                           struct upstream_use *use,
                                           void (*on_turn)(struct upstream_use *use));

/* The head of an answer came. */
void upstream_answered(struct pipeline *p, const struct upstream *u, struct upstream_use *use,
                       uint16_t status);

/* The try may last for long from here on, and so is no retry any more that would leave others no
 * room in the budget. */
void upstream_last(const struct upstream *u, struct upstream_use *use);

/* The try became a tunnel; upstream_last is included. */
void upstream_tunnel(const struct upstream *u, struct upstream_use *use);

/* The try met `fault` at `address`. Where that was no connection, other addresses of the same name
 * come first from here on. */
void upstream_avoid(struct pipeline *p, const struct upstream_use *use, enum client_fault fault,
                    const struct socket_address *address);

/* How long a try that is due may wait while too many others are made again. */
#define UPSTREAM_RETRY_WAIT_MS 1000u

/* The try is not under way any more; a no-op where none is. */
void upstream_release(const struct upstream *u, struct upstream_use *use);

/* The request is over: as upstream_release, and `endpoint` is gone afterwards. */
void upstream_end(const struct upstream *u, struct upstream_use *use);

/* The try ended; counts it and releases it. True: another one is due after use->pause_ms, which the
 * caller allows by `is_replayable`: the body of the request can be sent again, nothing of an answer
 * was given. It is made after what backend.retry names, where the upstream cannot have seen the
 * request, or may see it twice (RFC 9110 9.2.2); and always after a connection that had rested and
 * ended without a byte. */
bool upstream_report(struct pipeline *p, const struct upstream *u, struct upstream_use *use,
                     const struct client_end *end, bool is_idempotent, bool is_replayable);

/* The head of an answer came that the caller can still take back. True: it is not to be passed on,
 * another endpoint is due after use->pause_ms, whose try is allowed already. */
bool upstream_retry_answer(struct pipeline *p, const struct upstream *u, struct upstream_use *use,
                           uint16_t status);

/* Whether the due try may begin; false: as many retries as may be are under way, and use->pause_ms
 * says when to ask again. */
bool upstream_begin_retry(struct pipeline *p, const struct upstream *u, struct upstream_use *use);
