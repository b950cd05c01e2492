/* SPDX-License-Identifier: Apache-2.0 */
#include "log/writer_int.h"

#define ZSTD_STATIC_LINKING_ONLY
#include <stdio.h>
#include <zstd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "log/log_file.h"

#define STDOUT_FD 1
#define SLICE_BYTES (128 * 1024)
#define COMPRESSION_LEVEL 3
#define NAME_SPARE 32 /* ".4294967295.zst.tmp" and NUL */

/* A rotated file on its way to path.1.zst, one slice at a time. */
struct writer_compression {
    ZSTD_CCtx *context;
    int from_fd;
    int to_fd;
    char in[SLICE_BYTES];
    char out[SLICE_BYTES];
};

static void *writer_zstd_alloc(void *opaque, size_t size)
{
    (void)opaque;
    return mem_alloc(size);
}

static void writer_zstd_free(void *opaque, void *p)
{
    (void)opaque;
    mem_free(p);
}

enum err writer_file_open(struct writer_file *file, const struct writer_settings *settings)
{
    *file = (struct writer_file){.fd = STDOUT_FD,
                                 .keep_count = settings->keep_count,
                                 .is_compressed = settings->is_compressed,
                                 .on_rotated = settings->on_rotated,
                                 .user = settings->user};
    if (settings->path.n == 0) {
        return ERR_OK;
    }
    file->fd = -1;
    file->name_bytes = settings->path.n + NAME_SPARE;
    file->path = mem_dup(settings->path.p, settings->path.n);
    file->name_from = mem_alloc(file->name_bytes);
    file->name_to = mem_alloc(file->name_bytes);
    if (!file->path || !file->name_from || !file->name_to) {
        return ERR_NOMEM;
    }
    enum err e = log_file_open(file->path, &file->fd);
    if (!e) {
        file->bytes = log_file_size(file->fd);
        file->opened_ns = log_file_monotonic_ns();
    }
    return e;
}

void writer_file_close(struct writer_file *file)
{
    while (writer_file_work(file)) {
    }
    if (file->fd != STDOUT_FD) {
        log_file_close(file->fd);
    }
    mem_free(file->path);
    mem_free(file->name_from);
    mem_free(file->name_to);
    file->path = NULL;
}

void writer_file_write(struct writer_file *file, struct str bytes)
{
    if (file->is_torn && log_file_write(file->fd, STR("\n")) == 1) {
        file->is_torn = false;
        file->bytes++;
    }
    size_t done = log_file_write(file->fd, bytes);
    file->is_torn |= done > 0 && done < bytes.n && bytes.p[done - 1] != '\n';
    file->bytes += done;
    atomic_fetch_add_explicit(&file->bytes_written, done, memory_order_relaxed);
    atomic_fetch_add_explicit(&file->bytes_lost, bytes.n - done, memory_order_relaxed);
}

void writer_file_reopen(struct writer_file *file)
{
    int fd;
    if (!file->path || log_file_open(file->path, &fd)) {
        return;
    }
    log_file_close(file->fd);
    file->fd = fd;
    file->is_torn = false;
    file->bytes = log_file_size(fd);
    file->opened_ns = log_file_monotonic_ns();
}

static void writer_name(const struct writer_file *file, char *to, unsigned index,
                        const char *ending)
{
    int n = snprintf(to, file->name_bytes, "%s.%u%s", file->path, index, ending);
    ASSERT(n > 0 && (size_t)n < file->name_bytes);
}

/* Moves the rotated file `index` one further, whichever form it has. */
static void writer_shift(struct writer_file *file, unsigned index, const char *ending)
{
    writer_name(file, file->name_from, index, ending);
    writer_name(file, file->name_to, index + 1, ending);
    /* A missing file is usual: only one of the two forms is there. */
    enum err e = log_file_rename(file->name_from, file->name_to);
    (void)e;
}

/* Removes file `index` in both forms; true where one was there. */
static bool writer_remove(struct writer_file *file, unsigned index)
{
    static const char *const endings[] = {"", ".zst"};
    bool was_there = false;
    for (size_t i = 0; i < COUNT_OF(endings); i++) {
        writer_name(file, file->name_from, index, endings[i]);
        was_there |= log_file_exists(file->name_from);
        log_file_remove(file->name_from);
    }
    return was_there;
}

static void writer_compression_end(struct writer_compression *c)
{
    ZSTD_freeCCtx(c->context);
    log_file_close(c->from_fd);
    log_file_close(c->to_fd);
    mem_free(c);
}

/* NULL where compressing is impossible now: the file then stays as it is. */
static struct writer_compression *writer_compression_begin(struct writer_file *file)
{
    struct writer_compression *c = mem_alloc(sizeof(*c));
    if (!c) {
        return NULL;
    }
    c->from_fd = -1;
    c->to_fd = -1;
    c->context =
        ZSTD_createCCtx_advanced((ZSTD_customMem){writer_zstd_alloc, writer_zstd_free, NULL});
    writer_name(file, file->name_from, 1, "");
    writer_name(file, file->name_to, 1, ".zst.tmp");
    bool is_ready = c->context &&
                    !ZSTD_isError(ZSTD_CCtx_setParameter(c->context, ZSTD_c_compressionLevel,
                                                         COMPRESSION_LEVEL)) &&
                    !ZSTD_isError(ZSTD_CCtx_setParameter(c->context, ZSTD_c_checksumFlag, 1)) &&
                    log_file_open_read(file->name_from, &c->from_fd) == ERR_OK &&
                    log_file_open_new(file->name_to, &c->to_fd) == ERR_OK;
    if (!is_ready) {
        writer_compression_end(c);
        return NULL;
    }
    return c;
}

/* The rotation is complete: tells who wants to know. */
static void writer_rotated(struct writer_file *file, const char *ending)
{
    atomic_fetch_add_explicit(&file->rotations, 1, memory_order_relaxed);
    writer_name(file, file->name_from, 1, ending);
    if (file->on_rotated) {
        file->on_rotated(file->user, str_of(file->name_from));
    }
}

/* Puts the compressed file in place of the plain one, or removes the attempt. */
static void writer_compression_finish(struct writer_file *file, bool is_good)
{
    writer_compression_end(file->compression);
    file->compression = NULL;
    writer_name(file, file->name_from, 1, ".zst.tmp");
    writer_name(file, file->name_to, 1, ".zst");
    is_good = is_good && log_file_rename(file->name_from, file->name_to) == ERR_OK;
    if (is_good) {
        writer_name(file, file->name_from, 1, "");
    }
    log_file_remove(file->name_from);
    writer_rotated(file, is_good ? ".zst" : "");
}

bool writer_file_work(struct writer_file *file)
{
    struct writer_compression *c = file->compression;
    size_t n = 0;
    if (!c) {
        return false;
    }
    if (log_file_read(c->from_fd, c->in, sizeof(c->in), &n)) {
        writer_compression_finish(file, false);
        return true;
    }
    ZSTD_EndDirective directive = n > 0 ? ZSTD_e_continue : ZSTD_e_end;
    ZSTD_inBuffer in = {c->in, n, 0};
    for (bool is_done = false; !is_done;) {
        ZSTD_outBuffer out = {c->out, sizeof(c->out), 0};
        size_t left = ZSTD_compressStream2(c->context, &out, &in, directive);
        if (ZSTD_isError(left) || log_file_write(c->to_fd, str_make(c->out, out.pos)) != out.pos) {
            writer_compression_finish(file, false);
            return true;
        }
        is_done = n > 0 ? in.pos == in.size : left == 0;
    }
    if (n == 0) {
        writer_compression_finish(file, true);
    }
    return true;
}

void writer_file_rotate(struct writer_file *file)
{
    int fd;
    while (writer_file_work(file)) {
    }
    if (!file->path) {
        return;
    }
    unsigned keep = file->keep_count > 0 ? file->keep_count : 1;
    for (unsigned i = keep; writer_remove(file, i); i++) {
    }
    for (unsigned i = keep - 1; i > 0; i--) {
        writer_shift(file, i, "");
        writer_shift(file, i, ".zst");
    }
    writer_name(file, file->name_to, 1, "");
    enum err e = log_file_rename(file->path, file->name_to);
    if (!e) {
        e = log_file_open(file->path, &fd);
    }
    if (e) {
        /* Without a new file the old one goes on, under its old name if that can be had. */
        e = log_file_rename(file->name_to, file->path);
        file->bytes = 0;
        file->opened_ns = log_file_monotonic_ns();
        return;
    }
    log_file_close(file->fd);
    file->fd = fd;
    file->is_torn = false;
    file->bytes = 0;
    file->opened_ns = log_file_monotonic_ns();
    if (file->keep_count == 0) {
        writer_remove(file, 1);
        writer_rotated(file, "");
        return;
    }
    file->compression = file->is_compressed ? writer_compression_begin(file) : NULL;
    if (!file->compression) {
        writer_rotated(file, "");
    }
}
