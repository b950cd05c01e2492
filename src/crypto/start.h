/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "crypto/secret.h"

/* Readies the libraries and says where secrets live (NULL: on the heap; see secret_set_memory).
 * Once per process, before anything else of this folder and before the first thread.
 * ERR_UNSUPPORTED: GnuTLS is older than what we were built against; ERR_INTERNAL: a library
 * refuses to work, for example because its self-test failed. */
enum err crypto_start(const struct secret_memory_ops *memory) MUST_CHECK;
