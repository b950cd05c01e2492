/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdatomic.h>

#include "crypto/tls_conn.h"

#define TLS_POLICY_ID_BYTES 32

/* What is agreed to, compiled: over TCP and, always TLS 1.3, over QUIC. */
struct tls_priorities {
    gnutls_priority_t ours[2]; /* by is_quic */
    /* Where the client likes ChaCha20 best, because it has no instructions for AES; NULL where the
     * user said which ciphers are best. */
    gnutls_priority_t clients[2];
};

struct tls_policy {
    uint32_t magic;
    atomic_uint ref_count;
    struct tls_priorities priorities;
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
    struct tls_priorities priorities; /* until the ClientHello has chosen a policy */
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

/* For `min_version` and a choice of ciphers; with none AES-128 is best, which is safe and by far
 * the cheapest (its hash is SHA-256, for which machines have instructions), but who has no
 * instructions for AES gets ChaCha20. What was made is the caller's also after a failure. */
enum err tls_priorities_create(struct tls_priorities *p, enum tls_version min_version,
                               const struct str *ciphers, size_t cipher_count,
                               struct fault *reterr_fault) MUST_CHECK;
void tls_priorities_done(struct tls_priorities *p);

static inline gnutls_priority_t tls_priorities_pick(const struct tls_priorities *p, bool is_quic,
                                                    bool prefers_chacha)
{
    bool is_clients = prefers_chacha && p->clients[is_quic];
    return is_clients ? p->clients[is_quic] : p->ours[is_quic];
}
