/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/balance.h"
#include "edge/proxy_int.h"
#include "net/proxy_header.h"

/* RFC 6265 section 4.2.1; the first of several of one name. */
static struct str proxy_cookie(const struct request *r, struct str name)
{
    struct str rest = http_fields_value(&r->x->request->fields, HTTP_FIELD_COOKIE);
    struct str part;
    while (rest.n && str_split(&rest, ';', &part)) {
        part = str_trim(part);
        if (part.n > name.n && part.p[name.n] == '=' && str_starts_with(part, name)) {
            return str_sub(part, name.n + 1, part.n);
        }
    }
    return (struct str){NULL, 0};
}

void proxy_read_sticky(const struct request *r, const struct upstream *u, struct upstream_use *use)
{
    const struct sticky_settings *sticky = &upstream_settings(u)->sticky;
    struct str value = sticky->is_on ? proxy_cookie(r, sticky->cookie) : STR("");
    if (value.n == STICKY_MARK_BYTES) {
        memcpy(use->mark, value.p, STICKY_MARK_BYTES);
        use->has_mark = true;
    }
}

enum err proxy_add_sticky(const struct request *r, const struct upstream *u,
                          const struct upstream_use *use, struct http_fields *fields)
{
    const struct sticky_settings *sticky = &upstream_settings(u)->sticky;
    struct str mark = str_make(use->endpoint->mark, STICKY_MARK_BYTES);
    if (!sticky->is_on || (use->has_mark && str_eq(mark, str_make(use->mark, mark.n)))) {
        return ERR_OK;
    }
    struct arena *arena = &r->x->arena;
    struct str age = sticky->ttl_ms
                         ? arena_printf(arena, "; Max-Age=%lld", (long long)(sticky->ttl_ms / 1000))
                         : STR("");
    struct str text = arena_printf(
        arena, STR_FMT "=" STR_FMT "; Path=/; HttpOnly; SameSite=Lax%s" STR_FMT,
        STR_ARG(sticky->cookie), STR_ARG(mark), r->x->peer->tls ? "; Secure" : "", STR_ARG(age));
    return age.p && text.p ? http_fields_add_id(fields, HTTP_FIELD_SET_COOKIE, text) : ERR_NOMEM;
}

uint64_t proxy_hash_key(const struct request *r, struct str rule)
{
    struct str text = {NULL, 0};
    if (str_eq(rule, STR("path"))) {
        text = r->path;
    } else if (str_starts_with(rule, STR("cookie:"))) {
        text = proxy_cookie(r, str_sub(rule, 7, rule.n));
    } else if (str_starts_with(rule, STR("header:"))) {
        const struct http_field *f =
            http_fields_find(&r->x->request->fields, str_sub(rule, 7, rule.n));
        text = f ? f->value : text;
    }
    return balance_hash(text.n ? text : r->client);
}

enum err proxy_greeting(struct exchange *x, unsigned version, struct str *ret_text)
{
    const struct exchange_peer *peer = x->peer;
    struct socket_address local = {0};
    char text[PROXY_HEADER_WRITTEN_MAX];
    if (peer->fd < 0 || socket_local(peer->fd, &local) != ERR_OK) {
        /* The datagrams of QUIC came to some address of ours: no more is known. */
        bool is_v6 = peer->address.raw.ss_family == AF_INET6;
        enum err never = socket_address_ip(is_v6 ? STR("::") : STR("0.0.0.0"), 0, &local);
        (void)never;
    }
    size_t n = proxy_header_write(version, &peer->address, &local, text);
    *ret_text = arena_str(&x->arena, str_make(text, n));
    return ret_text->p ? ERR_OK : ERR_NOMEM;
}
