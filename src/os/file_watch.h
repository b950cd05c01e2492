/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices that files may have changed: that they were written, replaced by a rename, removed, or
 * that a symbolic link on the way to them points elsewhere now. A hint, not a proof: looking at the
 * files says more. What another machine changes on a network file system is not seen, nor is the
 * renaming of a directory far above the file.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct file_watch;

/* Watches nothing yet. ERR_NOMEM; ERR_LIMIT: the user has too many. */
enum err file_watch_create(struct file_watch **ret_watch) MUST_CHECK;
void file_watch_destroy(struct file_watch *w);

/* Adds the file `path`, which need not be there. Links are followed as they are now: where they
 * change, a new watch is due. ERR_LIMIT: too many links or too long a path; ERR_ACCESS: a directory
 * cannot be read; ERR_NOMEM. What was added before stays. */
enum err file_watch_add(struct file_watch *w, const char *path) MUST_CHECK;

/* Readable when there is something to take. Lives as long as `w`. */
int file_watch_fd(const struct file_watch *w);

/* Takes what was noticed, without waiting: whether it concerns one of the files. */
bool file_watch_take(struct file_watch *w);
