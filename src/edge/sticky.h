/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cookie calls an endpoint: an HMAC of its name, which tells nobody what the name is and
 * which nobody can make for another one. The same in every process that has the key.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define STICKY_KEY_BYTES 32
#define STICKY_MARK_BYTES 22 /* 128 bits, base64url */

/* Once, before the first mark is made; marks are made by one thread. */
void sticky_set_key(const uint8_t key[STICKY_KEY_BYTES]);

/* ERR_NOMEM. */
enum err sticky_mark(struct str backend, struct str endpoint,
                     char ret_mark[STICKY_MARK_BYTES]) MUST_CHECK;
