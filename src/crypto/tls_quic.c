/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/tls_quic.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/tls_conn_int.h"

#define PRIORITY_CLIENT                                                                            \
    "NONE:+VERS-TLS1.3:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:+AEAD:+GROUP-X25519"           \
    ":+GROUP-SECP256R1:+GROUP-SECP384R1:+SIGN-ECDSA-SECP256R1-SHA256"                              \
    ":+SIGN-ECDSA-SECP384R1-SHA384:+SIGN-EDDSA-ED25519:+SIGN-RSA-PSS-RSAE-SHA256"                  \
    ":+SIGN-RSA-PSS-RSAE-SHA384:+COMP-NULL:+CTYPE-X509:%DISABLE_TLS13_COMPAT_MODE"

enum err tls_quic_accept(struct tls_server *s, void *user, int64_t now_s, struct str context,
                         struct tls_conn **ret_conn)
{
    return tls_conn_create_as(s, user, now_s, &context, ret_conn);
}

void *tls_quic_handle(const struct tls_conn *c)
{
    return c->session;
}

void *tls_quic_reference(struct tls_conn *c)
{
    return c->quic_reference;
}

enum err tls_quic_finish(struct tls_conn *c)
{
    int r = c->policy ? tls_conn_check_resumed(c) : GNUTLS_E_INSUFFICIENT_CREDENTIALS;
    if (r >= 0 && c->server->ticket_keys) {
        r = gnutls_session_ticket_send(c->session, 1, 0);
    }
    if (r < 0) {
        c->error_text = gnutls_strerror(r);
        return ERR_ACCESS;
    }
    c->is_handshaken = true;
    return ERR_OK;
}

struct tls_quic_client {
    void *reference[2];
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    char *name;
};

static int client_fill(struct tls_quic_client *c, const struct tls_quic_client_config *config)
{
    static const gnutls_datum_t h3 = {(unsigned char *)(uintptr_t) "h3", 2};
    gnutls_datum_t trust = {(unsigned char *)(uintptr_t)config->trust_pem.p,
                            (unsigned)config->trust_pem.n};
    int r = gnutls_certificate_allocate_credentials(&c->credentials);
    if (r < 0) {
        c->credentials = NULL;
        return r;
    }
    r = gnutls_certificate_set_x509_trust_mem(c->credentials, &trust, GNUTLS_X509_FMT_PEM);
    if (r <= 0) {
        return r < 0 ? r : GNUTLS_E_NO_CERTIFICATE_FOUND;
    }
    r = gnutls_init(&c->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
                                     GNUTLS_NO_END_OF_EARLY_DATA);
    if (r < 0) {
        c->session = NULL;
        return r;
    }
    gnutls_session_set_ptr(c->session, c);
    r = gnutls_priority_set_direct(c->session, PRIORITY_CLIENT, NULL);
    if (r >= 0) {
        r = gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, c->credentials);
    }
    if (r >= 0) {
        r = gnutls_alpn_set_protocols(c->session, &h3, 1, GNUTLS_ALPN_MANDATORY);
    }
    if (r >= 0) {
        r = gnutls_server_name_set(c->session, GNUTLS_NAME_DNS, c->name, config->name.n);
    }
    if (r >= 0 && config->session.n) {
        r = gnutls_session_set_data(c->session, config->session.p, config->session.n);
    }
    gnutls_session_set_verify_cert(c->session, c->name, 0);
    return r;
}

enum err tls_quic_client_create(const struct tls_quic_client_config *config,
                                struct tls_quic_client **ret_client)
{
    struct tls_quic_client *c = mem_zalloc(1, sizeof(*c));
    if (!c) {
        return ERR_NOMEM;
    }
    c->name = mem_alloc(config->name.n + 1);
    if (!c->name) {
        mem_free(c);
        return ERR_NOMEM;
    }
    memcpy(c->name, config->name.p, config->name.n);
    c->name[config->name.n] = '\0';
    int r = client_fill(c, config);
    if (r < 0) {
        tls_quic_client_destroy(c);
        return r == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_SYNTAX;
    }
    *ret_client = c;
    return ERR_OK;
}

void tls_quic_client_destroy(struct tls_quic_client *c)
{
    if (!c) {
        return;
    }
    if (c->session) {
        gnutls_deinit(c->session);
    }
    if (c->credentials) {
        gnutls_certificate_free_credentials(c->credentials);
    }
    mem_free(c->name);
    mem_free(c);
}

void *tls_quic_client_handle(const struct tls_quic_client *c)
{
    return c->session;
}

void *tls_quic_client_reference(struct tls_quic_client *c)
{
    return c->reference;
}
