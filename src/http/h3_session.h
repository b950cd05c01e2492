/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server side of an HTTP/3 connection (RFC 9114, 9204, 9218, 9220, 9297) without I/O, above a
 * QUIC connection that the owner has: stream bytes and the time go in, events come out by
 * callbacks, stream bytes to send are asked for. Frames, QPACK and the order of streams are
 * nghttp3's; what a request may look like, what it may cost and what abuse is are decided here.
 *
 * What goes to the QUIC connection goes by struct h3_wire. Events come from h3_session_recv,
 * h3_session_recv_datagram, h3_session_offer and h3_session_taken only. Within them everything may
 * be called but these and h3_session_destroy. What breaks the connection shows by
 * h3_session_is_failed: the owner closes it with h3_session_code.
 */
#pragma once

#include "http/mux.h"

#define H3_PIECES_MAX 4
#define H3_CHUNK_BYTES 65536u
/* Body bytes that wait to be acknowledged: as much as the path takes, between these two. */
#define H3_KEPT_BYTES_MIN (256u * 1024u)
#define H3_KEPT_BYTES_MAX (8u * 1024u * 1024u)
#define H3_DROP_BYTES_MAX (64u * 1024u) /* of a body behind its answer; a longer one is cut off */
#define H3_RESETS_MAX 100u
#define H3_CONTROL_BYTES_MAX (256u * 1024u)
#define H3_ABUSE_WINDOW_MS 10000u
#define H3_TABLE_BYTES 4096u
#define H3_BLOCKED_MAX 16u
#define H3_PROMISE_BYTES 32

/* RFC 9114 section 8.1, as far as we send them. */
enum h3_code {
    H3_NO_ERROR = 0x100,
    H3_GENERAL_PROTOCOL_ERROR = 0x101,
    H3_INTERNAL_ERROR = 0x102,
    H3_STREAM_CREATION_ERROR = 0x103,
    H3_EXCESSIVE_LOAD = 0x107,
    H3_ID_ERROR = 0x108,
    H3_REQUEST_REJECTED = 0x10b,
    H3_REQUEST_CANCELLED = 0x10c,
    H3_MESSAGE_ERROR = 0x10e,
    H3_DATAGRAM_ERROR = 0x33, /* RFC 9297 5.2 */
};

/* What ended a connection that cost more than it may. */
enum h3_abuse {
    H3_ABUSE_NONE,
    H3_ABUSE_RESETS,  /* streams opened and reset, by the client or by its faults */
    H3_ABUSE_CONTROL, /* bytes that carry nothing */
    H3_ABUSE_HEADERS, /* a header block without end */
};

struct h3_session;

/* The QUIC connection below. `consume`: credit for received bytes; stream -1: of the connection
 * alone. `wake`: h3_session_offer has something to say. */
struct h3_wire {
    void (*consume)(void *context, int64_t stream_id, size_t n);
    void (*reset)(void *context, int64_t stream_id, uint64_t code); /* stop sending */
    void (*stop)(void *context, int64_t stream_id, uint64_t code);  /* stop receiving */
    void (*wake)(void *context);
    void *context;
};

/* `events` and `wire` are copied. ERR_NOMEM. */
enum err h3_session_create(const struct mux_limits *limits, const struct mux_events *events,
                           const struct h3_wire *wire, struct h3_session **ret_session) MUST_CHECK;

/* The settings that a client with early data relies on (RFC 9114 7.2.4.2), as bytes that change
 * when they do; returns how many. */
size_t h3_session_promise(const struct mux_limits *limits, char bytes[H3_PROMISE_BYTES]);

/* The QUIC connection has been destroyed before. NULL is a no-op. */
void h3_session_destroy(struct h3_session *s);

/* Gives the session the three streams of its own. ERR_NOMEM. */
enum err h3_session_bind(struct h3_session *s, int64_t control, int64_t encoder,
                         int64_t decoder) MUST_CHECK;

/* New limits for the streams to come. */
void h3_session_set_limits(struct h3_session *s, const struct mux_limits *limits);

/* Bytes of a stream, in order. */
void h3_session_recv(struct h3_session *s, uint64_t now_ms, int64_t stream_id, const uint8_t *p,
                     size_t n, bool is_end);

/* A datagram of the connection (RFC 9297 2.1), which becomes on_datagram or breaks the session. */
void h3_session_recv_datagram(struct h3_session *s, uint64_t now_ms, const uint8_t *p, size_t n);

/* Writes what stands before each datagram that is sent for a stream; how many bytes, 0: the client
 * takes none, or has not said so yet. */
#define H3_DATAGRAM_HEAD_BYTES_MAX 8
size_t h3_session_datagram_head(const struct h3_session *s, int64_t stream_id,
                                char out[H3_DATAGRAM_HEAD_BYTES_MAX]);

/* The peer gave up sending, or does not want what is sent, or the stream is gone. */
void h3_session_peer_reset(struct h3_session *s, uint64_t now_ms, int64_t stream_id);
void h3_session_peer_stop(struct h3_session *s, uint64_t now_ms, int64_t stream_id);
void h3_session_closed(struct h3_session *s, int64_t stream_id, uint64_t code);

struct h3_piece {
    const void *p;
    size_t n;
};

/* What is to be sent next; stream -1: nothing. The bytes stay until they are acknowledged, or
 * their stream is closed. */
struct h3_offer {
    int64_t stream_id;
    bool is_end;
    size_t count;
    struct h3_piece pieces[H3_PIECES_MAX];
};
void h3_session_offer(struct h3_session *s, uint64_t now_ms, struct h3_offer *ret);

/* So many bytes of the last offer were taken; with all of them its end as well. */
void h3_session_taken(struct h3_session *s, size_t n);
void h3_session_acknowledged(struct h3_session *s, int64_t stream_id, uint64_t n);

void h3_session_block(struct h3_session *s, int64_t stream_id);
void h3_session_unblock(struct h3_session *s, int64_t stream_id);
void h3_session_cannot_send(struct h3_session *s, int64_t stream_id);

/* The part that all protocols with streams have. */
struct mux_session *h3_session_mux(struct h3_session *s);

/* Says that an end is near: the client shall open no further stream, those under way are taken. */
void h3_session_notice(struct h3_session *s);

/* Takes no further stream; the session is over when those there are have ended. */
void h3_session_finish(struct h3_session *s);

/* Every stream has ended and all that was sent has arrived. */
bool h3_session_is_over(const struct h3_session *s);

/* Ends the session in fault. */
void h3_session_break(struct h3_session *s, uint64_t code);

bool h3_session_is_failed(const struct h3_session *s);
uint64_t h3_session_code(const struct h3_session *s);
enum h3_abuse h3_session_abuse(const struct h3_session *s);

/* The settings of the client have come. */
bool h3_session_is_ready(const struct h3_session *s);

/* The path below takes so many bytes before the first is acknowledged: twice as many are kept, so
 * that what is acknowledged finds its successors. */
void h3_session_set_window(struct h3_session *s, uint64_t bytes);

/* Body bytes that are kept until they are acknowledged. */
size_t h3_session_kept_bytes(const struct h3_session *s);
