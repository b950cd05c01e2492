/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated back end: real descriptors (socket pairs, pipes), virtual time. A wait never
 * sleeps: it reports what is ready now, or jumps the clock to the deadline. A wait without a
 * deadline and with nothing ready returns at once, so that a test sees that nothing is left to do.
 */
#include "os/poller_int.h"

#include <poll.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/clock.h"

struct poller_sim {
    struct poller poller;
    uint64_t now_ns;
    struct pollfd *fds;
    uint64_t *tokens;
    int count;
    int capacity;
    int next; /* where the scan goes on, so that no descriptor starves */
};

static void sim_destroy(struct poller *p)
{
    struct poller_sim *s = (struct poller_sim *)p;
    mem_free(s->fds);
    mem_free(s->tokens);
    mem_free(s);
}

static uint64_t sim_now_ns(const struct poller *p)
{
    return ((const struct poller_sim *)p)->now_ns;
}

static short sim_mask(unsigned events)
{
    return (short)((events & POLLER_READ ? POLLIN | POLLRDHUP : 0) |
                   (events & POLLER_WRITE ? POLLOUT : 0));
}

static int sim_find(const struct poller_sim *s, int fd)
{
    for (int i = 0; i < s->count; i++) {
        if (s->fds[i].fd == fd) {
            return i;
        }
    }
    return -1;
}

static enum err sim_add(struct poller *p, int fd, unsigned events, uint64_t token)
{
    struct poller_sim *s = (struct poller_sim *)p;
    ASSERT(sim_find(s, fd) < 0);
    if (s->count == s->capacity) {
        int capacity = s->capacity ? s->capacity * 2 : 16;
        struct pollfd *fds = mem_realloc(s->fds, (size_t)capacity * sizeof(*fds));
        if (!fds) {
            return ERR_NOMEM;
        }
        s->fds = fds;
        uint64_t *tokens = mem_realloc(s->tokens, (size_t)capacity * sizeof(*tokens));
        if (!tokens) {
            return ERR_NOMEM;
        }
        s->tokens = tokens;
        s->capacity = capacity;
    }
    s->fds[s->count] = (struct pollfd){.fd = fd, .events = sim_mask(events)};
    s->tokens[s->count++] = token;
    return ERR_OK;
}

static enum err sim_change(struct poller *p, int fd, unsigned events, uint64_t token)
{
    struct poller_sim *s = (struct poller_sim *)p;
    int at = sim_find(s, fd);
    ASSERT(at >= 0 && s->tokens[at] == token);
    s->fds[at].events = sim_mask(events);
    return ERR_OK;
}

static void sim_remove(struct poller *p, int fd, uint64_t token, bool is_closing)
{
    (void)is_closing;
    struct poller_sim *s = (struct poller_sim *)p;
    int at = sim_find(s, fd);
    ASSERT(at >= 0 && s->tokens[at] == token);
    s->count--;
    s->fds[at] = s->fds[s->count];
    s->tokens[at] = s->tokens[s->count];
}

static int sim_wait(struct poller *p, struct poller_event *ret_events, int event_count_max,
                    uint64_t deadline_ns)
{
    struct poller_sim *s = (struct poller_sim *)p;
    int ready = poll(s->fds, (nfds_t)s->count, 0);
    if (ready <= 0) {
        if (deadline_ns != UINT64_MAX && deadline_ns > s->now_ns) {
            s->now_ns = deadline_ns;
        }
        return 0;
    }
    int count = 0;
    for (int i = 0; i < s->count && count < event_count_max; i++) {
        int at = (s->next + i) % s->count;
        unsigned seen = (unsigned short)s->fds[at].revents;
        if (seen) {
            unsigned events = (seen & (POLLIN | POLLRDHUP | POLLHUP | POLLERR) ? POLLER_READ : 0u) |
                              (seen & (POLLOUT | POLLERR) ? POLLER_WRITE : 0u) |
                              (seen & (POLLHUP | POLLERR) ? POLLER_HANGUP : 0u);
            ret_events[count++] = (struct poller_event){s->tokens[at], events};
        }
    }
    s->next = (s->next + 1) % s->count;
    s->now_ns += 1000;
    return count;
}

static const struct poller_ops sim_ops = {
    .name = "sim",
    .destroy = sim_destroy,
    .now_ns = sim_now_ns,
    .add = sim_add,
    .change = sim_change,
    .remove = sim_remove,
    .wait = sim_wait,
};

enum err poller_sim_create(struct poller **ret_poller)
{
    struct poller_sim *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->poller.ops = &sim_ops;
    s->now_ns = NS_PER_S;
    *ret_poller = &s->poller;
    return ERR_OK;
}
