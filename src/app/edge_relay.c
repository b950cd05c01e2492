/* SPDX-License-Identifier: Apache-2.0 */
/* Several edges on the same UDP sockets, from an upgrade on until the old ones have drained: only
 * the newest reads from them, and what is of a connection of an old one goes there over a pair of
 * message sockets, which the supervisor gave to both. What finds no room is lost, as on a network.
 */
#include "app/edge_int.h"

#include <string.h>

#include "base/assert.h"
#include "os/file.h"
#include "os/process.h"

#define RELAY_FORMAT 1u
#define RELAY_BUDGET 64 /* messages a turn */

/* In front of the bytes; the two processes may be of different versions. */
struct relay_head {
    uint32_t format;
    uint32_t loop_index;
    uint32_t ecn;
    uint32_t head_bytes;
    struct socket_address remote;
    struct socket_address local;
};

void edge_relay_add(struct edge *e, uint8_t generation, int fd)
{
    if (generation == e->generation) {
        e->relay = fd;
    } else if (e->relay_count < EDGE_RELAYS_MAX) {
        e->relays[e->relay_count].generation = generation;
        e->relays[e->relay_count++].fd = fd;
    } else {
        file_close(fd);
    }
}

static int edge_relay_find(const struct edge *e, uint8_t generation)
{
    for (unsigned i = 0; i < e->relay_count; i++) {
        if (e->relays[i].generation == generation) {
            return e->relays[i].fd;
        }
    }
    return -1;
}

bool edge_relay_send(const struct edge *e, struct quic_owner owner, const struct datagram *d)
{
    struct relay_head head;
    int fd = edge_relay_find(e, owner.generation);
    if (fd < 0) {
        return false;
    }
    memset(&head, 0, sizeof(head));
    head.format = RELAY_FORMAT;
    head.loop_index = owner.loop_index;
    head.ecn = d->ecn;
    head.head_bytes = sizeof(head);
    head.remote = d->remote;
    head.local = d->local;
    enum err err = process_send_parts(fd, str_make((const char *)&head, sizeof(head)),
                                      str_make((const char *)d->bytes, d->n));
    return err != ERR_CLOSED && err != ERR_RESET;
}

static void relay_on_ready(struct loop_watch *w, unsigned events)
{
    struct edge *e = CONTAINER_OF(w, struct edge, relay_watch);
    uint8_t bytes[sizeof(struct relay_head) + DATAGRAM_BYTES_MAX];
    (void)events;
    for (int i = 0; i < RELAY_BUDGET; i++) {
        struct relay_head head;
        size_t n;
        int fd = -1;
        enum err err = process_recv(w->fd, bytes, sizeof(bytes), false, &n, &fd);
        if (err == ERR_AGAIN) {
            return;
        }
        if (err) {
            /* Nobody is left who could give anything. */
            loop_unwatch(e->workers[0].loop, w);
            return;
        }
        if (n <= sizeof(head)) {
            continue;
        }
        memcpy(&head, bytes, sizeof(head));
        if (head.format != RELAY_FORMAT || head.head_bytes != sizeof(head)) {
            continue;
        }
        const struct datagram d = {.remote = head.remote,
                                   .local = head.local,
                                   .ecn = head.ecn,
                                   .bytes = bytes + sizeof(head),
                                   .n = n - sizeof(head),
                                   .segment_bytes = n - sizeof(head)};
        bool ignored = edge_pass_datagram(e, head.loop_index, &d);
        (void)ignored; /* there is no worker that could answer */
    }
}

enum err edge_relay_listen(struct worker *w)
{
    struct edge *e = w->edge;
    if (e->relay < 0) {
        return ERR_NOT_FOUND;
    }
    return loop_watch(w->loop, &e->relay_watch, e->relay, POLLER_READ, relay_on_ready);
}
