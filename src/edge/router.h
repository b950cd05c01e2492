/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An immutable radix tree over path patterns (edge/pattern.h): literal bytes are compressed into
 * edges, a node may have one `*` child and one `**` leaf. A match costs the length of the path,
 * not the number of rules. Built once per configuration, then read by every loop without a lock.
 *
 * Candidates come from most to least specific; equal patterns come in the order of declaration;
 * a higher `priority` comes before everything lower. Whether a candidate is taken is the caller's
 * affair (methods, header fields, query, addresses): he goes on to the next one where not.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "edge/pattern.h"

/* Every distinct priority has a tree of its own that each match visits, so there is a limit. */
#define ROUTER_PRIORITIES_MAX 256
#define ROUTER_RULES_MAX 0x7fffffffu

struct router;
struct router_node;

struct router_rule {
    struct str pattern;
    int32_t priority; /* higher first; 0 is usual */
};

/* A walk over the candidates of one path. On the stack; no end function; may be copied. */
struct router_cursor {
    const struct router *router;
    const struct router_node *node;
    struct str path;
    size_t at;          /* bytes of the path that lead to `node` */
    uint32_t next_rule; /* of the chain that is being handed out */
    uint32_t tree;      /* which priority */
    uint8_t stage;
};

/* Builds from `rules`; the router and all it needs are copied into `arena`. An empty list is
 * allowed. O(total bytes * log rule_count). ERR_SYNTAX and ERR_LIMIT fill `reterr_fault` (may be
 * NULL), ERR_NOMEM does not. On failure pieces stay in the arena until it ends. */
enum err router_build(struct arena *arena, const struct router_rule *rules, size_t rule_count,
                      const struct router **ret_router,
                      struct pattern_fault *reterr_fault) MUST_CHECK;

/* Starts a walk over the canonical `path`, which must outlive the cursor. */
void router_start(const struct router *router, struct str path, struct router_cursor *ret_cursor);

/* The next candidate: an index into the rules the router was built from. False at the end. */
bool router_next(struct router_cursor *cursor, uint32_t *ret_rule);

/* True where the rule is taken. */
typedef bool (*router_accept_fn)(void *user, uint32_t rule);

/* The first candidate that `accept` takes (NULL takes all). False where there is none. */
bool router_match(const struct router *router, struct str path, router_accept_fn accept, void *user,
                  uint32_t *ret_rule);
