/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema: one table per object says every key's name, type, place in its struct, default and
 * meaning. The loader, the effective print, the JSON Schema, the reference page and the shell
 * completion all read the same tables, so they cannot disagree.
 *
 * Each struct that a table fills begins with `struct conf_object`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "conf/diag.h"
#include "conf/node.h"
#include "conf/value.h"

enum conf_type {
    CONF_BOOL,        /* bool */
    CONF_INT,         /* int64_t */
    CONF_DURATION,    /* int64_t, milliseconds */
    CONF_SIZE,        /* int64_t, bytes */
    CONF_RATE,        /* int64_t, bytes per second */
    CONF_SHARE,       /* int64_t, parts per million */
    CONF_STATUS,      /* int64_t, HTTP status */
    CONF_ENUM,        /* an enum of int size, index into `names` */
    CONF_STRING,      /* struct str; pointer NULL = not set */
    CONF_PATH,        /* struct str; relative paths are joined to the directory of the file */
    CONF_PATTERN,     /* struct str, path pattern */
    CONF_REGEX,       /* struct str; compiled by its user */
    CONF_OUTPUT,      /* struct output */
    CONF_LISTEN,      /* struct listen_address */
    CONF_STRING_LIST, /* struct str_list */
    CONF_ENUM_LIST,   /* struct enum_list */
    CONF_LISTEN_LIST, /* struct listen_list */
    CONF_CIDR_LIST,   /* struct cidr_list */
    CONF_DOMAIN_LIST, /* struct domain_list */
    CONF_STRING_MAP,  /* struct str_map */
    CONF_STATUS_MAP,  /* struct status_file_list */
    CONF_OBJECT,      /* the struct of `child`, in place */
    CONF_OBJECT_LIST, /* struct {T *items; size_t count;} with T of `child` */
    CONF_OBJECT_MAP,  /* the same, of a map by name, which goes to name_offset of `child` */
    CONF_EMBED,       /* the struct of `child`, in place; its keys stand beside ours */
};

enum conf_flag {
    CONF_REQUIRED = 1 << 0,
    CONF_AUTO_OK = 1 << 1,    /* `auto` is 0 (CONF_INT) */
    CONF_OFF_OK = 1 << 2,     /* `off`: LISTEN_OFF, OUTPUT_OFF, an empty enum list, no duration */
    CONF_INHERITS = 1 << 3,   /* list whose items inherit the embedded keys of our own object */
    CONF_HANDLER = 1 << 4,    /* answers requests: only one may stand on one object */
    CONF_TAKES_OVER = 1 << 5, /* handler that is not inherited past another handler */
    CONF_NO_STDOUT = 1 << 6,  /* CONF_OUTPUT: stdout is no choice */
    CONF_PATHS = 1 << 7,      /* CONF_STRING_LIST: of paths, each as CONF_PATH */
    CONF_SHARES = 1 << 9,     /* handler beside which another one of these may stand: whether both
                               * answer is looked at with the settings */
    CONF_SECRET = 1 << 8,     /* CONF_STRING: never printed; CONF_STRING_MAP: of its values those
                               * that came by expansion */
    CONF_WORDS = 1 << 9,      /* CONF_STRING_LIST: one text is split into words */
    CONF_ELSEWHERE = 1 << 10, /* the keys of `child` are described at another key */
};

struct conf_table;

/* NULL, or a static sentence and the offset of the fault. */
typedef const char *(*conf_check_fn)(struct str text, size_t *ret_at);

struct conf_key {
    const char *name;
    enum conf_type type;
    size_t offset;
    const char *default_text; /* a scalar, or `[a, b]`; NULL: not set, empty, or child's own */
    const char *unit;         /* for people: "ms", "bytes"; or NULL */
    const char *doc;          /* one sentence */
    const char *example;      /* a YAML value on one line */
    const char *beside;       /* what must stand beside that, in place of a root; NULL: nothing */
    const char *at_top;       /* and at the top of the configuration; NULL: nothing */
    const char *const *names; /* CONF_ENUM*: NULL-terminated */
    int64_t min;              /* numbers; min = max = 0: no bounds */
    int64_t max;
    const struct conf_table *child;
    unsigned flags;                 /* enum conf_flag */
    conf_check_fn check;            /* text, list items, map values */
    conf_check_fn check_key;        /* map keys */
    const char *const *later_names; /* CONF_ENUM*: names that a later version serves, or NULL */
    struct str (*nearest)(struct str text); /* of what `check` refused; may be empty; or NULL */
};

struct conf_table {
    const char *name; /* noun for documents: "host" */
    const struct conf_key *keys;
    size_t key_count;
    size_t struct_bytes;
    const char *short_key; /* a scalar or list instead of a map sets this key, or NULL */
    bool has_switch;       /* the struct holds `bool is_on` at on_offset and takes `off` */
    bool is_on_default;    /* value of is_on when nothing is written */
    size_t on_offset;
    const char *const *later_keys; /* known names that a later version serves, or NULL */
    size_t name_offset;            /* CONF_OBJECT_MAP: of a struct str */
    /* Where a text may stand for an object that is written elsewhere, by its name: whether `text`
     * is such a name, which inherits nothing; and the one that `object` is, or an empty text. */
    bool (*is_reference)(struct str text);
    struct str (*reference_of)(const void *object);
};

struct conf_object {
    const struct conf_table *table;
    const struct conf_origin *origins; /* one per key of the table */
};

/* The root of all tables: fills struct settings. */
extern const struct conf_table conf_table_root;

/* Fills `object` (zeroed, `table->struct_bytes` long) from `map`, or with defaults where `map` is
 * NULL. Goes on after an error to find all of them. ERR_CONFIG with diagnostics, ERR_NOMEM. */
enum err conf_object_load(struct arena *arena, const struct conf_table *table,
                          const struct node *map, void *object,
                          struct diag_list *reterr_diags) MUST_CHECK;

/* The map `outer` overlaid with `inner` by the rules of inheritance: maps merge by key, null
 * unsets, lists and scalars replace. Only keys of `table` are taken from `outer`. Either may be
 * NULL. ERR_NOMEM. */
enum err conf_node_merge(struct arena *arena, const struct conf_table *table,
                         const struct node *outer, const struct node *inner,
                         const struct node **ret_merged) MUST_CHECK;

/* Where a key of this object came from; `object` points at any struct a table filled. A name that
 * is not in its table is a mistake of ours. */
struct conf_origin conf_origin_of(const void *object, const char *key);

/* Effective YAML of an object that a table filled; `indent` in spaces. */
void conf_object_print(const void *object, int indent, bool has_origins, struct buf *out);

/* A JSON Schema (draft 2020-12) of the whole configuration. */
void conf_json_schema(struct buf *out);

/* The reference page, Markdown. */
void conf_reference_markdown(struct buf *out);

enum conf_argument {
    CONF_ARGUMENT_NONE,
    CONF_ARGUMENT_FILE,
    CONF_ARGUMENT_DIRECTORY,
    CONF_ARGUMENT_KEY, /* a dotted configuration key */
};

/* What completion must know of a command; `options` are separated by spaces. */
struct conf_command {
    const char *name;
    const char *options;
    enum conf_argument argument;
};

/* A bash script that completes `program`: its commands, their options, and configuration keys. */
void conf_completion_bash(const char *program, const struct conf_command *commands, size_t count,
                          struct buf *out);

/* Calls `on_key` for each key, depth first; `path` is dotted, `hosts[].root`. */
void conf_keys_walk(void (*on_key)(void *arg, const char *path, const struct conf_key *key),
                    void *arg);

/* A whole small configuration that shows the example of the key at `path`. ERR_NOT_FOUND where
 * there is no such key or it has no example. */
enum err conf_example_document(const char *path, struct buf *out) MUST_CHECK;
