/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/replay_window.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#define WINDOW_MAGIC 0x7265706cu
#define ENTRY_COUNT_MAX (64u * 1024u * 1024u)

/* Open addressing over 64-bit keyed hashes; 0 is an empty slot. Two ids with one hash make the
 * second look like a replay, which is the harmless direction. */
struct generation {
    uint64_t *hashes;
    size_t count;
};

struct replay_window {
    uint32_t magic;
    atomic_uint ref_count;
    pthread_mutex_t lock;
    struct generation now; /* entries since `start_s` */
    struct generation old; /* entries of the window before it */
    size_t entry_max;
    size_t slot_count; /* a power of two, at least twice entry_max */
    uint32_t window_ms;
    int64_t start_s;
    int64_t held_until_s;
    struct replay_counts counts;
};

enum err replay_window_create(size_t entry_max, uint32_t window_ms,
                              struct replay_window **ret_window)
{
    if (entry_max == 0 || entry_max > ENTRY_COUNT_MAX || window_ms == 0) {
        return ERR_RANGE;
    }
    struct replay_window *w = mem_zalloc(1, sizeof(*w));
    if (!w) {
        return ERR_NOMEM;
    }
    w->magic = WINDOW_MAGIC;
    atomic_init(&w->ref_count, 1);
    pthread_mutex_init(&w->lock, NULL);
    w->entry_max = entry_max;
    w->window_ms = window_ms;
    w->slot_count = 4;
    while (w->slot_count < entry_max * 2) {
        w->slot_count *= 2;
    }
    w->now.hashes = mem_zalloc(w->slot_count, sizeof(uint64_t));
    w->old.hashes = mem_zalloc(w->slot_count, sizeof(uint64_t));
    if (!w->now.hashes || !w->old.hashes) {
        replay_window_unref(w);
        return ERR_NOMEM;
    }
    *ret_window = w;
    return ERR_OK;
}

struct replay_window *replay_window_ref(struct replay_window *w)
{
    ASSERT_MAGIC(w, WINDOW_MAGIC);
    atomic_fetch_add_explicit(&w->ref_count, 1, memory_order_relaxed);
    return w;
}

void replay_window_unref(struct replay_window *w)
{
    if (!w || atomic_fetch_sub_explicit(&w->ref_count, 1, memory_order_acq_rel) != 1) {
        return;
    }
    ASSERT_MAGIC(w, WINDOW_MAGIC);
    w->magic = 0;
    pthread_mutex_destroy(&w->lock);
    mem_free(w->now.hashes);
    mem_free(w->old.hashes);
    mem_free(w);
}

uint32_t replay_window_ms(const struct replay_window *w)
{
    return w->window_ms;
}

void replay_window_hold(struct replay_window *w, int64_t until_s)
{
    w->held_until_s = until_s;
}

static void generation_clear(struct generation *g, size_t slot_count)
{
    if (g->count) {
        memset(g->hashes, 0, slot_count * sizeof(*g->hashes));
    }
    g->count = 0;
}

static void window_move(struct replay_window *w, int64_t now_s)
{
    /* One second more, because whole seconds are all the precision there is. */
    int64_t window_s = (w->window_ms + 999) / 1000 + 1;
    if (now_s - w->start_s < window_s) {
        return;
    }
    struct generation spare = w->old;
    bool is_old_useful = now_s - w->start_s < 2 * window_s;
    w->old = w->now;
    w->now = spare;
    generation_clear(&w->now, w->slot_count);
    if (!is_old_useful) {
        generation_clear(&w->old, w->slot_count);
    }
    w->start_s = now_s;
}

/* The slot of `hash`, or the empty one where it belongs. */
static uint64_t *generation_slot(const struct generation *g, size_t slot_count, uint64_t hash)
{
    size_t at = (size_t)hash & (slot_count - 1);
    while (g->hashes[at] && g->hashes[at] != hash) {
        at = (at + 1) & (slot_count - 1);
    }
    return &g->hashes[at];
}

enum err replay_window_add(struct replay_window *w, struct str id, int64_t now_s)
{
    uint64_t hash = hash_str(id);
    enum err e = ERR_OK;
    hash = hash ? hash : 1;
    pthread_mutex_lock(&w->lock);
    window_move(w, now_s);
    uint64_t *slot = generation_slot(&w->now, w->slot_count, hash);
    if (*slot || *generation_slot(&w->old, w->slot_count, hash)) {
        w->counts.seen++;
        e = ERR_EXISTS;
    } else if (w->now.count == w->entry_max || now_s < w->held_until_s) {
        w->counts.full++;
        e = ERR_LIMIT;
    } else {
        *slot = hash;
        w->now.count++;
    }
    pthread_mutex_unlock(&w->lock);
    return e;
}

struct replay_counts replay_window_counts(struct replay_window *w)
{
    pthread_mutex_lock(&w->lock);
    struct replay_counts counts = w->counts;
    pthread_mutex_unlock(&w->lock);
    return counts;
}
