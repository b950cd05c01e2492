/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/discover.h"

#include "base/assert.h"
#include "base/mem.h"
#include "edge/discover_int.h"
#include "edge/site.h"
#include "edge/upstream.h"
#include "log/log.h"

/* The resolver knows how long an answer is good; asking it costs nothing before. */
#define DNS_ROUND_MS 1000u
#define SRV_ROUND_MS 10000u
/* Where changes of a file go unnoticed (network file systems). */
#define FILE_ROUND_MS 5000u
#define STALE_MS 3600000u

struct discover {
    struct loop *loop;
    struct log *log;
    discover_fn on_list;
    void *context;
    struct site *site; /* NULL before the first */
    struct resolver *resolver;
    struct list sources;
};

struct resolver *discover_resolver(struct discover *d)
{
    if (!d->resolver && site_open_resolver(d->site, d->loop, &d->resolver) != ERR_OK) {
        return NULL;
    }
    return d->resolver;
}

struct log *discover_log(const struct discover *d)
{
    return d->log;
}

struct loop *discover_loop(const struct discover *d)
{
    return d->loop;
}

/* ---- a round ---- */

static bool discover_keep(struct arena *arena, struct str *text)
{
    *text = text->n ? arena_str(arena, *text) : STR("");
    return text->p != NULL;
}

bool discover_add(struct discover_source *s, const struct member *m)
{
    for (size_t i = 0; i < s->count; i++) {
        if (str_eq(s->members[i].name, m->name)) {
            return true;
        }
    }
    if (s->count == BALANCE_ENDPOINTS_MAX) {
        s->is_too_long = true;
        return true;
    }
    struct member *to = &s->members[s->count++];
    *to = *m;
    return discover_keep(&s->arena, &to->name) && discover_keep(&s->arena, &to->url) &&
           discover_keep(&s->arena, &to->zone);
}

static bool discover_is_same_address(const struct socket_address *a, const struct socket_address *b)
{
    uint8_t x[SOCKET_ADDRESS_BYTES_MAX], y[SOCKET_ADDRESS_BYTES_MAX];
    if (a->n == 0 || b->n == 0) {
        return a->n == b->n;
    }
    size_t n = socket_address_bytes(a, x);
    return socket_address_bytes(b, y) == n && memcmp(x, y, n) == 0 &&
           socket_address_port(a) == socket_address_port(b);
}

static bool discover_is_same(const struct member *a, const struct upstream_endpoint *e)
{
    const struct member b = members_told(e);
    /* Of a URL with an address both are the same, told or not. */
    bool is_same_address = a->address.n == 0 || discover_is_same_address(&a->address, &b.address);
    return is_same_address && str_eq(a->url, b.url) && a->weight == b.weight &&
           a->is_backup == b.is_backup && str_eq(a->zone, b.zone);
}

/* In whatever order: name servers turn theirs. */
static bool discover_is_unchanged(const struct discover_source *s)
{
    const struct members *m = upstream_members(s->upstream);
    bool is_same = m->count == s->count;
    for (size_t i = 0; i < s->count && is_same; i++) {
        const struct upstream_endpoint *e = members_find(m, s->members[i].name);
        is_same = e && discover_is_same(&s->members[i], e);
    }
    return is_same;
}

static uint64_t discover_round_ms(const struct discover_source *s)
{
    switch (upstream_settings(s->upstream)->discover.by) {
    case DISCOVER_DNS:
        return DNS_ROUND_MS;
    case DISCOVER_SRV:
        return SRV_ROUND_MS;
    case DISCOVER_FILE:
        return FILE_ROUND_MS;
    }
    return SRV_ROUND_MS;
}

static void discover_say(struct discover_source *s, bool is_failed)
{
    if (is_failed && !s->is_said) {
        LOG(s->discover->log, LOG_LEVEL_WARN, "no endpoints were found, the last ones stay",
            log_str("backend", upstream_name(s->upstream)));
    }
    s->is_said = is_failed;
}

/* Whether what names said last is no good any more. The resolver has kept addresses as long itself.
 */
static bool discover_is_stale(const struct discover_source *s, uint64_t now_ms)
{
    bool has_asked = upstream_settings(s->upstream)->discover.by == DISCOVER_DNS && !s->is_failed;
    return has_asked || now_ms - s->good_ms > STALE_MS;
}

void discover_finish(struct discover_source *s)
{
    struct discover *d = s->discover;
    uint64_t now_ms = loop_now_ms(d->loop);
    bool is_file = upstream_settings(s->upstream)->discover.by == DISCOVER_FILE;
    /* A file that is empty says that there is nobody; names that are nowhere say nothing. */
    bool is_failed = s->is_failed || (!is_file && s->count == 0);
    bool is_stale = is_failed && !is_file && s->good_ms && discover_is_stale(s, now_ms);
    if (!is_failed) {
        s->good_ms = now_ms;
    }
    if (!is_file || !is_failed) {
        discover_say(s, is_failed);
    }
    if (is_stale) {
        s->count = 0;
    }
    if ((!is_failed || is_stale) && !discover_is_unchanged(s)) {
        if (s->is_too_long) {
            LOG(d->log, LOG_LEVEL_WARN, "a backend has more endpoints than are asked",
                log_str("backend", upstream_name(s->upstream)),
                log_u64("asked", BALANCE_ENDPOINTS_MAX));
        }
        d->on_list(d->context, upstream_name(s->upstream), s->members, s->count);
    }
    loop_timer_set(d->loop, &s->timer, now_ms + discover_round_ms(s));
}

static void discover_cancel(struct discover_source *s)
{
    discover_dns_cancel(s);
    discover_file_cancel(s);
    timer_cancel(&s->timer);
    arena_done(&s->arena);
}

static void discover_begin(struct discover_source *s)
{
    discover_dns_cancel(s);
    arena_done(&s->arena);
    arena_init(&s->arena, 4096, 0);
    s->count = 0;
    s->is_too_long = false;
    s->is_failed = false;
    s->names = NULL;
    s->name_count = 0;
    if (upstream_settings(s->upstream)->discover.by == DISCOVER_FILE) {
        discover_file_begin(s);
    } else {
        discover_dns_begin(s);
    }
}

static void discover_on_turn(struct timer *t)
{
    discover_begin(CONTAINER_OF(t, struct discover_source, timer));
}

/* ---- the sources ---- */

static void discover_remove(struct discover_source *s)
{
    discover_cancel(s);
    list_remove(&s->link);
    mem_free(s);
}

static enum err discover_follow(struct discover *d, struct upstream *u)
{
    struct discover_source *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->discover = d;
    s->upstream = u;
    arena_init(&s->arena, 4096, 0);
    timer_init(&s->timer, discover_on_turn);
    list_push_back(&d->sources, &s->link);
    /* Not from within this call: who gives a site is not done with it yet. */
    loop_timer_set(d->loop, &s->timer, loop_now_ms(d->loop));
    return ERR_OK;
}

enum err discover_set_site(struct discover *d, struct site *site)
{
    struct site *before = d->site;
    enum err e = ERR_OK;
    LIST_FOR_EACH_SAFE(at, spare, &d->sources)
    {
        discover_remove(CONTAINER_OF(at, struct discover_source, link));
    }
    d->site = site_ref(site);
    for (size_t i = 0; i < site->upstream_count && !e; i++) {
        if (upstream_settings(site->upstreams[i])->discover.is_on) {
            e = discover_follow(d, site->upstreams[i]);
        }
    }
    site_unref(before);
    return e;
}

enum err discover_create(struct loop *loop, struct log *log, discover_fn on_list, void *context,
                         struct discover **ret_discover)
{
    struct discover *d = mem_zalloc(1, sizeof(*d));
    if (!d) {
        return ERR_NOMEM;
    }
    *d = (struct discover){.loop = loop, .log = log, .on_list = on_list, .context = context};
    list_init(&d->sources);
    *ret_discover = d;
    return ERR_OK;
}

void discover_destroy(struct discover *d)
{
    if (!d) {
        return;
    }
    LIST_FOR_EACH_SAFE(at, spare, &d->sources)
    {
        discover_remove(CONTAINER_OF(at, struct discover_source, link));
    }
    resolver_destroy(d->resolver);
    site_unref(d->site);
    mem_free(d);
}
