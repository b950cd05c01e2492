/* SPDX-License-Identifier: Apache-2.0 */
/* UDP as QUIC needs it: many datagrams a call, the local address and the ECN mark of each, and no
 * fragments unless datagram_allow_fragments is called. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "os/socket.h"

#define DATAGRAM_BATCH 16
#define DATAGRAM_BYTES_MAX 65535u

/* A bound, non-blocking UDP socket. `is_shared` sets SO_REUSEPORT. ERR_IN_USE, ERR_ACCESS, ... */
enum err datagram_bind(const struct socket_address *a, bool is_shared, int *ret_fd) MUST_CHECK;

/* What is larger than the path takes is cut into fragments, as with any other socket. */
void datagram_allow_fragments(int fd);

/* A non-blocking UDP socket that speaks to `a` alone, by socket_send and socket_recv: ERR_EOF there
 * is an empty datagram, ERR_NOT_FOUND says that nobody listens. ERR_LIMIT: no descriptors left. */
enum err datagram_connect(const struct socket_address *a, int *ret_fd) MUST_CHECK;

/* Has the kernel give short packets of QUIC to the socket whose place among those that share the
 * address of `fd`, in the order of their binding, stands in the byte `at` of the connection id; all
 * others by the address of the client, as without. A kernel that cannot is no harm. */
void datagram_steer(int fd, unsigned at);

/* What one receive brought: one datagram, or several of equal size behind each other of which the
 * last may be shorter (GRO). */
struct datagram {
    struct socket_address remote;
    struct socket_address local; /* with the port of the socket */
    unsigned ecn;
    uint8_t *bytes;
    size_t n;
    size_t segment_bytes; /* size of each */
};

/* Memory for a batch; one per loop is enough. */
struct datagram_buffers;
struct datagram_buffers *datagram_buffers_create(void) __attribute__((warn_unused_result));
void datagram_buffers_destroy(struct datagram_buffers *b);

/* Receives at most DATAGRAM_BATCH times into `ret`, whose bytes lie in `b` until the next call.
 * `local` is what the socket is bound to. ERR_AGAIN: there is nothing. */
enum err datagram_receive(int fd, struct datagram_buffers *b, const struct socket_address *local,
                          struct datagram ret[DATAGRAM_BATCH], unsigned *ret_count) MUST_CHECK;

/* Sends `n` bytes as datagrams of `segment_bytes` each (the last may be shorter) in one call, from
 * `local` and with `ecn`. ERR_AGAIN: the socket is full. ERR_LIMIT: larger than the path takes.
 * ERR_UNSUPPORTED: this machine sends one at a time only. */
struct datagram_send {
    const struct socket_address *remote;
    const struct socket_address *local;
    unsigned ecn;
    const uint8_t *bytes;
    size_t n;
    size_t segment_bytes;
};
enum err datagram_send(int fd, const struct datagram_send *d) MUST_CHECK;
