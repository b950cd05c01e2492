/* SPDX-License-Identifier: Apache-2.0 */
/* The effective configuration, as YAML that loads to the same settings. */
#include <inttypes.h>

#include "base/assert.h"
#include "conf/schema_int.h"
#include "conf/settings.h"

struct printer {
    struct buf *out;
    bool has_origins;
    bool is_item_start; /* the next line begins an item of a list */
};

static void print_object(struct printer *p, const void *object, const void *outer,
                         bool skips_inherited, int indent);

static void line_start(struct printer *p, int indent)
{
    int spaces = p->is_item_start ? indent - 2 : indent;
    for (int i = 0; i < spaces; i++) {
        buf_add_char(p->out, ' ');
    }
    if (p->is_item_start) {
        buf_add_str(p->out, STR("- "));
        p->is_item_start = false;
    }
}

static void line_end(struct printer *p, struct conf_origin at)
{
    if (p->has_origins) {
        buf_add_str(p->out, STR(" # "));
        size_t start = p->out->n;
        conf_origin_print(at, p->out);
        for (size_t i = start; i < p->out->n; i++) {
            if ((unsigned char)p->out->p[i] < 0x20) {
                p->out->p[i] = '?'; /* a file name must not end the comment */
            }
        }
    }
    buf_add_char(p->out, '\n');
}

static void print_text(struct str s, struct buf *out)
{
    if (s.p == NULL) {
        buf_add_str(out, STR("null"));
    } else {
        value_print_scalar(s, out);
    }
}

static void print_list_item(const struct conf_key *key, const void *field, size_t i,
                            struct buf *out)
{
    if (key->type == CONF_LISTEN_LIST) {
        print_text(((const struct listen_list *)field)->items[i].text, out);
    } else if (key->type == CONF_CIDR_LIST) {
        print_text(((const struct cidr_list *)field)->items[i].text, out);
    } else if (key->type == CONF_DOMAIN_LIST) {
        print_text(((const struct domain_list *)field)->items[i].text, out);
    } else if (key->type == CONF_ENUM_LIST) {
        buf_add_str(out, str_of(key->names[((const struct enum_list *)field)->items[i]]));
    } else {
        print_text(((const struct str_list *)field)->items[i], out);
    }
}

static void print_list(const struct conf_key *key, const void *field, struct buf *out)
{
    size_t count = key->type == CONF_ENUM_LIST ? ((const struct enum_list *)field)->count
                                               : ((const struct conf_array *)field)->count;
    buf_add_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        buf_add_str(out, i > 0 ? STR(", ") : STR(""));
        print_list_item(key, field, i, out);
    }
    buf_add_char(out, ']');
}

static void print_output(const struct output *o, struct buf *out)
{
    switch (o->kind) {
    case OUTPUT_OFF:
        buf_add_str(out, STR("off"));
        return;
    case OUTPUT_STDERR:
        buf_add_str(out, STR("stderr"));
        return;
    case OUTPUT_STDOUT:
        buf_add_str(out, STR("stdout"));
        return;
    case OUTPUT_FILE:
        print_text(o->path, out);
        return;
    }
}

/* A value that fits behind its key on one line. */
static void print_inline(const struct conf_key *key, const void *field, struct buf *out)
{
    int64_t number =
        key->type >= CONF_INT && key->type <= CONF_STATUS ? *(const int64_t *)field : 0;
    if (number == 0 && (key->flags & CONF_OFF_OK) != 0 && key->type <= CONF_STATUS) {
        buf_add_str(out, STR("off"));
        return;
    }
    switch (key->type) {
    case CONF_BOOL:
        buf_add_str(out, *(const bool *)field ? STR("true") : STR("false"));
        return;
    case CONF_INT:
    case CONF_STATUS:
        if (number == 0 && (key->flags & CONF_AUTO_OK) != 0) {
            buf_add_str(out, STR("auto"));
        } else {
            buf_printf(out, "%" PRId64, number);
        }
        return;
    case CONF_DURATION:
        if (number == 0 && (key->flags & CONF_OFF_OK) != 0) {
            buf_add_str(out, STR("off"));
        } else {
            value_print_duration(number, out);
        }
        return;
    case CONF_SIZE:
        value_print_size(number, out);
        return;
    case CONF_RATE:
        value_print_size(number, out);
        buf_add_str(out, STR("/s"));
        return;
    case CONF_SHARE:
        value_print_share(number, out);
        return;
    case CONF_ENUM:
        buf_add_str(out, str_of(key->names[*(const int *)field]));
        return;
    case CONF_STRING:
    case CONF_PATH:
    case CONF_PATTERN:
    case CONF_REGEX:
        if ((key->flags & CONF_SECRET) != 0 && ((const struct str *)field)->n > 0) {
            /* Of a form that every check takes, so that what is printed can be loaded. */
            buf_add_str(out, STR("hiddenhidden"));
            return;
        }
        print_text(*(const struct str *)field, out);
        return;
    case CONF_OUTPUT:
        print_output(field, out);
        return;
    case CONF_LISTEN:
        if (((const struct listen_address *)field)->kind == LISTEN_OFF) {
            buf_add_str(out, STR("off"));
        } else {
            print_text(((const struct listen_address *)field)->text, out);
        }
        return;
    case CONF_STRING_LIST:
    case CONF_ENUM_LIST:
    case CONF_LISTEN_LIST:
    case CONF_CIDR_LIST:
    case CONF_DOMAIN_LIST:
        print_list(key, field, out);
        return;
    case CONF_STRING_MAP:
    case CONF_STATUS_MAP:
    case CONF_OBJECT:
    case CONF_OBJECT_LIST:
    case CONF_OBJECT_MAP:
    case CONF_EMBED:
        break;
    }
    ASSERT(key->type < CONF_STRING_MAP); /* the others are printed as blocks */
}

static void print_string_map(struct printer *p, const struct conf_key *key,
                             const struct str_map *map, int indent)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct str_pair *pair = &map->items[i];
        bool is_hidden = (key->flags & CONF_SECRET) != 0 && pair->is_expanded;
        line_start(p, indent);
        value_print_scalar(pair->key, p->out);
        buf_add_str(p->out, STR(": "));
        print_text(pair->is_null ? str_make(NULL, 0)
                   : is_hidden   ? STR("hidden")
                                 : pair->value,
                   p->out);
        line_end(p, pair->origin);
    }
}

static bool has_status(const struct status_file_list *list, const struct status_file *item)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].low == item->low && list->items[i].high == item->high) {
            return true;
        }
    }
    return false;
}

static void print_status_item(struct printer *p, const struct status_file *item, struct str file,
                              int indent)
{
    line_start(p, indent);
    if (item->low == item->high) {
        buf_printf(p->out, "%u: ", item->low);
    } else {
        buf_printf(p->out, "%uxx: ", item->low / 100U);
    }
    print_text(file, p->out);
    line_end(p, item->origin);
}

/* `outer`: what would be inherited, or NULL; what is missing of it was unset. */
static void print_status_map(struct printer *p, const struct status_file_list *list,
                             const struct status_file_list *outer, int indent)
{
    for (size_t i = 0; i < list->count; i++) {
        print_status_item(p, &list->items[i], list->items[i].file, indent);
    }
    for (size_t i = 0; outer != NULL && i < outer->count; i++) {
        if (!has_status(list, &outer->items[i])) {
            print_status_item(p, &outer->items[i], str_make(NULL, 0), indent);
        }
    }
}

/* Items of a list stand two columns further in than its key, behind a dash. */
static void print_object_list(struct printer *p, const struct conf_key *key,
                              const struct conf_array *array, const void *outer, int indent)
{
    for (size_t i = 0; i < array->count; i++) {
        p->is_item_start = true;
        print_object(p, (const char *)array->items + i * key->child->struct_bytes, outer, true,
                     indent + 4);
    }
}

static void print_object_map(struct printer *p, const struct conf_key *key,
                             const struct conf_array *array, int indent)
{
    for (size_t i = 0; i < array->count; i++) {
        const void *object = (const char *)array->items + i * key->child->struct_bytes;
        const struct str *name = conf_field(object, key->child->name_offset);
        line_start(p, indent);
        value_print_scalar(*name, p->out);
        buf_add_str(p->out, STR(":\n"));
        print_object(p, object, NULL, false, indent + 2);
    }
}

/* The word that stands for the whole value where it has no lines of its own, or NULL. An empty map
 * would let through what is inherited, null does not. */
static const char *whole_value(const struct conf_key *key, const void *field, const void *outer)
{
    const struct conf_array *array = field;
    if (key->type == CONF_STRING_MAP || key->type == CONF_STATUS_MAP) {
        bool is_unset = outer != NULL && ((const struct conf_array *)outer)->count > 0;
        return array->count > 0 ? NULL : is_unset ? "null" : "{}";
    }
    if (key->type == CONF_OBJECT_LIST) {
        return array->count == 0 ? "[]" : NULL;
    }
    if (key->type == CONF_OBJECT_MAP) {
        /* An empty handler would be one all the same. */
        return array->count > 0 ? NULL : (key->flags & CONF_HANDLER) != 0 ? "null" : "{}";
    }
    if (key->child->has_switch && !*(const bool *)conf_field(field, key->child->on_offset)) {
        return key->child->is_on_default ? "off" : "null";
    }
    return NULL;
}

/* What the items of a list inherit from its object, or NULL. */
static const void *embedded(const void *object)
{
    const struct conf_table *table = ((const struct conf_object *)object)->table;
    for (size_t i = 0; i < table->key_count; i++) {
        if (table->keys[i].type == CONF_EMBED) {
            return conf_field(object, table->keys[i].offset);
        }
    }
    return NULL;
}

/* Key `i` of an object; `outer`: the object of the same table that it inherits from, or NULL. */
static void print_key(struct printer *p, const struct conf_object *object,
                      const struct conf_object *outer, size_t i, int indent)
{
    const struct conf_key *key = &object->table->keys[i];
    const void *field = conf_field(object, key->offset);
    const void *outer_field = outer != NULL ? conf_field(outer, key->offset) : NULL;
    line_start(p, indent);
    buf_printf(p->out, "%s:", key->name);
    if (key->type < CONF_STRING_MAP) {
        buf_add_char(p->out, ' ');
        print_inline(key, field, p->out);
        line_end(p, object->origins[i]);
        return;
    }
    struct str reference =
        key->child != NULL && key->child->reference_of != NULL && key->type == CONF_OBJECT
            ? key->child->reference_of(field)
            : STR("");
    if (reference.n > 0) {
        buf_add_char(p->out, ' ');
        value_print_scalar(reference, p->out);
        line_end(p, object->origins[i]);
        return;
    }
    const char *whole = whole_value(key, field, outer_field);
    if (whole != NULL) {
        buf_printf(p->out, " %s", whole);
        line_end(p, object->origins[i]);
        return;
    }
    buf_add_char(p->out, '\n');
    if (key->type == CONF_STRING_MAP) {
        print_string_map(p, key, field, indent + 2);
    } else if (key->type == CONF_STATUS_MAP) {
        print_status_map(p, field, outer_field, indent + 2);
    } else if (key->type == CONF_OBJECT) {
        print_object(p, field, outer_field, false, indent + 2);
    } else if (key->type == CONF_OBJECT_MAP) {
        print_object_map(p, key, field, indent + 2);
    } else {
        bool inherits = (key->flags & CONF_INHERITS) != 0;
        print_object_list(p, key, field, inherits ? embedded(object) : NULL, indent);
    }
}

/* Whether key `i` of `inner` is just what `outer`, of the same table, hands down: same value, same
 * place. Such a key is not printed again. */
static bool is_inherited(struct printer *p, const struct conf_object *inner,
                         const struct conf_object *outer, size_t i)
{
    struct buf texts[2];
    for (int k = 0; k < 2; k++) {
        buf_init(&texts[k], 0);
        struct printer trial = {.out = &texts[k], .has_origins = true};
        print_key(&trial, k == 0 ? inner : outer, NULL, i, 0);
        p->out->is_failed |= texts[k].is_failed;
    }
    bool is_same = str_eq(buf_str(&texts[0]), buf_str(&texts[1]));
    buf_done(&texts[0]);
    buf_done(&texts[1]);
    return is_same;
}

static void print_object(struct printer *p, const void *object, const void *outer,
                         bool skips_inherited, int indent)
{
    const struct conf_object *o = object;
    const struct conf_object *from = outer;
    for (size_t i = 0; i < o->table->key_count && !p->out->is_failed; i++) {
        const struct conf_key *key = &o->table->keys[i];
        if (key->type == CONF_EMBED) {
            print_object(p, conf_field(object, key->offset), outer, skips_inherited, indent);
        } else if (from == NULL || from->table != o->table) {
            print_key(p, o, NULL, i, indent);
        } else if (!skips_inherited || !is_inherited(p, o, from, i)) {
            print_key(p, o, from, i, indent);
        }
    }
}

void conf_object_print(const void *object, int indent, bool has_origins, struct buf *out)
{
    struct printer p = {.out = out, .has_origins = has_origins};
    print_object(&p, object, NULL, false, indent);
}

void conf_print_effective(const struct settings *s, bool has_origins, struct buf *out)
{
    conf_object_print(s, 0, has_origins, out);
}
