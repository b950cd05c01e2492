/* SPDX-License-Identifier: Apache-2.0 */
#include "net/server.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/mem.h"
#include "http/date.h"
#include "net/h1_conn_int.h"
#include "net/h2_conn_int.h"
#include "net/h3_conn.h"
#include "net/listener_int.h"
#include "net/prologue_int.h"
#include "net/tls_accept_int.h"

enum err server_create(struct loop *loop, const struct server_limits *limits,
                       const struct server_hooks *hooks, struct server **ret_server)
{
    struct server *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->loop = loop;
    s->hooks = *hooks;
    s->date_s = -1;
    list_init(&s->listeners);
    list_init(&s->connections);
    slab_init(&s->prologue_slab, prologue_bytes(), 0);
    slab_init(&s->accept_slab, tls_accept_bytes(), 0);
    slab_init(&s->conn_slab, sizeof(struct h1_conn), 0);
    slab_init(&s->stream_slab, sizeof(struct h1_stream), 0);
    s->stream_slab.zeroed_bytes = offsetof(struct h1_stream, fields);
    _Static_assert(sizeof(struct h1_piece) >= sizeof(struct mux_piece), "they share a slab");
    slab_init(&s->piece_slab, sizeof(struct h1_piece), 0);
    slab_init(&s->h2_conn_slab, sizeof(struct h2_conn), 0);
    slab_init(&s->h3_conn_slab, h3_conn_bytes(), 0);
    slab_init(&s->mux_stream_slab, sizeof(struct mux_exchange), 0);
    s->mux_stream_slab.zeroed_bytes = offsetof(struct mux_exchange, fields);
    h2_pool_init(&s->h2_pool);
    buf_init(&s->output, 0);
    if (server_set_limits(s, limits) != ERR_OK) {
        server_destroy(s);
        return ERR_NOMEM;
    }
    *ret_server = s;
    return ERR_OK;
}

void server_destroy(struct server *s)
{
    if (!s) {
        return;
    }
    while (!list_is_empty(&s->listeners)) {
        server_unlisten(s, CONTAINER_OF(s->listeners.next, struct listener, link));
    }
    server_abort(s);
    slab_done(&s->prologue_slab);
    slab_done(&s->accept_slab);
    slab_done(&s->conn_slab);
    slab_done(&s->stream_slab);
    slab_done(&s->piece_slab);
    slab_done(&s->h2_conn_slab);
    slab_done(&s->h3_conn_slab);
    slab_done(&s->mux_stream_slab);
    h2_pool_done(&s->h2_pool);
    buf_done(&s->output);
    tls_server_destroy(s->tls);
    transport_scratch_done(&s->scratch);
    mem_free(s->input);
    mem_free(s);
}

enum err server_set_limits(struct server *s, const struct server_limits *limits)
{
    /* The largest head that is not complete yet, and room to receive more. It never shrinks:
     * heads that came under older limits may still wait. */
    size_t bytes = (size_t)limits->header_bytes_max + SERVER_INPUT_BYTES_MIN;
    if (bytes > s->input_bytes) {
        char *input = mem_realloc(s->input, bytes);
        if (!input) {
            return ERR_NOMEM;
        }
        s->input = input;
        s->input_bytes = bytes;
    }
    s->limits = *limits;
    return ERR_OK;
}

enum err server_set_tls(struct server *s, struct tls_server *tls)
{
    ASSERT(!s->tls);
    s->scratch.cipher = mem_alloc(TRANSPORT_CIPHER_BYTES);
    if (!s->scratch.cipher) {
        return ERR_NOMEM;
    }
    s->tls = tls;
    return ERR_OK;
}

void server_drain(struct server *s, uint64_t idle_ms, void (*on_drained)(struct server *s))
{
    s->is_draining = true;
    s->drain_idle_end_ms = loop_now_ms(s->loop) + idle_ms;
    s->on_drained = on_drained;
    while (!list_is_empty(&s->listeners)) {
        server_unlisten(s, CONTAINER_OF(s->listeners.next, struct listener, link));
    }
    LIST_FOR_EACH_SAFE(at, next, &s->connections)
    {
        struct conn *c = CONTAINER_OF(at, struct conn, link);
        c->ops->drain(c);
    }
    server_check_drained(s);
}

void server_check_drained(struct server *s)
{
    if (s->is_draining && s->connection_count == 0 && s->on_drained) {
        void (*on_drained)(struct server *) = s->on_drained;
        s->on_drained = NULL;
        on_drained(s);
    }
}

void server_abort(struct server *s)
{
    while (!list_is_empty(&s->connections)) {
        struct conn *c = CONTAINER_OF(s->connections.next, struct conn, link);
        c->ops->abort(c);
    }
}

const char *server_date(struct server *s)
{
    int64_t now = loop_wall_s(s->loop);
    if (now != s->date_s) {
        http_date_format(now, s->date);
        s->date_s = now;
    }
    return s->date;
}
