/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files of one loop: descriptor, facts, response fields and, for small ones, the bytes with
 * a ready-made head. An entry is looked at again when it is a second old, so nothing stale is
 * served for longer. What is missing is remembered too. Entries live until they are evicted or
 * their site goes; a caller uses one only until it returns to the loop.
 */
#pragma once

#include "base/arena.h"
#include "base/list.h"
#include "edge/compress.h"
#include "edge/site.h"
#include "http/etag.h"
#include "net/exchange.h"
#include "os/file.h"

#define FILE_CACHE_CODINGS 3 /* enum coding_choice */

enum file_kind {
    FILE_MISSING,
    FILE_FORBIDDEN,
    FILE_DIRECTORY,
    FILE_REGULAR,
};

struct file_entry {
    struct file_entry *next; /* in the bucket */
    struct list lru;
    uint64_t hash;
    uint64_t owner; /* site generation and route */
    struct str name;
    uint64_t checked_ms;
    enum file_kind kind;
    struct file_info info;
    struct exchange_file *file;
    struct arena arena;
    struct str type; /* with charset; empty = unknown */
    struct str etag;
    struct str last_modified;
    bool is_compressible;
    uint8_t is_type_wanted; /* by the route's list of types to compress: 0 unknown, 1 no, 2 yes */
    uint8_t siblings;       /* bit per enum coding_choice: name.gz and so on exist */
    bool has_siblings_checked;
    size_t memory_bytes;
    struct exchange_ready ready;         /* small files: body and head */
    struct exchange_ready sibling_ready; /* the same in place of the file without the suffix */
    struct chunk *coded[FILE_CACHE_CODINGS];
    struct exchange_ready coded_ready[FILE_CACHE_CODINGS];
};

struct file_cache;

/* `bytes_max`: bodies kept in memory; `entry_count_max`: open files. */
enum err file_cache_create(size_t entry_count_max, size_t bytes_max,
                           struct file_cache **ret_cache) MUST_CHECK;
void file_cache_destroy(struct file_cache *c);

/* The entry for the file `name` (relative, no leading slash) below the route's root; `is_secure`:
 * for answers over TLS, whose fields differ. ERR_NOMEM,
 * ERR_LIMIT (no descriptors). */
enum err file_cache_get(struct file_cache *c, const struct site_route *route, bool is_secure,
                        struct str name, uint64_t now_ms, struct file_entry **ret_entry) MUST_CHECK;

/* Notes that `bytes` of memory came to hang on the entry, evicting others where needed. */
void file_cache_account(struct file_cache *c, struct file_entry *e, size_t bytes);

/* Forgets everything (the site changed). */
void file_cache_clear(struct file_cache *c);
