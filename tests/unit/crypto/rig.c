/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/mem.h"

#define TURNS_MAX 100000

static struct world *world;

static struct certificate *certificate_of(const struct buf *chain, const struct buf *key)
{
    struct certificate *c = NULL;
    struct fault fault;
    enum err e = certificate_create(buf_str(chain), buf_str(key), &c, &fault);
    ASSERT(e == ERR_OK);
    return c;
}

/* local_ca makes P-256 keys only: an RSA leaf is made by hand. */
static void issue_rsa(const struct local_ca *ca, const struct str *names, size_t count,
                      struct buf *chain, struct buf *key_out)
{
    struct buf root_pem, root_key_pem;
    gnutls_x509_crt_t root, leaf;
    gnutls_x509_privkey_t root_key, key;
    gnutls_datum_t pem;
    int64_t now_s = time(NULL);
    buf_init(&root_pem, 0);
    buf_init(&root_key_pem, 0);
    ASSERT(local_ca_export_certificate(ca, &root_pem) == ERR_OK);
    ASSERT(local_ca_export_key(ca, &root_key_pem) == ERR_OK);
    gnutls_x509_crt_init(&root);
    gnutls_x509_crt_init(&leaf);
    gnutls_x509_privkey_init(&root_key);
    gnutls_x509_privkey_init(&key);
    pem = (gnutls_datum_t){(unsigned char *)root_pem.p, (unsigned)root_pem.n};
    ASSERT(gnutls_x509_crt_import(root, &pem, GNUTLS_X509_FMT_PEM) == 0);
    pem = (gnutls_datum_t){(unsigned char *)root_key_pem.p, (unsigned)root_key_pem.n};
    ASSERT(gnutls_x509_privkey_import(root_key, &pem, GNUTLS_X509_FMT_PEM) == 0);
    ASSERT(gnutls_x509_privkey_generate(key, GNUTLS_PK_RSA, 2048, 0) == 0);
    gnutls_x509_crt_set_version(leaf, 3);
    gnutls_x509_crt_set_serial(leaf, "\x11", 1);
    gnutls_x509_crt_set_activation_time(leaf, now_s - 3600);
    gnutls_x509_crt_set_expiration_time(leaf, now_s + 86400);
    gnutls_x509_crt_set_key(leaf, key);
    for (size_t i = 0; i < count; i++) {
        gnutls_x509_crt_set_subject_alt_name(leaf, GNUTLS_SAN_DNSNAME, names[i].p,
                                             (unsigned)names[i].n, GNUTLS_FSAN_APPEND);
    }
    gnutls_x509_crt_set_key_usage(leaf, GNUTLS_KEY_DIGITAL_SIGNATURE);
    ASSERT(gnutls_x509_crt_sign2(leaf, root, root_key, GNUTLS_DIG_SHA256, 0) == 0);
    ASSERT(gnutls_x509_crt_export2(leaf, GNUTLS_X509_FMT_PEM, &pem) == 0);
    buf_add(chain, pem.data, pem.size);
    gnutls_free(pem.data);
    ASSERT(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem) == 0);
    buf_add(key_out, pem.data, pem.size);
    gnutls_free(pem.data);
    gnutls_x509_crt_deinit(root);
    gnutls_x509_crt_deinit(leaf);
    gnutls_x509_privkey_deinit(root_key);
    gnutls_x509_privkey_deinit(key);
    buf_done(&root_pem);
    buf_done(&root_key_pem);
}

struct certificate *world_issue(const struct local_ca *ca, const struct str *names, size_t count,
                                bool is_rsa)
{
    struct buf chain, key;
    buf_init(&chain, 0);
    buf_init(&key, 0);
    if (is_rsa) {
        issue_rsa(ca, names, count, &chain, &key);
    } else {
        const struct local_ca_order order = {names, count, 30};
        ASSERT(local_ca_issue(ca, &order, time(NULL), &chain, &key) == ERR_OK);
    }
    struct certificate *c = certificate_of(&chain, &key);
    buf_done(&chain);
    buf_done(&key);
    return c;
}

/* A leaf whose purpose lets it be a client's: made like the RSA one, which has no purpose. */
static void issue_client(const struct local_ca *ca, const char *name, struct buf *chain,
                         struct buf *key)
{
    struct str text = str_of(name);
    buf_init(chain, 0);
    buf_init(key, 0);
    issue_rsa(ca, &text, 1, chain, key);
}

struct world *world_get(void)
{
    if (world) {
        return world;
    }
    struct world *w = mem_zalloc(1, sizeof(*w));
    ASSERT(w);
    const struct str names[] = {STR("www.example.com"), STR("*.example.com")};
    const struct str other[] = {STR("other.test"), STR("127.0.0.1")};
    const struct str fallback[] = {STR("fallback.test")};
    w->now_s = time(NULL);
    ASSERT(local_ca_create(STR("one"), w->now_s, &w->root) == ERR_OK);
    ASSERT(local_ca_create(STR("two"), w->now_s, &w->other_root) == ERR_OK);
    buf_init(&w->root_pem, 0);
    buf_init(&w->other_root_pem, 0);
    ASSERT(local_ca_export_certificate(w->root, &w->root_pem) == ERR_OK);
    ASSERT(local_ca_export_certificate(w->other_root, &w->other_root_pem) == ERR_OK);
    w->ecdsa = world_issue(w->root, names, 2, false);
    w->rsa = world_issue(w->root, names, 2, true);
    w->other = world_issue(w->root, other, 2, false);
    w->fallback = world_issue(w->root, fallback, 1, false);
    issue_client(w->root, "client.one", &w->client_pem, &w->client_key_pem);
    issue_client(w->other_root, "client.two", &w->stranger_pem, &w->stranger_key_pem);
    world = w;
    return w;
}

void world_free(void)
{
    struct world *w = world;
    if (!w) {
        return;
    }
    world = NULL;
    local_ca_destroy(w->root);
    local_ca_destroy(w->other_root);
    certificate_unref(w->ecdsa);
    certificate_unref(w->rsa);
    certificate_unref(w->other);
    certificate_unref(w->fallback);
    buf_done(&w->root_pem);
    buf_done(&w->other_root_pem);
    buf_done(&w->client_pem);
    buf_done(&w->client_key_pem);
    buf_done(&w->stranger_pem);
    buf_done(&w->stranger_key_pem);
    mem_free(w);
}

static enum err on_hello(void *context, void *user, const struct client_hello *hello,
                         struct tls_choice *ret_choice)
{
    struct rig *r = context;
    (void)user;
    r->hello = *hello;
    r->hello_count++;
    if (r->refuse) {
        return r->refuse;
    }
    *ret_choice = (struct tls_choice){r->policy, r->store, false};
    for (size_t i = 0; i < r->name_count; i++) {
        if (str_eq(hello->sni, str_of(r->names[i].sni))) {
            ret_choice->policy = r->names[i].policy;
        }
    }
    return ERR_OK;
}

struct tls_policy *rig_policy(const struct tls_policy_config *config)
{
    struct tls_policy *p = NULL;
    struct fault fault;
    enum err e = tls_policy_create(config, &p, &fault);
    ASSERT(e == ERR_OK);
    return p;
}

void rig_start(struct rig *r, const struct rig_config *config)
{
    struct world *w = world_get();
    struct certificate *const all[] = {w->ecdsa, w->rsa, w->other, w->fallback};
    memset(r, 0, sizeof(*r));
    ASSERT(certificate_store_create(all, COUNT_OF(all), 3, &r->store) == ERR_OK);
    r->policy = rig_policy(&config->policy);
    if (config->keys) {
        r->keys = ticket_keys_ref(config->keys);
    } else {
        ASSERT(ticket_keys_create(3600, 86400, w->now_s, &r->keys) == ERR_OK);
    }
    r->window = config->window ? replay_window_ref(config->window) : NULL;
    const struct tls_server_config server = {
        .hooks = {.on_client_hello = on_hello, .context = r},
        .ticket_keys = config->no_tickets ? NULL : r->keys,
        .replay_window = r->window,
        .early_data_bytes_max = 16384,
    };
    ASSERT(tls_server_create(&server, &r->server) == ERR_OK);
}

void rig_stop(struct rig *r)
{
    tls_server_destroy(r->server);
    ticket_keys_unref(r->keys);
    replay_window_unref(r->window);
    certificate_store_unref(r->store);
    tls_policy_unref(r->policy);
    for (size_t i = 0; i < r->name_count; i++) {
        tls_policy_unref(r->names[i].policy);
    }
}

static ssize_t client_pull(gnutls_transport_ptr_t context, void *bytes, size_t n)
{
    struct link *l = context;
    size_t left = l->to_client.n - l->to_client_used;
    if (left == 0) {
        gnutls_transport_set_errno(l->client, EAGAIN);
        return -1;
    }
    n = n < left ? n : left;
    memcpy(bytes, l->to_client.p + l->to_client_used, n);
    l->to_client_used += n;
    return (ssize_t)n;
}

static int client_pull_timeout(gnutls_transport_ptr_t context, unsigned ms)
{
    struct link *l = context;
    (void)ms;
    return l->to_client.n > l->to_client_used;
}

static ssize_t client_push(gnutls_transport_ptr_t context, const void *bytes, size_t n)
{
    struct link *l = context;
    buf_add(&l->to_server, bytes, n);
    return (ssize_t)n;
}

static void client_set_certificate(struct link *l, const struct link_config *config)
{
    gnutls_certificate_allocate_credentials(&l->credentials);
    if (config->pem) {
        gnutls_datum_t pem = {(unsigned char *)config->pem->p, (unsigned)config->pem->n};
        gnutls_datum_t key = {(unsigned char *)config->key_pem->p, (unsigned)config->key_pem->n};
        int r =
            gnutls_certificate_set_x509_key_mem(l->credentials, &pem, &key, GNUTLS_X509_FMT_PEM);
        ASSERT(r >= 0);
    }
    gnutls_credentials_set(l->client, GNUTLS_CRD_CERTIFICATE, l->credentials);
}

void link_open(struct link *l, struct rig *r, const struct link_config *config)
{
    gnutls_datum_t alpn[4];
    unsigned alpn_count = 0;
    memset(l, 0, sizeof(*l));
    l->rig = r;
    l->server_error = ERR_AGAIN;
    buf_init(&l->to_server, 0);
    buf_init(&l->to_client, 0);
    buf_init(&l->got, 0);
    buf_init(&l->got_early, 0);
    ASSERT(tls_conn_create(r->server, l, world_get()->now_s, &l->conn) == ERR_OK);
    gnutls_init(&l->client, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_FORCE_CLIENT_CERT |
                                (config->early_data.n ? GNUTLS_ENABLE_EARLY_DATA : 0));
    gnutls_transport_set_ptr(l->client, l);
    gnutls_transport_set_pull_function(l->client, client_pull);
    gnutls_transport_set_pull_timeout_function(l->client, client_pull_timeout);
    gnutls_transport_set_push_function(l->client, client_push);
    int e =
        gnutls_priority_set_direct(l->client, config->priority ? config->priority : "NORMAL", NULL);
    ASSERT(e >= 0);
    client_set_certificate(l, config);
    if (config->sni) {
        gnutls_server_name_set(l->client, GNUTLS_NAME_DNS, config->sni, strlen(config->sni));
    }
    while (alpn_count < 4 && config->alpn[alpn_count]) {
        const char *name = config->alpn[alpn_count];
        alpn[alpn_count++] = (gnutls_datum_t){(unsigned char *)name, (unsigned)strlen(name)};
    }
    if (alpn_count) {
        gnutls_alpn_set_protocols(l->client, alpn, alpn_count, 0);
    }
    if (config->session) {
        e = gnutls_session_set_data(l->client, config->session->data, config->session->size);
        ASSERT(e >= 0);
    }
    if (config->early_data.n) {
        e = (int)gnutls_record_send_early_data(l->client, config->early_data.p,
                                               config->early_data.n);
        ASSERT(e >= 0);
    }
}

void link_feed_server(struct link *l)
{
    char plain[TLS_RECORD_BYTES];
    while (l->to_server.n || l->is_client_gone) {
        size_t n = l->to_server.n;
        if (l->step_bytes && n > l->step_bytes) {
            n = l->step_bytes;
        }
        struct tls_input in = {l->to_server.p, n, l->is_client_gone && n == l->to_server.n};
        enum err e;
        size_t got = 0;
        while ((e = tls_conn_read(l->conn, &in, plain, sizeof(plain), &l->to_client, &got)) ==
               ERR_OK) {
            ASSERT(got > 0 && got <= sizeof(plain));
            buf_add(tls_conn_is_early(l->conn) ? &l->got_early : &l->got, plain, got);
        }
        ASSERT(e != ERR_AGAIN || in.n == 0);
        l->server_error = e;
        buf_consume(&l->to_server, n);
        if (e != ERR_AGAIN || l->is_client_gone) {
            buf_clear(&l->to_server);
            return;
        }
    }
}

static void client_step(struct link *l)
{
    if (l->is_client_done || (l->client_error && l->client_error != GNUTLS_E_AGAIN)) {
        return;
    }
    do {
        l->client_error = gnutls_handshake(l->client);
    } while (l->client_error == GNUTLS_E_WARNING_ALERT_RECEIVED ||
             l->client_error == GNUTLS_E_INTERRUPTED);
    l->is_client_done = l->client_error == 0;
}

void link_pump(struct link *l)
{
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        size_t used = l->to_client_used, sent = l->to_client.n;
        client_step(l);
        bool is_moving = l->to_server.n > 0;
        link_feed_server(l);
        if (!is_moving && used == l->to_client_used && sent == l->to_client.n) {
            return;
        }
    }
    ASSERT(!"the connection never comes to rest");
}

void link_connect(struct link *l, struct rig *r, const struct link_config *config)
{
    link_open(l, r, config);
    link_pump(l);
}

bool link_is_up(const struct link *l)
{
    return l->is_client_done && tls_conn_is_handshaken(l->conn) && l->server_error == ERR_AGAIN;
}

void link_client_write(struct link *l, struct str s)
{
    while (s.n) {
        ssize_t n = gnutls_record_send(l->client, s.p, s.n);
        ASSERT(n > 0);
        s = str_sub(s, (size_t)n, s.n);
    }
}

ssize_t link_client_read(struct link *l, struct buf *out)
{
    char plain[TLS_RECORD_BYTES];
    ssize_t n;
    size_t before;
    do {
        before = l->to_client_used;
        n = gnutls_record_recv(l->client, plain, sizeof(plain));
        buf_add(out, plain, n > 0 ? (size_t)n : 0);
        /* A ticket looks like no data: there may be more behind it. */
    } while (n > 0 || (n == GNUTLS_E_AGAIN && l->to_client_used != before));
    return n;
}

enum err link_server_write(struct link *l, struct str s)
{
    return tls_conn_write(l->conn, &s, 1, &l->to_client);
}

gnutls_datum_t link_session(struct link *l)
{
    gnutls_datum_t session = {NULL, 0};
    struct buf ignored;
    buf_init(&ignored, 0);
    link_client_read(l, &ignored);
    buf_done(&ignored);
    int e = gnutls_session_get_data2(l->client, &session);
    ASSERT(e >= 0);
    return session;
}

static gnutls_x509_crt_t server_crt(const struct link *l)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(l->client, &count);
    gnutls_x509_crt_t crt;
    ASSERT(chain && count);
    gnutls_x509_crt_init(&crt);
    ASSERT(gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) == 0);
    return crt;
}

gnutls_pk_algorithm_t link_server_key(const struct link *l)
{
    gnutls_x509_crt_t crt = server_crt(l);
    int algorithm = gnutls_x509_crt_get_pk_algorithm(crt, NULL);
    gnutls_x509_crt_deinit(crt);
    return (gnutls_pk_algorithm_t)algorithm;
}

bool link_server_is(const struct link *l, const char *name)
{
    gnutls_x509_crt_t crt = server_crt(l);
    bool is_it = gnutls_x509_crt_check_hostname(crt, name) != 0;
    gnutls_x509_crt_deinit(crt);
    return is_it;
}

void link_close(struct link *l)
{
    gnutls_deinit(l->client);
    gnutls_certificate_free_credentials(l->credentials);
    tls_conn_destroy(l->conn);
    buf_done(&l->to_server);
    buf_done(&l->to_client);
    buf_done(&l->got);
    buf_done(&l->got_early);
}
