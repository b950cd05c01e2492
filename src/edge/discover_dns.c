/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints from the DNS: all addresses of names, or what SRV records (RFC 2782) say. */
#include "base/assert.h"
#include "edge/discover_int.h"
#include "edge/upstream.h"

#define WEIGHT_MAX 1000u

static void dns_close(struct discover_name *n)
{
    struct discover_source *s = n->source;
    n->is_open = false;
    ASSERT(s->open_count > 0);
    if (--s->open_count == 0) {
        discover_finish(s);
    }
}

/* "http://10.0.0.1:8080" */
static bool dns_add(struct discover_name *n, const struct socket_address *address)
{
    char text[SOCKET_ADDRESS_TEXT_BYTES];
    struct discover_source *s = n->source;
    size_t bytes = socket_address_text(address, text);
    const struct member m = {
        .name = arena_printf(&s->arena, STR_FMT "%.*s", STR_ARG(n->scheme), (int)bytes, text),
        .url = n->url,
        .address = *address,
        .weight = n->weight,
        .is_backup = n->is_backup,
        .zone = n->zone,
    };
    return m.name.p && discover_add(s, &m);
}

static void dns_on_addresses(struct resolver_question *q, const struct socket_address *addresses,
                             unsigned count)
{
    struct discover_name *n = CONTAINER_OF(q, struct discover_name, question);
    for (unsigned i = 0; i < count; i++) {
        n->source->is_failed |= !dns_add(n, &addresses[i]);
    }
    dns_close(n);
}

static void dns_ask(struct discover_name *n)
{
    struct resolver *r = discover_resolver(n->source->discover);
    enum err e = r ? resolver_ask(r, n->host, n->port, &n->question, dns_on_addresses) : ERR_IO;
    if (e) {
        n->source->is_failed = true;
        dns_close(n);
    }
}

/* ---- services ---- */

static uint32_t dns_weight(const struct resolver_service *services, unsigned count, unsigned at)
{
    uint32_t most = 1;
    for (unsigned i = 0; i < count; i++) {
        most = services[i].weight > most ? services[i].weight : most;
    }
    uint32_t weight = services[at].weight;
    weight = most > WEIGHT_MAX ? weight * WEIGHT_MAX / most : weight;
    return weight ? weight : 1; /* RFC 2782: a very small chance, but one */
}

static void dns_take_service(struct discover_name *from, struct discover_name *to,
                             const struct resolver_service *service, uint32_t weight,
                             bool is_backup)
{
    struct arena *arena = &from->source->arena;
    *to = (struct discover_name){.source = from->source,
                                 .scheme = from->scheme,
                                 .host = arena_str(arena, service->target),
                                 .port = service->port,
                                 .weight = weight,
                                 .is_backup = from->is_backup || is_backup,
                                 .zone = from->zone};
    if (to->host.n && to->host.p[to->host.n - 1] == '.') {
        to->host.n--;
    }
    to->url = arena_printf(arena, STR_FMT STR_FMT ":%u", STR_ARG(to->scheme), STR_ARG(to->host),
                           service->port);
}

static void dns_on_services(struct resolver_service_question *q, enum err e,
                            const struct resolver_service *services, unsigned count)
{
    struct discover_name *n = CONTAINER_OF(q, struct discover_name, services_question);
    struct discover_source *s = n->source;
    struct discover_name *targets =
        arena_zalloc(&s->arena, (count + 1) * sizeof(struct discover_name));
    uint16_t first = UINT16_MAX;
    s->is_failed |= (e && e != ERR_NOT_FOUND) || !targets;
    for (unsigned i = 0; i < count; i++) {
        first = services[i].priority < first ? services[i].priority : first;
    }
    for (unsigned i = 0; targets && i < count; i++) {
        dns_take_service(n, &targets[i], &services[i], dns_weight(services, count, i),
                         services[i].priority != first);
        if (targets[i].host.p && targets[i].url.p) {
            targets[i].is_open = true;
            s->open_count++;
        } else {
            s->is_failed = true;
        }
    }
    /* Whoever cancels finds them here. */
    n->targets = targets;
    n->target_count = targets ? count : 0;
    for (size_t i = 0; i < n->target_count; i++) {
        if (targets[i].is_open) {
            dns_ask(&targets[i]);
        }
    }
    dns_close(n);
}

static void dns_ask_services(struct discover_name *n)
{
    struct resolver *r = discover_resolver(n->source->discover);
    enum err e =
        r ? resolver_ask_services(r, n->host, &n->services_question, dns_on_services) : ERR_IO;
    if (e) {
        n->source->is_failed = true;
        dns_close(n);
    }
}

/* ---- a round ---- */

/* False: no memory. */
static bool dns_take(struct discover_source *s, const struct endpoint_settings *from)
{
    struct upstream_address a = {0};
    size_t at;
    const char *never = value_parse_upstream(from->url, &a, &at);
    (void)never; /* the tables have checked it */
    const struct member own = {.name = from->url,
                               .url = from->url,
                               .weight = (uint32_t)from->weight,
                               .is_backup = from->backup,
                               .zone = from->zone.p ? from->zone : STR("")};
    if (!a.is_name) {
        return discover_add(s, &own);
    }
    s->names[s->name_count++] = (struct discover_name){
        .source = s,
        .is_open = true,
        .scheme = str_sub(from->url, 0, (size_t)str_index(from->url, ':') + 3),
        .host = a.host,
        .port = a.port,
        .weight = own.weight,
        .is_backup = own.is_backup,
        .zone = own.zone,
        .url = own.url};
    return true;
}

void discover_dns_begin(struct discover_source *s)
{
    const struct backend_settings *settings = upstream_settings(s->upstream);
    const struct endpoint_list *list = &settings->proxy;
    s->names = arena_zalloc(&s->arena, list->count * sizeof(*s->names));
    s->is_failed = s->names == NULL;
    for (size_t i = 0; i < list->count && !s->is_failed; i++) {
        s->is_failed = !dns_take(s, &list->items[i]);
    }
    /* One more than there are, so that the round does not end before all were asked. */
    s->open_count = (unsigned)s->name_count + 1;
    for (size_t i = 0; i < s->name_count; i++) {
        if (settings->discover.by == DISCOVER_SRV) {
            dns_ask_services(&s->names[i]);
        } else {
            dns_ask(&s->names[i]);
        }
    }
    if (--s->open_count == 0) {
        discover_finish(s);
    }
}

static void dns_forget(struct discover_name *n)
{
    resolver_forget(&n->question);
    resolver_forget_services(&n->services_question);
    for (size_t i = 0; i < n->target_count; i++) {
        resolver_forget(&n->targets[i].question);
    }
}

void discover_dns_cancel(struct discover_source *s)
{
    for (size_t i = 0; s->names && i < s->name_count; i++) {
        dns_forget(&s->names[i]);
    }
    s->open_count = 0;
    s->name_count = 0;
}
