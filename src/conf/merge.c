/* SPDX-License-Identifier: Apache-2.0 */
/* Inheritance on node trees: what a host says flows into its routes before they are loaded, so
 * every value keeps the place it was written at. */
#include "conf/schema_int.h"

enum err conf_node_normalise(struct arena *arena, const struct conf_table *table,
                             const struct node *node, const struct node **ret_node)
{
    *ret_node = node;
    if (node->kind == NODE_MAP || table->short_key == NULL || node_is_null(node) ||
        (table->has_switch && node_is_word(node, "off"))) {
        return ERR_OK;
    }
    struct node *map = node_map_create(arena, node->origin, 1);
    if (map == NULL) {
        return ERR_NOMEM;
    }
    map->entries[0] = (struct node_entry){
        .key = str_of(table->short_key), .key_origin = node->origin, .value = node};
    *ret_node = map;
    return ERR_OK;
}

/* Maps of free keys. In a map of texts null is a value of its own; in one of files it unsets. */
static enum err merge_free(struct arena *arena, bool keeps_null, const struct node *outer,
                           const struct node *inner, const struct node **ret_merged)
{
    struct node *n = node_map_create(arena, inner->origin, outer->count + inner->count);
    if (n == NULL) {
        return ERR_NOMEM;
    }
    n->count = 0;
    for (size_t i = 0; i < outer->count; i++) {
        if (node_find(inner, outer->entries[i].key) == NULL) {
            n->entries[n->count++] = outer->entries[i];
        }
    }
    for (size_t i = 0; i < inner->count; i++) {
        if (keeps_null || !node_is_null(inner->entries[i].value)) {
            n->entries[n->count++] = inner->entries[i];
        }
    }
    *ret_merged = n;
    return ERR_OK;
}

/* Whether an object is named that is written elsewhere: nothing else of it is said here. */
static bool is_reference(const struct conf_table *table, const struct node *node)
{
    if (table->is_reference == NULL) {
        return false;
    }
    if (node->kind == NODE_MAP) {
        const struct node_entry *entry = node_find(node, str_of(table->short_key));
        node = entry != NULL ? entry->value : NULL;
    }
    return node != NULL && node->kind == NODE_SCALAR && !node_is_null(node) &&
           table->is_reference(node->text);
}

static enum err merge_value(struct arena *arena, const struct conf_key *key,
                            const struct node *outer, const struct node *inner,
                            const struct node **ret_merged)
{
    *ret_merged = inner;
    bool are_maps = outer->kind == NODE_MAP && inner->kind == NODE_MAP;
    if (key->type == CONF_OBJECT) {
        if (is_reference(key->child, inner)) {
            return ERR_OK;
        }
        enum err e = conf_node_normalise(arena, key->child, outer, &outer);
        if (e == ERR_OK) {
            e = conf_node_normalise(arena, key->child, inner, &inner);
        }
        if (e != ERR_OK || outer->kind != NODE_MAP || inner->kind != NODE_MAP) {
            return e;
        }
        return conf_node_merge(arena, key->child, outer, inner, ret_merged);
    }
    if (are_maps && (key->type == CONF_STRING_MAP || key->type == CONF_STATUS_MAP)) {
        return merge_free(arena, key->type == CONF_STRING_MAP, outer, inner, ret_merged);
    }
    return ERR_OK;
}

/* Whether `map` names something that answers requests. */
static bool names_handler(const struct conf_table *table, const struct node *map)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct conf_key *key = conf_table_find(table, map->entries[i].key, NULL);
        if (key != NULL && (key->flags & CONF_HANDLER) != 0 &&
            !node_is_null(map->entries[i].value) && !node_is_word(map->entries[i].value, "off")) {
            return true;
        }
    }
    return false;
}

enum err conf_node_merge(struct arena *arena, const struct conf_table *table,
                         const struct node *outer, const struct node *inner,
                         const struct node **ret_merged)
{
    if (outer == NULL || inner == NULL || outer->kind != NODE_MAP || inner->kind != NODE_MAP) {
        *ret_merged = inner != NULL ? inner : outer;
        return ERR_OK;
    }
    struct node *n = node_map_create(arena, inner->origin, outer->count + inner->count);
    if (n == NULL) {
        return ERR_NOMEM;
    }
    n->count = 0;
    bool has_handler = names_handler(table, inner);
    for (size_t i = 0; i < outer->count; i++) {
        const struct conf_key *key = conf_table_find(table, outer->entries[i].key, NULL);
        bool is_taken_over = has_handler && key != NULL && (key->flags & CONF_TAKES_OVER) != 0;
        if (key != NULL && !is_taken_over && !node_is_null(outer->entries[i].value) &&
            node_find(inner, outer->entries[i].key) == NULL) {
            n->entries[n->count++] = outer->entries[i];
        }
    }
    for (size_t i = 0; i < inner->count; i++) {
        struct node_entry entry = inner->entries[i];
        const struct conf_key *key = conf_table_find(table, entry.key, NULL);
        const struct node_entry *old = node_find(outer, entry.key);
        if (key != NULL && old != NULL && !node_is_null(old->value) && !node_is_null(entry.value)) {
            enum err e = merge_value(arena, key, old->value, entry.value, &entry.value);
            if (e != ERR_OK) {
                return e;
            }
        }
        n->entries[n->count++] = entry;
    }
    *ret_merged = n;
    return ERR_OK;
}
