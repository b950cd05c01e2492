/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/balance.h"
#include "edge/proxy_int.h"

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
