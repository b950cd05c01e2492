/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One side of an HTTP/2 connection (RFC 9113, 7541, 9218, 8441) without I/O: bytes and the time go
 * in, events come out by callbacks, bytes to send are pulled. A session is a server's or a
 * client's; what belongs to one of them says so.
 *
 * Events come from h2_session_recv and h2_session_pull only. Within them everything may be called
 * but h2_session_recv, h2_session_pull and h2_session_destroy.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/mux.h"

#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define H2_PREFACE_BYTES 24u
#define H2_WINDOW_STREAM (256 * 1024)
#define H2_WINDOW_CONNECTION (1024 * 1024)
#define H2_WINDOW_MAX (4 * 1024 * 1024)

/* RFC 9113 section 7. */
enum h2_code {
    H2_NO_ERROR = 0x0,
    H2_PROTOCOL_ERROR = 0x1,
    H2_INTERNAL_ERROR = 0x2,
    H2_FLOW_CONTROL_ERROR = 0x3,
    H2_STREAM_CLOSED = 0x5,
    H2_FRAME_SIZE_ERROR = 0x6,
    H2_REFUSED_STREAM = 0x7,
    H2_CANCEL = 0x8,
    H2_COMPRESSION_ERROR = 0x9,
    H2_ENHANCE_YOUR_CALM = 0xb,
};

/* What ended a connection that cost more than it may. */
enum h2_abuse {
    H2_ABUSE_NONE,
    H2_ABUSE_RESETS,  /* streams opened and reset, by the client or by its faults */
    H2_ABUSE_CONTROL, /* frames that carry nothing */
    H2_ABUSE_HEADERS, /* a header block without end, or that copies names without end */
};

/* A client gives the connection its credit back at once, so that no answer that is taken slowly
 * holds up others; what it keeps is bounded by the windows of the streams and by H2_KEPT_BYTES_MAX,
 * beyond which the connection waits. */
#define H2_CLIENT_WINDOW (64 * 1024)
#define H2_CLIENT_WINDOW_MAX (1024 * 1024)
#define H2_KEPT_BYTES_MAX (8u * 1024 * 1024)

#define H2_DROP_BYTES_MAX H2_WINDOW_STREAM /* of a body behind its answer */
#define H2_CONTINUATIONS_MAX 8u
#define H2_RESETS_MAX 100u
#define H2_CONTROL_MAX 1000u
#define H2_UNACKED_MAX 100u
#define H2_SETTINGS_MAX 32u /* in one frame */
#define H2_ABUSE_WINDOW_MS 10000u

struct h2_pool;
struct h2_session;

/* `events` are copied; `pool` must outlive the session. ERR_NOMEM. */
enum err h2_session_create(const struct mux_limits *limits, const struct mux_events *events,
                           struct h2_pool *pool, struct h2_session **ret_session) MUST_CHECK;

/* The same for a client, whose preface waits to be pulled. */
enum err h2_session_create_client(const struct mux_limits *limits, const struct mux_events *events,
                                  struct h2_pool *pool, struct h2_session **ret_session) MUST_CHECK;

/* NULL is a no-op. */
void h2_session_destroy(struct h2_session *s);

/* New limits for the streams to come. */
void h2_session_set_limits(struct h2_session *s, const struct mux_limits *limits);

/* Bytes from the peer, the preface first. What breaks the connection is told by a GOAWAY that
 * waits to be pulled; further bytes are dropped then. ERR_NOMEM ends the session at once. */
enum err h2_session_recv(struct h2_session *s, uint64_t now_ms, const char *bytes,
                         size_t n) MUST_CHECK;

/* Appends frames to `out` until it holds `bytes_max`, which the last one may exceed by its size.
 * ERR_NOMEM. */
enum err h2_session_pull(struct h2_session *s, uint64_t now_ms, struct buf *out,
                         size_t bytes_max) MUST_CHECK;

/* The part that all protocols with streams have. */
struct mux_session *h2_session_mux(struct h2_session *s);

bool h2_session_wants_output(const struct h2_session *s);

/* Nothing is to be read or sent any more. */
bool h2_session_is_over(const struct h2_session *s);

/* The session ended in fault, not in agreement; what the peer sends may be unread. */
bool h2_session_is_broken(const struct h2_session *s);

/* The settings of the peer have come. */
bool h2_session_is_ready(const struct h2_session *s);

/* A header block that is not complete. */
bool h2_session_is_within_head(const struct h2_session *s);

enum h2_abuse h2_session_abuse(const struct h2_session *s);
size_t h2_session_stream_count(const struct h2_session *s);

/* All streams, oldest first, by mux_stream.link. */
struct list *h2_session_streams(struct h2_session *s);

/* ---- a client's calls ---- */

struct h2_request {
    struct str method;
    enum http_method method_id;
    struct str scheme;
    struct str authority;
    struct str target;   /* `:path` */
    struct str protocol; /* of an extended CONNECT; else empty */
    /* What belongs to a connection is left out, and so is Host, which `authority` stands for; of TE
     * `trailers` is sent. */
    const struct http_fields *fields;
    uint64_t body_bytes; /* for Content-Length; MUX_LENGTH_UNKNOWN: none is sent */
    bool has_body;       /* on_offer will be asked */
};

/* ERR_SYNTAX: it cannot be sent. */
enum err h2_request_check(const struct h2_request *request) MUST_CHECK;

/* Opens a stream, an object of the owner's that is zeroed but for the first_ members. ERR_LIMIT: no
 * stream can begin here, or not now; ERR_SYNTAX: a field cannot be sent; ERR_NOMEM. After an error
 * the object is the owner's alone. */
enum err h2_session_request(struct h2_session *s, const struct h2_request *request,
                            struct mux_stream *stream) MUST_CHECK;

/* How many streams may begin now; 0 also where the peer leaves. */
uint32_t h2_session_room(const struct h2_session *s);

/* How many streams the peer takes at a time. */
uint32_t h2_session_streams_max(const struct h2_session *s);

/* No stream can begin here any more: the peer said that it leaves, the session failed, or all
 * identifiers were used. */
bool h2_session_is_closing(const struct h2_session *s);

/* The peer takes an extended CONNECT. */
bool h2_session_has_connect(const struct h2_session *s);

/* Asks for a sign of life. */
void h2_session_ping(struct h2_session *s);
bool h2_session_is_pinging(const struct h2_session *s); /* asked, and not answered yet */

/* ---- both ---- */

/* See struct mux_ops. */
enum err h2_session_respond(struct h2_session *s, struct mux_stream *stream,
                            const struct mux_response *response) MUST_CHECK;

/* As mux_interim. */
void h2_session_interim(struct h2_session *s, struct mux_stream *stream, uint16_t status,
                        const struct http_fields *fields);

/* on_offer has something to say again. */
void h2_session_resume(struct h2_session *s, struct mux_stream *stream);

/* Breaks the stream off. */
void h2_session_reset(struct h2_session *s, struct mux_stream *stream, enum h2_code code);

/* Body bytes were used: the peer may send as many more. `stream` NULL: of one that ended. */
void h2_session_consume(struct h2_session *s, struct mux_stream *stream, size_t n);

/* Says that an end is near: the client shall open no further stream, those under way are taken. */
void h2_session_notice(struct h2_session *s);

/* Takes no further stream; the session is over when those there are have ended. */
void h2_session_finish(struct h2_session *s);

/* A notice has reached the client. */
bool h2_session_is_noticed(const struct h2_session *s);
