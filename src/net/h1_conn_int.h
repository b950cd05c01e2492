/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.x server connection. h1_input.c turns bytes into exchanges, h1_answer.c turns what
 * the service offers into bytes, h1_output.c queues and sends them, h1_conn.c owns life, timers and
 * interest.
 *
 * At most one exchange at a time reads from the connection (`current`); those that are answered
 * but not sent yet wait in `unsent`, in order. Nothing is freed before the end of the turn.
 */
#pragma once

#include <stdalign.h>

#include "http/h1_chunked.h"
#include "http/h1_parse.h"
#include "net/conn_int.h"

#define H1_CONN_MAGIC 0x6831636eu
#define H1_FIELDS_MAX 200
#define H1_OUT_BYTES_MAX (256u * 1024u)  /* queued memory past which no further head is read */
#define H1_ARENA_BYTES 2048u             /* enough for most requests */
#define H1_PASS_BYTES_MIN 16384u         /* part of an answer that is worth a send of its own */
#define H1_SMALL_BYTES_MAX 4096u         /* body that is copied behind its head */
#define H1_DRAIN_BYTES_MAX (64u * 1024u) /* unread body that is worth keeping the connection */
#define H1_LINGER_MS 2000u               /* reading on after the last answer, see RFC 9112 9.6 */
#define H1_RATE_WINDOW_MS 10000u

struct h1_conn;

/* A part of the output: memory, or a range of a file. */
struct h1_piece {
    struct h1_piece *next;
    struct chunk *chunk;
    struct exchange_file *file;
    uint64_t offset;
    uint64_t n;
    size_t room;            /* free bytes behind it, of a chunk that nobody else has */
    struct h1_stream *ends; /* this exchange is complete when the piece is sent */
};

struct h1_stream {
    struct exchange x;
    struct h1_conn *conn;
    struct h1_stream *next; /* in `unsent` */
    struct h1_request request;
    const char *head; /* the bytes that the request's views point into */
    size_t head_bytes;
    bool is_pinned; /* they were copied into the arena */
    bool wants_body;
    bool has_asked_body;
    bool is_body_done;
    bool is_chunked_out;
    bool is_tunnel;
    bool must_close;    /* after this answer */
    uint64_t body_left; /* of a body with a length */
    uint64_t body_seen;
    struct h1_chunked chunked;
    struct buf trailers; /* of the request, as lines */
    struct buf ending;   /* of a chunked answer with trailers; empty: it has none */
    struct http_field fields[H1_FIELDS_MAX];
    alignas(max_align_t) char bytes[H1_ARENA_BYTES]; /* the first of the arena */
};

struct h1_conn {
    struct conn conn;
    uint32_t magic;
    struct timer timer;
    struct loop_task settle_task;
    struct loop_task free_task;

    char *pending; /* input that is not consumed yet; NULL mostly */
    size_t pending_bytes;
    size_t scanned_bytes; /* of it, by the head parser */
    struct h1_stream *current;
    struct h1_stream *unsent;
    struct h1_stream **unsent_tail;
    struct h1_piece *out;
    struct h1_piece **out_tail;
    size_t out_bytes; /* memory in the queue, not files */

    uint64_t activity_ms;   /* last progress in the direction that is waited for */
    uint64_t head_start_ms; /* first byte of the head that is incomplete; 0 = none */
    uint64_t window_ms;     /* start of the window that the minimum rate is measured over */
    uint64_t window_bytes;
    bool is_input_closed;
    bool is_closing;   /* no further head is read; close when the output is sent */
    bool is_lingering; /* the output is sent and ended, input is dropped until the peer closes */
    bool needs_linger;
    bool is_dead;
    bool is_feeding;  /* h1_input_feed is on the stack */
    bool is_flushing; /* h1_output_flush is on the stack */
    bool is_waiting_write;
    bool has_begun;    /* a byte of a request was read: it is HTTP/1 */
    bool has_answered; /* a request of it came to the service */
    bool is_moved;     /* it goes on as HTTP/2 */
};

enum err h1_conn_create(struct server *s, int fd, const struct socket_address *peer) MUST_CHECK;

/* `from` goes on as HTTP/1, and the first `n` bytes stand at `bytes`, in the server's input
 * buffer. On failure `from` is as it was. */
enum err h1_conn_adopt(struct conn *from, char *bytes, size_t n) MUST_CHECK;

/* Output that the socket has not taken yet. */
static inline bool h1_conn_has_output(const struct h1_conn *c)
{
    return c->out || transport_has_unsent(&c->conn.transport);
}

/* Ends everything now; memory is freed at the end of the turn. */
void h1_conn_kill(struct h1_conn *c, enum err cause);

/* Turns the state into interest, timer or close. The only place that does. */
void h1_conn_settle(struct h1_conn *c);

/* Notes progress for timers and the minimum rate. */
void h1_conn_progress(struct h1_conn *c, uint64_t bytes);

/* h1_input.c: consumes what it can of the `n` bytes at `p`; returns how much. */
size_t h1_input_feed(struct h1_conn *c, char *p, size_t n);

/* The peer ended its side within the body of `current`. */
void h1_input_cut(struct h1_conn *c);

/* Makes every stream that lives on independent of the input buffer. */
enum err h1_input_pin(struct h1_conn *c) MUST_CHECK;

/* True when bytes from the peer are of use now. */
bool h1_input_is_wanted(const struct h1_conn *c);

/* True when `pending` holds more than the head that is still incomplete, and may be read on. */
bool h1_input_has_work(const struct h1_conn *c);

/* The exchange `current` is answered and its body read or dropped: go on with the next. */
void h1_input_check_done(struct h1_conn *c);

/* h1_answer.c */
extern const struct exchange_protocol h1_protocol_10;
extern const struct exchange_protocol h1_protocol_11;

/* h1_output.c */

/* Sends what the socket takes. Returns ERR_OK (all sent), ERR_AGAIN, or what broke. */
enum err h1_output_flush(struct h1_conn *c) MUST_CHECK;

/* Queues a copy of bytes. ERR_NOMEM, as below. */
enum err h1_output_raw(struct h1_conn *c, struct str bytes) MUST_CHECK;

/* As above, with room for what h1_output_add will bring. */
enum err h1_output_begin(struct h1_conn *c, struct str bytes, size_t room) MUST_CHECK;

/* As h1_output_raw, into the room of the last piece where it has enough. */
enum err h1_output_add(struct h1_conn *c, struct str bytes) MUST_CHECK;

/* Sends what the socket takes at once where that saves copying much; queues the rest. */
enum err h1_output_offer(struct h1_conn *c, struct str bytes) MUST_CHECK;

/* Queues a reference to bytes. */
enum err h1_output_chunk(struct h1_conn *c, struct chunk *chunk, size_t offset,
                         size_t n) MUST_CHECK;

/* Queues an empty piece for the caller to fill. NULL: out of memory. */
struct h1_piece *h1_output_piece(struct h1_conn *c);

/* NULL: the queue is empty. */
struct h1_piece *h1_output_last(const struct h1_conn *c);

/* Takes back the pieces that were queued since the tail stood at `tail`. */
void h1_output_take_back(struct h1_conn *c, struct h1_piece **tail);

/* `s` ends before its answer is whole. True when only a reset can tell the client so, and the
 * connection will end with one. */
bool h1_output_break(const struct h1_stream *s);

/* Drops the queue; the streams in it are ended by the caller. */
void h1_output_clear(struct h1_conn *c);

/* Ends a stream: tells the service, frees. */
void h1_stream_end(struct h1_stream *s, enum err cause);
