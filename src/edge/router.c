/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/router.h"

#include <stdlib.h>

#include "base/mem.h"

/*
 * Keys. Each pattern becomes a byte string in which a `*` segment is KEY_STAR and a final "/" plus
 * two stars is KEY_REST; both bytes are refused in patterns, so they cannot clash. Sorted keys
 * then give the tree from top to bottom without an insertion.
 */
#define KEY_STAR '\x01'
#define KEY_REST '\x02'
#define NO_RULE UINT32_MAX

enum router_stage {
    STAGE_ENTER,   /* just arrived at the node */
    STAGE_EXACT,   /* handing out rules that end here */
    STAGE_LITERAL, /* trying the literal edges */
    STAGE_STAR,    /* trying the star edge */
    STAGE_REST,    /* trying the rest leaf */
    STAGE_IN_REST, /* handing out its rules */
    STAGE_LEAVE,
    STAGE_DONE,
};

/* 64 bytes: one cache line. The rest leaf belongs to the node where the segment before it ends,
 * so that it also matches nothing. */
struct router_node {
    const char *label;       /* the bytes of the edge that leads here */
    const char *first_bytes; /* of the children's labels, sorted */
    struct router_node *children;
    struct router_node *star; /* only where the key ends in a slash */
    const struct router_node *parent;
    uint32_t exact_rule; /* first of a chain, or NO_RULE */
    uint32_t rest_rule;
    uint16_t label_bytes;
    uint16_t child_count;
    bool is_star;
};

struct router {
    uint32_t tree_count;
    const struct router_node *trees; /* highest priority first */
    const uint32_t *next_rules;      /* of each rule, the next with the same pattern */
};

struct router_key {
    struct str text;
    int32_t priority;
    uint32_t rule;
};

struct router_build {
    struct arena *arena;
    struct router_key *keys; /* scratch, on the heap */
    char *text;              /* scratch of all keys */
    uint32_t *next_rules;
};

static int router_key_compare(const void *left, const void *right)
{
    const struct router_key *a = left;
    const struct router_key *b = right;
    if (a->priority != b->priority) {
        return a->priority > b->priority ? -1 : 1;
    }
    int order = str_cmp(a->text, b->text);
    if (order) {
        return order;
    }
    return a->rule < b->rule ? -1 : 1;
}

/* Writes the key of a checked pattern to `out`, which holds pattern.n bytes; returns its length. */
static size_t router_write_key(struct str pattern, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < pattern.n; i++) {
        if (pattern.p[i] != '*') {
            out[n++] = pattern.p[i];
        } else if (i + 1 < pattern.n && pattern.p[i + 1] == '*') {
            out[n - 1] = KEY_REST;
            break;
        } else {
            out[n++] = KEY_STAR;
        }
    }
    return n;
}

/* Checks the rules and fills the keys. */
static enum err router_make_keys(struct router_build *b, const struct router_rule *rules,
                                 size_t rule_count, struct pattern_fault *reterr_fault)
{
    size_t bytes = 0;
    for (size_t i = 0; i < rule_count; i++) {
        enum err e = pattern_check(rules[i].pattern, reterr_fault);
        if (e) {
            if (reterr_fault) {
                reterr_fault->rule_index = i;
            }
            return e;
        }
        bytes += rules[i].pattern.n;
    }
    b->keys = mem_zalloc(rule_count, sizeof(*b->keys));
    b->text = mem_alloc(bytes);
    if (!b->keys || !b->text) {
        return ERR_NOMEM;
    }
    char *at = b->text;
    for (size_t i = 0; i < rule_count; i++) {
        size_t n = router_write_key(rules[i].pattern, at);
        b->keys[i] = (struct router_key){str_make(at, n), rules[i].priority, (uint32_t)i};
        at += n;
    }
    qsort(b->keys, rule_count, sizeof(*b->keys), router_key_compare);
    return ERR_OK;
}

/* Chains the rules of equal keys from `at` on; moves `*at` behind them; returns the first. */
static uint32_t router_chain(struct router_build *b, size_t *at, size_t end)
{
    size_t i = *at;
    uint32_t first = b->keys[i].rule;
    while (i + 1 < end && str_eq(b->keys[i].text, b->keys[i + 1].text)) {
        b->next_rules[b->keys[i].rule] = b->keys[i + 1].rule;
        i++;
    }
    *at = i + 1;
    return first;
}

/* End of the keys from `start` that share the byte at `depth`. */
static size_t router_group_end(const struct router_build *b, size_t start, size_t end, size_t depth)
{
    char c = b->keys[start].text.p[depth];
    while (start < end && b->keys[start].text.p[depth] == c) {
        start++;
    }
    return start;
}

static bool router_is_mark(char c)
{
    return c == KEY_STAR || c == KEY_REST;
}

/* Length of what the keys of a group have in common from `depth` on, up to a star or rest. Sorted
 * keys have in common what the first and the last have. */
static size_t router_common(struct str first, struct str last, size_t depth)
{
    size_t n = first.n < last.n ? first.n : last.n;
    size_t i = depth;
    while (i < n && first.p[i] == last.p[i] && !router_is_mark(first.p[i])) {
        i++;
    }
    return i - depth;
}

/* Fills `node`, which the first `depth` bytes of the keys [start, end) lead to. Recursion is
 * bounded by PATTERN_BYTES_MAX. */
static enum err router_build_node(struct router_build *b, struct router_node *node, size_t start,
                                  size_t end, size_t depth)
{
    node->exact_rule = NO_RULE;
    node->rest_rule = NO_RULE;
    if (start < end && b->keys[start].text.n == depth) {
        node->exact_rule = router_chain(b, &start, end);
    }
    if (start < end && b->keys[start].text.p[depth] == KEY_STAR) {
        size_t group_end = router_group_end(b, start, end, depth);
        node->star = arena_zalloc(b->arena, sizeof(*node->star));
        if (!node->star) {
            return ERR_NOMEM;
        }
        node->star->parent = node;
        node->star->is_star = true;
        enum err e = router_build_node(b, node->star, start, group_end, depth + 1);
        if (e) {
            return e;
        }
        start = group_end;
    }
    if (start < end && b->keys[start].text.p[depth] == KEY_REST) {
        node->rest_rule = router_chain(b, &start, end);
    }
    size_t child_count = 0;
    for (size_t i = start; i < end; i = router_group_end(b, i, end, depth)) {
        child_count++;
    }
    if (child_count == 0) {
        return ERR_OK;
    }
    char *first_bytes = arena_alloc(b->arena, child_count);
    node->children = arena_zalloc(b->arena, child_count * sizeof(*node->children));
    if (!first_bytes || !node->children) {
        return ERR_NOMEM;
    }
    node->first_bytes = first_bytes;
    node->child_count = (uint16_t)child_count;
    for (size_t i = 0; i < child_count; i++) {
        size_t group_end = router_group_end(b, start, end, depth);
        struct router_node *child = &node->children[i];
        struct str first = b->keys[start].text;
        size_t n = router_common(first, b->keys[group_end - 1].text, depth);
        child->parent = node;
        child->label = arena_str(b->arena, str_sub(first, depth, n)).p;
        child->label_bytes = (uint16_t)n;
        first_bytes[i] = first.p[depth];
        enum err e =
            child->label ? router_build_node(b, child, start, group_end, depth + n) : ERR_NOMEM;
        if (e) {
            return e;
        }
        start = group_end;
    }
    return ERR_OK;
}

static enum err router_build_trees(struct router_build *b, size_t rule_count, struct router *router,
                                   struct pattern_fault *reterr_fault)
{
    uint32_t tree_count = 0;
    for (size_t i = 0; i < rule_count; i++) {
        bool is_new = i == 0 || b->keys[i].priority != b->keys[i - 1].priority;
        tree_count += is_new;
        if (tree_count > ROUTER_PRIORITIES_MAX) {
            if (reterr_fault) {
                *reterr_fault = (struct pattern_fault){
                    b->keys[i].rule, 0, "there are more than 256 different priorities"};
            }
            return ERR_LIMIT;
        }
    }
    struct router_node *trees = arena_zalloc(b->arena, tree_count * sizeof(*trees));
    b->next_rules = arena_alloc(b->arena, rule_count * sizeof(*b->next_rules));
    if (!trees || !b->next_rules) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < rule_count; i++) {
        b->next_rules[i] = NO_RULE;
    }
    for (size_t start = 0, tree = 0; start < rule_count; tree++) {
        size_t end = start;
        while (end < rule_count && b->keys[end].priority == b->keys[start].priority) {
            end++;
        }
        enum err e = router_build_node(b, &trees[tree], start, end, 0);
        if (e) {
            return e;
        }
        start = end;
    }
    router->tree_count = tree_count;
    router->trees = trees;
    router->next_rules = b->next_rules;
    return ERR_OK;
}

enum err router_build(struct arena *arena, const struct router_rule *rules, size_t rule_count,
                      const struct router **ret_router, struct pattern_fault *reterr_fault)
{
    if (rule_count > ROUTER_RULES_MAX) {
        if (reterr_fault) {
            *reterr_fault = (struct pattern_fault){ROUTER_RULES_MAX, 0, "there are too many rules"};
        }
        return ERR_LIMIT;
    }
    struct router *router = arena_zalloc(arena, sizeof(*router));
    if (!router) {
        return ERR_NOMEM;
    }
    struct router_build b = {.arena = arena};
    enum err e = router_make_keys(&b, rules, rule_count, reterr_fault);
    if (!e) {
        e = router_build_trees(&b, rule_count, router, reterr_fault);
    }
    mem_free(b.keys);
    mem_free(b.text);
    if (!e) {
        *ret_router = router;
    }
    return e;
}

void router_start(const struct router *router, struct str path, struct router_cursor *ret_cursor)
{
    *ret_cursor = (struct router_cursor){
        .router = router,
        .node = router->trees,
        .path = path,
        .next_rule = NO_RULE,
        .stage = router->tree_count > 0 ? STAGE_ENTER : STAGE_DONE,
    };
}

/* The child whose label the path goes on with, or NULL: at most one can. */
static const struct router_node *router_find_child(const struct router_node *node, struct str path,
                                                   size_t at)
{
    if (at == path.n || node->child_count == 0) {
        return NULL;
    }
    const struct router_node *child = node->children;
    if (node->child_count > 1) {
        const char *found = memchr(node->first_bytes, path.p[at], node->child_count);
        if (!found) {
            return NULL;
        }
        child += found - node->first_bytes;
    }
    if (path.n - at < child->label_bytes ||
        memcmp(path.p + at, child->label, child->label_bytes) != 0) {
        return NULL;
    }
    return child;
}

/* Goes back to the parent (or on to the next priority), to the alternative after the edge that
 * led here. No stack is needed: the width of an edge is known, a star's from the path. */
static void router_leave(struct router_cursor *c)
{
    const struct router_node *node = c->node;
    if (!node->parent) {
        c->tree++;
        bool has_more = c->tree < c->router->tree_count;
        c->node = has_more ? c->router->trees + c->tree : NULL;
        c->at = 0;
        c->stage = has_more ? STAGE_ENTER : STAGE_DONE;
        return;
    }
    if (node->is_star) {
        while (c->path.p[c->at - 1] != '/') {
            c->at--;
        }
        c->stage = STAGE_REST;
    } else {
        c->at -= node->label_bytes;
        c->stage = STAGE_STAR;
    }
    c->node = node->parent;
}

/* Hands out the next rule of the chain; at its end goes to `stage`. */
static bool router_take(struct router_cursor *c, enum router_stage stage, uint32_t *ret_rule)
{
    if (c->next_rule == NO_RULE) {
        c->stage = (uint8_t)stage;
        return false;
    }
    *ret_rule = c->next_rule;
    c->next_rule = c->router->next_rules[c->next_rule];
    return true;
}

static void router_try_literal(struct router_cursor *c)
{
    const struct router_node *child = router_find_child(c->node, c->path, c->at);
    if (child) {
        c->node = child;
        c->at += child->label_bytes;
        c->stage = STAGE_ENTER;
    } else {
        c->stage = STAGE_STAR;
    }
}

static void router_try_star(struct router_cursor *c)
{
    c->stage = STAGE_REST;
    if (!c->node->star || c->at == c->path.n || c->path.p[c->at] == '/') {
        return;
    }
    const char *slash = memchr(c->path.p + c->at, '/', c->path.n - c->at);
    c->at = slash ? (size_t)(slash - c->path.p) : c->path.n;
    c->node = c->node->star;
    c->stage = STAGE_ENTER;
}

bool router_next(struct router_cursor *c, uint32_t *ret_rule)
{
    for (;;) {
        switch ((enum router_stage)c->stage) {
        case STAGE_ENTER:
            c->stage = STAGE_LITERAL;
            if (c->at == c->path.n) {
                c->next_rule = c->node->exact_rule;
                c->stage = STAGE_EXACT;
            }
            break;
        case STAGE_EXACT:
            /* At the end of the path no edge can be taken: only the rest is left. */
            if (router_take(c, STAGE_REST, ret_rule)) {
                return true;
            }
            break;
        case STAGE_LITERAL:
            router_try_literal(c);
            break;
        case STAGE_STAR:
            router_try_star(c);
            break;
        case STAGE_REST:
            c->stage = STAGE_LEAVE;
            if (c->node->rest_rule != NO_RULE && c->at <= c->path.n &&
                (c->at == c->path.n ? c->at > 0 : c->path.p[c->at] == '/')) {
                c->next_rule = c->node->rest_rule;
                c->stage = STAGE_IN_REST;
            }
            break;
        case STAGE_IN_REST:
            if (router_take(c, STAGE_LEAVE, ret_rule)) {
                return true;
            }
            break;
        case STAGE_LEAVE:
            router_leave(c);
            break;
        case STAGE_DONE:
            return false;
        }
    }
}

bool router_match(const struct router *router, struct str path, router_accept_fn accept, void *user,
                  uint32_t *ret_rule)
{
    struct router_cursor cursor;
    uint32_t rule;
    router_start(router, path, &cursor);
    while (router_next(&cursor, &rule)) {
        if (!accept || accept(user, rule)) {
            *ret_rule = rule;
            return true;
        }
    }
    return false;
}
