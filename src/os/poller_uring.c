/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness by one-shot poll requests in an io_uring. A request that fired is re-armed with the
 * next wait, in the same system call; re-arming looks at the present state, which makes the whole
 * level-triggered. A table by descriptor says what is wanted; a generation in the request's own
 * user data tells late completions from live ones.
 *
 * The kernel adds POLLRDHUP to every request. Where reading is not asked for, a half-closed peer
 * would complete each request at once, so such a descriptor gets an edge-triggered one that stays.
 */
#include "os/poller_int.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/clock.h"

#define URING_ENTRIES 1024

struct uring_watch {
    uint64_t token;
    uint32_t generation; /* of the request in flight, or of the last one */
    uint8_t events;
    bool is_watched;
    bool is_armed;       /* a request is in flight */
    bool is_queued;      /* stands in the list of those to arm */
    bool is_half_closed; /* POLLRDHUP was seen when reading was not asked for */
};

struct poller_uring {
    struct poller poller;
    struct io_uring ring;
    struct uring_watch *watches; /* by descriptor */
    int *to_arm;                 /* descriptors to arm before the next wait */
    int watch_count;
    int to_arm_count;
};

#define URING_REMOVAL UINT64_MAX

static uint64_t uring_user_data(int fd, const struct uring_watch *w)
{
    return (uint64_t)(uint32_t)fd | (uint64_t)w->generation << 32;
}

static void uring_destroy(struct poller *p)
{
    struct poller_uring *u = (struct poller_uring *)p;
    io_uring_queue_exit(&u->ring);
    mem_free(u->watches);
    mem_free(u->to_arm);
    mem_free(u);
}

static uint64_t uring_now_ns(const struct poller *p)
{
    (void)p;
    return clock_monotonic_ns();
}

static struct io_uring_sqe *uring_request(struct poller_uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    while (!sqe) {
        io_uring_submit(&u->ring);
        sqe = io_uring_get_sqe(&u->ring);
    }
    return sqe;
}

static void uring_queue(struct poller_uring *u, int fd)
{
    struct uring_watch *w = &u->watches[fd];
    if (!w->is_queued && !w->is_armed) {
        w->is_queued = true;
        u->to_arm[u->to_arm_count++] = fd;
    }
}

static void uring_disarm(struct poller_uring *u, int fd)
{
    struct uring_watch *w = &u->watches[fd];
    if (w->is_armed) {
        struct io_uring_sqe *sqe = uring_request(u);
        io_uring_prep_poll_remove(sqe, uring_user_data(fd, w));
        io_uring_sqe_set_data64(sqe, URING_REMOVAL);
        w->is_armed = false;
    }
}

static enum err uring_grow(struct poller_uring *u, int fd)
{
    int count = u->watch_count ? u->watch_count : 64;
    while (count <= fd) {
        count *= 2;
    }
    int *to_arm = mem_realloc(u->to_arm, (size_t)count * sizeof(*to_arm));
    if (!to_arm) {
        return ERR_NOMEM;
    }
    u->to_arm = to_arm;
    struct uring_watch *watches = mem_realloc(u->watches, (size_t)count * sizeof(*watches));
    if (!watches) {
        return ERR_NOMEM;
    }
    memset(watches + u->watch_count, 0, (size_t)(count - u->watch_count) * sizeof(*watches));
    u->watches = watches;
    u->watch_count = count;
    return ERR_OK;
}

static enum err uring_add(struct poller *p, int fd, unsigned events, uint64_t token)
{
    struct poller_uring *u = (struct poller_uring *)p;
    if (fd >= u->watch_count) {
        enum err e = uring_grow(u, fd);
        if (e) {
            return e;
        }
    }
    struct uring_watch *w = &u->watches[fd];
    ASSERT(!w->is_watched);
    w->is_watched = true;
    w->is_half_closed = false;
    w->token = token;
    w->events = (uint8_t)events;
    uring_queue(u, fd);
    return ERR_OK;
}

static enum err uring_change(struct poller *p, int fd, unsigned events, uint64_t token)
{
    struct poller_uring *u = (struct poller_uring *)p;
    struct uring_watch *w = &u->watches[fd];
    ASSERT(w->is_watched && w->token == token);
    w->events = (uint8_t)events;
    uring_disarm(u, fd);
    uring_queue(u, fd);
    return ERR_OK;
}

static void uring_remove(struct poller *p, int fd, uint64_t token, bool is_closing)
{
    (void)is_closing;
    struct poller_uring *u = (struct poller_uring *)p;
    struct uring_watch *w = &u->watches[fd];
    ASSERT(w->is_watched && w->token == token);
    w->is_watched = false;
    if (w->is_armed) {
        uring_disarm(u, fd);
        /* The request holds the open file; it must be gone before the caller closes it, else the
         * peer would not see the close. */
        io_uring_submit(&u->ring);
    }
}

static void uring_arm_queued(struct poller_uring *u)
{
    for (int i = 0; i < u->to_arm_count; i++) {
        int fd = u->to_arm[i];
        struct uring_watch *w = &u->watches[fd];
        w->is_queued = false;
        if (!w->is_watched || w->is_armed) {
            continue;
        }
        unsigned mask = (w->events & POLLER_READ ? POLLIN | POLLRDHUP : 0) |
                        (w->events & POLLER_WRITE ? POLLOUT : 0);
        struct io_uring_sqe *sqe = uring_request(u);
        w->generation++;
        w->is_armed = true;
        if (w->is_half_closed && !(w->events & POLLER_READ)) {
            io_uring_prep_poll_multishot(sqe, fd, mask);
        } else {
            io_uring_prep_poll_add(sqe, fd, mask);
        }
        io_uring_sqe_set_data64(sqe, uring_user_data(fd, w));
    }
    u->to_arm_count = 0;
}

static void uring_enter(struct poller_uring *u, uint64_t deadline_ns)
{
    if (deadline_ns == UINT64_MAX) {
        io_uring_submit_and_wait(&u->ring, 1);
        return;
    }
    uint64_t now = deadline_ns ? clock_monotonic_ns() : 0;
    if (deadline_ns <= now) {
        io_uring_submit(&u->ring);
        return;
    }
    uint64_t wait_ns = deadline_ns - now;
    struct __kernel_timespec timeout = {.tv_sec = (long long)(wait_ns / NS_PER_S),
                                        .tv_nsec = (long long)(wait_ns % NS_PER_S)};
    struct io_uring_cqe *cqe;
    io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &timeout, NULL);
}

static bool uring_take(struct poller_uring *u, const struct io_uring_cqe *cqe,
                       struct poller_event *ret_event)
{
    if (cqe->user_data == URING_REMOVAL || cqe->user_data == LIBURING_UDATA_TIMEOUT) {
        return false;
    }
    int fd = (int)(uint32_t)cqe->user_data;
    struct uring_watch *w = &u->watches[fd];
    if (!w->is_armed || w->generation != (uint32_t)(cqe->user_data >> 32)) {
        return false;
    }
    bool has_more = (cqe->flags & IORING_CQE_F_MORE) != 0;
    unsigned seen = cqe->res < 0 ? POLLERR : (unsigned)cqe->res;
    if (!(w->events & POLLER_READ) && (seen & POLLRDHUP)) {
        w->is_half_closed = true;
        seen &= ~(unsigned)POLLRDHUP;
    }
    if (has_more && seen == 0) {
        return false;
    }
    if (has_more) {
        uring_disarm(u, fd);
    }
    w->is_armed = false;
    uring_queue(u, fd);
    if (seen == 0) {
        return false;
    }
    unsigned events = (seen & (POLLIN | POLLRDHUP | POLLHUP | POLLERR) ? POLLER_READ : 0u) |
                      (seen & (POLLOUT | POLLERR) ? POLLER_WRITE : 0u) |
                      (seen & (POLLHUP | POLLERR) ? POLLER_HANGUP : 0u);
    *ret_event = (struct poller_event){w->token, events};
    return true;
}

static int uring_wait(struct poller *p, struct poller_event *ret_events, int event_count_max,
                      uint64_t deadline_ns)
{
    struct poller_uring *u = (struct poller_uring *)p;
    uring_arm_queued(u);
    if (io_uring_cq_ready(&u->ring)) {
        deadline_ns = 0;
    }
    uring_enter(u, deadline_ns);
    int count = 0;
    unsigned head, used = 0;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&u->ring, head, cqe)
    {
        if (count == event_count_max) {
            break;
        }
        used++;
        count += uring_take(u, cqe, &ret_events[count]);
    }
    io_uring_cq_advance(&u->ring, used);
    return count;
}

static const struct poller_ops uring_ops = {
    .name = "io_uring",
    .destroy = uring_destroy,
    .now_ns = uring_now_ns,
    .add = uring_add,
    .change = uring_change,
    .remove = uring_remove,
    .wait = uring_wait,
};

enum err poller_uring_create(struct poller **ret_poller)
{
    struct poller_uring *u = mem_zalloc(1, sizeof(*u));
    if (!u) {
        return ERR_NOMEM;
    }
    u->poller.ops = &uring_ops;
    struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                     .cq_entries = URING_ENTRIES * 8};
    if (io_uring_queue_init_params(URING_ENTRIES, &u->ring, &params) < 0) {
        mem_free(u);
        return ERR_UNSUPPORTED;
    }
    if (!(params.features & IORING_FEAT_EXT_ARG) || !(params.features & IORING_FEAT_NODROP)) {
        uring_destroy(&u->poller);
        return ERR_UNSUPPORTED;
    }
    *ret_poller = &u->poller;
    return ERR_OK;
}
