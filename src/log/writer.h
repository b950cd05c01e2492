/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries lines from the loops to a file without ever blocking a loop. Each loop has a producer:
 * a ring of 64 KiB buffers of which it fills one. A full buffer, or one that has waited for a
 * second, is handed to the writer's thread; when all buffers of a producer are on their way,
 * lines are dropped and counted. The thread writes, rotates by size and by age, compresses what
 * it rotated a slice at a time, and opens the file again on request.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define WRITER_BUFFER_BYTES 65536
#define WRITER_PRODUCERS_MAX 256

struct writer;
struct writer_producer;

/* Called in the writer's thread after a rotation is complete (compressed, old files removed);
 * `path` is the rotated file. Must not call the writer. */
typedef void (*writer_rotated_fn)(void *user, struct str path);

struct writer_settings {
    struct str path;         /* empty: stdout, never rotated */
    uint64_t rotate_bytes;   /* 0: not by size */
    uint64_t rotate_age_ms;  /* 0: not by age */
    unsigned keep_count;     /* rotated files that stay: path.1 is the newest */
    unsigned producer_count; /* 1 to WRITER_PRODUCERS_MAX */
    unsigned buffer_count;   /* per producer, at least 2 */
    bool is_compressed;      /* rotated files become path.N.zst */
    writer_rotated_fn on_rotated;
    void *user;
};

struct writer_stats {
    uint64_t lines_dropped; /* the queue was full, or a line was longer than a buffer */
    uint64_t bytes_lost;    /* the file could not be written */
    uint64_t bytes_written;
    uint64_t rotations;
};

/* Fills in the usual values: no rotation, keep 10, one producer, 8 buffers, compressed. */
void writer_settings_default(struct writer_settings *ret_settings);

/* Opens the file and starts the thread. `settings` is copied. ERR_NOMEM, ERR_RANGE, or what
 * opening the file says. */
enum err writer_create(const struct writer_settings *settings,
                       struct writer **ret_writer) MUST_CHECK;

/* Writes what all producers still hold, ends the thread, frees. No producer may be in use. */
void writer_destroy(struct writer *writer);

/* The producer of loop `index`, below `producer_count`; lives as long as the writer and belongs
 * to one thread. */
struct writer_producer *writer_producer(struct writer *writer, unsigned index);

/* Adds one line (with its newline). Never blocks; false where it was dropped. */
bool writer_add(struct writer_producer *producer, struct str line, uint64_t now_ns);

/* To be called about once a second: hands over a buffer whose first line is older than one. */
void writer_tick(struct writer_producer *producer, uint64_t now_ns);

/* Hands over whatever the producer holds, if a free buffer is there to go on with. */
void writer_flush(struct writer_producer *producer);

/* Asks the thread to open the file again (something outside moved it). Any thread. */
void writer_reopen(struct writer *writer);

/* Asks for a rotation now. Any thread. */
void writer_rotate(struct writer *writer);

/* Waits until everything handed over before has been written and requests before are done
 * (compression included). Not for loops: for shutdown, commands and tests. */
void writer_sync(struct writer *writer);

/* Sums over all producers; any thread. */
void writer_stats(const struct writer *writer, struct writer_stats *ret_stats);
