/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 towards upstreams: many exchanges on one connection. client_h2.c has the connection: which
 * requests begin on it, when it is asked for a sign of life, what its end means for each exchange.
 * client_h2_stream.c joins each stream of the session (http/h2_session.h) with its exchange.
 *
 * An exchange waits until its connection can open a stream: for the settings of the upstream, but
 * for the first one, and for the answer to a PING where the connection has been silent for long.
 * One that waits, or that the upstream provably did nothing for (RFC 9113 8.7), moves to another
 * connection where the beginning of its body is still there.
 *
 * Connection, exchange and stream have lives of their own: a stream that is being reset is the
 * session's without an exchange, and an answer that came whole is an exchange's without a session.
 */
#pragma once

#include <stdalign.h>
#include <stddef.h>

#include "http/h2_session.h"
#include "net/client_int.h"

#define CLIENT_H2_STREAMS_MAX 100u        /* of one connection, whatever the upstream allows */
#define CLIENT_H2_REPLAY_BYTES_MAX 65536u /* kept of a body, for another connection */
#define CLIENT_H2_MOVES_MAX 2u            /* of one exchange */
#define CLIENT_H2_SILENCE_MS 10000u       /* after which a connection is asked whether it lives */
#define CLIENT_H2_PIECE_BYTES 65536u      /* of an answer, given to the service at once */
#define CLIENT_H2_BUDGET_BYTES (1024u * 1024) /* sent in one turn */
#define CLIENT_H2_CANCELS_MAX 50u /* within the next; then no further stream begins there */
#define CLIENT_H2_CANCELS_MS 10000u
#define CLIENT_H2_FIELDS_FIRST 24
#define CLIENT_H2_BYTES_FIRST 1024

struct client_h2_conn {
    struct client_conn c; /* first */
    struct h2_session *session;
    struct list todo; /* exchanges that the service is to hear of when the connection settles */
    unsigned waiting_count;
    unsigned streams_first; /* how many streams it may take, before its settings say so */
    uint64_t begin_ms;      /* since when its settings are due */
    uint64_t heard_ms;      /* its last byte */
    uint64_t ping_ms;
    uint64_t cancel_ms; /* since when cancels are counted */
    unsigned cancel_count;
    bool is_retired;      /* no further stream begins on it */
    bool is_input_closed; /* what is whole is still given to services */
};

struct client_h2_stream {
    struct mux_stream stream;     /* first */
    struct client_h2_exchange *e; /* NULL: it has ended */
    struct client_h2_conn *conn;
    bool is_gone; /* the session knows it no more */
    /* Last: these need not be zeroed. */
    struct http_field fields[CLIENT_H2_FIELDS_FIRST];
    alignas(max_align_t) char bytes[CLIENT_H2_BYTES_FIRST];
};

struct client_h2_exchange {
    struct client_exchange x;   /* first */
    struct client_h2_stream *s; /* NULL: it waits */
    struct list todo;           /* in its connection's */
    /* The request. */
    struct arena arena; /* has all of its head, and its trailers */
    struct h2_request request;
    struct http_fields fields;
    struct http_fields trailers;
    uint64_t send_left; /* of a declared length */
    struct buf out;     /* its body */
    size_t out_at;      /* of it, what went to the session */
    unsigned move_count;
    bool keeps_out;   /* `out` begins where the body does */
    bool is_finished; /* nothing is added to it any more */
    /* The answer. */
    struct buf in; /* that the service did not ask for */
    size_t in_at;
    size_t unread; /* bytes of it; less than are there while some are with the service */
    bool is_whole; /* its end came */
    bool is_tunnel_end_told;
    bool *ret_is_freed;      /* who waits to know; may be NULL */
    enum client_fault fault; /* of ours */
};

static inline struct client_h2_conn *client_h2_conn_of(const struct client_conn *c)
{
    return CONTAINER_OF((struct client_conn *)(uintptr_t)c, struct client_h2_conn, c);
}

static inline struct client_h2_exchange *client_h2_exchange_of(const struct client_exchange *x)
{
    return CONTAINER_OF((struct client_exchange *)(uintptr_t)x, struct client_h2_exchange, x);
}

/* ---- client_h2.c ---- */

/* `e` leaves its connection: what it took of the windows is given back, and a stream that is still
 * there is reset with `code`. */
void client_h2_leave(struct client_h2_exchange *e, enum h2_code code);

/* The same, and the service is told. */
void client_h2_end(struct client_h2_exchange *e, enum client_fault fault, const char *detail);

/* It can begin again on another connection. */
bool client_h2_can_move(const struct client_h2_exchange *e);

/* It does, or its service is told why not. */
void client_h2_move(struct client_h2_exchange *e);

/* ---- client_h2_stream.c ---- */

extern const struct mux_events client_h2_events; /* context: the client_h2_conn */

/* The service hears of it when the connection settles. */
void client_h2_add_todo(struct client_h2_exchange *e);
void client_h2_run_todo(struct client_h2_conn *hc);

/* Opens a stream for `e`. ERR_LIMIT, ERR_SYNTAX, ERR_NOMEM. */
enum err client_h2_open(struct client_h2_exchange *e) MUST_CHECK;

/* Parts `e` from its stream. */
void client_h2_detach(struct client_h2_exchange *e);
void client_h2_stream_free(struct client_h2_stream *s);

enum err client_h2_send(struct client_exchange *x, struct str bytes) MUST_CHECK;
enum err client_h2_finish(struct client_exchange *x, const struct http_fields *trailers) MUST_CHECK;
size_t client_h2_room(const struct client_exchange *x);
bool client_h2_is_sending(const struct client_exchange *x);
