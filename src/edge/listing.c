/* SPDX-License-Identifier: Apache-2.0 */
/* The listing of a directory, as a page or as JSON. */
#include <stdlib.h>

#include "edge/files.h"
#include "edge/page.h"
#include "http/date.h"
#include "http/negotiate.h"
#include "http/target.h"
#include "log/escape.h"

#define LISTING_NAMES_MAX 10000u

struct listing_name {
    struct str name;
    struct file_info info;
};

struct listing {
    struct request *request;
    struct listing_name *names;
    size_t count;
    size_t capacity;
    bool is_cut;
    bool is_failed;
    struct str directory;
};

static void listing_href(struct str name, bool is_directory, struct buf *out)
{
    /* A name is data: a percent sign in it must not start an escape, and a colon no scheme. */
    static const char hex[] = "0123456789ABCDEF";
    buf_add_str(out, STR("./"));
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (ascii_is_alpha((char)c) || ascii_is_digit((char)c) || memchr("-._~", c, 4)) {
            buf_add_char(out, (char)c);
        } else {
            const char escape[3] = {'%', hex[c >> 4], hex[c & 15]};
            buf_add(out, escape, 3);
        }
    }
    if (is_directory) {
        buf_add_char(out, '/');
    }
}

/* Some names cannot be asked for, because no canonical path spells them (bytes that are no UTF-8,
 * control characters): a link to them would lead nowhere. ERR_NOMEM is no such verdict. */
static enum err listing_check_name(struct arena *arena, struct str name)
{
    struct buf link;
    struct http_path path;
    enum err e = ERR_NOMEM;
    buf_init(&link, 0);
    listing_href(name, false, &link);
    char *out = arena_alloc(arena, link.n + 1);
    if (!link.is_failed && out) {
        e = http_path_canonical(str_sub(buf_str(&link), 1, link.n), out, &path);
    }
    buf_done(&link);
    return e;
}

static bool listing_on_entry(void *context, const char *name)
{
    struct listing *l = context;
    struct arena *arena = &l->request->x->arena;
    struct file_info info;
    if (name[0] == '.' && !l->request->route->keys->dotfiles) {
        return true;
    }
    if (l->count == LISTING_NAMES_MAX) {
        l->is_cut = true;
        return false;
    }
    struct str path = arena_printf(arena, STR_FMT "%s", STR_ARG(l->directory), name);
    enum err e = path.p ? listing_check_name(arena, str_of(name)) : ERR_NOMEM;
    if (e == ERR_NOMEM) {
        l->is_failed = true;
        return false;
    }
    if (e) {
        return true;
    }
    if (file_info_beneath(l->request->route->root, path.p, site_links(l->request->route), &info) ||
        (!info.is_regular && !info.is_directory)) {
        return true; /* what would not be served is not shown */
    }
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 64;
        struct listing_name *names = arena_alloc(arena, capacity * sizeof(*names));
        if (!names) {
            l->is_failed = true;
            return false;
        }
        if (l->count) {
            memcpy(names, l->names, l->count * sizeof(*names));
        }
        l->names = names;
        l->capacity = capacity;
    }
    l->names[l->count++] = (struct listing_name){str_sub(path, l->directory.n, path.n), info};
    return true;
}

static int listing_compare(const void *a, const void *b)
{
    const struct listing_name *x = a, *y = b;
    if (x->info.is_directory != y->info.is_directory) {
        return x->info.is_directory ? -1 : 1;
    }
    return str_cmp(x->name, y->name);
}

static void listing_size(uint64_t bytes, struct buf *out)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    unsigned unit = 0;
    double value = (double)bytes;
    while (value >= 1000 && unit < 4) {
        value /= 1000;
        unit++;
    }
    buf_printf(out, unit && value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

static void listing_html(const struct listing *l, struct str path, struct buf *out)
{
    page_begin(path, out);
    buf_add_str(out, STR("<h1>"));
    page_escape(path, out);
    buf_add_str(out, STR("</h1>\n<table>\n<thead><tr><th>Name</th><th>Size</th><th>Changed</th>"
                         "</tr></thead>\n<tbody>\n"));
    if (path.n > 1) {
        buf_add_str(out, STR("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n"));
    }
    for (size_t i = 0; i < l->count; i++) {
        const struct listing_name *n = &l->names[i];
        char date[HTTP_DATE_BYTES];
        http_date_format(n->info.mtime_s, date);
        buf_add_str(out, STR("<tr><td><a href=\""));
        listing_href(n->name, n->info.is_directory, out);
        buf_add_str(out, STR("\">"));
        page_escape(n->name, out);
        buf_add_str(out, n->info.is_directory ? STR("/</a></td><td>") : STR("</a></td><td>"));
        if (!n->info.is_directory) {
            listing_size(n->info.size, out);
        }
        buf_printf(out, "</td><td>%.17s</td></tr>\n", date + 5);
    }
    buf_add_str(out, STR("</tbody>\n</table>\n"));
    if (l->is_cut) {
        buf_printf(out, "<p>Only the first %u entries are shown.</p>\n", LISTING_NAMES_MAX);
    }
    page_end(out);
}

static void listing_json(const struct listing *l, struct buf *out)
{
    buf_add_char(out, '[');
    for (size_t i = 0; i < l->count; i++) {
        const struct listing_name *n = &l->names[i];
        buf_add_str(out, i ? STR(",\n {\"name\":\"") : STR("\n {\"name\":\""));
        escape_json(out, n->name);
        buf_printf(out, "\",\"type\":\"%s\",\"size\":%llu,\"mtime\":%lld}",
                   n->info.is_directory ? "directory" : "file", (unsigned long long)n->info.size,
                   (long long)n->info.mtime_s);
    }
    buf_add_str(out, STR("\n]\n"));
}

void listing_answer(struct request *r, const struct file_entry *directory)
{
    struct listing l = {.request = r, .directory = arena_str(&r->x->arena, directory->name)};
    static const struct str offered[] = {{"text/html", 9}, {"application/json", 16}};
    enum err e = l.directory.p ? file_list(directory->file->fd, listing_on_entry, &l) : ERR_NOMEM;
    if (e || l.is_failed) {
        request_fail(r, 503, "the directory cannot be read");
        return;
    }
    if (l.count) {
        qsort(l.names, l.count, sizeof(*l.names), listing_compare);
    }
    bool is_json = r->route->keys->listing == LISTING_JSON ||
                   http_accept_media_type(&r->x->request->fields, offered, 2) == 1;
    struct buf out;
    buf_init(&out, 0);
    if (is_json) {
        listing_json(&l, &out);
    } else {
        listing_html(&l, r->path, &out);
    }
    if (out.is_failed) {
        request_fail(r, 503, "out of memory");
    } else {
        request_answer(r, 200, is_json ? STR("application/json") : STR("text/html; charset=utf-8"),
                       buf_str(&out), (struct str){NULL, 0});
    }
    buf_done(&out);
}
