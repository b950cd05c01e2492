/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY protocol, versions 1 and 2: what a proxy says of its client before the client's first
 * byte (The PROXY protocol, HAProxy Technologies, 2020). No I/O.
 */
#pragma once

#include "base/err.h"
#include "os/socket.h"

#define PROXY_HEADER_BYTES_MAX 4096u  /* with its extensions; more is refused */
#define PROXY_HEADER_WRITTEN_MAX 108u /* of what we write */

struct proxy_header {
    size_t bytes;                 /* that it takes at the front */
    bool has_addresses;           /* false: the proxy speaks for itself */
    struct socket_address source; /* of the client */
    struct socket_address destination;
};

/* Reads what `n` bytes begin with. ERR_AGAIN: more are needed, `ret->bytes` in all at least;
 * ERR_NOT_FOUND: it is no such header; ERR_SYNTAX: it is a wrong one, ERR_LIMIT: a too long one. */
enum err proxy_header_read(const char *p, size_t n, struct proxy_header *ret) MUST_CHECK;

/* Writes one of `version` 1 or 2 and returns its length. Addresses of different families, or of
 * none that the header can name, become one without addresses. */
size_t proxy_header_write(unsigned version, const struct socket_address *source,
                          const struct socket_address *destination,
                          char out[PROXY_HEADER_WRITTEN_MAX]);
