/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a QUIC connection (RFC 9000, 9001, 9002), without I/O: datagrams and the time go in,
 * datagrams and a deadline come out; what happens on streams is told by callbacks. The transport
 * itself is ngtcp2's; here it gets TLS, the limits and a pull interface for what is to be sent.
 *
 * A callback must not destroy the connection; it may ask for it to be closed. After quic_conn_write
 * said that nothing is to be sent, and at the deadline, the owner calls again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "crypto/tls_quic.h"

#define QUIC_CID_BYTES 16 /* of the ids that this end chooses */
#define QUIC_CID_BYTES_MAX 20
#define QUIC_DATAGRAM_BYTES 9000 /* the largest that is tried, of networks with jumbo frames */
#define QUIC_TOKEN_BYTES 16      /* of a stateless reset */
#define QUIC_PIECES_MAX 4
#define QUIC_MESSAGES_MAX 64

struct quic_conn;

struct quic_cid {
    uint8_t n;
    uint8_t bytes[QUIC_CID_BYTES_MAX];
};

/* Both ends as socket addresses (struct sockaddr_in or sockaddr_in6); views. */
struct quic_path {
    struct str local;
    struct str remote;
};

struct quic_piece {
    const void *p;
    size_t n;
};

/* What the owner wants to send next. */
struct quic_offer {
    int64_t stream_id; /* -1: nothing */
    bool is_end;       /* of the stream, behind the pieces */
    size_t count;
    struct quic_piece pieces[QUIC_PIECES_MAX];
};

struct quic_hooks {
    /* The keys are there: streams may be opened and written to. On a server that is before the
     * handshake is complete, so that early data can be answered; whatever comes until then may be
     * an attacker's repetition, from an address that is not the client's. May be NULL. */
    void (*on_ready)(void *user);
    void (*on_handshake)(void *user);
    /* `n` bytes, in order; quic_conn_consume gives the credit back. */
    enum err (*on_data)(void *user, int64_t stream_id, const uint8_t *p, size_t n, bool is_end);
    /* So many bytes of a stream have arrived and need not be kept any more. */
    enum err (*on_acknowledged)(void *user, int64_t stream_id, uint64_t n);
    void (*on_reset)(void *user, int64_t stream_id, uint64_t code); /* the peer gave up sending */
    void (*on_stop)(void *user, int64_t stream_id, uint64_t code);  /* it does not want the rest */
    void (*on_stream_end)(void *user, int64_t stream_id, uint64_t code);
    void (*on_credit)(void *user, int64_t stream_id); /* a blocked stream may send again */

    /* Fills `ret`; the bytes must stay until they are acknowledged. */
    enum err (*offer)(void *user, struct quic_offer *ret);
    enum err (*on_taken)(void *user, int64_t stream_id, size_t n); /* of the last offer */
    void (*on_blocked)(void *user, int64_t stream_id);     /* not to be offered before on_credit */
    void (*on_cannot_send)(void *user, int64_t stream_id); /* its sending side is closed */

    /* A message of the peer, whole, perhaps out of order; never before the handshake is complete,
     * because it could be a repetition. NULL: dropped. */
    void (*on_message)(void *user, const uint8_t *p, size_t n);
    /* One that was sent has arrived, or is lost for good as far as can be told. May be NULL. */
    void (*on_message_end)(void *user, uint64_t id, bool has_arrived);

    void (*random)(void *user, uint8_t *p, size_t n);
    /* A new id of this end, QUIC_CID_BYTES long, that leads here; and one that no longer does. */
    void (*make_cid)(void *user, uint8_t *ret_bytes, uint8_t ret_token[QUIC_TOKEN_BYTES]);
    void (*drop_cid)(void *user, const uint8_t *bytes, size_t n);
};

enum quic_congestion {
    QUIC_CONGESTION_CUBIC, /* RFC 9438 */
    QUIC_CONGESTION_BBR,   /* version 2 */
    QUIC_CONGESTION_RENO,  /* RFC 9002 */
};

struct quic_limits {
    uint64_t connection_window_bytes; /* grows by itself up to the maximum */
    uint64_t connection_window_bytes_max;
    uint64_t stream_window_bytes;
    uint64_t stream_window_bytes_max;
    uint64_t stream_count; /* that the peer may have open */
    uint64_t handshake_ns;
    uint64_t idle_ns;
    size_t message_bytes_max; /* longest frame of a message that is taken; 0: there are none */
    enum quic_congestion congestion;
};

struct quic_accept {
    const struct quic_hooks *hooks;
    void *user;
    const struct quic_limits *limits;
    struct tls_server *tls;
    int64_t wall_s;
    uint64_t now_ns;
    struct quic_path path;
    uint32_t version;
    struct quic_cid client_cid;   /* source of the Initial */
    struct quic_cid server_cid;   /* the first of ours */
    struct quic_cid original_cid; /* destination of the client's first Initial */
    struct quic_cid retry_cid;    /* n = 0: no Retry was sent */
    struct str token;             /* that the client brought, already checked */
    struct str settings; /* what a client remembers of the protocol above; at most 64 bytes */
    uint8_t reset_token[QUIC_TOKEN_BYTES];
};

/* A server's end, from what the first Initial said (quic_packet.h). ERR_NOMEM. */
enum err quic_conn_accept(const struct quic_accept *a, struct quic_conn **ret_conn) MUST_CHECK;

struct quic_connect {
    const struct quic_hooks *hooks;
    void *user;
    const struct quic_limits *limits;
    struct tls_quic_client *tls; /* taken on success */
    uint64_t now_ns;
    struct quic_path path;
};

/* A client's end. ERR_NOMEM. */
enum err quic_conn_connect(const struct quic_connect *c, struct quic_conn **ret_conn) MUST_CHECK;

void quic_conn_destroy(struct quic_conn *c);

/* One datagram. ERR_OK: go on. ERR_CLOSED: the peer has closed, only silence follows.
 * ERR_CANCELLED: forget the connection at once. ERR_PROTOCOL and others: write once more (it says
 * why), then close. */
enum err quic_conn_receive(struct quic_conn *c, const struct quic_path *path, unsigned ecn,
                           const uint8_t *p, size_t n, uint64_t now_ns) MUST_CHECK;

struct quic_datagram {
    size_t n;      /* 0: nothing to send now */
    bool is_probe; /* of a size that may be too much for the path: it goes alone */
    unsigned ecn;
    uint8_t remote[128]; /* where to: a socket address */
    size_t remote_bytes;
};

/* The next datagram into `bytes` (of QUIC_DATAGRAM_BYTES). Errors as of quic_conn_receive; then
 * `ret` may still hold a last datagram. */
enum err quic_conn_write(struct quic_conn *c, uint8_t *bytes, struct quic_datagram *ret,
                         uint64_t now_ns) MUST_CHECK;

/* To be called after a burst of quic_conn_write, for pacing. */
void quic_conn_written(struct quic_conn *c, uint64_t now_ns);

/* How many bytes the path takes before the first of them is acknowledged. */
uint64_t quic_conn_window_bytes(struct quic_conn *c);

/* How many bytes may leave in one burst. */
size_t quic_conn_burst_bytes(struct quic_conn *c);

/* When quic_conn_on_deadline is due; UINT64_MAX: never. */
uint64_t quic_conn_deadline_ns(const struct quic_conn *c);

/* ERR_TIMEOUT: idle or handshake time is over, forget it silently. Others as of receive. */
enum err quic_conn_on_deadline(struct quic_conn *c, uint64_t now_ns) MUST_CHECK;

/* The datagram that closes the connection with an application's code; to be repeated to whoever
 * still sends, for the time that quic_conn_linger_ns says. */
enum err quic_conn_close(struct quic_conn *c, uint64_t code, uint8_t *bytes,
                         struct quic_datagram *ret, uint64_t now_ns) MUST_CHECK;

/* The same for what went wrong in receive, write or on_deadline. */
enum err quic_conn_close_failed(struct quic_conn *c, uint8_t *bytes, struct quic_datagram *ret,
                                uint64_t now_ns) MUST_CHECK;
uint64_t quic_conn_linger_ns(struct quic_conn *c);

/* ERR_LIMIT: the peer allows no more streams now. */
enum err quic_conn_open(struct quic_conn *c, bool is_two_way, int64_t *ret_stream_id) MUST_CHECK;

/* Sends `bytes`, which are copied, in one frame that is not repeated when it is lost (RFC 9221);
 * `id` comes back by on_message_end. ERR_AGAIN: not before the handshake is complete;
 * ERR_UNSUPPORTED: the peer takes none; ERR_RANGE: longer than quic_conn_message_bytes_max;
 * ERR_LIMIT: QUIC_MESSAGES_MAX are waiting; ERR_NOMEM. */
enum err quic_conn_send_message(struct quic_conn *c, struct str bytes, uint64_t id) MUST_CHECK;

/* What a message may hold now: it follows what the path carries. 0: the peer takes none. */
size_t quic_conn_message_bytes_max(struct quic_conn *c);

/* Gives credit back for bytes that were delivered. */
void quic_conn_consume(struct quic_conn *c, int64_t stream_id, size_t n);

/* Allows the peer one more two-way stream, when one has ended. */
void quic_conn_allow_stream(struct quic_conn *c);

/* Whether silence shall not end the connection (RFC 9000 10.1.2): a PING is sent in time. To be set
 * once the handshake is done. */
void quic_conn_keep_alive(struct quic_conn *c, bool is_wanted);

void quic_conn_reset(struct quic_conn *c, int64_t stream_id, uint64_t code); /* stop sending */
void quic_conn_stop(struct quic_conn *c, int64_t stream_id, uint64_t code);  /* stop receiving */

/* Gives the client a token for its next connection (quic_token_make). ERR_NOMEM. */
enum err quic_conn_send_token(struct quic_conn *c, struct str token) MUST_CHECK;

bool quic_conn_is_handshaken(const struct quic_conn *c);
const struct tls_conn *quic_conn_tls(const struct quic_conn *c); /* NULL: a client's end */
