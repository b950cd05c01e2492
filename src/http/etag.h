/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags (RFC 9110 8.8.3). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define HTTP_ETAG_BYTES_MAX 72

/* What the tag of a stored file is made of. */
struct http_etag_source {
    int64_t mtime_ns;
    uint64_t size;
    uint64_t inode;
    struct str coding; /* of an encoded variant, at most 8 bytes: `br`; empty for the file itself */
    bool is_weak;      /* for a file changed so lately that it may change again unseen */
};

/* Writes the tag with its quotes into `out` and returns a view of it. */
struct str http_etag_make(const struct http_etag_source *source, char out[HTTP_ETAG_BYTES_MAX]);

struct http_etag {
    struct str opaque; /* with its quotes */
    bool is_weak;
};

/* Takes the next tag of a list (If-Match, If-None-Match). ERR_NOT_FOUND at the end, ERR_SYNTAX. */
enum err http_etag_next(struct str *rest, struct http_etag *ret_tag) MUST_CHECK;

/* Exactly one tag. ERR_SYNTAX. */
enum err http_etag_parse(struct str s, struct http_etag *ret_tag) MUST_CHECK;

/* RFC 9110 8.8.3.2: strong comparison needs both to be strong, weak comparison does not care. */
bool http_etag_matches_strongly(const struct http_etag *a, const struct http_etag *b);
bool http_etag_matches_weakly(const struct http_etag *a, const struct http_etag *b);
