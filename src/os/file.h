/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a site (opened beneath a root, never outside it) and files of the operator. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct file_info {
    uint64_t size;
    int64_t mtime_s;
    uint32_t mtime_ns;
    uint64_t inode;
    uint64_t device;
    bool is_regular;
    bool is_directory;
};

enum file_links {
    FILE_LINKS_OFF,    /* no symbolic link anywhere in the path */
    FILE_LINKS_INSIDE, /* links may point anywhere below the root */
    FILE_LINKS_ALL,    /* links may leave the root */
};

/* Opens a directory to serve from. The descriptor is O_PATH-like: only for file_open_beneath. */
enum err file_open_root(const char *path, int *ret_root) MUST_CHECK;

/* Opens `path` (relative, NUL-terminated, "" or "." for the root itself) for reading, beneath
 * `root`, without blocking on special files, and tells what it is. The caller refuses what is
 * neither regular nor a directory. ERR_NOT_FOUND, ERR_ACCESS (also: link policy), ERR_LIMIT. */
enum err file_open_beneath(int root, const char *path, enum file_links links,
                           struct file_info *ret_info, int *ret_fd) MUST_CHECK;

/* As above without opening the content; for revalidation. */
enum err file_info_beneath(int root, const char *path, enum file_links links,
                           struct file_info *ret_info) MUST_CHECK;

/* What an open descriptor is now. */
enum err file_info_of(int fd, struct file_info *ret_info) MUST_CHECK;

/* What is at `path`, links followed. For files of the operator. */
enum err file_info_at(const char *path, struct file_info *ret_info) MUST_CHECK;

/* `path` from the root on, without links. */
enum err file_resolve(const char *path, char ret_path[PATH_MAX]) MUST_CHECK;

/* Reads at `offset` until `n` bytes are there or the file ends (*ret_n < n then). */
enum err file_read_at(int fd, uint64_t offset, void *bytes, size_t n, size_t *ret_n) MUST_CHECK;

/* The whole file `path` behind what `into` holds; ERR_LIMIT past `bytes_max`. */
enum err file_read_all(const char *path, size_t bytes_max, struct buf *into) MUST_CHECK;

/* Makes `path` and what is missing above it, each for its owner alone. */
enum err file_make_directories(const char *path) MUST_CHECK;

/* Lets everyone pass through the directory `path`, but not list it. */
enum err file_let_through(const char *path) MUST_CHECK;

/* Gives `path` itself to the user `name`. ERR_NOT_FOUND: there is no such user. */
enum err file_give_to(const char *path, const char *name) MUST_CHECK;

/* Puts a file with `bytes` in the place of `path`: after a crash there is the old or the new one,
 * whole. `mode` as of chmod. */
enum err file_replace(const char *path, struct str bytes, unsigned mode) MUST_CHECK;

/* Removes the file `path`; ERR_OK also where there is none. */
enum err file_remove(const char *path) MUST_CHECK;

/* Holds the file `path` (made where it is missing) for this process, waiting while another one
 * does; let go by closing it. */
enum err file_lock(const char *path, int *ret_fd) MUST_CHECK;

/* A file without a name that holds `bytes` and cannot be changed any more. */
enum err file_in_memory(struct str bytes, int *ret_fd) MUST_CHECK;

/* Appends all that such a file holds; ERR_NOMEM. */
enum err file_read_memory(int fd, struct buf *into) MUST_CHECK;

/* Calls `on_entry` for each name in the directory `fd` (but . and ..) until it returns false. */
typedef bool (*file_entry_fn)(void *context, const char *name);
enum err file_list(int fd, file_entry_fn on_entry, void *context) MUST_CHECK;

void file_close(int fd);
