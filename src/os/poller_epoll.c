/* SPDX-License-Identifier: Apache-2.0 */
#include "os/poller_int.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/clock.h"

#define EPOLL_BATCH 256

struct poller_epoll {
    struct poller poller;
    int fd;
};

static void epoll_destroy(struct poller *p)
{
    struct poller_epoll *e = (struct poller_epoll *)p;
    close(e->fd);
    mem_free(e);
}

static uint64_t epoll_now_ns(const struct poller *p)
{
    (void)p;
    return clock_monotonic_ns();
}

static enum err epoll_control(struct poller *p, int op, int fd, unsigned events, uint64_t token)
{
    struct poller_epoll *e = (struct poller_epoll *)p;
    struct epoll_event event = {.events = ((events & POLLER_READ) ? EPOLLIN | EPOLLRDHUP : 0u) |
                                          ((events & POLLER_WRITE) ? EPOLLOUT : 0u),
                                .data.u64 = token};
    if (epoll_ctl(e->fd, op, fd, &event) != 0) {
        return err_from_errno(errno);
    }
    return ERR_OK;
}

static enum err epoll_add(struct poller *p, int fd, unsigned events, uint64_t token)
{
    return epoll_control(p, EPOLL_CTL_ADD, fd, events, token);
}

static enum err epoll_change(struct poller *p, int fd, unsigned events, uint64_t token)
{
    return epoll_control(p, EPOLL_CTL_MOD, fd, events, token);
}

static void epoll_remove(struct poller *p, int fd, uint64_t token, bool is_closing)
{
    if (is_closing) {
        return;
    }
    /* Fails only for a descriptor that is already closed, which watches nothing any more. */
    enum err ignored = epoll_control(p, EPOLL_CTL_DEL, fd, 0, token);
    (void)ignored;
}

static int epoll_timeout_ms(uint64_t deadline_ns)
{
    if (deadline_ns == UINT64_MAX) {
        return -1;
    }
    uint64_t now = deadline_ns ? clock_monotonic_ns() : 0;
    if (deadline_ns <= now) {
        return 0;
    }
    uint64_t ms = (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

static int epoll_wait_events(struct poller *p, struct poller_event *ret_events, int event_count_max,
                             uint64_t deadline_ns)
{
    struct poller_epoll *e = (struct poller_epoll *)p;
    struct epoll_event batch[EPOLL_BATCH];
    int max = event_count_max < EPOLL_BATCH ? event_count_max : EPOLL_BATCH;
    int n = epoll_wait(e->fd, batch, max, epoll_timeout_ms(deadline_ns));
    if (n < 0) {
        ASSERT(errno == EINTR);
        return 0;
    }
    for (int i = 0; i < n; i++) {
        unsigned seen = batch[i].events;
        unsigned events = (seen & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR) ? POLLER_READ : 0u) |
                          (seen & (EPOLLOUT | EPOLLERR) ? POLLER_WRITE : 0u) |
                          (seen & (EPOLLHUP | EPOLLERR) ? POLLER_HANGUP : 0u);
        ret_events[i] = (struct poller_event){batch[i].data.u64, events};
    }
    return n;
}

static const struct poller_ops epoll_ops = {
    .name = "epoll",
    .destroy = epoll_destroy,
    .now_ns = epoll_now_ns,
    .add = epoll_add,
    .change = epoll_change,
    .remove = epoll_remove,
    .wait = epoll_wait_events,
};

enum err poller_epoll_create(struct poller **ret_poller)
{
    struct poller_epoll *e = mem_zalloc(1, sizeof(*e));
    if (!e) {
        return ERR_NOMEM;
    }
    e->poller.ops = &epoll_ops;
    e->fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->fd < 0) {
        mem_free(e);
        return err_from_errno(errno);
    }
    *ret_poller = &e->poller;
    return ERR_OK;
}
