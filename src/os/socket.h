/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: addresses, listening, accepting, moving bytes. All descriptors are non-blocking and
 * close on exec. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/str.h"

struct socket_address {
    socklen_t n;
    struct sockaddr_storage raw;
};

#define SOCKET_ADDRESS_TEXT_BYTES 128

/* From a number address and port ("127.0.0.1", "::1"). ERR_SYNTAX. */
enum err socket_address_ip(struct str host, uint16_t port,
                           struct socket_address *ret_address) MUST_CHECK;

/* From 4 or 16 bytes in network order. ERR_SYNTAX: another number of them. */
enum err socket_address_raw(const void *bytes, size_t n, uint16_t port,
                            struct socket_address *ret_address) MUST_CHECK;

/* From a path; a leading `@` means the abstract namespace. ERR_LIMIT: the path is too long. */
enum err socket_address_unix(struct str path, struct socket_address *ret_address) MUST_CHECK;

/* The address without port ("unix" for local sockets) into `text`; returns its length. */
size_t socket_address_host(const struct socket_address *a, char text[SOCKET_ADDRESS_TEXT_BYTES]);

/* host:port, [v6]:port or unix:path. */
size_t socket_address_text(const struct socket_address *a, char text[SOCKET_ADDRESS_TEXT_BYTES]);

uint16_t socket_address_port(const struct socket_address *a);

#define SOCKET_ADDRESS_BYTES_MAX 16

/* The 4 or 16 bytes of the address in network order; returns how many, 0 for local sockets. */
size_t socket_address_bytes(const struct socket_address *a,
                            uint8_t ret_bytes[SOCKET_ADDRESS_BYTES_MAX]);

/* A listening stream socket. `is_shared` sets SO_REUSEPORT. A stale unix socket file that nobody
 * listens on is replaced. ERR_IN_USE, ERR_ACCESS, ... */
enum err socket_listen(const struct socket_address *a, bool is_shared, int *ret_fd) MUST_CHECK;

/* Connects, blocking, for command-line use only. */
enum err socket_connect(const struct socket_address *a, int *ret_fd) MUST_CHECK;

/* Likewise, and gives up after `timeout_ms`, as do the next two on this socket. ERR_TIMEOUT. */
enum err socket_connect_within(const struct socket_address *a, unsigned timeout_ms,
                               int *ret_fd) MUST_CHECK;

/* Begins to connect a non-blocking socket, the caller's from now on where ERR_OK or ERR_AGAIN comes
 * back. ERR_AGAIN: under way, and socket_connect_result tells once it is writable. ERR_NOT_FOUND:
 * nobody listens there; ERR_LIMIT: no descriptors left, or the queue of a Unix socket is full. */
enum err socket_connect_begin(const struct socket_address *a, int *ret_fd) MUST_CHECK;

/* How connecting ended; ERR_NOT_FOUND as above. */
enum err socket_connect_result(int fd) MUST_CHECK;

/* All of `bytes`, and `n` bytes, on a blocking socket. ERR_EOF, ERR_TIMEOUT, ERR_RESET, ... */
enum err socket_send_all(int fd, struct str bytes) MUST_CHECK;
enum err socket_recv_all(int fd, void *bytes, size_t n) MUST_CHECK;

/* Accepts one connection. ERR_AGAIN: none waits; ERR_LIMIT: no descriptors left. */
enum err socket_accept(int listener, struct socket_address *ret_peer, int *ret_fd) MUST_CHECK;

/* The local address of a socket. */
enum err socket_local(int fd, struct socket_address *ret_address) MUST_CHECK;

/* ERR_AGAIN, ERR_EOF, ERR_RESET, ERR_IO. */
enum err socket_recv(int fd, void *bytes, size_t n, size_t *ret_n) MUST_CHECK;

/* As socket_recv, but leaves the bytes where they are. */
enum err socket_peek(int fd, void *bytes, size_t n, size_t *ret_n) MUST_CHECK;

/* The socket is ready for reading from `n` bytes on only, or at its end. ERR_IO. */
enum err socket_set_low_water(int fd, size_t n) MUST_CHECK;

/* Neither bytes nor the end of the connection wait to be received. */
bool socket_is_silent(int fd);

/* Writes what the kernel takes now; 0 < *ret_n <= sum of the pieces. `has_more` holds back a
 * last short packet. ERR_AGAIN, ERR_RESET, ERR_IO. */
enum err socket_send(int fd, const struct iovec *pieces, size_t piece_count, bool has_more,
                     size_t *ret_n) MUST_CHECK;

/* Sends from a file without copying through user space. ERR_EOF: the file ended before `offset`. */
enum err socket_send_file(int fd, int file, uint64_t offset, size_t n, size_t *ret_n) MUST_CHECK;

/* Says that no more bytes follow, keeping the way in open. */
void socket_shutdown_write(int fd);

/* Bytes that were sent but that the peer has not acknowledged yet. */
uint64_t socket_unacknowledged(int fd);

/* Closing sends RST instead of FIN: the peer must not take what it has for the whole. */
void socket_reset_on_close(int fd);
