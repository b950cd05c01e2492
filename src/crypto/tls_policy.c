/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/tls_policy.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/certificate_int.h"
#include "crypto/digest.h"
#include "crypto/tls_int.h"

#define POLICY_MAGIC 0x706f6c69u
#define VERIFY_BITS_MAX 8200
#define VERIFY_DEPTH_MAX 8

static const struct str known_ciphers[] = {
    STR("AES-128-GCM"),
    STR("AES-256-GCM"),
    STR("CHACHA20-POLY1305"),
};

/* Ephemeral keys and authenticated ciphers only. */
#define PRIORITY_REST                                                                              \
    ":+AEAD:+ECDHE-ECDSA:+ECDHE-RSA:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1"               \
    ":+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SECP384R1-SHA384:+SIGN-ECDSA-SHA256"                \
    ":+SIGN-ECDSA-SHA384:+SIGN-EDDSA-ED25519:+SIGN-RSA-PSS-RSAE-SHA256"                            \
    ":+SIGN-RSA-PSS-RSAE-SHA384:+SIGN-RSA-PSS-RSAE-SHA512:+SIGN-RSA-SHA256:+SIGN-RSA-SHA384"       \
    ":+SIGN-RSA-SHA512:+COMP-NULL:+CTYPE-X509"

static bool is_known_cipher(struct str name)
{
    for (size_t i = 0; i < COUNT_OF(known_ciphers); i++) {
        if (str_eq(name, known_ciphers[i])) {
            return true;
        }
    }
    return false;
}

static enum err priority_compile(bool is_quic, enum tls_version min_version,
                                 const struct str *ciphers, size_t cipher_count, bool is_ours,
                                 gnutls_priority_t *ret_priority, struct fault *fault)
{
    struct buf text;
    buf_init(&text, 0);
    buf_add_str(&text, STR("NONE:+VERS-TLS1.3"));
    if (min_version == TLS_VERSION_12 && !is_quic) {
        buf_add_str(&text, STR(":+VERS-TLS1.2"));
    }
    for (size_t i = 0; i < cipher_count; i++) {
        buf_add_str(&text, STR(":+"));
        buf_add_str(&text, ciphers[i]);
    }
    buf_add_str(&text, STR(PRIORITY_REST));
    if (is_ours) {
        buf_add_str(&text, STR(":%SERVER_PRECEDENCE"));
    }
    if (is_quic) {
        buf_add_str(&text, STR(":%DISABLE_TLS13_COMPAT_MODE"));
    }
    buf_add_char(&text, '\0');
    int r =
        text.is_failed ? GNUTLS_E_MEMORY_ERROR : gnutls_priority_init(ret_priority, text.p, NULL);
    buf_done(&text);
    return r < 0 ? fault_set(fault, crypto_err(r), "the ciphers: %s", gnutls_strerror(r)) : ERR_OK;
}

enum err tls_priorities_create(struct tls_priorities *p, enum tls_version min_version,
                               const struct str *ciphers, size_t cipher_count,
                               struct fault *reterr_fault)
{
    bool is_chosen = cipher_count > 0;
    if (!is_chosen) {
        ciphers = known_ciphers;
        cipher_count = COUNT_OF(known_ciphers);
    }
    for (size_t i = 0; i < cipher_count; i++) {
        if (!is_known_cipher(ciphers[i])) {
            return fault_set(reterr_fault, ERR_CONFIG,
                             "unknown cipher '" STR_FMT
                             "': there are AES-128-GCM, AES-256-GCM and CHACHA20-POLY1305",
                             STR_ARG(ciphers[i]));
        }
    }
    enum err e = ERR_OK;
    for (int is_quic = 0; is_quic < 2 && !e; is_quic++) {
        e = priority_compile(is_quic, min_version, ciphers, cipher_count, true, &p->ours[is_quic],
                             reterr_fault);
        if (!e && !is_chosen) {
            e = priority_compile(is_quic, min_version, ciphers, cipher_count, false,
                                 &p->clients[is_quic], reterr_fault);
        }
    }
    return e;
}

void tls_priorities_done(struct tls_priorities *p)
{
    for (int is_quic = 0; is_quic < 2; is_quic++) {
        if (p->ours[is_quic]) {
            gnutls_priority_deinit(p->ours[is_quic]);
        }
        if (p->clients[is_quic]) {
            gnutls_priority_deinit(p->clients[is_quic]);
        }
    }
}

static enum err policy_set_cas(struct tls_policy *p, const struct tls_policy_config *config,
                               struct fault *fault)
{
    gnutls_datum_t pem = datum_of(config->client_ca_pem);
    if (config->client_auth == TLS_CLIENT_OFF) {
        return ERR_OK;
    }
    if (config->client_ca_pem.n == 0) {
        return fault_set(fault, ERR_CONFIG,
                         "client certificates need the certificate of a CA, and the file is empty");
    }
    int r = gnutls_certificate_set_x509_trust_mem(p->credentials, &pem, GNUTLS_X509_FMT_PEM);
    if (r == GNUTLS_E_NO_CERTIFICATE_FOUND || r == GNUTLS_E_BASE64_UNEXPECTED_HEADER_ERROR ||
        r == 0) {
        return fault_set(fault, ERR_CONFIG,
                         "client certificates need the certificate of a CA, and the file has none");
    }
    return r < 0 ? fault_set(fault, crypto_err(r), "the client CA: %s", gnutls_strerror(r))
                 : ERR_OK;
}

static enum err policy_set_alpn(struct tls_policy *p, const struct tls_policy_config *config)
{
    ASSERT(config->alpn_count <= TLS_ALPN_MAX);
    for (size_t i = 0; i < config->alpn_count; i++) {
        char *copy = mem_dup(config->alpn[i].p, config->alpn[i].n);
        if (!copy) {
            return ERR_NOMEM;
        }
        p->alpn[p->alpn_count++] = datum_of(str_make(copy, config->alpn[i].n));
    }
    return ERR_OK;
}

static enum err policy_set_clients_id(struct tls_policy *p, const struct tls_policy_config *config)
{
    struct buf text;
    buf_init(&text, 0);
    buf_printf(&text, "%d\n", (int)config->client_auth);
    if (config->client_auth != TLS_CLIENT_OFF) {
        buf_add_str(&text, config->client_ca_pem);
    }
    enum err e =
        text.is_failed ? ERR_NOMEM : digest_of(DIGEST_SHA256, buf_str(&text), p->clients_id);
    buf_done(&text);
    return e;
}

/* Everything that a resumed connection takes over from the one before it without looking again. */
static enum err policy_set_id(struct tls_policy *p, const struct tls_policy_config *config)
{
    struct buf text;
    enum err e = policy_set_clients_id(p, config);
    if (e) {
        return e;
    }
    buf_init(&text, 0);
    buf_add(&text, p->clients_id, sizeof(p->clients_id));
    buf_printf(&text, "%d", (int)config->min_version);
    for (size_t i = 0; i < config->alpn_count; i++) {
        buf_printf(&text, " %zu:", config->alpn[i].n);
        buf_add_str(&text, config->alpn[i]);
    }
    for (size_t i = 0; i < config->cipher_count; i++) {
        buf_add_char(&text, ' ');
        buf_add_str(&text, config->ciphers[i]);
    }
    e = text.is_failed ? ERR_NOMEM : digest_of(DIGEST_SHA256, buf_str(&text), p->id);
    buf_done(&text);
    return e;
}

static enum err policy_fill(struct tls_policy *p, const struct tls_policy_config *config,
                            struct fault *fault)
{
    p->client_auth = config->client_auth;
    p->takes_early_data = config->takes_early_data;
    enum err e = tls_priorities_create(&p->priorities, config->min_version, config->ciphers,
                                       config->cipher_count, fault);
    if (!e && gnutls_certificate_allocate_credentials(&p->credentials) < 0) {
        p->credentials = NULL;
        e = ERR_NOMEM;
    }
    if (e) {
        return e;
    }
    gnutls_certificate_set_retrieve_function3(p->credentials, tls_conn_on_certificate);
    gnutls_certificate_set_verify_function(p->credentials, tls_conn_on_client_certificate);
    gnutls_certificate_set_verify_limits(p->credentials, VERIFY_BITS_MAX, VERIFY_DEPTH_MAX);
    e = policy_set_cas(p, config, fault);
    if (!e) {
        e = policy_set_alpn(p, config);
    }
    return e ? e : policy_set_id(p, config);
}

enum err tls_policy_create(const struct tls_policy_config *config, struct tls_policy **ret_policy,
                           struct fault *reterr_fault)
{
    fault_set(reterr_fault, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    struct tls_policy *p = mem_zalloc(1, sizeof(*p));
    if (!p) {
        return ERR_NOMEM;
    }
    p->magic = POLICY_MAGIC;
    atomic_init(&p->ref_count, 1);
    enum err e = policy_fill(p, config, reterr_fault);
    if (e) {
        tls_policy_unref(p);
        return e;
    }
    *ret_policy = p;
    return ERR_OK;
}

struct tls_policy *tls_policy_ref(struct tls_policy *p)
{
    ASSERT_MAGIC(p, POLICY_MAGIC);
    atomic_fetch_add_explicit(&p->ref_count, 1, memory_order_relaxed);
    return p;
}

void tls_policy_unref(struct tls_policy *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->ref_count, 1, memory_order_acq_rel) != 1) {
        return;
    }
    ASSERT_MAGIC(p, POLICY_MAGIC);
    p->magic = 0;
    tls_priorities_done(&p->priorities);
    if (p->credentials) {
        gnutls_certificate_free_credentials(p->credentials);
    }
    for (unsigned i = 0; i < p->alpn_count; i++) {
        mem_free(p->alpn[i].data);
    }
    mem_free(p);
}

enum tls_client_auth tls_policy_client_auth(const struct tls_policy *p)
{
    return p->client_auth;
}

bool tls_policy_clients_agree(const struct tls_policy *a, const struct tls_policy *b)
{
    return memcmp(a->clients_id, b->clients_id, sizeof(a->clients_id)) == 0;
}
