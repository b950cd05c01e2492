/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "os/poller.h"

struct poller_ops {
    const char *name;
    void (*destroy)(struct poller *p);
    uint64_t (*now_ns)(const struct poller *p);
    enum err (*add)(struct poller *p, int fd, unsigned events, uint64_t token);
    enum err (*change)(struct poller *p, int fd, unsigned events, uint64_t token);
    void (*remove)(struct poller *p, int fd, uint64_t token, bool is_closing);
    int (*wait)(struct poller *p, struct poller_event *ret_events, int event_count_max,
                uint64_t deadline_ns);
};

/* Each back end embeds this as its first member. */
struct poller {
    const struct poller_ops *ops;
};

enum err poller_epoll_create(struct poller **ret_poller) MUST_CHECK;
enum err poller_uring_create(struct poller **ret_poller) MUST_CHECK;
/* ERR_UNSUPPORTED where the program was built without it. */
enum err poller_kqueue_create(struct poller **ret_poller) MUST_CHECK;
enum err poller_sim_create(struct poller **ret_poller) MUST_CHECK;
