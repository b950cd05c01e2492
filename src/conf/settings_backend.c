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

static const struct backend_settings *find(struct checker *c, const struct settings *s,
                                           const struct backend_settings *b)
{
    struct str name = b->proxy.items[0].url, best = STR("");
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
    struct diag *d = diag_add(c->diags, conf_origin_of(b, "proxy"),
                              "there is no backend \"" STR_FMT "\"", STR_ARG(name));
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

static void settle(struct checker *c, const struct settings *s, struct backend_settings *b)
{
    if (!b->is_on) {
        return;
    }
    check_list(c, b);
    if (b->proxy.count == 1 && is_name(b->proxy.items[0].url)) {
        b->named = find(c, s, b);
        check_alone(c, b);
    }
}

void settings_check_backends(struct checker *c, struct settings *s)
{
    for (size_t i = 0; i < s->backends.count; i++) {
        check_list(c, &s->backends.items[i]);
    }
    for (size_t i = 0; i < s->hosts.count; i++) {
        struct host_settings *host = &s->hosts.items[i];
        settle(c, s, &host->keys.backend);
        for (size_t k = 0; k < host->routes.count; k++) {
            settle(c, s, &host->routes.items[k].keys.backend);
        }
    }
}

const struct backend_settings *settings_backend(const struct backend_settings *b)
{
    return b->named != NULL ? b->named : b;
}
