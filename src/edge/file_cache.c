/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/file_cache.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "http/date.h"

#define REVALIDATE_MS 1000u
#define BUCKETS 2048u

struct file_cache {
    struct list lru; /* least recent first */
    size_t entry_count;
    size_t entry_count_max;
    size_t bytes;
    size_t bytes_max;
    struct file_entry *buckets[BUCKETS];
};

enum err file_cache_create(size_t entry_count_max, size_t bytes_max, struct file_cache **ret_cache)
{
    struct file_cache *c = mem_zalloc(1, sizeof(*c));
    if (!c) {
        return ERR_NOMEM;
    }
    list_init(&c->lru);
    c->entry_count_max = entry_count_max;
    c->bytes_max = bytes_max;
    *ret_cache = c;
    return ERR_OK;
}

static void file_entry_destroy(struct file_entry *e)
{
    exchange_ready_done(&e->ready);
    exchange_ready_done(&e->sibling_ready);
    for (unsigned i = 0; i < FILE_CACHE_CODINGS; i++) {
        exchange_ready_done(&e->coded_ready[i]);
        chunk_unref(e->coded[i]);
    }
    exchange_file_unref(e->file);
    arena_done(&e->arena);
    mem_free(e);
}

static void file_cache_drop(struct file_cache *c, struct file_entry *e)
{
    struct file_entry **link = &c->buckets[e->hash % BUCKETS];
    while (*link != e) {
        link = &(*link)->next;
    }
    *link = e->next;
    list_remove(&e->lru);
    c->entry_count--;
    c->bytes -= e->memory_bytes;
    file_entry_destroy(e);
}

void file_cache_clear(struct file_cache *c)
{
    while (!list_is_empty(&c->lru)) {
        file_cache_drop(c, CONTAINER_OF(c->lru.next, struct file_entry, lru));
    }
}

void file_cache_destroy(struct file_cache *c)
{
    if (c) {
        file_cache_clear(c);
        mem_free(c);
    }
}

static struct file_entry *file_cache_oldest(struct file_cache *c, const struct file_entry *but)
{
    struct list *at = c->lru.next;
    if (at != &c->lru && at == &but->lru) {
        at = at->next;
    }
    return at == &c->lru ? NULL : CONTAINER_OF(at, struct file_entry, lru);
}

void file_cache_account(struct file_cache *c, struct file_entry *e, size_t bytes)
{
    e->memory_bytes += bytes;
    c->bytes += bytes;
    while (c->bytes > c->bytes_max || c->entry_count > c->entry_count_max) {
        struct file_entry *oldest = file_cache_oldest(c, e);
        if (!oldest) {
            return;
        }
        file_cache_drop(c, oldest);
    }
}

static bool file_is_same(const struct file_info *a, const struct file_info *b)
{
    return a->size == b->size && a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns &&
           a->inode == b->inode && a->device == b->device && a->is_regular == b->is_regular &&
           a->is_directory == b->is_directory;
}

static bool file_entry_is_fresh(const struct site_route *route, struct file_entry *e,
                                uint64_t now_ms)
{
    if (now_ms - e->checked_ms < REVALIDATE_MS) {
        return true;
    }
    struct file_info info;
    enum err err = file_info_beneath(route->root, e->name.p, site_links(route), &info);
    bool is_same;
    if (e->kind == FILE_MISSING || e->kind == FILE_FORBIDDEN) {
        is_same = err != ERR_OK && (err == ERR_ACCESS) == (e->kind == FILE_FORBIDDEN);
    } else {
        is_same = err == ERR_OK && file_is_same(&info, &e->info);
    }
    if (is_same) {
        e->checked_ms = now_ms;
        e->has_siblings_checked = false;
    }
    return is_same;
}

/* The type, the tag and the date of a regular file. */
static enum err file_entry_describe(const struct site_route *route, struct file_entry *e)
{
    char etag[HTTP_ETAG_BYTES_MAX];
    char date[HTTP_DATE_BYTES];
    const struct http_etag_source source = {
        .mtime_ns = e->info.mtime_s * 1000000000 + e->info.mtime_ns,
        .size = e->info.size,
        .inode = e->info.inode,
    };
    struct str type = media_types_find(&route->site->types, e->name);
    if (!type.p) {
        type = STR("application/octet-stream");
    }
    e->is_compressible = media_type_is_compressible(type);
    if (route->keys->charset.n && media_type_has_charset(type)) {
        e->type = arena_printf(&e->arena, STR_FMT "; charset=" STR_FMT, STR_ARG(type),
                               STR_ARG(route->keys->charset));
    } else {
        e->type = type;
    }
    http_date_format(e->info.mtime_s, date);
    e->etag = arena_str(&e->arena, http_etag_make(&source, etag));
    e->last_modified = arena_str(&e->arena, str_make(date, sizeof(date)));
    return e->type.p && e->etag.p && e->last_modified.p ? ERR_OK : ERR_NOMEM;
}

static enum err file_entry_open(const struct site_route *route, struct file_entry *e)
{
    int fd;
    enum err err = file_open_beneath(route->root, e->name.p, site_links(route), &e->info, &fd);
    if (err == ERR_LIMIT || err == ERR_NOMEM) {
        return err;
    }
    if (err) {
        e->kind = err == ERR_ACCESS ? FILE_FORBIDDEN : FILE_MISSING;
        return ERR_OK;
    }
    if (!e->info.is_regular && !e->info.is_directory) {
        file_close(fd);
        e->kind = FILE_FORBIDDEN;
        return ERR_OK;
    }
    e->file = exchange_file_create(fd);
    if (!e->file) {
        file_close(fd);
        return ERR_NOMEM;
    }
    e->kind = e->info.is_directory ? FILE_DIRECTORY : FILE_REGULAR;
    return e->kind == FILE_REGULAR ? file_entry_describe(route, e) : ERR_OK;
}

enum err file_cache_get(struct file_cache *c, const struct site_route *route, bool is_secure,
                        struct str name, uint64_t now_ms, struct file_entry **ret_entry)
{
    uint64_t owner = route->site->generation << 32 | (uint64_t)route->id << 1 | is_secure;
    uint64_t hash = hash_join(hash_str(name), owner);
    struct file_entry **bucket = &c->buckets[hash % BUCKETS];
    for (struct file_entry *e = *bucket; e; e = e->next) {
        if (e->hash == hash && e->owner == owner && str_eq(e->name, name)) {
            if (!file_entry_is_fresh(route, e, now_ms)) {
                file_cache_drop(c, e);
                break;
            }
            list_remove(&e->lru);
            list_push_back(&c->lru, &e->lru);
            *ret_entry = e;
            return ERR_OK;
        }
    }
    struct file_entry *e = mem_zalloc(1, sizeof(*e));
    if (!e) {
        return ERR_NOMEM;
    }
    e->hash = hash;
    e->owner = owner;
    e->checked_ms = now_ms;
    list_init(&e->lru);
    arena_init(&e->arena, 512, 0);
    e->name = arena_str(&e->arena, name);
    enum err err = e->name.p ? file_entry_open(route, e) : ERR_NOMEM;
    if (err) {
        file_entry_destroy(e);
        return err;
    }
    e->next = *bucket;
    *bucket = e;
    list_push_back(&c->lru, &e->lru);
    c->entry_count++;
    file_cache_account(c, e, sizeof(*e));
    *ret_entry = e;
    return ERR_OK;
}
