/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and its answer: the interface between the protocols below and everything above.
 *
 * Below stands a protocol (struct exchange_protocol: h1, h2, h3), above a service (struct
 * exchange_service: the pipeline and its handlers). Neither knows the other's kind. The request
 * body is pulled by the service, the response body is offered by it and flows under back-pressure.
 *
 * Life: the protocol creates the exchange and calls the server's on_exchange. The service answers
 * at once or later from its own events, on the same loop. The last call the service gets is
 * on_end, exactly once; after it returns the exchange is gone. A service never frees one.
 *
 * Trailers come with the end of a body, either way. They are advice that may be lost under way
 * (RFC 9110 6.5.1).
 *
 * A tunnel is an exchange that turned into two byte streams (a WebSocket): after exchange_tunnel
 * what the client sends is the request body and what the service sends is the response body, both
 * as they are, until either side ends.
 *
 * A tunnel may carry datagrams in place of bytes (RFC 9297): each arrives whole, once or not at
 * all, perhaps out of order. Over HTTP/3 they go beside the stream, in frames that are not
 * repeated, where the client takes such; otherwise, and over HTTP/1.1 and 2, within it as capsules.
 *
 * Every call here is allowed from within the service's callbacks. After exchange_finish,
 * exchange_reset, exchange_answer and exchange_respond_ready the caller must not touch the exchange
 * again: it may be gone. The text of `request` may move when a callback returns: take views of it
 * anew each time, or copy what must stay.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/chunk.h"
#include "base/err.h"
#include "http/head.h"
#include "os/socket.h"

struct exchange;
struct server;
struct tls_conn;

/* A file that is being sent; shared by the exchanges that send it. */
struct exchange_file {
    uint32_t ref_count;
    int fd;
};

struct exchange_file *exchange_file_create(int fd) MUST_CHECK; /* takes the descriptor on success */
struct exchange_file *exchange_file_ref(struct exchange_file *f);
void exchange_file_unref(struct exchange_file *f); /* the last one closes; NULL is a no-op */

/* How the end of a response body is known. */
#define EXCHANGE_LENGTH_UNKNOWN UINT64_MAX

/* A response head that is used many times. Each protocol keeps its encoded form in the entry. The
 * Date field is added by the protocol. */
struct exchange_ready {
    uint16_t status;
    struct http_fields fields; /* with Content-Length */
    uint64_t body_bytes;
    struct chunk *body;    /* NULL: the body comes as a file range */
    struct chunk *encoded; /* the h1 form, head and body in one piece */
    uint32_t head_bytes;   /* of the encoded form */
    uint32_t date_at;      /* where the date stands in it */
    int64_t date_s;        /* which second it shows */
    bool is_checked;       /* the fields were found fit to be sent */
};

void exchange_ready_done(struct exchange_ready *r);

struct exchange_service {
    /* Request body bytes, once for each exchange_read_body; valid during the call. */
    void (*on_body)(struct exchange *x, const char *bytes, size_t n);
    /* The request body is complete, and its trailers are there (exchange.trailers). */
    void (*on_body_end)(struct exchange *x);
    /* exchange_room became positive again. */
    void (*on_room)(struct exchange *x);
    /* A datagram of a tunnel of datagrams, valid during the call. NULL: they are dropped. */
    void (*on_datagram)(struct exchange *x, const char *bytes, size_t n);
    /* The server drains: what goes on without end should come to one. May be NULL. */
    void (*on_drain)(struct exchange *x);
    /* Last call. ERR_OK: the answer went out whole (over HTTP/2: it is encoded whole). */
    void (*on_end)(struct exchange *x, enum err cause);
};

struct exchange_protocol {
    uint8_t version; /* 10, 11, 20, 30 */
    void (*read_body)(struct exchange *x);
    enum err (*respond)(struct exchange *x, const struct response_head *head, uint64_t body_bytes);
    enum err (*respond_ready)(struct exchange *x, struct exchange_ready *ready);
    enum err (*send_chunk)(struct exchange *x, struct chunk *c, size_t offset, size_t n);
    enum err (*send_bytes)(struct exchange *x, struct str bytes);
    enum err (*send_file)(struct exchange *x, struct exchange_file *f, uint64_t offset, uint64_t n);
    enum err (*send_trailers)(struct exchange *x, const struct http_fields *trailers);
    /* NULL: never (HTTP/1.0). */
    void (*send_interim)(struct exchange *x, uint16_t status, const struct http_fields *fields);
    void (*finish)(struct exchange *x);
    void (*reset)(struct exchange *x, enum err cause);
    size_t (*room)(const struct exchange *x);
    /* NULL: never (HTTP/1.0). HTTP/1.1 answers 101 with Connection and Upgrade. HTTP/2 and 3
     * answer an extended CONNECT (RFC 8441, RFC 9220) with 200 and `fields`, without `protocol`;
     * DATA is then the bytes, the end of the client's stream is on_body_end, and finish ends ours.
     * All of them drop the limits of bodies (size, rate) and hold the idle time of tunnels instead,
     * and call exchange_drain for each exchange under way when their connection drains. */
    enum err (*tunnel)(struct exchange *x, struct str protocol, const struct http_fields *fields);
    /* Datagrams beside the stream of a tunnel, as of the functions below; what comes that way goes
     * to exchange_give_datagram. NULL, or a longest one of 0 bytes: there are none now. */
    size_t (*datagram_bytes_max)(const struct exchange *x);
    enum err (*send_datagram)(struct exchange *x, struct str bytes);
};

struct exchange_peer {
    int fd; /* for socket_local only; -1: QUIC, whose socket is everybody's */
    struct socket_address address;
    struct str host;            /* the address as text, without port */
    const struct tls_conn *tls; /* NULL: the connection is not encrypted */
    uint8_t version;            /* that it speaks: 11, 20 or 30 */
};

enum exchange_phase {
    EXCHANGE_OPEN,      /* no response head yet */
    EXCHANGE_RESPONDED, /* head given, body flows */
    EXCHANGE_FINISHED,  /* everything given */
};

struct exchange_datagrams;

struct exchange {
    uint32_t magic;
    enum exchange_phase phase;
    const struct exchange_protocol *protocol;
    const struct exchange_service *service;
    void *state;                          /* of the service */
    struct exchange_datagrams *datagrams; /* NULL: it is no tunnel of datagrams */
    struct server *server;
    const struct request_head *request;
    const struct exchange_peer *peer;
    /* Of the request; NULL before on_body_end, or where none came. */
    const struct http_fields *trailers;
    struct str upgrade;          /* what the client would go on with: Upgrade that Connection
                                  * names, or :protocol; empty: nothing */
    uint64_t request_body_bytes; /* declared; EXCHANGE_LENGTH_UNKNOWN: chunked */
    bool is_head_only;           /* HEAD: the body is counted but not sent */
    bool is_early;               /* may be a repetition: whom it is passed on to must be told by
                                  * Early-Data: 1 (RFC 8470 5.1) */
    uint16_t status;             /* of the answer, 0 before */
    uint64_t start_ns;           /* loop time of the first byte */
    uint64_t sent_bytes;         /* response body bytes given so far */
    uint64_t left_bytes;         /* of the announced length */
    struct arena arena;          /* lives as long as the exchange */
};

#define EXCHANGE_MAGIC 0x78636867u

/* Attaches the service that handles the exchange from now on. */
void exchange_serve(struct exchange *x, const struct exchange_service *service, void *state);

/* Asks for the next part of the request body (and sends 100 Continue where the client waits for
 * it); to be called again from on_body or later, until on_body_end, which may be called at once
 * from here. Without it the body is dropped behind the answer, or the connection closed where it
 * is long. */
void exchange_read_body(struct exchange *x);

/* Gives the response head. `body_bytes`: length, EXCHANGE_LENGTH_UNKNOWN, or 0. Framing fields
 * (Content-Length, Transfer-Encoding, Connection) belong to the protocol, not to `head`, and so
 * does Date where the head has none. The bytes are copied. ERR_NOMEM; ERR_SYNTAX for a field that
 * cannot be sent. */
enum err exchange_respond(struct exchange *x, const struct response_head *head,
                          uint64_t body_bytes) MUST_CHECK;

/* An interim answer before the head, such as 103: advice, which is left out where it cannot be
 * sent. Not for 100, which exchange_read_body sends, and 101. */
void exchange_send_interim(struct exchange *x, uint16_t status, const struct http_fields *fields);

/* Gives head and, where `ready` has one, body; then the exchange is finished. */
enum err exchange_respond_ready(struct exchange *x, struct exchange_ready *ready) MUST_CHECK;

/* Offer parts of the body, in order; sizes beyond exchange_room are taken too, but a service that
 * makes data should wait for on_room. Chunk and file are referenced, bytes are copied. */
enum err exchange_send_chunk(struct exchange *x, struct chunk *c, size_t offset,
                             size_t n) MUST_CHECK;
enum err exchange_send_bytes(struct exchange *x, struct str bytes) MUST_CHECK;
enum err exchange_send_file(struct exchange *x, struct exchange_file *f, uint64_t offset,
                            uint64_t n) MUST_CHECK;

/* Gives the trailers of the answer, once, behind its body and before exchange_finish; they are
 * copied. HTTP/1.1 sends them where the client says `TE: trailers` and the answer has no length,
 * HTTP/2 and 3 wherever it has a body; otherwise they are left out. ERR_SYNTAX: a name that has no
 * place there (http_field_is_forbidden_in_trailer), or what cannot be sent; ERR_NOMEM. */
enum err exchange_send_trailers(struct exchange *x, const struct http_fields *trailers) MUST_CHECK;

/* The body is complete. */
void exchange_finish(struct exchange *x);

/* Breaks the exchange off: the client must see that the answer is not whole. */
void exchange_reset(struct exchange *x, enum err cause);

/* Turns the exchange into a tunnel that speaks `protocol`, one of those in `upgrade`, in place of
 * exchange_respond. `fields` go into the head and are copied. Bytes that the client sent behind its
 * head have waited until now. exchange_read_body asks for what comes, and on_body_end answers it
 * when no more will; exchange_finish closes behind what was sent. ERR_UNSUPPORTED: the client did
 * not ask, its request has a body that is not read, or the protocol has no tunnels; ERR_NOMEM;
 * ERR_SYNTAX. After an error the exchange can be answered. */
enum err exchange_tunnel(struct exchange *x, struct str protocol,
                         const struct http_fields *fields) MUST_CHECK;

/* The same for a tunnel of datagrams; `Capsule-Protocol` (RFC 9297 3.4) is added to the fields.
 * exchange_read_body, called once, asks for all that comes: on_datagram tells it, on_body is not
 * called. A stream that ends within a capsule is reset and counted. */
enum err exchange_tunnel_datagrams(struct exchange *x, struct str protocol,
                                   const struct http_fields *fields) MUST_CHECK;

/* Sends a datagram by a tunnel of them; the bytes are copied, and may be lost on the way.
 * ERR_RANGE: longer than exchange_datagram_bytes_max. ERR_LIMIT: too much waits already, it is
 * dropped and counted; ERR_NOMEM: it is dropped. The exchange goes on after each of them. */
enum err exchange_send_datagram(struct exchange *x, struct str bytes) MUST_CHECK;

/* What a datagram may hold now: over HTTP/3 it follows what the path carries. */
size_t exchange_datagram_bytes_max(const struct exchange *x);

/* For protocols: a datagram came beside the stream of `x`; NULL: nobody's. It is dropped and
 * counted where nobody takes it. */
void exchange_give_datagram(struct server *s, struct exchange *x, struct str bytes);

/* For protocols: tells the service that the server drains. */
void exchange_drain(struct exchange *x);

/* How many bytes may be offered before the queue is long. */
size_t exchange_room(const struct exchange *x);

/* Head, body and finish in one. */
enum err exchange_answer(struct exchange *x, const struct response_head *head,
                         struct str body) MUST_CHECK;
