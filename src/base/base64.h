/* SPDX-License-Identifier: Apache-2.0 */
/* The base64 alphabet with padding (RFC 4648 4), to and from memory of the caller. */
#pragma once

#include "base/str.h"

/* How long the text of `n` bytes is. */
#define BASE64_TEXT_BYTES(n) (((n) + 2) / 3 * 4)

/* Writes BASE64_TEXT_BYTES(bytes.n) characters, without a NUL. */
void base64_encode(struct str bytes, char *ret_text);

/* How many bytes `text` stands for, by its length and padding alone; SIZE_MAX where no text is that
 * long. */
size_t base64_bytes(struct str text);

/* Writes base64_bytes(text) bytes. Only the one text that base64_encode makes of them is taken:
 * ERR_SYNTAX for a character outside the alphabet, wrong padding and spare bits that are set. */
enum err base64_decode(struct str text, uint8_t *ret_bytes) MUST_CHECK;
