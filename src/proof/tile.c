/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/tile.h"

#include <stdio.h>

#include "base/assert.h"

#define GROUP 1000 /* three digits of an index in each element of a path */

unsigned tile_width(unsigned level, uint64_t index, uint64_t size)
{
    uint64_t nodes = level < TILE_LEVELS ? size >> (TILE_HEIGHT * level) : 0;
    uint64_t before = index > UINT64_MAX / TILE_WIDTH ? UINT64_MAX : index * TILE_WIDTH;
    if (before >= nodes) {
        return 0;
    }
    return nodes - before < TILE_WIDTH ? (unsigned)(nodes - before) : TILE_WIDTH;
}

size_t tile_path(const struct tile *tile, char ret_path[TILE_PATH_BYTES_MAX])
{
    unsigned groups[7], count = 0; /* 2^64 has 20 digits */
    uint64_t index = tile->index;
    int n = tile->is_entries ? snprintf(ret_path, TILE_PATH_BYTES_MAX, "tile/entries")
                             : snprintf(ret_path, TILE_PATH_BYTES_MAX, "tile/%u", tile->level);
    do {
        groups[count++] = (unsigned)(index % GROUP);
        index /= GROUP;
    } while (index);
    while (count) {
        count--;
        n += snprintf(ret_path + n, TILE_PATH_BYTES_MAX - (size_t)n, "/%s%03u", count ? "x" : "",
                      groups[count]);
    }
    if (tile->width < TILE_WIDTH) {
        n += snprintf(ret_path + n, TILE_PATH_BYTES_MAX - (size_t)n, ".p/%u", tile->width);
    }
    ASSERT(n < TILE_PATH_BYTES_MAX);
    return (size_t)n;
}

static bool take(struct str *rest, struct str front)
{
    bool is_there = str_starts_with(*rest, front);
    *rest = is_there ? str_sub(*rest, front.n, rest->n) : *rest;
    return is_there;
}

static bool take_number(struct str *rest, uint64_t *ret_value)
{
    size_t n = 0;
    while (n < rest->n && ascii_is_digit(rest->p[n])) {
        n++;
    }
    bool is_number = str_to_u64(str_sub(*rest, 0, n), ret_value) == ERR_OK;
    *rest = str_sub(*rest, n, rest->n);
    return is_number;
}

/* Lenient about zeros and overflow: what is read must be written as it was. */
enum err tile_parse(struct str path, struct tile *ret_tile)
{
    struct tile tile = {.width = TILE_WIDTH};
    char again[TILE_PATH_BYTES_MAX];
    struct str rest = path;
    uint64_t number = 0;
    bool is_more;
    tile.is_entries = take(&rest, STR("tile/entries"));
    if (!tile.is_entries) {
        if (!take(&rest, STR("tile/")) || !take_number(&rest, &number) || number >= TILE_LEVELS) {
            return ERR_SYNTAX;
        }
        tile.level = (unsigned)number;
    }
    do {
        if (!take(&rest, STR("/"))) {
            return ERR_SYNTAX;
        }
        is_more = take(&rest, STR("x"));
        if (!take_number(&rest, &number) || number >= GROUP ||
            tile.index > (UINT64_MAX - number) / GROUP) {
            return ERR_SYNTAX;
        }
        tile.index = tile.index * GROUP + number;
    } while (is_more);
    if (take(&rest, STR(".p/"))) {
        if (!take_number(&rest, &number) || number < 1 || number >= TILE_WIDTH) {
            return ERR_SYNTAX;
        }
        tile.width = (unsigned)number;
    }
    if (rest.n || path.n >= sizeof(again) ||
        !str_eq(str_make(again, tile_path(&tile, again)), path)) {
        return ERR_SYNTAX;
    }
    *ret_tile = tile;
    return ERR_OK;
}

enum err bundle_add(struct buf *out, struct str entry)
{
    if (entry.n > SWS_ENTRY_BYTES_MAX) {
        return ERR_RANGE;
    }
    if (!buf_reserve(out, 2 + entry.n)) {
        return ERR_NOMEM;
    }
    buf_add_char(out, (char)(entry.n >> 8));
    buf_add_char(out, (char)(entry.n & 255));
    buf_add_str(out, entry);
    return ERR_OK;
}

enum err bundle_next(struct str *rest, struct str *ret_entry)
{
    if (!rest->n) {
        return ERR_EOF;
    }
    size_t n = rest->n < 2 ? 0 : (size_t)(uint8_t)rest->p[0] << 8 | (uint8_t)rest->p[1];
    if (rest->n < 2 + n) {
        return ERR_SYNTAX;
    }
    *ret_entry = str_sub(*rest, 2, n);
    *rest = str_sub(*rest, 2 + n, rest->n);
    return ERR_OK;
}

/* ---- nodes out of tiles ---- */

void tile_reader_init(struct tile_reader *r, uint64_t size,
                      enum err (*load)(void *arg, const struct tile *tile, uint8_t *ret_hashes),
                      void *arg)
{
    r->load = load;
    r->arg = arg;
    r->size = size;
    r->next_slot = 0;
    for (unsigned i = 0; i < TILE_SLOTS; i++) {
        r->slots[i].tile.width = 0;
    }
}

static enum err find_tile(struct tile_reader *r, unsigned level, uint64_t index,
                          const uint8_t **ret_hashes)
{
    for (unsigned i = 0; i < TILE_SLOTS; i++) {
        const struct tile *t = &r->slots[i].tile;
        if (t->width && t->level == level && t->index == index) {
            *ret_hashes = r->slots[i].hashes;
            return ERR_OK;
        }
    }
    struct tile tile = {.level = level, .index = index, .width = tile_width(level, index, r->size)};
    unsigned slot = r->next_slot;
    r->slots[slot].tile.width = 0;
    enum err e = r->load(r->arg, &tile, r->slots[slot].hashes);
    if (!e) {
        r->slots[slot].tile = tile;
        r->next_slot = (slot + 1) % TILE_SLOTS;
        *ret_hashes = r->slots[slot].hashes;
    }
    return e;
}

/* The root of 2^height hashes. */
static void fold(const uint8_t *hashes, unsigned height, uint8_t ret_hash[MERKLE_HASH_BYTES])
{
    struct merkle_tree t;
    merkle_init(&t);
    for (size_t i = 0; i < (size_t)1 << height; i++) {
        enum err e = merkle_append(&t, hashes + i * MERKLE_HASH_BYTES, NULL, NULL);
        ASSERT(!e);
    }
    merkle_root(&t, ret_hash);
}

static enum err reader_node(void *arg, unsigned level, uint64_t index,
                            uint8_t ret_hash[MERKLE_HASH_BYTES])
{
    struct tile_reader *r = arg;
    unsigned height = level % TILE_HEIGHT;
    const uint8_t *hashes;
    if (level >= MERKLE_LEVELS || index >= r->size >> level) {
        return ERR_RANGE;
    }
    uint64_t first = index << height;
    enum err e = find_tile(r, level / TILE_HEIGHT, first / TILE_WIDTH, &hashes);
    if (!e) {
        fold(hashes + first % TILE_WIDTH * MERKLE_HASH_BYTES, height, ret_hash);
    }
    return e;
}

struct merkle_source tile_reader_source(struct tile_reader *r)
{
    return (struct merkle_source){reader_node, r};
}
