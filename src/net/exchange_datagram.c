/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels of datagrams: a service between the protocol and the one that opened the tunnel, which
 * speaks the capsule protocol on the stream. */
#include "base/assert.h"
#include "http/capsule.h"
#include "http/h1_parse.h"
#include "net/server.h"

/* In the arena of its exchange. */
struct exchange_datagrams {
    const struct exchange_service *service; /* that opened the tunnel */
    struct capsule_reader reader;
    struct buf out; /* capsules, gathered while input is read: many small ones leave together */
    bool is_reading;
    bool *is_gone; /* tells who reads, when the exchange has ended within */
};

static void exchange_count_lost(const struct server *s)
{
    s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_DATAGRAMS);
}

void exchange_give_datagram(struct server *s, struct exchange *x, struct str bytes)
{
    const struct exchange_datagrams *d = x ? x->datagrams : NULL;
    if (d && d->service->on_datagram) {
        d->service->on_datagram(x, bytes.p, bytes.n);
    } else {
        exchange_count_lost(s);
    }
}

/* ---- between the protocol and the service ---- */

static enum err exchange_flush_capsules(struct exchange *x)
{
    struct exchange_datagrams *d = x->datagrams;
    enum err e = d->out.is_failed ? ERR_NOMEM : ERR_OK;
    if (!e && d->out.n) {
        e = exchange_send_bytes(x, buf_str(&d->out));
    }
    buf_done(&d->out);
    return e;
}

static void exchange_on_capsules(struct exchange *x, const char *bytes, size_t n)
{
    struct exchange_datagrams *d = x->datagrams;
    struct str rest = str_make(bytes, n), datagram;
    bool is_gone = false;
    enum err e;
    d->is_gone = &is_gone;
    d->is_reading = true;
    while ((e = capsule_next(&d->reader, &rest, &datagram)) == ERR_OK || e == ERR_LIMIT) {
        if (e == ERR_LIMIT) {
            exchange_count_lost(x->server);
        } else {
            exchange_give_datagram(x->server, x, datagram);
        }
        if (is_gone) {
            return;
        }
        if (x->phase == EXCHANGE_FINISHED) {
            break;
        }
    }
    d->is_gone = NULL;
    d->is_reading = false;
    if (x->phase == EXCHANGE_FINISHED) {
        return;
    }
    e = e == ERR_AGAIN ? exchange_flush_capsules(x) : e;
    if (e) {
        exchange_reset(x, e);
    } else {
        exchange_read_body(x);
    }
}

static void exchange_on_capsules_end(struct exchange *x)
{
    struct exchange_datagrams *d = x->datagrams;
    const struct server_hooks *hooks = &x->server->hooks;
    if (!capsule_is_whole(&d->reader)) {
        hooks->on_refused(hooks->context, x->peer, H1_REJECT_CAPSULE, 0);
        exchange_reset(x, ERR_SYNTAX); /* RFC 9297 3.3 */
    } else if (d->service->on_body_end) {
        d->service->on_body_end(x);
    }
}

static void exchange_on_datagrams_room(struct exchange *x)
{
    if (x->datagrams->service->on_room) {
        x->datagrams->service->on_room(x);
    }
}

static void exchange_on_datagrams_drain(struct exchange *x)
{
    if (x->datagrams->service->on_drain) {
        x->datagrams->service->on_drain(x);
    }
}

static void exchange_on_datagrams_gone(struct exchange *x, enum err cause)
{
    struct exchange_datagrams *d = x->datagrams;
    if (d->is_gone) {
        *d->is_gone = true;
    }
    capsule_reader_done(&d->reader);
    buf_done(&d->out);
    d->service->on_end(x, cause);
}

static const struct exchange_service exchange_datagram_service = {
    .on_body = exchange_on_capsules,
    .on_body_end = exchange_on_capsules_end,
    .on_room = exchange_on_datagrams_room,
    .on_drain = exchange_on_datagrams_drain,
    .on_end = exchange_on_datagrams_gone,
};

/* ---- for the service ---- */

enum err exchange_tunnel_datagrams(struct exchange *x, struct str protocol,
                                   const struct http_fields *fields)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    struct exchange_datagrams *d = arena_zalloc(&x->arena, sizeof(*d));
    struct http_field *v = arena_alloc(&x->arena, (fields->n + 1u) * sizeof(*v));
    struct http_fields all;
    if (!d || !v) {
        return ERR_NOMEM;
    }
    enum err e = ERR_OK;
    http_fields_init(&all, v, fields->n + 1u);
    for (unsigned i = 0; i < fields->n && !e; i++) {
        e = http_fields_add(&all, fields->v[i].name, fields->v[i].value);
    }
    e = e ? e : http_fields_add(&all, STR("Capsule-Protocol"), STR("?1"));
    e = e ? e : exchange_tunnel(x, protocol, &all);
    if (!e) {
        capsule_reader_init(&d->reader);
        buf_init(&d->out, 0);
        d->service = x->service;
        x->service = &exchange_datagram_service;
        x->datagrams = d;
    }
    return e;
}

/* What goes beside the stream; 0: nothing. */
static size_t exchange_beside_bytes_max(const struct exchange *x)
{
    return x->protocol->datagram_bytes_max ? x->protocol->datagram_bytes_max(x) : 0;
}

size_t exchange_datagram_bytes_max(const struct exchange *x)
{
    size_t beside = exchange_beside_bytes_max(x);
    return beside ? beside : CAPSULE_DATAGRAM_BYTES_MAX;
}

static enum err exchange_send_capsule(struct exchange *x, struct str bytes)
{
    struct exchange_datagrams *d = x->datagrams;
    char head[CAPSULE_HEAD_BYTES_MAX];
    size_t n = capsule_write_head(bytes.n, head);
    if (exchange_room(x) <= d->out.n) {
        return ERR_LIMIT;
    }
    if (!buf_reserve(&d->out, n + bytes.n)) {
        d->out.is_failed = false; /* what was gathered before is whole */
        return ERR_NOMEM;
    }
    buf_add(&d->out, head, n);
    buf_add_str(&d->out, bytes);
    return d->is_reading ? ERR_OK : exchange_flush_capsules(x);
}

enum err exchange_send_datagram(struct exchange *x, struct str bytes)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    ASSERT(x->datagrams && x->phase == EXCHANGE_RESPONDED);
    size_t beside = exchange_beside_bytes_max(x);
    if (bytes.n > (beside ? beside : CAPSULE_DATAGRAM_BYTES_MAX)) {
        return ERR_RANGE;
    }
    enum err e = beside ? x->protocol->send_datagram(x, bytes) : exchange_send_capsule(x, bytes);
    if (!e && beside) {
        x->sent_bytes += bytes.n;
    } else if (e == ERR_LIMIT) {
        exchange_count_lost(x->server);
    }
    return e;
}
