/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of patterns, then a path: the tree yields what trying every pattern yields, in order. */
#include <stdint.h>
#include <stdlib.h>

#include "edge/router.h"

#define RULES_MAX 64

struct naive {
    struct pattern pattern;
    int32_t priority;
    uint32_t index;
};

static int naive_compare(const void *left, const void *right)
{
    const struct naive *a = left;
    const struct naive *b = right;
    if (a->priority != b->priority) {
        return a->priority > b->priority ? -1 : 1;
    }
    int order = pattern_compare(&a->pattern, &b->pattern);
    return order ? order : a->index < b->index ? -1 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size};
    struct router_rule rules[RULES_MAX];
    struct naive matches[RULES_MAX];
    struct str path = {NULL, 0};
    const struct router *router;
    struct router_cursor cursor;
    struct arena arena;
    struct str line;
    size_t rule_count = 0, match_count = 0;
    uint32_t rule;

    arena_init(&arena, 4096, 0);
    if (!rest.p || !str_split(&rest, '\n', &path)) {
        return 0;
    }
    while (rule_count < RULES_MAX && rest.p && str_split(&rest, '\n', &line)) {
        /* The first byte is the priority. */
        int32_t priority = line.n > 0 ? line.p[0] % 3 : 0;
        line = str_sub(line, 1, line.n);
        struct pattern pattern;
        if (pattern_compile(&arena, line, &pattern, NULL)) {
            continue;
        }
        if (pattern_match(&pattern, path)) {
            matches[match_count++] = (struct naive){pattern, priority, (uint32_t)rule_count};
        }
        rules[rule_count++] = (struct router_rule){line, priority};
    }
    if (router_build(&arena, rules, rule_count, &router, NULL)) {
        abort();
    }
    qsort(matches, match_count, sizeof(matches[0]), naive_compare);
    router_start(router, path, &cursor);
    for (size_t i = 0; i < match_count; i++) {
        if (!router_next(&cursor, &rule) || rule != matches[i].index) {
            abort();
        }
    }
    if (router_next(&cursor, &rule)) {
        abort();
    }
    arena_done(&arena);
    return 0;
}
