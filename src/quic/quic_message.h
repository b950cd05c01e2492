/* SPDX-License-Identifier: Apache-2.0 */
/* Messages (DATAGRAM frames) that wait to be sent, oldest first. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct quic_message {
    struct quic_message *next;
    uint64_t id;
    size_t n;
    uint8_t bytes[];
};

struct quic_messages {
    struct quic_message *first; /* NULL: none */
    struct quic_message *last;
    size_t count;
};

/* A copy of `bytes` behind the others. ERR_LIMIT: `count_max` are there already; ERR_NOMEM. */
enum err quic_messages_add(struct quic_messages *m, struct str bytes, uint64_t id,
                           size_t count_max) MUST_CHECK;

/* Drops the first; there must be one. */
void quic_messages_drop(struct quic_messages *m);

/* Drops all. */
void quic_messages_done(struct quic_messages *m);
