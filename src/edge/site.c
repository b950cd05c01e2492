/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/site.h"

#include "base/assert.h"
#include "base/mem.h"
#include "edge/site_int.h"
#include "edge/split.h"
#include "edge/upstream.h"

#define MIME_TYPES_FILE "/etc/mime.types"
#define MIME_TYPES_BYTES_MAX (1024u * 1024u)

enum err site_fault(struct site_builder *b, const struct conf_object *object, const char *key,
                    const char *sentence)
{
    struct conf_origin origin = conf_origin_of(object, key);
    diag_add(b->diags, origin, "%s", sentence);
    return ERR_CONFIG;
}

static enum err site_build_regex(struct site_builder *b, struct site_route *r)
{
    if (!r->rule || !r->rule->match.regex.p) {
        return ERR_OK;
    }
    char text[160];
    size_t at;
    enum err e = regex_create(r->rule->match.regex, &r->regex, text, &at);
    if (e == ERR_SYNTAX) {
        return site_fault(b, &r->rule->match.object, "regex", text);
    }
    return e;
}

static struct str site_rewrite_flags(struct site_builder *b, const struct rewrite_settings *s)
{
    struct str text = STR("");
    for (uint32_t i = 0; i < s->flags.count && text.p; i++) {
        switch ((enum rewrite_flag)s->flags.items[i]) {
        case REWRITE_FLAG_LAST:
            text = arena_printf(&b->site->arena, STR_FMT " L", STR_ARG(text));
            break;
        case REWRITE_FLAG_REDIRECT:
            text = arena_printf(&b->site->arena, STR_FMT " R=%lld", STR_ARG(text),
                                (long long)s->status);
            break;
        case REWRITE_FLAG_FORBIDDEN:
            text = arena_printf(&b->site->arena, STR_FMT " F", STR_ARG(text));
            break;
        case REWRITE_FLAG_GONE:
            text = arena_printf(&b->site->arena, STR_FMT " G", STR_ARG(text));
            break;
        }
    }
    return text;
}

/* The rules of the host have run before a route is looked for. */
static bool site_inherits_rewrites(const struct site_route *r)
{
    struct conf_origin own = conf_origin_of(r->keys, "rewrites");
    struct conf_origin host = conf_origin_of(&r->host->settings->keys, "rewrites");
    return r->rule && own.source == host.source && own.line == host.line &&
           own.column == host.column;
}

static enum err site_build_rewrites(struct site_builder *b, struct site_route *r)
{
    const struct rewrite_list *list = &r->keys->rewrites;
    if (list->count == 0 || site_inherits_rewrites(r)) {
        return ERR_OK;
    }
    struct rewrite_rule *rules = arena_zalloc(&b->site->arena, list->count * sizeof(*rules));
    if (!rules) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < list->count; i++) {
        const struct rewrite_settings *s = &list->items[i];
        struct str flags = site_rewrite_flags(b, s);
        if (!flags.p) {
            return ERR_NOMEM;
        }
        rules[i] = (struct rewrite_rule){s->from, s->to, s->condition, flags};
    }
    struct rewrite_fault fault;
    enum err e = rewrite_create(rules, list->count, &r->rewrites, &fault);
    if (e == ERR_CONFIG || e == ERR_UNSUPPORTED) {
        return site_fault(b, &list->items[fault.rule_index].object, fault.key, fault.reason);
    }
    return e;
}

static enum err site_build_root(struct site_builder *b, struct site_route *r)
{
    r->root = -1;
    if (!r->keys->root.p) {
        return ERR_OK;
    }
    enum err e = file_open_root(r->keys->root.p, &r->root);
    if (e) {
        struct str text = arena_printf(&b->site->arena, "cannot open the root %s: %s",
                                       r->keys->root.p, err_text(e));
        return site_fault(b, &r->keys->object, "root", text.p ? text.p : "out of memory");
    }
    char path[PATH_MAX];
    bool is_absolute = r->keys->root.p[0] == '/';
    r->document_root = r->keys->root;
    if (!is_absolute && file_resolve(r->keys->root.p, path) == ERR_OK) {
        r->document_root = arena_str(&b->site->arena, str_of(path));
    }
    return r->document_root.p ? ERR_OK : ERR_NOMEM;
}

static const struct http_field basic_fields[] = {
    {STR("X-Content-Type-Options"), STR("nosniff"), HTTP_FIELD_X_CONTENT_TYPE_OPTIONS},
    {STR("Referrer-Policy"), STR("strict-origin-when-cross-origin"), HTTP_FIELD_OTHER},
    {STR("Content-Security-Policy"), STR("frame-ancestors 'self'"),
     HTTP_FIELD_CONTENT_SECURITY_POLICY},
};

static const struct http_field strict_fields[] = {
    {STR("X-Content-Type-Options"), STR("nosniff"), HTTP_FIELD_X_CONTENT_TYPE_OPTIONS},
    {STR("Referrer-Policy"), STR("no-referrer"), HTTP_FIELD_OTHER},
    {STR("Content-Security-Policy"),
     STR("default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
         "frame-ancestors 'none'"),
     HTTP_FIELD_CONTENT_SECURITY_POLICY},
    {STR("Cross-Origin-Opener-Policy"), STR("same-origin"), HTTP_FIELD_OTHER},
    {STR("Permissions-Policy"), STR("camera=(), geolocation=(), microphone=()"), HTTP_FIELD_OTHER},
};

static void site_preset(enum security_choice choice, const struct http_field **ret_fields,
                        unsigned *ret_count)
{
    *ret_fields = NULL;
    *ret_count = 0;
    switch (choice) {
    case SECURITY_OFF:
        break;
    case SECURITY_BASIC:
        *ret_fields = basic_fields;
        *ret_count = COUNT_OF(basic_fields);
        break;
    case SECURITY_STRICT:
        *ret_fields = strict_fields;
        *ret_count = COUNT_OF(strict_fields);
        break;
    }
}

static bool site_names(const struct str_map *map, struct str name)
{
    for (size_t i = 0; i < map->count; i++) {
        if (str_eq_ci(map->items[i].key, name)) {
            return true;
        }
    }
    return false;
}

/* The preset first; what the user names replaces or, with null, removes it. */
static enum err site_build_fields(struct site_builder *b, struct site_route *r)
{
    const struct str_map *own = &r->keys->headers.response;
    const struct http_field *preset;
    unsigned preset_count;
    site_preset(r->keys->security, &preset, &preset_count);
    static const struct http_field server = {STR("Server"), STR("selenia"), HTTP_FIELD_SERVER};
    size_t max = preset_count + own->count + 1;
    r->fields = arena_zalloc(&b->site->arena, (max + 1) * sizeof(*r->fields));
    struct str *removed = arena_zalloc(&b->site->arena, (own->count + 1) * sizeof(*removed));
    if (!r->fields || !removed) {
        return ERR_NOMEM;
    }
    r->removed = removed;
    if (!site_names(own, server.name)) {
        r->fields[r->field_count++] = server;
    }
    for (unsigned i = 0; i < preset_count; i++) {
        if (!site_names(own, preset[i].name)) {
            r->fields[r->field_count++] = preset[i];
        }
    }
    r->preset_count = r->field_count;
    for (size_t i = 0; i < own->count; i++) {
        const struct str_pair *pair = &own->items[i];
        if (pair->is_null) {
            removed[r->removed_count++] = pair->key;
        } else {
            r->fields[r->field_count++] =
                (struct http_field){pair->key, pair->value, (uint16_t)http_field_id(pair->key)};
        }
    }
    if (r->field_count > SITE_ROUTE_FIELDS_MAX) {
        return site_fault(b, &r->keys->headers.object, "response",
                          "an answer has room for 48 fields, with those of `security` among them");
    }
    return ERR_OK;
}

static enum access_format site_access_format(enum log_format f)
{
    switch (f) {
    case LOG_FORMAT_JSON:
        return ACCESS_JSON;
    case LOG_FORMAT_COMMON:
        return ACCESS_COMMON;
    case LOG_FORMAT_COMBINED:
        return ACCESS_COMBINED;
    case LOG_FORMAT_LOGFMT:
        return ACCESS_LOGFMT;
    }
    return ACCESS_JSON;
}

static enum err site_build_route(struct site_builder *b, struct site_host *host,
                                 struct site_route *r, const struct route_settings *rule)
{
    r->site = b->site;
    r->host = host;
    r->rule = rule;
    r->keys = rule ? &rule->keys : &host->settings->keys;
    r->id = b->next_id++;
    r->log_format = site_access_format(r->keys->log.format);
    r->name = rule ? rule->path : STR("-");
    enum err e = site_build_root(b, r);
    if (!e) {
        e = site_build_regex(b, r);
    }
    if (!e) {
        e = site_build_rewrites(b, r);
    }
    if (!e && r->keys->backend.is_on) {
        e = site_build_backend(b, r);
    }
    if (!e && r->keys->split.count) {
        e = split_create(b->site, &r->keys->split, &r->split);
    }
    if (!e && r->keys->mirror.is_on) {
        r->mirror = site_find_backend(b->site, r->keys->mirror.to);
    }
    return e ? e : site_build_fields(b, r);
}

static enum err site_build_host(struct site_builder *b, struct site_host *host,
                                const struct host_settings *settings)
{
    struct arena *arena = &b->site->arena;
    size_t n = settings->routes.count;
    host->settings = settings;
    host->name = settings->domains.count ? settings->domains.items[0].text : STR("default");
    host->routes = arena_zalloc(arena, (n + 1) * sizeof(*host->routes));
    if (!host->routes) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i <= n; i++) {
        host->routes[i].root = -1;
    }
    host->route_count = n;
    struct router_rule *rules = arena_zalloc(arena, (n + 1) * sizeof(*rules));
    if (!rules) {
        return ERR_NOMEM;
    }
    /* The host itself is first: what a route inherits of it has its name. */
    enum err e = site_build_route(b, host, &host->routes[n], NULL);
    if (e) {
        return e;
    }
    for (size_t i = 0; i < n; i++) {
        const struct route_settings *rule = &settings->routes.items[i];
        rules[i] = (struct router_rule){rule->path, (int32_t)rule->priority};
        e = site_build_route(b, host, &host->routes[i], rule);
        if (e) {
            return e;
        }
        host->has_address_rules |= rule->match.ip.count != 0;
    }
    if (settings_is_passed(&settings->keys.backend)) {
        host->pass = (struct site_stream){host->name, host->routes[n].upstream};
        host->routes[n].upstream = NULL;
        b->site->passes_names = true;
    }
    const struct site_tls_input tls = {.arena = arena,
                                       .settings = &settings->ssl,
                                       .protocols = &b->site->settings->server.protocols,
                                       .outer = &b->site->tls,
                                       .domains = &settings->domains,
                                       .needs_certificate =
                                           b->site->listens_for_https && !host->pass.upstream};
    e = site_tls_init(&host->tls, &tls, b->diags);
    if (e) {
        return e;
    }
    struct pattern_fault fault;
    e = router_build(arena, rules, n, &host->router, &fault);
    if (e && e != ERR_NOMEM) {
        return site_fault(b, &settings->object, "routes", fault.reason);
    }
    return e;
}

static enum err site_build_hosts(struct site_builder *b)
{
    struct site *s = b->site;
    const struct host_list *list = &s->settings->hosts;
    size_t rule_count = 0;
    for (size_t i = 0; i < list->count; i++) {
        rule_count += list->items[i].domains.count;
    }
    s->host_count = list->count;
    s->host_list = arena_zalloc(&s->arena, (list->count + 1) * sizeof(*s->host_list));
    struct vhost_rule *rules = arena_zalloc(&s->arena, (rule_count + 1) * sizeof(*rules));
    uint32_t *rule_host = arena_zalloc(&s->arena, (rule_count + 1) * sizeof(*rule_host));
    if (!s->host_list || !rules || !rule_host) {
        return ERR_NOMEM;
    }
    size_t at = 0;
    for (size_t i = 0; i < list->count; i++) {
        enum err e = site_build_host(b, &s->host_list[i], &list->items[i]);
        if (e) {
            return e;
        }
        s->takes_early_data |= list->items[i].ssl.early_data == EARLY_DATA_SAFE;
        for (size_t d = 0; d < list->items[i].domains.count; d++) {
            rules[at] = (struct vhost_rule){list->items[i].domains.items[d].text,
                                            (int32_t)list->items[i].priority};
            rule_host[at++] = (uint32_t)i;
        }
    }
    s->rule_host = rule_host;
    struct pattern_fault fault;
    enum err e = vhost_build(&s->arena, rules, rule_count, &s->hosts, &fault);
    if (e && e != ERR_NOMEM) {
        return site_fault(b, &list->items[rule_host[fault.rule_index]].object, "domains",
                          fault.reason);
    }
    return e;
}

static enum err site_build_types(struct site *s)
{
    struct buf text;
    buf_init(&text, 0);
    buf_add_str(&text, media_types_builtin());
    buf_add_char(&text, '\n');
    /* The system's list adds the rare types; a machine without it has ours. */
    enum err ignored = file_read_all(MIME_TYPES_FILE, MIME_TYPES_BYTES_MAX, &text);
    (void)ignored;
    enum err e =
        text.is_failed ? ERR_NOMEM : media_types_load(&s->arena, buf_str(&text), &s->types);
    buf_done(&text);
    return e;
}

enum err site_create(struct settings *settings, const struct site *before, struct site **ret_site,
                     struct diag_list *reterr_diags)
{
    static atomic_uint generation;
    struct site *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    atomic_init(&s->ref_count, 1);
    s->settings = settings;
    s->generation = atomic_fetch_add(&generation, 1) + 1;
    arena_init(&s->arena, 16384, 0);
    struct site_builder b = {.site = s, .before = before, .diags = reterr_diags};
    for (size_t i = 0; i < settings->server.listen.count; i++) {
        s->listens_for_https |= settings->server.listen.items[i].is_tls;
    }
    enum err e = site_build_types(s);
    if (!e) {
        const struct site_tls_input tls = {.arena = &s->arena,
                                           .settings = &settings->server.tls,
                                           .protocols = &settings->server.protocols};
        e = site_tls_init(&s->tls, &tls, reterr_diags);
        s->takes_early_data = settings->server.tls.early_data == EARLY_DATA_SAFE;
    }
    if (!e) {
        e = site_build_named(&b);
    }
    if (!e) {
        e = site_build_hosts(&b);
    }
    if (!e) {
        s->stream_format = site_access_format(settings->log.format);
        e = site_build_streams(&b);
    }
    if (!e) {
        settings_wipe_keys(settings);
    } else {
        s->settings = NULL;
        site_unref(s);
        return e;
    }
    *ret_site = s;
    return ERR_OK;
}

struct site *site_ref(struct site *s)
{
    atomic_fetch_add_explicit(&s->ref_count, 1, memory_order_relaxed);
    return s;
}

void site_unref(struct site *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->ref_count, 1, memory_order_acq_rel) != 1) {
        return;
    }
    site_tls_done(&s->tls);
    for (size_t i = 0; s->host_list && i < s->host_count; i++) {
        struct site_host *host = &s->host_list[i];
        site_tls_done(&host->tls);
        for (size_t k = 0; host->routes && k <= host->route_count; k++) {
            file_close(host->routes[k].root);
            regex_destroy(host->routes[k].regex);
            rewrite_destroy(host->routes[k].rewrites);
        }
    }
    for (size_t i = 0; i < s->upstream_count; i++) {
        upstream_done(s->upstreams[i]);
    }
    settings_destroy(s->settings);
    arena_done(&s->arena);
    mem_free(s);
}

enum file_links site_links(const struct site_route *route)
{
    switch (route->keys->symlinks) {
    case SYMLINKS_OFF:
        return FILE_LINKS_OFF;
    case SYMLINKS_INSIDE:
        return FILE_LINKS_INSIDE;
    case SYMLINKS_ALL:
        return FILE_LINKS_ALL;
    }
    return FILE_LINKS_OFF;
}

const struct site_host *site_find_host(const struct site *s, struct str authority)
{
    uint32_t rule;
    if (!vhost_match(s->hosts, authority, &rule)) {
        return NULL;
    }
    return &s->host_list[s->rule_host[rule]];
}
