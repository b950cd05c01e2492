/* SPDX-License-Identifier: Apache-2.0 */
/* ${env:X}, ${env:X:-default} and ${file:/path} in scalars. Runs on the finished tree, so what is
 * put in can never add structure. */
#include "conf/node.h"

enum { EXPANDED_BYTES_MAX = 1024 * 1024 };

struct expander {
    struct arena *arena;
    const struct conf_io *io;
    struct diag_list *diags;
    struct buf out;
};

static bool is_utf8(struct str s)
{
    size_t i = 0;
    while (i < s.n) {
        unsigned char c = (unsigned char)s.p[i];
        size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : (c & 0xf0) == 0xe0 ? 2 : 3;
        if (c == 0 || (c >= 0x80 && c < 0xc2) || c > 0xf4 || more > s.n - i - 1) {
            return false;
        }
        uint32_t code = more == 0 ? c : c & (0x3fU >> more);
        for (size_t k = 1; k <= more; k++) {
            unsigned char next = (unsigned char)s.p[i + k];
            if ((next & 0xc0) != 0x80) {
                return false;
            }
            code = code << 6 | (next & 0x3f);
        }
        if ((more == 2 && code < 0x800) || (more == 3 && code < 0x10000) || code > 0x10ffff ||
            (code >= 0xd800 && code < 0xe000)) {
            return false;
        }
        i += more + 1;
    }
    return true;
}

static bool is_variable_name(struct str name)
{
    if (name.n == 0 || ascii_is_digit(name.p[0])) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        if (!ascii_is_alpha(name.p[i]) && !ascii_is_digit(name.p[i]) && name.p[i] != '_') {
            return false;
        }
    }
    return true;
}

static enum err expand_env(struct expander *x, const struct node *n, struct str body)
{
    struct str name = body;
    struct str fallback = str_make(NULL, 0);
    for (size_t i = 0; i + 1 < body.n; i++) {
        if (body.p[i] == ':' && body.p[i + 1] == '-') {
            name = str_sub(body, 0, i);
            fallback = str_make(body.p + i + 2, body.n - i - 2);
            break;
        }
    }
    if (!is_variable_name(name)) {
        struct diag *d =
            diag_add(x->diags, n->origin,
                     "\"" STR_FMT "\" is not the name of an environment variable", STR_ARG(name));
        diag_set_expected(x->diags, d, "${env:NAME} or ${env:NAME:-default}");
        return ERR_CONFIG;
    }
    struct str z = arena_str(x->arena, name);
    if (z.p == NULL) {
        return ERR_NOMEM;
    }
    const char *value = x->io->get_env(x->io->context, z.p);
    if ((value == NULL || value[0] == '\0') && fallback.p != NULL) {
        buf_add_str(&x->out, fallback);
        return ERR_OK;
    }
    if (value == NULL) {
        struct diag *d =
            diag_add(x->diags, n->origin, "the environment variable %s is not set", z.p);
        diag_set_expected(x->diags, d, "${env:%s:-default} where it may be missing", z.p);
        return ERR_CONFIG;
    }
    if (!is_utf8(str_of(value))) {
        (void)diag_add(x->diags, n->origin, "the environment variable %s is not UTF-8 text", z.p);
        return ERR_CONFIG;
    }
    buf_add_str(&x->out, str_of(value));
    return ERR_OK;
}

static enum err expand_file(struct expander *x, const struct node *n, struct str body)
{
    if (body.n == 0 || body.p[0] != '/') {
        (void)diag_add(x->diags, n->origin, "${file:...} takes a path that begins with /");
        return ERR_CONFIG;
    }
    struct str path = arena_str(x->arena, body);
    if (path.p == NULL) {
        return ERR_NOMEM;
    }
    struct buf text;
    buf_init(&text, EXPANDED_BYTES_MAX);
    enum err e = x->io->read_file(x->io->context, path.p, &text);
    struct str s = buf_str(&text);
    if (e == ERR_OK) {
        while (s.n > 0 && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r')) {
            s.n--;
        }
        if (is_utf8(s)) {
            buf_add_str(&x->out, s);
        } else {
            (void)diag_add(x->diags, n->origin, "the file %s is not UTF-8 text", path.p);
            e = ERR_CONFIG;
        }
    } else if (e != ERR_NOMEM) {
        (void)diag_add(x->diags, n->origin, "the file %s cannot be read: %s", path.p, err_text(e));
        e = ERR_CONFIG;
    }
    buf_done(&text);
    return e;
}

static enum err expand_scalar(struct expander *x, struct node *n)
{
    struct str rest = n->text;
    buf_clear(&x->out);
    bool is_changed = false;
    while (rest.n > 0) {
        if (str_starts_with(rest, STR("$${env:")) || str_starts_with(rest, STR("$${file:"))) {
            buf_add_str(&x->out, STR("${"));
            rest = str_sub(rest, 3, rest.n - 3);
            is_changed = true;
            continue;
        }
        bool is_env = str_starts_with(rest, STR("${env:"));
        bool is_file = str_starts_with(rest, STR("${file:"));
        if (!is_env && !is_file) {
            buf_add_char(&x->out, rest.p[0]);
            rest = str_sub(rest, 1, rest.n - 1);
            continue;
        }
        ptrdiff_t end = str_index(rest, '}');
        if (end < 0) {
            (void)diag_add(x->diags, n->origin, "${ has no closing }");
            return ERR_CONFIG;
        }
        size_t start = is_env ? 6 : 7;
        struct str body = str_sub(rest, start, (size_t)end - start);
        enum err e = is_env ? expand_env(x, n, body) : expand_file(x, n, body);
        if (e != ERR_OK) {
            return e;
        }
        rest = str_sub(rest, (size_t)end + 1, rest.n - (size_t)end - 1);
        is_changed = true;
    }
    if (x->out.is_failed) {
        return ERR_NOMEM;
    }
    if (is_changed) {
        n->text = arena_str(x->arena, buf_str(&x->out));
        n->is_expanded = true;
        return n->text.p != NULL ? ERR_OK : ERR_NOMEM;
    }
    return ERR_OK;
}

/* The recursion is bounded by NODE_DEPTH_MAX. */
static enum err expand_node(struct expander *x, struct node *n)
{
    if (n->kind == NODE_SCALAR) {
        return str_index(n->text, '$') < 0 ? ERR_OK : expand_scalar(x, n);
    }
    enum err result = ERR_OK;
    for (size_t i = 0; i < n->count; i++) {
        /* The tree is fresh: nothing shares these nodes yet. */
        enum err e = expand_node(x, (struct node *)(uintptr_t)n->entries[i].value);
        if (e == ERR_CONFIG) {
            result = e;
        } else if (e != ERR_OK) {
            return e;
        }
    }
    return result;
}

enum err node_expand(struct arena *arena, const struct conf_io *io, struct node *root,
                     struct diag_list *reterr_diags)
{
    struct expander x = {.arena = arena, .io = io, .diags = reterr_diags};
    buf_init(&x.out, 0);
    enum err e = expand_node(&x, root);
    buf_done(&x.out);
    return e;
}
