/* SPDX-License-Identifier: Apache-2.0 */
/* The base64url alphabet without padding (RFC 4648 5, as RFC 7515 2 uses it). */
#pragma once

#include "base/buf.h"
#include "base/str.h"

/* Appends the text of `bytes` to `out`. */
void base64url_encode(struct buf *out, struct str bytes);

/* Appends the bytes of `text` to `out`, or leaves it as it was. ERR_SYNTAX: a character outside
 * the alphabet (padding included), a length that cannot be, or spare bits that are set. ERR_NOMEM.
 */
enum err base64url_decode(struct buf *out, struct str text) MUST_CHECK;
