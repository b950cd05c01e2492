/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema, draft 2020-12, for editors. Values may be null everywhere: it unsets. Texts may be
 * written by ${...}, so their form is left to the loader where a pattern would refuse that. */
#include <inttypes.h>

#include "conf/schema_int.h"

static void print_table(const struct conf_table *table, struct buf *out);
static void print_off(const struct conf_key *key, struct buf *out)
{
    if ((key->flags & CONF_OFF_OK) != 0) {
        buf_add_str(out, STR(",{\"const\":\"off\"}"));
    }
}

static void print_type(const struct conf_key *key, struct buf *out);

static void print_string(struct str s, struct buf *out)
{
    buf_add_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            buf_add_char(out, '\\');
        }
        if (c < 0x20) {
            buf_printf(out, "\\u%04x", c);
        } else {
            buf_add_char(out, (char)c);
        }
    }
    buf_add_char(out, '"');
}

static void print_enum(const struct conf_key *key, struct buf *out)
{
    buf_add_str(out, STR("{\"enum\":["));
    for (size_t i = 0; key->names[i] != NULL; i++) {
        buf_add_str(out, i > 0 ? STR(",") : STR(""));
        print_string(str_of(key->names[i]), out);
    }
    buf_add_str(out, STR("]}"));
}

static void print_list_of(const char *item, struct buf *out)
{
    buf_printf(out, "%s,{\"type\":\"array\",\"items\":%s}", item, item);
}

/* The alternatives of a value, between commas. */
/* Alternatives for one item of a list of objects. */
static void print_item(const struct conf_table *table, struct buf *out)
{
    if (table->short_key != NULL) {
        print_type(conf_table_find(table, str_of(table->short_key), NULL), out);
        buf_add_char(out, ',');
    }
    print_table(table, out);
}

static void print_type(const struct conf_key *key, struct buf *out)
{
    static const char *const text = "{\"type\":\"string\"}";
    static const char *const text_or_number = "{\"type\":[\"string\",\"integer\"]}";
    switch (key->type) {
    case CONF_BOOL:
        buf_printf(out, "{\"type\":\"boolean\"},{\"type\":\"string\",\"pattern\":\"[$][{]\"}");
        return;
    case CONF_INT:
    case CONF_STATUS:
        buf_add_str(out, STR("{\"type\":\"integer\""));
        if (key->min != 0 || key->max != 0) {
            buf_printf(out, ",\"minimum\":%" PRId64 ",\"maximum\":%" PRId64, key->min, key->max);
        }
        buf_add_str(out, STR("},{\"type\":\"string\",\"pattern\":\"[$][{]\"}"));
        if ((key->flags & CONF_AUTO_OK) != 0) {
            buf_add_str(out, STR(",{\"const\":\"auto\"}"));
        }
        return;
    case CONF_DURATION:
        buf_add_str(out, STR("{\"type\":\"string\",\"pattern\":\"^[0-9]+(ms|s|m|h|d)$|[$][{]\"}"));
        print_off(key, out);
        return;
    case CONF_SIZE:
        buf_add_str(
            out, STR("{\"type\":\"string\",\"pattern\":\"^[0-9]+(B|[KMGT]B|[KMGT]iB)$|[$][{]\"}"));
        print_off(key, out);
        return;
    case CONF_RATE:
        buf_add_str(
            out,
            STR("{\"type\":\"string\",\"pattern\":\"^[0-9]+(B|[KMGT]B|[KMGT]iB)/s$|[$][{]\"}"));
        return;
    case CONF_SHARE:
        buf_add_str(out,
                    STR("{\"type\":\"string\",\"pattern\":\"^[0-9]+([.][0-9]{1,4})?%$|[$][{]\"}"));
        return;
    case CONF_ENUM:
        print_enum(key, out);
        return;
    case CONF_PATTERN:
        buf_add_str(out, STR("{\"type\":\"string\",\"pattern\":\"^/|[$][{]\"}"));
        return;
    case CONF_STRING:
    case CONF_PATH:
    case CONF_REGEX:
    case CONF_OUTPUT:
        buf_add_str(out, str_of(text));
        return;
    case CONF_LISTEN:
        buf_add_str(out, str_of(text_or_number));
        return;
    case CONF_LISTEN_LIST:
        print_list_of(text_or_number, out);
        return;
    case CONF_STRING_LIST:
    case CONF_CIDR_LIST:
    case CONF_DOMAIN_LIST:
        print_list_of(text, out);
        return;
    case CONF_ENUM_LIST:
        print_enum(key, out);
        buf_add_str(out, STR(",{\"type\":\"array\",\"uniqueItems\":true,\"items\":"));
        print_enum(key, out);
        buf_add_char(out, '}');
        print_off(key, out);
        return;
    case CONF_STRING_MAP:
        buf_add_str(out, STR("{\"type\":\"object\",\"additionalProperties\":"
                             "{\"type\":[\"string\",\"number\",\"boolean\",\"null\"]}}"));
        return;
    case CONF_STATUS_MAP:
        buf_add_str(out, STR("{\"type\":\"object\",\"additionalProperties\":false,"
                             "\"patternProperties\":{\"^[45]([0-9][0-9]|xx)$\":"
                             "{\"type\":[\"string\",\"null\"]}}}"));
        return;
    case CONF_OBJECT: {
        if (key->child->has_switch) {
            buf_add_str(out, STR("{\"const\":\"off\"},"));
        }
        if (key->child->short_key != NULL) {
            print_type(conf_table_find(key->child, str_of(key->child->short_key), NULL), out);
            buf_add_char(out, ',');
        }
        print_table(key->child, out);
        return;
    }
    case CONF_OBJECT_LIST:
        print_item(key->child, out);
        buf_add_str(out, STR(",{\"type\":\"array\",\"items\":{\"anyOf\":["));
        print_item(key->child, out);
        buf_add_str(out, STR("]}}"));
        return;
    case CONF_OBJECT_MAP:
        buf_add_str(out, STR("{\"type\":\"object\",\"additionalProperties\":{\"anyOf\":["));
        print_item(key->child, out);
        buf_add_str(out, STR(",{\"type\":\"null\"}]}}"));
        return;
    case CONF_EMBED:
        return;
    }
}

static void print_properties(const struct conf_table *table, bool *is_first, struct buf *out)
{
    for (size_t i = 0; i < table->key_count; i++) {
        const struct conf_key *key = &table->keys[i];
        if (key->type == CONF_EMBED) {
            print_properties(key->child, is_first, out);
            continue;
        }
        buf_printf(out, "%s\"%s\":{\"description\":", *is_first ? "" : ",", key->name);
        *is_first = false;
        print_string(str_of(key->doc), out);
        if (key->default_text != NULL && key->default_text[0] != '[') {
            buf_add_str(out, STR(",\"default\":"));
            bool is_raw = key->type == CONF_BOOL || key->type == CONF_STATUS ||
                          (key->type == CONF_INT && key->default_text[0] != 'a');
            if (is_raw) {
                buf_add_str(out, str_of(key->default_text));
            } else {
                print_string(str_of(key->default_text), out);
            }
        }
        buf_add_str(out, STR(",\"anyOf\":["));
        print_type(key, out);
        buf_add_str(out, STR(",{\"type\":\"null\"}]}"));
    }
}

static void print_table(const struct conf_table *table, struct buf *out)
{
    bool is_first = true;
    buf_add_str(out, STR("{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"));
    if (table == &conf_table_root) {
        buf_add_str(out, STR("\"include\":{\"description\":\"More files to read.\",\"anyOf\":["
                             "{\"type\":\"string\"},{\"type\":\"array\",\"items\":"
                             "{\"type\":\"string\"}}]}"));
        is_first = false;
    }
    print_properties(table, &is_first, out);
    buf_add_str(out, STR("},\"required\":["));
    bool is_first_required = true;
    /* What a route writes of a redirect may be completed by its host. */
    for (size_t i = 0; !table->has_switch && i < table->key_count; i++) {
        if ((table->keys[i].flags & CONF_REQUIRED) != 0) {
            buf_printf(out, "%s\"%s\"", is_first_required ? "" : ",", table->keys[i].name);
            is_first_required = false;
        }
    }
    buf_add_str(out, STR("]}"));
}

void conf_json_schema(struct buf *out)
{
    buf_add_str(out, STR("{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\","
                         "\"title\":\"Selenia configuration\",\"allOf\":["));
    print_table(&conf_table_root, out);
    buf_add_str(out, STR("]}\n"));
}
