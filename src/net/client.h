/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to an upstream and its answer: what exchange.h is towards clients, whatever version
 * the upstream speaks. Below lies a pool of connections of one loop.
 *
 * Life: client_start gives an exchange, whose connection may still have to be made. The service
 * hears of it from its own loop turns, never from within client_start. The last call is on_end,
 * exactly once, unless client_cancel was called before; after either of them the exchange is gone.
 * An answer may be whole before the request is: the rest of the request is then not sent, and the
 * connection is not used again.
 *
 * Every call here is allowed from within the service's callbacks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "http/head.h"
#include "os/socket.h"

struct client;
struct client_exchange;
struct loop;
struct tls_client;

#define CLIENT_LENGTH_UNKNOWN UINT64_MAX

/* How an exchange failed: id, name of the counter, what the client of a proxy is told, a sentence
 * for the log. */
#define CLIENT_FAULT_TABLE(X)                                                                      \
    X(NONE, "none", 0, "")                                                                         \
    X(MEMORY, "memory", 503, "out of resources")                                                   \
    X(NAME, "name", 502, "upstream: its name has no address")                                      \
    X(CONNECT, "connect", 502, "upstream: no connection")                                          \
    X(CONNECT_TIME, "connect_timeout", 504, "upstream: connecting took too long")                  \
    X(TLS, "tls", 502, "upstream: no TLS")                                                         \
    X(CLOSED, "closed", 502, "upstream: closed before it answered")                                \
    X(RESPONSE, "response", 502, "upstream: malformed answer")                                     \
    X(INTERIM, "interim", 502, "upstream: too many interim answers")                               \
    X(UPGRADE, "upgrade", 502, "upstream: changed its protocol unasked or wrongly")                \
    X(FIRST_TIME, "first_byte_timeout", 504, "upstream: no answer in time")                        \
    X(IDLE_TIME, "idle_timeout", 504, "upstream: stopped in the middle")                           \
    X(CUT, "cut", 502, "upstream: the answer was cut off")                                         \
    X(RESET, "reset", 502, "upstream: broke it off before it answered")                            \
    X(REFUSED, "refused", 502, "upstream: refused the stream")                                     \
    X(GOAWAY, "goaway", 502, "upstream: was closing the connection")                               \
    X(REQUEST, "request", 502, "the request cannot be sent to an upstream")

enum client_fault {
#define X(id, name, status, text) CLIENT_FAULT_##id,
    CLIENT_FAULT_TABLE(X)
#undef X
        CLIENT_FAULT_COUNT,
};

const char *client_fault_name(enum client_fault f);
const char *client_fault_text(enum client_fault f);
uint16_t client_fault_status(enum client_fault f);

enum client_protocol_id {
    CLIENT_H1,
    CLIENT_H2,   /* over TLS by ALPN, in the clear by prior knowledge */
    CLIENT_FCGI, /* FastCGI: no tunnels, no body without a length */
    CLIENT_PROTOCOL_COUNT,
};

/* Where to, and how long connections are kept for the next request. Copied. */
struct client_target {
    enum client_protocol_id protocol;
    struct socket_address address;
    struct tls_client *tls; /* NULL: in the clear; connections keep a reference */
    unsigned idle_max;      /* connections at rest; 0: none is kept */
    uint64_t idle_ms;
    unsigned proxy_version; /* of the PROXY protocol; for whoever makes the greeting. 0: none */
    struct str greeting;    /* what a connection begins with, before TLS, and then serves one
                             * request; copied by client_start. Empty: none */
};

struct client_timeouts {
    uint64_t connect_ms;
    uint64_t first_ms;  /* from the end of the request to the answer's head */
    uint64_t idle_ms;   /* without a byte of the answer, or without the upstream taking one */
    uint64_t tunnel_ms; /* likewise, in a tunnel */
};

/* A variable of CGI (RFC 3875 4.1). */
struct client_variable {
    struct str name;
    struct str value;
};

/* All of it is copied, or encoded, before client_start returns. */
struct client_request {
    struct str method;
    enum http_method method_id;
    struct str target;
    /* In order, with Host. What frames a message or concerns the connection is made here and must
     * not be among them: Content-Length, Transfer-Encoding, Connection, Upgrade. TE may. */
    const struct http_fields *fields;
    uint64_t body_bytes; /* CLIENT_LENGTH_UNKNOWN: until client_finish */
    bool has_body;       /* false: no framing is sent, and the request is whole at once */
    struct str upgrade;  /* the protocol to go on with, of a request without a body; empty: none */
    /* Of FastCGI, which says nothing else of method and target. CONTENT_LENGTH, CONTENT_TYPE and
     * HTTP_* follow from the rest and must not be among them. */
    const struct client_variable *variables;
    size_t variable_count;
};

/* How it ended. REFUSED and GOAWAY: the upstream has provably done nothing for the request,
 * whatever of it was sent. Text is valid during the call. */
struct client_end {
    enum client_fault fault;            /* NONE: the answer was whole */
    const struct http_fields *trailers; /* of a whole answer; NULL: none */
    const char *detail;                 /* static, for the log; never NULL */
    bool is_reused;                     /* the connection had served before */
    bool has_answered;                  /* a byte of an answer came */
    bool has_sent;                      /* a byte of the request may have reached the upstream */
};

struct client_service {
    /* An interim answer (1xx but 101), as often as they come. May be NULL. */
    void (*on_interim)(struct client_exchange *x, const struct response_head *head);
    /* The head of the answer, valid during the call. `body_bytes`: the length that was declared, of
     * the body that follows or, to HEAD and with 304, would have followed; or
     * CLIENT_LENGTH_UNKNOWN. Status 101: a tunnel from here on, as was asked; over HTTP/2 it stands
     * for any yes to the extended CONNECT that the request became (RFC 8441), and no field of the
     * opening handshake comes with it. */
    void (*on_head)(struct client_exchange *x, const struct response_head *head,
                    uint64_t body_bytes);
    /* Once for each client_read_body; valid during the call. */
    void (*on_body)(struct client_exchange *x, struct str bytes);
    /* A tunnel: the upstream will send no more. */
    void (*on_tunnel_end)(struct client_exchange *x);
    /* What the program behind FastCGI wrote for its log: some bytes of it, a few thousand in all.
     * May be NULL. */
    void (*on_log)(struct client_exchange *x, struct str bytes);
    /* client_room became positive again, or may have. */
    void (*on_room)(struct client_exchange *x);
    void (*on_end)(struct client_exchange *x, const struct client_end *end);
};

/* The loop must outlive the client. ERR_NOMEM. */
enum err client_create(struct loop *loop, struct client **ret_client) MUST_CHECK;

/* Ends all connections; exchanges that are under way are forgotten, their services not told. */
void client_destroy(struct client *c);

/* Begins an exchange, on a connection at rest where one is alive, else (or with `wants_new`) on a
 * new one. ERR_NOMEM; ERR_SYNTAX: the request cannot be sent; else why no connection can be made:
 * ERR_NOT_FOUND (refused), ERR_ACCESS, ERR_LIMIT, ERR_IO. */
enum err client_start(struct client *c, const struct client_target *target,
                      const struct client_timeouts *timeouts, const struct client_request *request,
                      bool wants_new, const struct client_service *service, void *state,
                      struct client_exchange **ret_exchange) MUST_CHECK;

/* The sentence for an error of connecting. */
const char *client_connect_text(enum err e);

/* Its fault: what this machine lacks, descriptors too, is none of the upstream. */
enum client_fault client_connect_fault(enum err e);

void *client_state(const struct client_exchange *x);

/* The next part of the answer's body, or of what comes in a tunnel. */
void client_read_body(struct client_exchange *x);

/* Offers a part of the request body, or of a tunnel; copied where it cannot be sent at once. What
 * comes after the upstream stopped reading is dropped. ERR_NOMEM; ERR_SYNTAX: more than was
 * declared. After an error the exchange can only be cancelled. */
enum err client_send(struct client_exchange *x, struct str bytes) MUST_CHECK;

/* The request is whole; `trailers` (NULL: none) are left out where it has a length. In a tunnel:
 * no more will be sent. Errors as above, ERR_SYNTAX also for less than was declared. */
enum err client_finish(struct client_exchange *x, const struct http_fields *trailers) MUST_CHECK;

/* How many bytes may be offered before the queue is long; 0 before there is a connection. */
size_t client_room(const struct client_exchange *x);

/* Breaks it off; its connection ends. */
void client_cancel(struct client_exchange *x);

/* Connections at rest now. */
unsigned client_idle_count(const struct client *c);
