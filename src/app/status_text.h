/* SPDX-License-Identifier: Apache-2.0 */
/* What our own server says of itself in JSON, as text for people. */
#pragma once

#include "base/buf.h"
#include "base/str.h"

/* Appends the value of a member of a flat object, unescaped; nothing where there is none. */
void status_text_member(struct str json, const char *name, struct buf *out);

/* Appends the answer of the admin socket to /status. */
void status_text(const struct buf *json, struct buf *out);
