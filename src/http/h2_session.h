/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server side of an HTTP/2 connection (RFC 9113, 7541, 9218, 8441) without I/O: bytes and the
 * time go in, events come out by callbacks, bytes to send are pulled. Frames and HPACK are
 * nghttp2's; what a request may look like, what it may cost and what abuse is are decided here.
 *
 * A stream is an object of the owner's with a struct h2_stream in front. The session asks for it
 * when a request begins and gives it back by on_stream_end, the last event of the stream. Streams
 * that are still there when the session is destroyed get none: the owner ends them itself.
 *
 * Events come from h2_session_recv and h2_session_pull only. Within them everything may be called
 * but h2_session_recv, h2_session_pull and h2_session_destroy.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "http/h1_parse.h"
#include "http/head.h"

#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define H2_PREFACE_BYTES 24u
#define H2_LENGTH_UNKNOWN UINT64_MAX
#define H2_WINDOW_STREAM (256 * 1024)
#define H2_WINDOW_CONNECTION (1024 * 1024)
#define H2_WINDOW_MAX (4 * 1024 * 1024)
#define H2_DROP_BYTES_MAX H2_WINDOW_STREAM /* of a body behind its answer */

/* RFC 9113 section 7, as far as we send them. */
enum h2_code {
    H2_NO_ERROR = 0x0,
    H2_PROTOCOL_ERROR = 0x1,
    H2_INTERNAL_ERROR = 0x2,
    H2_CANCEL = 0x8,
    H2_ENHANCE_YOUR_CALM = 0xb,
};

/* What ended a connection that cost more than it may. */
enum h2_abuse {
    H2_ABUSE_NONE,
    H2_ABUSE_RESETS,  /* streams opened and reset, by the client or by its faults */
    H2_ABUSE_CONTROL, /* frames that carry nothing */
    H2_ABUSE_HEADERS, /* a header block without end */
};

#define H2_CONTINUATIONS_MAX 8u
#define H2_RESETS_MAX 100u
#define H2_CONTROL_MAX 1000u
#define H2_UNACKED_MAX 100u
#define H2_ABUSE_WINDOW_MS 10000u

struct h2_pool;
struct h2_session;

struct h2_limits {
    uint32_t header_bytes_max; /* decoded, each field with 32 bytes more; and of the block */
    uint32_t header_count_max;
    uint32_t uri_bytes_max;
    uint32_t stream_count_max;
    bool has_connect_protocol; /* announce RFC 8441 */
};

struct h2_stream {
    struct list link; /* in the session, oldest first */
    int32_t id;
    struct request_head head;
    struct http_fields trailers;
    uint64_t content_length; /* declared; H2_LENGTH_UNKNOWN */
    bool expect_continue;
    bool is_body_done; /* the request is complete */
    bool is_answered;  /* the answer went out whole */
    bool is_resetting; /* by us; nothing but its end follows */
    /* Places for the first fields of the head and the first pieces of the arena, which the owner
     * may give in on_stream, so that most streams take nothing from the heap. */
    struct http_field *first_fields;
    unsigned first_field_count;
    void *first_bytes;
    size_t first_byte_count;
    /* Of the session. */
    bool is_trailer;
    bool is_begun;       /* on_request was called */
    uint64_t body_bytes; /* so far */
    uint64_t dropped_bytes;
    uint32_t cost;
    uint32_t field_count;
    uint32_t cookie_count;
    enum h1_reject reject;
    struct http_fields ending; /* trailers of the answer */
    struct arena arena;        /* of the head; the owner may take it over in on_request */
};

struct h2_events {
    /* A zeroed stream object, or NULL. */
    struct h2_stream *(*on_stream)(void *context);
    /* The head is complete; `is_body_done` says whether more follows. */
    void (*on_request)(void *context, struct h2_stream *stream);
    /* Request body; each byte is to be given back by h2_session_consume, at once or later. */
    void (*on_body)(void *context, struct h2_stream *stream, const char *bytes, size_t n);
    /* `trailers` are complete as well. */
    void (*on_body_end)(void *context, struct h2_stream *stream);
    /* The answer went out whole. Where the request is not complete, what is left of it is dropped;
     * the owner resets the stream (H2_NO_ERROR) when that takes too long. Comes behind refusals
     * too, where on_request did not. */
    void (*on_answered)(void *context, struct h2_stream *stream);
    /* Last event. ERR_OK: answered whole. ERR_RESET: by the client. on_request may never have
     * come. */
    void (*on_stream_end)(void *context, struct h2_stream *stream, enum err cause);
    /* How much of the body can be sent now, at most `n`; `*ret_is_last`: nothing follows it. */
    size_t (*on_offer)(void *context, struct h2_stream *stream, size_t n, bool *ret_is_last);
    /* Appends exactly the `n` bytes that were offered. Any error resets the stream. */
    enum err (*on_take)(void *context, struct h2_stream *stream, struct buf *out, size_t n);
    /* A head that became no request; `status` 0: the stream was reset. */
    void (*on_refused)(void *context, enum h1_reject reason, unsigned status);
    void *context;
};

/* `events` are copied; `pool` must outlive the session. ERR_NOMEM. */
enum err h2_session_create(const struct h2_limits *limits, const struct h2_events *events,
                           struct h2_pool *pool, struct h2_session **ret_session) MUST_CHECK;

/* NULL is a no-op. */
void h2_session_destroy(struct h2_session *s);

/* New limits for the streams to come. */
void h2_session_set_limits(struct h2_session *s, const struct h2_limits *limits);

/* Bytes from the peer, the preface first. What breaks the connection is told by a GOAWAY that
 * waits to be pulled; further bytes are dropped then. ERR_NOMEM ends the session at once. */
enum err h2_session_recv(struct h2_session *s, uint64_t now_ms, const char *bytes,
                         size_t n) MUST_CHECK;

/* Appends frames to `out` until it holds `bytes_max`, which the last one may exceed by its size.
 * ERR_NOMEM. */
enum err h2_session_pull(struct h2_session *s, uint64_t now_ms, struct buf *out,
                         size_t bytes_max) MUST_CHECK;

bool h2_session_wants_output(const struct h2_session *s);

/* Nothing is to be read or sent any more. */
bool h2_session_is_over(const struct h2_session *s);

/* The session ended in fault, not in agreement; what the peer sends may be unread. */
bool h2_session_is_broken(const struct h2_session *s);

/* The settings of the client have come. */
bool h2_session_is_ready(const struct h2_session *s);

/* A header block that is not complete. */
bool h2_session_is_within_head(const struct h2_session *s);

enum h2_abuse h2_session_abuse(const struct h2_session *s);
size_t h2_session_stream_count(const struct h2_session *s);

/* All streams, oldest first, by h2_stream.link. */
struct list *h2_session_streams(struct h2_session *s);

/* Gives the response head. `body_bytes`: length or H2_LENGTH_UNKNOWN; written as Content-Length
 * where the status has content. `date`: 29 bytes. `has_body`: on_offer will be asked. The bytes are
 * copied; fields of one connection are left out. ERR_NOMEM; ERR_SYNTAX: a field cannot be sent. */
struct h2_response {
    const struct response_head *head;
    uint64_t body_bytes;
    const char *date;
    bool has_body;
    bool is_checked; /* the very same fields were sent before */
};
enum err h2_session_respond(struct h2_session *s, struct h2_stream *stream,
                            const struct h2_response *response) MUST_CHECK;

/* 100 Continue; out of memory is no harm. */
void h2_session_continue(struct h2_session *s, struct h2_stream *stream);

/* Trailers of the answer, to be given before on_offer says that nothing follows. ERR_NOMEM;
 * ERR_SYNTAX. */
enum err h2_session_trailers(struct h2_session *s, struct h2_stream *stream,
                             const struct http_fields *fields) MUST_CHECK;

/* on_offer has something to say again. */
void h2_session_resume(struct h2_session *s, struct h2_stream *stream);

/* Breaks the stream off. */
void h2_session_reset(struct h2_session *s, struct h2_stream *stream, enum h2_code code);

/* Body bytes were used: the peer may send as many more. `stream` NULL: of one that ended. */
void h2_session_consume(struct h2_session *s, struct h2_stream *stream, size_t n);

/* Says that an end is near: the client shall open no further stream, those under way are taken. */
void h2_session_notice(struct h2_session *s);

/* Takes no further stream; the session is over when those there are have ended. */
void h2_session_finish(struct h2_session *s);

/* A notice has reached the client. */
bool h2_session_is_noticed(const struct h2_session *s);
