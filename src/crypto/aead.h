/* SPDX-License-Identifier: Apache-2.0 */
/* Authenticated encryption with a random nonce in front, for small things at rest or in transit
 * between our own processes. With random nonces a key is good for 2^32 messages. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define AEAD_KEY_BYTES 32
#define AEAD_NONCE_BYTES 12
#define AEAD_TAG_BYTES 16

enum aead_kind { AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305 };

/* Appends nonce, ciphertext and tag to `out`. `about` is authenticated but not sent. ERR_NOMEM. */
enum err aead_seal(enum aead_kind kind, const uint8_t key[AEAD_KEY_BYTES], struct str about,
                   struct str plain, struct buf *out) MUST_CHECK;

/* Appends the plaintext to `out`, or leaves it as it was. ERR_ACCESS: another key, or changed
 * bytes; ERR_NOMEM. */
enum err aead_open(enum aead_kind kind, const uint8_t key[AEAD_KEY_BYTES], struct str about,
                   struct str sealed, struct buf *out) MUST_CHECK;
