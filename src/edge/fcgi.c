/* SPDX-License-Identifier: Apache-2.0 */
/* Which script a path means. Its suffix is compared byte for byte, and nothing is passed on that is
 * not a file below the root: the server of FastCGI would look for another one on its own. */
#include "edge/fcgi.h"

#include "edge/file_cache.h"
#include "edge/files.h"
#include "edge/proxy.h"
#include "edge/upstream.h"
#include "http/target.h"
#include "os/file.h"

static const struct fcgi_settings *fcgi_settings_of(const struct request *r)
{
    return &upstream_settings(r->upstream)->fcgi;
}

static void fcgi_fail(struct request *r, enum err e)
{
    request_fail(r, e == ERR_NOMEM || e == ERR_LIMIT ? 503 : 500, err_text(e));
}

/* Decoded once more: for a program, an encoded slash is a slash (RFC 3875 4.1.5). Pointer NULL: out
 * of memory. */
static struct str fcgi_decode(struct request *r, struct str canonical)
{
    char *out = arena_alloc(&r->x->arena, canonical.n + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < canonical.n; i++) {
        struct str code = str_sub(canonical, i, 3); /* what stays, see http/target.h */
        bool is_slash = str_eq(code, STR("%2F"));
        out[n++] = is_slash ? '/' : canonical.p[i];
        i += is_slash || str_eq(code, STR("%25")) ? 2 : 0;
    }
    return str_make(out, n);
}

/* The name of a file below the root, with a NUL behind it. ERR_SYNTAX: no file is called so. */
static enum err fcgi_file_name(struct request *r, struct str canonical, struct str *ret_name)
{
    char *out = arena_alloc(&r->x->arena, canonical.n + 1);
    struct str whole;
    if (!out) {
        return ERR_NOMEM;
    }
    enum err e = http_path_to_file(canonical, out, &whole);
    if (!e) {
        out[whole.n] = '\0';
        *ret_name = str_sub(whole, 1, whole.n);
    }
    return e;
}

/* Whether a regular file is there; it need not be readable for us. ERR_NOMEM, ERR_LIMIT. */
static enum err fcgi_probe(const struct request *r, struct str name, bool *ret_is_there)
{
    struct file_info info;
    enum err e = file_info_beneath(r->route->root, name.p, site_links(r->route), &info);
    *ret_is_there = !e && info.is_regular;
    return e == ERR_NOMEM || e == ERR_LIMIT ? e : ERR_OK;
}

static void fcgi_pass(struct request *r, struct str name, struct str path_info)
{
    struct fcgi_script *s = arena_zalloc(&r->x->arena, sizeof(*s));
    if (s) {
        s->name = name.n ? arena_str(&r->x->arena, name) : STR("");
        s->path_info = path_info.n ? arena_str(&r->x->arena, path_info) : STR("");
        s->query = r->query.n ? arena_str(&r->x->arena, r->query) : STR("");
    }
    if (!s || !s->name.p || !s->path_info.p || !s->query.p) {
        fcgi_fail(r, ERR_NOMEM);
        return;
    }
    r->script = s;
    proxy_handle(r);
}

/* ---- a script in the path ---- */

/* The end of the next segment of `path` behind `from` that is called like a script; 0: none. */
static size_t fcgi_next_script(struct str path, size_t from, struct str split)
{
    for (size_t begin = from; begin < path.n;) {
        ptrdiff_t slash = str_index(str_sub(path, begin, path.n), '/');
        size_t end = slash < 0 ? path.n : begin + (size_t)slash;
        struct str segment = str_sub(path, begin, end - begin);
        if (segment.n > split.n && str_ends_with(segment, split)) {
            return end;
        }
        begin = end + 1;
    }
    return 0;
}

/* `*ret_end` 0: nothing in the path is called like one; `*ret_name`: the script, or empty. */
static enum err fcgi_find_script(struct request *r, struct str *ret_name, size_t *ret_end)
{
    struct str split = fcgi_settings_of(r)->split;
    size_t end = 0;
    *ret_name = STR("");
    *ret_end = 0;
    while ((end = fcgi_next_script(r->path, end ? end + 1 : 1, split)) > 0) {
        struct str file;
        bool is_there = r->route->root < 0;
        *ret_end = end;
        enum err e = fcgi_file_name(r, str_sub(r->path, 0, end), &file);
        if (e == ERR_SYNTAX) {
            return ERR_OK;
        }
        if (!e && !is_there) {
            e = fcgi_probe(r, file, &is_there);
        }
        if (e || is_there) {
            *ret_name = str_make(file.p - 1, file.n + 1);
            return e;
        }
    }
    return ERR_OK;
}

/* ---- what no script in the path takes ---- */

/* The one script for everything else. */
static void fcgi_pass_to_index(struct request *r)
{
    const struct fcgi_settings *settings = fcgi_settings_of(r);
    struct str name = arena_printf(&r->x->arena, "/" STR_FMT, STR_ARG(settings->index));
    bool is_there = r->route->root < 0;
    enum err e = !name.p    ? ERR_NOMEM
                 : is_there ? ERR_OK
                            : fcgi_probe(r, str_sub(name, 1, name.n), &is_there);
    if (e) {
        fcgi_fail(r, e);
    } else if (is_there) {
        fcgi_pass(r, name, STR(""));
    } else {
        files_handle(r);
    }
}

static enum err fcgi_get(struct request *r, struct str name, enum file_kind *ret_kind)
{
    struct file_entry *entry;
    enum err e = file_cache_get(r->pipeline->files, r->route, r->x->peer->tls != NULL, name,
                                loop_now_ms(r->pipeline->loop), &entry);
    *ret_kind = e ? FILE_MISSING : entry->kind;
    return e;
}

/* Whether the handler of files has an answer for the directory. */
static enum err fcgi_has_page(struct request *r, struct str directory, bool *ret_has_page)
{
    const struct route_keys *keys = r->route->keys;
    enum err e = ERR_OK;
    *ret_has_page = keys->listing != LISTING_OFF;
    for (size_t i = 0; i < keys->index.count && !*ret_has_page && !e; i++) {
        enum file_kind kind = FILE_MISSING;
        struct str name =
            arena_printf(&r->x->arena, STR_FMT "%s" STR_FMT, STR_ARG(directory),
                         directory.n && directory.p[directory.n - 1] != '/' ? "/" : "",
                         STR_ARG(keys->index.items[i]));
        e = name.p ? fcgi_get(r, name, &kind) : ERR_NOMEM;
        *ret_has_page = kind == FILE_REGULAR;
    }
    return e;
}

static void fcgi_directory(struct request *r, struct str name)
{
    bool has_slash = name.n == 0 || name.p[name.n - 1] == '/';
    bool is_there = false, has_page = false;
    struct str script = arena_printf(&r->x->arena, "/" STR_FMT "%s" STR_FMT, STR_ARG(name),
                                     has_slash ? "" : "/", STR_ARG(fcgi_settings_of(r)->index));
    enum err e = script.p ? fcgi_probe(r, str_sub(script, 1, script.n), &is_there) : ERR_NOMEM;
    if (!e && !is_there) {
        e = fcgi_has_page(r, name, &has_page);
    }
    if (e) {
        fcgi_fail(r, e);
    } else if (is_there && !has_slash) {
        struct str path = arena_printf(&r->x->arena, STR_FMT "/", STR_ARG(r->path));
        if (path.p) {
            request_redirect_path(r, 308, path);
        } else {
            fcgi_fail(r, ERR_NOMEM);
        }
    } else if (is_there) {
        fcgi_pass(r, script, STR(""));
    } else if (has_page) {
        files_handle(r);
    } else {
        fcgi_pass_to_index(r);
    }
}

/* A file that is a script under another spelling would show its source where the file system takes
 * both for one. */
static bool fcgi_is_disguised(const struct request *r, struct str name)
{
    struct str split = fcgi_settings_of(r)->split;
    return name.n >= split.n && str_eq_ci(str_sub(name, name.n - split.n, split.n), split);
}

static void fcgi_handle_rest(struct request *r, struct str name)
{
    enum file_kind kind;
    enum err e = fcgi_get(r, name, &kind);
    if (e) {
        fcgi_fail(r, e);
    } else if (kind == FILE_DIRECTORY) {
        fcgi_directory(r, name);
    } else if (kind == FILE_REGULAR && fcgi_is_disguised(r, name)) {
        request_fail(r, 404, "a script under another spelling");
    } else if (kind == FILE_REGULAR) {
        files_handle(r);
    } else {
        fcgi_pass_to_index(r);
    }
}

/* ---- the handler ---- */

/* The whole path is for the program, but for files that lie beside it. */
static void fcgi_handle_program(struct request *r, struct str decoded, struct str name)
{
    enum file_kind kind = FILE_MISSING;
    enum err e = name.p ? fcgi_get(r, name, &kind) : ERR_OK;
    if (e) {
        fcgi_fail(r, e);
    } else if (kind == FILE_REGULAR) {
        files_handle(r);
    } else {
        fcgi_pass(r, STR(""), decoded);
    }
}

void fcgi_handle(struct request *r)
{
    bool has_scripts = !str_eq(fcgi_settings_of(r)->split, STR("off"));
    struct str decoded = fcgi_decode(r, r->path), name = {NULL, 0}, script;
    size_t end;
    enum err e = decoded.p ? ERR_OK : ERR_NOMEM;
    if (!e && r->route->root >= 0) {
        e = fcgi_file_name(r, r->path, &name);
        e = e == ERR_SYNTAX ? ERR_OK : e; /* no file, perhaps a path of the program */
    }
    if (e) {
        fcgi_fail(r, e);
        return;
    }
    if (!r->route->keys->dotfiles && files_is_hidden(str_sub(decoded, 1, decoded.n))) {
        request_fail(r, 404, "hidden file");
        return;
    }
    if (!has_scripts) {
        fcgi_handle_program(r, decoded, name);
        return;
    }
    e = fcgi_find_script(r, &script, &end);
    if (e) {
        fcgi_fail(r, e);
    } else if (script.n) {
        struct str info = fcgi_decode(r, str_sub(r->path, end, r->path.n));
        if (info.p) {
            fcgi_pass(r, script, info);
        } else {
            fcgi_fail(r, ERR_NOMEM);
        }
    } else if (end > 0) {
        request_fail(r, 404, "no such script");
    } else if (name.p) {
        fcgi_handle_rest(r, name);
    } else {
        fcgi_pass_to_index(r);
    }
}
