/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection whose first bytes are looked at before its protocol begins, because its peer is
 * trusted to say, by a PROXY header, whose connection it brings. It need not say so.
 */
#pragma once

#include "net/conn_int.h"

size_t prologue_bytes(void);

/* Then it goes on with TLS or HTTP/1. Takes `fd` on success. */
enum err prologue_create(struct server *s, int fd, const struct socket_address *peer,
                         bool is_tls) MUST_CHECK;
