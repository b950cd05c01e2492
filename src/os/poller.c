/* SPDX-License-Identifier: Apache-2.0 */
#include "os/poller_int.h"

#include <stddef.h>

enum err poller_create(enum poller_kind kind, struct poller **ret_poller)
{
    switch (kind) {
    case POLLER_KIND_AUTO:
        /* For readiness alone epoll costs less per wake-up than a poll request that is re-armed
         * in the ring (docs/architecture.md has the figures), and every kernel has it. */
        if (poller_epoll_create(ret_poller) == ERR_OK ||
            poller_uring_create(ret_poller) == ERR_OK) {
            return ERR_OK;
        }
        return poller_kqueue_create(ret_poller);
    case POLLER_KIND_EPOLL:
        return poller_epoll_create(ret_poller);
    case POLLER_KIND_URING:
        return poller_uring_create(ret_poller);
    case POLLER_KIND_KQUEUE:
        return poller_kqueue_create(ret_poller);
    case POLLER_KIND_SIM:
        return poller_sim_create(ret_poller);
    }
    return ERR_UNSUPPORTED;
}

void poller_destroy(struct poller *p)
{
    if (p) {
        p->ops->destroy(p);
    }
}

const char *poller_name(const struct poller *p)
{
    return p->ops->name;
}

uint64_t poller_now_ns(const struct poller *p)
{
    return p->ops->now_ns(p);
}

enum err poller_add(struct poller *p, int fd, unsigned events, uint64_t token)
{
    return p->ops->add(p, fd, events, token);
}

enum err poller_change(struct poller *p, int fd, unsigned events, uint64_t token)
{
    return p->ops->change(p, fd, events, token);
}

void poller_remove(struct poller *p, int fd, uint64_t token, bool is_closing)
{
    p->ops->remove(p, fd, token, is_closing);
}

int poller_wait(struct poller *p, struct poller_event *ret_events, int event_count_max,
                uint64_t deadline_ns)
{
    return p->ops->wait(p, ret_events, event_count_max, deadline_ns);
}
