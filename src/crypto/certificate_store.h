/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of a site by name: an immutable set. A change makes a new store; connections
 * hold a reference to the one they began with. May be shared between threads.
 */
#pragma once

#include "crypto/certificate.h"

struct certificate_store;

/* A store of `count` certificates; takes a reference to each. A name that several certificates
 * carry belongs to the last of them, separately for each kind of key. Certificates at or behind
 * `default_at` also answer for unknown and absent names (SIZE_MAX: nobody does). */
enum err certificate_store_create(struct certificate *const *certificates, size_t count,
                                  size_t default_at,
                                  struct certificate_store **ret_store) MUST_CHECK;

/* Thread-safe. */
struct certificate_store *certificate_store_ref(struct certificate_store *s);
void certificate_store_unref(struct certificate_store *s);

/* Which kinds of key the client can check. */
struct certificate_wish {
    bool takes_ecdsa;
    bool takes_ed25519;
    bool takes_rsa;
    bool is_exact; /* only a certificate that carries the name, never the default */
};

/* The certificate for `sni` (lower case): exact name, else the wildcard one label up, else the
 * default. Where the name has several: ECDSA, then Ed25519, then RSA, whichever the client takes
 * first. NULL: none fits. The result lives as long as the store. */
struct certificate *certificate_store_find(const struct certificate_store *s, struct str sni,
                                           const struct certificate_wish *wish);
