/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person wrote wrongly: where, one sentence, the line, and how to put it right. A list of
 * diagnostics owns all of its text and outlives the configuration that it speaks about.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

/* One text that settings were read from. Lives in the arena of the settings. */
struct conf_source {
    const char *name; /* path as the person gave it, or the name of a text */
    struct str dir;   /* directory of `name` with the final slash; empty = where we run */
    struct str text;
    const uint32_t *line_starts; /* offset of each line */
    size_t line_count;
};

/* Where a value came from. `source` NULL: the default of the schema. */
struct conf_origin {
    const struct conf_source *source;
    uint32_t line;   /* from 1 */
    uint32_t column; /* from 1, in characters */
};

struct diag {
    struct str file;
    uint32_t line; /* 0 where the whole file is meant */
    uint32_t column;
    struct str sentence;
    struct str source_line; /* without its line end */
    struct str expected;    /* what may stand there, or empty */
    struct str nearest;     /* the nearest valid name, or empty */
};

enum { DIAG_COUNT_MAX = 20 };

struct diag_list {
    struct arena arena;
    struct diag items[DIAG_COUNT_MAX];
    size_t count;
    size_t dropped_count;  /* found after the list was full */
    bool is_out_of_memory; /* a diagnostic was lost for want of memory */
};

void diag_list_init(struct diag_list *list);
void diag_list_done(struct diag_list *list);

/* Adds a diagnostic at `at`. Returns it, so that `expected` and `nearest` can be set with the
 * functions below, or NULL where it was dropped (both functions then do nothing). */
struct diag *diag_add(struct diag_list *list, struct conf_origin at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As diag_add for a file that could not be read at all. */
struct diag *diag_add_file(struct diag_list *list, const char *file, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets what may stand there; copied. */
void diag_set_expected(struct diag_list *list, struct diag *d, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets the nearest valid name; copied. */
void diag_set_nearest(struct diag_list *list, struct diag *d, struct str nearest);

/* Puts the diagnostics of each file in the order of its lines. */
void diag_list_sort(struct diag_list *list);

/* Appends `file:line:col: sentence`, the line with a caret under it, what was expected and
 * `did you mean "x"?`, each on its own line. */
void diag_print(const struct diag *d, struct buf *out);

/* All of them, and how many more there were. */
void diag_list_print(const struct diag_list *list, struct buf *out);

/* Appends `file:line`, or `default`. */
void conf_origin_print(struct conf_origin at, struct buf *out);
