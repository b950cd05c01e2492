/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/2 server connection. http/h2_session.h turns bytes into streams and back; h2_stream.c
 * joins each stream with an exchange, h2_conn.c owns life, timers and interest.
 *
 * The session is destroyed, and memory freed, at the end of the turn only. What a service does to
 * an exchange becomes bytes at the end of the turn, or when the connection settles.
 */
#pragma once

#include <stdalign.h>
#include <stddef.h>

#include "base/assert.h"
#include "http/h2_session.h"
#include "net/conn_int.h"

#define H2_CONN_MAGIC 0x6832636eu
#define H2_OUT_BYTES 65536u                   /* encoded at once */
#define H2_FLUSH_BUDGET_BYTES (1024u * 1024u) /* per turn, so that no download starves others */
#define H2_STREAM_ROOM_BYTES (64u * 1024u)    /* queued memory of one stream */
#define H2_STREAM_ROOM_MIN_BYTES (4u * 1024u) /* the same where the connection has much queued */
#define H2_CONN_ROOM_BYTES (512u * 1024u)     /* from here on */
#define H2_CONN_ROOM_MAX_BYTES (896u * 1024u) /* and here there is none: below 1 MB in all */
#define H2_FIELDS_FIRST 24
#define H2_BYTES_FIRST 1536
#define H2_LINGER_MS 2000u /* reading on, so that the last frames arrive */
#define H2_RATE_WINDOW_MS 10000u

struct h2_conn;

/* A part of a response body: memory, or a range of a file. */
struct h2_piece {
    struct h2_piece *next;
    struct chunk *chunk;
    struct exchange_file *file;
    uint64_t offset;
    uint64_t n;
};

struct h2_exchange {
    struct h2_stream stream; /* first: the session gets back from it */
    struct exchange x;
    struct h2_conn *conn;
    struct list todo; /* in the connection's */
    struct h2_piece *out;
    struct h2_piece **out_tail;
    size_t out_bytes;  /* memory in the queue, not files */
    struct buf in;     /* body that the service did not ask for yet */
    uint64_t read_ms;  /* last body byte, or since when one is waited for */
    uint64_t write_ms; /* last byte taken, or since when something waits */
    enum err cause;    /* of a reset by us */
    bool is_alive;     /* the service knows it */
    bool wants_body;
    bool has_asked_body;
    bool has_body_ended; /* on_body_end was called */
    bool is_out_done;    /* nothing is added to the queue any more */
    bool wants_room;
    /* Last: these need not be zeroed. */
    struct http_field fields[H2_FIELDS_FIRST];
    alignas(max_align_t) char bytes[H2_BYTES_FIRST];
};

struct h2_conn {
    struct conn conn;
    uint32_t magic;
    struct timer timer;
    struct loop_task settle_task;
    struct loop_task free_task;
    struct h2_session *session;
    struct buf rest;  /* encoded, not taken by the socket */
    struct list todo; /* exchanges that get a body or room in this turn */
    size_t out_bytes; /* in the queues of all streams */
    uint64_t start_ms;
    uint64_t activity_ms;   /* last progress of the whole connection */
    uint64_t unblocked_ms;  /* when the socket took all that was encoded */
    uint64_t head_start_ms; /* of a header block that is incomplete; 0 = none */
    uint64_t window_ms;     /* start of the window that the minimum rate is measured over */
    uint64_t window_bytes;
    bool is_input_closed;
    bool is_draining;  /* the client was told */
    bool is_finishing; /* no further stream is taken */
    bool is_lingering;
    bool is_running; /* the session is on the stack */
    bool is_dead;
    bool is_abuse_told;
    bool has_dropping; /* maybe: a stream is answered but not complete */
    bool has_starved;  /* a service found no room because other streams took it */
};

size_t h2_conn_bytes(void);

/* `from` goes on as HTTP/2, and its first `n` bytes stand at `bytes`. On failure `from` is as it
 * was. */
enum err h2_conn_adopt(struct conn *from, const char *bytes, size_t n) MUST_CHECK;

/* Settles the connection at the end of the turn. */
void h2_conn_wake(struct h2_conn *c);

/* h2_stream.c */
extern const struct exchange_protocol h2_protocol;
extern const struct h2_events h2_stream_events; /* context: the connection */

static inline struct h2_exchange *h2_exchange_of(struct h2_stream *stream)
{
    return CONTAINER_OF(stream, struct h2_exchange, stream);
}

/* Body and room that services wait for. */
void h2_stream_run_todo(struct h2_conn *c);

/* Tells the service, frees. */
void h2_stream_end(struct h2_exchange *e, enum err cause);

/* Whether the peer is waited for, to send or to take. */
static inline bool h2_stream_is_reading(const struct h2_exchange *e)
{
    return !e->stream.is_body_done && (e->wants_body || e->x.phase == EXCHANGE_FINISHED);
}

static inline bool h2_stream_is_writing(const struct h2_exchange *e)
{
    return e->out != NULL;
}
