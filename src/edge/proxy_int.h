/* SPDX-License-Identifier: Apache-2.0 */
/* What is passed on and what is not (RFC 9110 7.6), and what is added on the way. */
#pragma once

#include "edge/request.h"
#include "edge/upstream.h"
#include "net/resolver.h"

#define PROXY_KEY_BYTES 24 /* of Sec-WebSocket-Key */

/* A request without content says nothing of it, but for those whose content is their point (RFC
 * 9110 8.6). */
bool proxy_has_body(const struct exchange *x);

/* The fields of the request for the upstream, at most HTTP_FIELDS_MAX; text is of the request, the
 * site or the arena of the exchange. `websocket_key` empty: no WebSocket. ERR_LIMIT: too many;
 * ERR_NOMEM. */
enum err proxy_request_fields(struct request *r, const struct upstream *u,
                              const struct upstream_endpoint *endpoint, struct str websocket_key,
                              struct http_fields *fields) MUST_CHECK;

/* The fields of an answer for the client. `version`: what it came by; `is_switch`: of a 101. Errors
 * as above. */
enum err proxy_response_fields(const struct request *r, const struct http_fields *from,
                               enum http_version version, bool is_switch,
                               struct http_fields *fields) MUST_CHECK;

/* Trailers, in either direction, and the fields of an interim answer. Errors as above. */
enum err proxy_trailers(const struct http_fields *from, struct http_fields *fields) MUST_CHECK;

/* What the client says of the endpoint it had. */
void proxy_read_sticky(const struct request *r, const struct upstream *u, struct upstream_use *use);

/* Tells the client which endpoint it had, where backend.sticky asks for it and the client did not
 * say so itself. ERR_LIMIT, ERR_NOMEM. */
enum err proxy_add_sticky(const struct request *r, const struct upstream *u,
                          const struct upstream_use *use, struct http_fields *fields) MUST_CHECK;

/* What a connection for this client begins with: `version` of the PROXY protocol. ERR_NOMEM. */
enum err proxy_greeting(struct exchange *x, unsigned version, struct str *ret_text) MUST_CHECK;

/* The key of the request for `backend.hash`. */
uint64_t proxy_hash_key(const struct request *r, struct str rule);

/* In the arena of its exchange. */
struct proxy {
    struct request *request;
    struct exchange *x;
    const struct upstream *upstream;
    struct upstream_use use;
    struct client_target target_now; /* of the try that is under way */
    struct resolver_question question;
    struct client_exchange *answer; /* NULL: none is under way */
    struct timer continue_timer;
    struct timer retry_timer;
    uint64_t retry_until_ms;
    struct client_end last_end; /* of a try that is to be made again */
    struct str target;          /* encoded for the upstream */
    struct str websocket_key;   /* ours; empty: no WebSocket */
    bool has_body;              /* of the request, or a tunnel */
    bool is_gathering;          /* the body comes first, then the first try */
    uint64_t body_bytes;        /* of the request; CLIENT_LENGTH_UNKNOWN */
    bool is_body_asked;
    struct buf replay;   /* what was taken of it, to be sent again */
    bool is_body_spent;  /* some of it was taken from the client */
    bool is_replay_lost; /* and more than is kept */
    bool is_mirrored;    /* once the body is whole */
    size_t replay_bytes_max;
    bool is_body_done;
    bool is_waiting_continue;
    bool is_waiting_room; /* in the client's queue */
    bool is_tunnel;
};

static inline bool proxy_is_h2(const struct proxy *p)
{
    return p->target_now.protocol == CLIENT_H2;
}

/* That the upstream speaks, for Via. */
static inline enum http_version proxy_version(const struct proxy *p)
{
    return proxy_is_h2(p) ? HTTP_VERSION_20 : HTTP_VERSION_11;
}

/* proxy.c: the client is told that the try failed, or its connection breaks. */
void proxy_fail(struct proxy *p, const struct client_end *end);

/* The try ended so: another one, or the client is told. */
void proxy_report(struct proxy *p, const struct client_end *end);

/* What we ourselves cannot do breaks the try off. */
void proxy_give_up(struct proxy *p, enum err e);

/* Another try is due after p->use.pause_ms. */
void proxy_await_retry(struct proxy *p);

bool proxy_is_idempotent(const struct proxy *p);

/* Nothing of an answer was passed on, and the whole request can be sent again. */
bool proxy_is_replayable(const struct proxy *p);

/* Asks the client for more of its body where the upstream has room. */
void proxy_pull(struct proxy *p);

/* No other try will need what was kept of the body. */
void proxy_drop_replay(struct proxy *p);

/* proxy_answer.c */
extern const struct client_service proxy_service;

/* The client took some of the answer. */
void proxy_on_room(struct request *r);

/* proxy_websocket.c: decides about a WebSocket; false: the request was answered. */
bool proxy_prepare_websocket(struct proxy *p);

/* The upstream agreed: both sides are byte streams from here on. ERR_SYNTAX: it did not do so as it
 * must; ERR_NOMEM. */
enum err proxy_switch(struct proxy *p, const struct response_head *head) MUST_CHECK;
