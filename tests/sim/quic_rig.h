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
            printf("seed %" PRIu64 ", %s:%d: %s\n", sim_seed, __FILE__, __LINE__, #condition);     \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

extern uint64_t sim_seed;
extern const uint8_t sim_secret[QUIC_SECRET_BYTES];
extern struct tls_server *sim_tls;
extern int64_t sim_wall_s;

/* Restarts the random sequence with sim_seed. */
void sim_restart(void);
uint64_t sim_draw(void);
uint64_t sim_draw_below(uint64_t n);

/* As one end sees it. */
struct quic_path sim_path(bool is_server);

/* Hooks of connections. */
void sim_random(void *user, uint8_t *p, size_t n);
void sim_make_cid(void *user, uint8_t *ret_bytes, uint8_t ret_token[QUIC_TOKEN_BYTES]);
void sim_drop_cid(void *user, const uint8_t *p, size_t n);

/* Once, around all. */
void sim_start(void);
void sim_end(void);

/* A server's end of TLS, the caller's. */
struct tls_server *sim_new_tls(void);

/* The client's end of TLS; NULL: no memory. */
struct tls_quic_client *sim_client(void);

/* What a server needs for the first packet of a client, without a token; the caller adds hooks,
 * limits, time and settings. `own` is its id. */
struct quic_accept sim_accept(const struct quic_packet *packet, const struct quic_cid *own);
