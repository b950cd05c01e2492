/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams of UDP, passed on and back: each client, known by its address, has a socket of its own
 * to its upstream, so that answers find it. Datagrams that find no room are dropped, as the network
 * may drop them; empty ones are.
 */
#pragma once

#include "net/server.h"

/* Of one socket and loop: one more ends the one that was silent longest. */
#define FLOWS_MAX 8192u

struct flow;
struct flows;

struct flows_service {
    /* A client that is new: flow_connect, now or later, or flow_cancel. Its first datagrams wait.
     */
    void (*on_open)(struct flow *f, void *context);
    /* The first answer came. */
    void (*on_answer)(struct flow *f);
    /* Last call. ERR_OK: it was silent for long enough; ERR_NOT_FOUND: nobody listens there.
     * Bytes that came from the client and that went to it. */
    void (*on_end)(struct flow *f, enum err cause, uint64_t in, uint64_t out);
};

/* Reads from `fd`, of datagram_bind, which stays the caller's. ERR_NOMEM; ERR_IO. */
enum err flows_create(struct server *s, int fd, const struct flows_service *service, void *context,
                      struct flows **ret_flows) MUST_CHECK;

/* Reads no more; answers to those who are there are still passed on. */
void flows_rest(struct flows *all);

void flows_destroy(struct flows *all); /* NULL is a no-op */

/* Where the datagrams of this client go; it ends when neither side said anything for `idle_ms`.
 * Errors as socket_connect_begin, and the flow is as it was. */
enum err flow_connect(struct flow *f, const struct socket_address *to, uint64_t idle_ms) MUST_CHECK;
void flow_cancel(struct flow *f, enum err cause);

void flow_set_state(struct flow *f, void *state);
void *flow_state(const struct flow *f);
const struct socket_address *flow_client(const struct flow *f);
