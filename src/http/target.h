/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical path: the one form that rules, routing, files and upstreams all see, so that no two
 * of them can disagree about what was asked for.
 *
 * Canonical means: starts with `/`; percent-decoded exactly once, except that `%25` and `%2F` stay
 * as they are (so that the form is stable: canonical(canonical(x)) == canonical(x), and a slash
 * that was data is not taken for a separator); no `//`, no `.` or `..` segment; valid UTF-8 without
 * control characters. It can hold spaces, `?` and `#`: encode it before it goes into a request.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct http_path {
    struct str path;        /* a view of the input, or of the caller's buffer */
    bool has_encoded_slash; /* holds `%2F`: to be refused where a rule protects the path */
};

/*
 * `raw`: the path of a target without its query. `out`: raw.n bytes, used only when something had
 * to change; else the result is `raw` itself.
 * ERR_SYNTAX (answer 400): no leading `/`, NUL, control characters, a bad `%`, `\` or `%5c`, UTF-8
 * that is not valid, a path above the root, and segments that another program could read as dot
 * segments (`..;x`, `..%2Fx`).
 */
enum err http_path_canonical(struct str raw, char *out, struct http_path *ret_path) MUST_CHECK;

/* The file name of a canonical path: `%25` becomes `%`. `out` has canonical.n bytes. ERR_SYNTAX
 * when the path holds `%2F`, which no file name can. */
enum err http_path_to_file(struct str canonical, char *out, struct str *ret_name) MUST_CHECK;

/* Appends a canonical path in the form of a request target: everything that RFC 3986 does not allow
 * in a path is percent-encoded, `%25` and `%2F` pass. */
void http_path_encode(struct str canonical, struct buf *out);
