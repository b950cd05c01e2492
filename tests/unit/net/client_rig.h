/* SPDX-License-Identifier: Apache-2.0 */
/* The client side, an upstream that the test plays by hand over Unix sockets, and exchanges that
 * write down what came of them, on a simulated loop. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "loop/loop.h"
#include "net/client.h"
#include "os/clock.h"
#include "os/file.h"

#define TURNS_MAX 20000

struct rig {
    struct loop *loop;
    struct client *client;
    struct client_target target;
    int listen_fd;
    int fd; /* the upstream's end of the last connection; -1: none */
};

/* One exchange and what came of it. */
struct ask {
    struct client_exchange *x; /* NULL: ended */
    struct client_end end;
    bool is_ended;
    bool is_slow; /* takes no body before the test asks for it */
    bool is_tunnel_ended;
    unsigned status;
    uint64_t body_bytes;
    unsigned interims;
    unsigned last_interim;
    unsigned rooms;
    struct buf body;
    struct buf trailers;
};

static inline void on_interim(struct client_exchange *x, const struct response_head *head)
{
    struct ask *a = client_state(x);
    a->interims++;
    a->last_interim = head->status;
}

static inline void on_head(struct client_exchange *x, const struct response_head *head,
                           uint64_t body_bytes)
{
    struct ask *a = client_state(x);
    assert_int_equal(a->status, 0);
    a->status = head->status;
    a->body_bytes = body_bytes;
    if (!a->is_slow) {
        client_read_body(x);
    }
}

static inline void on_body(struct client_exchange *x, struct str bytes)
{
    struct ask *a = client_state(x);
    assert_true(bytes.n > 0);
    buf_add_str(&a->body, bytes);
    if (!a->is_slow) {
        client_read_body(x);
    }
}

static inline void on_tunnel_end(struct client_exchange *x)
{
    struct ask *a = client_state(x);
    a->is_tunnel_ended = true;
}

static inline void on_room(struct client_exchange *x)
{
    struct ask *a = client_state(x);
    a->rooms++;
}

static inline void on_end(struct client_exchange *x, const struct client_end *end)
{
    struct ask *a = client_state(x);
    assert_false(a->is_ended);
    a->is_ended = true;
    a->end = *end;
    a->x = NULL;
    for (unsigned i = 0; end->trailers && i < end->trailers->n; i++) {
        const struct http_field *f = &end->trailers->v[i];
        buf_printf(&a->trailers, STR_FMT "=" STR_FMT ";", STR_ARG(f->name), STR_ARG(f->value));
    }
}

static const struct client_service service = {
    .on_interim = on_interim,
    .on_head = on_head,
    .on_body = on_body,
    .on_tunnel_end = on_tunnel_end,
    .on_room = on_room,
    .on_end = on_end,
};

static const struct client_timeouts timeouts = {2000, 60000, 30000, 3600000};

/* Turns until nothing happens. What a call of ours began is asked for at the end of a first turn,
 * and can happen in the second. */
static inline void settle(struct rig *r)
{
    unsigned quiet = 0;
    for (unsigned turns = 0; quiet < 2; turns++) {
        quiet = loop_turn(r->loop, 0) ? 0 : quiet + 1;
        ASSERT(turns < TURNS_MAX);
    }
}

static inline void advance(struct rig *r, uint64_t ms)
{
    uint64_t end_ns = loop_now_ns(r->loop) + ms * NS_PER_MS;
    while (loop_now_ns(r->loop) < end_ns) {
        loop_turn(r->loop, end_ns);
    }
    settle(r);
}

static inline void rig_start(struct rig *r)
{
    static unsigned count;
    char name[64];
    int n = snprintf(name, sizeof(name), "@sws-client-test-%d-%u", (int)getpid(), count++);
    *r = (struct rig){.fd = -1, .target = {.idle_max = 2, .idle_ms = 60000}};
    assert_int_equal(socket_address_unix(str_make(name, (size_t)n), &r->target.address), ERR_OK);
    assert_int_equal(socket_listen(&r->target.address, false, &r->listen_fd), ERR_OK);
    assert_int_equal(loop_create(POLLER_KIND_SIM, &r->loop), ERR_OK);
    assert_int_equal(client_create(r->loop, &r->client), ERR_OK);
}

static inline void hang_up(struct rig *r)
{
    if (r->fd >= 0) {
        close(r->fd);
        r->fd = -1;
    }
}

static inline void rig_stop(struct rig *r)
{
    settle(r);
    client_destroy(r->client);
    loop_destroy(r->loop);
    hang_up(r);
    file_close(r->listen_fd);
}

/* Takes a new connection where one waits. */
static inline bool take(struct rig *r)
{
    struct socket_address peer;
    int fd;
    settle(r);
    if (socket_accept(r->listen_fd, &peer, &fd) != ERR_OK) {
        return false;
    }
    hang_up(r);
    r->fd = fd;
    settle(r);
    return true;
}

static inline void say(struct rig *r, struct str bytes)
{
    if (bytes.n) {
        assert_int_equal(send(r->fd, bytes.p, bytes.n, MSG_NOSIGNAL), bytes.n);
    }
    settle(r);
}

/* The same where the connection may be closed already. */
static inline void try_to_say(struct rig *r, struct str bytes)
{
    ssize_t sent = bytes.n ? send(r->fd, bytes.p, bytes.n, MSG_NOSIGNAL) : 0;
    assert_true(sent == (ssize_t)bytes.n || errno == EPIPE || errno == ECONNRESET);
    settle(r);
}

/* What the upstream got; true while its connection is open. */
static inline bool hear(struct rig *r, struct buf *got)
{
    char block[65536];
    settle(r);
    for (;;) {
        ssize_t n = recv(r->fd, block, sizeof(block), MSG_DONTWAIT);
        if (n <= 0) {
            return n < 0;
        }
        buf_add(got, block, (size_t)n);
        settle(r);
    }
}

static inline bool is_open(struct rig *r)
{
    struct buf got;
    buf_init(&got, 0);
    bool is = hear(r, &got);
    buf_done(&got);
    return is;
}

static inline void assert_hears(struct rig *r, const char *want)
{
    struct buf got;
    buf_init(&got, 0);
    (void)hear(r, &got);
    buf_add_char(&got, '\0');
    assert_string_equal(got.p, want);
    buf_done(&got);
}

static inline enum err ask_with(struct rig *r, struct ask *a, const struct client_request *request)
{
    struct http_field array[8];
    struct http_fields fields;
    *a = (struct ask){.is_slow = a->is_slow};
    buf_init(&a->body, 0);
    buf_init(&a->trailers, 0);
    http_fields_init(&fields, array, COUNT_OF(array));
    assert_int_equal(http_fields_add_id(&fields, HTTP_FIELD_HOST, STR("u")), ERR_OK);
    struct client_request whole = *request;
    whole.fields = &fields;
    return client_start(r->client, &r->target, &timeouts, &whole, false, &service, a, &a->x);
}

static inline void ask(struct rig *r, struct ask *a, const char *method)
{
    const struct client_request request = {
        .method = str_of(method), .method_id = http_method_of(str_of(method)), .target = STR("/a")};
    assert_int_equal(ask_with(r, a, &request), ERR_OK);
}

static inline void ask_upload(struct rig *r, struct ask *a, uint64_t body_bytes)
{
    const struct client_request request = {.method = STR("PUT"),
                                           .method_id = HTTP_PUT,
                                           .target = STR("/a"),
                                           .has_body = true,
                                           .body_bytes = body_bytes};
    assert_int_equal(ask_with(r, a, &request), ERR_OK);
}

static inline void ask_upgrade(struct rig *r, struct ask *a)
{
    const struct client_request request = {.method = STR("GET"),
                                           .method_id = HTTP_GET,
                                           .target = STR("/a"),
                                           .upgrade = STR("websocket")};
    assert_int_equal(ask_with(r, a, &request), ERR_OK);
}

static inline void ask_done(struct ask *a)
{
    if (a->x) {
        client_cancel(a->x);
        a->x = NULL;
    }
    buf_done(&a->body);
    buf_done(&a->trailers);
}
