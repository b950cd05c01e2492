/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sessions of HTTP/2 and HTTP/3 have in common: many streams, each a request and its
 * answer, with fields in place of text. The layer above sees only this.
 *
 * A stream is an object of the owner's with a struct mux_stream in front. The session asks for it
 * when a request begins and gives it back by on_stream_end, the last event of the stream. Streams
 * that are still there when the session is destroyed get none: the owner ends them itself.
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

#define MUX_LENGTH_UNKNOWN UINT64_MAX

struct mux_limits {
    uint32_t header_bytes_max; /* decoded, each field with 32 bytes more; and of the block */
    uint32_t header_count_max;
    uint32_t uri_bytes_max;
    uint32_t stream_count_max;
    bool has_connect_protocol; /* announce RFC 8441 or 9220 */
};

struct mux_stream {
    struct list link; /* in the session, oldest first */
    int64_t id;
    struct request_head head;
    struct http_fields trailers;
    uint64_t content_length; /* declared; MUX_LENGTH_UNKNOWN */
    bool expect_continue;
    bool is_body_done; /* the request is complete */
    bool is_answered;  /* the answer went out whole */
    bool is_resetting; /* by us; nothing but its end follows */
    /* Where the session is a client (h2_session.h), `head` holds what was asked and, in `fields`,
     * what was answered; `content_length` is the answer's. The "body" is that of the answer, and
     * "answered" means that the request went out whole. */
    uint16_t status;
    bool has_no_content;   /* the answer has no body, whatever its fields say */
    bool is_unprocessed;   /* it ended, and the peer has provably done nothing for it */
    bool is_reset_by_peer; /* it ended so, with `peer_code` */
    uint32_t peer_code;
    /* A place for the first fields of the head that the owner may give in on_stream, so that most
     * heads need no other. */
    struct http_field *first_fields;
    unsigned first_field_count;
    void *first_bytes; /* the same for the first pieces of the arena */
    size_t first_byte_count;
    /* Of the session. */
    void *part; /* what else it keeps */
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

struct mux_events {
    /* A zeroed stream object, or NULL. */
    struct mux_stream *(*on_stream)(void *context);
    /* The head is complete; `is_body_done` says whether more follows. */
    void (*on_request)(void *context, struct mux_stream *stream);
    /* Request body; each byte is to be given back by mux_consume, at once or later. */
    void (*on_body)(void *context, struct mux_stream *stream, const char *bytes, size_t n);
    /* `trailers` are complete as well. */
    void (*on_body_end)(void *context, struct mux_stream *stream);
    /* The answer went out whole. Where the request is not complete, what is left of it is dropped;
     * the owner resets the stream (MUX_RESET_NO_ERROR) when that takes too long. Comes behind
     * refusals too, where on_request did not. */
    void (*on_answered)(void *context, struct mux_stream *stream);
    /* Last event. ERR_OK: answered whole. ERR_RESET: by the client. on_request may never have
     * come. */
    void (*on_stream_end)(void *context, struct mux_stream *stream, enum err cause);
    /* How much of the body can be sent now, at most `n`; `*ret_is_last`: nothing follows it. */
    size_t (*on_offer)(void *context, struct mux_stream *stream, size_t n, bool *ret_is_last);
    /* Appends exactly the `n` bytes that were offered. Any error resets the stream. */
    enum err (*on_take)(void *context, struct mux_stream *stream, struct buf *out, size_t n);
    /* A head that became no request; `status` 0: the stream was reset. */
    void (*on_refused)(void *context, enum h1_reject reason, unsigned status);
    /* A datagram for a stream (HTTP/3 alone); NULL: for one that is not there, or not yet. May be
     * NULL. */
    void (*on_datagram)(void *context, struct mux_stream *stream, const char *bytes, size_t n);
    /* To a client: the head of an answer, in stream->status and stream->head.fields. An interim one
     * is valid during the call. NULL for servers. */
    void (*on_response)(void *context, struct mux_stream *stream);
    void *context;
};

/* Why a stream is broken off; each protocol has a code for it. */
enum mux_reset {
    MUX_RESET_NO_ERROR, /* the rest of the request is not needed */
    MUX_RESET_PROTOCOL,
    MUX_RESET_INTERNAL,
    MUX_RESET_CANCEL,
    MUX_RESET_CALM,     /* it costs too much */
    MUX_RESET_DATAGRAM, /* it has no place for datagrams (HTTP/3 alone) */
};

/* Gives the response head. `body_bytes`: length or MUX_LENGTH_UNKNOWN; written as Content-Length
 * where the status has content. `date`: 29 bytes, or
 * NULL for none. `has_body`: on_offer will be asked. The bytes are
 * copied; fields of one connection are left out. ERR_NOMEM; ERR_SYNTAX: a field cannot be sent. */
struct mux_response {
    const struct response_head *head;
    uint64_t body_bytes;
    const char *date;
    bool has_body;
    bool is_checked; /* the very same fields were sent before */
};

struct mux_session;

struct mux_ops {
    enum err (*respond)(struct mux_session *s, struct mux_stream *stream,
                        const struct mux_response *response);
    void (*interim)(struct mux_session *s, struct mux_stream *stream, uint16_t status,
                    const struct http_fields *fields);
    void (*resume)(struct mux_session *s, struct mux_stream *stream);
    void (*reset)(struct mux_session *s, struct mux_stream *stream, enum mux_reset why);
    void (*consume)(struct mux_session *s, struct mux_stream *stream, size_t n);
};

/* In front of the sessions. Only the streams and their number are for others. */
struct mux_session {
    const struct mux_ops *ops;
    struct mux_limits limits;
    struct mux_events events;
    struct list streams; /* oldest first, by mux_stream.link */
    size_t stream_count;
};

static inline enum err mux_respond(struct mux_session *s, struct mux_stream *stream,
                                   const struct mux_response *response)
{
    return s->ops->respond(s, stream, response);
}

/* Trailers of the answer, to be given before on_offer says that nothing follows; an answer without
 * a body goes without. They are copied. ERR_NOMEM; ERR_SYNTAX. */
enum err mux_trailers(struct mux_stream *stream, const struct http_fields *trailers) MUST_CHECK;

/* An interim answer before mux_respond: 100 without `fields` (NULL), or another one. What cannot be
 * sent is left out: it is advice. */
static inline void mux_interim(struct mux_session *s, struct mux_stream *stream, uint16_t status,
                               const struct http_fields *fields)
{
    s->ops->interim(s, stream, status, fields);
}

/* on_offer has something to say again. */
static inline void mux_resume(struct mux_session *s, struct mux_stream *stream)
{
    s->ops->resume(s, stream);
}

/* Breaks the stream off. */
static inline void mux_reset(struct mux_session *s, struct mux_stream *stream, enum mux_reset why)
{
    s->ops->reset(s, stream, why);
}

/* Body bytes were used: the peer may send as many more. `stream` NULL: of one that ended. */
static inline void mux_consume(struct mux_session *s, struct mux_stream *stream, size_t n)
{
    s->ops->consume(s, stream, n);
}
