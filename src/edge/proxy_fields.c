/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "edge/match.h"
#include "edge/proxy_int.h"
#include "edge/request_id.h"

#define PSEUDONYM "selenia" /* in Via (RFC 9110 7.6.3) */

static bool proxy_has_prefix(struct str name, struct str prefix)
{
    return str_eq_ci(str_sub(name, 0, prefix.n), prefix);
}

/* Who sends this to the next hop could take apart what it must not: how long the message is, and
 * who asks (CVE-2022-31813). */
static bool proxy_is_protected(enum http_field_id id)
{
    return id == HTTP_FIELD_HOST || id == HTTP_FIELD_CONTENT_LENGTH ||
           id == HTTP_FIELD_TRANSFER_ENCODING || id == HTTP_FIELD_AUTHORIZATION ||
           id == HTTP_FIELD_COOKIE;
}

/* It belongs to the connection that it came over. */
static bool proxy_is_of_connection(const struct http_fields *from, const struct http_field *f)
{
    enum http_field_id id = (enum http_field_id)f->id;
    if (http_field_is_hop_by_hop(id) || id == HTTP_FIELD_CONTENT_LENGTH) {
        return true;
    }
    return http_fields_get(from, HTTP_FIELD_CONNECTION) && !proxy_is_protected(id) &&
           http_fields_has_token(from, HTTP_FIELD_CONNECTION, f->name);
}

/* What a program behind us may take for another name, because CGI folds them all into one
 * (`X_Auth_User`, `X.Auth.User`), or for a variable of its own (`Proxy`, CVE-2016-5385). */
static bool proxy_is_alias(struct str name)
{
    return str_index(name, '_') >= 0 || str_index(name, '.') >= 0 || str_eq_ci(name, STR("proxy"));
}

/* Says whom a request was forwarded for. */
static bool proxy_is_forwarding(const struct http_field *f)
{
    return f->id == HTTP_FIELD_FORWARDED || f->id == HTTP_FIELD_X_REAL_IP ||
           proxy_has_prefix(f->name, STR("x-forwarded-"));
}

static bool proxy_passes(const struct http_fields *from, const struct http_field *f,
                         bool is_trusted, bool is_websocket)
{
    if (f->id == HTTP_FIELD_HOST || proxy_is_of_connection(from, f) || proxy_is_alias(f->name)) {
        return false;
    }
    if (f->id == HTTP_FIELD_SEC_WEBSOCKET_KEY && is_websocket) {
        return false;
    }
    return is_trusted || !proxy_is_forwarding(f);
}

static struct str proxy_host(const struct request *r, const struct upstream *u,
                             const struct upstream_endpoint *endpoint)
{
    struct str policy = upstream_settings(u)->host;
    struct str given = r->x->request->authority;
    if (str_eq(policy, STR("pass"))) {
        return given.n ? given : endpoint->authority;
    }
    return str_eq(policy, STR("upstream")) ? endpoint->authority : policy;
}

/* `before`, where the peer may speak for others, and the peer. */
static enum err proxy_append(struct request *r, struct http_fields *fields, enum http_field_id id,
                             struct str own)
{
    const struct http_field *first = http_fields_get(fields, id);
    if (!first) {
        return http_fields_add_id(fields, id, own); /* it lives as long as the exchange */
    }
    struct buf text;
    buf_init(&text, 0);
    for (const struct http_field *f = first; f; f = http_fields_next(fields, f)) {
        buf_add_str(&text, f->value);
        buf_add_str(&text, STR(", "));
    }
    buf_add_str(&text, own);
    struct str whole =
        text.is_failed ? (struct str){NULL, 0} : arena_str(&r->x->arena, buf_str(&text));
    buf_done(&text);
    return whole.p ? http_fields_set_id(fields, id, whole) : ERR_NOMEM;
}

static enum err proxy_set_default(struct http_fields *fields, enum http_field_id id,
                                  struct str value)
{
    return http_fields_get(fields, id) ? ERR_OK : http_fields_add_id(fields, id, value);
}

/* RFC 7239, and the fields of before it. */
static enum err proxy_add_forwarding(struct request *r, struct http_fields *fields)
{
    struct str peer = r->x->peer->host, host = r->x->request->authority;
    struct str proto = r->x->peer->tls ? STR("https") : STR("http");
    bool is_v6 = str_index(peer, ':') >= 0;
    bool is_local = str_eq(peer, STR("unix"));
    const struct str pieces[] = {
        is_v6 ? STR("for=\"[") : STR("for="),
        is_local ? STR("unknown") : peer,
        is_v6 ? STR("]\";host=\"") : STR(";host=\""),
        host,
        STR("\";proto="),
        proto,
    };
    struct str forwarded = arena_join(&r->x->arena, pieces, COUNT_OF(pieces));
    enum err e = forwarded.p ? proxy_append(r, fields, HTTP_FIELD_FORWARDED, forwarded) : ERR_NOMEM;
    if (!e && !is_local) {
        e = proxy_append(r, fields, HTTP_FIELD_X_FORWARDED_FOR, peer);
    }
    e = e ? e : proxy_set_default(fields, HTTP_FIELD_X_FORWARDED_PROTO, proto);
    return e || !host.n ? e : proxy_set_default(fields, HTTP_FIELD_X_FORWARDED_HOST, host);
}

/* The received protocol and who received it. */
static enum err proxy_add_via(struct http_fields *fields, uint8_t version)
{
    switch (version) {
    case HTTP_VERSION_10:
        return http_fields_add_id(fields, HTTP_FIELD_VIA, STR("1.0 " PSEUDONYM));
    case HTTP_VERSION_20:
        return http_fields_add_id(fields, HTTP_FIELD_VIA, STR("2 " PSEUDONYM));
    case HTTP_VERSION_30:
        return http_fields_add_id(fields, HTTP_FIELD_VIA, STR("3 " PSEUDONYM));
    default:
        return http_fields_add_id(fields, HTTP_FIELD_VIA, STR("1.1 " PSEUDONYM));
    }
}

static enum err proxy_set_own_fields(const struct request *r, struct http_fields *fields)
{
    const struct str_map *own = &r->route->keys->headers.request;
    for (size_t i = 0; i < own->count; i++) {
        const struct str_pair *pair = &own->items[i];
        http_fields_remove(fields, pair->key);
        enum err e = pair->is_null ? ERR_OK : http_fields_add(fields, pair->key, pair->value);
        if (e) {
            return e;
        }
    }
    return ERR_OK;
}

static enum err proxy_add_websocket(const struct http_fields *from, struct str key,
                                    struct http_fields *fields)
{
    enum err e = http_fields_add_id(fields, HTTP_FIELD_SEC_WEBSOCKET_KEY, key);
    return e || http_fields_get(from, HTTP_FIELD_SEC_WEBSOCKET_VERSION)
               ? e
               : http_fields_add_id(fields, HTTP_FIELD_SEC_WEBSOCKET_VERSION, STR("13"));
}

enum err proxy_request_fields(struct request *r, const struct upstream *u,
                              const struct upstream_endpoint *endpoint, struct str websocket_key,
                              struct http_fields *fields)
{
    const struct request_head *head = r->x->request;
    const struct http_fields *from = &head->fields;
    bool is_trusted =
        match_address(&r->use->site->settings->server.trusted_proxies, r->x->peer->host);
    enum err e = http_fields_add_id(fields, HTTP_FIELD_HOST, proxy_host(r, u, endpoint));
    for (unsigned i = 0; i < from->n && !e; i++) {
        const struct http_field *f = &from->v[i];
        if (proxy_passes(from, f, is_trusted, websocket_key.n > 0)) {
            e = http_fields_add(fields, f->name, f->value);
        }
    }
    if (!e && http_fields_has_token(from, HTTP_FIELD_TE, STR("trailers"))) {
        e = http_fields_add_id(fields, HTTP_FIELD_TE, STR("trailers"));
    }
    if (!e && websocket_key.n) {
        e = proxy_add_websocket(from, websocket_key, fields);
    }
    if (!e && r->x->is_early) {
        e = http_fields_set_id(fields, HTTP_FIELD_EARLY_DATA, STR("1"));
    }
    e = e ? e : http_fields_set_id(fields, HTTP_FIELD_X_REQUEST_ID, request_id(r));
    e = e ? e : proxy_add_forwarding(r, fields);
    e = e ? e : proxy_add_via(fields, head->version);
    return e ? e : proxy_set_own_fields(r, fields);
}

enum err proxy_response_fields(const struct request *r, const struct http_fields *from,
                               enum http_version version, bool is_switch,
                               struct http_fields *fields)
{
    enum err e = ERR_OK;
    for (unsigned i = 0; i < from->n && !e; i++) {
        const struct http_field *f = &from->v[i];
        /* X-Accel-* are orders to another server; Alt-Svc names ports that we do not have. */
        bool is_dropped = proxy_is_of_connection(from, f) || f->id == HTTP_FIELD_ALT_SVC ||
                          proxy_has_prefix(f->name, STR("x-accel-")) ||
                          (is_switch && f->id == HTTP_FIELD_SEC_WEBSOCKET_ACCEPT);
        if (!is_dropped) {
            e = http_fields_add(fields, f->name, f->value);
        }
    }
    e = e ? e : proxy_add_via(fields, (uint8_t)version);
    return e ? e : request_add_route_fields(r, fields);
}

enum err proxy_trailers(const struct http_fields *from, struct http_fields *fields)
{
    enum err e = ERR_OK;
    for (unsigned i = 0; i < from->n && !e; i++) {
        const struct http_field *f = &from->v[i];
        enum http_field_id id = (enum http_field_id)f->id;
        bool is_dropped = http_field_is_hop_by_hop(id) || proxy_is_forwarding(f) ||
                          http_field_is_forbidden_in_trailer(id) || proxy_is_alias(f->name);
        if (!is_dropped) {
            e = http_fields_add(fields, f->name, f->value);
        }
    }
    return e;
}
