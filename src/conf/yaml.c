/* SPDX-License-Identifier: Apache-2.0 */
/* From libyaml's events to nodes. The only file that knows libyaml. */
#include <stdlib.h>
#include <yaml.h>

#include "base/assert.h"
#include "base/mem.h"
#include "conf/node.h"

/* A list or map that is still open. Its entries grow on the heap and move to the arena when it
 * closes. */
struct frame {
    struct node *node;
    struct node_entry *entries;
    size_t count;
    size_t capacity;
    bool has_key; /* map: the last entry waits for its value */
    bool is_flow;
};

struct reader {
    struct arena *arena;
    const struct conf_source *source;
    struct diag_list *diags;
    struct node *root;
    struct frame frames[NODE_DEPTH_MAX];
    size_t depth;
    size_t document_count;
};

static struct conf_origin origin_of(const struct reader *r, const yaml_mark_t *mark)
{
    return (struct conf_origin){r->source, (uint32_t)mark->line + 1, (uint32_t)mark->column + 1};
}

/* The text of the line from a mark to its end. */
static struct str rest_of_line(const struct reader *r, const yaml_mark_t *mark)
{
    struct str line = conf_source_line(r->source, (uint32_t)mark->line + 1);
    size_t at = 0;
    for (size_t i = 0; i < mark->column && at < line.n; i++) {
        at++;
        while (at < line.n && ((unsigned char)line.p[at] & 0xc0) == 0x80) {
            at++;
        }
    }
    return str_sub(line, at, line.n - at);
}

static enum err node_add(struct reader *r, struct node *n)
{
    if (r->depth == 0) {
        r->root = n;
        return ERR_OK;
    }
    struct frame *f = &r->frames[r->depth - 1];
    if (f->node->kind == NODE_MAP) {
        ASSERT(f->has_key);
        f->entries[f->count - 1].value = n;
        f->has_key = false;
        return ERR_OK;
    }
    if (f->count == f->capacity) {
        size_t capacity = f->capacity > 0 ? f->capacity * 2 : 8;
        struct node_entry *grown = mem_realloc(f->entries, capacity * sizeof(*grown));
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        f->entries = grown;
        f->capacity = capacity;
    }
    memset(&f->entries[f->count], 0, sizeof(*f->entries));
    f->entries[f->count++].value = n;
    return ERR_OK;
}

static bool wants_key(const struct reader *r)
{
    return r->depth > 0 && r->frames[r->depth - 1].node->kind == NODE_MAP &&
           !r->frames[r->depth - 1].has_key;
}

static enum err key_add(struct reader *r, const yaml_event_t *event)
{
    struct frame *f = &r->frames[r->depth - 1];
    struct str text = str_make((const char *)event->data.scalar.value, event->data.scalar.length);
    struct conf_origin at = origin_of(r, &event->start_mark);
    if (str_eq(text, STR("<<")) && event->data.scalar.plain_implicit) {
        (void)diag_add(r->diags, at, "merge keys (<<) are not used here: write the keys out");
        return ERR_CONFIG;
    }
    if (text.n > NODE_KEY_BYTES_MAX || memchr(text.p, 0, text.n) != NULL) {
        (void)diag_add(r->diags, at, "a key is at most %d bytes long and holds no NUL",
                       NODE_KEY_BYTES_MAX);
        return ERR_CONFIG;
    }
    if (f->count == f->capacity) {
        size_t capacity = f->capacity > 0 ? f->capacity * 2 : 8;
        struct node_entry *grown = mem_realloc(f->entries, capacity * sizeof(*grown));
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        f->entries = grown;
        f->capacity = capacity;
    }
    struct node_entry *entry = &f->entries[f->count];
    memset(entry, 0, sizeof(*entry));
    entry->key = arena_str(r->arena, text);
    entry->key_origin = at;
    if (entry->key.p == NULL) {
        return ERR_NOMEM;
    }
    f->count++;
    f->has_key = true;
    return ERR_OK;
}

/* `{a, b: c}`: an unquoted comma in {} ends a value, and the rest becomes a key without a value. */
static enum err check_flow_value(struct reader *r, const yaml_event_t *event)
{
    const struct frame *f = &r->frames[r->depth - 1];
    if (r->depth == 0 || f->node->kind != NODE_MAP || !f->is_flow || !f->has_key ||
        event->data.scalar.length > 0 || event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
        return ERR_OK;
    }
    const struct node_entry *entry = &f->entries[f->count - 1];
    struct str rest = rest_of_line(r, &event->start_mark);
    struct str line = conf_source_line(r->source, (uint32_t)event->start_mark.line + 1);
    size_t at = line.n - rest.n;
    while (at > 0 && (line.p[at - 1] == ' ' || line.p[at - 1] == '\t')) {
        at--;
    }
    if ((at > 0 && line.p[at - 1] == ':') || (rest.n > 0 && rest.p[0] == ':')) {
        return ERR_OK;
    }
    (void)diag_add(r->diags, entry->key_origin,
                   "\"" STR_FMT "\" has no value: inside { } an unquoted comma or brace ends a "
                   "text, so put the whole text in quotes",
                   STR_ARG(entry->key));
    return ERR_CONFIG;
}

static enum err on_scalar(struct reader *r, const yaml_event_t *event)
{
    if (event->data.scalar.tag != NULL) {
        (void)diag_add(r->diags, origin_of(r, &event->start_mark),
                       "tags (!) are not used here: types come from the schema; a text that begins "
                       "with ! needs quotes");
        return ERR_CONFIG;
    }
    if (wants_key(r)) {
        return key_add(r, event);
    }
    enum err e = r->depth > 0 ? check_flow_value(r, event) : ERR_OK;
    if (e != ERR_OK) {
        return e;
    }
    struct str text = str_make((const char *)event->data.scalar.value, event->data.scalar.length);
    if (text.n > 0 && memchr(text.p, 0, text.n) != NULL) {
        (void)diag_add(r->diags, origin_of(r, &event->start_mark), "a text cannot hold a NUL");
        return ERR_CONFIG;
    }
    struct node *n = arena_zalloc(r->arena, sizeof(*n));
    if (n == NULL) {
        return ERR_NOMEM;
    }
    n->kind = NODE_SCALAR;
    n->origin = origin_of(r, &event->start_mark);
    n->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    n->text = arena_str(r->arena, text);
    if (n->text.p == NULL) {
        return ERR_NOMEM;
    }
    return node_add(r, n);
}

static enum err on_open(struct reader *r, const yaml_event_t *event, enum node_kind kind,
                        bool is_flow, const yaml_char_t *tag)
{
    struct conf_origin at = origin_of(r, &event->start_mark);
    if (tag != NULL) {
        (void)diag_add(r->diags, at, "tags (!) are not used here: types come from the schema");
        return ERR_CONFIG;
    }
    if (wants_key(r)) {
        (void)diag_add(r->diags, at,
                       "a key must be a text; a text that begins with { or [ needs quotes");
        return ERR_CONFIG;
    }
    if (r->depth == NODE_DEPTH_MAX) {
        (void)diag_add(r->diags, at, "nested more than %d levels deep", NODE_DEPTH_MAX);
        return ERR_CONFIG;
    }
    struct node *n = arena_zalloc(r->arena, sizeof(*n));
    if (n == NULL) {
        return ERR_NOMEM;
    }
    n->kind = kind;
    n->origin = at;
    enum err e = node_add(r, n);
    if (e == ERR_OK) {
        r->frames[r->depth++] = (struct frame){.node = n, .is_flow = is_flow};
    }
    return e;
}

static int compare_entries(const void *a, const void *b)
{
    const struct node_entry *x = *(const struct node_entry *const *)a;
    const struct node_entry *y = *(const struct node_entry *const *)b;
    int order = str_cmp(x->key, y->key);
    if (order != 0) {
        return order;
    }
    return x < y ? -1 : x > y;
}

/* Reports the keys that stand in one map more than once; sorts so that a large map is no burden. */
static enum err check_duplicates(struct reader *r, const struct node *n)
{
    if (n->count < 2) {
        return ERR_OK;
    }
    const struct node_entry **sorted = mem_alloc(n->count * sizeof(struct node_entry *));
    if (sorted == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n->count; i++) {
        sorted[i] = &n->entries[i];
    }
    qsort(sorted, n->count, sizeof(struct node_entry *), compare_entries);
    enum err e = ERR_OK;
    for (size_t i = 1; i < n->count; i++) {
        if (str_eq(sorted[i - 1]->key, sorted[i]->key)) {
            (void)diag_add(r->diags, sorted[i]->key_origin,
                           "the key \"" STR_FMT "\" stands here a second time; the first is in "
                           "line %u",
                           STR_ARG(sorted[i]->key), sorted[i - 1]->key_origin.line);
            e = ERR_CONFIG;
        }
    }
    mem_free(sorted);
    return e;
}

static enum err on_close(struct reader *r)
{
    ASSERT(r->depth > 0);
    struct frame *f = &r->frames[r->depth - 1];
    struct node *n = f->node;
    size_t bytes = f->count * sizeof(*f->entries);
    n->entries = arena_alloc(r->arena, bytes > 0 ? bytes : 1);
    if (n->entries == NULL) {
        return ERR_NOMEM;
    }
    if (bytes > 0) {
        memcpy(n->entries, f->entries, bytes);
    }
    n->count = f->count;
    mem_free(f->entries);
    f->entries = NULL;
    r->depth--;
    return n->kind == NODE_MAP ? check_duplicates(r, n) : ERR_OK;
}

static enum err on_event(struct reader *r, const yaml_event_t *event)
{
    struct conf_origin at = origin_of(r, &event->start_mark);
    const yaml_char_t *anchor = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
    }
    if (anchor != NULL) {
        (void)diag_add(r->diags, at,
                       "anchors (&%s) are not used here; a text that begins with & needs quotes",
                       (const char *)anchor);
        return ERR_CONFIG;
    }
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        (void)diag_add(r->diags, at,
                       "a text that begins with * needs quotes: write \"*%s\" (YAML reads it as an "
                       "alias otherwise)",
                       (const char *)event->data.alias.anchor);
        return ERR_CONFIG;
    case YAML_SCALAR_EVENT:
        return on_scalar(r, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(r, event, NODE_LIST,
                       event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE,
                       event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return on_open(r, event, NODE_MAP,
                       event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE,
                       event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_close(r);
    case YAML_DOCUMENT_START_EVENT:
        if (++r->document_count > 1) {
            (void)diag_add(r->diags, at, "a file holds one document: remove this ---");
            return ERR_CONFIG;
        }
        return ERR_OK;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return ERR_OK;
    }
    return ERR_INTERNAL;
}

/* True where a value on this line begins with { and goes on behind the closing brace. */
static bool has_bare_brace(struct str line)
{
    for (size_t i = 0; i + 2 < line.n; i++) {
        if ((line.p[i] == ':' || line.p[i] == '-') && line.p[i + 1] == ' ') {
            struct str value = str_trim(str_sub(line, i + 2, line.n - i - 2));
            if (value.n > 1 && value.p[0] == '{' && value.p[value.n - 1] != '}') {
                return true;
            }
        }
    }
    return false;
}

/* True where a key and its colon stand on the line before `column` (from 1). */
static bool has_colon_before(struct str line, uint32_t column)
{
    for (size_t i = 0; i + 1 < line.n && i + 1 < column; i++) {
        if (line.p[i] == ':' && line.p[i + 1] == ' ') {
            return true;
        }
    }
    return false;
}

/* The first character of a line that is no space. */
static struct conf_origin origin_of_text(const struct reader *r, uint32_t line_number)
{
    struct str line = conf_source_line(r->source, line_number);
    uint32_t column = 1;
    while (column < line.n && line.p[column - 1] == ' ') {
        column++;
    }
    return (struct conf_origin){r->source, line_number, column};
}

/* libyaml's own sentence speaks of tokens; the usual traps get one that says what to write. */
static void explain(struct reader *r, const yaml_parser_t *parser)
{
    const char *problem = parser->problem != NULL ? parser->problem : "not valid YAML";
    const char *context = parser->context != NULL ? parser->context : "";
    if (parser->error == YAML_READER_ERROR) {
        struct str text = r->source->text;
        uint32_t line = 1;
        for (size_t i = 0; i < parser->problem_offset && i < text.n; i++) {
            line += text.p[i] == '\n';
        }
        (void)diag_add(r->diags, (struct conf_origin){r->source, line, 1},
                       "the file is not clean UTF-8 text: %s", problem);
        return;
    }
    struct conf_origin at = origin_of(r, &parser->problem_mark);
    struct str rest = rest_of_line(r, &parser->problem_mark);
    struct str line = conf_source_line(r->source, at.line);
    struct str space = line;
    while (space.n > 0 && space.p[0] == ' ') {
        space = str_sub(space, 1, space.n - 1);
    }
    char first = rest.n > 0 ? rest.p[0] : ' ';
    if (strstr(context, "alias") != NULL) {
        (void)diag_add(r->diags, origin_of(r, &parser->context_mark),
                       "a name that begins with * needs quotes: write \"*.example.com\", or "
                       ".example.com for the domain and all below it");
    } else if (strstr(context, "anchor") != NULL) {
        (void)diag_add(r->diags, origin_of(r, &parser->context_mark),
                       "a text that begins with & needs quotes");
    } else if (strstr(context, "tag") != NULL) {
        (void)diag_add(r->diags, origin_of(r, &parser->context_mark),
                       "a text that begins with ! needs quotes");
    } else if (first == '\t' || (space.n > 0 && space.p[0] == '\t')) {
        (void)diag_add(r->diags, at, "a tab cannot indent YAML: use spaces");
    } else if (first == '@' || first == '`' || first == '%') {
        (void)diag_add(r->diags, at, "a text that begins with %c needs quotes", first);
    } else if (has_bare_brace(line)) {
        (void)diag_add(r->diags, at, "a text that begins with { needs quotes");
    } else if (strstr(problem, "mapping values") != NULL && !has_colon_before(line, at.column)) {
        (void)diag_add(r->diags, origin_of_text(r, at.line),
                       "this line does not fit the lines before it: check how far it is indented");
    } else if (strstr(problem, "mapping values") != NULL) {
        (void)diag_add(r->diags, at, "a text with \": \" in it needs quotes");
    } else if (first == ':') {
        (void)diag_add(r->diags, at,
                       "a colon cannot stand here: ports are plain numbers, such as [80, 8080]");
    } else if (strstr(problem, "block end") != NULL || strstr(problem, "expected key") != NULL) {
        (void)diag_add(r->diags, at,
                       "this line does not fit the lines before it: check how far it is indented");
    } else {
        struct diag *d = diag_add(r->diags, at, "this is not valid YAML: %s", problem);
        if (context[0] != '\0') {
            diag_set_expected(r->diags, d, "valid YAML (%s that began in line %zu)", context,
                              parser->context_mark.line + 1);
        }
    }
}

enum err node_parse(struct arena *arena, const struct conf_source *source,
                    struct diag_list *reterr_diags, struct node **ret_root)
{
    if (source->text.n > NODE_TEXT_BYTES_MAX) {
        (void)diag_add_file(reterr_diags, source->name, "the file is longer than %d MB",
                            NODE_TEXT_BYTES_MAX / 1024 / 1024);
        return ERR_CONFIG;
    }
    struct reader *r = mem_zalloc(1, sizeof(*r));
    yaml_parser_t parser;
    if (r == NULL) {
        return ERR_NOMEM;
    }
    if (!yaml_parser_initialize(&parser)) {
        mem_free(r);
        return ERR_NOMEM;
    }
    r->arena = arena;
    r->source = source;
    r->diags = reterr_diags;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)source->text.p, source->text.n);

    enum err e = ERR_OK;
    bool is_end = false;
    while (e == ERR_OK && !is_end) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            e = parser.error == YAML_MEMORY_ERROR ? ERR_NOMEM : ERR_CONFIG;
            if (e == ERR_CONFIG) {
                explain(r, &parser);
            }
            break;
        }
        is_end = event.type == YAML_STREAM_END_EVENT;
        e = on_event(r, &event);
        yaml_event_delete(&event);
    }
    if (e == ERR_OK && (r->root == NULL || node_is_null(r->root))) {
        r->root = node_map_create(arena, (struct conf_origin){source, 1, 1}, 0);
        e = r->root != NULL ? ERR_OK : ERR_NOMEM;
    }
    if (e == ERR_OK && r->root->kind != NODE_MAP) {
        struct diag *d = diag_add(reterr_diags, r->root->origin,
                                  "a configuration begins with a key and a colon");
        diag_set_expected(reterr_diags, d, "for example \"hosts:\"");
        e = ERR_CONFIG;
    }
    if (e == ERR_OK) {
        *ret_root = r->root;
    }
    for (size_t i = 0; i < r->depth; i++) {
        mem_free(r->frames[i].entries);
    }
    yaml_parser_delete(&parser);
    mem_free(r);
    return e;
}
