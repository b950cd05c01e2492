/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/state.h"

static enum err prove(const struct state_store *store, const struct state_link *at,
                      struct state_items paths, unsigned depth, struct buf *out);

static enum err prove_inner(const struct state_store *store, const struct state_node *node,
                            const struct state_items *paths, unsigned depth, struct buf *out)
{
    size_t left = state_items_split(paths, depth);
    const struct state_items sides[2] = {state_items_part(paths, 0, left),
                                         state_items_part(paths, left, paths->n - left)};
    enum err e = ERR_OK;
    if (sides[0].n && sides[1].n) {
        buf_add_char(out, STATE_TOKEN_BOTH);
    } else {
        const struct state_link *sibling = &node->child[sides[0].n ? 1 : 0];
        buf_add_char(out, sibling->id ? STATE_TOKEN_ONE_SIBLING : STATE_TOKEN_ONE_EMPTY);
        buf_add(out, sibling->hash, sibling->id ? STATE_HASH_BYTES : 0);
    }
    for (int side = 0; side < 2 && !e; side++) {
        if (sides[side].n) {
            e = prove(store, &node->child[side], sides[side], depth + 1, out);
        }
    }
    return e;
}

static enum err prove(const struct state_store *store, const struct state_link *at,
                      struct state_items paths, unsigned depth, struct buf *out)
{
    struct state_node node;
    if (!at->id) {
        buf_add_char(out, STATE_TOKEN_EMPTY);
        return ERR_OK;
    }
    enum err e = state_load(store, at, &node);
    if (e) {
        return e;
    }
    if (!node.is_leaf) {
        return depth < STATE_DEPTH_MAX ? prove_inner(store, &node, &paths, depth, out) : ERR_SYNTAX;
    }
    if (state_items_find(&paths, node.path) != SIZE_MAX) {
        buf_add_char(out, STATE_TOKEN_ASKED);
    } else {
        buf_add_char(out, STATE_TOKEN_OTHER);
        buf_add(out, node.path, sizeof(node.path));
        buf_add(out, node.value_hash, sizeof(node.value_hash));
    }
    return ERR_OK;
}

enum err state_prove(const struct state_tree *t, const struct state_store *store,
                     uint8_t (*paths)[STATE_HASH_BYTES], size_t count, struct buf *out)
{
    const struct state_items items = {
        .p = (uint8_t *)paths, .n = count, .item_bytes = STATE_HASH_BYTES, .path_at = 0};
    size_t before = out->n;
    if (!count) {
        return ERR_RANGE;
    }
    if (!state_items_sort(&items)) {
        return ERR_EXISTS;
    }
    buf_add_char(out, STATE_PROOF_VERSION);
    enum err e = prove(store, &t->root, items, 0, out);
    if (!e && out->is_failed) {
        e = ERR_NOMEM;
    }
    if (e) {
        out->n = before;
    }
    return e;
}
