/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of the schema tables share. */
#pragma once

#include "conf/schema.h"

/* The layout of every list that a table fills. */
struct conf_array {
    void *items;
    size_t count;
};

/* The key `name` of `table`, also where it stands in an embedded table, or NULL. `ret_offset`
 * (may be NULL): where the struct that holds the key begins inside the object. */
const struct conf_key *conf_table_find(const struct conf_table *table, struct str name,
                                       size_t *ret_offset);

/* Whether a later version serves `name`. */
bool conf_table_is_later(const struct conf_table *table, struct str name);

/* Appends what a value of this key looks like, for people: `a duration such as 60s`. */
void conf_type_print(const struct conf_key *key, struct buf *out);

/* `node` as a map of `table`: a short form becomes `{short_key: node}`. Other nodes come back as
 * they are. ERR_NOMEM. */
enum err conf_node_normalise(struct arena *arena, const struct conf_table *table,
                             const struct node *node, const struct node **ret_node) MUST_CHECK;

static inline const void *conf_field(const void *object, size_t offset)
{
    return (const char *)object + offset;
}
