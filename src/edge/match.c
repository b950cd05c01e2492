/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/match.h"

#include <arpa/inet.h>

static bool match_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned bytes = bits / 8;
    if (memcmp(a, b, bytes) != 0) {
        return false;
    }
    unsigned rest = bits % 8;
    return rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

bool match_address(const struct cidr_list *blocks, struct str address)
{
    char text[64];
    uint8_t bytes[16];
    if (blocks->count == 0 || address.n >= sizeof(text)) {
        return false;
    }
    memcpy(text, address.p, address.n);
    text[address.n] = '\0';
    uint8_t family = 4;
    if (inet_pton(AF_INET, text, bytes) != 1) {
        family = 6;
        if (inet_pton(AF_INET6, text, bytes) != 1) {
            return false;
        }
    }
    for (size_t i = 0; i < blocks->count; i++) {
        const struct cidr *c = &blocks->items[i];
        if (c->family == family && match_bits(c->bytes, bytes, c->prefix)) {
            return true;
        }
    }
    return false;
}

/* Takes the last element off a list that may stand in several fields: `*field`, of which `*rest` is
 * not read yet, and those before it. False: it was the first one. */
static bool match_last_hop(const struct http_fields *fields, const struct http_field **field,
                           struct str *rest, struct str *ret_hop)
{
    while (rest->n == 0) {
        const struct http_field *first = http_fields_get(fields, HTTP_FIELD_X_FORWARDED_FOR);
        const struct http_field *before = NULL;
        for (const struct http_field *f = first; f && f != *field;
             f = http_fields_next(fields, f)) {
            before = f;
        }
        if (!before) {
            return false;
        }
        *field = before;
        *rest = before->value;
    }
    size_t start = rest->n;
    while (start > 0 && rest->p[start - 1] != ',') {
        start--;
    }
    *ret_hop = str_trim(str_sub(*rest, start, rest->n));
    *rest = str_sub(*rest, 0, start ? start - 1 : 0);
    return true;
}

struct str match_client(const struct cidr_list *trusted, struct str peer,
                        const struct http_fields *fields)
{
    struct str client = peer, hop, rest = STR("");
    const struct http_field *field = NULL;
    if (trusted->count == 0 || !match_address(trusted, peer)) {
        return client;
    }
    while (match_last_hop(fields, &field, &rest, &hop)) {
        struct in6_addr ignored;
        char text[64];
        if (hop.n == 0 || hop.n >= sizeof(text)) {
            break;
        }
        memcpy(text, hop.p, hop.n);
        text[hop.n] = '\0';
        if (inet_pton(AF_INET, text, &ignored) != 1 && inet_pton(AF_INET6, text, &ignored) != 1) {
            break; /* what is no address was not written by a proxy we trust */
        }
        client = hop;
        if (!match_address(trusted, hop)) {
            break;
        }
    }
    return client;
}

static bool match_value(const struct str_pair *want, bool is_there, struct str value)
{
    if (want->is_null) {
        return !is_there;
    }
    return is_there && (str_eq(want->value, STR("*")) || str_eq(want->value, value));
}

/* The first name that has not what is wanted; NULL: all do. */
static const struct str *match_headers(const struct str_map *want, const struct http_fields *fields)
{
    for (size_t i = 0; i < want->count; i++) {
        const struct http_field *f = http_fields_find(fields, want->items[i].key);
        if (!match_value(&want->items[i], f != NULL, f ? f->value : STR(""))) {
            return &want->items[i].key;
        }
    }
    return NULL;
}

static bool match_find_parameter(struct str query, struct str name, struct str *ret_value)
{
    struct str part;
    while (str_split(&query, '&', &part)) {
        ptrdiff_t equal = str_index(part, '=');
        struct str key = equal < 0 ? part : str_sub(part, 0, (size_t)equal);
        if (str_eq(key, name)) {
            *ret_value = equal < 0 ? STR("") : str_sub(part, (size_t)equal + 1, part.n);
            return true;
        }
    }
    return false;
}

static const struct str *match_query(const struct str_map *want, struct str query)
{
    for (size_t i = 0; i < want->count; i++) {
        struct str value = STR("");
        bool is_there = match_find_parameter(query, want->items[i].key, &value);
        if (!match_value(&want->items[i], is_there, value)) {
            return &want->items[i].key;
        }
    }
    return NULL;
}

static bool match_method(const struct str_list *methods, struct str method)
{
    for (size_t i = 0; i < methods->count; i++) {
        if (str_eq(methods->items[i], method)) {
            return true;
        }
    }
    return methods->count == 0;
}

static enum err match_missed(const char *condition, struct str name, struct match_miss *ret_miss)
{
    *ret_miss = (struct match_miss){condition, name};
    return ERR_NOT_FOUND;
}

enum err match_route(const struct site_route *route, const struct request *r,
                     struct match_miss *ret_miss)
{
    const struct route_settings *rule = route->rule;
    const struct str *name;
    if (!match_method(&rule->methods, request_method(r))) {
        return match_missed("method", STR(""), ret_miss);
    }
    if (rule->match.ip.count && !match_address(&rule->match.ip, r->client)) {
        return match_missed("address", STR(""), ret_miss);
    }
    if ((name = match_headers(&rule->match.header, &r->x->request->fields)) != NULL) {
        return match_missed("header", *name, ret_miss);
    }
    if ((name = match_query(&rule->match.query, r->query)) != NULL) {
        return match_missed("query", *name, ret_miss);
    }
    enum err e = route->regex ? regex_find(route->regex, r->path) : ERR_OK;
    return e == ERR_NOT_FOUND ? match_missed("regex", STR(""), ret_miss) : e;
}
