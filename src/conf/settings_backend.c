/* SPDX-License-Identifier: Apache-2.0 */
/* What backends must be beyond the form of their keys, and the names by which routes mean them. */
#include "conf/settings_int.h"

static void wrong(struct checker *c, const struct backend_settings *b, const char *key,
                  const char *sentence)
{
    (void)diag_add(c->diags, conf_origin_of(b, key), "%s: %s", key, sentence);
    c->is_wrong = true;
}

static bool is_name(struct str url)
{
    size_t at;
    return value_check_backend_name(url, &at) == NULL;
}

/* A backend is made of endpoints or of a process; `origin`: where it stands. */
static void check_process(struct checker *c, const struct backend_settings *b,
                          struct conf_origin origin)
{
    const struct process_settings *p = &b->process;
    if (p->is_on && b->proxy.count > 0) {
        (void)diag_add(c->diags, conf_origin_of(b, "process"),
                       "\"proxy\" and \"process\" both answer here: keep one");
        c->is_wrong = true;
    } else if (!p->is_on && b->proxy.count == 0 && b->discover.file.p == NULL) {
        struct diag *d =
            diag_add(c->diags, origin, "backend needs the key \"proxy\" or \"process\"");
        diag_set_expected(c->diags, d, "for example proxy: http://127.0.0.1:3000");
        c->is_wrong = true;
    }
    const char *key;
    const char *fault = p->is_on ? settings_check_process(p, &key) : NULL;
    if (fault != NULL) {
        (void)diag_add(c->diags, conf_origin_of(p, key), "%s", fault);
        c->is_wrong = true;
    }
}

static void check_list(struct checker *c, const struct backend_settings *b)
{
    const struct endpoint_list *list = &b->proxy;
    bool has_echo = false, has_double = false, has_name = false;
    if (list->count > BACKEND_ENDPOINTS_MAX) {
        wrong(c, b, "proxy", "a backend has 64 endpoints at most");
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        struct str url = list->items[i].url;
        has_echo |= str_eq(url, STR("echo"));
        has_name |= is_name(url);
        for (size_t k = 0; k < i; k++) {
            has_double |= str_eq(url, list->items[k].url);
        }
    }
    if ((has_echo || has_name) && list->count > 1) {
        wrong(c, b, "proxy", has_echo ? "echo stands alone" : "the name of a backend stands alone");
    } else if (has_double) {
        wrong(c, b, "proxy", "an endpoint stands there twice; say its weight instead");
    } else if (has_name && b->name.n > 0) {
        wrong(c, b, "proxy", "a backend is made of addresses; names of others stand on hosts");
    }
}

/* Where the endpoints come from. */
static void check_discover(struct checker *c, const struct backend_settings *b)
{
    const struct discover_settings *d = &b->discover;
    bool by_file = d->is_on && d->by == DISCOVER_FILE;
    bool has_name = false;
    for (size_t i = 0; i < b->proxy.count; i++) {
        struct upstream_address a = {0};
        size_t at;
        has_name |= value_parse_upstream(b->proxy.items[i].url, &a, &at) == NULL && a.is_name;
    }
    const char *fault = NULL;
    if (by_file && d->file.p == NULL) {
        fault = "discover: a file is due here, or one of dns and srv";
    } else if (by_file && b->proxy.count > 0) {
        fault = "\"proxy\" and the file of \"discover\" both say what the endpoints are: keep one";
    } else if (!by_file && d->file.p != NULL) {
        fault = "discover: a file is read with by: file";
    } else if (d->is_on && !by_file && b->proxy.count > 0 && !has_name) {
        fault = "discover: there is no name in proxy that could be asked for";
    } else if (d->is_on && b->process.is_on) {
        fault = "discover: a process says itself what its endpoints are";
    }
    if (fault != NULL) {
        (void)diag_add(c->diags, conf_origin_of(b, "discover"), "%s", fault);
        c->is_wrong = true;
    }
}

/* How endpoints are asked whether they are well. Those that are learned later are judged then. */
static void check_health(struct checker *c, const struct backend_settings *b)
{
    const struct check_settings *check = &b->health;
    const char *fault = NULL;
    if (!check->is_on || check->grpc.p == NULL) {
        return;
    }
    if (check->tcp) {
        fault = "grpc: \"tcp\" asks for less: keep one";
    }
    if (settings_check_is_get(check)) {
        fault = "grpc: \"path\", \"status\" and \"body\" belong to a GET: keep one";
    }
    for (size_t i = 0; i < b->proxy.count && fault == NULL; i++) {
        struct upstream_address a = {0};
        size_t at;
        struct str url = b->proxy.items[i].url;
        bool is_known = value_parse_upstream(url, &a, &at) == NULL;
        if (str_eq(url, STR("echo")) || (is_known && !a.is_h2)) {
            fault = "grpc: it is spoken over HTTP/2: the endpoints are grpc://, grpcs://, h2c://, "
                    "h2://, unix+grpc: or unix+h2c:";
        }
    }
    if (fault != NULL) {
        (void)diag_add(c->diags, conf_origin_of(check, "grpc"), "%s", fault);
        c->is_wrong = true;
    }
}

/* NULL: said so of the key. */
static const struct backend_settings *find(struct checker *c, const struct settings *s,
                                           struct str name, struct conf_origin origin)
{
    struct str best = STR("");
    unsigned distance = 1 + (unsigned)name.n / 4;
    for (size_t i = 0; i < s->backends.count; i++) {
        const struct backend_settings *one = &s->backends.items[i];
        unsigned d = str_distance(name, one->name);
        if (d == 0) {
            return one;
        }
        if (d <= distance) {
            distance = d;
            best = one->name;
        }
    }
    struct diag *d =
        diag_add(c->diags, origin, "there is no backend \"" STR_FMT "\"", STR_ARG(name));
    if (best.n > 0) {
        diag_set_nearest(c->diags, d, best);
    } else {
        diag_set_expected(c->diags, d,
                          "a name in backends, or an address that begins with http://, https:// "
                          "or unix:");
    }
    c->is_wrong = true;
    return NULL;
}

/* What is written beside the name would be read by nobody. */
static void check_alone(struct checker *c, const struct backend_settings *b)
{
    const struct conf_object *o = &b->object;
    for (size_t i = 0; i < o->table->key_count; i++) {
        const char *key = o->table->keys[i].name;
        if (o->origins[i].source != NULL && !str_eq(str_of(key), STR("proxy"))) {
            (void)diag_add(c->diags, o->origins[i],
                           "%s: this belongs to the backend \"" STR_FMT "\", in backends", key,
                           STR_ARG(b->proxy.items[0].url));
            c->is_wrong = true;
        }
    }
}

/* What would be read by nobody. */
static void check_fcgi(struct checker *c, const struct backend_settings *b)
{
    if (b->fcgi.is_on && !settings_is_fcgi(b)) {
        (void)diag_add(c->diags, conf_origin_of(b, "fcgi"),
                       "fcgi: no endpoint begins with fcgi:// or unix+fcgi:");
        c->is_wrong = true;
    }
}

/* `origin`: where it stands. */
static void settle(struct checker *c, const struct settings *s, struct backend_settings *b,
                   struct conf_origin origin)
{
    if (!b->is_on) {
        return;
    }
    check_process(c, b, origin);
    check_list(c, b);
    if (b->proxy.count == 1 && is_name(b->proxy.items[0].url)) {
        b->named = find(c, s, b->proxy.items[0].url, conf_origin_of(b, "proxy"));
        check_alone(c, b);
    } else {
        check_discover(c, b);
        check_fcgi(c, b);
        check_health(c, b);
    }
}

static void check_shares(struct checker *c, const struct settings *s, const struct route_keys *keys)
{
    int64_t sum = 0;
    for (size_t i = 0; i < keys->split.count; i++) {
        const struct split_share *share = &keys->split.items[i];
        (void)find(c, s, share->name, conf_origin_of(share, "weight"));
        sum += share->weight;
    }
    if (keys->split.count > 0 && sum == 0) {
        (void)diag_add(c->diags, conf_origin_of(keys, "split"),
                       "split: no backend has a weight, so none would be asked");
        c->is_wrong = true;
    }
    const struct backend_settings *to =
        keys->mirror.is_on ? find(c, s, keys->mirror.to, conf_origin_of(&keys->mirror, "to"))
                           : NULL;
    if (to != NULL && to->proxy.count > 0 && str_eq(to->proxy.items[0].url, STR("echo"))) {
        (void)diag_add(c->diags, conf_origin_of(&keys->mirror, "to"),
                       "mirror: nobody would hear the echo");
        c->is_wrong = true;
    }
    if (to != NULL && settings_is_fcgi(to)) {
        (void)diag_add(c->diags, conf_origin_of(&keys->mirror, "to"),
                       "mirror: copies are made of HTTP, not of FastCGI");
        c->is_wrong = true;
    }
}

static bool has_backend(const struct route_keys *keys)
{
    return keys->backend.is_on || keys->split.count > 0;
}

static void wrong_mirror(struct checker *c, const struct route_keys *keys)
{
    (void)diag_add(c->diags, conf_origin_of(&keys->mirror, "to"),
                   "mirror: there is no backend whose requests could be copied");
    c->is_wrong = true;
}

/* A copy of what goes to no backend would never be made. */
static void check_mirror(struct checker *c, const struct host_settings *host)
{
    bool is_used = has_backend(&host->keys);
    for (size_t i = 0; i < host->routes.count; i++) {
        const struct route_keys *keys = &host->routes.items[i].keys;
        is_used |= has_backend(keys) && keys->mirror.is_on;
        if (!host->keys.mirror.is_on && keys->mirror.is_on && !has_backend(keys)) {
            wrong_mirror(c, keys);
        }
    }
    if (host->keys.mirror.is_on && !is_used) {
        wrong_mirror(c, &host->keys);
    }
}

/* Bytes are passed on to all of its endpoints, or requests are. A Unix socket takes either. */
static void check_kind(struct checker *c, const struct backend_settings *own, bool takes_streams,
                       bool takes_requests, const char *sentence)
{
    const struct backend_settings *b = settings_backend(own);
    bool has_stream = false, has_request = false, has_datagram = false, has_unix = false;
    bool has_fcgi = false;
    for (size_t i = 0; i < b->proxy.count; i++) {
        struct upstream_address a = {0};
        size_t at;
        struct str url = b->proxy.items[i].url;
        if (!str_eq(url, STR("echo")) && value_parse_upstream(url, &a, &at) != NULL) {
            return; /* said before */
        }
        has_stream |= a.is_stream && !a.is_datagram;
        has_datagram |= a.is_datagram;
        has_fcgi |= a.is_fcgi;
        has_request |= !a.is_stream && a.unix_path.p == NULL && !a.is_fcgi;
        has_unix |= a.unix_path.p != NULL && !a.is_fcgi;
    }
    bool is_mixed = has_stream + has_request + has_datagram + has_fcgi > 1 ||
                    ((has_datagram || has_fcgi) && has_unix);
    has_request |= has_fcgi;
    has_stream |= has_datagram;
    if ((has_stream && !takes_streams) || (has_request && !takes_requests) || is_mixed) {
        (void)diag_add(
            c->diags, conf_origin_of(own, "proxy"), "proxy: %s",
            is_mixed ? "a backend takes either requests, of HTTP or of FastCGI, or bytes (tcp://), "
                       "or datagrams (udp://)"
                     : sentence);
        c->is_wrong = true;
    }
}

static bool is_same_place(struct conf_origin a, struct conf_origin b)
{
    return a.source == b.source && a.line == b.line && a.column == b.column;
}

/* `root` beside a backend of HTTP would be heard by nobody, unless the host hands it down. */
static void check_beside(struct checker *c, const struct route_keys *keys,
                         const struct route_keys *outer)
{
    struct conf_origin root = conf_origin_of(keys, "root");
    struct conf_origin backend = conf_origin_of(keys, "backend");
    bool is_inherited = outer != NULL && is_same_place(root, conf_origin_of(outer, "root"));
    if (keys->root.p == NULL || !keys->backend.is_on || is_inherited ||
        settings_is_fcgi(&keys->backend)) {
        return;
    }
    bool is_root_first = root.line < backend.line;
    (void)diag_add(
        c->diags, is_root_first ? backend : root,
        "\"%s\" and \"%s\" (line %u) both answer here: keep one, or put the other into a "
        "route",
        is_root_first ? "backend" : "root", is_root_first ? "root" : "backend",
        is_root_first ? root.line : backend.line);
    c->is_wrong = true;
}

static void check_scripts(struct checker *c, const struct backend_settings *own,
                          const struct route_keys *keys, struct conf_origin origin)
{
    const struct backend_settings *b = settings_backend(own);
    if (settings_is_fcgi(b) && keys->root.p == NULL && b->fcgi.root.p == NULL &&
        !str_eq(b->fcgi.split, STR("off"))) {
        struct diag *d = diag_add(c->diags, origin, "where the scripts of FastCGI lie is not said");
        diag_set_expected(c->diags, d, "root, or fcgi.root where they are on another machine");
        c->is_wrong = true;
    }
}

/* What FastCGI asks of the route; `outer`: of its host, or NULL. */
static void check_fcgi_route(struct checker *c, const struct settings *s,
                             const struct route_keys *keys, const struct route_keys *outer)
{
    check_beside(c, keys, outer);
    check_scripts(c, &keys->backend, keys, conf_origin_of(keys, "backend"));
    for (size_t i = 0; i < keys->split.count; i++) {
        for (size_t k = 0; k < s->backends.count; k++) {
            if (str_eq(s->backends.items[k].name, keys->split.items[i].name)) {
                check_scripts(c, &s->backends.items[k], keys, conf_origin_of(keys, "split"));
            }
        }
    }
}

static void check_stream(struct checker *c, struct settings *s, struct stream_settings *stream)
{
    stream->backend.is_on = true;
    settle(c, s, &stream->backend, conf_origin_of(stream, "backend"));
    check_kind(c, &stream->backend, true, false,
               "a stream passes bytes on: its endpoints are tcp://HOST:PORT, udp://HOST:PORT or "
               "unix:/PATH");
    for (size_t i = 0; i < stream->listen.count; i++) {
        const struct listen_address *l = &stream->listen.items[i];
        if (str_starts_with(l->text, STR("http"))) {
            (void)diag_add(c->diags, conf_origin_of(stream, "listen"),
                           "listen: a stream knows neither http:// nor https://, only bytes");
            c->is_wrong = true;
        }
    }
}

static void check_host(struct checker *c, struct settings *s, struct host_settings *host)
{
    settle(c, s, &host->keys.backend, conf_origin_of(&host->keys, "backend"));
    check_shares(c, s, &host->keys);
    check_mirror(c, host);
    if (settings_is_datagram(&host->keys.backend)) {
        (void)diag_add(c->diags, conf_origin_of(&host->keys.backend, "proxy"),
                       "proxy: udp:// takes datagrams: it stands in streams");
        c->is_wrong = true;
    }
    check_kind(c, &host->keys.backend, host->routes.count == 0, true,
               "tcp:// passes whole connections on, so this host can have no routes");
    check_fcgi_route(c, s, &host->keys, NULL);
    for (size_t k = 0; k < host->routes.count; k++) {
        struct route_keys *keys = &host->routes.items[k].keys;
        settle(c, s, &keys->backend, conf_origin_of(keys, "backend"));
        check_shares(c, s, keys);
        check_kind(c, &keys->backend, false, true,
                   "tcp:// passes whole connections on: it stands on a host, or in streams");
        check_fcgi_route(c, s, keys, &host->keys);
    }
}

void settings_check_backends(struct checker *c, struct settings *s)
{
    for (size_t i = 0; i < s->backends.count; i++) {
        check_process(c, &s->backends.items[i], conf_origin_of(s, "backends"));
        check_list(c, &s->backends.items[i]);
        check_discover(c, &s->backends.items[i]);
        check_fcgi(c, &s->backends.items[i]);
        check_health(c, &s->backends.items[i]);
        check_kind(c, &s->backends.items[i], true, true, "");
    }
    for (size_t i = 0; i < s->hosts.count; i++) {
        check_host(c, s, &s->hosts.items[i]);
    }
    for (size_t i = 0; i < s->streams.count; i++) {
        check_stream(c, s, &s->streams.items[i]);
    }
}

const struct backend_settings *settings_backend(const struct backend_settings *b)
{
    return b->named != NULL ? b->named : b;
}

static bool first_is(const struct backend_settings *own, bool is_datagram)
{
    const struct backend_settings *b = settings_backend(own);
    struct upstream_address a = {0};
    size_t at;
    return b->is_on && b->proxy.count > 0 &&
           value_parse_upstream(b->proxy.items[0].url, &a, &at) == NULL && a.is_stream &&
           a.is_datagram == is_datagram;
}

bool settings_is_fcgi(const struct backend_settings *own)
{
    const struct backend_settings *b = settings_backend(own);
    struct upstream_address a = {0};
    size_t at;
    if (!b->is_on && b->name.n == 0) {
        return false;
    }
    return b->proxy.count > 0
               ? value_parse_upstream(b->proxy.items[0].url, &a, &at) == NULL && a.is_fcgi
               : b->discover.file.p != NULL && b->fcgi.is_on;
}

bool settings_check_is_get(const struct check_settings *check)
{
    return !str_eq(check->path, STR("/")) || !str_eq(check->status, STR("200-399")) ||
           check->body.p != NULL;
}

bool settings_is_passed(const struct backend_settings *b)
{
    return first_is(b, false);
}

bool settings_is_datagram(const struct backend_settings *b)
{
    return first_is(b, true);
}
