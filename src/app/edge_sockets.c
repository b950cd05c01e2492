/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets of the edge: asked of the supervisor, which binds and keeps them. */
#include "app/edge_int.h"

#include <netinet/in.h>
#include <stdio.h>

#include "base/assert.h"
#include "os/datagram.h"
#include "os/file.h"
#include "os/process.h"

static enum err edge_wait_bound(struct edge *e, struct control_message *ret, int *ret_fd)
{
    for (;;) {
        enum err err = control_recv(PROCESS_CHANNEL_FD, true, ret, ret_fd);
        if (err || ret->kind == CONTROL_BOUND) {
            return err;
        }
        if (e->deferred_count < COUNT_OF(e->deferred)) {
            e->deferred[e->deferred_count].fd = *ret_fd;
            e->deferred[e->deferred_count++].message = *ret;
        }
    }
}

enum err edge_bind(struct edge *e, const struct control_address *a, int inherited, uint32_t count,
                   struct edge_listen *ret)
{
    struct control_message m = {
        .kind = CONTROL_BIND, .count = count, .fd = inherited, .address = *a};
    *ret = (struct edge_listen){.asked = *a, .is_wanted = true};
    enum err err = control_send(PROCESS_CHANNEL_FD, &m, -1);
    for (uint32_t i = 0; !err && i < count; i++) {
        int fd = -1;
        err = edge_wait_bound(e, &m, &fd);
        if (!err) {
            err = m.error ? (enum err)m.error : m.count > EDGE_WORKERS_MAX ? ERR_LIMIT : ERR_OK;
            count = m.count;
        }
        if (err) {
            for (uint32_t k = 0; k < i; k++) {
                file_close(ret->fds[k]);
            }
        } else {
            ret->fds[ret->fd_count++] = fd;
        }
    }
    return err;
}

/* HTTP/3 on the port of a listener for https. A port that is taken costs HTTP/3, not the site. */
static void edge_want_quic(struct edge *e, const struct edge_listen *stream)
{
    struct control_address a = {.variant = CONTROL_VARIANT_DATAGRAM};
    if (!e->wants_quic || e->listen_count == EDGE_LISTENS_MAX ||
        socket_local(stream->fds[0], &a.at) != ERR_OK) {
        return;
    }
    for (uint32_t i = 0; i < e->listen_count; i++) {
        if (control_address_eq(&e->listens[i].asked, &a)) {
            e->listens[i].is_wanted = true;
            return;
        }
    }
    struct edge_listen *l = &e->listens[e->listen_count];
    enum err err = edge_bind(e, &a, -1, e->worker_count, l);
    if (err) {
        LOG(e->log, LOG_LEVEL_WARN, "HTTP/3 is not spoken on a port", log_err(err),
            log_u64("port", socket_address_port(&a.at)));
        return;
    }
    l->is_datagram = true;
    /* So a client that moves to another address stays with its worker. */
    datagram_steer(l->fds[0], QUIC_CID_LOOP_AT);
    e->listen_count++;
}

/* What is spoken at an address. */
struct edge_wish {
    const struct listen_address *address;
    uint32_t stream; /* as edge_listen */
    bool is_tls;
    bool is_datagram;
};

static enum err edge_want(struct edge *e, const struct socket_address *at,
                          const struct edge_wish *wish, uint32_t count)
{
    const struct listen_address *wanted = wish->address;
    /* Elsewhere http and https on one address are one socket, that a reload may change over. */
    bool is_any_port = wanted->kind == LISTEN_INET && wanted->port == 0;
    uint32_t variant = !is_any_port   ? 0
                       : wish->stream ? CONTROL_VARIANT_STREAM(wish->stream)
                                      : wish->is_tls;
    const struct control_address a = {*at, variant |
                                               (wish->is_datagram ? CONTROL_VARIANT_DATAGRAM : 0u)};
    for (uint32_t i = 0; i < e->listen_count; i++) {
        if (control_address_eq(&e->listens[i].asked, &a)) {
            e->listens[i].is_wanted = true;
            e->listens[i].is_tls = wish->is_tls;
            e->listens[i].stream = wish->stream;
            if (wish->is_tls && wanted->kind == LISTEN_INET) {
                edge_want_quic(e, &e->listens[i]);
            }
            return ERR_OK;
        }
    }
    if (e->listen_count == EDGE_LISTENS_MAX) {
        return ERR_LIMIT;
    }
    struct edge_listen *l = &e->listens[e->listen_count];
    enum err err = edge_bind(e, &a, wanted->kind == LISTEN_FD ? wanted->fd : -1, count, l);
    if (!err) {
        l->is_tls = wish->is_tls;
        l->stream = wish->stream;
        l->is_datagram = wish->is_datagram;
        e->listen_count++;
        if (wish->is_tls && wanted->kind == LISTEN_INET) {
            edge_want_quic(e, l);
        }
    }
    return err;
}

void edge_inet_address(const struct listen_address *l, struct socket_address *ret)
{
    *ret = (struct socket_address){0};
    if (l->family == 4) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->raw;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(l->port);
        memcpy(&v4->sin_addr, l->bytes, 4);
        ret->n = sizeof(*v4);
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->raw;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(l->port);
        memcpy(&v6->sin6_addr, l->bytes, 16);
        ret->n = sizeof(*v6);
    }
}

static enum err edge_listen_inet(struct edge *e, const struct edge_wish *wish)
{
    const struct listen_address *l = wish->address;
    static const struct str any4 = {"0.0.0.0", 7}, any6 = {"::", 2};
    struct socket_address a;
    enum err err;
    if (l->family == 0) {
        err = socket_address_ip(any4, l->port, &a);
        if (!err) {
            err = edge_want(e, &a, wish, e->worker_count);
        }
        /* A machine without IPv6 serves IPv4 alone. With port 0 a second family would get a port
         * of its own, which nobody could guess. */
        if (!err && l->port && socket_address_ip(any6, l->port, &a) == ERR_OK) {
            enum err err6 = edge_want(e, &a, wish, e->worker_count);
            err = err6 == ERR_IN_USE ? err6 : ERR_OK;
        }
        return err;
    }
    edge_inet_address(l, &a);
    return edge_want(e, &a, wish, e->worker_count);
}

static enum err edge_listen_one(struct edge *e, const struct edge_wish *wish)
{
    const struct listen_address *l = wish->address;
    struct socket_address a;
    enum err err;
    switch (l->kind) {
    case LISTEN_OFF:
        return ERR_OK;
    case LISTEN_INET:
        return edge_listen_inet(e, wish);
    case LISTEN_UNIX:
        err = socket_address_unix(l->path, &a);
        return err ? err : edge_want(e, &a, wish, 1);
    case LISTEN_FD:
        a = (struct socket_address){.n = sizeof(a.raw.ss_family) + sizeof(int)};
        memcpy((char *)&a.raw + sizeof(a.raw.ss_family), &l->fd, sizeof(int));
        return edge_want(e, &a, wish, 1);
    }
    return ERR_UNSUPPORTED;
}

/* Nothing changes: what was added since `before` is given back. */
static void edge_listen_undo(struct edge *e, uint32_t before)
{
    while (e->listen_count > before) {
        const struct edge_listen *added = &e->listens[--e->listen_count];
        const struct control_message m = {.kind = CONTROL_RELEASE, .address = added->asked};
        enum err ignored = control_send(PROCESS_CHANNEL_FD, &m, -1);
        (void)ignored;
        for (uint32_t k = 0; k < added->fd_count; k++) {
            file_close(added->fds[k]);
        }
    }
    for (uint32_t k = 0; k < before; k++) {
        e->listens[k].is_wanted = true;
    }
}

static enum err edge_listen_list(struct edge *e, const struct listen_list *list, uint32_t stream,
                                 bool is_datagram, bool is_start)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct listen_address *l = &list->items[i];
        const struct edge_wish wish = {l, stream, l->is_tls && !stream, is_datagram};
        enum err err = edge_listen_one(e, &wish);
        if (err) {
            const char *hint = err == ERR_ACCESS
                                   ? " (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
                               : err == ERR_IN_USE ? " (does another server run?)"
                                                   : "";
            snprintf(e->reload_error, sizeof(e->reload_error), "cannot listen on " STR_FMT ": %s%s",
                     STR_ARG(l->text), err_text(err), hint);
            if (is_start) {
                fprintf(stderr, "sws: %s\n", e->reload_error);
            }
            return err;
        }
    }
    return ERR_OK;
}

enum err edge_listen_all(struct edge *e, const struct settings *s, bool is_start)
{
    uint32_t before = e->listen_count;
    e->wants_quic = edge_speaks(s, PROTOCOL_H3);
    for (uint32_t i = 0; i < e->listen_count; i++) {
        e->listens[i].is_wanted = false;
    }
    enum err err = edge_listen_list(e, &s->server.listen, 0, false, is_start);
    for (size_t i = 0; i < s->streams.count && !err; i++) {
        const struct stream_settings *stream = &s->streams.items[i];
        err = edge_listen_list(e, &stream->listen, (uint32_t)i + 1,
                               settings_is_datagram(&stream->backend), is_start);
    }
    if (err) {
        edge_listen_undo(e, before);
    }
    return err;
}

void edge_release_unwanted(struct edge *e)
{
    for (uint32_t i = 0; i < e->listen_count;) {
        struct edge_listen *l = &e->listens[i];
        if (l->is_wanted) {
            i++;
            continue;
        }
        const struct control_message m = {.kind = CONTROL_RELEASE, .address = l->asked};
        enum err ignored = control_send(PROCESS_CHANNEL_FD, &m, -1);
        (void)ignored; /* a supervisor that is gone has nothing to release */
        for (uint32_t k = 0; k < l->fd_count; k++) {
            file_close(l->fds[k]);
        }
        *l = e->listens[--e->listen_count];
    }
}
