/* SPDX-License-Identifier: Apache-2.0 */
/* Which file a request means, and what is answered where it means none. */
#include "edge/files.h"

#include "edge/file_send.h"
#include "http/negotiate.h"
#include "http/target.h"

bool files_is_hidden(struct str name)
{
    struct str rest = name, segment;
    bool is_first = true;
    while (str_split(&rest, '/', &segment)) {
        bool is_known = is_first && str_eq(segment, STR(".well-known"));
        if (segment.n && segment.p[0] == '.' && !is_known) {
            return true;
        }
        is_first = false;
    }
    return false;
}

static enum err files_get(struct request *r, struct str name, struct file_entry **ret_entry)
{
    return file_cache_get(r->pipeline->files, r->route, r->x->peer->tls != NULL, name,
                          loop_now_ms(r->pipeline->loop), ret_entry);
}

static void files_fail(struct request *r, enum err e)
{
    request_fail(r, e == ERR_NOMEM || e == ERR_LIMIT ? 503 : 500, err_text(e));
}

/* A browser that opens a page, not a script that asks for data or an asset. */
static bool files_is_navigation(const struct request *r)
{
    struct str accept = http_fields_value(&r->x->request->fields, HTTP_FIELD_ACCEPT);
    return accept.p && memmem(accept.p, accept.n, "text/html", 9) &&
           http_accept_weight(&r->x->request->fields, STR("text/html")) > 0;
}

static void files_missing(struct request *r, enum file_kind kind)
{
    struct str fallback = r->route->keys->fallback;
    struct file_entry *e;
    if (fallback.p && files_is_navigation(r)) {
        struct str name =
            fallback.n && fallback.p[0] == '/' ? str_sub(fallback, 1, fallback.n) : fallback;
        enum err err = files_get(r, name, &e);
        if (err) {
            files_fail(r, err);
            return;
        }
        if (e->kind == FILE_REGULAR) {
            REQUEST_NOTE(r, "file", "the fallback " STR_FMT ": a page that is no file",
                         STR_ARG(fallback));
            file_send(r, e);
            return;
        }
    }
    if (kind == FILE_FORBIDDEN) {
        REQUEST_NOTE(r, "file", "not permitted: by the file system, or a link that leads outside");
    }
    request_fail(r, 404, kind == FILE_FORBIDDEN ? "file not permitted" : "no such file");
}

static void files_directory(struct request *r, struct str name)
{
    const struct route_keys *keys = r->route->keys;
    if (r->path.p[r->path.n - 1] != '/') {
        struct str with_slash = arena_printf(&r->x->arena, STR_FMT "/", STR_ARG(r->path));
        if (!with_slash.p) {
            files_fail(r, ERR_NOMEM);
            return;
        }
        REQUEST_NOTE(r, "file", "a directory: its name ends with a slash");
        request_redirect_path(r, 308, with_slash);
        return;
    }
    for (size_t i = 0; i < keys->index.count; i++) {
        struct file_entry *e;
        struct str path = arena_printf(&r->x->arena, STR_FMT STR_FMT, STR_ARG(name),
                                       STR_ARG(keys->index.items[i]));
        enum err err = path.p ? files_get(r, path, &e) : ERR_NOMEM;
        if (err) {
            files_fail(r, err);
            return;
        }
        if (e->kind == FILE_REGULAR) {
            REQUEST_NOTE(r, "file", "index " STR_FMT, STR_ARG(path));
            file_send(r, e);
            return;
        }
    }
    /* Looked up again, because the index lookups may have evicted the entry. */
    if (keys->listing != LISTING_OFF) {
        struct file_entry *again;
        enum err err = files_get(r, name, &again);
        if (err) {
            files_fail(r, err);
            return;
        }
        if (again->kind == FILE_DIRECTORY) {
            REQUEST_NOTE(r, "file", "a listing of the directory");
            listing_answer(r, again);
            return;
        }
    }
    files_missing(r, FILE_MISSING);
}

static bool files_method_is_served(struct request *r)
{
    enum http_method method = r->x->request->method;
    if (method == HTTP_GET || method == HTTP_HEAD) {
        return true;
    }
    if (method == HTTP_OPTIONS) {
        request_answer(r, 204, (struct str){NULL, 0}, STR(""), (struct str){NULL, 0});
    } else {
        request_fail(r, 405, "method not served for files");
    }
    return false;
}

void files_handle(struct request *r)
{
    if (!files_method_is_served(r)) {
        return;
    }
    struct str name = str_sub(r->path, 1, r->path.n);
    if (memchr(r->path.p, '%', r->path.n)) {
        char *out = arena_alloc(&r->x->arena, r->path.n + 1);
        struct str whole;
        if (!out) {
            files_fail(r, ERR_NOMEM);
            return;
        }
        if (http_path_to_file(r->path, out, &whole) != ERR_OK) {
            request_fail(r, 404, "encoded slash in a file name");
            return;
        }
        name = str_sub(whole, 1, whole.n);
    }
    if (!r->route->keys->dotfiles && files_is_hidden(name)) {
        request_fail(r, 404, "hidden file");
        return;
    }
    struct file_entry *e;
    enum err err = files_get(r, name, &e);
    if (err) {
        files_fail(r, err);
        return;
    }
    bool is_dir_path = name.n == 0 || name.p[name.n - 1] == '/';
    switch (e->kind) {
    case FILE_DIRECTORY:
        files_directory(r, name);
        return;
    case FILE_REGULAR:
        if (is_dir_path) {
            request_fail(r, 404, "a file is no directory");
        } else {
            REQUEST_NOTE(r, "file", STR_FMT, STR_ARG(name));
            file_send(r, e);
        }
        return;
    case FILE_MISSING:
    case FILE_FORBIDDEN:
        files_missing(r, e->kind);
        return;
    }
}

enum err files_answer_page(struct request *r, struct str name, uint16_t status)
{
    struct file_entry *e;
    if (r->route->root < 0 || files_get(r, name, &e) != ERR_OK || e->kind != FILE_REGULAR) {
        return ERR_NOT_FOUND;
    }
    file_send_page(r, e, status);
    return ERR_OK;
}
