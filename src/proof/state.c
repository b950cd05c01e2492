/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/state.h"

#include "base/assert.h"

/* The first byte of an encoded node. */
enum { NODE_LEAF = 0, NODE_INNER = 1, NODE_LEFT_IS_LEAF = 2, NODE_RIGHT_IS_LEAF = 4 };

#define LINK_BYTES (8 + STATE_HASH_BYTES)

_Static_assert(1 + 2 * LINK_BYTES == STATE_NODE_BYTES_MAX, "an inner node is the longest");

static uint8_t *put_link(uint8_t *p, const struct state_link *link)
{
    for (unsigned i = 0; i < 8; i++) {
        *p++ = (uint8_t)(link->id >> (8 * i));
    }
    memcpy(p, link->hash, STATE_HASH_BYTES);
    return p + STATE_HASH_BYTES;
}

size_t state_node_encode(const struct state_node *node, uint8_t ret_bytes[STATE_NODE_BYTES_MAX])
{
    uint8_t *p = ret_bytes;
    if (node->is_leaf) {
        *p++ = NODE_LEAF;
        memcpy(p, node->path, STATE_HASH_BYTES);
        memcpy(p + STATE_HASH_BYTES, node->value_hash, STATE_HASH_BYTES);
        return 1 + 2 * STATE_HASH_BYTES;
    }
    *p++ = (uint8_t)(NODE_INNER | (node->child[0].is_leaf ? NODE_LEFT_IS_LEAF : 0) |
                     (node->child[1].is_leaf ? NODE_RIGHT_IS_LEAF : 0));
    p = put_link(put_link(p, &node->child[0]), &node->child[1]);
    return (size_t)(p - ret_bytes);
}

static bool get_link(const uint8_t *p, bool is_leaf, struct state_link *ret_link)
{
    struct state_link link = {.is_leaf = is_leaf};
    for (unsigned i = 0; i < 8; i++) {
        link.id |= (uint64_t)p[i] << (8 * i);
    }
    memcpy(link.hash, p + 8, STATE_HASH_BYTES);
    *ret_link = link;
    return link.id ? !state_hash_is_zero(link.hash) : !is_leaf && state_hash_is_zero(link.hash);
}

enum err state_node_decode(struct str bytes, struct state_node *ret_node)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    struct state_node node = {.is_leaf = bytes.n && p[0] == NODE_LEAF};
    if (node.is_leaf) {
        if (bytes.n != 1 + 2 * STATE_HASH_BYTES) {
            return ERR_SYNTAX;
        }
        memcpy(node.path, p + 1, STATE_HASH_BYTES);
        memcpy(node.value_hash, p + 1 + STATE_HASH_BYTES, STATE_HASH_BYTES);
    } else if (bytes.n != STATE_NODE_BYTES_MAX || !(p[0] & NODE_INNER) || p[0] > 7 ||
               !get_link(p + 1, p[0] & NODE_LEFT_IS_LEAF, &node.child[0]) ||
               !get_link(p + 1 + LINK_BYTES, p[0] & NODE_RIGHT_IS_LEAF, &node.child[1])) {
        return ERR_SYNTAX;
    }
    *ret_node = node;
    return ERR_OK;
}

static void hash_node(const struct state_node *node, uint8_t ret_hash[STATE_HASH_BYTES])
{
    if (node->is_leaf) {
        state_hash_pair(STATE_PREFIX_LEAF, node->path, node->value_hash, ret_hash);
    } else {
        state_hash_pair(STATE_PREFIX_INNER, node->child[0].hash, node->child[1].hash, ret_hash);
    }
}

enum err state_load(const struct state_store *store, const struct state_link *link,
                    struct state_node *ret_node)
{
    uint8_t hash[STATE_HASH_BYTES];
    struct state_node node;
    enum err e = store->load(store->arg, link->id, &node);
    if (e) {
        return e;
    }
    hash_node(&node, hash);
    if (node.is_leaf != link->is_leaf || memcmp(hash, link->hash, sizeof(hash)) != 0) {
        return ERR_SYNTAX;
    }
    *ret_node = node;
    return ERR_OK;
}

void state_init(struct state_tree *t)
{
    *t = (struct state_tree){.next_id = 1};
}

void state_change_set(struct state_change *c, struct str key, struct str value)
{
    state_hash(STATE_PREFIX_KEY, key.p, key.n, c->path);
    state_hash(STATE_PREFIX_VALUE, value.p, value.n, c->value_hash);
    c->is_removal = false;
}

void state_change_remove(struct state_change *c, struct str key)
{
    state_hash(STATE_PREFIX_KEY, key.p, key.n, c->path);
    c->is_removal = true;
}

/* ---- update ---- */

struct update {
    const struct state_store *store;
    uint64_t next_id;
    uint64_t key_count;
};

static const struct state_change *change_at(const struct state_items *changes, size_t i)
{
    return (const struct state_change *)(const void *)(changes->p + i * changes->item_bytes);
}

static enum err save(struct update *u, const struct state_node *node, struct state_link *ret_link)
{
    ret_link->id = u->next_id++;
    ret_link->is_leaf = node->is_leaf;
    hash_node(node, ret_link->hash);
    u->key_count += node->is_leaf;
    return u->store->save(u->store->arg, ret_link->id, node);
}

static enum err drop(struct update *u, const struct state_link *link)
{
    u->key_count -= link->is_leaf;
    return u->store->drop(u->store->arg, link->id);
}

/* The subtree of two others: nothing, a lone leaf in its place, or a new inner node. */
static enum err join(struct update *u, const struct state_link child[2],
                     struct state_link *ret_link)
{
    for (int side = 0; side < 2; side++) {
        if (!child[side].id && (child[!side].is_leaf || !child[!side].id)) {
            *ret_link = child[!side];
            return ERR_OK;
        }
    }
    struct state_node node = {.is_leaf = false, .child = {child[0], child[1]}};
    return save(u, &node, ret_link);
}

/* A new subtree of what is set; `leaf`, which is at `old`, is in it too unless it is NULL. */
static enum err build(struct update *u, const struct state_link *old, const struct state_node *leaf,
                      struct state_items changes, unsigned depth, struct state_link *ret_link)
{
    const struct state_change *set = NULL;
    size_t total = leaf ? 1 : 0;
    for (size_t i = 0; i < changes.n; i++) {
        if (!change_at(&changes, i)->is_removal) {
            set = change_at(&changes, i);
            total++;
        }
    }
    if (total == 0) {
        *ret_link = (struct state_link){.id = 0};
        return ERR_OK;
    }
    if (total == 1 && leaf) {
        *ret_link = *old;
        return ERR_OK;
    }
    if (total == 1) {
        struct state_node node = {.is_leaf = true};
        memcpy(node.path, set->path, sizeof(node.path));
        memcpy(node.value_hash, set->value_hash, sizeof(node.value_hash));
        return save(u, &node, ret_link);
    }
    ASSERT(depth < STATE_DEPTH_MAX);
    struct state_link child[2];
    size_t left = state_items_split(&changes, depth);
    unsigned side = leaf ? state_path_bit(leaf->path, depth) : 2;
    enum err e = build(u, old, side == 0 ? leaf : NULL, state_items_part(&changes, 0, left),
                       depth + 1, &child[0]);
    if (!e) {
        e = build(u, old, side == 1 ? leaf : NULL,
                  state_items_part(&changes, left, changes.n - left), depth + 1, &child[1]);
    }
    return e ? e : join(u, child, ret_link);
}

static enum err update_leaf(struct update *u, const struct state_link *at,
                            struct state_items changes, unsigned depth, struct state_link *ret_link)
{
    struct state_node leaf;
    bool stays = false;
    if (at->id) {
        enum err e = state_load(u->store, at, &leaf);
        if (e) {
            return e;
        }
        size_t i = state_items_find(&changes, leaf.path);
        const struct state_change *c = i == SIZE_MAX ? NULL : change_at(&changes, i);
        if (c && changes.n == 1 && !c->is_removal &&
            memcmp(c->value_hash, leaf.value_hash, STATE_HASH_BYTES) == 0) {
            *ret_link = *at;
            return ERR_OK;
        }
        stays = !c;
        e = stays ? ERR_OK : drop(u, at);
        if (e) {
            return e;
        }
    }
    return build(u, at, stays ? &leaf : NULL, changes, depth, ret_link);
}

static enum err update(struct update *u, const struct state_link *at, struct state_items changes,
                       unsigned depth, struct state_link *ret_link)
{
    struct state_node node;
    struct state_link child[2];
    if (!changes.n) {
        *ret_link = *at;
        return ERR_OK;
    }
    if (!at->id || at->is_leaf) {
        return update_leaf(u, at, changes, depth, ret_link);
    }
    enum err e = depth < STATE_DEPTH_MAX ? state_load(u->store, at, &node) : ERR_SYNTAX;
    if (e) {
        return e;
    }
    size_t left = state_items_split(&changes, depth);
    e = update(u, &node.child[0], state_items_part(&changes, 0, left), depth + 1, &child[0]);
    if (!e) {
        e = update(u, &node.child[1], state_items_part(&changes, left, changes.n - left), depth + 1,
                   &child[1]);
    }
    if (e) {
        return e;
    }
    if (child[0].id == node.child[0].id && child[1].id == node.child[1].id) {
        *ret_link = *at;
        return ERR_OK;
    }
    e = drop(u, at);
    return e ? e : join(u, child, ret_link);
}

enum err state_update(struct state_tree *t, const struct state_store *store,
                      struct state_change *changes, size_t count)
{
    const struct state_items items = {.p = (uint8_t *)changes,
                                      .n = count,
                                      .item_bytes = sizeof(*changes),
                                      .path_at = offsetof(struct state_change, path)};
    struct update u = {store, t->next_id, t->key_count};
    struct state_link root;
    if (!state_items_sort(&items)) {
        return ERR_EXISTS;
    }
    enum err e = update(&u, &t->root, items, 0, &root);
    if (!e) {
        *t = (struct state_tree){root, u.next_id, u.key_count};
    }
    return e;
}
