/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "crypto/tls_client.h"
#include "net/client_h2_int.h"

static const struct {
    const char *name;
    const char *text;
    uint16_t status;
} client_faults[CLIENT_FAULT_COUNT] = {
#define X(id, name, status, text) [CLIENT_FAULT_##id] = {name, text, status},
    CLIENT_FAULT_TABLE(X)
#undef X
};

const char *client_fault_name(enum client_fault f)
{
    ASSERT(f < CLIENT_FAULT_COUNT);
    return client_faults[f].name;
}

const char *client_fault_text(enum client_fault f)
{
    ASSERT(f < CLIENT_FAULT_COUNT);
    return client_faults[f].text;
}

uint16_t client_fault_status(enum client_fault f)
{
    ASSERT(f < CLIENT_FAULT_COUNT);
    return client_faults[f].status;
}

static const struct client_protocol *const client_protocols[CLIENT_PROTOCOL_COUNT] = {
    [CLIENT_H1] = &client_protocol_h1,
    [CLIENT_H2] = &client_protocol_h2,
    [CLIENT_FCGI] = &client_protocol_fcgi,
};

/* ---- the pool ---- */

static struct list *client_bucket(struct client *c, const struct socket_address *a)
{
    uint64_t hash = hash_str(str_make((const char *)&a->raw, a->n));
    return &c->open[hash % CLIENT_BUCKETS];
}

static bool client_is_same(const struct client_target *a, const struct client_target *b)
{
    return a->protocol == b->protocol && a->tls == b->tls && a->address.n == b->address.n &&
           memcmp(&a->address.raw, &b->address.raw, a->address.n) == 0;
}

void client_conn_place(struct client_conn *c)
{
    struct client *client = c->client;
    list_remove(&c->link);
    if (c->protocol->has_room(c, false)) {
        list_insert_before(client_bucket(client, &c->target.address)->next, &c->link);
    } else {
        list_push_back(&client->busy, &c->link);
    }
}

static void client_conn_wake(struct client_conn *c)
{
    c->client->idle_count -= c->is_at_rest;
    c->is_at_rest = false;
}

/* The end of a connection at rest may be known to the kernel and not to us yet. Where an upstream
 * may speak unasked, what it says is left to the loop, and the connection to a later request. */
static bool client_conn_is_usable(struct client_conn *c)
{
    size_t n;
    if (!c->is_at_rest) {
        return true;
    }
    if (c->protocol->may_speak_first) {
        return socket_is_silent(c->transport.watch.fd);
    }
    if (transport_recv(&c->transport, c->client->input, CLIENT_INPUT_BYTES, &n) == ERR_AGAIN) {
        return true;
    }
    client_conn_kill(c, true);
    return false;
}

/* One with room; it is the caller's to use at once. */
static struct client_conn *client_take(struct client *client, const struct client_target *target,
                                       bool wants_new)
{
    struct list *bucket = client_bucket(client, &target->address);
    if (target->greeting.n) {
        return NULL;
    }
    LIST_FOR_EACH_SAFE(at, spare, bucket)
    {
        struct client_conn *c = CONTAINER_OF(at, struct client_conn, link);
        if (c->greeting.n || !client_is_same(&c->target, target) ||
            !c->protocol->has_room(c, wants_new) || !client_conn_is_usable(c)) {
            continue;
        }
        c->target.idle_max = target->idle_max; /* as the configuration says now */
        c->target.idle_ms = target->idle_ms;
        return c;
    }
    return NULL;
}

/* ---- life of a connection ---- */

void client_conn_kill(struct client_conn *c, bool is_orderly)
{
    ASSERT(!c->is_dead);
    client_conn_wake(c);
    c->is_dead = true;
    timer_cancel(&c->timer);
    loop_task_cancel(&c->settle_task);
    transport_done(&c->transport, is_orderly);
    list_remove(&c->link);
    list_push_back(&c->client->dead, &c->link);
    loop_defer_end(c->client->loop, &c->free_task);
}

void client_conn_rest(struct client_conn *c)
{
    struct client *client = c->client;
    unsigned count = 0;
    ASSERT(c->exchange_count == 0);
    LIST_FOR_EACH(at, client_bucket(client, &c->target.address))
    {
        const struct client_conn *other = CONTAINER_OF(at, struct client_conn, link);
        count += other->is_at_rest && client_is_same(&other->target, &c->target);
    }
    if (count >= c->target.idle_max) {
        client_conn_kill(c, true);
        return;
    }
    c->has_rested = true;
    c->is_at_rest = true;
    c->activity_ms = loop_now_ms(client->loop);
    client->idle_count++;
    buf_done(&c->in);
    buf_init(&c->in, 0);
    if (c->out.n == 0) {
        buf_done(&c->out);
        buf_init(&c->out, 0);
    }
    client_conn_place(c);
    client_conn_schedule(c);
}

void client_conn_fail(struct client_conn *c, enum client_fault fault, const char *detail)
{
    if (!c->is_dead) {
        client_conn_kill(c, false);
    }
    while (c->exchange_count > 0) {
        struct client_exchange *x = client_conn_first(c);
        client_exchange_leave(x);
        client_exchange_end(x, fault, detail, NULL);
    }
}

/* ---- life of an exchange ---- */

static void client_exchange_free(struct client *client, struct client_exchange *x)
{
    x->protocol->exchange_done(x);
    x->magic = 0;
    slab_free(&client->slabs[x->protocol->id].exchanges, x);
}

static void client_exchange_join(struct client_exchange *x, struct client_conn *c)
{
    x->conn = c;
    x->is_reused = c->is_used;
    x->activity_ms = loop_now_ms(c->client->loop);
    list_push_back(&c->exchanges, &x->link);
    c->exchange_count++;
    c->is_used = true;
    client_conn_wake(c);
}

void client_exchange_leave(struct client_exchange *x)
{
    list_remove(&x->link);
    x->conn->exchange_count--;
    x->conn = NULL;
}

void client_exchange_end(struct client_exchange *x, enum client_fault fault, const char *detail,
                         const struct http_fields *trailers)
{
    const struct client_end end = {
        .fault = fault,
        .trailers = trailers,
        .detail = detail,
        .is_reused = x->is_reused,
        .has_answered = x->has_answered,
        .has_sent = x->has_sent,
    };
    struct client *client = x->client;
    ASSERT(!x->conn);
    x->service->on_end(x, &end);
    client_exchange_free(client, x);
}

static enum err client_join_one(struct client_exchange *x, const struct client_target *target,
                                bool wants_new)
{
    struct client_conn *c = client_take(x->client, target, wants_new);
    enum err e = c ? ERR_OK : client_conn_connect(x->client, target, x->protocol, &c);
    if (!e) {
        client_exchange_join(x, c);
    }
    return e;
}

enum err client_exchange_rejoin(struct client_exchange *x, const struct client_target *target)
{
    enum err e = client_join_one(x, target, true);
    if (!e) {
        client_conn_schedule(x->conn);
    }
    return e;
}

enum err client_start(struct client *client, const struct client_target *target,
                      const struct client_timeouts *timeouts, const struct client_request *request,
                      bool wants_new, const struct client_service *service, void *state,
                      struct client_exchange **ret_exchange)
{
    struct client_exchange *x = slab_alloc(&client->slabs[target->protocol].exchanges);
    if (!x) {
        return ERR_NOMEM;
    }
    x->magic = CLIENT_EXCHANGE_MAGIC;
    x->client = client;
    x->protocol = client_protocols[target->protocol];
    x->service = service;
    x->state = state;
    x->timeouts = *timeouts;
    x->method = request->method_id;
    list_init(&x->link);
    enum err e = client_join_one(x, target, wants_new);
    if (!e) {
        struct client_conn *c = x->conn;
        e = x->protocol->begin(x, request);
        if (!e) {
            client_conn_place(c);
            client_conn_schedule(c);
            *ret_exchange = x;
            return ERR_OK;
        }
        x->protocol->break_off(x);
    }
    client_exchange_free(client, x);
    return e;
}

/* ---- what the service says ---- */

void *client_state(const struct client_exchange *x)
{
    return x->state;
}

void client_read_body(struct client_exchange *x)
{
    ASSERT_MAGIC(x, CLIENT_EXCHANGE_MAGIC);
    if (!x->is_asked) {
        x->is_asked = true;
        client_exchange_touch(x);
        if (x->protocol->ask) {
            x->protocol->ask(x);
        }
        client_conn_schedule(x->conn);
    }
}

enum err client_send(struct client_exchange *x, struct str bytes)
{
    ASSERT_MAGIC(x, CLIENT_EXCHANGE_MAGIC);
    if (bytes.n == 0) {
        return ERR_OK;
    }
    return x->is_request_done ? ERR_SYNTAX : x->protocol->send(x, bytes);
}

enum err client_finish(struct client_exchange *x, const struct http_fields *trailers)
{
    ASSERT_MAGIC(x, CLIENT_EXCHANGE_MAGIC);
    if (x->is_request_done) {
        return ERR_OK;
    }
    enum err e = x->protocol->finish(x, trailers);
    if (!e) {
        x->is_request_done = true;
        client_exchange_touch(x);
        client_conn_schedule(x->conn);
    }
    return e;
}

size_t client_room(const struct client_exchange *x)
{
    return x->protocol->room(x);
}

void client_cancel(struct client_exchange *x)
{
    struct client *client = x->client;
    ASSERT_MAGIC(x, CLIENT_EXCHANGE_MAGIC);
    if (x->conn) {
        x->protocol->break_off(x);
    }
    client_exchange_free(client, x);
}

/* ---- the client ---- */

enum err client_create(struct loop *loop, struct client **ret_client)
{
    struct client *c = mem_zalloc(1, sizeof(*c));
    if (!c) {
        return ERR_NOMEM;
    }
    c->loop = loop;
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++) {
        list_init(&c->open[i]);
    }
    list_init(&c->busy);
    list_init(&c->dead);
    for (unsigned i = 0; i < CLIENT_PROTOCOL_COUNT; i++) {
        slab_init(&c->slabs[i].conns, client_protocols[i]->conn_bytes, 0);
        slab_init(&c->slabs[i].exchanges, client_protocols[i]->exchange_bytes, 0);
    }
    h2_pool_init(&c->h2_pool);
    slab_init(&c->h2_streams, sizeof(struct client_h2_stream), 0);
    c->h2_streams.zeroed_bytes = offsetof(struct client_h2_stream, fields);
    buf_init(&c->scratch.out, 0);
    c->input = mem_alloc(CLIENT_INPUT_BYTES);
    if (!c->input) {
        client_destroy(c);
        return ERR_NOMEM;
    }
    *ret_client = c;
    return ERR_OK;
}

static void client_kill_all(struct list *connections)
{
    while (!list_is_empty(connections)) {
        struct client_conn *c = CONTAINER_OF(connections->next, struct client_conn, link);
        client_conn_kill(c, true);
        while (c->exchange_count > 0) {
            struct client_exchange *x = client_conn_first(c);
            client_exchange_leave(x);
            client_exchange_free(c->client, x);
        }
    }
}

void client_destroy(struct client *c)
{
    if (!c) {
        return;
    }
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++) {
        client_kill_all(&c->open[i]);
    }
    client_kill_all(&c->busy);
    while (!list_is_empty(&c->dead)) {
        struct client_conn *conn = CONTAINER_OF(c->dead.next, struct client_conn, link);
        loop_task_cancel(&conn->free_task);
        client_conn_free(conn);
    }
    for (unsigned i = 0; i < CLIENT_PROTOCOL_COUNT; i++) {
        slab_done(&c->slabs[i].conns);
        slab_done(&c->slabs[i].exchanges);
    }
    slab_done(&c->h2_streams);
    h2_pool_done(&c->h2_pool);
    transport_scratch_done(&c->scratch);
    mem_free(c->input);
    mem_free(c);
}

unsigned client_idle_count(const struct client *c)
{
    return c->idle_count;
}
