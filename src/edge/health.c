/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/health.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "edge/endpoint.h"
#include "edge/health_int.h"
#include "edge/site.h"
#include "edge/upstream.h"
#include "log/log.h"
#include "net/client.h"
#include "os/random.h"

struct health {
    struct loop *loop;
    struct log *log;
    struct site *site; /* NULL before the first */
    struct client *client;
    struct resolver *resolver;
    struct list probes;
    uint64_t random;
};

struct loop *health_loop(const struct health *h)
{
    return h->loop;
}

struct client *health_client(struct health *h)
{
    if (!h->client && client_create(h->loop, &h->client) != ERR_OK) {
        return NULL;
    }
    return h->client;
}

static uint64_t health_random(struct health *h)
{
    h->random ^= h->random << 13;
    h->random ^= h->random >> 7;
    h->random ^= h->random << 17;
    return h->random;
}

static void health_stop(struct health_probe *p)
{
    const struct health_kind *kind = p->kind;
    p->kind = NULL;
    p->is_under_way = false;
    resolver_forget(&p->question);
    timer_cancel(&p->turn);
    timer_cancel(&p->deadline);
    if (kind) {
        kind->cancel(p);
    }
    buf_done(&p->body);
}

/* ---- what a check means ---- */

static void health_say(const struct health_probe *p, enum log_level level, const char *text,
                       const char *reason)
{
    LOG(p->health->log, level, text, log_str("backend", upstream_name(p->upstream)),
        log_str("endpoint", p->endpoint->name), log_str("reason", str_of(reason)));
}

static void health_judge(struct health_probe *p, const char *reason)
{
    struct endpoint *state = p->endpoint->state;
    enum endpoint_health before = endpoint_health(state);
    uint64_t now_ms = loop_now_ms(p->health->loop);
    bool is_first = before == ENDPOINT_PRESUMED || before == ENDPOINT_WAITING;
    p->pass_count = reason ? 0 : p->pass_count + 1;
    p->fail_count = reason ? p->fail_count + 1 : 0;
    if (!reason && before != ENDPOINT_HEALTHY &&
        (!p->has_passed || p->pass_count >= (uint64_t)p->settings->rise)) {
        endpoint_set_health(state, ENDPOINT_HEALTHY, now_ms);
        health_say(p, before == ENDPOINT_UNHEALTHY ? LOG_LEVEL_NOTICE : LOG_LEVEL_INFO,
                   "an endpoint is healthy", is_first ? "first check" : "checks pass again");
    } else if (reason && before != ENDPOINT_UNHEALTHY &&
               (is_first || p->fail_count >= (uint64_t)p->settings->fall)) {
        endpoint_set_health(state, ENDPOINT_UNHEALTHY, now_ms);
        health_say(p, LOG_LEVEL_WARN, "an endpoint is unhealthy", reason);
    }
    p->has_passed |= !reason;
}

static void health_wait(struct health_probe *p)
{
    uint64_t interval_ms = (uint64_t)p->settings->interval_ms;
    uint64_t spread = health_random(p->health) % (interval_ms * 2 / 5 + 1);
    loop_timer_set(p->health->loop, &p->turn,
                   loop_now_ms(p->health->loop) + interval_ms - interval_ms / 5 + spread);
}

/* ---- one check ---- */

void health_verdict(struct health_probe *p, const char *reason)
{
    p->kind = NULL;
    health_stop(p);
    health_judge(p, reason);
    health_wait(p);
}

static void health_fail(struct health_probe *p, const char *reason)
{
    health_stop(p);
    health_verdict(p, reason);
}

static const struct health_kind *health_kind_of(const struct health_probe *p)
{
    /* An endpoint that takes bytes may know no HTTP. */
    if (p->settings->tcp || str_starts_with(p->endpoint->url, STR("tcp://"))) {
        return &health_kind_tcp;
    }
    bool is_get = settings_check_is_get(p->settings);
    return p->settings->grpc.p || (p->endpoint->is_grpc && !is_get) ? &health_kind_grpc
                                                                    : &health_kind_http;
}

static void health_ask(struct health_probe *p)
{
    const struct health_kind *kind = health_kind_of(p);
    if (kind == &health_kind_grpc && p->target.protocol != CLIENT_H2) {
        health_fail(p, "gRPC needs HTTP/2, which this endpoint does not say it speaks");
        return;
    }
    enum err e = kind->begin(p);
    if (e) {
        health_fail(p, client_connect_text(e));
    } else {
        p->kind = kind;
    }
}

static void health_on_addresses(struct resolver_question *q, const struct socket_address *addresses,
                                unsigned count)
{
    struct health_probe *p = CONTAINER_OF(q, struct health_probe, question);
    if (count) {
        p->target.address = addresses[0];
        health_ask(p);
    } else {
        health_fail(p, client_fault_text(CLIENT_FAULT_NAME));
    }
}

static void health_on_deadline(struct timer *t)
{
    struct health_probe *p = CONTAINER_OF(t, struct health_probe, deadline);
    char text[HEALTH_REASON_BYTES];
    snprintf(text, sizeof(text), "no answer within %lld ms", (long long)p->settings->timeout_ms);
    health_fail(p, text);
}

static void health_begin(struct health_probe *p)
{
    struct health *h = p->health;
    const struct upstream_endpoint *e = p->endpoint;
    p->is_under_way = true;
    loop_timer_set(h->loop, &p->deadline, loop_now_ms(h->loop) + (uint64_t)p->settings->timeout_ms);
    p->target = e->target;
    p->target.idle_max = 0;
    if (p->target.proxy_version) {
        /* Of ourselves: without addresses. */
        static const struct socket_address none = {.n = 0};
        size_t n = proxy_header_write(p->target.proxy_version, &none, &none, p->greeting);
        p->target.greeting = str_make(p->greeting, n);
    }
    if (!e->host.n) {
        health_ask(p);
        return;
    }
    enum err err = h->resolver ? ERR_OK : site_open_resolver(h->site, h->loop, &h->resolver);
    err =
        err ? err : resolver_ask(h->resolver, e->host, e->port, &p->question, health_on_addresses);
    if (err) {
        health_fail(p, err_text(err));
    }
}

static void health_on_turn(struct timer *t)
{
    health_begin(CONTAINER_OF(t, struct health_probe, turn));
}

/* ---- the endpoints ---- */

static void health_remove(struct health_probe *p)
{
    health_stop(p);
    members_unref(p->members);
    list_remove(&p->link);
    mem_free(p);
}

static struct health_probe *health_find(struct health *h, const struct endpoint *state)
{
    LIST_FOR_EACH(at, &h->probes)
    {
        struct health_probe *p = CONTAINER_OF(at, struct health_probe, link);
        if (p->endpoint->state == state) {
            return p;
        }
    }
    return NULL;
}

/* What is known of the endpoint stays; a check that is under way may ask for what nobody wants any
 * more and begins anew. */
static void health_point(struct health_probe *p, const struct upstream *u, struct members *m,
                         const struct upstream_endpoint *e)
{
    const struct check_settings *settings = &upstream_settings(u)->health;
    bool begins = p->is_under_way;
    bool waits_anew = p->settings && p->settings->interval_ms != settings->interval_ms;
    if (begins) {
        health_stop(p);
    }
    members_unref(p->members);
    p->members = members_ref(m);
    p->upstream = u;
    p->endpoint = e;
    p->settings = settings;
    p->is_wanted = true;
    if (begins) {
        health_begin(p);
    } else if (waits_anew) {
        health_wait(p);
    }
}

static enum err health_add(struct health *h, const struct upstream *u, struct members *m,
                           const struct upstream_endpoint *e, size_t place)
{
    struct health_probe *p = health_find(h, e->state);
    uint64_t now_ms = loop_now_ms(h->loop);
    if (p) {
        health_point(p, u, m, e);
        return ERR_OK;
    }
    p = mem_zalloc(1, sizeof(*p));
    if (!p) {
        return ERR_NOMEM;
    }
    if (endpoint_health(e->state) == ENDPOINT_UNCHECKED) {
        endpoint_set_health(e->state, ENDPOINT_PRESUMED, now_ms);
    }
    p->health = h;
    p->has_passed = endpoint_health(e->state) == ENDPOINT_HEALTHY;
    timer_init(&p->turn, health_on_turn);
    timer_init(&p->deadline, health_on_deadline);
    list_push_back(&h->probes, &p->link);
    health_point(p, u, m, e);
    /* At once, but not thousands at the same moment. */
    loop_timer_set(h->loop, &p->turn, now_ms + place / 8);
    return ERR_OK;
}

static enum err health_add_list(struct health *h, const struct upstream *u, size_t *place)
{
    struct members *m = upstream_members(u);
    bool is_checked = upstream_settings(u)->health.is_on;
    enum err e = ERR_OK;
    for (size_t i = 0; i < m->count && !e; i++) {
        if (is_checked) {
            e = health_add(h, u, m, &m->items[i], (*place)++);
        } else {
            endpoint_set_health(m->items[i].state, ENDPOINT_UNCHECKED, loop_now_ms(h->loop));
        }
    }
    return e;
}

enum err health_set_site(struct health *h, struct site *site)
{
    struct site *before = h->site;
    size_t place = 0;
    enum err e = ERR_OK;
    h->site = site_ref(site);
    LIST_FOR_EACH(at, &h->probes)
    {
        CONTAINER_OF(at, struct health_probe, link)->is_wanted = false;
    }
    for (size_t i = 0; i < site->upstream_count && !e; i++) {
        e = health_add_list(h, site->upstreams[i], &place);
    }
    LIST_FOR_EACH_SAFE(at, spare, &h->probes)
    {
        struct health_probe *p = CONTAINER_OF(at, struct health_probe, link);
        if (!p->is_wanted) {
            health_remove(p);
        }
    }
    site_unref(before);
    return e;
}

enum err health_create(struct loop *loop, struct log *log, struct health **ret_health)
{
    struct health *h = mem_zalloc(1, sizeof(*h));
    if (!h) {
        return ERR_NOMEM;
    }
    h->loop = loop;
    h->log = log;
    list_init(&h->probes);
    random_bytes(&h->random, sizeof(h->random));
    h->random |= 1;
    *ret_health = h;
    return ERR_OK;
}

void health_destroy(struct health *h)
{
    if (!h) {
        return;
    }
    LIST_FOR_EACH_SAFE(at, spare, &h->probes)
    {
        health_remove(CONTAINER_OF(at, struct health_probe, link));
    }
    resolver_destroy(h->resolver);
    client_destroy(h->client);
    site_unref(h->site);
    mem_free(h);
}
