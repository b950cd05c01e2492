/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of keys, and the small configuration around the example of one. */
#include "conf/schema_int.h"
#include "conf/tables_int.h"

struct walk {
    struct str path; /* the one that is looked for; pointer NULL: all are reported */
    struct buf *out;
    bool is_found;
    void (*on_key)(void *arg, const char *path, const struct conf_key *key);
    void *arg;
};

enum { WALK_DEPTH_MAX = 16 };

/* The keys from the root to the one at hand. */
struct trail {
    const struct conf_key *keys[WALK_DEPTH_MAX];
    size_t depth;
};

/* Some keys of a backend concern some endpoints only. */
static const char *example_endpoint(const char *key, const char *last)
{
    if (str_eq(str_of(key), STR("fcgi"))) {
        return "fcgi://app.internal:9000";
    }
    return str_eq(str_of(last), STR("grpc")) ? "grpc://app.internal:50051"
                                             : "http://app.internal:3000";
}

/* The keys that must stand beside the example for its object to load. */
static void print_siblings(const struct trail *t, size_t level, int indent, struct buf *out)
{
    const struct conf_table *table = t->keys[level]->child;
    const struct conf_key *next = t->keys[level + 1];
    bool has_handler = (next->flags & CONF_HANDLER) != 0 ||
                       (next->type == CONF_OBJECT_LIST && (next->flags & CONF_INHERITS) != 0);
    for (size_t i = 0; i < table->key_count; i++) {
        const struct conf_key *key = &table->keys[i];
        if (key != next && (key->flags & CONF_REQUIRED) != 0) {
            buf_printf(out, "%*s%s: %s\n", indent, "", key->name, key->example);
        }
        if (key->type == CONF_EMBED && !has_handler) {
            buf_printf(out, "%*s%s\n", indent, "", next->beside ? next->beside : "root: /srv/www");
        }
    }
    /* A backend has endpoints, or a file that names them. */
    if (table == &conf_table_backend && (next->flags & CONF_HANDLER) == 0 &&
        !str_eq(str_of(t->keys[t->depth - 1]->name), STR("file"))) {
        buf_printf(out, "%*sproxy: %s\n", indent, "",
                   example_endpoint(next->name, t->keys[t->depth - 1]->name));
    }
    /* Where there is no root, the other side has one. */
    if (str_eq(str_of(table->name), STR("fcgi")) && !str_eq(str_of(next->name), STR("root"))) {
        buf_printf(out, "%*sroot: /var/www/html\n", indent, "");
    }
    if (str_eq(str_of(table->name), STR("a rewrite")) && !str_eq(str_of(next->name), STR("to"))) {
        buf_printf(out, "%*sto: /new/$1\n", indent, "");
    }
}

static void print_top(const struct trail *t, struct buf *out)
{
    for (size_t i = 0; i < t->depth; i++) {
        if (t->keys[i]->at_top != NULL) {
            buf_printf(out, "%s\n", t->keys[i]->at_top);
        }
    }
}

/* Lists of objects put a dash before the first line of their item: it is set in afterwards. */
static void print_document(const struct trail *t, struct buf *out)
{
    int indent = 0;
    print_top(t, out);
    for (size_t i = 0; i + 1 < t->depth; i++) {
        const struct conf_key *key = t->keys[i];
        buf_printf(out, "%*s%s:\n", indent, "", key->name);
        indent += 2;
        if (key->type == CONF_OBJECT_LIST) {
            indent += 2;
            size_t start = out->n;
            print_siblings(t, i, indent, out);
            if (out->n == start) {
                /* The example itself begins the item. */
                buf_printf(out, "%*s- %s: %s\n", indent - 2, "", t->keys[i + 1]->name,
                           t->keys[i + 1]->example);
                return;
            }
            if (!out->is_failed) {
                out->p[start + (size_t)indent - 2] = '-';
            }
        } else {
            if (key->type == CONF_OBJECT_MAP) {
                buf_printf(out, "%*sapp:\n", indent, "");
                indent += 2;
            }
            print_siblings(t, i, indent, out);
        }
    }
    const struct conf_key *last = t->keys[t->depth - 1];
    buf_printf(out, "%*s%s: %s\n", indent, "", last->name, last->example);
}

static void walk_table(struct walk *w, const struct conf_table *table, struct trail *t,
                       struct buf *path)
{
    for (size_t i = 0; i < table->key_count && t->depth < WALK_DEPTH_MAX; i++) {
        const struct conf_key *key = &table->keys[i];
        if (key->type == CONF_EMBED) {
            walk_table(w, key->child, t, path);
            continue;
        }
        size_t start = path->n;
        buf_printf(path, "%s%s", start > 0 ? "." : "", key->name);
        buf_add_char(path, '\0');
        if (path->is_failed) {
            return;
        }
        path->n--;
        t->keys[t->depth++] = key;
        if (w->on_key != NULL) {
            w->on_key(w->arg, path->p, key);
        } else if (str_eq(buf_str(path), w->path) && key->example != NULL) {
            w->is_found = true;
            print_document(t, w->out);
        }
        if (key->child != NULL && (key->flags & CONF_ELSEWHERE) == 0) {
            if (key->type == CONF_OBJECT_LIST) {
                buf_add_str(path, STR("[]"));
            } else if (key->type == CONF_OBJECT_MAP) {
                buf_add_str(path, STR(".<name>"));
            }
            walk_table(w, key->child, t, path);
        }
        t->depth--;
        path->n = start;
    }
}

void conf_keys_walk(void (*on_key)(void *arg, const char *path, const struct conf_key *key),
                    void *arg)
{
    struct walk w = {.on_key = on_key, .arg = arg};
    struct trail t = {.depth = 0};
    struct buf path;
    buf_init(&path, 0);
    walk_table(&w, &conf_table_root, &t, &path);
    buf_done(&path);
}

enum err conf_example_document(const char *path, struct buf *out)
{
    struct walk w = {.path = str_of(path), .out = out};
    struct trail t = {.depth = 0};
    struct buf at;
    buf_init(&at, 0);
    walk_table(&w, &conf_table_root, &t, &at);
    bool is_failed = at.is_failed || out->is_failed;
    buf_done(&at);
    return is_failed ? ERR_NOMEM : w.is_found ? ERR_OK : ERR_NOT_FOUND;
}
