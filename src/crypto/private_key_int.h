/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gnutls/abstract.h>
#include <gnutls/x509.h>

#include "crypto/private_key.h"

struct private_key {
    enum private_key_kind kind;
    gnutls_x509_privkey_t x509;
    gnutls_privkey_t key; /* the same, for what wants this type */
};
