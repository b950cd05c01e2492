/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/io.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err system_read_file(void *context, const char *path, struct buf *out)
{
    (void)context;
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return err_from_errno(errno);
    }
    enum err e = ERR_OK;
    for (;;) {
        char block[16384];
        errno = 0;
        size_t n = fread(block, 1, sizeof(block), f);
        if (n == 0) {
            /* A directory opens but does not read. */
            e = ferror(f) ? (errno == EISDIR ? ERR_UNSUPPORTED : ERR_IO) : ERR_OK;
            break;
        }
        if (out->bytes_max > 0 && n > out->bytes_max - out->n) {
            e = ERR_LIMIT;
            break;
        }
        buf_add(out, block, n);
        if (out->is_failed) {
            e = ERR_NOMEM;
            break;
        }
    }
    (void)fclose(f);
    return e;
}

static enum err system_glob(void *context, const char *pattern,
                            enum err (*on_path)(void *arg, const char *path), void *arg)
{
    (void)context;
    glob_t found;
    memset(&found, 0, sizeof(found));
    int result = glob(pattern, 0, NULL, &found);
    enum err e = ERR_OK;
    if (result == GLOB_NOSPACE) {
        e = ERR_NOMEM;
    } else if (result == GLOB_ABORTED) {
        e = ERR_IO;
    }
    for (size_t i = 0; e == ERR_OK && result == 0 && i < found.gl_pathc; i++) {
        e = on_path(arg, found.gl_pathv[i]);
    }
    globfree(&found);
    return e;
}

static const char *system_get_env(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

const struct conf_io conf_io_system = {
    .context = NULL,
    .read_file = system_read_file,
    .glob = system_glob,
    .get_env = system_get_env,
};
