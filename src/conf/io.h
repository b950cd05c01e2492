/* SPDX-License-Identifier: Apache-2.0 */
/* How conf reaches files and the environment: replaceable, so that tests and fuzzers bring their
 * own. The functions run only while settings are loaded. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct conf_io {
    void *context;

    /* Appends the whole file to `out`. ERR_NOT_FOUND, ERR_ACCESS, ERR_IO, ERR_NOMEM, and ERR_LIMIT
     * where the file is longer than `out->bytes_max`. */
    enum err (*read_file)(void *context, const char *path, struct buf *out);

    /* Calls `on_path` for each file that matches `pattern`, sorted by name; stops at its first
     * error and returns it. No match is ERR_OK. */
    enum err (*glob)(void *context, const char *pattern,
                     enum err (*on_path)(void *arg, const char *path), void *arg);

    /* Value of an environment variable, or NULL. */
    const char *(*get_env)(void *context, const char *name);
};

/* The files and the environment of this process. */
extern const struct conf_io conf_io_system;
