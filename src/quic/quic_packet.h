/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams that belong to no connection: who they are for, and what a server answers before it
 * makes one. Nothing here keeps state; tokens and reset tokens are made from one secret.
 */
#pragma once

#include "quic/quic_conn.h"

#define QUIC_SECRET_BYTES 32
#define QUIC_INITIAL_BYTES_MIN 1200 /* RFC 9000 14.1 */
#define QUIC_ADDRESS_TOKEN_BYTES 64

enum quic_packet_kind {
    QUIC_PACKET_SHORT,   /* of a connection that exists, or a reset is due */
    QUIC_PACKET_LONG,    /* the same */
    QUIC_PACKET_INITIAL, /* may begin a connection */
    QUIC_PACKET_VERSION, /* of a version that is not spoken */
};

struct quic_packet {
    enum quic_packet_kind kind;
    uint32_t version;
    struct quic_cid destination;
    struct quic_cid source;
    struct str token; /* of an Initial */
};

/* Reads what can be read without keys. ERR_SYNTAX: to be dropped. */
enum err quic_packet_read(const uint8_t *p, size_t n, struct quic_packet *ret) MUST_CHECK;

/* The answer to QUIC_PACKET_VERSION; 0 where none is due. */
size_t quic_packet_write_versions(const struct quic_packet *p, uint8_t random,
                                  uint8_t bytes[QUIC_DATAGRAM_BYTES]);

/* A Retry (RFC 9000 8.1.2) that names `fresh` as our id; 0: failed. */
size_t quic_packet_write_retry(const struct quic_packet *p, const uint8_t secret[QUIC_SECRET_BYTES],
                               struct str remote, const struct quic_cid *fresh, uint64_t now_ns,
                               uint8_t bytes[QUIC_DATAGRAM_BYTES]);

/* A token for NEW_TOKEN (RFC 9000 8.1.3): who brings it to a later connection of the same version
 * from the same address is asked for no Retry. 0: failed. */
size_t quic_token_make(const uint8_t secret[QUIC_SECRET_BYTES], uint32_t version, struct str remote,
                       uint64_t now_ns, uint8_t bytes[QUIC_ADDRESS_TOKEN_BYTES]);

/* What a token proves: that the client is at its address. `ret_original`: the id that it used
 * before the Retry; empty: the token is of an earlier connection. ERR_NOT_FOUND: it proves nothing,
 * as if there were none. ERR_ACCESS: it is of a Retry and wrong: the connection must be refused. */
enum err quic_token_check(const struct quic_packet *p, const uint8_t secret[QUIC_SECRET_BYTES],
                          struct str remote, uint64_t now_ns,
                          struct quic_cid *ret_original) MUST_CHECK;

/* The token that lets the peer of a lost connection know (RFC 9000 10.3). */
void quic_reset_token(const uint8_t secret[QUIC_SECRET_BYTES], const struct quic_cid *cid,
                      uint8_t ret_token[QUIC_TOKEN_BYTES]);

/* A stateless reset, shorter than the `n` bytes that asked for it; 0: too short to answer. */
size_t quic_packet_write_reset(const struct quic_packet *p, const uint8_t secret[QUIC_SECRET_BYTES],
                               size_t n, const uint8_t *random, size_t random_bytes,
                               uint8_t bytes[QUIC_DATAGRAM_BYTES]);

/* A refusal (CONNECTION_REFUSED) in answer to an Initial; 0: failed. */
size_t quic_packet_write_refusal(const struct quic_packet *p, uint8_t bytes[QUIC_DATAGRAM_BYTES]);
