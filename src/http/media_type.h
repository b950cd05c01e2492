/* SPDX-License-Identifier: Apache-2.0 */
/* Media types of files by extension, from text in the format of /etc/mime.types. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct media_type_entry {
    struct str extension; /* lower case */
    struct str type;
};

/* A sorted table. Its memory belongs to the arena it was loaded into. */
struct media_types {
    struct media_type_entry *v;
    unsigned n;
};

/* Replaces `*ret_types` by a table of `text` (lines of a type and its extensions, `#` starts a
 * comment); the bytes are copied into the arena. Of two lines with one extension the first counts,
 * so put what should win in front. Lines whose type is malformed are skipped. ERR_NOMEM. */
enum err media_types_load(struct arena *arena, struct str text,
                          struct media_types *ret_types) MUST_CHECK;

/* What the web needs, in the same format; put site settings in front of it, the system's file
 * behind it. Static. */
struct str media_types_builtin(void);

/* The type for a file name or path by the part behind its last dot, in any letter case; pointer
 * NULL when there is none. */
struct str media_types_find(const struct media_types *types, struct str file_name);

/* Whether `; charset=utf-8` belongs behind the type: text and JavaScript and XML, not JSON, which
 * has no such parameter. */
bool media_type_has_charset(struct str type);

/* Whether content of this type (parameters allowed) usually shrinks: text, JSON, XML, SVG,
 * WebAssembly, fonts without a coding of their own. */
bool media_type_is_compressible(struct str type);
