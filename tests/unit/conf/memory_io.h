/* SPDX-License-Identifier: Apache-2.0 */
/* Files and variables that live in the test. */
#pragma once

#include <fnmatch.h>
#include <string.h>

#include "conf/io.h"

struct memory_file {
    const char *path;
    const char *text;
};

struct memory_world {
    const struct memory_file *files;     /* sorted, ends with a NULL path */
    const struct memory_file *variables; /* ends with a NULL path */
};

static inline enum err memory_read_file(void *context, const char *path, struct buf *out)
{
    const struct memory_world *w = context;
    for (const struct memory_file *f = w->files; f != NULL && f->path != NULL; f++) {
        if (strcmp(f->path, path) == 0) {
            buf_add_str(out, str_of(f->text));
            return out->is_failed ? ERR_NOMEM : ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

static inline enum err memory_glob(void *context, const char *pattern,
                                   enum err (*on_path)(void *arg, const char *path), void *arg)
{
    const struct memory_world *w = context;
    enum err e = ERR_OK;
    for (const struct memory_file *f = w->files; e == ERR_OK && f != NULL && f->path != NULL; f++) {
        if (fnmatch(pattern, f->path, FNM_PATHNAME) == 0) {
            e = on_path(arg, f->path);
        }
    }
    return e;
}

static inline const char *memory_get_env(void *context, const char *name)
{
    const struct memory_world *w = context;
    for (const struct memory_file *v = w->variables; v != NULL && v->path != NULL; v++) {
        if (strcmp(v->path, name) == 0) {
            return v->text;
        }
    }
    return NULL;
}

static inline struct conf_io memory_io(struct memory_world *w)
{
    return (struct conf_io){w, memory_read_file, memory_glob, memory_get_env};
}
