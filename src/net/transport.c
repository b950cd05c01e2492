/* SPDX-License-Identifier: Apache-2.0 */
#include "net/transport.h"

enum err transport_init(struct transport *t, struct loop *loop, int fd, loop_ready_fn on_ready)
{
    *t = (struct transport){.loop = loop};
    return loop_watch_later(loop, &t->watch, fd, on_ready);
}

void transport_done(struct transport *t)
{
    loop_close(t->loop, &t->watch);
}

enum err transport_want(struct transport *t, unsigned events)
{
    return loop_rewatch(t->loop, &t->watch, events);
}

enum err transport_recv(struct transport *t, void *bytes, size_t n, size_t *ret_n)
{
    return socket_recv(t->watch.fd, bytes, n, ret_n);
}

enum err transport_send(struct transport *t, const struct iovec *pieces, size_t piece_count,
                        bool has_more, size_t *ret_n)
{
    enum err e = socket_send(t->watch.fd, pieces, piece_count, has_more, ret_n);
    if (!e) {
        t->sent_bytes += *ret_n;
    }
    return e;
}

enum err transport_send_file(struct transport *t, int file, uint64_t offset, size_t n,
                             size_t *ret_n)
{
    enum err e = socket_send_file(t->watch.fd, file, offset, n, ret_n);
    if (!e) {
        t->sent_bytes += *ret_n;
    }
    return e;
}

uint64_t transport_take_progress(struct transport *t)
{
    uint64_t queued = socket_unacknowledged(t->watch.fd);
    uint64_t taken = t->sent_bytes > queued ? t->sent_bytes - queued : 0;
    uint64_t more = taken > t->taken_bytes ? taken - t->taken_bytes : 0;
    t->taken_bytes += more;
    return more;
}

void transport_end(struct transport *t)
{
    socket_shutdown_write(t->watch.fd);
}

void transport_break(struct transport *t)
{
    socket_reset_on_close(t->watch.fd);
}
