/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "crypto/tls_int.h"

#define TLS_CONN_MAGIC 0x746c7363u
#define TLS_CONTEXT_BYTES 32

struct tls_conn {
    void *quic_reference[2]; /* first: the glue of ngtcp2 finds it by the session's pointer */
    uint32_t magic;
    bool is_quic;
    bool is_early_promised;             /* over QUIC: tickets offer early data */
    uint8_t context[TLS_CONTEXT_BYTES]; /* of QUIC, part of what tickets are bound to */
    enum err error;                     /* what ended it */
    struct tls_server *server;          /* NULL: the client's side */
    struct tls_client *client;          /* NULL: the server's side */
    gnutls_session_t session;
    void *user;
    int64_t now_s;
    struct tls_policy *policy;
    struct certificate_store *store;
    struct certificate *certificate; /* of the store */
    char *sni;                       /* NULL: none */
    size_t sni_bytes;
    struct tls_input *input;
    struct buf *out;
    const char *error_text;
    uint8_t warning_count;
    bool is_handshaken;
    bool is_early;
    bool is_ended; /* the peer said close_notify */
    bool is_close_sent;
    enum err hook_error; /* why on_client_hello ended the handshake */
};

/* tls_conn_create for TCP, or for QUIC where `quic_context` is not NULL. */
enum err tls_conn_create_as(struct tls_server *s, void *user, int64_t now_s,
                            const struct str *quic_context, struct tls_conn **ret_conn) MUST_CHECK;

/* Lets GnuTLS read and write by way of the buffers of the calls. */
void tls_conn_set_transport(struct tls_conn *c);

/* Reads the ClientHello, lets the owner choose, and sets up the session accordingly. A hook of
 * GnuTLS that runs before it looks at the message. */
int tls_conn_on_hello(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                      const gnutls_datum_t *message);

/* Whether `c` may go on as a resumed connection: the client's certificate is judged again. */
int tls_conn_check_resumed(struct tls_conn *c);
