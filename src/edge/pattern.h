/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one path language of the configuration: a star is exactly one segment that is not empty, two
 * stars (as the last segment only) are the rest, also nothing: "admin" followed by two stars
 * matches /admin, /admin/ and everything below, never /administrator. Everything else is literal
 * and matches byte for byte. Matching is done on the canonical path (decoded once, no dot
 * segments, no empty segment but a last one), so /a and /a/ are two paths.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define PATTERN_BYTES_MAX 4096

enum pattern_kind {
    PATTERN_LITERAL,
    PATTERN_ONE,  /* * */
    PATTERN_REST, /* ** */
};

struct pattern_segment {
    enum pattern_kind kind;
    struct str text; /* without slashes; empty only behind a trailing slash */
};

struct pattern {
    struct str text;
    const struct pattern_segment *segments;
    uint32_t segment_count;
};

/* What is wrong with one rule of a list: which one, at which byte of its text, and why (static,
 * one clause without a full stop). */
struct pattern_fault {
    size_t rule_index;
    size_t column;
    const char *reason;
};

/* Checks `text` without compiling it: ERR_SYNTAX fills `column` and `reason` of `reterr_fault`
 * (may be NULL). */
enum err pattern_check(struct str text, struct pattern_fault *reterr_fault) MUST_CHECK;

/* Compiles `text`, which is copied into `arena` and lives as long as it. ERR_SYNTAX (fills
 * `reterr_fault`, may be NULL), ERR_NOMEM. */
enum err pattern_compile(struct arena *arena, struct str text, struct pattern *ret_pattern,
                         struct pattern_fault *reterr_fault) MUST_CHECK;

/* True where the canonical `path` matches. No allocation, linear time. */
bool pattern_match(const struct pattern *pattern, struct str path);

/* Below 0 where `a` is more specific than `b`, above 0 where less, 0 where neither. Segments are
 * compared from the left: literal before `*` before `**`; of two patterns that agree as far as
 * the shorter one goes, the longer is more specific, but one that has ended comes before `**`. */
int pattern_compare(const struct pattern *a, const struct pattern *b);
