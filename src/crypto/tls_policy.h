/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a name is served: versions, ciphers, protocols, client certificates, early data. Immutable,
 * reference-counted, shared between threads. Certificates are not part of it
 * (crypto/certificate_store.h): they change while the policy stays.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "crypto/fault.h"

#define TLS_ALPN_MAX 8

enum tls_version { TLS_VERSION_12, TLS_VERSION_13 };

enum tls_client_auth {
    TLS_CLIENT_OFF,
    TLS_CLIENT_OPTIONAL, /* none is fine; one that is sent must be good */
    TLS_CLIENT_REQUIRE
};

struct tls_policy_config {
    enum tls_version min_version;
    /* Best first, of AES-128-GCM, AES-256-GCM and CHACHA20-POLY1305, for both versions; none: all
     * of them, in the order of the client, who knows which one its machine is fast at. */
    const struct str *ciphers;
    size_t cipher_count;
    struct str alpn[TLS_ALPN_MAX]; /* best first */
    size_t alpn_count;             /* 0: the extension is ignored */
    enum tls_client_auth client_auth;
    struct str client_ca_pem; /* needed unless client_auth is off */
    bool takes_early_data;    /* also needs a replay window in the server */
};

struct tls_policy;

/* Compiles `config`, of which nothing is kept. ERR_CONFIG: client certificates without a CA
 * (empty, or no certificate in it; never fails open), an unknown cipher; ERR_SYNTAX: a CA that
 * cannot be read; ERR_NOMEM. */
enum err tls_policy_create(const struct tls_policy_config *config, struct tls_policy **ret_policy,
                           struct fault *reterr_fault) MUST_CHECK;

/* Thread-safe. */
struct tls_policy *tls_policy_ref(struct tls_policy *p);
void tls_policy_unref(struct tls_policy *p);

enum tls_client_auth tls_policy_client_auth(const struct tls_policy *p);

/* Whether both let in the same clients: same mode, same CAs. A request for a host whose policy does
 * not agree with that of its connection gets a 421 (EDGE.md, row 27). */
bool tls_policy_clients_agree(const struct tls_policy *a, const struct tls_policy *b);
