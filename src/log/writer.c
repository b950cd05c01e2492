/* SPDX-License-Identifier: Apache-2.0 */
#include "log/writer.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <time.h>

#include "base/assert.h"
#include "base/mem.h"
#include "log/log_file.h"
#include "log/writer_int.h"

#define WRITER_MAGIC 0x77726974u
#define FLUSH_NS 1000000000u
#define CACHE_LINE 64

/*
 * A ring with one writer at each end. Buffers tail to head-1 are on their way to the disk; buffer
 * head is being filled. The counters only grow; a buffer's place is its number modulo the count.
 */
struct writer_producer {
    struct writer *writer;
    char *data;
    size_t *lengths;
    size_t fill;
    uint64_t first_ns; /* when the first line of the current buffer came */
    unsigned buffer_count;
    _Atomic uint64_t head;    /* written by the loop */
    _Atomic uint64_t dropped; /* written by the loop */
    char apart[CACHE_LINE];   /* what the thread writes is on another line */
    _Atomic uint64_t tail;    /* written by the thread */
};

struct writer {
    uint32_t magic;
    struct writer_file file; /* of the thread, apart from its counters */
    uint64_t rotate_bytes;
    uint64_t rotate_age_ms;
    struct writer_producer **producers;
    unsigned producer_count;
    pthread_t thread;
    bool has_thread;
    sem_t wake; /* posting never blocks, unlike a mutex */
    atomic_bool is_stopping;
    atomic_bool must_reopen;
    atomic_bool must_rotate;
    pthread_mutex_t sync_lock;
    pthread_cond_t sync_changed;
    uint64_t sync_wanted;
    uint64_t sync_done;
};

void writer_settings_default(struct writer_settings *ret_settings)
{
    *ret_settings = (struct writer_settings){
        .keep_count = 10, .producer_count = 1, .buffer_count = 8, .is_compressed = true};
}

/* The thread */

static bool writer_is_rotation_due(const struct writer *w)
{
    const struct writer_file *file = &w->file;
    if (!file->path || file->bytes == 0) {
        return false;
    }
    bool is_big = w->rotate_bytes > 0 && file->bytes >= w->rotate_bytes;
    bool is_old = w->rotate_age_ms > 0 &&
                  log_file_monotonic_ns() - file->opened_ns >= w->rotate_age_ms * 1000000u;
    return is_big || is_old;
}

static void writer_drain_producer(struct writer *w, struct writer_producer *p)
{
    uint64_t head = atomic_load_explicit(&p->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&p->tail, memory_order_relaxed);
    while (tail != head) {
        size_t at = (size_t)(tail % p->buffer_count);
        if (writer_is_rotation_due(w)) {
            writer_file_rotate(&w->file);
        }
        writer_file_write(&w->file, str_make(p->data + at * WRITER_BUFFER_BYTES, p->lengths[at]));
        tail++;
        atomic_store_explicit(&p->tail, tail, memory_order_release);
    }
}

/* Sleeps until something is posted, or until the file is too old. */
static void writer_wait(struct writer *w)
{
    if (w->rotate_age_ms == 0 || w->file.bytes == 0) {
        while (sem_wait(&w->wake) != 0 && errno == EINTR) {
        }
        return;
    }
    uint64_t due_ns = w->file.opened_ns + w->rotate_age_ms * 1000000u;
    uint64_t now_ns = log_file_monotonic_ns();
    uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    uint64_t until_ns = log_file_time_ns() + left_ns;
    struct timespec until = {(time_t)(until_ns / 1000000000u), (long)(until_ns % 1000000000u)};
    while (sem_timedwait(&w->wake, &until) != 0 && errno == EINTR) {
    }
}

static uint64_t writer_sync_wanted(struct writer *w)
{
    pthread_mutex_lock(&w->sync_lock);
    uint64_t wanted = w->sync_wanted;
    pthread_mutex_unlock(&w->sync_lock);
    return wanted;
}

static void writer_sync_finish(struct writer *w, uint64_t wanted)
{
    pthread_mutex_lock(&w->sync_lock);
    w->sync_done = wanted;
    pthread_cond_broadcast(&w->sync_changed);
    pthread_mutex_unlock(&w->sync_lock);
}

static void *writer_main(void *argument)
{
    struct writer *w = argument;
    for (;;) {
        /* Read before the work, so that what was asked for before is covered by it. */
        uint64_t wanted = writer_sync_wanted(w);
        bool is_stopping = atomic_load(&w->is_stopping);
        for (unsigned i = 0; i < w->producer_count; i++) {
            writer_drain_producer(w, w->producers[i]);
        }
        if (atomic_exchange(&w->must_reopen, false)) {
            writer_file_reopen(&w->file);
        }
        if (atomic_exchange(&w->must_rotate, false) || writer_is_rotation_due(w)) {
            writer_file_rotate(&w->file);
        }
        if (writer_file_work(&w->file)) {
            continue; /* one slice, then look at the queues again */
        }
        writer_sync_finish(w, wanted);
        if (is_stopping) {
            return NULL;
        }
        writer_wait(w);
    }
}

/* Setting up and ending */

static void writer_producer_destroy(struct writer_producer *p)
{
    if (p) {
        mem_free(p->data);
        mem_free(p->lengths);
        mem_free(p);
    }
}

static struct writer_producer *writer_producer_create(struct writer *w, unsigned buffer_count)
{
    struct writer_producer *p = mem_zalloc(1, sizeof(*p));
    if (!p) {
        return NULL;
    }
    p->writer = w;
    p->buffer_count = buffer_count;
    p->data = mem_zalloc(buffer_count, WRITER_BUFFER_BYTES);
    p->lengths = mem_zalloc(buffer_count, sizeof(*p->lengths));
    if (!p->data || !p->lengths) {
        writer_producer_destroy(p);
        return NULL;
    }
    return p;
}

/* Starts the thread with all signals blocked: they belong to the loops. */
static enum err writer_start(struct writer *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&w->thread, NULL, writer_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->has_thread = status == 0;
    return w->has_thread ? ERR_OK : err_from_errno(status);
}

enum err writer_create(const struct writer_settings *settings, struct writer **ret_writer)
{
    if (settings->producer_count < 1 || settings->producer_count > WRITER_PRODUCERS_MAX ||
        settings->buffer_count < 2) {
        return ERR_RANGE;
    }
    struct writer *w = mem_zalloc(1, sizeof(*w));
    if (!w) {
        return ERR_NOMEM;
    }
    w->magic = WRITER_MAGIC;
    w->file.fd = -1;
    w->rotate_bytes = settings->rotate_bytes;
    w->rotate_age_ms = settings->rotate_age_ms;
    sem_init(&w->wake, 0, 0);
    pthread_mutex_init(&w->sync_lock, NULL);
    pthread_cond_init(&w->sync_changed, NULL);
    enum err e = ERR_NOMEM;
    w->producers = mem_zalloc(settings->producer_count, sizeof(struct writer_producer *));
    if (!w->producers) {
        goto fail;
    }
    for (unsigned i = 0; i < settings->producer_count; i++) {
        w->producers[i] = writer_producer_create(w, settings->buffer_count);
        w->producer_count = i + 1;
        if (!w->producers[i]) {
            goto fail;
        }
    }
    e = writer_file_open(&w->file, settings);
    if (!e) {
        e = writer_start(w);
    }
    if (e) {
        goto fail;
    }
    *ret_writer = w;
    return ERR_OK;
fail:
    writer_destroy(w);
    return e;
}

void writer_destroy(struct writer *w)
{
    if (!w) {
        return;
    }
    ASSERT_MAGIC(w, WRITER_MAGIC);
    if (w->has_thread) {
        atomic_store(&w->is_stopping, true);
        sem_post(&w->wake);
        pthread_join(w->thread, NULL);
    }
    for (unsigned i = 0; i < w->producer_count; i++) {
        struct writer_producer *p = w->producers[i];
        if (p && p->fill > 0) {
            size_t at = (size_t)(atomic_load(&p->head) % p->buffer_count);
            writer_file_write(&w->file, str_make(p->data + at * WRITER_BUFFER_BYTES, p->fill));
        }
        writer_producer_destroy(p);
    }
    writer_file_close(&w->file);
    mem_free(w->producers);
    pthread_cond_destroy(&w->sync_changed);
    pthread_mutex_destroy(&w->sync_lock);
    sem_destroy(&w->wake);
    w->magic = 0;
    mem_free(w);
}

/* The side of the loops */

struct writer_producer *writer_producer(struct writer *w, unsigned index)
{
    ASSERT(index < w->producer_count);
    return w->producers[index];
}

/* Passes the current buffer on. False where no other is free. */
static bool writer_hand_over(struct writer_producer *p)
{
    uint64_t head = atomic_load_explicit(&p->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&p->tail, memory_order_acquire);
    if (head + 1 - tail >= p->buffer_count) {
        return false;
    }
    p->lengths[head % p->buffer_count] = p->fill;
    p->fill = 0;
    atomic_store_explicit(&p->head, head + 1, memory_order_release);
    sem_post(&p->writer->wake);
    return true;
}

bool writer_add(struct writer_producer *p, struct str line, uint64_t now_ns)
{
    bool has_room = line.n <= WRITER_BUFFER_BYTES &&
                    (line.n <= WRITER_BUFFER_BYTES - p->fill || writer_hand_over(p));
    if (!has_room) {
        uint64_t dropped = atomic_load_explicit(&p->dropped, memory_order_relaxed);
        atomic_store_explicit(&p->dropped, dropped + 1, memory_order_relaxed);
        return false;
    }
    if (p->fill == 0) {
        p->first_ns = now_ns;
    }
    uint64_t head = atomic_load_explicit(&p->head, memory_order_relaxed);
    char *buffer = p->data + (size_t)(head % p->buffer_count) * WRITER_BUFFER_BYTES;
    if (line.n > 0) {
        memcpy(buffer + p->fill, line.p, line.n);
    }
    p->fill += line.n;
    return true;
}

void writer_tick(struct writer_producer *p, uint64_t now_ns)
{
    if (p->fill > 0 && now_ns - p->first_ns >= FLUSH_NS) {
        writer_hand_over(p);
    }
}

void writer_flush(struct writer_producer *p)
{
    if (p->fill > 0) {
        writer_hand_over(p);
    }
}

void writer_reopen(struct writer *w)
{
    atomic_store(&w->must_reopen, true);
    sem_post(&w->wake);
}

void writer_rotate(struct writer *w)
{
    atomic_store(&w->must_rotate, true);
    sem_post(&w->wake);
}

void writer_sync(struct writer *w)
{
    pthread_mutex_lock(&w->sync_lock);
    uint64_t wanted = ++w->sync_wanted;
    sem_post(&w->wake);
    while (w->sync_done < wanted) {
        pthread_cond_wait(&w->sync_changed, &w->sync_lock);
    }
    pthread_mutex_unlock(&w->sync_lock);
}

void writer_stats(const struct writer *w, struct writer_stats *ret_stats)
{
    struct writer_stats stats = {
        .bytes_lost = atomic_load_explicit(&w->file.bytes_lost, memory_order_relaxed),
        .bytes_written = atomic_load_explicit(&w->file.bytes_written, memory_order_relaxed),
        .rotations = atomic_load_explicit(&w->file.rotations, memory_order_relaxed),
    };
    for (unsigned i = 0; i < w->producer_count; i++) {
        stats.lines_dropped +=
            atomic_load_explicit(&w->producers[i]->dropped, memory_order_relaxed);
    }
    *ret_stats = stats;
}
