/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c owns connections: making, keeping, ending them, timers and interest
 * (client_conn_settle is the only place that decides these). client_h1.c turns requests into bytes
 * and bytes into answers. A connection has one exchange at a time; nothing is freed before the end
 * of the turn.
 */
#pragma once

#include "base/list.h"
#include "base/slab.h"
#include "http/h1_chunked.h"
#include "http/h1_response.h"
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

struct client {
    struct loop *loop;
    struct transport_scratch scratch;
    struct list idle[CLIENT_BUCKETS]; /* by address, the last one used first */
    struct list busy;
    struct list dead; /* freed at the end of the turn */
    unsigned idle_count;
    struct slab conns;
    struct slab exchanges;
    char *input; /* shared by the connections of the loop during one callback */
    struct http_field fields[CLIENT_FIELDS_MAX];
};

enum client_phase {
    CLIENT_HEAD, /* of the answer is due */
    CLIENT_BODY,
    CLIENT_TUNNEL,
};

struct client_conn;

struct client_exchange {
    uint32_t magic;
    enum client_phase phase;
    struct client_conn *conn;
    const struct client_service *service;
    void *state;
    struct client_timeouts timeouts;
    enum http_method method;
    /* The request. */
    uint64_t send_left; /* of a declared length */
    bool is_chunked_out;
    bool is_request_done;
    bool wants_tunnel;
    bool is_reused;
    bool has_sent;
    /* The answer. */
    bool has_answered;
    bool is_asked; /* for the next part of the body */
    bool keep_alive;
    bool is_tunnel_ended; /* the upstream's side */
    bool is_end_sent;     /* ours, of a tunnel */
    unsigned interim_count;
    enum h1_framing framing;
    uint64_t body_left;
    struct h1_chunked chunked;
    struct buf trailers; /* as lines */
};

struct client_conn {
    uint32_t magic;
    struct client *client;
    struct list link; /* in idle, busy or dead */
    struct transport transport;
    struct client_target target;
    struct timer timer;
    struct loop_task settle_task;
    struct loop_task free_task;
    struct client_exchange *x; /* NULL: at rest, or dead */
    struct buf in;             /* input that is not consumed yet */
    size_t scanned_bytes;      /* of it, by the head parser */
    struct buf out;
    uint64_t activity_ms; /* last progress of what is waited for */
    bool is_securing;     /* the handshake of TLS is under way */
    bool is_connected;    /* a request can be sent */
    bool is_deaf;         /* the upstream takes no more bytes, but may have answered */
    bool is_dead;
    bool has_served; /* it was at rest before */
};

/* Ends the exchange of `c` and tells its service; the connection is kept where `is_clean`, and ends
 * otherwise. The caller touches neither of them again. */
void client_conn_end(struct client_conn *c, enum client_fault fault, const char *detail,
                     const struct http_fields *trailers, bool is_clean);

/* Looks at the connection again at the end of the turn. */
void client_conn_schedule(struct client_conn *c);

/* Sends what the socket takes. */
void client_conn_flush(struct client_conn *c);

/* Queues bytes, or sends them at once where nothing waits. ERR_NOMEM. */
enum err client_conn_put(struct client_conn *c, const struct str *pieces, size_t count) MUST_CHECK;

/* client_h1.c: appends the head of the request to the output. ERR_SYNTAX, ERR_NOMEM. */
enum err client_h1_begin(struct client_exchange *x,
                         const struct client_request *request) MUST_CHECK;

/* Consumes what it can of the `n` bytes at `p`; returns how much. False in `*ret_goes_on`: the
 * exchange ended, and neither it nor the connection may be touched. */
size_t client_h1_feed(struct client_conn *c, const char *p, size_t n, bool *ret_goes_on);

/* The upstream sends no more. As above. */
bool client_h1_end_of_input(struct client_conn *c, bool is_orderly);

/* Bytes from the upstream are of use now. */
bool client_h1_is_reading(const struct client_exchange *x);
