/* SPDX-License-Identifier: Apache-2.0 */
/* Integers of variable length (RFC 9000 section 16), as frames, capsules and datagrams have them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define VARINT_BYTES_MAX 8
#define VARINT_MAX ((UINT64_C(1) << 62) - 1)

/* Reads one from the front of `bytes`; how many bytes it takes, 0: it is cut off. A longer form
 * than needed is as good. */
size_t varint_read(struct str bytes, uint64_t *ret_value);

/* Writes `value`, at most VARINT_MAX, in its shortest form; returns how many bytes. */
size_t varint_write(uint64_t value, char out[VARINT_BYTES_MAX]);
