/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "crypto/tls_client.h"
#include "net/client_int.h"
#include "os/file.h"

static void client_conn_on_ready(struct loop_watch *w, unsigned events);
static void client_conn_on_timeout(struct timer *t);
static void client_conn_on_settle(struct loop_task *t);
static void client_conn_on_free(struct loop_task *t);
static void client_conn_settle(struct client_conn *c);

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

/* ---- life of a connection ---- */

static struct list *client_bucket(struct client *c, const struct socket_address *a)
{
    uint64_t hash = hash_str(str_make((const char *)&a->raw, a->n));
    return &c->idle[hash % CLIENT_BUCKETS];
}

static bool client_is_same(const struct client_target *a, const struct client_target *b)
{
    return a->tls == b->tls && a->address.n == b->address.n &&
           memcmp(&a->address.raw, &b->address.raw, a->address.n) == 0;
}

static void client_conn_free(struct client_conn *c)
{
    list_remove(&c->link);
    buf_done(&c->in);
    buf_done(&c->out);
    tls_client_unref(c->target.tls);
    c->magic = 0;
    slab_free(&c->client->conns, c);
}

static void client_conn_on_free(struct loop_task *t)
{
    client_conn_free(CONTAINER_OF(t, struct client_conn, free_task));
}

/* Leaves the list it is in and counts no more. */
static void client_conn_unlist(struct client_conn *c)
{
    list_remove(&c->link);
    if (!c->x && c->has_served && !c->is_dead) {
        c->client->idle_count--;
    }
}

static void client_conn_kill(struct client_conn *c, bool is_orderly)
{
    ASSERT(!c->is_dead);
    c->is_dead = true;
    timer_cancel(&c->timer);
    loop_task_cancel(&c->settle_task);
    transport_done(&c->transport, is_orderly);
    list_push_back(&c->client->dead, &c->link);
    loop_defer_end(c->client->loop, &c->free_task);
}

/* The connection waits for the next request, unless enough others do. */
static void client_conn_rest(struct client_conn *c)
{
    struct client *client = c->client;
    struct list *bucket = client_bucket(client, &c->target.address);
    unsigned count = 0;
    LIST_FOR_EACH(at, bucket)
    {
        count += client_is_same(&CONTAINER_OF(at, struct client_conn, link)->target, &c->target);
    }
    if (count >= c->target.idle_max) {
        client_conn_kill(c, true);
        return;
    }
    c->has_served = true;
    c->activity_ms = loop_now_ms(client->loop);
    list_insert_before(bucket->next, &c->link);
    client->idle_count++;
    buf_done(&c->in);
    buf_done(&c->out);
    buf_init(&c->in, 0);
    buf_init(&c->out, 0);
    client_conn_schedule(c);
}

static void client_exchange_free(struct client *client, struct client_exchange *x)
{
    buf_done(&x->trailers);
    x->magic = 0;
    slab_free(&client->exchanges, x);
}

void client_conn_end(struct client_conn *c, enum client_fault fault, const char *detail,
                     const struct http_fields *trailers, bool is_clean)
{
    struct client *client = c->client;
    struct client_exchange *x = c->x;
    const struct client_end end = {
        .fault = fault,
        .trailers = trailers,
        .detail = detail,
        .is_reused = x->is_reused,
        .has_answered = x->has_answered,
        .has_sent = x->has_sent,
    };
    list_remove(&c->link);
    c->x = NULL;
    x->conn = NULL;
    if (is_clean) {
        client_conn_rest(c);
    } else {
        client_conn_kill(c, fault == CLIENT_FAULT_NONE);
    }
    x->service->on_end(x, &end);
    client_exchange_free(client, x);
}

void client_cancel(struct client_exchange *x)
{
    struct client_conn *c = x->conn;
    ASSERT_MAGIC(x, CLIENT_EXCHANGE_MAGIC);
    list_remove(&c->link);
    c->x = NULL;
    client_conn_kill(c, false);
    client_exchange_free(c->client, x);
}

/* ---- output ---- */

/* The upstream takes no more bytes; it may have answered before it stopped. */
static void client_conn_is_deafened(struct client_conn *c)
{
    c->is_deaf = true;
    buf_clear(&c->out);
}

void client_conn_flush(struct client_conn *c)
{
    enum err e = transport_has_unsent(&c->transport) ? transport_flush(&c->transport) : ERR_OK;
    size_t sent = 0;
    while (!e && sent < c->out.n && !c->is_deaf) {
        struct iovec piece = {c->out.p + sent, c->out.n - sent};
        size_t n = 0;
        e = transport_send(&c->transport, &piece, 1, false, &n);
        sent += n;
    }
    if (sent) {
        c->x->has_sent = true;
        c->activity_ms = loop_now_ms(c->client->loop);
        buf_consume(&c->out, sent);
    }
    if (e && e != ERR_AGAIN) {
        client_conn_is_deafened(c);
    }
}

enum err client_conn_put(struct client_conn *c, const struct str *pieces, size_t count)
{
    struct iovec vector[3];
    size_t sent = 0;
    ASSERT(count <= COUNT_OF(vector));
    if (c->is_deaf) {
        return ERR_OK;
    }
    client_conn_schedule(c);
    if (c->is_connected && c->out.n == 0 && !transport_has_unsent(&c->transport)) {
        for (size_t i = 0; i < count; i++) {
            vector[i] = (struct iovec){(char *)(uintptr_t)pieces[i].p, pieces[i].n};
        }
        enum err e = transport_send(&c->transport, vector, count, false, &sent);
        if (e && e != ERR_AGAIN) {
            client_conn_is_deafened(c);
            return ERR_OK;
        }
        c->x->has_sent |= sent > 0;
        c->activity_ms = loop_now_ms(c->client->loop);
    }
    for (size_t i = 0; i < count; i++) {
        size_t skip = sent < pieces[i].n ? sent : pieces[i].n;
        sent -= skip;
        buf_add(&c->out, pieces[i].p + skip, pieces[i].n - skip);
    }
    return c->out.is_failed ? ERR_NOMEM : ERR_OK;
}

size_t client_room(const struct client_exchange *x)
{
    const struct client_conn *c = x->conn;
    if (!c->is_connected || c->is_deaf || transport_has_unsent(&c->transport)) {
        return 0;
    }
    return c->out.n < CLIENT_OUT_BYTES_MAX ? CLIENT_OUT_BYTES_MAX - c->out.n : 0;
}

/* ---- input ---- */

/* `n` bytes stand at `p`, in order: what waited and what came. */
static void client_conn_take(struct client_conn *c, const char *p, size_t n)
{
    bool goes_on;
    size_t used = client_h1_feed(c, p, n, &goes_on);
    if (!goes_on) {
        return;
    }
    struct buf rest;
    buf_init(&rest, 0);
    if (used < n) {
        buf_add(&rest, p + used, n - used);
    }
    buf_done(&c->in);
    c->in = rest;
    if (rest.is_failed) {
        client_conn_end(c, CLIENT_FAULT_MEMORY, "", NULL, false);
    }
}

static void client_conn_read(struct client_conn *c)
{
    struct client *client = c->client;
    size_t kept = c->in.n, n = 0;
    if (kept) {
        memcpy(client->input, c->in.p, kept);
    }
    enum err e = transport_recv(&c->transport, client->input + kept, CLIENT_INPUT_BYTES - kept, &n);
    if (e == ERR_AGAIN) {
        return;
    }
    if (!c->x) {
        /* At rest nothing is due: the end, or bytes that answer no request. */
        client_conn_unlist(c);
        client_conn_kill(c, true);
        return;
    }
    if (e) {
        client_h1_end_of_input(c, e == ERR_EOF);
        return;
    }
    c->activity_ms = loop_now_ms(client->loop);
    c->x->has_answered = true;
    client_conn_take(c, client->input, kept + n);
}

/* What had to wait for the service goes on. */
static void client_conn_resume(struct client_conn *c)
{
    size_t stuck = c->x && c->x->phase == CLIENT_HEAD ? c->scanned_bytes : 0;
    if (c->x && c->in.n > stuck && client_h1_is_reading(c->x)) {
        struct buf in = c->in;
        buf_init(&c->in, 0);
        client_conn_take(c, in.p, in.n);
        buf_done(&in);
    }
}

const char *client_connect_text(enum err e)
{
    return e == ERR_NOT_FOUND ? "nobody listens there" : err_text(e);
}

/* The socket is connected. */
static void client_conn_begin(struct client_conn *c)
{
    struct tls_conn *tls;
    if (!c->target.tls) {
        c->is_connected = true;
        c->activity_ms = loop_now_ms(c->client->loop);
        return;
    }
    enum err e = tls_client_open(c->target.tls, &tls);
    e = e ? e : transport_begin_tls(&c->transport, tls);
    c->is_securing = !e;
    if (e) {
        client_conn_end(c, e == ERR_NOMEM ? CLIENT_FAULT_MEMORY : CLIENT_FAULT_TLS, err_text(e),
                        NULL, false);
    }
}

static void client_conn_connected(struct client_conn *c)
{
    enum err e = socket_connect_result(c->transport.watch.fd);
    if (e) {
        client_conn_end(c, CLIENT_FAULT_CONNECT, client_connect_text(e), NULL, false);
        return;
    }
    client_conn_begin(c);
}

/* The handshake goes on. */
static void client_conn_secure(struct client_conn *c)
{
    size_t n = 0;
    enum err e = transport_has_unsent(&c->transport) ? transport_flush(&c->transport) : ERR_OK;
    if (!e || e == ERR_AGAIN) {
        e = transport_recv(&c->transport, c->client->input, CLIENT_INPUT_BYTES, &n);
    }
    if (e == ERR_AGAIN && tls_conn_is_handshaken(c->transport.tls)) {
        c->is_securing = false;
        c->is_connected = true;
        c->activity_ms = loop_now_ms(c->client->loop);
    } else if (e != ERR_AGAIN) {
        /* Also bytes that answer no request. */
        const char *why = e ? tls_conn_error_text(c->transport.tls) : "it speaks unasked";
        client_conn_end(c, CLIENT_FAULT_TLS, why[0] || !e ? why : err_text(e), NULL, false);
    }
}

static void client_conn_on_ready(struct loop_watch *w, unsigned events)
{
    struct transport *t = CONTAINER_OF(w, struct transport, watch);
    struct client_conn *c = CONTAINER_OF(t, struct client_conn, transport);
    ASSERT_MAGIC(c, CLIENT_CONN_MAGIC);
    bool is_readable = (events & POLLER_READ) || transport_is_ended(t);
    if (c->is_securing) {
        client_conn_secure(c);
    } else if (!c->is_connected) {
        client_conn_connected(c);
    } else if (is_readable && (w->events & POLLER_READ)) {
        client_conn_read(c);
    } else if (events & POLLER_HANGUP) {
        /* It takes nothing any more; what it sent before is read when it is wanted. */
        client_conn_is_deafened(c);
    }
    client_conn_settle(c);
}

void client_read_body(struct client_exchange *x)
{
    struct client_conn *c = x->conn;
    ASSERT_MAGIC(x, CLIENT_EXCHANGE_MAGIC);
    if (!x->is_asked) {
        x->is_asked = true;
        c->activity_ms = loop_now_ms(c->client->loop);
        client_conn_schedule(c);
    }
}

/* ---- time and interest ---- */

/* UINT64_MAX: nothing of the upstream's is waited for. */
static uint64_t client_conn_deadline(const struct client_conn *c, enum client_fault *ret_fault)
{
    const struct client_exchange *x = c->x;
    *ret_fault = CLIENT_FAULT_IDLE_TIME;
    if (!x) {
        return c->activity_ms + c->target.idle_ms;
    }
    if (!c->is_connected) {
        *ret_fault = CLIENT_FAULT_CONNECT_TIME;
        return c->activity_ms + x->timeouts.connect_ms;
    }
    if (x->phase == CLIENT_TUNNEL) {
        return c->activity_ms + x->timeouts.tunnel_ms;
    }
    if (c->out.n || transport_has_unsent(&c->transport)) {
        return c->activity_ms + x->timeouts.idle_ms;
    }
    if (x->phase == CLIENT_HEAD) {
        *ret_fault = CLIENT_FAULT_FIRST_TIME;
        bool is_due = x->is_request_done || c->is_deaf;
        return is_due ? c->activity_ms + x->timeouts.first_ms : UINT64_MAX;
    }
    return x->is_asked ? c->activity_ms + x->timeouts.idle_ms : UINT64_MAX;
}

static void client_conn_arm(struct client_conn *c)
{
    enum client_fault fault;
    uint64_t deadline = client_conn_deadline(c, &fault);
    /* A timer that fires early looks again; only one that would fire late is moved. */
    if (deadline != UINT64_MAX && (!timer_is_set(&c->timer) || c->timer.deadline_ms > deadline)) {
        loop_timer_set(c->client->loop, &c->timer, deadline);
    }
}

static void client_conn_on_timeout(struct timer *t)
{
    struct client_conn *c = CONTAINER_OF(t, struct client_conn, timer);
    enum client_fault fault;
    ASSERT_MAGIC(c, CLIENT_CONN_MAGIC);
    uint64_t now = loop_now_ms(c->client->loop);
    if (c->is_connected && c->out.n && transport_take_progress(&c->transport)) {
        c->activity_ms = now;
    }
    if (client_conn_deadline(c, &fault) > now) {
        client_conn_arm(c);
    } else if (c->x) {
        client_conn_end(c, fault, "", NULL, false);
    } else {
        client_conn_unlist(c);
        client_conn_kill(c, true);
    }
}

/* A tunnel ends when both sides have; what has no way out counts as sent. True: it did. */
static bool client_conn_end_tunnel(struct client_conn *c)
{
    struct client_exchange *x = c->x;
    if (x->phase != CLIENT_TUNNEL) {
        return false;
    }
    bool is_sent = c->out.n == 0 && !transport_has_unsent(&c->transport);
    if (x->is_tunnel_ended && (c->is_deaf || (x->is_request_done && is_sent))) {
        client_conn_end(c, CLIENT_FAULT_NONE, "", NULL, false);
        return true;
    }
    if (x->is_request_done && is_sent && !x->is_end_sent && !c->is_deaf) {
        x->is_end_sent = true;
        transport_end(&c->transport);
    }
    return false;
}

/* Turns the state into interest, timer or end. The only place that does. */
static void client_conn_settle(struct client_conn *c)
{
    if (c->is_dead) {
        return;
    }
    if (c->is_connected && c->x) {
        client_conn_flush(c);
        if (!c->x->is_request_done && client_room(c->x) > 0) {
            c->x->service->on_room(c->x);
        }
        if (c->is_dead || (c->x && client_conn_end_tunnel(c))) {
            return;
        }
    }
    bool has_output = c->out.n || transport_has_unsent(&c->transport);
    bool is_reading = c->is_connected && (!c->x || client_h1_is_reading(c->x));
    /* Input that waits goes on in the next turn, before any more is received. */
    bool has_input = c->x && is_reading && c->in.n && c->x->phase != CLIENT_HEAD;
    bool is_ended = is_reading && transport_is_ended(&c->transport);
    unsigned events = (!c->is_connected || has_output || is_ended ? POLLER_WRITE : 0u) |
                      (is_reading && !has_input ? POLLER_READ : 0u);
    if (c->is_securing) {
        events = POLLER_READ | (transport_has_unsent(&c->transport) ? POLLER_WRITE : 0u);
    }
    if (events == 0 && c->is_deaf) {
        transport_rest(&c->transport);
    } else if (transport_want(&c->transport, events) != ERR_OK) {
        if (c->x) {
            client_conn_end(c, CLIENT_FAULT_MEMORY, "", NULL, false);
        } else {
            client_conn_unlist(c);
            client_conn_kill(c, true);
        }
        return;
    }
    if (has_input) {
        client_conn_schedule(c);
    }
    client_conn_arm(c);
}

static void client_conn_on_settle(struct loop_task *t)
{
    struct client_conn *c = CONTAINER_OF(t, struct client_conn, settle_task);
    ASSERT_MAGIC(c, CLIENT_CONN_MAGIC);
    client_conn_resume(c);
    client_conn_settle(c);
}

void client_conn_schedule(struct client_conn *c)
{
    loop_defer(c->client->loop, &c->settle_task);
}

/* ---- the pool ---- */

enum err client_create(struct loop *loop, struct client **ret_client)
{
    struct client *c = mem_zalloc(1, sizeof(*c));
    if (!c) {
        return ERR_NOMEM;
    }
    c->loop = loop;
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++) {
        list_init(&c->idle[i]);
    }
    list_init(&c->busy);
    list_init(&c->dead);
    slab_init(&c->conns, sizeof(struct client_conn), 0);
    slab_init(&c->exchanges, sizeof(struct client_exchange), 0);
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
        list_remove(&c->link);
        if (c->x) {
            client_exchange_free(c->client, c->x);
            c->x = NULL;
        }
        client_conn_kill(c, true);
    }
}

void client_destroy(struct client *c)
{
    if (!c) {
        return;
    }
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++) {
        client_kill_all(&c->idle[i]);
    }
    client_kill_all(&c->busy);
    while (!list_is_empty(&c->dead)) {
        struct client_conn *conn = CONTAINER_OF(c->dead.next, struct client_conn, link);
        loop_task_cancel(&conn->free_task);
        client_conn_free(conn);
    }
    slab_done(&c->conns);
    slab_done(&c->exchanges);
    transport_scratch_done(&c->scratch);
    mem_free(c->input);
    mem_free(c);
}

/* A connection at rest that is alive, now taken out of the pool; or NULL. The end of one may be
 * known to the kernel and not to us yet. */
static struct client_conn *client_take_idle(struct client *client,
                                            const struct client_target *target)
{
    LIST_FOR_EACH_SAFE(at, spare, client_bucket(client, &target->address))
    {
        struct client_conn *c = CONTAINER_OF(at, struct client_conn, link);
        size_t n;
        if (!client_is_same(&c->target, target)) {
            continue;
        }
        client_conn_unlist(c);
        if (transport_recv(&c->transport, client->input, CLIENT_INPUT_BYTES, &n) == ERR_AGAIN) {
            c->target = *target; /* what the configuration says now */
            return c;
        }
        client_conn_kill(c, true);
    }
    return NULL;
}

static enum err client_connect(struct client *client, const struct client_target *target,
                               struct client_conn **ret_conn)
{
    int fd;
    struct client_conn *c = slab_alloc(&client->conns);
    if (!c) {
        return ERR_NOMEM;
    }
    enum err e = socket_connect_begin(&target->address, &fd);
    if (e && e != ERR_AGAIN) {
        slab_free(&client->conns, c);
        return e == ERR_SYNTAX ? ERR_IO : e;
    }
    c->is_connected = e == ERR_OK && !target->tls;
    e = transport_init(&c->transport, client->loop, fd, &client->scratch, client_conn_on_ready);
    if (e) {
        file_close(fd);
        slab_free(&client->conns, c);
        return e;
    }
    c->magic = CLIENT_CONN_MAGIC;
    c->client = client;
    c->target = *target;
    c->target.tls = target->tls ? tls_client_ref(target->tls) : NULL;
    list_init(&c->link);
    timer_init(&c->timer, client_conn_on_timeout);
    loop_task_init(&c->settle_task, client_conn_on_settle);
    loop_task_init(&c->free_task, client_conn_on_free);
    buf_init(&c->in, 0);
    buf_init(&c->out, 0);
    *ret_conn = c;
    return ERR_OK;
}

enum err client_start(struct client *client, const struct client_target *target,
                      const struct client_timeouts *timeouts, const struct client_request *request,
                      bool wants_new, const struct client_service *service, void *state,
                      struct client_exchange **ret_exchange)
{
    struct client_exchange *x = slab_alloc(&client->exchanges);
    if (!x) {
        return ERR_NOMEM;
    }
    struct client_conn *c = wants_new ? NULL : client_take_idle(client, target);
    enum err e = c ? ERR_OK : client_connect(client, target, &c);
    if (e) {
        slab_free(&client->exchanges, x);
        return e;
    }
    x->magic = CLIENT_EXCHANGE_MAGIC;
    x->conn = c;
    x->service = service;
    x->state = state;
    x->timeouts = *timeouts;
    x->is_reused = c->has_served;
    buf_init(&x->trailers, 0);
    c->activity_ms = loop_now_ms(client->loop);
    e = client_h1_begin(x, request);
    if (e) {
        client_conn_kill(c, true);
        client_exchange_free(client, x);
        return e;
    }
    c->x = x;
    list_push_back(&client->busy, &c->link);
    client_conn_schedule(c);
    *ret_exchange = x;
    return ERR_OK;
}

void *client_state(const struct client_exchange *x)
{
    return x->state;
}

unsigned client_idle_count(const struct client *c)
{
    return c->idle_count;
}
