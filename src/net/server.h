/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server side of one loop: its listeners and connections, the limits they keep, and what is
 * told to the layer above. One server per loop; nothing here is shared between threads.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/slab.h"
#include "http/h2_pool.h"
#include "loop/loop.h"
#include "net/exchange.h"
#include "net/transport.h"

struct conn;
struct listener;

/* A connection that may become a relay. */
struct relay_client {
    int fd;
    const struct socket_address *peer;
    struct conn *from; /* that it is now; NULL: it was just accepted */
};

/* Why a connection or request was refused below the pipeline: the labels of the counters. */
#define SERVER_LIMIT_TABLE(X)                                                                      \
    X(CONNECTIONS, "max_connections")                                                              \
    X(DESCRIPTORS, "open_files")                                                                   \
    X(HEADER_TIME, "header_timeout")                                                               \
    X(IDLE_TIME, "idle_timeout")                                                                   \
    X(READ_TIME, "read_idle_timeout")                                                              \
    X(WRITE_TIME, "write_idle_timeout")                                                            \
    X(TUNNEL_TIME, "tunnel_idle_timeout")                                                          \
    X(HANDSHAKE, "tls_handshake")                                                                  \
    X(RATE, "min_rate")                                                                            \
    X(BODY, "max_body")                                                                            \
    X(RESETS, "h2_resets")                                                                         \
    X(CONTROL, "h2_control_frames")                                                                \
    X(HEADER_BLOCK, "h2_header_block")                                                             \
    X(QUIC_UNPROVED, "quic_unproved")                                                              \
    X(QUIC_TOKEN, "quic_token")                                                                    \
    X(QUIC_RESETS, "quic_resets")                                                                  \
    X(QUIC_FAULT, "quic_fault")                                                                    \
    X(PROXY_HEADER, "proxy_header")                                                                \
    X(DATAGRAMS, "datagrams")                                                                      \
    X(MEMORY, "memory")

enum server_limit {
#define X(id, name) SERVER_LIMIT_##id,
    SERVER_LIMIT_TABLE(X)
#undef X
        SERVER_LIMIT_COUNT,
};

struct server_limits {
    unsigned connections_max; /* of this loop */
    uint32_t header_bytes_max;
    uint32_t header_count_max;
    uint32_t uri_bytes_max;
    uint32_t stream_count_max; /* of one HTTP/2 connection */
    bool refuses_h1;
    bool has_connect_protocol; /* RFC 8441 and 9220 are announced: CONNECT may name a protocol */
    bool speaks_h2;            /* where TLS agreed on it */
    bool speaks_h2c;           /* where a plain connection begins with its preface */
    uint64_t body_bytes_max;
    uint64_t min_rate_bytes_per_s; /* 0 = none */
    uint64_t header_ms;
    uint64_t idle_ms;
    uint64_t read_idle_ms;
    uint64_t write_idle_ms;
    uint64_t tunnel_idle_ms;
};

struct server_hooks {
    /* A request head is there: attach a service (exchange_serve) and answer now or later. */
    void (*on_exchange)(void *context, struct exchange *x);
    /* Whether a request may be served before the client has proved that it is no attacker's
     * repetition, and that it is at its address; else it waits. `x` has no service yet. NULL: none
     * may. */
    bool (*may_be_early)(void *context, const struct exchange *x, bool has_body);
    /* A head that could not become an exchange was answered with `status` (0: closed without). */
    void (*on_refused)(void *context, const struct exchange_peer *peer, unsigned reason,
                       unsigned status);
    /* Whether a peer may say, by the PROXY protocol, whose connection it brings. NULL: none may. */
    bool (*is_trusted)(void *context, const struct socket_address *peer);
    /* A connection came to a listener for streams; `tag` is the listener's. ERR_OK: it was taken
     * (relay_create); else it is closed. NULL: there are none. */
    enum err (*on_stream)(void *context, unsigned tag, const struct relay_client *client);
    /* Whether some names are taken by on_name. NULL: none is. */
    bool (*reads_names)(void *context);
    /* A connection begins with TLS for `name` (lower case; empty: it names none), of which nothing
     * was read: true when it was taken (relay_create), else it is served here. */
    bool (*on_name)(void *context, struct str name, const struct relay_client *client);
    void (*on_limit)(void *context, enum server_limit limit);
    void (*on_connection)(void *context, int change); /* +1 accepted, -1 gone */
    void (*on_bytes)(void *context, uint64_t in, uint64_t out);
    void *context;
};

#define SERVER_INPUT_BYTES_MIN 65536
#define SERVER_EARLY_BYTES_MAX 16384 /* of early data on a connection */

struct server {
    struct loop *loop;
    struct server_limits limits;
    struct server_hooks hooks;
    struct list listeners;
    struct list connections; /* all, in no order */
    unsigned connection_count;
    bool is_draining;
    uint64_t drain_idle_end_ms; /* when idle connections are closed */
    struct tls_server *tls;     /* for the listeners that begin with TLS; NULL: there are none */
    struct transport_scratch scratch;
    struct slab prologue_slab;
    struct slab accept_slab;
    struct slab conn_slab;
    struct slab stream_slab;
    struct slab piece_slab;
    struct slab h2_conn_slab;
    struct slab h3_conn_slab;
    struct slab mux_stream_slab;
    struct h2_pool h2_pool;
    struct buf output; /* shared by the HTTP/2 connections of the loop during one call */
    char *input;       /* shared by the connections of the loop during one callback */
    size_t input_bytes;
    int64_t date_s;
    char date[32]; /* "Date: ...", without the name: 29 bytes */
    void (*on_drained)(struct server *s);
};

/* `hooks` are copied. The loop must outlive the server. */
enum err server_create(struct loop *loop, const struct server_limits *limits,
                       const struct server_hooks *hooks, struct server **ret_server) MUST_CHECK;

/* Closes all that is left. */
void server_destroy(struct server *s);

/* New limits hold for the next request of every connection. ERR_NOMEM: the old ones stay. */
enum err server_set_limits(struct server *s, const struct server_limits *limits) MUST_CHECK;

/* Lets listeners begin with TLS; takes `tls`, which must not change afterwards. ERR_NOMEM. */
enum err server_set_tls(struct server *s, struct tls_server *tls) MUST_CHECK;

/* Accepts from `fd` from now on; the descriptor stays the caller's. `is_tls` needs
 * server_set_tls. */
enum err server_listen(struct server *s, int fd, bool is_tls,
                       struct listener **ret_listener) MUST_CHECK;

/* The same for streams, which on_stream gets with `tag`. */
enum err server_listen_stream(struct server *s, int fd, unsigned tag,
                              struct listener **ret_listener) MUST_CHECK;

/* Stops accepting; connections go on. */
void server_unlisten(struct server *s, struct listener *l);

/* Stops accepting and lets exchanges finish, which are told by on_drain; every answer from now on
 * says that the connection ends. Idle connections get `idle_ms` to send one more request, because a
 * request may be on its way already: 0 closes them now. Calls `on_drained` (once, may be at once;
 * may be NULL) when none is left. */
void server_drain(struct server *s, uint64_t idle_ms, void (*on_drained)(struct server *s));

/* Breaks off whatever is still there after a drain. */
void server_abort(struct server *s);

/* The 29 bytes of the Date field for this turn. */
const char *server_date(struct server *s);
