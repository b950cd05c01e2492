/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one upstream is spoken to over TLS 1.3 and 1.2: whom to trust, its name, and who we are.
 * Immutable, reference-counted, shared between threads. What it makes is a tls_conn (tls_conn.h)
 * that begins the handshake with its first tls_conn_read, and is read and written like any other.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"
#include "crypto/fault.h"

struct tls_client;
struct tls_conn;

/* Nothing of it is kept. */
struct tls_client_config {
    struct str name;     /* DNS name or address: sent as SNI (a name), and the certificate's */
    bool verifies;       /* false: anybody may answer */
    struct str ca_pem;   /* whom to trust; empty: whom the system trusts */
    struct str cert_pem; /* our certificate; empty: none */
    struct str key_pem;
    struct str alpn; /* empty: none is offered */
};

/* ERR_CONFIG: no CA in `ca_pem`, or certificate and key that do not go together; ERR_NOMEM. */
enum err tls_client_create(const struct tls_client_config *config, struct tls_client **ret_client,
                           struct fault *reterr_fault) MUST_CHECK;

/* As `model`, for another name and protocol. ERR_NOMEM. */
enum err tls_client_like(struct tls_client *model, struct str name, struct str alpn,
                         struct tls_client **ret_client) MUST_CHECK;

/* Thread-safe; ending NULL is a no-op. */
struct tls_client *tls_client_ref(struct tls_client *c);
void tls_client_unref(struct tls_client *c);

/* A new connection; takes a reference. A certificate that is not trusted, or is another's, ends the
 * handshake with ERR_ACCESS. ERR_NOMEM. */
enum err tls_client_open(struct tls_client *c, struct tls_conn **ret_conn) MUST_CHECK;
