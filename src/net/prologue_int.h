/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection whose first bytes are looked at before its protocol begins: because its peer is
 * trusted to say, by a PROXY header, whose connection it brings (it need not say so); or because
 * the name that its TLS asks for may belong to somebody behind us.
 */
#pragma once

#include "net/conn_int.h"
#include "net/listener_int.h"

struct prologue_input {
    enum listener_kind kind; /* what the connection goes on as */
    unsigned tag;
    bool may_announce;
    bool reads_names; /* of LISTENER_TLS */
};

size_t prologue_bytes(void);

/* Takes `fd` on success. */
enum err prologue_create(struct server *s, int fd, const struct socket_address *peer,
                         const struct prologue_input *input) MUST_CHECK;
