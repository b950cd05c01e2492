/* SPDX-License-Identifier: Apache-2.0 */
/* The pages that the program makes itself. */
#pragma once

#include "base/buf.h"
#include "base/str.h"

/* Appends `s` with the characters that mean something in HTML replaced. */
void page_escape(struct str s, struct buf *out);

/* Head of a page with the house style, up to the opening <main>; `title` is escaped. */
void page_begin(struct str title, struct buf *out);
void page_end(struct buf *out);

/* An error page; `id` (may be empty) finds the request in the log. */
void page_error(unsigned status, struct str phrase, struct str id, struct buf *out);
