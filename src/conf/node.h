/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree that a YAML text becomes: scalars as text, lists, maps, each with its place. Types come
 * later, from the schema. The accepted YAML is the 1.2 core without anchors, aliases, tags and
 * merge keys. Nodes live in an arena and are never changed after expansion, so trees share nodes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "conf/diag.h"
#include "conf/io.h"

enum {
    NODE_DEPTH_MAX = 64,
    NODE_TEXT_BYTES_MAX = 4 * 1024 * 1024,
    NODE_KEY_BYTES_MAX = 256,
    NODE_FILE_COUNT_MAX = 1000,
    NODE_INCLUDE_DEPTH_MAX = 8,
};

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

/* One entry of a list (`key` unused) or of a map. */
struct node_entry {
    struct str key;
    struct conf_origin key_origin;
    const struct node *value;
};

struct node {
    enum node_kind kind;
    bool is_plain;    /* scalar without quotes */
    bool is_expanded; /* scalar that held ${env:...} or ${file:...} */
    struct conf_origin origin;
    struct str text; /* scalar; NUL-terminated, holds no NUL */
    struct node_entry *entries;
    size_t count;
};

/* A scalar that says "no value": empty, `~` or `null` without quotes. */
bool node_is_null(const struct node *n);

/* A scalar with exactly this text. */
bool node_is_word(const struct node *n, const char *word);

/* The entry of a map, or NULL; `n` may be NULL. */
const struct node_entry *node_find(const struct node *n, struct str key);

/* Makes a source in `arena`: copies `name` and `text`. ERR_NOMEM. */
enum err conf_source_create(struct arena *arena, const char *name, struct str text,
                            struct conf_source **ret_source) MUST_CHECK;

/* Line `line` of the source (from 1) without its line end; empty where there is none. */
struct str conf_source_line(const struct conf_source *source, uint32_t line);

/* Parses one source. An empty text is an empty map. ERR_CONFIG with diagnostics, ERR_NOMEM. */
enum err node_parse(struct arena *arena, const struct conf_source *source,
                    struct diag_list *reterr_diags, struct node **ret_root) MUST_CHECK;

/* Replaces ${env:X}, ${env:X:-default} and ${file:/path} in the scalars of a freshly parsed tree.
 * The result is text and adds no structure; `$${env:` stands for `${env:`. ERR_CONFIG, ERR_NOMEM.
 */
enum err node_expand(struct arena *arena, const struct conf_io *io, struct node *root,
                     struct diag_list *reterr_diags) MUST_CHECK;

/* Reads, parses and expands `count` files and all that they include, and joins them: the list
 * `hosts` is concatenated, maps merge by key, and two values for one key are an error.
 * ERR_CONFIG, ERR_NOMEM. */
enum err node_load_files(struct arena *arena, const struct conf_io *io, const char *const *paths,
                         size_t count, struct diag_list *reterr_diags,
                         const struct node **ret_root) MUST_CHECK;

/* As node_load_files for one text that is in memory. */
enum err node_load_text(struct arena *arena, const struct conf_io *io, const char *name,
                        struct str text, struct diag_list *reterr_diags,
                        const struct node **ret_root) MUST_CHECK;

/* A map of `count` entries, or NULL: out of memory. The caller fills the entries. */
struct node *node_map_create(struct arena *arena, struct conf_origin origin, size_t count)
    __attribute__((warn_unused_result));
