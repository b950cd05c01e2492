/* SPDX-License-Identifier: Apache-2.0 */
/* A server connection and a client made of plain GnuTLS, joined by buffers. */
#pragma once

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/buf.h"
#include "crypto/local_ca.h"
#include "crypto/tls_conn.h"

#define RIG_CERTIFICATES_MAX 8

/* Roots, keys and certificates that all tests of a program use; made once. */
struct world {
    int64_t now_s;
    struct local_ca *root;
    struct local_ca *other_root;
    struct buf root_pem;
    struct buf other_root_pem;
    struct certificate *ecdsa; /* www.example.com, *.example.com */
    struct certificate *rsa;   /* the same names */
    struct certificate *other; /* other.test, 127.0.0.1 */
    struct certificate *fallback;
    struct buf client_pem, client_key_pem;     /* a client of `root` */
    struct buf stranger_pem, stranger_key_pem; /* a client of `other_root` */
};

struct world *world_get(void);
void world_free(void);

/* A certificate of `ca` for the names; `is_rsa` makes a new RSA key (slow). */
struct certificate *world_issue(const struct local_ca *ca, const struct str *names, size_t count,
                                bool is_rsa);

/* A server whose hook answers every name with `policy`, `store` or what `by_name` says. */
struct rig_name {
    const char *sni;
    struct tls_policy *policy;
};

struct rig {
    struct tls_server *server;
    struct ticket_keys *keys;
    struct replay_window *window;
    struct certificate_store *store;
    struct tls_policy *policy;
    struct rig_name names[4];
    size_t name_count;
    enum err refuse; /* what the hook returns */
    unsigned hello_count;
    struct client_hello hello; /* the last one; its views are gone */
};

struct rig_config {
    struct tls_policy_config policy;
    struct ticket_keys *keys;     /* NULL: own ones */
    struct replay_window *window; /* NULL: none */
    bool no_tickets;
};

void rig_start(struct rig *r, const struct rig_config *config);
void rig_stop(struct rig *r);
struct tls_policy *rig_policy(const struct tls_policy_config *config);

/* One connection. */
struct link {
    struct rig *rig;
    struct tls_conn *conn;
    gnutls_session_t client;
    gnutls_certificate_credentials_t credentials;
    struct buf to_server;
    struct buf to_client;
    size_t to_client_used;
    size_t step_bytes; /* the server gets at most so many at a time; 0 = all */
    bool is_client_gone;
    enum err server_error; /* ERR_AGAIN while all is well */
    int client_error;      /* 0 when its handshake is done */
    bool is_client_done;
    struct buf got;       /* plaintext at the server */
    struct buf got_early; /* of it, what was early */
};

struct link_config {
    const char *priority; /* NULL: NORMAL */
    const char *sni;
    const char *alpn[4];
    const struct buf *pem, *key_pem; /* client certificate */
    const gnutls_datum_t *session;   /* to resume */
    struct str early_data;
};

void link_open(struct link *l, struct rig *r, const struct link_config *config);

/* Moves bytes until nothing moves any more. */
void link_pump(struct link *l);

/* Gives the server what waits for it. */
void link_feed_server(struct link *l);

/* Opens and pumps. */
void link_connect(struct link *l, struct rig *r, const struct link_config *config);

/* Both sides are done and agree. */
bool link_is_up(const struct link *l);

void link_client_write(struct link *l, struct str s);

/* Reads what the server wrote; returns the last code of gnutls_record_recv. */
ssize_t link_client_read(struct link *l, struct buf *out);

enum err link_server_write(struct link *l, struct str s);

/* The session of the client after a ticket came; the caller frees with gnutls_free. */
gnutls_datum_t link_session(struct link *l);

/* The kind of key in the certificate that the client saw. */
gnutls_pk_algorithm_t link_server_key(const struct link *l);

/* Whether that certificate is for `name`. */
bool link_server_is(const struct link *l, const char *name);

void link_close(struct link *l);
