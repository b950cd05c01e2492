/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies below client.h, in three parts:
 *
 * client.c: the pool, and the life of connections and exchanges;
 * client_conn.c: sockets, TLS, timers and interest (client_conn_settle is the only place that
 * decides these), the same for all protocols;
 * client_<protocol>.c: one table struct client_protocol, which turns requests into bytes and bytes
 * into answers. It puts its own state behind struct client_conn and struct client_exchange, which
 * are the first members of its objects.
 *
 * A connection has any number of exchanges at a time, as its protocol says in has_room. A protocol
 * ends an exchange in two steps: client_exchange_leave takes it off its connection, whose fate is
 * then decided (client_conn_rest, client_conn_kill or neither), and client_exchange_end tells the
 * service, which may begin the next exchange at once, on that very connection. Memory of
 * connections is not freed before the end of the turn, that of an exchange in client_exchange_end.
 */
#pragma once

#include "base/list.h"
#include "base/slab.h"
#include "http/h2_pool.h"
#include "net/client.h"
#include "net/transport.h"

#define CLIENT_CONN_MAGIC 0x636c636eu
#define CLIENT_EXCHANGE_MAGIC 0x636c7863u
#define CLIENT_FIELDS_MAX 200
#define CLIENT_HEAD_BYTES_MAX 65536u
#define CLIENT_INPUT_BYTES (CLIENT_HEAD_BYTES_MAX + 65536u)
#define CLIENT_OUT_BYTES_MAX 65536u
#define CLIENT_INTERIM_MAX 32
#define CLIENT_BUCKETS 64

/* The objects of one protocol. */
struct client_slabs {
    struct slab conns;
    struct slab exchanges;
};

struct client {
    struct loop *loop;
    struct transport_scratch scratch;
    struct list open[CLIENT_BUCKETS]; /* connections with room, by address, used last first */
    struct list busy;                 /* those without */
    struct list dead;                 /* freed at the end of the turn */
    unsigned idle_count;              /* of the open ones, those at rest */
    struct client_slabs slabs[CLIENT_PROTOCOL_COUNT];
    struct h2_pool h2_pool;
    struct slab h2_streams;
    char *input; /* shared by the connections of the loop during one callback */
    struct http_field fields[CLIENT_FIELDS_MAX];
};

enum client_phase {
    CLIENT_HEAD, /* of the answer is due */
    CLIENT_BODY,
    CLIENT_TUNNEL,
};

struct client_conn;
struct client_protocol;

/* What exchanges of every protocol have in common. */
struct client_exchange {
    uint32_t magic;
    enum client_phase phase;
    struct client *client;
    struct client_conn *conn; /* NULL: it has left */
    struct list link;         /* in its connection, oldest first */
    const struct client_protocol *protocol;
    const struct client_service *service;
    void *state;
    struct client_timeouts timeouts;
    enum http_method method;
    uint64_t activity_ms; /* last progress of what is waited for */
    unsigned interim_count;
    bool wants_tunnel;
    bool is_request_done; /* client_finish was called, or there is no body */
    bool is_reused;
    bool has_sent; /* a byte of the request may have reached the upstream */
    bool has_answered;
    bool is_asked; /* for the next part of the body */
};

struct client_conn {
    uint32_t magic;
    const struct client_protocol *protocol;
    struct client *client;
    struct list link; /* in client.open, busy or dead */
    struct list exchanges;
    unsigned exchange_count;
    struct transport transport;
    struct client_target target;
    struct buf greeting;
    struct timer timer;
    struct loop_task settle_task;
    struct loop_task free_task;
    struct buf in;        /* input that is not consumed yet */
    size_t scanned_bytes; /* of it, those that are known to be too few */
    struct buf out;
    uint64_t activity_ms; /* since when it rests */
    bool is_securing;     /* the handshake of TLS is under way */
    bool is_connected;    /* a request can be sent */
    bool is_deaf;         /* the upstream takes no more bytes, but may have answered */
    bool is_at_rest;
    bool is_dead;
    bool is_used; /* an exchange was here */
    bool has_rested;
};

/* How one protocol speaks. Whatever may end an exchange or a connection says so: the caller looks
 * at `is_dead`, and at nothing else of them, afterwards. */
struct client_protocol {
    enum client_protocol_id id;
    size_t conn_bytes;      /* of its objects, see above; zeroed */
    size_t exchange_bytes;  /* likewise */
    struct str alpn;        /* what TLS must have agreed on; empty: that does not matter */
    const char *alpn_fault; /* the sentence where it has not */
    bool may_speak_first;   /* the upstream, before a request came */

    /* A connection is made, and not connected yet. ERR_NOMEM. May be NULL. */
    enum err (*conn_open)(struct client_conn *c);
    /* Frees what the protocol keeps for it; also after a conn_open that failed. May be NULL. */
    void (*conn_done)(struct client_conn *c);
    /* Another exchange may begin here; with `wants_new` it must not have rested. */
    bool (*has_room)(const struct client_conn *c, bool wants_new);
    /* It can send from now on. May be NULL. */
    void (*conn_ready)(struct client_conn *c);

    /* Encodes the request, or keeps a copy. `x` is on its connection. ERR_SYNTAX, ERR_NOMEM: it
     * leaves again. */
    enum err (*begin)(struct client_exchange *x, const struct client_request *request);
    /* As client_send of at least one byte, client_finish of what is not finished, client_room. */
    enum err (*send)(struct client_exchange *x, struct str bytes);
    enum err (*finish)(struct client_exchange *x, const struct http_fields *trailers);
    size_t (*room)(const struct client_exchange *x);
    /* is_asked was set. The rest follows when the connection settles. May be NULL. */
    void (*ask)(struct client_exchange *x);
    /* Breaks it off: it leaves, and the connection ends where that cannot be said otherwise. The
     * service is told by the caller, if at all. */
    void (*break_off)(struct client_exchange *x);
    /* Frees what the protocol keeps for it. */
    void (*exchange_done)(struct client_exchange *x);
    /* Some of what the service gave waits for the upstream. */
    bool (*is_sending)(const struct client_exchange *x);

    /* Consumes what it can of the `n` bytes at `p`; returns how much. What is left comes again,
     * with more behind it, or once bytes are of use again. At rest as well: bytes that answer
     * nothing. */
    size_t (*feed)(struct client_conn *c, const char *p, size_t n);
    /* The upstream sends no more; is not called where the connection is at rest. */
    void (*end_of_input)(struct client_conn *c, bool is_orderly);
    /* Bytes from the upstream are of use now. */
    bool (*is_reading)(const struct client_conn *c);
    /* The connection settles: sends what there is (client_conn_flush), tells of room. */
    void (*settle)(struct client_conn *c);
    /* When the connection itself must act, UINT64_MAX: never; and acts. May both be NULL. */
    uint64_t (*deadline)(const struct client_conn *c);
    void (*on_deadline)(struct client_conn *c);
};

extern const struct client_protocol client_protocol_h1, client_protocol_h2, client_protocol_fcgi;

/* ---- client.c ---- */

/* `x` is on its connection no more. Where it was the last one and the connection is fit for
 * another, client_conn_rest must follow. */
void client_exchange_leave(struct client_exchange *x);

/* Tells the service of an exchange that has left, and frees it. */
void client_exchange_end(struct client_exchange *x, enum client_fault fault, const char *detail,
                         const struct http_fields *trailers);

/* An exchange that has left goes on another connection, one that did not rest; the caller lets it
 * begin there and places the connection. Errors as of client_start, after which it has left still.
 */
enum err client_exchange_rejoin(struct client_exchange *x,
                                const struct client_target *target) MUST_CHECK;

/* The connection waits for the next exchange, unless enough others do. */
void client_conn_rest(struct client_conn *c);

/* Ends it. Its exchanges have left, or are told by client_conn_fail. */
void client_conn_kill(struct client_conn *c, bool is_orderly);

/* Ends the connection, and all its exchanges with `fault`. */
void client_conn_fail(struct client_conn *c, enum client_fault fault, const char *detail);

/* Whether it has room has changed. */
void client_conn_place(struct client_conn *c);

/* ---- client_conn.c ---- */

/* Begins to connect; the caller places it. ERR_NOMEM, and why no connection can be made. */
enum err client_conn_connect(struct client *client, const struct client_target *target,
                             const struct client_protocol *protocol,
                             struct client_conn **ret_conn) MUST_CHECK;

/* At the end of the turn. */
void client_conn_free(struct client_conn *c);

/* Looks at the connection again at the end of the turn. */
void client_conn_schedule(struct client_conn *c);

/* Something of what `x` waits for happened. */
void client_exchange_touch(struct client_exchange *x);

/* Sends what the socket takes of the output; returns how many bytes that were. */
size_t client_conn_flush(struct client_conn *c);

/* Queues up to 3 pieces behind the output of a connection of one exchange, or sends them at once
 * where nothing waits. ERR_NOMEM. */
enum err client_exchange_put(struct client_exchange *x, const struct str *pieces,
                             size_t count) MUST_CHECK;

/* Output waits for the socket. */
bool client_conn_is_blocked(const struct client_conn *c);

/* The upstream takes no more bytes; it may have answered before it stopped. */
void client_conn_deafen(struct client_conn *c);

static inline struct client_exchange *client_conn_first(const struct client_conn *c)
{
    return list_is_empty(&c->exchanges)
               ? NULL
               : CONTAINER_OF(c->exchanges.next, struct client_exchange, link);
}
