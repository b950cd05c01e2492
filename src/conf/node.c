/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/node.h"

bool node_is_null(const struct node *n)
{
    if (n->kind != NODE_SCALAR || !n->is_plain || n->is_expanded) {
        return false;
    }
    return n->text.n == 0 || str_eq(n->text, STR("~")) || str_eq(n->text, STR("null")) ||
           str_eq(n->text, STR("Null")) || str_eq(n->text, STR("NULL"));
}

bool node_is_word(const struct node *n, const char *word)
{
    return n->kind == NODE_SCALAR && str_eq(n->text, str_of(word));
}

const struct node_entry *node_find(const struct node *n, struct str key)
{
    if (n == NULL || n->kind != NODE_MAP) {
        return NULL;
    }
    for (size_t i = 0; i < n->count; i++) {
        if (str_eq(n->entries[i].key, key)) {
            return &n->entries[i];
        }
    }
    return NULL;
}

struct node *node_map_create(struct arena *arena, struct conf_origin origin, size_t count)
{
    struct node *n = arena_zalloc(arena, sizeof(*n));
    if (n == NULL) {
        return NULL;
    }
    n->kind = NODE_MAP;
    n->origin = origin;
    n->count = count;
    n->entries = arena_zalloc(arena, (count > 0 ? count : 1) * sizeof(*n->entries));
    return n->entries != NULL ? n : NULL;
}

enum err conf_source_create(struct arena *arena, const char *name, struct str text,
                            struct conf_source **ret_source)
{
    struct conf_source *source = arena_zalloc(arena, sizeof(*source));
    if (source == NULL) {
        return ERR_NOMEM;
    }
    if (str_starts_with(text, STR("\xef\xbb\xbf"))) {
        text = str_sub(text, 3, text.n - 3);
    }
    struct str kept_name = arena_str(arena, str_of(name));
    source->text = arena_str(arena, text);
    if (kept_name.p == NULL || source->text.p == NULL) {
        return ERR_NOMEM;
    }
    source->name = kept_name.p;
    const char *slash = strrchr(source->name, '/');
    source->dir = str_make(source->name, slash != NULL ? (size_t)(slash + 1 - source->name) : 0);

    size_t line_count = 1;
    for (size_t i = 0; i < text.n; i++) {
        line_count += text.p[i] == '\n';
    }
    uint32_t *starts = arena_alloc(arena, line_count * sizeof(*starts));
    if (starts == NULL) {
        return ERR_NOMEM;
    }
    size_t line = 0;
    starts[line++] = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\n') {
            starts[line++] = (uint32_t)(i + 1);
        }
    }
    source->line_starts = starts;
    source->line_count = line_count;
    *ret_source = source;
    return ERR_OK;
}

struct str conf_source_line(const struct conf_source *source, uint32_t line)
{
    if (line == 0 || line > source->line_count) {
        return str_make(NULL, 0);
    }
    size_t start = source->line_starts[line - 1];
    size_t end = line < source->line_count ? source->line_starts[line] - 1 : source->text.n;
    if (end > start && source->text.p[end - 1] == '\r') {
        end--;
    }
    return str_sub(source->text, start, end - start);
}
