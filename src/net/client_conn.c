/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "crypto/tls_client.h"
#include "net/client_int.h"
#include "os/file.h"

static void client_conn_on_ready(struct loop_watch *w, unsigned events);
static void client_conn_on_timeout(struct timer *t);
static void client_conn_on_settle(struct loop_task *t);
static void client_conn_on_free(struct loop_task *t);
static void client_conn_settle(struct client_conn *c);

static uint64_t client_conn_now(const struct client_conn *c)
{
    return loop_now_ms(c->client->loop);
}

/* ---- life ---- */

void client_conn_free(struct client_conn *c)
{
    list_remove(&c->link);
    if (c->protocol->conn_done) {
        c->protocol->conn_done(c);
    }
    buf_done(&c->greeting);
    buf_done(&c->in);
    buf_done(&c->out);
    tls_client_unref(c->target.tls);
    c->magic = 0;
    slab_free(&c->client->slabs[c->protocol->id].conns, c);
}

static void client_conn_on_free(struct loop_task *t)
{
    client_conn_free(CONTAINER_OF(t, struct client_conn, free_task));
}

/* `fd` is ours to close only when this fails. */
static enum err client_conn_init(struct client_conn *c, const struct client_protocol *protocol,
                                 struct client *client, const struct client_target *target, int fd)
{
    buf_init(&c->greeting, 0);
    buf_add_str(&c->greeting, target->greeting);
    enum err e = c->greeting.is_failed ? ERR_NOMEM
                                       : transport_init(&c->transport, client->loop, fd,
                                                        &client->scratch, client_conn_on_ready);
    if (e) {
        buf_done(&c->greeting);
        return e;
    }
    c->magic = CLIENT_CONN_MAGIC;
    c->protocol = protocol;
    c->client = client;
    c->target = *target;
    c->target.greeting = buf_str(&c->greeting);
    c->target.tls = target->tls ? tls_client_ref(target->tls) : NULL;
    list_init(&c->link);
    list_init(&c->exchanges);
    timer_init(&c->timer, client_conn_on_timeout);
    loop_task_init(&c->settle_task, client_conn_on_settle);
    loop_task_init(&c->free_task, client_conn_on_free);
    buf_init(&c->in, 0);
    buf_init(&c->out, 0);
    return ERR_OK;
}

/* It can send. */
static void client_conn_be_ready(struct client_conn *c)
{
    c->is_securing = false;
    c->is_connected = true;
    LIST_FOR_EACH(at, &c->exchanges)
    {
        client_exchange_touch(CONTAINER_OF(at, struct client_exchange, link));
    }
    if (c->protocol->conn_ready) {
        c->protocol->conn_ready(c);
    }
}

enum err client_conn_connect(struct client *client, const struct client_target *target,
                             const struct client_protocol *protocol, struct client_conn **ret_conn)
{
    int fd;
    struct client_conn *c = slab_alloc(&client->slabs[protocol->id].conns);
    if (!c) {
        return ERR_NOMEM;
    }
    enum err connecting = socket_connect_begin(&target->address, &fd);
    enum err e = connecting == ERR_AGAIN ? ERR_OK : connecting;
    if (!e) {
        e = client_conn_init(c, protocol, client, target, fd);
        if (e) {
            file_close(fd);
        }
    }
    if (e) {
        slab_free(&client->slabs[protocol->id].conns, c);
        return e == ERR_SYNTAX ? ERR_IO : e;
    }
    e = protocol->conn_open ? protocol->conn_open(c) : ERR_OK;
    if (e) {
        transport_done(&c->transport, true);
        client_conn_free(c);
        return e;
    }
    if (connecting == ERR_OK && !target->tls) {
        client_conn_be_ready(c);
    }
    *ret_conn = c;
    return ERR_OK;
}

void client_conn_schedule(struct client_conn *c)
{
    if (!c->is_dead) {
        loop_defer(c->client->loop, &c->settle_task);
    }
}

void client_exchange_touch(struct client_exchange *x)
{
    x->activity_ms = loop_now_ms(x->client->loop);
}

/* ---- output ---- */

void client_conn_deafen(struct client_conn *c)
{
    c->is_deaf = true;
    buf_clear(&c->out);
}

bool client_conn_is_blocked(const struct client_conn *c)
{
    return c->out.n > 0 || transport_has_unsent(&c->transport);
}

size_t client_conn_flush(struct client_conn *c)
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
        buf_consume(&c->out, sent);
    }
    if (e && e != ERR_AGAIN) {
        client_conn_deafen(c);
    }
    return sent;
}

enum err client_exchange_put(struct client_exchange *x, const struct str *pieces, size_t count)
{
    struct client_conn *c = x->conn;
    struct iovec vector[3];
    size_t sent = 0;
    ASSERT(count <= COUNT_OF(vector));
    if (c->is_deaf) {
        return ERR_OK;
    }
    client_conn_schedule(c);
    if (c->is_connected && !client_conn_is_blocked(c)) {
        for (size_t i = 0; i < count; i++) {
            vector[i] = (struct iovec){(char *)(uintptr_t)pieces[i].p, pieces[i].n};
        }
        enum err e = transport_send(&c->transport, vector, count, false, &sent);
        if (e && e != ERR_AGAIN) {
            client_conn_deafen(c);
            return ERR_OK;
        }
        x->has_sent |= sent > 0;
        client_exchange_touch(x);
    }
    for (size_t i = 0; i < count; i++) {
        size_t skip = sent < pieces[i].n ? sent : pieces[i].n;
        sent -= skip;
        buf_add(&c->out, pieces[i].p + skip, pieces[i].n - skip);
    }
    return c->out.is_failed ? ERR_NOMEM : ERR_OK;
}

/* ---- input ---- */

/* `n` bytes stand at `p`, in order: what waited and what came. */
static void client_conn_take(struct client_conn *c, const char *p, size_t n)
{
    size_t used = c->protocol->feed(c, p, n);
    if (c->is_dead || c->is_at_rest) {
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
        client_conn_fail(c, CLIENT_FAULT_MEMORY, "");
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
    if (e && c->is_at_rest) {
        client_conn_kill(c, true);
    } else if (e) {
        c->protocol->end_of_input(c, e == ERR_EOF);
    } else {
        client_conn_take(c, client->input, kept + n);
    }
}

/* What had to wait for the service goes on. */
static bool client_conn_has_input(const struct client_conn *c)
{
    return c->in.n > c->scanned_bytes && c->protocol->is_reading(c);
}

static void client_conn_resume(struct client_conn *c)
{
    if (c->is_connected && client_conn_has_input(c)) {
        struct buf in = c->in;
        buf_init(&c->in, 0);
        client_conn_take(c, in.p, in.n);
        buf_done(&in);
    }
}

/* ---- connecting ---- */

const char *client_connect_text(enum err e)
{
    return e == ERR_NOT_FOUND ? "nobody listens there" : err_text(e);
}

enum client_fault client_connect_fault(enum err e)
{
    return e == ERR_NOMEM || e == ERR_LIMIT ? CLIENT_FAULT_MEMORY : CLIENT_FAULT_CONNECT;
}

/* A new connection takes so few bytes at once. */
static bool client_conn_greet(struct client_conn *c)
{
    struct iovec piece = {c->greeting.p, c->greeting.n};
    size_t sent;
    return c->greeting.n == 0 ||
           (transport_send(&c->transport, &piece, 1, false, &sent) == ERR_OK &&
            sent == c->greeting.n);
}

/* The socket is connected. */
static void client_conn_begin(struct client_conn *c)
{
    struct tls_conn *tls;
    if (!client_conn_greet(c)) {
        client_conn_fail(c, CLIENT_FAULT_CONNECT, "");
        return;
    }
    if (!c->target.tls) {
        client_conn_be_ready(c);
        return;
    }
    enum err e = tls_client_open(c->target.tls, &tls);
    e = e ? e : transport_begin_tls(&c->transport, tls);
    c->is_securing = !e;
    if (e) {
        client_conn_fail(c, e == ERR_NOMEM ? CLIENT_FAULT_MEMORY : CLIENT_FAULT_TLS, err_text(e));
    }
}

static void client_conn_connected(struct client_conn *c)
{
    enum err e = socket_connect_result(c->transport.watch.fd);
    if (e) {
        client_conn_fail(c, CLIENT_FAULT_CONNECT, client_connect_text(e));
        return;
    }
    client_conn_begin(c);
}

/* The handshake is done. Bytes that came with its end are taken at once. */
static void client_conn_secured(struct client_conn *c, size_t n)
{
    struct str alpn = c->protocol->alpn;
    if (alpn.n && !str_eq(tls_conn_alpn(c->transport.tls), alpn)) {
        client_conn_fail(c, CLIENT_FAULT_TLS, c->protocol->alpn_fault);
        return;
    }
    client_conn_be_ready(c);
    if (n && !c->is_dead) {
        client_conn_take(c, c->client->input, n);
    }
}

/* The handshake goes on. */
static void client_conn_secure(struct client_conn *c)
{
    size_t n = 0;
    enum err e = transport_has_unsent(&c->transport) ? transport_flush(&c->transport) : ERR_OK;
    if (!e || e == ERR_AGAIN) {
        e = transport_recv(&c->transport, c->client->input, CLIENT_INPUT_BYTES, &n);
    }
    if (e == ERR_AGAIN && !tls_conn_is_handshaken(c->transport.tls)) {
        return;
    }
    bool may_speak = !e && c->protocol->may_speak_first;
    if (e == ERR_AGAIN || may_speak) {
        client_conn_secured(c, e ? 0 : n);
    } else {
        /* Also bytes that answer no request. */
        const char *why = e ? tls_conn_error_text(c->transport.tls) : "it speaks unasked";
        client_conn_fail(c, CLIENT_FAULT_TLS, why[0] || !e ? why : err_text(e));
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
        client_conn_deafen(c);
    }
    client_conn_settle(c);
}

/* ---- time and interest ---- */

/* UINT64_MAX: nothing of the upstream's is waited for. */
static uint64_t client_exchange_deadline(const struct client_exchange *x,
                                         enum client_fault *ret_fault)
{
    const struct client_conn *c = x->conn;
    *ret_fault = CLIENT_FAULT_IDLE_TIME;
    if (!c->is_connected) {
        *ret_fault = CLIENT_FAULT_CONNECT_TIME;
        return x->activity_ms + x->timeouts.connect_ms;
    }
    if (x->phase == CLIENT_TUNNEL) {
        return x->activity_ms + x->timeouts.tunnel_ms;
    }
    if (x->protocol->is_sending(x)) {
        return x->activity_ms + x->timeouts.idle_ms;
    }
    if (x->phase == CLIENT_HEAD) {
        *ret_fault = CLIENT_FAULT_FIRST_TIME;
        bool is_due = x->is_request_done || c->is_deaf;
        return is_due ? x->activity_ms + x->timeouts.first_ms : UINT64_MAX;
    }
    return x->is_asked ? x->activity_ms + x->timeouts.idle_ms : UINT64_MAX;
}

static uint64_t client_conn_own_deadline(const struct client_conn *c)
{
    if (c->is_at_rest) {
        return c->activity_ms + c->target.idle_ms;
    }
    return c->protocol->deadline ? c->protocol->deadline(c) : UINT64_MAX;
}

/* The first deadline; `*ret_exchange` NULL: of the connection itself. */
static uint64_t client_conn_deadline(const struct client_conn *c,
                                     struct client_exchange **ret_exchange,
                                     enum client_fault *ret_fault)
{
    uint64_t first = client_conn_own_deadline(c);
    *ret_exchange = NULL;
    *ret_fault = CLIENT_FAULT_NONE;
    LIST_FOR_EACH(at, &c->exchanges)
    {
        struct client_exchange *x = CONTAINER_OF(at, struct client_exchange, link);
        enum client_fault fault;
        uint64_t deadline = client_exchange_deadline(x, &fault);
        if (deadline < first) {
            first = deadline;
            *ret_exchange = x;
            *ret_fault = fault;
        }
    }
    return first;
}

/* A timer that fires early looks again; only one that would fire late is moved. */
static void client_conn_arm(struct client_conn *c)
{
    struct client_exchange *x;
    enum client_fault fault;
    uint64_t deadline = client_conn_deadline(c, &x, &fault);
    if (deadline != UINT64_MAX && (!timer_is_set(&c->timer) || c->timer.deadline_ms > deadline)) {
        loop_timer_set(c->client->loop, &c->timer, deadline);
    }
}

/* Bytes that the upstream's side takes are progress, though nothing of ours moved. */
static void client_conn_note_progress(struct client_conn *c)
{
    if (!c->is_connected || c->out.n == 0 || !transport_take_progress(&c->transport)) {
        return;
    }
    LIST_FOR_EACH(at, &c->exchanges)
    {
        struct client_exchange *x = CONTAINER_OF(at, struct client_exchange, link);
        if (x->protocol->is_sending(x)) {
            client_exchange_touch(x);
        }
    }
}

static void client_conn_on_timeout(struct timer *t)
{
    struct client_conn *c = CONTAINER_OF(t, struct client_conn, timer);
    struct client_exchange *x;
    enum client_fault fault;
    ASSERT_MAGIC(c, CLIENT_CONN_MAGIC);
    client_conn_note_progress(c);
    while (!c->is_dead && client_conn_deadline(c, &x, &fault) <= client_conn_now(c)) {
        if (x) {
            x->protocol->break_off(x);
            client_exchange_end(x, fault, "", NULL);
        } else if (c->is_at_rest) {
            client_conn_kill(c, true);
        } else {
            c->protocol->on_deadline(c);
        }
    }
    client_conn_settle(c);
}

/* Turns the state into interest, timer or end. The only place that does. */
static void client_conn_settle(struct client_conn *c)
{
    if (!c->is_dead && c->is_connected) {
        c->protocol->settle(c);
    }
    if (c->is_dead) {
        return;
    }
    bool is_reading = c->is_connected && (c->is_at_rest || c->protocol->is_reading(c));
    /* Input that waits goes on in the next turn, before any more is received. */
    bool has_input = c->is_connected && client_conn_has_input(c);
    bool is_ended = is_reading && transport_is_ended(&c->transport);
    bool is_blocked = client_conn_is_blocked(c);
    unsigned events = (!c->is_connected || is_blocked || is_ended ? POLLER_WRITE : 0u) |
                      (is_reading && !has_input ? POLLER_READ : 0u);
    if (c->is_securing) {
        events = POLLER_READ | (transport_has_unsent(&c->transport) ? POLLER_WRITE : 0u);
    }
    if (events == 0 && c->is_deaf) {
        transport_rest(&c->transport);
    } else if (transport_want(&c->transport, events) != ERR_OK) {
        client_conn_fail(c, CLIENT_FAULT_MEMORY, "");
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
