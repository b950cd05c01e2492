/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A WebSocket between an exchange and a handler: the opening, pings, the closing handshake, drain,
 * compression and back-pressure, so that a handler sees messages only. They come in pieces, and an
 * answer that is sent piece by piece needs no memory for the whole.
 */
#pragma once

#include "edge/request.h"
#include "http/websocket.h"

struct ws_session;
struct ws_loop;

struct ws_handler {
    /* A piece of a message, valid during the call; ws_session_send may be called. An error ends the
     * connection. */
    enum err (*on_data)(struct ws_session *s, const struct websocket_event *piece);
};

/* Opens a WebSocket on a request that asks for it, or answers why not. `protocol`: the subprotocol
 * that was chosen, empty for none. */
void ws_session_open(struct request *r, const struct ws_handler *handler, struct str protocol);

/* Sends a piece of a message; pieces of two messages may not be mixed. ERR_NOMEM. */
enum err ws_session_send(struct ws_session *s, const struct websocket_event *piece) MUST_CHECK;

/* What the sessions of one loop share. NULL: out of memory. */
struct ws_loop *ws_loop_create(void) __attribute__((warn_unused_result));
void ws_loop_destroy(struct ws_loop *l); /* NULL is a no-op */
