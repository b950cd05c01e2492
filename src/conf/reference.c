/* SPDX-License-Identifier: Apache-2.0 */
/* The reference page, and what each type looks like to people. */
#include <inttypes.h>

#include "conf/schema_int.h"

static void print_names(const struct conf_key *key, const char *last_word, struct buf *out)
{
    for (size_t i = 0; key->names[i] != NULL; i++) {
        if (i > 0) {
            bool is_last = key->names[i + 1] == NULL;
            buf_printf(out, "%s", is_last ? last_word : ", ");
        }
        buf_printf(out, "%s", key->names[i]);
    }
}

static void print_bound(const struct conf_key *key, int64_t value, struct buf *out)
{
    if (key->type == CONF_DURATION) {
        value_print_duration(value, out);
    } else if (key->type == CONF_SIZE || key->type == CONF_RATE) {
        value_print_size(value, out);
    } else {
        buf_printf(out, "%" PRId64, value);
    }
}

static void print_bounds(const struct conf_key *key, struct buf *out)
{
    if (key->min == 0 && key->max == 0) {
        return;
    }
    if (key->max == INT64_MAX) {
        buf_add_str(out, STR(", at least "));
        print_bound(key, key->min, out);
        return;
    }
    buf_add_str(out, STR(", "));
    print_bound(key, key->min, out);
    buf_add_str(out, STR(" to "));
    print_bound(key, key->max, out);
}

void conf_type_print(const struct conf_key *key, struct buf *out)
{
    static const char *const texts[] = {
        [CONF_BOOL] = "true or false",
        [CONF_INT] = "a whole number",
        [CONF_DURATION] = "a duration such as 500ms, 60s, 10m, 1h or 7d",
        [CONF_SIZE] = "a size such as 512B, 32KB, 10MB or 4MiB",
        [CONF_RATE] = "a rate such as 240B/s or 1MB/s",
        [CONF_SHARE] = "a share such as 10%",
        [CONF_STATUS] = "an HTTP status",
        [CONF_ENUM] = "",
        [CONF_STRING] = "a text",
        [CONF_PATH] = "a path in the file system",
        [CONF_PATTERN] = "a path such as /a, /a/* or /a/**",
        [CONF_REGEX] = "a regular expression",
        [CONF_OUTPUT] = "stderr",
        [CONF_LISTEN] = "addr:port, [v6]:port, a port, unix:/path or fd:N",
        [CONF_STRING_LIST] = "a list of texts",
        [CONF_ENUM_LIST] = "a list of ",
        [CONF_LISTEN_LIST] = "a list of a port, addr:port, [v6]:port, unix:/path or fd:N",
        [CONF_CIDR_LIST] = "a list of IP addresses and networks",
        [CONF_DOMAIN_LIST] = "a list of domains",
        [CONF_STRING_MAP] = "a map of names to texts or null",
        [CONF_STATUS_MAP] = "a map of statuses (404, 4xx) to files",
        [CONF_OBJECT] = "a map",
        [CONF_OBJECT_LIST] = "a list of maps",
        [CONF_OBJECT_MAP] = "a map of names to maps",
        [CONF_EMBED] = "",
    };
    if ((key->flags & CONF_AUTO_OK) != 0) {
        buf_add_str(out, STR("auto or "));
    }
    if (key->type == CONF_OBJECT && key->child->has_switch) {
        buf_add_str(out, STR("off or "));
    }
    buf_add_str(out, str_of(texts[key->type]));
    if (key->type == CONF_ENUM) {
        print_names(key, " or ", out);
    } else if (key->type == CONF_ENUM_LIST) {
        print_names(key, " and ", out);
    } else if (key->type == CONF_OUTPUT) {
        buf_add_str(out, (key->flags & CONF_NO_STDOUT) != 0 ? STR(" or a file")
                                                            : STR(", stdout or a file"));
    } else if (key->type == CONF_OBJECT && key->child->short_key != NULL) {
        buf_printf(out, ", or just its \"%s\"", key->child->short_key);
    } else if ((key->type == CONF_OBJECT_LIST || key->type == CONF_OBJECT_MAP) &&
               key->child->short_key != NULL) {
        buf_printf(out, ", or of just their \"%s\"", key->child->short_key);
    } else if ((key->flags & CONF_WORDS) != 0) {
        buf_add_str(out, STR(", or one that is split into words"));
    }
    print_bounds(key, out);
    if ((key->flags & CONF_OFF_OK) != 0) {
        buf_add_str(out, STR(", or off"));
    }
}

/* Text inside a table cell. */
static void print_cell(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '|') {
            buf_add_char(out, '\\');
        }
        buf_add_char(out, s.p[i]);
    }
}

static void print_key(void *arg, const char *path, const struct conf_key *key)
{
    struct buf *out = arg;
    if (strstr(path, "backends.<name>.") != NULL) {
        return; /* those of hosts[].backend, which have their place */
    }
    struct buf type;
    buf_init(&type, 0);
    conf_type_print(key, &type);
    /* Keys that a host and its routes share are described once, on the host. */
    const char *shared = strstr(path, "routes[].");
    struct str name = shared != NULL ? str_of(shared + strlen("routes[].")) : STR("");
    ptrdiff_t dot = str_index(name, '.');
    struct str head = dot >= 0 ? str_sub(name, 0, (size_t)dot) : name;
    const struct conf_key *hosts = conf_table_find(&conf_table_root, STR("hosts"), NULL);
    size_t offset = 0;
    bool is_shared =
        shared != NULL && conf_table_find(hosts->child, head, &offset) != NULL && offset > 0;
    if (!is_shared) {
        buf_printf(out, "| `%s` | ", path);
        print_cell(buf_str(&type), out);
        buf_add_str(out, STR(" | "));
        if (key->default_text != NULL && key->default_text[0] != '\0') {
            buf_printf(out, "`%s`", key->default_text);
        } else if ((key->flags & CONF_REQUIRED) != 0) {
            buf_add_str(out, STR("required"));
        } else if (key->default_text != NULL) {
            buf_add_str(out, STR("`\"\"`"));
        } else {
            buf_add_str(out, STR("–"));
        }
        buf_add_str(out, STR(" | "));
        print_cell(str_of(key->doc), out);
        buf_add_str(out, STR(" | "));
        if (key->example != NULL) {
            buf_add_char(out, '`');
            print_cell(str_of(key->example), out);
            buf_add_char(out, '`');
        }
        buf_add_str(out, STR(" |\n"));
    }
    out->is_failed |= type.is_failed;
    buf_done(&type);
}

void conf_reference_markdown(struct buf *out)
{
    buf_add_str(
        out,
        STR("# Configuration reference\n\n"
            "Made from the schema of the program (`src/conf/tables.c`); do not edit.\n\n"
            "A configuration is YAML without anchors, tags and merge keys. Durations, sizes and "
            "rates carry a unit: KB is 1000 bytes, KiB is 1024. Where a list is due, one value is "
            "a list of one. `null` takes a value back to its default. Relative paths begin at the "
            "directory of the file they stand in. `include: conf.d/*.yaml` reads more files. "
            "`${env:NAME}`, `${env:NAME:-default}` and `${file:/path}` are replaced inside texts; "
            "`$${env:` stands for itself.\n\n"
            "The keys from `hosts[].root` to `hosts[].log` may stand on each route too; a route "
            "takes what it does not say from its host, maps key by key.\n\n"
            "| Key | Value | Default | Meaning | Example |\n|---|---|---|---|---|\n"));
    conf_keys_walk(print_key, out);
}
