/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listener_int.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/mem.h"
#include "net/h1_conn_int.h"
#include "net/prologue_int.h"
#include "net/tls_accept_int.h"
#include "os/file.h"

#define ACCEPT_BATCH_MAX 64  /* per turn, so that open connections get their share */
#define ACCEPT_PAUSE_MS 100u /* when descriptors ran out */

static const char overload_answer[] = "HTTP/1.1 503 Service Unavailable\r\n"
                                      "Content-Length: 0\r\nRetry-After: 1\r\n"
                                      "Connection: close\r\n\r\n";

static enum err listener_open(struct listener *l, int fd, const struct socket_address *peer)
{
    struct server *s = l->server;
    const struct server_hooks *hooks = &s->hooks;
    const struct prologue_input input = {
        .kind = l->kind,
        .tag = l->tag,
        .may_announce = hooks->is_trusted && hooks->is_trusted(hooks->context, peer),
        .reads_names =
            l->kind == LISTENER_TLS && hooks->reads_names && hooks->reads_names(hooks->context),
    };
    if (input.may_announce || input.reads_names) {
        return prologue_create(s, fd, peer, &input);
    }
    switch (l->kind) {
    case LISTENER_HTTP:
        return h1_conn_create(s, fd, peer);
    case LISTENER_TLS:
        return tls_accept_create(s, fd, peer);
    case LISTENER_STREAM: {
        const struct relay_client client = {.fd = fd, .peer = peer};
        return hooks->on_stream(hooks->context, l->tag, &client);
    }
    }
    return ERR_UNSUPPORTED;
}

static void listener_refuse(struct listener *l, int fd)
{
    struct server *s = l->server;
    struct iovec piece = {(char *)overload_answer, sizeof(overload_answer) - 1};
    size_t sent;
    /* Best effort: the answer fits an empty socket buffer or the client learns by the close. */
    if (l->kind == LISTENER_HTTP) {
        enum err ignored = socket_send(fd, &piece, 1, false, &sent);
        (void)ignored;
    }
    file_close(fd);
    s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_CONNECTIONS);
}

static void listener_on_resume(struct timer *t)
{
    struct listener *l = CONTAINER_OF(t, struct listener, pause);
    if (loop_rewatch(l->server->loop, &l->watch, POLLER_READ) != ERR_OK) {
        loop_timer_set(l->server->loop, t, loop_now_ms(l->server->loop) + ACCEPT_PAUSE_MS);
    }
}

/* Takes as many as wait, guessed from before, so that the call that only says "no more" is rare. */
static void listener_on_ready(struct loop_watch *w, unsigned events)
{
    (void)events;
    struct listener *l = CONTAINER_OF(w, struct listener, watch);
    struct server *s = l->server;
    for (unsigned i = 0; i < l->batch; i++) {
        struct socket_address peer;
        int fd;
        enum err e = socket_accept(w->fd, &peer, &fd);
        if (e == ERR_RESET) {
            continue;
        }
        if (e == ERR_LIMIT || e == ERR_NOMEM) {
            s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_DESCRIPTORS);
            if (loop_rewatch(s->loop, w, 0) == ERR_OK) {
                loop_timer_set(s->loop, &l->pause, loop_now_ms(s->loop) + ACCEPT_PAUSE_MS);
            }
            return;
        }
        if (e) {
            l->batch = i ? i : 1;
            return;
        }
        if (s->connection_count >= s->limits.connections_max) {
            listener_refuse(l, fd);
        } else if (listener_open(l, fd, &peer) != ERR_OK) {
            s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_MEMORY);
            file_close(fd);
        }
    }
    l->batch = l->batch < ACCEPT_BATCH_MAX ? l->batch * 2 : ACCEPT_BATCH_MAX;
}

static enum err listener_create(struct server *s, int fd, enum listener_kind kind, unsigned tag,
                                struct listener **ret_listener)
{
    struct listener *l = mem_zalloc(1, sizeof(*l));
    if (!l) {
        return ERR_NOMEM;
    }
    l->server = s;
    l->kind = kind;
    l->tag = tag;
    l->batch = 1;
    timer_init(&l->pause, listener_on_resume);
    enum err e = loop_watch(s->loop, &l->watch, fd, POLLER_READ, listener_on_ready);
    if (e) {
        mem_free(l);
        return e;
    }
    list_push_back(&s->listeners, &l->link);
    *ret_listener = l;
    return ERR_OK;
}

enum err server_listen(struct server *s, int fd, bool is_tls, struct listener **ret_listener)
{
    ASSERT(!is_tls || s->tls);
    return listener_create(s, fd, is_tls ? LISTENER_TLS : LISTENER_HTTP, 0, ret_listener);
}

enum err server_listen_stream(struct server *s, int fd, unsigned tag,
                              struct listener **ret_listener)
{
    ASSERT(s->hooks.on_stream);
    return listener_create(s, fd, LISTENER_STREAM, tag, ret_listener);
}

void server_unlisten(struct server *s, struct listener *l)
{
    loop_unwatch(s->loop, &l->watch);
    timer_cancel(&l->pause);
    list_remove(&l->link);
    mem_free(l);
}
