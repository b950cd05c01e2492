/* SPDX-License-Identifier: Apache-2.0 */
/* Fills structs from nodes by the tables. */
#include "conf/schema.h"

#include <inttypes.h>

#include "base/assert.h"
#include "conf/schema_int.h"

struct loader {
    struct arena *arena;
    struct diag_list *diags;
    bool is_wrong;
    bool is_out_of_memory;
};

static void load_object(struct loader *l, const struct conf_table *table, const struct node *map,
                        const struct node *own, void *object);

const struct conf_key *conf_table_find(const struct conf_table *table, struct str name,
                                       size_t *ret_offset)
{
    for (size_t i = 0; i < table->key_count; i++) {
        const struct conf_key *key = &table->keys[i];
        if (key->type == CONF_EMBED) {
            const struct conf_key *inner = conf_table_find(key->child, name, NULL);
            if (inner != NULL) {
                if (ret_offset != NULL) {
                    *ret_offset = key->offset;
                }
                return inner;
            }
        } else if (str_eq(str_of(key->name), name)) {
            if (ret_offset != NULL) {
                *ret_offset = 0;
            }
            return key;
        }
    }
    return NULL;
}

bool conf_table_is_later(const struct conf_table *table, struct str name)
{
    for (size_t i = 0; table->later_keys != NULL && table->later_keys[i] != NULL; i++) {
        if (str_eq(str_of(table->later_keys[i]), name)) {
            return true;
        }
    }
    for (size_t i = 0; i < table->key_count; i++) {
        if (table->keys[i].type == CONF_EMBED && conf_table_is_later(table->keys[i].child, name)) {
            return true;
        }
    }
    return false;
}

struct conf_origin conf_origin_of(const void *object, const char *key)
{
    const struct conf_object *o = object;
    size_t offset = 0;
    const struct conf_key *found = conf_table_find(o->table, str_of(key), &offset);
    ASSERT(found != NULL);
    if (offset > 0) {
        o = conf_field(object, offset);
    }
    return o->origins[found - o->table->keys];
}

/* Keeps the nearest of several names, if it is near enough to be a slip of the hand. */
static void nearer(struct str name, const char *candidate, struct str *best, unsigned *distance)
{
    unsigned d = str_distance(name, str_of(candidate));
    if (d < *distance && d <= 1 + name.n / 4) {
        *distance = d;
        *best = str_of(candidate);
    }
}

static void nearest_key(const struct conf_table *table, struct str name, struct str *best,
                        unsigned *distance)
{
    for (size_t i = 0; i < table->key_count; i++) {
        if (table->keys[i].type == CONF_EMBED) {
            nearest_key(table->keys[i].child, name, best, distance);
        } else {
            nearer(name, table->keys[i].name, best, distance);
        }
    }
}

/* The place `at` bytes into a scalar, where the source holds its text as it stands. */
static struct conf_origin inside(const struct node *n, size_t at)
{
    struct conf_origin o = n->origin;
    if (o.source == NULL || n->is_expanded) {
        return o;
    }
    struct str line = conf_source_line(o.source, o.line);
    size_t column = 1;
    size_t i = 0;
    while (i < line.n && column < o.column) {
        i++;
        column += i < line.n && ((unsigned char)line.p[i] & 0xc0) == 0x80 ? 0 : 1;
    }
    struct str rest = str_sub(line, i, line.n);
    uint32_t skip = 0;
    if (!n->is_plain && rest.n > 0) {
        rest = str_sub(rest, 1, rest.n);
        skip = 1;
    }
    if (str_starts_with(rest, n->text)) {
        for (size_t k = 0; k < at && k < n->text.n; k++) {
            skip += ((unsigned char)n->text.p[k] & 0xc0) != 0x80;
        }
        o.column += skip;
    }
    return o;
}

static void expect_type(struct loader *l, const struct conf_key *key, struct diag *d)
{
    struct buf text;
    buf_init(&text, 0);
    conf_type_print(key, &text);
    if (text.is_failed) {
        l->is_out_of_memory = true;
    } else {
        diag_set_expected(l->diags, d, STR_FMT, STR_ARG(buf_str(&text)));
    }
    buf_done(&text);
}

static void fail_near(struct loader *l, const struct conf_key *key, struct conf_origin at,
                      const char *sentence, struct str nearest)
{
    if (sentence == value_no_memory) {
        l->is_out_of_memory = true;
        return;
    }
    l->is_wrong = true;
    struct diag *d = diag_add(l->diags, at, "%s: %s", key->name, sentence);
    expect_type(l, key, d);
    diag_set_nearest(l->diags, d, nearest);
}

static void fail_at(struct loader *l, const struct conf_key *key, struct conf_origin at,
                    const char *sentence)
{
    fail_near(l, key, at, sentence, STR(""));
}

/* A number alone where a unit is due: say it with the number the person wrote. */
static bool fail_unit(struct loader *l, const struct conf_key *key, const struct node *n)
{
    uint64_t number = 0;
    if (str_to_u64(n->text, &number) != ERR_OK) {
        return false;
    }
    const char *format = NULL;
    if (key->type == CONF_DURATION) {
        format = STR_FMT "s, " STR_FMT "m, " STR_FMT "h or " STR_FMT "ms";
    } else if (key->type == CONF_SIZE) {
        format = STR_FMT "B, " STR_FMT "KB, " STR_FMT "MB or " STR_FMT "GB";
    } else if (key->type == CONF_RATE) {
        format = STR_FMT "B/s, " STR_FMT "KB/s, " STR_FMT "MB/s or " STR_FMT "GB/s";
    } else {
        return false;
    }
    struct diag *d =
        diag_add(l->diags, n->origin, "%s: " STR_FMT " has no unit", key->name, STR_ARG(n->text));
    struct str t = n->text;
    diag_set_expected(l->diags, d, format, STR_ARG(t), STR_ARG(t), STR_ARG(t), STR_ARG(t));
    l->is_wrong = true;
    return true;
}

static void fail_bool(struct loader *l, const struct conf_key *key, const struct node *n)
{
    static const char *const yes[] = {"yes", "on", "y", "1", NULL};
    static const char *const no[] = {"no", "off", "n", "0", NULL};
    struct str nearest = str_make(NULL, 0);
    for (size_t i = 0; yes[i] != NULL; i++) {
        nearest = str_eq_ci(n->text, str_of(yes[i])) ? STR("true") : nearest;
        nearest = str_eq_ci(n->text, str_of(no[i])) ? STR("false") : nearest;
    }
    struct diag *d = diag_add(l->diags, n->origin, "%s: \"" STR_FMT "\" is not true or false",
                              key->name, STR_ARG(n->text));
    diag_set_nearest(l->diags, d, nearest);
    l->is_wrong = true;
}

static int find_name(const struct conf_key *key, struct str text)
{
    for (int i = 0; key->names[i] != NULL; i++) {
        if (str_eq(str_of(key->names[i]), text)) {
            return i;
        }
    }
    return -1;
}

static void fail_enum(struct loader *l, const struct conf_key *key, const struct node *n)
{
    l->is_wrong = true;
    for (size_t i = 0; key->later_names != NULL && key->later_names[i] != NULL; i++) {
        if (str_eq(n->text, str_of(key->later_names[i]))) {
            (void)diag_add(l->diags, n->origin, "%s: \"%s\" is not served by this version yet",
                           key->name, key->later_names[i]);
            return;
        }
    }
    struct diag *d = diag_add(l->diags, n->origin, "%s: \"" STR_FMT "\" is not one of its values",
                              key->name, STR_ARG(n->text));
    struct str best = str_make(NULL, 0);
    unsigned distance = 64;
    for (size_t i = 0; key->names[i] != NULL; i++) {
        nearer(n->text, key->names[i], &best, &distance);
    }
    bool is_false = str_eq(n->text, STR("false")) || str_eq(n->text, STR("no"));
    if (is_false && find_name(key, STR("off")) >= 0) {
        best = STR("off");
    }
    expect_type(l, key, d);
    diag_set_nearest(l->diags, d, best);
}

static void load_number(struct loader *l, const struct conf_key *key, const struct node *n,
                        int64_t *field)
{
    int64_t value = 0;
    size_t at = 0;
    const char *fault = NULL;
    if ((key->flags & CONF_OFF_OK) != 0 && node_is_word(n, "off")) {
        *field = 0;
        return;
    }
    if (key->type == CONF_DURATION) {
        fault = value_parse_duration(n->text, &value, &at);
    } else if (key->type == CONF_SIZE) {
        fault = value_parse_size(n->text, &value, &at);
    } else if (key->type == CONF_RATE) {
        fault = value_parse_rate(n->text, &value, &at);
    } else if (key->type == CONF_SHARE) {
        fault = value_parse_share(n->text, &value, &at);
    } else if ((key->flags & CONF_AUTO_OK) != 0 && node_is_word(n, "auto")) {
        *field = 0;
        return;
    } else {
        fault = value_parse_int(n->text, &value, &at);
    }
    if (fault != NULL) {
        if (!fail_unit(l, key, n)) {
            fail_at(l, key, inside(n, at), fault);
        }
        return;
    }
    if (key->check != NULL && (fault = key->check(n->text, &at)) != NULL) {
        fail_at(l, key, inside(n, at), fault);
        return;
    }
    if ((key->min != 0 || key->max != 0) && (value < key->min || value > key->max)) {
        fail_at(l, key, n->origin,
                value < key->min ? "this is less than is allowed" : "this is more than is allowed");
        return;
    }
    *field = value;
}

static struct str load_text(struct loader *l, const struct conf_key *key, const struct node *n)
{
    size_t at = 0;
    const char *fault = NULL;
    if (key->check != NULL) {
        fault = key->check(n->text, &at);
    } else if (key->type == CONF_PATTERN) {
        fault = value_check_pattern(n->text, &at);
    } else if ((key->type == CONF_PATH || key->type == CONF_REGEX) && n->text.n == 0) {
        fault = "this cannot be empty";
    }
    if (fault != NULL) {
        fail_near(l, key, inside(n, at), fault,
                  key->nearest != NULL ? key->nearest(n->text) : STR(""));
    }
    return n->text;
}

/* A relative path begins at the directory of the file that says it. */
static struct str load_path(struct loader *l, const struct conf_key *key, const struct node *n)
{
    struct str text = load_text(l, key, n);
    if (n->origin.source == NULL || n->origin.source->dir.n == 0 || text.n == 0 ||
        text.p[0] == '/') {
        return text;
    }
    text = arena_printf(l->arena, STR_FMT STR_FMT, STR_ARG(n->origin.source->dir), STR_ARG(text));
    l->is_out_of_memory |= text.p == NULL;
    return text;
}

static void load_output(struct loader *l, const struct conf_key *key, const struct node *n,
                        struct output *field)
{
    bool has_stdout = (key->flags & CONF_NO_STDOUT) == 0;
    if (node_is_word(n, "stderr")) {
        field->kind = OUTPUT_STDERR;
    } else if (node_is_word(n, "stdout") && has_stdout) {
        field->kind = OUTPUT_STDOUT;
    } else if (node_is_word(n, "off") && (key->flags & CONF_OFF_OK) != 0) {
        field->kind = OUTPUT_OFF;
    } else if (str_index(n->text, '/') < 0) {
        fail_at(l, key, n->origin, "a file is written with a slash, such as ./access.log");
    } else {
        field->kind = OUTPUT_FILE;
        field->path = load_path(l, key, n);
    }
}

static bool must_be_scalar(struct loader *l, const struct conf_key *key, const struct node *n)
{
    if (n->kind == NODE_SCALAR) {
        return true;
    }
    fail_at(l, key, n->origin,
            n->kind == NODE_LIST ? "one value is due here, not a list"
                                 : "one value is due here, not a map");
    return false;
}

static size_t item_bytes(enum conf_type type)
{
    return type == CONF_LISTEN_LIST   ? sizeof(struct listen_address)
           : type == CONF_CIDR_LIST   ? sizeof(struct cidr)
           : type == CONF_DOMAIN_LIST ? sizeof(struct domain)
                                      : sizeof(struct str);
}

static void load_enum_item(struct loader *l, const struct conf_key *key, const struct node *n,
                           struct enum_list *list)
{
    int value = find_name(key, n->text);
    if (value < 0) {
        fail_enum(l, key, n);
        return;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i] == value) {
            fail_at(l, key, n->origin, "this value stands here twice");
            return;
        }
    }
    ASSERT(list->count < COUNT_OF(list->items));
    list->items[list->count++] = (uint8_t)value;
}

static void load_list_item(struct loader *l, const struct conf_key *key, const struct node *n,
                           void *item)
{
    size_t at = 0;
    const char *fault = NULL;
    if (key->type == CONF_LISTEN_LIST) {
        fault = value_parse_listen(l->arena, n->text, item, &at);
    } else if (key->type == CONF_CIDR_LIST) {
        fault = value_parse_cidr(l->arena, n->text, item, &at);
    } else if (key->type == CONF_DOMAIN_LIST) {
        struct domain *d = item;
        fault = value_parse_domain(l->arena, n->text, d, &at);
        d->origin = n->origin;
    } else {
        *(struct str *)item =
            (key->flags & CONF_PATHS) != 0 ? load_path(l, key, n) : load_text(l, key, n);
    }
    if (fault != NULL) {
        fail_at(l, key, inside(n, at), fault);
    }
}

static void load_words(struct loader *l, const struct conf_key *key, const struct node *n,
                       struct str_list *list)
{
    size_t at = 0;
    const char *fault = n->is_expanded ? "write it as a list where it holds ${...}"
                                       : value_split_words(l->arena, n->text, list, &at);
    if (fault != NULL) {
        fail_at(l, key, inside(n, at), fault);
    }
}

/* A list of scalars; one scalar is a list of one. */
static void load_list(struct loader *l, const struct conf_key *key, const struct node *n,
                      void *field)
{
    struct node_entry single = {.value = n};
    const struct node_entry *entries = n->kind == NODE_LIST ? n->entries : &single;
    size_t count = n->kind == NODE_LIST ? n->count : 1;
    if (n->kind == NODE_MAP) {
        fail_at(l, key, n->origin, "a list is due here, not a map");
        return;
    }
    if (key->type == CONF_ENUM_LIST) {
        if ((key->flags & CONF_OFF_OK) != 0 && node_is_word(n, "off")) {
            return;
        }
        for (size_t i = 0; i < count; i++) {
            if (must_be_scalar(l, key, entries[i].value)) {
                load_enum_item(l, key, entries[i].value, field);
            }
        }
        return;
    }
    if ((key->flags & CONF_WORDS) != 0 && n->kind == NODE_SCALAR) {
        load_words(l, key, n, field);
        return;
    }
    struct conf_array *array = field;
    size_t bytes = item_bytes(key->type);
    char *items = arena_zalloc(l->arena, (count > 0 ? count : 1) * bytes);
    if (items == NULL) {
        l->is_out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < count && !l->is_out_of_memory; i++) {
        const struct node *item = entries[i].value;
        if (node_is_null(item)) {
            fail_at(l, key, item->origin, "an item of a list cannot be empty");
        } else if (must_be_scalar(l, key, item)) {
            load_list_item(l, key, item, items + i * bytes);
        }
    }
    array->items = items;
    array->count = count;
    if ((key->flags & CONF_REQUIRED) != 0 && count == 0) {
        fail_at(l, key, n->origin, "this list cannot be empty");
    }
}

static void load_string_map(struct loader *l, const struct conf_key *key, const struct node *n,
                            struct str_map *map)
{
    map->items = arena_zalloc(l->arena, (n->count > 0 ? n->count : 1) * sizeof(*map->items));
    if (map->items == NULL) {
        l->is_out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < n->count; i++) {
        const struct node_entry *entry = &n->entries[i];
        struct str_pair *pair = &map->items[map->count++];
        size_t at = 0;
        const char *fault = key->check_key != NULL ? key->check_key(entry->key, &at) : NULL;
        if (fault != NULL) {
            fail_at(l, key, entry->key_origin, fault);
        }
        pair->key = entry->key;
        pair->origin = entry->key_origin;
        pair->is_null = node_is_null(entry->value);
        pair->is_expanded = entry->value->is_expanded;
        pair->value = STR("");
        if (!pair->is_null && must_be_scalar(l, key, entry->value)) {
            pair->value = load_text(l, key, entry->value);
        }
    }
}

static void load_status_map(struct loader *l, const struct conf_key *key, const struct node *n,
                            struct status_file_list *list)
{
    list->items = arena_zalloc(l->arena, (n->count > 0 ? n->count : 1) * sizeof(*list->items));
    if (list->items == NULL) {
        l->is_out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < n->count; i++) {
        const struct node_entry *entry = &n->entries[i];
        if (node_is_null(entry->value) || !must_be_scalar(l, key, entry->value)) {
            continue;
        }
        struct status_file *item = &list->items[list->count++];
        const char *fault = value_parse_status_class(entry->key, &item->low, &item->high);
        if (fault != NULL) {
            fail_at(l, key, entry->key_origin, fault);
        }
        item->file = load_text(l, key, entry->value);
        item->origin = entry->key_origin;
    }
}

static bool shares(const struct conf_table *table, const struct node_entry *first,
                   const struct conf_key *key)
{
    return (conf_table_find(table, first->key, NULL)->flags & key->flags & CONF_SHARES) != 0;
}

/* Two keys of one object that both answer every request: one of them would never be heard. */
static void check_handlers(struct loader *l, const struct conf_table *table, const struct node *map)
{
    const struct node_entry *first = NULL;
    for (size_t i = 0; i < map->count; i++) {
        const struct node_entry *entry = &map->entries[i];
        const struct conf_key *key = conf_table_find(table, entry->key, NULL);
        if (key == NULL || (key->flags & CONF_HANDLER) == 0 || node_is_null(entry->value) ||
            node_is_word(entry->value, "off")) {
            continue;
        }
        if (first != NULL && !shares(table, first, key)) {
            (void)diag_add(l->diags, entry->key_origin,
                           "\"" STR_FMT "\" and \"" STR_FMT "\" (line %u) both answer here: keep "
                           "one, or put the other into a route",
                           STR_ARG(entry->key), STR_ARG(first->key), first->key_origin.line);
            l->is_wrong = true;
        }
        first = entry;
    }
}

static void load_object_list(struct loader *l, const struct conf_key *key, const struct node *n,
                             const struct node *parent, struct conf_array *array)
{
    struct node_entry single = {.value = n};
    const struct node_entry *entries = n->kind == NODE_LIST ? n->entries : &single;
    size_t count = n->kind == NODE_LIST ? n->count : 1;
    char *items = arena_zalloc(l->arena, (count > 0 ? count : 1) * key->child->struct_bytes);
    if (items == NULL) {
        l->is_out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < count && !l->is_out_of_memory; i++) {
        const struct node *item = entries[i].value;
        const struct node *full;
        if (conf_node_normalise(l->arena, key->child, item, &item) != ERR_OK) {
            l->is_out_of_memory = true;
            return;
        }
        full = item;
        if (item->kind != NODE_MAP) {
            fail_at(l, key, item->origin, "each item is a map of keys here");
            continue;
        }
        check_handlers(l, key->child, item);
        if ((key->flags & CONF_INHERITS) != 0) {
            const struct conf_table *embed = NULL;
            for (size_t k = 0; k < key->child->key_count; k++) {
                if (key->child->keys[k].type == CONF_EMBED) {
                    embed = key->child->keys[k].child;
                }
            }
            ASSERT(embed != NULL);
            if (conf_node_merge(l->arena, embed, parent, item, &full) != ERR_OK) {
                l->is_out_of_memory = true;
                return;
            }
        }
        load_object(l, key->child, full, full, items + i * key->child->struct_bytes);
    }
    array->items = items;
    array->count = count;
    if ((key->flags & CONF_REQUIRED) != 0 && count == 0) {
        fail_at(l, key, n->origin, "this list cannot be empty");
    }
}

static bool load_object_map(struct loader *l, const struct conf_key *key, const struct node *n,
                            struct conf_array *array)
{
    const struct conf_table *table = key->child;
    char *items = arena_zalloc(l->arena, (n->count > 0 ? n->count : 1) * table->struct_bytes);
    if (items == NULL) {
        return false;
    }
    array->items = items;
    for (size_t i = 0; i < n->count && !l->is_out_of_memory; i++) {
        const struct node_entry *entry = &n->entries[i];
        const struct node *item = entry->value;
        size_t at = 0;
        const char *fault = key->check_key != NULL ? key->check_key(entry->key, &at) : NULL;
        if (node_is_null(item)) {
            continue;
        }
        if (fault != NULL) {
            fail_at(l, key, entry->key_origin, fault);
        }
        if (conf_node_normalise(l->arena, table, item, &item) != ERR_OK) {
            return false;
        }
        if (item->kind != NODE_MAP) {
            fail_at(l, key, entry->value->origin, "each item is a map of keys here");
            continue;
        }
        char *object = items + array->count++ * table->struct_bytes;
        load_object(l, table, item, item, object);
        *(struct str *)(void *)(object + table->name_offset) = entry->key;
        if (table->has_switch) {
            *(bool *)(object + table->on_offset) = true;
        }
    }
    return true;
}

/* Sets `bool is_on` of a table with a switch. */
static void set_switch(const struct conf_table *table, void *object, bool is_on)
{
    if (table->has_switch) {
        *(bool *)((char *)object + table->on_offset) = is_on;
    }
}

static void load_child(struct loader *l, const struct conf_key *key, const struct node *n,
                       void *field)
{
    if (key->child->has_switch && node_is_word(n, "off")) {
        load_object(l, key->child, NULL, NULL, field);
        set_switch(key->child, field, false);
        return;
    }
    if (conf_node_normalise(l->arena, key->child, n, &n) != ERR_OK) {
        l->is_out_of_memory = true;
        return;
    }
    if (n->kind != NODE_MAP) {
        fail_at(l, key, n->origin, "a map of keys is due here");
        return;
    }
    load_object(l, key->child, n, n, field);
    set_switch(key->child, field, true);
}

static void load_value(struct loader *l, const struct conf_key *key, const struct node *n,
                       const struct node *parent, void *field)
{
    bool is_map = key->type == CONF_STRING_MAP || key->type == CONF_STATUS_MAP ||
                  key->type == CONF_OBJECT_MAP;
    if (is_map && n->kind != NODE_MAP) {
        fail_at(l, key, n->origin, "a map is due here");
        return;
    }
    bool is_scalar = key->type <= CONF_LISTEN;
    if (is_scalar && !must_be_scalar(l, key, n)) {
        return;
    }
    size_t at = 0;
    switch (key->type) {
    case CONF_BOOL:
        if (node_is_word(n, "true") || node_is_word(n, "false")) {
            *(bool *)field = node_is_word(n, "true");
        } else {
            fail_bool(l, key, n);
        }
        return;
    case CONF_INT:
    case CONF_DURATION:
    case CONF_SIZE:
    case CONF_RATE:
    case CONF_SHARE:
    case CONF_STATUS:
        load_number(l, key, n, field);
        return;
    case CONF_ENUM: {
        int value = find_name(key, n->text);
        if (value < 0) {
            fail_enum(l, key, n);
        } else {
            *(int *)field = value;
        }
        return;
    }
    case CONF_STRING:
    case CONF_PATTERN:
    case CONF_REGEX:
        *(struct str *)field = load_text(l, key, n);
        return;
    case CONF_PATH:
        *(struct str *)field = load_path(l, key, n);
        return;
    case CONF_OUTPUT:
        load_output(l, key, n, field);
        return;
    case CONF_LISTEN:
        if ((key->flags & CONF_OFF_OK) != 0 && node_is_word(n, "off")) {
            ((struct listen_address *)field)->kind = LISTEN_OFF;
        } else {
            const char *fault = value_parse_listen(l->arena, n->text, field, &at);
            if (fault != NULL) {
                fail_at(l, key, inside(n, at), fault);
            }
        }
        return;
    case CONF_STRING_LIST:
    case CONF_ENUM_LIST:
    case CONF_LISTEN_LIST:
    case CONF_CIDR_LIST:
    case CONF_DOMAIN_LIST:
        load_list(l, key, n, field);
        return;
    case CONF_STRING_MAP:
        load_string_map(l, key, n, field);
        return;
    case CONF_STATUS_MAP:
        load_status_map(l, key, n, field);
        return;
    case CONF_OBJECT:
        load_child(l, key, n, field);
        return;
    case CONF_OBJECT_LIST:
        load_object_list(l, key, n, parent, field);
        return;
    case CONF_OBJECT_MAP:
        l->is_out_of_memory |= !load_object_map(l, key, n, field);
        return;
    case CONF_EMBED:
        return;
    }
}

/* A default as a node: `[a, b]` is a list, everything else one text. */
static const struct node *default_node(struct loader *l, const char *text)
{
    struct str s = str_of(text);
    bool is_list = s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']';
    struct str rest = is_list ? str_sub(s, 1, s.n - 2) : s;
    size_t count = is_list && rest.n > 0 ? 1 : 0;
    for (size_t i = 0; is_list && i < rest.n; i++) {
        count += rest.p[i] == ',';
    }
    struct node *list = node_map_create(l->arena, (struct conf_origin){NULL, 0, 0}, count);
    struct node *items = arena_zalloc(l->arena, (count + 1) * sizeof(*items));
    if (list == NULL || items == NULL) {
        l->is_out_of_memory = true;
        return NULL;
    }
    list->kind = NODE_LIST;
    struct str part = rest;
    for (size_t i = 0; i < (is_list ? count : 1); i++) {
        if (is_list) {
            (void)str_split(&rest, ',', &part);
            part = str_trim(part);
        }
        items[i].kind = NODE_SCALAR;
        items[i].text = arena_str(l->arena, part);
        if (items[i].text.p == NULL) {
            l->is_out_of_memory = true;
            return NULL;
        }
        if (is_list) {
            list->entries[i].value = &items[i];
        }
    }
    return is_list ? list : &items[0];
}

static void load_default(struct loader *l, const struct conf_key *key, void *field)
{
    if (key->type == CONF_OBJECT) {
        load_object(l, key->child, NULL, NULL, field);
        set_switch(key->child, field, key->child->is_on_default);
    } else if (key->default_text != NULL) {
        const struct node *n = default_node(l, key->default_text);
        if (n != NULL) {
            load_value(l, key, n, NULL, field);
        }
    }
}

static void report_unknown(struct loader *l, const struct conf_table *table, const struct node *map)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct node_entry *entry = &map->entries[i];
        if (conf_table_find(table, entry->key, NULL) != NULL) {
            continue;
        }
        l->is_wrong = true;
        if (conf_table_is_later(table, entry->key)) {
            (void)diag_add(l->diags, entry->key_origin,
                           "\"" STR_FMT "\" is not served by this version yet",
                           STR_ARG(entry->key));
            continue;
        }
        struct str best = str_make(NULL, 0);
        unsigned distance = 64;
        nearest_key(table, entry->key, &best, &distance);
        struct diag *d = diag_add(l->diags, entry->key_origin, "\"" STR_FMT "\" is not a key of %s",
                                  STR_ARG(entry->key), table->name);
        diag_set_nearest(l->diags, d, best);
    }
}

/* `own`: the map whose unknown keys are ours to report, NULL for an embedded table. */
static void load_object(struct loader *l, const struct conf_table *table, const struct node *map,
                        const struct node *own, void *object)
{
    struct conf_object *o = object;
    struct conf_origin *origins = arena_zalloc(l->arena, table->key_count * sizeof(*origins));
    if (origins == NULL) {
        l->is_out_of_memory = true;
        return;
    }
    o->table = table;
    o->origins = origins;
    for (size_t i = 0; i < table->key_count && !l->is_out_of_memory; i++) {
        const struct conf_key *key = &table->keys[i];
        void *field = (char *)object + key->offset;
        if (key->type == CONF_EMBED) {
            load_object(l, key->child, map, NULL, field);
            continue;
        }
        const struct node_entry *entry = node_find(map, str_of(key->name));
        if (entry != NULL && !node_is_null(entry->value)) {
            origins[i] = entry->key_origin;
            load_value(l, key, entry->value, map, field);
        } else if ((key->flags & CONF_REQUIRED) != 0 && map != NULL) {
            struct diag *d =
                diag_add(l->diags, map->origin, "%s needs the key \"%s\"", table->name, key->name);
            diag_set_expected(l->diags, d, "for example %s: %s", key->name, key->example);
            l->is_wrong = true;
        } else {
            load_default(l, key, field);
        }
    }
    if (own != NULL) {
        report_unknown(l, table, own);
    }
}

enum err conf_object_load(struct arena *arena, const struct conf_table *table,
                          const struct node *map, void *object, struct diag_list *reterr_diags)
{
    struct loader l = {.arena = arena, .diags = reterr_diags};
    load_object(&l, table, map, map, object);
    if (l.is_out_of_memory || reterr_diags->is_out_of_memory) {
        return ERR_NOMEM;
    }
    return l.is_wrong ? ERR_CONFIG : ERR_OK;
}
