/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/diag.h"

#include <stdarg.h>
#include <stdio.h>

#include "conf/node.h"

enum {
    SENTENCE_BYTES_MAX = 1024,
    SOURCE_LINE_BYTES_MAX = 200, /* a longer line is cut around the fault */
};

void diag_list_init(struct diag_list *list)
{
    memset(list, 0, sizeof(*list));
    arena_init(&list->arena, 2048, 0);
}

void diag_list_done(struct diag_list *list)
{
    if (list == NULL) {
        return;
    }
    arena_done(&list->arena);
    list->count = 0;
    list->dropped_count = 0;
    list->is_out_of_memory = false;
}

/* Copies into the arena of the list; on failure remembers that and returns the empty text. */
static struct str keep(struct diag_list *list, struct str s)
{
    if (s.n == 0) {
        return STR("");
    }
    struct str copy = arena_str(&list->arena, s);
    if (copy.p == NULL) {
        list->is_out_of_memory = true;
        return STR("");
    }
    return copy;
}

static struct str keep_format(struct diag_list *list, const char *format, va_list args)
{
    char text[SENTENCE_BYTES_MAX];
    int n = vsnprintf(text, sizeof(text), format, args);
    if (n < 0) {
        n = 0;
    }
    size_t length = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    for (size_t i = 0; i < length; i++) {
        /* What a file holds must not steer the terminal that shows the message. */
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            text[i] = '?';
        }
    }
    return keep(list, str_make(text, length));
}

/* A value that several routes inherit is wrong once, not once a route. */
static bool is_known(const struct diag_list *list, struct conf_origin at, const char *sentence)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct diag *d = &list->items[i];
        if (d->line == at.line && d->column == at.column && at.source != NULL &&
            str_eq(d->file, str_of(at.source->name)) && str_eq(d->sentence, str_of(sentence))) {
            return true;
        }
    }
    return false;
}

static struct diag *add(struct diag_list *list, struct conf_origin at, const char *file,
                        const char *format, va_list args)
{
    struct str sentence = keep_format(list, format, args);
    if (is_known(list, at, sentence.p)) {
        return NULL;
    }
    if (list->count == DIAG_COUNT_MAX) {
        list->dropped_count++;
        return NULL;
    }
    struct diag *d = &list->items[list->count++];
    memset(d, 0, sizeof(*d));
    d->file = keep(list, str_of(file));
    d->sentence = sentence;
    d->source_line = STR("");
    d->expected = STR("");
    d->nearest = STR("");
    return d;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Byte offset of the character at `column` (from 1). */
static size_t column_offset(struct str line, uint32_t column)
{
    size_t at = 0;
    for (uint32_t i = 1; i < column && at < line.n; i++) {
        at++;
        while (at < line.n && is_continuation(line.p[at])) {
            at++;
        }
    }
    return at;
}

struct diag *diag_add(struct diag_list *list, struct conf_origin at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct diag *d = add(list, at, at.source != NULL ? at.source->name : "default", format, args);
    va_end(args);
    if (d == NULL || at.source == NULL) {
        return d;
    }
    d->line = at.line;
    d->column = at.column;
    struct str line = conf_source_line(at.source, at.line);
    if (line.n > SOURCE_LINE_BYTES_MAX) {
        /* A line this long is not read by people: show where it is cut only by position. */
        size_t fault = column_offset(line, at.column);
        if (fault >= SOURCE_LINE_BYTES_MAX) {
            line = str_make(NULL, 0);
        } else {
            size_t n = SOURCE_LINE_BYTES_MAX;
            while (n > 0 && is_continuation(line.p[n])) {
                n--;
            }
            line = str_sub(line, 0, n);
        }
    }
    d->source_line = keep(list, line);
    return d;
}

struct diag *diag_add_file(struct diag_list *list, const char *file, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct diag *d = add(list, (struct conf_origin){NULL, 0, 0}, file, format, args);
    va_end(args);
    return d;
}

void diag_set_expected(struct diag_list *list, struct diag *d, const char *format, ...)
{
    if (d == NULL) {
        return;
    }
    va_list args;
    va_start(args, format);
    d->expected = keep_format(list, format, args);
    va_end(args);
}

void diag_set_nearest(struct diag_list *list, struct diag *d, struct str nearest)
{
    if (d != NULL) {
        d->nearest = keep(list, nearest);
    }
}

void diag_list_sort(struct diag_list *list)
{
    for (size_t i = 1; i < list->count; i++) {
        struct diag d = list->items[i];
        size_t k = i;
        /* Goes back only among its own file, so files stay in the order they were read. */
        for (size_t at = i; at > 0; at--) {
            const struct diag *other = &list->items[at - 1];
            if (str_eq(other->file, d.file) &&
                (other->line > d.line || (other->line == d.line && other->column > d.column))) {
                k = at - 1;
            }
        }
        memmove(&list->items[k + 1], &list->items[k], (i - k) * sizeof(d));
        list->items[k] = d;
    }
}

void diag_print(const struct diag *d, struct buf *out)
{
    buf_add_str(out, d->file);
    if (d->line > 0) {
        buf_printf(out, ":%u:%u", d->line, d->column);
    }
    buf_printf(out, ": " STR_FMT "\n", STR_ARG(d->sentence));
    if (d->source_line.n > 0) {
        buf_add_str(out, STR("    "));
        for (size_t i = 0; i < d->source_line.n; i++) {
            unsigned char c = (unsigned char)d->source_line.p[i];
            buf_add_char(out, (c < 0x20 && c != '\t') || c == 0x7f ? '?' : (char)c);
        }
        buf_add_str(out, STR("\n    "));
        size_t fault = column_offset(d->source_line, d->column);
        for (size_t i = 0; i < fault; i++) {
            char c = d->source_line.p[i];
            if (!is_continuation(c)) {
                buf_add_char(out, c == '\t' ? '\t' : ' ');
            }
        }
        buf_add_str(out, STR("^\n"));
    }
    if (d->expected.n > 0) {
        buf_printf(out, "    expected: " STR_FMT "\n", STR_ARG(d->expected));
    }
    if (d->nearest.n > 0) {
        buf_printf(out, "    did you mean \"" STR_FMT "\"?\n", STR_ARG(d->nearest));
    }
}

void diag_list_print(const struct diag_list *list, struct buf *out)
{
    for (size_t i = 0; i < list->count; i++) {
        diag_print(&list->items[i], out);
    }
    if (list->dropped_count > 0) {
        buf_printf(out, "and %zu more\n", list->dropped_count);
    }
}

void conf_origin_print(struct conf_origin at, struct buf *out)
{
    if (at.source == NULL) {
        buf_add_str(out, STR("default"));
    } else {
        buf_printf(out, "%s:%u", at.source->name, at.line);
    }
}
