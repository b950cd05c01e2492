/* SPDX-License-Identifier: Apache-2.0 */
#include "net/prologue_int.h"

#include <assert.h>

#include "base/assert.h"
#include "crypto/client_hello.h"
#include "net/h1_conn_int.h"
#include "net/proxy_header.h"
#include "net/tls_accept_int.h"

#define PROLOGUE_MAGIC 0x70726f6cu

struct prologue {
    struct conn conn;
    uint32_t magic;
    struct timer timer;
    struct loop_task free_task;
    size_t seen;                 /* bytes that were there when it was last looked at */
    struct prologue_input input; /* what is still to be looked at */
    bool is_dead;
};

size_t prologue_bytes(void)
{
    return sizeof(struct prologue);
}

static struct prologue *prologue_of(struct conn *conn)
{
    struct prologue *p = CONTAINER_OF(conn, struct prologue, conn);
    ASSERT_MAGIC(p, PROLOGUE_MAGIC);
    return p;
}

static void prologue_free(struct prologue *p)
{
    p->magic = 0;
    slab_free(&p->conn.server->prologue_slab, p);
}

static void prologue_on_free(struct loop_task *t)
{
    struct prologue *p = CONTAINER_OF(t, struct prologue, free_task);
    struct server *s = p->conn.server;
    prologue_free(p);
    server_check_drained(s);
}

static void prologue_end(struct prologue *p)
{
    p->is_dead = true;
    timer_cancel(&p->timer);
    loop_defer_end(p->conn.server->loop, &p->free_task);
}

static void prologue_kill(struct prologue *p)
{
    conn_done(&p->conn, false);
    conn_leave(p->conn.server);
    prologue_end(p);
}

static void prologue_refuse(struct prologue *p, enum server_limit limit)
{
    struct server *s = p->conn.server;
    s->hooks.on_limit(s->hooks.context, limit);
    prologue_kill(p);
}

static void prologue_on_timeout(struct timer *t)
{
    prologue_refuse(CONTAINER_OF(t, struct prologue, timer), SERVER_LIMIT_HEADER_TIME);
}

static enum err prologue_move(struct prologue *p)
{
    struct server *s = p->conn.server;
    switch (p->input.kind) {
    case LISTENER_HTTP:
        return h1_conn_adopt(&p->conn, s->input, 0);
    case LISTENER_TLS:
        return tls_accept_adopt(&p->conn);
    case LISTENER_STREAM: {
        const struct relay_client client = {.from = &p->conn};
        return s->hooks.on_stream(s->hooks.context, p->input.tag, &client);
    }
    }
    return ERR_UNSUPPORTED;
}

/* What was to be said is said. */
static void prologue_become(struct prologue *p)
{
    enum err e = prologue_move(p);
    if (e) {
        prologue_refuse(p, SERVER_LIMIT_MEMORY);
    } else {
        prologue_end(p);
    }
}

/* Waits for more than the `n` bytes that are there, until `wanted` are. */
static enum err prologue_await(struct prologue *p, size_t n, size_t wanted)
{
    if (n == p->seen) {
        return ERR_EOF; /* it is ready all the same: there will be no more */
    }
    p->seen = n;
    return socket_set_low_water(p->conn.transport.watch.fd, wanted);
}

/* The next bytes are looked at for themselves. */
static enum err prologue_step(struct prologue *p)
{
    enum err e = p->seen ? socket_set_low_water(p->conn.transport.watch.fd, 1) : ERR_OK;
    p->seen = 0;
    return e;
}

/* The header is whole: takes it, and only it. */
static enum err prologue_take(struct prologue *p, const struct proxy_header *header)
{
    size_t n;
    enum err e = socket_recv(p->conn.transport.watch.fd, p->conn.server->input, header->bytes, &n);
    if (!e && header->has_addresses) {
        conn_set_peer(&p->conn, &header->source);
    }
    return !e && n != header->bytes ? ERR_IO : e;
}

/* ERR_AGAIN: more are awaited. */
static enum err prologue_read_header(struct prologue *p)
{
    struct server *s = p->conn.server;
    struct proxy_header header;
    size_t n;
    static_assert(SERVER_INPUT_BYTES_MIN >= PROXY_HEADER_BYTES_MAX, "a whole one is seen at once");
    enum err e = socket_peek(p->conn.transport.watch.fd, s->input, PROXY_HEADER_BYTES_MAX, &n);
    if (e) {
        return e;
    }
    e = proxy_header_read(s->input, n, &header);
    if (e == ERR_AGAIN) {
        e = prologue_await(p, n, header.bytes);
        return e ? e : ERR_AGAIN;
    }
    if (e == ERR_NOT_FOUND) {
        return prologue_step(p);
    }
    e = e ? e : prologue_take(p, &header);
    return e ? e : prologue_step(p);
}

/* The name that is asked for; empty where there is none, or no TLS either. */
static enum err prologue_read_name(struct prologue *p, struct client_hello *hello)
{
    struct server *s = p->conn.server;
    struct str body;
    size_t n;
    static_assert(SERVER_INPUT_BYTES_MIN >= CLIENT_HELLO_RECORDS_MAX + 1, "and here");
    enum err e =
        socket_peek(p->conn.transport.watch.fd, s->input, CLIENT_HELLO_RECORDS_MAX + 1, &n);
    hello->sni = STR("");
    if (e) {
        return e;
    }
    e = client_hello_of_records(s->input, n, &body);
    if (e == ERR_AGAIN) {
        e = prologue_await(p, n, n + 1);
        return e ? e : ERR_AGAIN;
    }
    if (!e && client_hello_parse(hello, body) != ERR_OK) {
        hello->sni = STR(""); /* TLS will say what is wrong with it */
    }
    return prologue_step(p);
}

static enum err prologue_work(struct prologue *p)
{
    struct server *s = p->conn.server;
    enum err e = ERR_OK;
    if (p->input.may_announce) {
        e = prologue_read_header(p);
        p->input.may_announce = e != ERR_OK;
    }
    if (!e && p->input.reads_names) {
        struct client_hello hello;
        const struct relay_client client = {.from = &p->conn};
        e = prologue_read_name(p, &hello);
        if (!e && s->hooks.on_name(s->hooks.context, hello.sni, &client)) {
            prologue_end(p);
            return ERR_OK;
        }
    }
    if (!e) {
        prologue_become(p);
    }
    return e;
}

static void prologue_on_ready(struct conn *conn, unsigned events)
{
    struct prologue *p = prologue_of(conn);
    (void)events;
    enum err e = prologue_work(p);
    if (e == ERR_AGAIN) {
        e = transport_want(&conn->transport, POLLER_READ);
    }
    if (e == ERR_SYNTAX || e == ERR_LIMIT) {
        prologue_refuse(p, SERVER_LIMIT_PROXY_HEADER);
    } else if (e) {
        prologue_kill(p);
    }
}

static void prologue_drain(struct conn *conn)
{
    /* It goes on: its request is on its way. */
    (void)conn;
}

static void prologue_abort(struct conn *conn)
{
    struct prologue *p = prologue_of(conn);
    timer_cancel(&p->timer);
    conn_done(&p->conn, false);
    conn_leave(p->conn.server);
    prologue_free(p);
}

static const struct conn_ops prologue_ops = {
    .on_ready = prologue_on_ready,
    .drain = prologue_drain,
    .abort = prologue_abort,
};

enum err prologue_create(struct server *s, int fd, const struct socket_address *peer,
                         const struct prologue_input *input)
{
    struct prologue *p = slab_alloc(&s->prologue_slab);
    if (!p) {
        return ERR_NOMEM;
    }
    p->magic = PROLOGUE_MAGIC;
    p->input = *input;
    timer_init(&p->timer, prologue_on_timeout);
    loop_task_init(&p->free_task, prologue_on_free);
    enum err e = conn_init(&p->conn, &prologue_ops, s, fd, peer);
    if (e) {
        slab_free(&s->prologue_slab, p);
        return e;
    }
    loop_timer_set(s->loop, &p->timer, loop_now_ms(s->loop) + s->limits.header_ms);
    prologue_on_ready(&p->conn, POLLER_READ);
    return ERR_OK;
}
