/* SPDX-License-Identifier: Apache-2.0 */
/* What a program learns of a request (RFC 3875 4.1), and what it says beside its answer. */
#include "base/assert.h"
#include "edge/fcgi.h"
#include "edge/match.h"
#include "edge/upstream.h"
#include "edge/vhost.h"

#define VARIABLES_MAX 32u
#define LINES_PER_SECOND 10u

/* Variables that are being gathered; those that the settings name are theirs. */
struct fcgi_list {
    const struct str_map *own;
    struct client_variable *items;
    size_t count;
    bool is_failed; /* out of memory */
};

static bool fcgi_is_own(const struct str_map *own, struct str name)
{
    for (size_t i = 0; i < own->count; i++) {
        if (str_eq(own->items[i].key, name)) {
            return true;
        }
    }
    return false;
}

/* Pointer NULL: there was no memory for it. */
static void fcgi_put(struct fcgi_list *l, struct str name, struct str value)
{
    l->is_failed |= !value.p;
    if (!fcgi_is_own(l->own, name)) {
        ASSERT(l->count < VARIABLES_MAX);
        l->items[l->count++] = (struct client_variable){name, value};
    }
}

static struct str fcgi_protocol(uint8_t version)
{
    switch (version) {
    case HTTP_VERSION_10:
        return STR("HTTP/1.0");
    case HTTP_VERSION_20:
        return STR("HTTP/2.0");
    case HTTP_VERSION_30:
        return STR("HTTP/3.0");
    default:
        return STR("HTTP/1.1");
    }
}

/* A proxy in front that is trusted may say that the client came by https. */
static bool fcgi_is_https(const struct request *r, bool is_trusted)
{
    struct str told = http_fields_value(&r->x->request->fields, HTTP_FIELD_X_FORWARDED_PROTO);
    return told.n && is_trusted ? str_eq_ci(told, STR("https")) : r->x->peer->tls != NULL;
}

static void fcgi_put_request(struct fcgi_list *l, struct request *r)
{
    const struct request_head *head = r->x->request;
    struct arena *arena = &r->x->arena;
    struct str uri = head->has_query ? arena_printf(arena, STR_FMT "?" STR_FMT, STR_ARG(head->path),
                                                    STR_ARG(head->query))
                                     : head->path;
    fcgi_put(l, STR("GATEWAY_INTERFACE"), STR("CGI/1.1"));
    fcgi_put(l, STR("REQUEST_METHOD"), head->method_text);
    fcgi_put(l, STR("REQUEST_URI"), uri);
    fcgi_put(l, STR("QUERY_STRING"), r->script->query);
    fcgi_put(l, STR("SERVER_PROTOCOL"), fcgi_protocol(head->version));
    fcgi_put(l, STR("SERVER_SOFTWARE"), STR("selenia"));
    /* PHP as CGI asks for it, so that nobody calls it past a web server. */
    fcgi_put(l, STR("REDIRECT_STATUS"), STR("200"));
}

static void fcgi_put_script(struct fcgi_list *l, struct request *r)
{
    const struct fcgi_settings *settings = &upstream_settings(r->upstream)->fcgi;
    const struct fcgi_script *script = r->script;
    struct arena *arena = &r->x->arena;
    struct str root = settings->root.p ? settings->root : r->route->document_root;
    while (root.n && root.p[root.n - 1] == '/') {
        root.n--;
    }
    fcgi_put(l, STR("SCRIPT_NAME"), script->name);
    fcgi_put(
        l, STR("DOCUMENT_URI"),
        arena_printf(arena, STR_FMT STR_FMT, STR_ARG(script->name), STR_ARG(script->path_info)));
    if (root.p) {
        fcgi_put(l, STR("DOCUMENT_ROOT"), root.n ? root : STR("/"));
    }
    if (script->name.n) {
        fcgi_put(l, STR("SCRIPT_FILENAME"),
                 arena_printf(arena, STR_FMT STR_FMT, STR_ARG(root), STR_ARG(script->name)));
    }
    if (script->path_info.n) {
        fcgi_put(l, STR("PATH_INFO"), script->path_info);
    }
    if (script->path_info.n && root.p) {
        fcgi_put(l, STR("PATH_TRANSLATED"),
                 arena_printf(arena, STR_FMT STR_FMT, STR_ARG(root), STR_ARG(script->path_info)));
    }
}

static void fcgi_put_server(struct fcgi_list *l, struct request *r, bool is_https)
{
    struct arena *arena = &r->x->arena;
    char canonical[VHOST_NAME_BYTES_MAX + 1];
    char text[SOCKET_ADDRESS_TEXT_BYTES];
    struct socket_address local;
    struct str name;
    int fd = r->x->peer->fd;
    bool has_local = fd >= 0 && socket_local(fd, &local) == ERR_OK;
    uint16_t port = has_local ? socket_address_port(&local) : 0;
    if (vhost_canonical(r->x->request->authority, canonical, &name) != ERR_OK || name.n == 0) {
        name = r->route->host->name;
    }
    fcgi_put(l, STR("SERVER_NAME"), arena_str(arena, name));
    fcgi_put(l, STR("SERVER_PORT"), arena_printf(arena, "%u", port ? port : is_https ? 443 : 80));
    if (port) {
        fcgi_put(l, STR("SERVER_ADDR"),
                 arena_str(arena, str_make(text, socket_address_host(&local, text))));
    }
    fcgi_put(l, STR("REQUEST_SCHEME"), is_https ? STR("https") : STR("http"));
    if (is_https) {
        fcgi_put(l, STR("HTTPS"), STR("on"));
    }
}

static void fcgi_put_client(struct fcgi_list *l, struct request *r)
{
    const struct exchange_peer *peer = r->x->peer;
    struct str client = match_client(&r->use->site->settings->server.trusted_proxies, peer->host,
                                     &r->x->request->fields);
    uint16_t port = socket_address_port(&peer->address);
    fcgi_put(l, STR("REMOTE_ADDR"), client);
    if (str_eq(client, peer->host) && port) {
        fcgi_put(l, STR("REMOTE_PORT"), arena_printf(&r->x->arena, "%u", port));
    }
}

enum err fcgi_variables(struct request *r, const struct client_variable **ret_list,
                        size_t *ret_count)
{
    const struct str_map *own = &upstream_settings(r->upstream)->fcgi.env;
    struct fcgi_list l = {.own = own};
    bool is_trusted =
        match_address(&r->use->site->settings->server.trusted_proxies, r->x->peer->host);
    l.items = arena_alloc(&r->x->arena, (VARIABLES_MAX + own->count) * sizeof(*l.items));
    if (!l.items) {
        return ERR_NOMEM;
    }
    fcgi_put_request(&l, r);
    fcgi_put_script(&l, r);
    fcgi_put_server(&l, r, fcgi_is_https(r, is_trusted));
    fcgi_put_client(&l, r);
    for (size_t i = 0; i < own->count; i++) {
        if (!own->items[i].is_null) {
            l.items[l.count++] = (struct client_variable){own->items[i].key, own->items[i].value};
        }
    }
    *ret_list = l.items;
    *ret_count = l.count;
    return l.is_failed ? ERR_NOMEM : ERR_OK;
}

void fcgi_check_variables(const struct fcgi_settings *settings, struct str path, char *file,
                          struct client_variable ret_list[FCGI_CHECK_VARIABLES])
{
    ptrdiff_t mark = str_index(path, '?');
    struct str name = mark < 0 ? path : str_sub(path, 0, (size_t)mark);
    struct str query = mark < 0 ? STR("") : str_sub(path, (size_t)mark + 1, path.n);
    size_t root_bytes = settings->root.p ? settings->root.n : 0;
    if (root_bytes) {
        memcpy(file, settings->root.p, root_bytes);
    }
    memcpy(file + root_bytes, name.p, name.n);
    const struct client_variable list[FCGI_CHECK_VARIABLES] = {
        {STR("GATEWAY_INTERFACE"), STR("CGI/1.1")},
        {STR("REQUEST_METHOD"), STR("GET")},
        {STR("REQUEST_URI"), path},
        {STR("QUERY_STRING"), query},
        {STR("SCRIPT_NAME"), name},
        {STR("SCRIPT_FILENAME"), str_make(file, root_bytes + name.n)},
        {STR("SERVER_PROTOCOL"), STR("HTTP/1.1")},
        {STR("SERVER_NAME"), STR("localhost")},
        {STR("SERVER_PORT"), STR("80")},
        {STR("REDIRECT_STATUS"), STR("200")},
    };
    memcpy(ret_list, list, sizeof(list));
}

void fcgi_log(struct request *r, struct str endpoint, struct str text)
{
    struct pipeline *p = r->pipeline;
    uint64_t second = loop_now_ms(p->loop) / 1000;
    if (second != p->said_second) {
        if (p->said_count > LINES_PER_SECOND) {
            LOG(p->log, LOG_LEVEL_WARN, "programs said more than is logged",
                log_u64("pieces", p->said_count - LINES_PER_SECOND));
        }
        p->said_second = second;
        p->said_count = 0;
    }
    if (p->said_count++ >= LINES_PER_SECOND) {
        return;
    }
    while (text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r')) {
        text.n--;
    }
    LOG(p->log, LOG_LEVEL_WARN, "a program says", log_str("endpoint", endpoint),
        log_str("script", r->script->name), log_str("text", text));
}
