/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/settings.h"

#include <stdlib.h>

#include "base/mem.h"
#include "conf/schema_int.h"
#include "conf/settings_int.h"

enum { ARENA_BLOCK_BYTES = 16 * 1024 };

/* A domain and its place in the order of loading. */
struct placed_domain {
    const struct domain *domain;
    size_t place;
};

static int compare_domains(const void *a, const void *b)
{
    const struct placed_domain *x = a;
    const struct placed_domain *y = b;
    int order = str_cmp(x->domain->text, y->domain->text);
    return order != 0 ? order : x->place < y->place ? -1 : x->place > y->place;
}

/* One domain belongs to one host, however many files there are. */
static enum err check_domains(struct checker *c, const struct settings *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->hosts.count; i++) {
        count += s->hosts.items[i].domains.count;
    }
    struct placed_domain *all = mem_alloc((count + 1) * sizeof(*all));
    if (all == NULL) {
        return ERR_NOMEM;
    }
    size_t n = 0;
    for (size_t i = 0; i < s->hosts.count; i++) {
        for (size_t k = 0; k < s->hosts.items[i].domains.count; k++) {
            all[n] = (struct placed_domain){&s->hosts.items[i].domains.items[k], n};
            n++;
        }
    }
    qsort(all, count, sizeof(*all), compare_domains);
    for (size_t i = 1; i < count; i++) {
        const struct domain *first = all[i - 1].domain;
        const struct domain *second = all[i].domain;
        if (str_eq(first->text, second->text)) {
            (void)diag_add(c->diags, second->origin,
                           "the domain " STR_FMT " is defined here and in %s:%u",
                           STR_ARG(second->text), first->origin.source->name, first->origin.line);
            c->is_wrong = true;
        }
    }
    mem_free(all);
    return ERR_OK;
}

static void check_error_pages(struct checker *c, const struct route_keys *keys)
{
    for (size_t i = 0; i < keys->error_pages.count; i++) {
        const struct status_file *page = &keys->error_pages.items[i];
        if (page->file.p[0] != '/' && keys->root.p == NULL) {
            struct diag *d = diag_add(c->diags, page->origin,
                                      "error_pages: a relative file is looked for below root, and "
                                      "there is no root here");
            diag_set_expected(c->diags, d, "a path that begins with /, or a root");
            c->is_wrong = true;
        }
    }
}

static void check_rewrites(struct checker *c, const struct route_keys *keys)
{
    for (size_t i = 0; i < keys->rewrites.count; i++) {
        const struct rewrite_settings *r = &keys->rewrites.items[i];
        unsigned answers = 0;
        bool needs_target = true;
        for (uint32_t k = 0; k < r->flags.count; k++) {
            answers += r->flags.items[k] != REWRITE_FLAG_LAST;
            needs_target &= r->flags.items[k] == REWRITE_FLAG_LAST ||
                            r->flags.items[k] == REWRITE_FLAG_REDIRECT;
        }
        if (answers > 1) {
            (void)diag_add(c->diags, conf_origin_of(r, "flags"),
                           "flags: a rewrite is one of R, F and G, not several");
            c->is_wrong = true;
        } else if (needs_target && r->to.p == NULL) {
            (void)diag_add(c->diags, conf_origin_of(r, "from"),
                           "a rewrite needs the key \"to\", unless its flags say F or G");
            c->is_wrong = true;
        }
    }
}

static bool has_handler(const struct route_keys *keys)
{
    return keys->root.p != NULL || keys->backend.is_on || keys->redirect.is_on ||
           keys->respond.is_on || keys->split.count > 0;
}

static void check_keys(struct checker *c, const struct route_keys *keys)
{
    check_error_pages(c, keys);
    check_rewrites(c, keys);
    if (keys->fallback.p != NULL && keys->root.p == NULL) {
        (void)diag_add(c->diags, conf_origin_of(keys, "fallback"),
                       "fallback: there is no root whose file it could be");
        c->is_wrong = true;
    }
}

static void check_acme(struct checker *c, const struct tls_settings *tls)
{
    const struct dns_settings *dns = &tls->acme.dns;
    if (dns->is_on && (dns->exec.p != NULL) == dns->rfc2136.is_on) {
        struct diag *d = diag_add(c->diags, conf_origin_of(&tls->acme, "dns"),
                                  "dns: one way into the DNS is due here");
        diag_set_expected(c->diags, d, "either exec or rfc2136");
        c->is_wrong = true;
    }
}

static void check_hosts(struct checker *c, const struct settings *s)
{
    for (size_t i = 0; i < s->hosts.count; i++) {
        const struct host_settings *host = &s->hosts.items[i];
        check_keys(c, &host->keys);
        check_acme(c, &host->ssl);
        if (!has_handler(&host->keys) && host->routes.count == 0) {
            struct diag *d =
                diag_add(c->diags, conf_origin_of(host, "domains"), "this host answers nothing");
            diag_set_expected(c->diags, d,
                              "one of root, backend, split, redirect, respond or routes");
            c->is_wrong = true;
        }
        for (size_t k = 0; k < host->routes.count; k++) {
            const struct route_settings *route = &host->routes.items[k];
            check_keys(c, &route->keys);
            if (!has_handler(&route->keys) && route->keys.rewrites.count == 0) {
                struct diag *d =
                    diag_add(c->diags, conf_origin_of(route, "path"), "this route answers nothing");
                diag_set_expected(c->diags, d,
                                  "one of root, backend, split, redirect or respond, here or on "
                                  "the host");
                c->is_wrong = true;
            }
        }
    }
}

/* Whatever is spoken there. */
static bool is_same_address(const struct listen_address *a, const struct listen_address *b)
{
    if (a->kind != b->kind || (a->kind == LISTEN_INET && a->port == 0)) {
        return false;
    }
    return a->family == b->family && a->port == b->port && a->fd == b->fd &&
           memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0 && str_eq(a->path, b->path);
}

/* `above` (or NULL) and the addresses of `list` before each are taken. */
static void check_listen(struct checker *c, const struct listen_list *list,
                         const struct listen_list *above, struct conf_origin origin)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct listen_address *a = &list->items[i];
        bool is_taken = false;
        for (size_t k = 0; k < i; k++) {
            is_taken |= is_same_address(a, &list->items[k]);
        }
        for (size_t k = 0; above != NULL && k < above->count; k++) {
            is_taken |= is_same_address(a, &above->items[k]);
        }
        if (is_taken) {
            (void)diag_add(c->diags, origin, "listen: " STR_FMT " stands there twice",
                           STR_ARG(a->text));
            c->is_wrong = true;
        }
    }
}

static void check_datagram_port(struct checker *c, const struct settings *s,
                                const struct listen_address *a, struct conf_origin origin)
{
    const char *fault = a->kind == LISTEN_INET ? NULL : "datagrams come to a port";
    for (size_t i = 0; i < s->server.listen.count; i++) {
        const struct listen_address *other = &s->server.listen.items[i];
        if (other->is_tls && is_same_address(a, other)) {
            fault = "HTTP/3 takes the datagrams of this port";
        }
    }
    if (fault != NULL) {
        (void)diag_add(c->diags, origin, "listen: %s", fault);
        c->is_wrong = true;
    }
}

/* The ports of UDP are others than those of TCP. */
static void check_streams(struct checker *c, const struct settings *s)
{
    for (size_t i = 0; i < s->streams.count; i++) {
        const struct stream_settings *stream = &s->streams.items[i];
        struct conf_origin origin = conf_origin_of(stream, "listen");
        bool is_datagram = settings_is_datagram(&stream->backend);
        check_listen(c, &stream->listen, is_datagram ? NULL : &s->server.listen, origin);
        for (size_t k = 0; k < i; k++) {
            if (settings_is_datagram(&s->streams.items[k].backend) == is_datagram) {
                check_listen(c, &stream->listen, &s->streams.items[k].listen, origin);
            }
        }
        for (size_t k = 0; is_datagram && k < stream->listen.count; k++) {
            check_datagram_port(c, s, &stream->listen.items[k], origin);
        }
    }
}

static void check_server(struct checker *c, const struct server_settings *server)
{
    check_listen(c, &server->listen, NULL, conf_origin_of(server, "listen"));
    if (server->protocols.count == 0) {
        (void)diag_add(c->diags, conf_origin_of(server, "protocols"),
                       "protocols: at least one must be spoken");
        c->is_wrong = true;
    }
    if (server->admin.is_tls) {
        (void)diag_add(c->diags, conf_origin_of(server, "admin"),
                       "admin: this address speaks plain HTTP; keep it on the machine");
        c->is_wrong = true;
    }
    if (server->admin.kind == LISTEN_INET && server->admin.family == 0) {
        struct diag *d = diag_add(c->diags, conf_origin_of(server, "admin"),
                                  "admin: a port alone would be open to everyone");
        diag_set_expected(c->diags, d, "unix:/path, an address such as 127.0.0.1:%u, or off",
                          server->admin.port);
        c->is_wrong = true;
    }
}

/* What every host takes from the top: `log.format`, and `server.tls` as its `ssl`. */
static enum err inherited_by_hosts(struct arena *arena, const struct node *root,
                                   const struct node **ret_outer)
{
    const struct node_entry *log = node_find(root, STR("log"));
    const struct node_entry *server = node_find(root, STR("server"));
    const struct node_entry *format = log != NULL ? node_find(log->value, STR("format")) : NULL;
    const struct node_entry *tls = server != NULL ? node_find(server->value, STR("tls")) : NULL;
    struct node *outer = node_map_create(arena, root->origin, 2);
    if (outer == NULL) {
        return ERR_NOMEM;
    }
    outer->count = 0;
    if (format != NULL) {
        struct node *inner = node_map_create(arena, format->key_origin, 1);
        if (inner == NULL) {
            return ERR_NOMEM;
        }
        inner->entries[0] = *format;
        outer->entries[outer->count++] =
            (struct node_entry){.key = log->key, .key_origin = format->key_origin, .value = inner};
    }
    if (tls != NULL) {
        outer->entries[outer->count++] = (struct node_entry){
            .key = STR("ssl"), .key_origin = tls->key_origin, .value = tls->value};
    }
    *ret_outer = outer;
    return ERR_OK;
}

static enum err hand_down(struct arena *arena, const struct node **root)
{
    const struct node_entry *hosts = node_find(*root, STR("hosts"));
    const struct conf_key *hosts_key = conf_table_find(&conf_table_root, STR("hosts"), NULL);
    const struct node *outer;
    enum err e = inherited_by_hosts(arena, *root, &outer);
    if (e != ERR_OK || outer->count == 0 || hosts == NULL || hosts->value->kind != NODE_LIST) {
        return e;
    }
    struct node *list = node_map_create(arena, hosts->value->origin, hosts->value->count);
    struct node *copy = node_map_create(arena, (*root)->origin, (*root)->count);
    if (list == NULL || copy == NULL) {
        return ERR_NOMEM;
    }
    list->kind = NODE_LIST;
    for (size_t i = 0; i < list->count; i++) {
        e = conf_node_merge(arena, hosts_key->child, outer, hosts->value->entries[i].value,
                            &list->entries[i].value);
        if (e != ERR_OK) {
            return e;
        }
    }
    for (size_t i = 0; i < copy->count; i++) {
        copy->entries[i] = (*root)->entries[i];
        if (&(*root)->entries[i] == hosts) {
            copy->entries[i].value = list;
        }
    }
    *root = copy;
    return ERR_OK;
}

/* Takes over the arena: on failure it is ended. */
static enum err settings_from(struct arena *arena, const struct conf_io *io,
                              const struct node *root, struct settings **ret_settings,
                              struct diag_list *reterr_diags)
{
    struct settings *s = arena_zalloc(arena, sizeof(*s));
    if (s == NULL) {
        return ERR_NOMEM;
    }
    enum err e = hand_down(arena, &root);
    if (e == ERR_OK) {
        e = conf_object_load(arena, &conf_table_root, root, s, reterr_diags);
    }
    if (e != ERR_OK) {
        return e;
    }
    struct checker c = {.diags = reterr_diags};
    check_server(&c, &s->server);
    check_acme(&c, &s->server.tls);
    settings_check_backends(&c, s);
    check_streams(&c, s);
    check_hosts(&c, s);
    e = check_domains(&c, s);
    if (e == ERR_OK) {
        e = settings_read_tls(s, arena, io, reterr_diags, &c.is_wrong);
    }
    if (e == ERR_OK) {
        e = settings_name_processes(s, arena);
    }
    if (e != ERR_OK || reterr_diags->is_out_of_memory) {
        return ERR_NOMEM;
    }
    if (c.is_wrong) {
        return ERR_CONFIG;
    }
    s->arena = *arena;
    *ret_settings = s;
    return ERR_OK;
}

static enum err finish(struct arena *arena, const struct conf_io *io, enum err e,
                       const struct node *root, struct settings **ret_settings,
                       struct diag_list *reterr_diags)
{
    if (e == ERR_OK) {
        e = settings_from(arena, io, root, ret_settings, reterr_diags);
    }
    if (e == ERR_CONFIG && reterr_diags->is_out_of_memory) {
        e = ERR_NOMEM;
    }
    if (e != ERR_OK) {
        arena_done(arena);
        diag_list_sort(reterr_diags);
    }
    return e;
}

enum err settings_load(const char *const *paths, size_t count, const struct conf_io *io,
                       struct settings **ret_settings, struct diag_list *reterr_diags)
{
    struct arena arena;
    const struct node *root = NULL;
    arena_init(&arena, ARENA_BLOCK_BYTES, 0);
    io = io != NULL ? io : &conf_io_system;
    enum err e = node_load_files(&arena, io, paths, count, reterr_diags, &root);
    return finish(&arena, io, e, root, ret_settings, reterr_diags);
}

enum err settings_load_text(const char *name, struct str text, const struct conf_io *io,
                            struct settings **ret_settings, struct diag_list *reterr_diags)
{
    struct arena arena;
    const struct node *root = NULL;
    arena_init(&arena, ARENA_BLOCK_BYTES, 0);
    io = io != NULL ? io : &conf_io_system;
    enum err e = node_load_text(&arena, io, name, text, reterr_diags, &root);
    return finish(&arena, io, e, root, ret_settings, reterr_diags);
}

enum err settings_default_site(const char *dir, uint16_t port, bool is_https,
                               struct settings **ret_settings, struct diag_list *reterr_diags)
{
    struct buf text;
    buf_init(&text, 0);
    buf_printf(&text,
               "server:\n"
               "  listen: \"%s://%u\"\n"
               "  user: \"\"\n"
               "  admin: off\n"
               "hosts:\n"
               "  - domains: default\n"
               "    listing: html\n"
               "    root: ",
               is_https ? "https" : "http", port);
    value_print_scalar(str_of(dir), &text);
    buf_add_char(&text, '\n');
    enum err e = text.is_failed ? ERR_NOMEM
                                : settings_load_text("serve", buf_str(&text), NULL, ret_settings,
                                                     reterr_diags);
    buf_done(&text);
    return e;
}

void settings_destroy(struct settings *s)
{
    if (s != NULL) {
        struct arena arena = s->arena; /* holds `s` itself */
        arena_done(&arena);
    }
}
