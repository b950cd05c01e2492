/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/tls_conn_int.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/certificate_int.h"
#include "crypto/secret.h"

static struct tls_conn *conn_of(gnutls_session_t session)
{
    struct tls_conn *c = gnutls_session_get_ptr(session);
    ASSERT_MAGIC(c, TLS_CONN_MAGIC);
    return c;
}

static int code_of(enum err e)
{
    return e == ERR_NOMEM       ? GNUTLS_E_MEMORY_ERROR
           : e == ERR_NOT_FOUND ? GNUTLS_E_UNRECOGNIZED_NAME
                                : GNUTLS_E_INTERNAL_ERROR;
}

static enum err conn_choose(struct tls_conn *c, const struct client_hello *hello)
{
    struct tls_choice choice = {NULL, NULL, false};
    enum err e =
        c->server->hooks.on_client_hello(c->server->hooks.context, c->user, hello, &choice);
    if (e) {
        return e;
    }
    ASSERT(choice.policy && choice.store);
    c->policy = tls_policy_ref(choice.policy);
    c->store = certificate_store_ref(choice.store);
    const struct certificate_wish wish = {hello->takes_ecdsa, hello->takes_ed25519,
                                          hello->takes_rsa, choice.is_exact};
    c->certificate = certificate_store_find(c->store, hello->sni, &wish);
    /* A client that can check nothing we have speaks an old version or old ciphers only: GnuTLS
     * finds the right words for it. */
    if (!c->certificate && (wish.takes_ecdsa || wish.takes_ed25519 || wish.takes_rsa)) {
        return ERR_NOT_FOUND;
    }
    if (hello->sni.n) {
        c->sni = mem_dup(hello->sni.p, hello->sni.n);
        c->sni_bytes = hello->sni.n;
        e = c->sni ? ERR_OK : ERR_NOMEM;
    }
    return e;
}

/* The key is this connection's own: derived from what was asked for and the policy it met; over
 * QUIC also from what the client remembers of the transport, so that tickets of TCP are none. */
static int conn_enable_tickets(struct tls_conn *c, const struct client_hello *hello)
{
    struct tls_server *s = c->server;
    uint8_t binding[TLS_POLICY_ID_BYTES + TLS_CONTEXT_BYTES + CLIENT_HELLO_NAME_BYTES_MAX];
    uint8_t key[TICKET_KEY_BYTES];
    size_t n = TLS_POLICY_ID_BYTES;
    const gnutls_datum_t datum = {key, sizeof(key)};
    if (!s->ticket_keys) {
        return 0;
    }
    memcpy(binding, c->policy->id, TLS_POLICY_ID_BYTES);
    if (c->is_quic) {
        memcpy(binding + n, c->context, sizeof(c->context));
        n += sizeof(c->context);
    }
    if (c->sni) {
        memcpy(binding + n, c->sni, c->sni_bytes);
        n += c->sni_bytes;
    }
    enum err e = ticket_keys_pick(s->ticket_keys, str_make((char *)binding, n), hello->ticket,
                                  c->now_s, key);
    int r = e ? code_of(e) : gnutls_session_ticket_enable_server(c->session, &datum);
    secret_wipe(key, sizeof(key));
    if (r >= 0) {
        gnutls_db_set_cache_expiration(c->session, (int)ticket_keys_lifetime_s(s->ticket_keys));
    }
    return r;
}

static int conn_enable_early_data(struct tls_conn *c)
{
    const struct tls_policy *p = c->policy;
    if (!c->server->anti_replay || (c->is_quic && !c->is_early_promised)) {
        return 0;
    }
    /* Also what is refused is skipped up to this length. Over QUIC it is counted by flow control,
     * and no other number may be said (RFC 9001 4.6.1). */
    int r = gnutls_record_set_max_early_data_size(
        c->session, c->is_quic ? UINT32_MAX : c->server->early_data_bytes_max);
    /* Over TCP early data waits for the end of the handshake. Over QUIC it is served before the
     * client's certificate was judged again, so there it must need none. */
    if (r >= 0 && p->takes_early_data && !(c->is_quic && p->client_auth != TLS_CLIENT_OFF)) {
        gnutls_anti_replay_enable(c->session, c->server->anti_replay);
    }
    return r;
}

static int conn_apply(struct tls_conn *c, const struct client_hello *hello)
{
    static const gnutls_certificate_request_t requests[] = {
        [TLS_CLIENT_OFF] = GNUTLS_CERT_IGNORE,
        [TLS_CLIENT_OPTIONAL] = GNUTLS_CERT_REQUEST,
        [TLS_CLIENT_REQUIRE] = GNUTLS_CERT_REQUIRE,
    };
    struct tls_policy *p = c->policy;
    int r = gnutls_priority_set(
        c->session, tls_priorities_pick(&p->priorities, c->is_quic, hello->prefers_chacha));
    if (r >= 0) {
        r = gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, p->credentials);
    }
    if (r >= 0 && c->is_quic) {
        static const gnutls_datum_t h3 = {(unsigned char *)(uintptr_t) "h3", 2};
        r = gnutls_alpn_set_protocols(c->session, &h3, 1, GNUTLS_ALPN_MANDATORY);
    } else if (r >= 0 && p->alpn_count) {
        r = gnutls_alpn_set_protocols(c->session, p->alpn, p->alpn_count,
                                      GNUTLS_ALPN_MANDATORY | GNUTLS_ALPN_SERVER_PRECEDENCE);
    }
    if (r >= 0) {
        r = conn_enable_tickets(c, hello);
    }
    if (r < 0) {
        return r;
    }
    gnutls_certificate_server_set_request(c->session, requests[p->client_auth]);
    return conn_enable_early_data(c);
}

int tls_conn_on_hello(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                      const gnutls_datum_t *message)
{
    struct tls_conn *c = conn_of(session);
    struct client_hello hello;
    ASSERT(type == GNUTLS_HANDSHAKE_CLIENT_HELLO && when == GNUTLS_HOOK_PRE);
    if (!incoming) {
        return 0;
    }
    if (client_hello_parse(&hello, str_make((const char *)message->data, message->size))) {
        return GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
    }
    if (c->policy) {
        /* The second try after a HelloRetryRequest must ask for the same (RFC 8446 4.1.2). */
        return str_eq(hello.sni, str_make(c->sni, c->sni_bytes))
                   ? 0
                   : GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
    }
    c->hook_error = conn_choose(c, &hello);
    return c->hook_error ? code_of(c->hook_error) : conn_apply(c, &hello);
}

int tls_conn_on_certificate(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                            gnutls_pcert_st **ret_chain, unsigned *ret_chain_count,
                            gnutls_ocsp_data_st **ret_staple, unsigned *ret_staple_count,
                            gnutls_privkey_t *ret_key, unsigned *ret_flags)
{
    struct tls_conn *c = conn_of(session);
    struct certificate *cert = c->certificate;
    (void)info;
    if (!cert) {
        c->hook_error = ERR_UNSUPPORTED;
        return GNUTLS_E_NO_CIPHER_SUITES;
    }
    *ret_chain = cert->core->pcerts;
    *ret_chain_count = cert->core->pcert_count;
    bool has_staple = cert->staple.response.data && cert->staple.exptime > c->now_s;
    *ret_staple = &cert->staple;
    *ret_staple_count = has_staple ? 1 : 0;
    *ret_key = cert->core->key;
    *ret_flags = 0;
    return 0;
}

int tls_conn_on_client_certificate(gnutls_session_t session)
{
    struct tls_conn *c = conn_of(session);
    gnutls_typed_vdata_st purpose = {
        .type = GNUTLS_DT_KEY_PURPOSE_OID,
        .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT,
    };
    unsigned count = 0, status = 0;
    if (c->policy->client_auth == TLS_CLIENT_OFF) {
        return 0;
    }
    if (!gnutls_certificate_get_peers(session, &count) || count == 0) {
        return c->policy->client_auth == TLS_CLIENT_OPTIONAL ? 0 : GNUTLS_E_CERTIFICATE_REQUIRED;
    }
    int r = gnutls_certificate_verify_peers(session, &purpose, 1, &status);
    return r < 0 || status != 0 ? GNUTLS_E_CERTIFICATE_ERROR : 0;
}

int tls_conn_check_resumed(struct tls_conn *c)
{
    return gnutls_session_is_resumed(c->session) ? tls_conn_on_client_certificate(c->session) : 0;
}
