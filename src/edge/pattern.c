/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/pattern.h"

static enum err pattern_refuse(struct pattern_fault *reterr_fault, size_t column,
                               const char *reason)
{
    if (reterr_fault) {
        reterr_fault->column = column;
        reterr_fault->reason = reason;
    }
    return ERR_SYNTAX;
}

/* NULL where the segment may stand there. */
static const char *pattern_segment_fault(struct str segment, bool is_last)
{
    if (segment.n == 0) {
        return is_last ? NULL : "an empty segment never matches a canonical path";
    }
    if (str_eq(segment, STR(".")) || str_eq(segment, STR(".."))) {
        return "a dot segment never matches a canonical path";
    }
    if (str_eq(segment, STR("**"))) {
        return is_last ? NULL : "`**` must be the last segment";
    }
    if (segment.n > 1 && str_index(segment, '*') >= 0) {
        return "`*` must be a whole segment";
    }
    for (size_t i = 0; i < segment.n; i++) {
        unsigned char c = (unsigned char)segment.p[i];
        if (c < 0x20 || c == 0x7f) {
            return "a control character never matches a canonical path";
        }
        if (c == '?' || c == '#') {
            return "a pattern is a path, without query or fragment";
        }
    }
    return NULL;
}

enum err pattern_check(struct str text, struct pattern_fault *reterr_fault)
{
    if (text.n == 0 || text.p[0] != '/') {
        return pattern_refuse(reterr_fault, 0, "a pattern starts with a slash");
    }
    if (text.n > PATTERN_BYTES_MAX) {
        return pattern_refuse(reterr_fault, PATTERN_BYTES_MAX, "the pattern is too long");
    }
    struct str rest = str_sub(text, 1, text.n);
    for (bool is_last = false; !is_last;) {
        ptrdiff_t slash = str_index(rest, '/');
        is_last = slash < 0;
        struct str segment = is_last ? rest : str_sub(rest, 0, (size_t)slash);
        const char *reason = pattern_segment_fault(segment, is_last);
        if (reason) {
            return pattern_refuse(reterr_fault, text.n - rest.n, reason);
        }
        if (!is_last) {
            rest = str_sub(rest, segment.n + 1, rest.n);
        }
    }
    return ERR_OK;
}

static enum pattern_kind pattern_kind_of(struct str segment)
{
    if (str_eq(segment, STR("*"))) {
        return PATTERN_ONE;
    }
    return str_eq(segment, STR("**")) ? PATTERN_REST : PATTERN_LITERAL;
}

enum err pattern_compile(struct arena *arena, struct str text, struct pattern *ret_pattern,
                         struct pattern_fault *reterr_fault)
{
    enum err e = pattern_check(text, reterr_fault);
    if (e) {
        return e;
    }
    uint32_t count = 0;
    for (size_t i = 0; i < text.n; i++) {
        count += text.p[i] == '/';
    }
    struct str copy = arena_str(arena, text);
    struct pattern_segment *segments = arena_alloc(arena, count * sizeof(*segments));
    if (!copy.p || !segments) {
        return ERR_NOMEM;
    }
    size_t start = 1;
    for (uint32_t i = 0; i < count; i++) {
        size_t end = start;
        while (end < copy.n && copy.p[end] != '/') {
            end++;
        }
        segments[i].text = str_make(copy.p + start, end - start);
        segments[i].kind = pattern_kind_of(segments[i].text);
        start = end + 1;
    }
    *ret_pattern = (struct pattern){copy, segments, count};
    return ERR_OK;
}

bool pattern_match(const struct pattern *pattern, struct str path)
{
    /* `at` is where the next segment's slash stands, or the end of the path. */
    size_t at = 0;
    for (uint32_t i = 0; i < pattern->segment_count; i++) {
        const struct pattern_segment *segment = &pattern->segments[i];
        if (segment->kind == PATTERN_REST) {
            return i > 0 || (path.n > 0 && path.p[0] == '/');
        }
        if (at >= path.n || path.p[at] != '/') {
            return false;
        }
        size_t start = at + 1;
        size_t end = start;
        while (end < path.n && path.p[end] != '/') {
            end++;
        }
        struct str part = str_make(path.p + start, end - start);
        if (segment->kind == PATTERN_ONE ? part.n == 0 : !str_eq(part, segment->text)) {
            return false;
        }
        at = end;
    }
    return at == path.n;
}

int pattern_compare(const struct pattern *a, const struct pattern *b)
{
    for (uint32_t i = 0;; i++) {
        bool has_a = i < a->segment_count;
        bool has_b = i < b->segment_count;
        if (!has_a || !has_b) {
            if (has_a == has_b) {
                return 0;
            }
            /* One has ended: it comes before `**`, and behind everything longer. */
            const struct pattern_segment *more = has_a ? &a->segments[i] : &b->segments[i];
            bool is_longer_first = more->kind != PATTERN_REST;
            return has_a == is_longer_first ? -1 : 1;
        }
        if (a->segments[i].kind != b->segments[i].kind) {
            return a->segments[i].kind < b->segments[i].kind ? -1 : 1;
        }
    }
}
