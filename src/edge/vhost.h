/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which site answers for a host name. Names in rules:
 *   example.com      exactly this host (also an IPv4 address, or an IPv6 one in brackets)
 *   *.example.com    one or more labels below, not the apex
 *   .example.com     the apex and everything below
 *   api.*            begins with these labels and has at least one more
 *   default          whatever nothing else answers for, also requests without a host
 * A higher priority wins; then exact before the longest suffix before the longest prefix before
 * default; of `*.x` and `.x` the first is narrower and wins. Immutable after the build; a match
 * takes a few hash lookups and no memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "edge/pattern.h"

#define VHOST_NAME_BYTES_MAX 253

struct vhost_table;

struct vhost_rule {
    struct str name;
    int32_t priority; /* higher first; 0 is usual */
};

/* Builds from `rules`, copying the names into `arena`. ERR_SYNTAX: a name is malformed;
 * ERR_EXISTS: it stands there twice; both fill `reterr_fault` (may be NULL). ERR_NOMEM. */
enum err vhost_build(struct arena *arena, const struct vhost_rule *rules, size_t rule_count,
                     const struct vhost_table **ret_table,
                     struct pattern_fault *reterr_fault) MUST_CHECK;

/* Finds the rule for `host` as it stands in Host or :authority (case, port and one trailing dot
 * do not matter). False where no rule matches and there is no default, and for a host that is no
 * host at all, which never reaches the default. */
bool vhost_match(const struct vhost_table *table, struct str host, uint32_t *ret_rule);

/* Writes the canonical form of `host`: lower case, no port, no trailing dot, IPv6 in brackets in
 * its shortest form (RFC 5952). ERR_SYNTAX where it is not a host (RFC 3986, 3.2.2; labels of
 * letters, digits, `-` and `_`). An empty host stays empty. */
enum err vhost_canonical(struct str host, char out[VHOST_NAME_BYTES_MAX + 1],
                         struct str *ret_host) MUST_CHECK;
