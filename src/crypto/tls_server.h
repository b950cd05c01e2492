/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the TLS connections of one loop and listener share. A server belongs to one thread; the
 * policies, stores, ticket keys and the replay window it uses may belong to many.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "crypto/certificate_store.h"
#include "crypto/client_hello.h"
#include "crypto/replay_window.h"
#include "crypto/ticket_keys.h"
#include "crypto/tls_policy.h"

struct tls_server;

/* The answer to a ClientHello. The connection takes its own references. */
struct tls_choice {
    struct tls_policy *policy;
    struct certificate_store *store;
    bool is_exact; /* a certificate that does not carry the name is none */
};

struct tls_server_hooks {
    /* Chooses for one ClientHello, within tls_conn_read. `user` is what tls_conn_create was given.
     * ERR_NOT_FOUND refuses the name (alert unrecognized_name); any other error ends the handshake.
     * Called once per connection. */
    enum err (*on_client_hello)(void *context, void *user, const struct client_hello *hello,
                                struct tls_choice *ret_choice);
    /* Whether any policy in force takes early data. Asked where a QUIC connection begins, because
     * what GnuTLS promises in a ticket cannot be changed once the policy is known: where only some
     * do, the tickets of the others promise it in vain. NULL: no early data over QUIC. */
    bool (*takes_early_data)(void *context);
    void *context;
};

struct tls_server_config {
    struct tls_server_hooks hooks;
    struct ticket_keys *ticket_keys;     /* NULL: no resumption */
    struct replay_window *replay_window; /* NULL: no early data, whatever the policy says */
    uint32_t early_data_bytes_max;       /* 0: likewise */
};

/* Takes references to what `config` names. ERR_NOMEM. */
enum err tls_server_create(const struct tls_server_config *config,
                           struct tls_server **ret_server) MUST_CHECK;

/* Every connection must have ended. NULL is a no-op. */
void tls_server_destroy(struct tls_server *s);
