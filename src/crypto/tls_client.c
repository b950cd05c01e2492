/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/tls_client.h"

#include <arpa/inet.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/tls_conn_int.h"

#define CLIENT_MAGIC 0x746c636cu
#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct tls_client {
    uint32_t magic;
    atomic_uint ref_count;
    struct tls_client *model; /* whose priority and credentials these are; NULL: our own */
    gnutls_priority_t priority;
    gnutls_certificate_credentials_t credentials;
    char *name;
    gnutls_datum_t alpn; /* memory of mem_alloc */
    bool is_address;
    bool verifies;
};

static gnutls_datum_t datum_from(struct str s)
{
    return (gnutls_datum_t){(unsigned char *)(uintptr_t)s.p, (unsigned)s.n};
}

static enum err client_set_cas(struct tls_client *c, struct str pem, struct fault *fault)
{
    const gnutls_datum_t text = datum_from(pem);
    int n = pem.n
                ? gnutls_certificate_set_x509_trust_mem(c->credentials, &text, GNUTLS_X509_FMT_PEM)
                : gnutls_certificate_set_x509_system_trust(c->credentials);
    if (n == GNUTLS_E_MEMORY_ERROR) {
        return ERR_NOMEM;
    }
    /* Without any, everybody is refused when the time comes; a file that was named is another
     * matter. */
    return pem.n && n <= 0
               ? fault_set(fault, ERR_CONFIG, "there is no certificate of a CA in the file")
               : ERR_OK;
}

static enum err client_set_names(struct tls_client *c, struct str name, struct str alpn)
{
    struct in6_addr ignored;
    c->name = mem_alloc(name.n + 1);
    if (!c->name) {
        return ERR_NOMEM;
    }
    memcpy(c->name, name.p, name.n);
    c->name[name.n] = '\0';
    c->is_address =
        inet_pton(AF_INET, c->name, &ignored) == 1 || inet_pton(AF_INET6, c->name, &ignored) == 1;
    if (alpn.n) {
        c->alpn = datum_from(str_make(mem_dup(alpn.p, alpn.n), alpn.n));
        if (!c->alpn.data) {
            return ERR_NOMEM;
        }
    }
    return ERR_OK;
}

static enum err client_fill(struct tls_client *c, const struct tls_client_config *config,
                            struct fault *fault)
{
    c->verifies = config->verifies;
    if (client_set_names(c, config->name, config->alpn) ||
        gnutls_priority_init(&c->priority, PRIORITY, NULL) < 0 ||
        gnutls_certificate_allocate_credentials(&c->credentials) < 0) {
        return ERR_NOMEM;
    }
    if (config->cert_pem.n) {
        const gnutls_datum_t cert = datum_from(config->cert_pem), key = datum_from(config->key_pem);
        int r =
            gnutls_certificate_set_x509_key_mem(c->credentials, &cert, &key, GNUTLS_X509_FMT_PEM);
        if (r < 0) {
            return r == GNUTLS_E_MEMORY_ERROR
                       ? ERR_NOMEM
                       : fault_set(fault, ERR_CONFIG, "the certificate and its key: %s",
                                   gnutls_strerror(r));
        }
    }
    return c->verifies ? client_set_cas(c, config->ca_pem, fault) : ERR_OK;
}

enum err tls_client_create(const struct tls_client_config *config, struct tls_client **ret_client,
                           struct fault *reterr_fault)
{
    fault_set(reterr_fault, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    struct tls_client *c = mem_zalloc(1, sizeof(*c));
    if (!c) {
        return ERR_NOMEM;
    }
    c->magic = CLIENT_MAGIC;
    atomic_init(&c->ref_count, 1);
    enum err e = client_fill(c, config, reterr_fault);
    if (e) {
        tls_client_unref(c);
        return e;
    }
    *ret_client = c;
    return ERR_OK;
}

enum err tls_client_like(struct tls_client *model, struct str name, struct str alpn,
                         struct tls_client **ret_client)
{
    ASSERT_MAGIC(model, CLIENT_MAGIC);
    struct tls_client *c = mem_zalloc(1, sizeof(*c));
    if (!c) {
        return ERR_NOMEM;
    }
    c->magic = CLIENT_MAGIC;
    atomic_init(&c->ref_count, 1);
    c->model = tls_client_ref(model);
    c->priority = model->priority;
    c->credentials = model->credentials;
    c->verifies = model->verifies;
    enum err e = client_set_names(c, name, alpn);
    if (e) {
        tls_client_unref(c);
        return e;
    }
    *ret_client = c;
    return ERR_OK;
}

struct tls_client *tls_client_ref(struct tls_client *c)
{
    ASSERT_MAGIC(c, CLIENT_MAGIC);
    atomic_fetch_add_explicit(&c->ref_count, 1, memory_order_relaxed);
    return c;
}

void tls_client_unref(struct tls_client *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->ref_count, 1, memory_order_acq_rel) != 1) {
        return;
    }
    ASSERT_MAGIC(c, CLIENT_MAGIC);
    c->magic = 0;
    if (c->priority && !c->model) {
        gnutls_priority_deinit(c->priority);
    }
    if (c->credentials && !c->model) {
        gnutls_certificate_free_credentials(c->credentials);
    }
    tls_client_unref(c->model);
    mem_free(c->name);
    mem_free(c->alpn.data);
    mem_free(c);
}

static int session_fill(struct tls_conn *conn, struct tls_client *c)
{
    gnutls_session_t session = conn->session;
    tls_conn_set_transport(conn);
    int r = gnutls_priority_set(session, c->priority);
    if (r >= 0) {
        r = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, c->credentials);
    }
    /* RFC 6066 3: addresses are no names. */
    if (r >= 0 && !c->is_address) {
        r = gnutls_server_name_set(session, GNUTLS_NAME_DNS, c->name, strlen(c->name));
    }
    if (r >= 0 && c->alpn.data) {
        r = gnutls_alpn_set_protocols(session, &c->alpn, 1, 0);
    }
    if (r >= 0 && c->verifies) {
        gnutls_session_set_verify_cert(session, c->name, 0);
    }
    return r;
}

enum err tls_client_open(struct tls_client *c, struct tls_conn **ret_conn)
{
    struct tls_conn *conn = mem_zalloc(1, sizeof(*conn));
    if (!conn) {
        return ERR_NOMEM;
    }
    conn->magic = TLS_CONN_MAGIC;
    conn->client = tls_client_ref(c);
    conn->error_text = "";
    int r = gnutls_init(&conn->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (r < 0) {
        conn->session = NULL;
    } else {
        r = session_fill(conn, c);
    }
    if (r < 0) {
        tls_conn_destroy(conn);
        return ERR_NOMEM;
    }
    *ret_conn = conn;
    return ERR_OK;
}
