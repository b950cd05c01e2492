/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What connections of every protocol have in common: a place in their server, a transport and a
 * peer. First member of each kind; `ops` tells the kind.
 */
#pragma once

#include "net/server.h"
#include "net/transport.h"

struct conn;

struct conn_ops {
    void (*on_ready)(struct conn *c, unsigned events);
    /* Closes when idle, else after what is under way. */
    void (*drain)(struct conn *c);
    /* Ends and frees at once: only from outside of callbacks. */
    void (*abort)(struct conn *c);
};

struct conn {
    const struct conn_ops *ops;
    struct server *server;
    struct list link;
    struct transport transport;
    struct exchange_peer peer;
    char host_text[48];
};

/* Joins the server; takes `fd` on success. The caller tells the server of its end by conn_done
 * (when closed) and conn_leave (when its memory goes). */
enum err conn_init(struct conn *c, const struct conn_ops *ops, struct server *s, int fd,
                   const struct socket_address *peer) MUST_CHECK;

/* The peer is at `address`. */
void conn_set_peer(struct conn *c, const struct socket_address *address);

/* The same for one without a transport of its own, and conn_part in place of conn_done. */
void conn_join(struct conn *c, const struct conn_ops *ops, struct server *s,
               const struct socket_address *peer);
void conn_part(struct conn *c);

/* `from` becomes `to`, a connection of another protocol, in its place; `from` is dead and only its
 * memory is left. */
void conn_move(struct conn *to, const struct conn_ops *ops, struct conn *from);

/* Closes the transport and leaves the list of the server. `is_orderly`: nothing was cut off. */
void conn_done(struct conn *c, bool is_orderly);

/* The connection does not count any more. */
void conn_leave(struct server *s);

/* To be called after conn_leave where that may complete a drain. */
void server_check_drained(struct server *s);
