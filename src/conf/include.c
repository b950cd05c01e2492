/* SPDX-License-Identifier: Apache-2.0 */
/* Many files become one tree. */
#include "base/mem.h"
#include "conf/node.h"

struct joiner {
    struct arena *arena;
    const struct conf_io *io;
    struct diag_list *diags;
    const struct node *root; /* what was joined so far, or NULL */
    const char *open_paths[NODE_INCLUDE_DEPTH_MAX];
    size_t depth;
    size_t file_count;
    bool is_wrong; /* some file had a fault; the others are still read */
};

struct include_call {
    struct joiner *joiner;
    struct conf_origin at;
    size_t match_count;
};

static enum err join_source(struct joiner *j, const struct conf_source *source);

/* Two lists, one behind the other. */
static const struct node *list_concat(struct joiner *j, const struct node *a, const struct node *b)
{
    struct node *n = node_map_create(j->arena, a->origin, a->count + b->count);
    if (n == NULL) {
        return NULL;
    }
    n->kind = NODE_LIST;
    for (size_t i = 0; i < a->count; i++) {
        n->entries[i] = a->entries[i];
    }
    for (size_t i = 0; i < b->count; i++) {
        n->entries[a->count + i] = b->entries[i];
    }
    return n;
}

/* Maps merge by key. `depth` 0 is the root, where `hosts` concatenates. */
static enum err join_maps(struct joiner *j, const struct node *a, const struct node *b,
                          unsigned depth, const struct node **ret_joined)
{
    struct node *n = node_map_create(j->arena, a->origin, a->count + b->count);
    if (n == NULL) {
        return ERR_NOMEM;
    }
    n->count = 0;
    for (size_t i = 0; i < a->count; i++) {
        n->entries[n->count++] = a->entries[i];
    }
    for (size_t i = 0; i < b->count; i++) {
        const struct node_entry *entry = &b->entries[i];
        if (depth == 0 && str_eq(entry->key, STR("include"))) {
            continue;
        }
        size_t k = 0;
        while (k < a->count && !str_eq(a->entries[k].key, entry->key)) {
            k++;
        }
        if (k == a->count) {
            n->entries[n->count++] = *entry;
            continue;
        }
        const struct node *old = a->entries[k].value;
        if (node_is_null(entry->value)) {
            continue;
        }
        if (node_is_null(old)) {
            n->entries[k] = *entry;
        } else if (depth == 0 && str_eq(entry->key, STR("hosts")) && old->kind == NODE_LIST &&
                   entry->value->kind == NODE_LIST) {
            n->entries[k].value = list_concat(j, old, entry->value);
            if (n->entries[k].value == NULL) {
                return ERR_NOMEM;
            }
        } else if (old->kind == NODE_MAP && entry->value->kind == NODE_MAP) {
            enum err e = join_maps(j, old, entry->value, depth + 1, &n->entries[k].value);
            if (e != ERR_OK) {
                return e;
            }
        } else {
            struct conf_origin first = a->entries[k].key_origin;
            (void)diag_add(j->diags, entry->key_origin,
                           "\"" STR_FMT "\" is set here and in %s line %u: keep one of them",
                           STR_ARG(entry->key), first.source->name, first.line);
            j->is_wrong = true;
        }
    }
    *ret_joined = n;
    return ERR_OK;
}

static enum err join_path(struct joiner *j, const char *path, const struct conf_origin *from)
{
    struct conf_origin at = from != NULL ? *from : (struct conf_origin){NULL, 0, 0};
    const char *fault = NULL;
    for (size_t i = 0; i < j->depth; i++) {
        if (strcmp(j->open_paths[i], path) == 0) {
            fault = "it includes itself";
        }
    }
    if (fault == NULL && j->depth == NODE_INCLUDE_DEPTH_MAX) {
        fault = "files include each other too deeply";
    }
    if (fault == NULL && j->file_count == NODE_FILE_COUNT_MAX) {
        fault = "there are more files than are allowed";
    }
    if (fault != NULL) {
        if (from != NULL) {
            (void)diag_add(j->diags, at, "%s cannot be included: %s", path, fault);
        } else {
            (void)diag_add_file(j->diags, path, "cannot be read: %s", fault);
        }
        j->is_wrong = true;
        return ERR_OK;
    }
    struct buf text;
    buf_init(&text, NODE_TEXT_BYTES_MAX);
    enum err e = j->io->read_file(j->io->context, path, &text);
    struct conf_source *source = NULL;
    if (e == ERR_OK) {
        e = conf_source_create(j->arena, path, buf_str(&text), &source);
    } else if (e != ERR_NOMEM) {
        const char *why = e == ERR_LIMIT         ? "it is longer than 4 MB"
                          : e == ERR_UNSUPPORTED ? "it is a directory"
                                                 : err_text(e);
        if (from != NULL) {
            (void)diag_add(j->diags, at, "%s cannot be read: %s", path, why);
        } else {
            (void)diag_add_file(j->diags, path, "cannot be read: %s", why);
        }
        j->is_wrong = true;
        e = ERR_OK;
    }
    buf_done(&text);
    if (e != ERR_OK || source == NULL) {
        return e;
    }
    j->file_count++;
    return join_source(j, source);
}

static enum err on_included(void *arg, const char *path)
{
    struct include_call *call = arg;
    call->match_count++;
    return join_path(call->joiner, path, &call->at);
}

static enum err include_one(struct joiner *j, const struct node *pattern)
{
    if (pattern->kind != NODE_SCALAR || pattern->text.n == 0) {
        (void)diag_add(j->diags, pattern->origin,
                       "include takes file names, such as conf.d/*.yaml");
        j->is_wrong = true;
        return ERR_OK;
    }
    struct str path = pattern->text;
    if (path.p[0] != '/') {
        path = arena_printf(j->arena, STR_FMT STR_FMT, STR_ARG(pattern->origin.source->dir),
                            STR_ARG(pattern->text));
        if (path.p == NULL) {
            return ERR_NOMEM;
        }
    }
    struct include_call call = {.joiner = j, .at = pattern->origin};
    enum err e = j->io->glob(j->io->context, path.p, on_included, &call);
    if (e == ERR_NOMEM) {
        return e;
    }
    if (e != ERR_OK) {
        (void)diag_add(j->diags, pattern->origin, "%s cannot be read: %s", path.p, err_text(e));
        j->is_wrong = true;
    } else if (call.match_count == 0 && strpbrk(path.p, "*?[") == NULL) {
        /* An empty conf.d is fine, a file that is named must be there. */
        (void)diag_add(j->diags, pattern->origin, "%s does not exist", path.p);
        j->is_wrong = true;
    }
    return ERR_OK;
}

static enum err join_source(struct joiner *j, const struct conf_source *source)
{
    struct node *root = NULL;
    enum err e = node_parse(j->arena, source, j->diags, &root);
    if (e == ERR_OK) {
        e = node_expand(j->arena, j->io, root, j->diags);
    }
    if (e == ERR_CONFIG) {
        j->is_wrong = true;
        return ERR_OK;
    }
    if (e != ERR_OK) {
        return e;
    }
    struct node *start = node_map_create(j->arena, root->origin, 0);
    if (start == NULL) {
        return ERR_NOMEM;
    }
    e = join_maps(j, j->root != NULL ? j->root : start, root, 0, &j->root);
    const struct node_entry *include = node_find(root, STR("include"));
    if (e != ERR_OK || include == NULL || node_is_null(include->value)) {
        return e;
    }
    if (j->depth == NODE_INCLUDE_DEPTH_MAX) {
        (void)diag_add(j->diags, include->key_origin, "files include each other too deeply");
        j->is_wrong = true;
        return ERR_OK;
    }
    j->open_paths[j->depth++] = source->name;
    if (include->value->kind == NODE_LIST) {
        for (size_t i = 0; e == ERR_OK && i < include->value->count; i++) {
            e = include_one(j, include->value->entries[i].value);
        }
    } else {
        e = include_one(j, include->value);
    }
    j->depth--;
    return e;
}

static enum err joiner_end(const struct joiner *j, enum err e, const struct node **ret_root)
{
    if (e != ERR_OK) {
        return e;
    }
    if (j->is_wrong || j->root == NULL) {
        return ERR_CONFIG;
    }
    *ret_root = j->root;
    return ERR_OK;
}

enum err node_load_files(struct arena *arena, const struct conf_io *io, const char *const *paths,
                         size_t count, struct diag_list *reterr_diags, const struct node **ret_root)
{
    struct joiner j = {.arena = arena, .io = io, .diags = reterr_diags};
    enum err e = ERR_OK;
    if (count == 0) {
        (void)diag_add_file(reterr_diags, "configuration", "no file was named");
        return ERR_CONFIG;
    }
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        e = join_path(&j, paths[i], NULL);
    }
    return joiner_end(&j, e, ret_root);
}

enum err node_load_text(struct arena *arena, const struct conf_io *io, const char *name,
                        struct str text, struct diag_list *reterr_diags,
                        const struct node **ret_root)
{
    struct joiner j = {.arena = arena, .io = io, .diags = reterr_diags};
    struct conf_source *source = NULL;
    enum err e = conf_source_create(arena, name, text, &source);
    if (e == ERR_OK) {
        e = join_source(&j, source);
    }
    return joiner_end(&j, e, ret_root);
}
