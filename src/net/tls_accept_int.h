/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/conn_int.h"

size_t tls_accept_bytes(void);

/* A connection that begins with TLS; `s->tls` is set. Takes `fd` on success. */
enum err tls_accept_create(struct server *s, int fd, const struct socket_address *peer) MUST_CHECK;

/* `from`, of which nothing was read, begins with TLS. On failure it is as it was. */
enum err tls_accept_adopt(struct conn *from) MUST_CHECK;
