/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiles (C2SP tlog-tiles): the tree of a log as files of up to 256 hashes that never change, and
 * its entries as files of up to 256 entries. A tile of level L has the nodes of level 8 L of the
 * tree.
 */
#pragma once

#include "base/buf.h"
#include "proof/merkle.h"

#define TILE_HEIGHT 8
#define TILE_WIDTH 256
#define TILE_BYTES (TILE_WIDTH * MERKLE_HASH_BYTES)
#define TILE_LEVELS 8 /* of a log with fewer than 2^64 entries */
#define TILE_PATH_BYTES_MAX 64

struct tile {
    bool is_entries; /* a bundle of entries; its level is 0 */
    unsigned level;
    uint64_t index;
    unsigned width; /* 1 to 256 */
};

/* How wide a tile is in a log of that size; 0: it is not there. */
unsigned tile_width(unsigned level, uint64_t index, uint64_t size);

/* Writes the path, as `tile/1/x001/234.p/5`, with a NUL; returns its length. */
size_t tile_path(const struct tile *tile, char ret_path[TILE_PATH_BYTES_MAX]);

/* Reads what tile_path writes and nothing else. ERR_SYNTAX. */
enum err tile_parse(struct str path, struct tile *ret_tile) MUST_CHECK;

/* Appends an entry to a bundle. ERR_RANGE: it is longer than SWS_ENTRY_BYTES_MAX; ERR_NOMEM: no
 * room in `out`. */
enum err bundle_add(struct buf *out, struct str entry) MUST_CHECK;

/* Takes the entry in front of `*rest`. ERR_EOF: none is left; ERR_SYNTAX: it is cut off. */
enum err bundle_next(struct str *rest, struct str *ret_entry) MUST_CHECK;

/* ---- nodes out of tiles ---- */

#define TILE_SLOTS (3 * TILE_LEVELS)

/*
 * A source of nodes that loads tiles and keeps the last few, so that a proof loads each of its
 * tiles once: at most three of each level. About 200 KB.
 */
struct tile_reader {
    /* Fills in `width` hashes of a tile that the log of `size` has. */
    enum err (*load)(void *arg, const struct tile *tile, uint8_t *ret_hashes);
    void *arg;
    uint64_t size;
    unsigned next_slot;
    struct {
        struct tile tile;
        uint8_t hashes[TILE_BYTES];
    } slots[TILE_SLOTS];
};

/* A reader for the log as it was when it had `size` entries. */
void tile_reader_init(struct tile_reader *r, uint64_t size,
                      enum err (*load)(void *arg, const struct tile *tile, uint8_t *ret_hashes),
                      void *arg);

/* The source for merkle_inclusion and its neighbours; ERR_RANGE: no such node at that size. */
struct merkle_source tile_reader_source(struct tile_reader *r);
