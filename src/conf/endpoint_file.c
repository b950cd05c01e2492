/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/endpoint_file.h"

#include "conf/node.h"
#include "conf/tables_int.h"

struct endpoint_file {
    struct conf_object object;
    struct endpoint_list proxy;
};

static const struct conf_key FILE_KEYS[] = {
    {.name = "proxy",
     .type = CONF_OBJECT_LIST,
     AT(endpoint_file, proxy),
     .child = &conf_table_endpoint,
     .doc = "The endpoints."},
};
static const struct conf_table FILE_TABLE = {
    .name = "a list of endpoints", KEYS(FILE_KEYS), .struct_bytes = sizeof(struct endpoint_file)};

/* The first character that is part of neither a comment nor an empty line. */
static char first_of(struct str text)
{
    struct str line;
    while (text.n > 0 && str_split(&text, '\n', &line)) {
        line = str_trim(line);
        if (line.n > 0 && line.p[0] != '#') {
            return line.p[0];
        }
    }
    return '\0';
}

static struct str content_of(struct str line)
{
    ptrdiff_t hash = str_index(line, '#');
    return str_trim(hash < 0 ? line : str_sub(line, 0, (size_t)hash));
}

static bool is_clean(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

/* The list that YAML would have made of the lines. */
static enum err lines_to_node(struct arena *arena, const struct conf_source *source,
                              struct diag_list *diags, struct node **ret_list)
{
    struct node *list =
        node_map_create(arena, (struct conf_origin){source, 1, 1}, source->line_count + 1);
    if (list == NULL) {
        return ERR_NOMEM;
    }
    list->kind = NODE_LIST;
    list->count = 0;
    for (uint32_t i = 1; i <= source->line_count; i++) {
        struct str text = content_of(conf_source_line(source, i));
        struct node *item = text.n > 0 ? arena_zalloc(arena, sizeof(*item)) : NULL;
        if (text.n == 0) {
            continue;
        }
        if (item == NULL) {
            return ERR_NOMEM;
        }
        item->origin = (struct conf_origin){source, i, 1};
        if (!is_clean(text)) {
            (void)diag_add(diags, item->origin, "an address holds printable ASCII alone");
            return ERR_CONFIG;
        }
        item->kind = NODE_SCALAR;
        item->text = arena_str(arena, text);
        if (item->text.p == NULL) {
            return ERR_NOMEM;
        }
        list->entries[list->count++].value = item;
    }
    *ret_list = list;
    return ERR_OK;
}

static enum err parse_lines(struct arena *arena, const char *name, struct str text,
                            struct diag_list *diags, struct node **ret_root)
{
    struct conf_source *source;
    struct node *list;
    enum err e = conf_source_create(arena, name, text, &source);
    e = e ? e : lines_to_node(arena, source, diags, &list);
    struct node *root = e ? NULL : node_map_create(arena, list->origin, 1);
    if (root == NULL) {
        return e ? e : ERR_NOMEM;
    }
    root->entries[0] =
        (struct node_entry){.key = STR("proxy"), .key_origin = list->origin, .value = list};
    *ret_root = root;
    return ERR_OK;
}

/* A document begins with a map, so one is put around the list: on the same line where that can be.
 */
static enum err parse_yaml(struct arena *arena, const char *name, struct str text, char first,
                           struct diag_list *diags, struct node **ret_root)
{
    struct conf_source *source;
    struct buf yaml;
    buf_init(&yaml, 0);
    buf_add_str(&yaml, first == '[' ? STR("proxy: ") : STR("proxy:\n"));
    buf_add_str(&yaml, text);
    enum err e =
        yaml.is_failed ? ERR_NOMEM : conf_source_create(arena, name, buf_str(&yaml), &source);
    buf_done(&yaml);
    return e ? e : node_parse(arena, source, diags, ret_root);
}

enum err endpoint_file_parse(struct arena *arena, const char *name, struct str text,
                             struct endpoint_list *ret_list, struct diag_list *reterr_diags)
{
    struct endpoint_file *file = arena_zalloc(arena, sizeof(*file));
    struct node *root;
    char first = first_of(text);
    if (file == NULL) {
        return ERR_NOMEM;
    }
    if (first == '\0') {
        *ret_list = (struct endpoint_list){NULL, 0};
        return ERR_OK;
    }
    enum err e = first == '[' || first == '-'
                     ? parse_yaml(arena, name, text, first, reterr_diags, &root)
                     : parse_lines(arena, name, text, reterr_diags, &root);
    e = e ? e : conf_object_load(arena, &FILE_TABLE, root, file, reterr_diags);
    if (e == ERR_OK) {
        *ret_list = file->proxy;
    }
    return e;
}
