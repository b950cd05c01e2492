/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/assert.h"
#include "proof/merkle.h"

static unsigned log2_of(uint64_t n)
{
    return 63 - (unsigned)__builtin_clzll(n);
}

/* The largest power of two below `n`, for n > 1: where RFC 9162 cuts a tree in two. */
static uint64_t split(uint64_t n)
{
    return UINT64_C(1) << log2_of(n - 1);
}

/* The peaks of the leaves [start, start + count), largest first; `start` is a multiple of the
 * largest. */
static enum err peaks_of(const struct merkle_source *source, uint64_t start, uint64_t count,
                         struct merkle_tree *ret_tree)
{
    ret_tree->size = count;
    for (unsigned peak = 0; count; peak++) {
        unsigned level = log2_of(count);
        enum err e = source->node(source->arg, level, start >> level, ret_tree->peaks[peak]);
        if (e) {
            return e;
        }
        start += UINT64_C(1) << level;
        count -= UINT64_C(1) << level;
    }
    return ERR_OK;
}

/* The path is gathered from the root downwards and turned round at the end. */
static enum err path_add(const struct merkle_source *source, uint64_t start, uint64_t count,
                         struct merkle_path *path)
{
    struct merkle_tree part;
    enum err e = peaks_of(source, start, count, &part);
    ASSERT(path->count < SWS_PATH_MAX);
    if (!e) {
        merkle_root(&part, path->hashes[path->count++]);
    }
    return e;
}

static void path_turn(struct merkle_path *path)
{
    for (size_t i = 0, k = path->count; i + 1 < k; i++) {
        uint8_t held[MERKLE_HASH_BYTES];
        k--;
        memcpy(held, path->hashes[i], sizeof(held));
        memcpy(path->hashes[i], path->hashes[k], sizeof(held));
        memcpy(path->hashes[k], held, sizeof(held));
    }
}

enum err merkle_restore(const struct merkle_source *source, uint64_t size,
                        struct merkle_tree *ret_tree)
{
    return peaks_of(source, 0, size, ret_tree);
}

enum err merkle_inclusion(const struct merkle_source *source, uint64_t size, uint64_t index,
                          struct merkle_path *ret_path)
{
    uint64_t start = 0, count = size;
    enum err e = ERR_OK;
    if (index >= size) {
        return ERR_RANGE;
    }
    ret_path->count = 0;
    while (count > 1 && !e) {
        uint64_t left = split(count);
        if (index - start < left) {
            e = path_add(source, start + left, count - left, ret_path);
            count = left;
        } else {
            e = path_add(source, start, left, ret_path);
            start += left;
            count -= left;
        }
    }
    path_turn(ret_path);
    return e;
}

enum err merkle_consistency(const struct merkle_source *source, uint64_t old_size,
                            uint64_t new_size, struct merkle_path *ret_path)
{
    uint64_t start = 0, old = old_size, count = new_size;
    enum err e = ERR_OK;
    if (old_size == 0 || old_size > new_size) {
        return ERR_RANGE;
    }
    ret_path->count = 0;
    while (old < count && !e) {
        uint64_t left = split(count);
        if (old <= left) {
            e = path_add(source, start + left, count - left, ret_path);
            count = left;
        } else {
            e = path_add(source, start, left, ret_path);
            start += left;
            count -= left;
            old -= left;
        }
    }
    /* What both trees have in common is left out where it is the whole old tree, which the
     * verifier knows. */
    if (!e && start) {
        e = path_add(source, start, count, ret_path);
    }
    path_turn(ret_path);
    return e;
}
