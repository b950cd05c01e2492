/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a connection, below every protocol: a socket and what watches it. Embedded in its
 * connection; moved (transport_move) when a connection changes its protocol.
 */
#pragma once

#include "loop/loop.h"
#include "os/socket.h"

struct transport {
    struct loop_watch watch; /* `watch.fd` is owned */
    struct loop *loop;
    uint64_t sent_bytes;  /* given to the socket */
    uint64_t taken_bytes; /* of them, acknowledged by the peer when last looked at */
};

/* Takes `fd` on success. Nothing is asked of the kernel before transport_want. */
enum err transport_init(struct transport *t, struct loop *loop, int fd,
                        loop_ready_fn on_ready) MUST_CHECK;

/* Closes. */
void transport_done(struct transport *t);

/* What is waited for: POLLER_READ, POLLER_WRITE. */
enum err transport_want(struct transport *t, unsigned events) MUST_CHECK;

/* As socket_recv. */
enum err transport_recv(struct transport *t, void *bytes, size_t n, size_t *ret_n) MUST_CHECK;

/* As socket_send and socket_send_file. */
enum err transport_send(struct transport *t, const struct iovec *pieces, size_t piece_count,
                        bool has_more, size_t *ret_n) MUST_CHECK;
enum err transport_send_file(struct transport *t, int file, uint64_t offset, size_t n,
                             size_t *ret_n) MUST_CHECK;

/* Bytes that the peer acknowledged since the last call. Socket buffers are large: a slow peer may
 * take bytes for a long time before there is room for more, and this is its progress. */
uint64_t transport_take_progress(struct transport *t);

/* Says that no more bytes follow; what comes can still be read. */
void transport_end(struct transport *t);

/* The close will be a reset: the peer must not take what it has for the whole. */
void transport_break(struct transport *t);
