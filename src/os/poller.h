/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness of file descriptors: one interface, several kernels' ways behind it. Level-triggered:
 * what is still ready is reported again. A token, not a pointer, names what became ready, so that
 * an event that was under way when its descriptor closed can be told from a live one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum poller_kind {
    POLLER_KIND_AUTO, /* the best that works here */
    POLLER_KIND_EPOLL,
    POLLER_KIND_URING,
    POLLER_KIND_KQUEUE,
    POLLER_KIND_SIM, /* virtual clock: time jumps to the next deadline when nothing is ready */
};

enum {
    POLLER_READ = 1,
    POLLER_WRITE = 2,
    POLLER_HANGUP = 4, /* reported even when not asked for: error or closed both ways */
};

struct poller_event {
    uint64_t token;
    unsigned events;
};

struct poller;

/* Creates a poller. ERR_UNSUPPORTED: the kernel does not have (or forbids) `kind`, or the program
 * was built without it; POLLER_KIND_AUTO then falls back by itself. Owned by the caller, ended by
 * poller_destroy. */
enum err poller_create(enum poller_kind kind, struct poller **ret_poller) MUST_CHECK;
void poller_destroy(struct poller *p);

/* "epoll", "io_uring", "kqueue", "sim". */
const char *poller_name(const struct poller *p);

/* Monotonic time in ns; virtual time for the simulated back end. */
uint64_t poller_now_ns(const struct poller *p);

/* Starts watching `fd` (which must not be watched) for `events` (0 allowed: hangup only). */
enum err poller_add(struct poller *p, int fd, unsigned events, uint64_t token) MUST_CHECK;

/* Changes what a watched `fd` is watched for; `token` as given to poller_add. */
enum err poller_change(struct poller *p, int fd, unsigned events, uint64_t token) MUST_CHECK;

/* Ends watching; to be called before the descriptor is closed. `is_closing`: the caller closes it
 * right away and nobody else holds it, so that a kernel which forgets closed descriptors by itself
 * need not be asked. */
void poller_remove(struct poller *p, int fd, uint64_t token, bool is_closing);

/* Waits until something is ready or `deadline_ns` (UINT64_MAX: none; 0: do not wait) and fills at
 * most `event_count_max` events. Returns their count; 0 on a time-out or a signal. */
int poller_wait(struct poller *p, struct poller_event *ret_events, int event_count_max,
                uint64_t deadline_ns);
