/* SPDX-License-Identifier: Apache-2.0 */
/* The masking of WebSocket payload (RFC 6455 5.3), a vector at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "http/h1_parse.h"

/* Writes `n` bytes from `from`, each combined with its byte of the key, to `to`; the two are the
 * same or do not overlap. The first byte of the key in memory meets the first of `from`. */
typedef void websocket_mask_fn(char *to, const char *from, size_t n, uint32_t key);

/* The one in use; set before main(). */
extern websocket_mask_fn *websocket_mask;

/* The one for a vector unit, or NULL where this machine lacks it. */
websocket_mask_fn *websocket_mask_of(enum h1_simd simd);

/* The key for what follows `n` bytes later. */
uint32_t websocket_mask_rotate(uint32_t key, size_t n);
