/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What connections with many streams have in common: each stream is joined with an exchange, and
 * has a queue of its own. What a service does to an exchange becomes bytes at the end of the turn,
 * or when the connection settles.
 */
#pragma once

#include <stdalign.h>
#include <stddef.h>

#include "base/assert.h"
#include "http/mux.h"
#include "net/conn_int.h"

#define MUX_STREAM_ROOM_BYTES (64u * 1024u)    /* queued memory of one stream */
#define MUX_STREAM_ROOM_MIN_BYTES (4u * 1024u) /* the same where the connection has much queued */
#define MUX_CONN_ROOM_BYTES (512u * 1024u)     /* from here on */
#define MUX_CONN_ROOM_MAX_BYTES (896u * 1024u) /* and here there is none: below 1 MB in all */
#define MUX_LINGER_MS 2000u                    /* for what is on its way and of no use any more */
#define MUX_RATE_WINDOW_MS 10000u
#define MUX_FIELDS_FIRST 24
#define MUX_BYTES_FIRST 1536

/* First member of the connections. */
struct mux_conn {
    struct conn conn;
    struct mux_session *session;
    const struct exchange_protocol *protocol;
    struct loop_task settle_task;
    struct list todo;      /* exchanges that get a body or room in this turn */
    size_t out_bytes;      /* in the queues of all streams */
    size_t tunnel_count;   /* of the streams, those that are tunnels */
    uint64_t activity_ms;  /* last progress of the whole connection */
    uint64_t window_bytes; /* body bytes that came, for the minimum rate */
    uint64_t window_ms;    /* start of the window that the rate is measured over */
    bool is_unproved;      /* what comes may be a repetition of early data */
    bool is_running;       /* the session is on the stack */
    bool has_dropping;     /* maybe: a stream is answered but not complete */
    bool has_starved;      /* a service found no room because other streams took it */
};

/* A part of a response body: memory, or a range of a file. */
struct mux_piece {
    struct mux_piece *next;
    struct chunk *chunk;
    struct exchange_file *file;
    uint64_t offset;
    uint64_t n;
};

struct mux_exchange {
    struct mux_stream stream; /* first: the session gets back from it */
    struct exchange x;
    struct mux_conn *conn;
    struct list todo; /* in the connection's */
    struct mux_piece *out;
    struct mux_piece **out_tail;
    size_t out_bytes;  /* memory in the queue, not files */
    struct buf in;     /* body that the service did not ask for yet */
    uint64_t read_ms;  /* last body byte, or since when one is waited for */
    uint64_t write_ms; /* last byte taken, or since when something waits */
    enum err cause;    /* of a reset by us */
    bool is_alive;     /* the service knows it, or will */
    bool is_held;      /* until the connection is proved */
    bool is_tunnel;    /* it was turned into one */
    bool wants_body;
    bool has_asked_body;
    bool has_body_ended; /* on_body_end was called */
    bool is_out_done;    /* nothing is added to the queue any more */
    bool wants_room;
    /* Last: these need not be zeroed. */
    struct http_field fields[MUX_FIELDS_FIRST];
    alignas(max_align_t) char bytes[MUX_BYTES_FIRST];
};

extern const struct exchange_protocol mux_protocol_20, mux_protocol_30;
extern const struct mux_events mux_stream_events; /* context: the mux_conn */

/* Of mux_protocol_30, by h3_conn.c. */
size_t h3_conn_datagram_bytes_max(const struct exchange *x);
enum err h3_conn_send_datagram(struct exchange *x, struct str bytes);

static inline struct mux_exchange *mux_exchange_of(struct mux_stream *stream)
{
    return CONTAINER_OF(stream, struct mux_exchange, stream);
}

static inline struct mux_exchange *mux_exchange_of_x(const struct exchange *x)
{
    return CONTAINER_OF((struct exchange *)(uintptr_t)x, struct mux_exchange, x);
}

/* Settles the connection at the end of the turn. */
void mux_conn_wake(struct mux_conn *c);

struct mux_limits mux_conn_limits(const struct server *s);

/* Tells the server that a limit was hit. */
void mux_conn_hit(const struct mux_conn *c, enum server_limit limit);

/* Body and room that services wait for. */
void mux_stream_run_todo(struct mux_conn *c);

/* The client has proved itself: requests that waited for it are served. */
void mux_conn_prove(struct mux_conn *c);

/* Tells the service, frees. */
void mux_stream_end(struct mux_exchange *e, enum err cause);

/* All of them. */
void mux_conn_end_streams(struct mux_conn *c, enum err cause);

/* Resets the streams whose time is over; returns when the next one's will be. `writable_ms`: since
 * when the connection as a whole takes bytes; UINT64_MAX: it does not. */
uint64_t mux_conn_expire_streams(struct mux_conn *c, uint64_t now, uint64_t writable_ms);

/* The shortest wait that a stream there is may be in for: a timer that fires early looks again. */
uint64_t mux_conn_wait_ms(const struct mux_conn *c);

/* Bytes are expected whose rate has a minimum: a body, or output that the peer does not take
 * (`is_blocked`). Tunnels have none. */
bool mux_conn_is_rated(const struct mux_conn *c, bool is_blocked);

/* What moved is less than the minimum rate allows. */
bool mux_conn_is_too_slow(struct mux_conn *c, bool is_rated, uint64_t now);

/* Tells the services under way that the server drains. */
void mux_conn_drain_streams(struct mux_conn *c);
