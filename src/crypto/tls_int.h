/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdatomic.h>

#include "crypto/tls_conn.h"

#define TLS_POLICY_ID_BYTES 32

struct tls_policy {
    uint32_t magic;
    atomic_uint ref_count;
    gnutls_priority_t priority;
    gnutls_priority_t priority_quic;
    gnutls_certificate_credentials_t credentials;
    gnutls_datum_t alpn[TLS_ALPN_MAX]; /* memory of mem_alloc */
    unsigned alpn_count;
    enum tls_client_auth client_auth;
    bool takes_early_data;
    uint8_t id[TLS_POLICY_ID_BYTES];         /* tickets are good only where this is the same */
    uint8_t clients_id[TLS_POLICY_ID_BYTES]; /* of the mode and the CAs alone */
};

struct tls_server {
    uint32_t magic;
    struct tls_server_hooks hooks;
    struct ticket_keys *ticket_keys;
    struct replay_window *replay_window;
    gnutls_anti_replay_t anti_replay; /* NULL without a replay window */
    gnutls_priority_t priority;       /* until the ClientHello has chosen a policy */
    gnutls_priority_t priority_quic;
    uint32_t early_data_bytes_max;
    size_t conn_count;
};

/* Gives GnuTLS the certificate that was chosen for the connection. */
int tls_conn_on_certificate(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                            gnutls_pcert_st **ret_chain, unsigned *ret_chain_count,
                            gnutls_ocsp_data_st **ret_staple, unsigned *ret_staple_count,
                            gnutls_privkey_t *ret_key, unsigned *ret_flags);

/* Judges the client's certificate; 0, or what is wrong. */
int tls_conn_on_client_certificate(gnutls_session_t session);

/* The priority string for `min_version` and a choice of ciphers, compiled; the second for QUIC,
 * which is always 1.3. What was made is the caller's also after a failure. */
enum err tls_priority_create(enum tls_version min_version, const struct str *ciphers,
                             size_t cipher_count, gnutls_priority_t *ret_priority,
                             gnutls_priority_t *ret_quic, struct fault *reterr_fault) MUST_CHECK;
