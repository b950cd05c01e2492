/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QUIC over the UDP sockets of one loop: finds the connection of a datagram by its id, answers what
 * belongs to none (version negotiation, Retry, stateless reset, refusal), and gives each connection
 * its turn to send. What runs over a connection is its owner's matter (struct quic_link).
 */
#pragma once

#include "base/list.h"
#include "net/server.h"
#include "os/datagram.h"
#include "quic/quic_packet.h"

struct quic_endpoint;
struct quic_link;

struct quic_link_ops {
    /* Of streams; `user` is the link. random, make_cid and drop_cid are not asked for. */
    struct quic_hooks hooks;
    /* Nothing is sent or received any more. Called once, not from within hooks. */
    void (*on_end)(struct quic_link *l, enum err cause);
    /* Over for good; the link is not touched any more when the turn has ended. Called once. */
    void (*on_closed)(struct quic_link *l, enum err cause);
};

enum quic_link_state {
    QUIC_LINK_OPEN,
    QUIC_LINK_CLOSING,  /* we closed; late packets get the same answer */
    QUIC_LINK_DRAINING, /* the peer closed: silence */
    QUIC_LINK_DEAD,
};

/* One connection as its endpoint carries it; embedded in its owner. */
struct quic_link {
    const struct quic_link_ops *ops;
    struct quic_endpoint *endpoint;
    struct quic_conn *quic;
    struct str settings; /* see struct quic_accept; set with ops */
    uint32_t version;
    enum quic_link_state state;
    enum err cause;
    struct timer timer;
    struct loop_task settle_task;
    struct socket_address local;
    struct socket_address remote;
    struct list of_endpoint;
    struct list names;   /* connection ids that lead here */
    struct list blocked; /* in the endpoint's, while `unsent` waits for the socket */
    struct buf unsent;
    size_t unsent_segment_bytes;
    unsigned unsent_ecn;
    struct buf last; /* the datagram that closed, for late packets */
    unsigned late_count;
    bool is_counted; /* among those that have not proved their address */
    bool has_token;  /* was given one for its next connection */
};

/* Whose connection an id leads to; stands in the ids that we choose, QUIC_CID_LOOP_AT first. */
struct quic_owner {
    uint8_t loop_index;
    uint8_t generation; /* of the process: its predecessor has the number before */
};
#define QUIC_CID_LOOP_AT 0

struct quic_endpoint_config {
    uint8_t secret[QUIC_SECRET_BYTES]; /* of tokens; the same for all loops and their successors */
    struct quic_owner owner;
    struct quic_limits limits;
    unsigned unproved_max; /* handshakes under way beyond which a Retry is asked for */
    /* A new owner for a connection that begins, with ops and settings set; NULL: refuse it. It is
     * over by on_closed even if it never was open. */
    struct quic_link *(*on_open)(void *context, struct quic_endpoint *e,
                                 const struct socket_address *remote);
    /* A datagram of a connection of another loop or process. False: there is no such owner. */
    bool (*on_foreign)(void *context, struct quic_owner owner, const struct datagram *d);
    void *context;
};

/* Serves `fd`, a UDP socket that stays the caller's; `s` must have TLS. ERR_NOMEM. */
enum err quic_endpoint_create(struct server *s, int fd, const struct quic_endpoint_config *config,
                              struct quic_endpoint **ret_endpoint) MUST_CHECK;

/* Closes the links that are left, with an application's code. NULL is a no-op. */
void quic_endpoint_destroy(struct quic_endpoint *e, uint64_t code);

/* For the connections that begin from now on. */
void quic_endpoint_set_limits(struct quic_endpoint *e, const struct quic_limits *limits);

/* Takes no new connections; those there are go on. `is_succeeded`: another process reads from the
 * socket, and delivers what is ours. */
void quic_endpoint_drain(struct quic_endpoint *e, bool is_succeeded);

/* A datagram that another loop or process received (on_foreign). */
void quic_endpoint_deliver(struct quic_endpoint *e, const struct datagram *d);

/* Where it listens. */
const struct socket_address *quic_endpoint_local(const struct quic_endpoint *e);

struct server *quic_endpoint_server(const struct quic_endpoint *e);

/* Something is to be sent: gives the link its turn at the end of this one. */
void quic_link_wake(struct quic_link *l);

/* Closes with an application's code. */
void quic_link_close(struct quic_link *l, uint64_t code);

/* Ends without a word and frees what the link holds: only from outside of callbacks. */
void quic_link_abort(struct quic_link *l);
