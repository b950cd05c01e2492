/* SPDX-License-Identifier: Apache-2.0 */
/* What the simulations of QUIC have in common: a random sequence, names for both ends, TLS. */
#pragma once

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "quic/quic_packet.h"

#define MS 1000000ull

/* A failure names the seed that brings it back. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("seed %" PRIu64 ", %s:%d: %s\n", rig_seed, __FILE__, __LINE__, #condition);     \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

extern uint64_t rig_seed;
extern const uint8_t rig_secret[QUIC_SECRET_BYTES];
extern struct tls_server *rig_tls;
extern int64_t rig_wall_s;

/* Restarts the random sequence with rig_seed. */
void rig_restart(void);
uint64_t rig_draw(void);
uint64_t rig_draw_below(uint64_t n);

/* As one end sees it. */
struct quic_path rig_path(bool is_server);

/* Hooks of connections. */
void rig_random(void *user, uint8_t *p, size_t n);
void rig_make_cid(void *user, uint8_t *ret_bytes, uint8_t ret_token[QUIC_TOKEN_BYTES]);
void rig_drop_cid(void *user, const uint8_t *p, size_t n);

/* Once, around all. */
void rig_start(void);
void rig_end(void);

/* The client's end of TLS. */
struct tls_quic_client *rig_client(void);

/* What a server needs for the first packet of a client, without a token; the caller adds hooks,
 * limits, time and settings. `own` is its id. */
struct quic_accept rig_accept(const struct quic_packet *packet, const struct quic_cid *own);
