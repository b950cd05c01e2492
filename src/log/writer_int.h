/* SPDX-License-Identifier: Apache-2.0 */
/* The file behind a writer: written, rotated and compressed by the writer's thread only. */
#pragma once

#include <stdatomic.h>

#include "log/writer.h"

struct writer_compression;

struct writer_file {
    char *path;      /* NULL: stdout */
    char *name_from; /* scratch for rotated names, so that a rotation takes no memory */
    char *name_to;
    size_t name_bytes;
    int fd;
    bool is_torn; /* the last write stopped inside a line */
    uint64_t bytes;
    uint64_t opened_ns;
    unsigned keep_count;
    bool is_compressed;
    struct writer_compression *compression; /* NULL: nothing to do */
    writer_rotated_fn on_rotated;
    void *user;
    _Atomic uint64_t bytes_written;
    _Atomic uint64_t bytes_lost;
    _Atomic uint64_t rotations;
};

/* Opens what the settings name. A half-opened file can be closed. */
enum err writer_file_open(struct writer_file *file,
                          const struct writer_settings *settings) MUST_CHECK;

/* Finishes a compression that is under way, then frees. */
void writer_file_close(struct writer_file *file);

void writer_file_write(struct writer_file *file, struct str bytes);

/* Opens the path again; keeps the old file on failure. */
void writer_file_reopen(struct writer_file *file);

/* Moves path to path.1 and what is there one further, opens a new file, starts compressing.
 * Finishes an earlier compression first. */
void writer_file_rotate(struct writer_file *file);

/* Compresses one slice. False where there is nothing to compress. */
bool writer_file_work(struct writer_file *file);
