/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and texts, one behind the other, between our own processes. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

void wire_put_u64(struct buf *out, uint64_t value);
void wire_put_str(struct buf *out, struct str text);

/* Take them from the front of `*rest`. ERR_SYNTAX: they are not there. */
enum err wire_get_u64(struct str *rest, uint64_t *ret_value) MUST_CHECK;
enum err wire_get_str(struct str *rest, struct str *ret_text) MUST_CHECK;
