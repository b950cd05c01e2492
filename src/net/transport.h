/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a connection, below every protocol: a socket, what watches it and, where there is
 * one, the TLS between. Embedded in its connection; moved when a connection changes its protocol.
 *
 * With TLS all bytes that came are decrypted before the caller sees any, and what was encrypted
 * but not taken by the socket waits here, so that a caller deals with plain bytes alone.
 */
#pragma once

#include "base/buf.h"
#include "crypto/tls_conn.h"
#include "loop/loop.h"
#include "os/socket.h"

/* What the transports of one loop share during a call. */
struct transport_scratch {
    char *cipher; /* TRANSPORT_CIPHER_BYTES; NULL before TLS is served */
    struct buf out;
};

#define TRANSPORT_CIPHER_BYTES 65536

/* An incomplete record that TLS keeps may add to what a receive brings. A buffer for
 * transport_recv must be larger than this. */
#define TRANSPORT_RECORD_BYTES (TLS_RECORD_BYTES + 1024u)

struct transport {
    struct loop_watch watch; /* `watch.fd` is owned */
    struct loop *loop;
    struct transport_scratch *scratch;
    struct tls_conn *tls; /* owned; NULL: plain */
    struct buf unsent;    /* encrypted, not taken by the socket yet */
    enum err read_error;  /* came behind bytes that were delivered: next receive returns it */
    uint64_t sent_bytes;  /* given to the socket */
    uint64_t taken_bytes; /* of them, acknowledged by the peer when last looked at */
};

/* Takes `fd` on success. Nothing is asked of the kernel before transport_want. */
enum err transport_init(struct transport *t, struct loop *loop, int fd,
                        struct transport_scratch *scratch, loop_ready_fn on_ready) MUST_CHECK;

/* Closes. `is_orderly`: the peer is told that nothing was cut off. */
void transport_done(struct transport *t, bool is_orderly);

/* `from` becomes `to` and is dead. */
void transport_move(struct transport *to, struct transport *from);

/* What is waited for: POLLER_READ, POLLER_WRITE. */
enum err transport_want(struct transport *t, unsigned events) MUST_CHECK;

/* Begins the handshake of a client over a plain transport, whose `scratch` has room for it from now
 * on; takes `tls` in any case. It goes on with transport_recv, which gives ERR_AGAIN until bytes
 * come; tls_conn_is_handshaken tells that it is done. ERR_NOMEM, ERR_RESET, ERR_IO. */
enum err transport_begin_tls(struct transport *t, struct tls_conn *tls) MUST_CHECK;

/* Nothing is waited for until the next transport_want, not even the end of the connection: a peer
 * that is gone would be reported in every turn, and bytes of it may wait that nobody wants yet. */
void transport_rest(struct transport *t);

/* Receives at most `n` bytes. ERR_AGAIN, ERR_EOF (for TLS: in order), ERR_RESET (also: the stream
 * was cut), ERR_IO, and the errors of tls_conn_read. */
enum err transport_recv(struct transport *t, void *bytes, size_t n, size_t *ret_n) MUST_CHECK;

/* The next receive says something although the socket may stay silent. */
bool transport_is_ended(const struct transport *t);

/* As socket_send and socket_send_file, of at most some records at once. ERR_AGAIN also while bytes
 * are unsent. */
enum err transport_send(struct transport *t, const struct iovec *pieces, size_t piece_count,
                        bool has_more, size_t *ret_n) MUST_CHECK;
enum err transport_send_file(struct transport *t, int file, uint64_t offset, size_t n,
                             size_t *ret_n) MUST_CHECK;

/* Sends what is unsent. ERR_AGAIN: not all. */
enum err transport_flush(struct transport *t) MUST_CHECK;
bool transport_has_unsent(const struct transport *t);

/* Bytes that the peer acknowledged since the last call. Socket buffers are large: a slow peer may
 * take bytes for a long time before there is room for more, and this is its progress. */
uint64_t transport_take_progress(struct transport *t);

/* Says that no more bytes follow; what comes can still be read. */
void transport_end(struct transport *t);

/* The close will be a reset: the peer must not take what it has for the whole. */
void transport_break(struct transport *t);

/* Ends what the transports of a loop shared. */
void transport_scratch_done(struct transport_scratch *s);
