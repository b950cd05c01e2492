/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of the logs, in one place. Paths are NUL-terminated. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Opens for appending, created with mode 0640, close-on-exec; never a terminal's. */
enum err log_file_open(const char *path, int *ret_fd) MUST_CHECK;

/* Opens an existing regular file for reading, or creates (empties) one for writing. */
enum err log_file_open_read(const char *path, int *ret_fd) MUST_CHECK;
enum err log_file_open_new(const char *path, int *ret_fd) MUST_CHECK;

/* Closes `fd` unless it is negative. */
void log_file_close(int fd);

/* Writes all of `bytes`, also over short writes and signals. Returns how many were written: fewer
 * than given only after an error. */
size_t log_file_write(int fd, struct str bytes);

/* Reads up to `n` bytes; 0 in `*ret_n` is the end. */
enum err log_file_read(int fd, char *to, size_t n, size_t *ret_n) MUST_CHECK;

/* Size of an open regular file, 0 for everything else. */
uint64_t log_file_size(int fd);

bool log_file_exists(const char *path);

/* ERR_NOT_FOUND where there is nothing of the old name. */
enum err log_file_rename(const char *from, const char *to) MUST_CHECK;
void log_file_remove(const char *path);

/* Nanoseconds since 1970, and of a clock that never jumps. */
uint64_t log_file_time_ns(void);
uint64_t log_file_monotonic_ns(void);
