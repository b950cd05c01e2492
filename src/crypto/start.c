/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/start.h"

#include <gnutls/gnutls.h>
#include <sodium.h>

enum err crypto_start(const struct secret_memory_ops *memory)
{
    if (!gnutls_check_version(GNUTLS_VERSION)) {
        return ERR_UNSUPPORTED;
    }
    if (gnutls_global_init() < 0 || sodium_init() < 0) {
        return ERR_INTERNAL;
    }
    secret_set_memory(memory);
    return ERR_OK;
}
