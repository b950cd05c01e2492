/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn_int.h"

#include "base/assert.h"

static void conn_on_ready(struct loop_watch *w, unsigned events)
{
    struct transport *t = CONTAINER_OF(w, struct transport, watch);
    struct conn *c = CONTAINER_OF(t, struct conn, transport);
    c->ops->on_ready(c, events);
}

void conn_set_peer(struct conn *c, const struct socket_address *address)
{
    char host[SOCKET_ADDRESS_TEXT_BYTES];
    size_t n = socket_address_host(address, host);
    n = n < sizeof(c->host_text) ? n : sizeof(c->host_text);
    memcpy(c->host_text, host, n);
    c->peer.address = *address;
    c->peer.host = str_make(c->host_text, n);
}

void conn_join(struct conn *c, const struct conn_ops *ops, struct server *s,
               const struct socket_address *peer)
{
    c->ops = ops;
    c->server = s;
    conn_set_peer(c, peer);
    c->peer.fd = -1;
    c->peer.version = HTTP_VERSION_11;
    list_push_back(&s->connections, &c->link);
    s->connection_count++;
    s->hooks.on_connection(s->hooks.context, 1);
}

enum err conn_init(struct conn *c, const struct conn_ops *ops, struct server *s, int fd,
                   const struct socket_address *peer)
{
    enum err e = transport_init(&c->transport, s->loop, fd, &s->scratch, conn_on_ready);
    if (e) {
        return e;
    }
    conn_join(c, ops, s, peer);
    c->peer.fd = fd;
    return ERR_OK;
}

void conn_move(struct conn *to, const struct conn_ops *ops, struct conn *from)
{
    to->ops = ops;
    to->server = from->server;
    to->peer = from->peer;
    memcpy(to->host_text, from->host_text, sizeof(to->host_text));
    to->peer.host.p = to->host_text;
    transport_move(&to->transport, &from->transport);
    list_push_back(&from->link, &to->link);
    list_remove(&from->link);
}

void conn_done(struct conn *c, bool is_orderly)
{
    transport_done(&c->transport, is_orderly);
    conn_part(c);
}

void conn_part(struct conn *c)
{
    list_remove(&c->link);
}

void conn_leave(struct server *s)
{
    s->connection_count--;
    s->hooks.on_connection(s->hooks.context, -1);
}
