/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.3 as QUIC uses it (RFC 9001): handshake messages and secrets, no records. The owner is the
 * glue of ngtcp2, which drives GnuTLS by its native handle; this end only chooses policy,
 * certificate and ticket key, as for TCP. A server's end is a struct tls_conn, so that what was
 * agreed on is asked for in the same way; tls_conn_read and tls_conn_write are not for it.
 */
#pragma once

#include "crypto/tls_conn.h"

/* The server's end of a connection; ended by tls_conn_destroy. The protocol is h3. `context` stands
 * for all that a client remembers beside the ticket (transport parameters, settings of HTTP/3):
 * tickets that were given under another one are not taken, so that early data never relies on what
 * does not hold any more (RFC 9000 7.4.1, RFC 9114 7.2.4.2). ERR_NOMEM. */
enum err tls_quic_accept(struct tls_server *s, void *user, int64_t now_s, struct str context,
                         struct tls_conn **ret_conn) MUST_CHECK;

/* gnutls_session_t, for the glue. */
void *tls_quic_handle(const struct tls_conn *c);

/* Two words that the glue finds by the handle: a struct ngtcp2_crypto_conn_ref. */
void *tls_quic_reference(struct tls_conn *c);

/* To be called once the glue says that the handshake is complete: judges a resumed client again
 * and sends a ticket. ERR_ACCESS: the connection must end. */
enum err tls_quic_finish(struct tls_conn *c) MUST_CHECK;

struct tls_quic_client;

struct tls_quic_client_config {
    struct str name;      /* of the server */
    struct str trust_pem; /* who may sign for it; needed */
    struct str session;   /* of an earlier connection, or empty */
};

/* A client's end, for h3. ERR_SYNTAX: nothing to trust; ERR_NOMEM. */
enum err tls_quic_client_create(const struct tls_quic_client_config *config,
                                struct tls_quic_client **ret_client) MUST_CHECK;
void tls_quic_client_destroy(struct tls_quic_client *c);
void *tls_quic_client_handle(const struct tls_quic_client *c);
void *tls_quic_client_reference(struct tls_quic_client *c);
