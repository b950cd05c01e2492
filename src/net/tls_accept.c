/* SPDX-License-Identifier: Apache-2.0 */
/* A connection between its accept and the end of the TLS handshake; then it becomes one of the
 * protocol that both sides chose. */
#include "net/tls_accept_int.h"

#include <assert.h>
#include <string.h>

#include "base/assert.h"
#include "net/h1_conn_int.h"
#include "net/h2_conn_int.h"

#define TLS_ACCEPT_MAGIC 0x746c7361u

struct tls_accept {
    struct conn conn;
    uint32_t magic;
    struct timer timer;
    struct loop_task free_task;
    struct buf
        early; /* early data; waits for the end of the handshake, which proves it no replay */
    bool is_dead;
};

size_t tls_accept_bytes(void)
{
    return sizeof(struct tls_accept);
}

static struct tls_accept *tls_accept_of(struct conn *conn)
{
    struct tls_accept *a = CONTAINER_OF(conn, struct tls_accept, conn);
    ASSERT_MAGIC(a, TLS_ACCEPT_MAGIC);
    return a;
}

static void tls_accept_free(struct tls_accept *a)
{
    a->magic = 0;
    buf_done(&a->early);
    slab_free(&a->conn.server->accept_slab, a);
}

static void tls_accept_on_free(struct loop_task *t)
{
    struct tls_accept *a = CONTAINER_OF(t, struct tls_accept, free_task);
    struct server *s = a->conn.server;
    tls_accept_free(a);
    server_check_drained(s);
}

static void tls_accept_kill(struct tls_accept *a, bool is_counted)
{
    struct server *s = a->conn.server;
    if (is_counted) {
        s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_HANDSHAKE);
    }
    a->is_dead = true;
    timer_cancel(&a->timer);
    conn_done(&a->conn, false);
    conn_leave(s);
    loop_defer_end(s->loop, &a->free_task);
}

static void tls_accept_on_timeout(struct timer *t)
{
    struct tls_accept *a = CONTAINER_OF(t, struct tls_accept, timer);
    struct server *s = a->conn.server;
    s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_HEADER_TIME);
    tls_accept_kill(a, false);
}

/* Someone who speaks HTTP where HTTPS is spoken learns so. */
static void tls_accept_answer_plain(struct tls_accept *a)
{
    static const char answer[] =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Connection: close\r\n\r\n"
        "This port speaks HTTPS: write https:// before the name.\n";
    const char *p = a->conn.server->scratch.cipher;
    bool is_http = p[0] >= 'A' && p[0] <= 'Z' && p[1] >= 'A' && p[1] <= 'Z';
    if (is_http) {
        struct iovec piece = {(char *)answer, sizeof(answer) - 1};
        size_t sent;
        enum err ignored = socket_send(a->conn.transport.watch.fd, &piece, 1, true, &sent);
        (void)ignored;
    }
}

/* `n` bytes that came behind the handshake stand in the input buffer. */
static void tls_accept_become(struct tls_accept *a, size_t n)
{
    struct server *s = a->conn.server;
    if (str_eq(tls_conn_alpn(a->conn.transport.tls), STR("acme-tls/1"))) {
        /* The handshake was the answer (RFC 8737 3): nothing is served here. */
        tls_accept_kill(a, false);
        return;
    }
    timer_cancel(&a->timer);
    if (a->early.n) {
        static_assert(SERVER_EARLY_BYTES_MAX < TRANSPORT_RECORD_BYTES,
                      "a receive leaves as much room");
        memmove(s->input + a->early.n, s->input, n);
        memcpy(s->input, a->early.p, a->early.n);
        n += a->early.n;
    }
    a->conn.peer.tls = a->conn.transport.tls;
    bool is_h2 = s->limits.speaks_h2 && str_eq(tls_conn_alpn(a->conn.transport.tls), STR("h2"));
    enum err e =
        is_h2 ? h2_conn_adopt(&a->conn, s->input, n) : h1_conn_adopt(&a->conn, s->input, n);
    if (e) {
        s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_MEMORY);
        tls_accept_kill(a, false);
        return;
    }
    a->is_dead = true;
    loop_defer_end(s->loop, &a->free_task);
}

static void tls_accept_on_ready(struct conn *conn, unsigned events)
{
    struct tls_accept *a = tls_accept_of(conn);
    struct server *s = a->conn.server;
    struct transport *t = &a->conn.transport;
    size_t n = 0;
    (void)events;
    enum err e = transport_flush(t);
    if (!e) {
        e = transport_recv(t, s->input, s->input_bytes, &n);
    }
    if (!e) {
        s->hooks.on_bytes(s->hooks.context, n, 0);
    }
    if ((!e || e == ERR_AGAIN) && tls_conn_is_handshaken(t->tls)) {
        tls_accept_become(a, n);
        return;
    }
    if (!e) {
        buf_add(&a->early, s->input, n);
        e = a->early.is_failed ? ERR_LIMIT : ERR_AGAIN;
    }
    if (e != ERR_AGAIN) {
        if (e != ERR_EOF && e != ERR_RESET) {
            tls_accept_answer_plain(a);
        }
        tls_accept_kill(a, e != ERR_EOF && e != ERR_RESET);
        return;
    }
    unsigned wanted = transport_has_unsent(t) ? POLLER_WRITE : POLLER_READ;
    if (transport_want(t, wanted) != ERR_OK) {
        tls_accept_kill(a, false);
    }
}

static void tls_accept_drain(struct conn *conn)
{
    /* It finishes: its request is on its way. */
    (void)conn;
}

static void tls_accept_abort(struct conn *conn)
{
    struct tls_accept *a = tls_accept_of(conn);
    timer_cancel(&a->timer);
    conn_done(&a->conn, false);
    conn_leave(a->conn.server);
    tls_accept_free(a);
}

static const struct conn_ops tls_accept_ops = {
    .on_ready = tls_accept_on_ready,
    .drain = tls_accept_drain,
    .abort = tls_accept_abort,
};

static enum err tls_accept_alloc(struct server *s, struct tls_accept **ret_accept,
                                 struct tls_conn **ret_tls)
{
    struct tls_accept *a = slab_alloc(&s->accept_slab);
    if (!a) {
        return ERR_NOMEM;
    }
    enum err e = tls_conn_create(s->tls, NULL, loop_wall_s(s->loop), ret_tls);
    if (e) {
        slab_free(&s->accept_slab, a);
        return e;
    }
    a->magic = TLS_ACCEPT_MAGIC;
    timer_init(&a->timer, tls_accept_on_timeout);
    loop_task_init(&a->free_task, tls_accept_on_free);
    buf_init(&a->early, SERVER_EARLY_BYTES_MAX);
    *ret_accept = a;
    return ERR_OK;
}

static void tls_accept_begin(struct tls_accept *a, struct tls_conn *tls)
{
    struct server *s = a->conn.server;
    a->conn.transport.tls = tls;
    loop_timer_set(s->loop, &a->timer, loop_now_ms(s->loop) + s->limits.header_ms);
    tls_accept_on_ready(&a->conn, POLLER_READ);
}

enum err tls_accept_create(struct server *s, int fd, const struct socket_address *peer)
{
    struct tls_accept *a;
    struct tls_conn *tls;
    enum err e = tls_accept_alloc(s, &a, &tls);
    if (e) {
        return e;
    }
    e = conn_init(&a->conn, &tls_accept_ops, s, fd, peer);
    if (e) {
        tls_conn_destroy(tls);
        slab_free(&s->accept_slab, a);
        return e;
    }
    tls_accept_begin(a, tls);
    return ERR_OK;
}

enum err tls_accept_adopt(struct conn *from)
{
    struct tls_accept *a;
    struct tls_conn *tls;
    enum err e = tls_accept_alloc(from->server, &a, &tls);
    if (!e) {
        conn_move(&a->conn, &tls_accept_ops, from);
        tls_accept_begin(a, tls);
    }
    return e;
}
