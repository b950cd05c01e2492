/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection whose bytes are passed on to another one and back, unread, as they come and as fast
 * as the slower side takes them. It counts among the connections of its server.
 *
 * Life: relay_create takes the client; relay_connect makes the connection to the other side, again
 * where on_connected says that it failed. The last call is on_end; the relay is gone afterwards.
 * Every call here is allowed from within the service's callbacks.
 */
#pragma once

#include "net/server.h"

struct relay;

struct relay_service {
    /* The other side is there, or why it is not: ERR_NOT_FOUND (refused), ERR_TIMEOUT, ... */
    void (*on_connected)(struct relay *r, enum err e);
    /* Bytes that came from the client and that went to it. ERR_OK: both sides said that they were
     * done; ERR_TIMEOUT: neither said anything for too long. */
    void (*on_end)(struct relay *r, enum err cause, uint64_t in, uint64_t out);
};

/* Takes the client on success; nothing is read before the other side is there. ERR_NOMEM. */
enum err relay_create(struct server *s, const struct relay_client *client,
                      const struct relay_service *service, void *state,
                      struct relay **ret_relay) MUST_CHECK;

/* on_connected follows, from a later turn. `greeting` is copied, and sent before the client's first
 * byte. Errors as client_start. */
enum err relay_connect(struct relay *r, const struct socket_address *to, struct str greeting,
                       uint64_t connect_ms, uint64_t idle_ms) MUST_CHECK;

/* Breaks it off: the client sees a reset. */
void relay_cancel(struct relay *r, enum err cause);

void *relay_state(const struct relay *r);
const struct exchange_peer *relay_peer(const struct relay *r);

/* The address that the client connected to. ERR_IO. */
enum err relay_local(const struct relay *r, struct socket_address *ret_address) MUST_CHECK;
