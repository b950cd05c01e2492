/* SPDX-License-Identifier: Apache-2.0 */
/* Ed25519 signatures (RFC 8032). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "crypto/secret.h"

#define SIGNATURE_BYTES 64
#define SIGNATURE_PUBLIC_BYTES 32
#define SIGNATURE_SEED_BYTES 32

/* The public key of a seed (a secret of SIGNATURE_SEED_BYTES). */
void signature_public(const struct secret *seed, uint8_t ret_public[SIGNATURE_PUBLIC_BYTES]);

/* Signs `s`: the same bytes give the same signature. */
void signature_sign(const struct secret *seed, struct str s,
                    uint8_t ret_signature[SIGNATURE_BYTES]);

/* Whether `signature` is that of `s` under `public_key`. Keys and signatures in another than the
 * one canonical form are refused. */
bool signature_verify(const uint8_t public_key[SIGNATURE_PUBLIC_BYTES], struct str s,
                      const uint8_t signature[SIGNATURE_BYTES]);
