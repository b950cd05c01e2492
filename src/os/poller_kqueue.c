/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness by kqueue. Reading and writing are two filters of a descriptor there; a table by
 * descriptor says which of them the kernel has, so that only differences are sent. A change is
 * made at once, as with epoll, so that its failure goes to whoever asked for it. A descriptor
 * that is watched for nothing has the read filter with EV_CLEAR: each arrival of bytes wakes the
 * wait once without being reported, and the end of the peer is noticed.
 */
#include "os/poller_int.h"

#if defined(SWS_HAVE_LIBKQUEUE) || defined(__FreeBSD__) || defined(__NetBSD__) ||                  \
    defined(__OpenBSD__) || defined(__DragonFly__) || defined(__APPLE__)

#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/clock.h"

#define KQUEUE_BATCH 256
#define KQUEUE_CHANGES_MAX 4 /* each filter goes, and comes back in another mode */

enum kqueue_mode { KQUEUE_OFF, KQUEUE_EDGE, KQUEUE_LEVEL };

struct kqueue_watch {
    uint64_t token;
    int event_at;           /* place of its event in the present wait, counted from 1; 0 is none */
    enum kqueue_mode read;  /* what the kernel has */
    enum kqueue_mode write; /* likewise */
    uint8_t events;
    bool is_watched;
    bool is_hung; /* seen while nothing was asked for: reported until that changes */
};

struct poller_kqueue {
    struct poller poller;
    int fd;
    int watch_count;
    struct kqueue_watch *watches; /* by descriptor */
};

static void kqueue_destroy(struct poller *p)
{
    struct poller_kqueue *k = (struct poller_kqueue *)p;
    close(k->fd);
    mem_free(k->watches);
    mem_free(k);
}

static uint64_t kqueue_now_ns(const struct poller *p)
{
    (void)p;
    return clock_monotonic_ns();
}

static enum kqueue_mode kqueue_wanted_read(const struct kqueue_watch *w)
{
    if (!w->is_watched) {
        return KQUEUE_OFF;
    }
    if (w->events == 0) {
        return w->is_hung ? KQUEUE_LEVEL : KQUEUE_EDGE;
    }
    return w->events & POLLER_READ ? KQUEUE_LEVEL : KQUEUE_OFF;
}

static enum kqueue_mode kqueue_wanted_write(const struct kqueue_watch *w)
{
    return w->is_watched && (w->events & POLLER_WRITE) ? KQUEUE_LEVEL : KQUEUE_OFF;
}

/* Appends what leads from mode `have` to `want`; a filter that is there keeps its EV_CLEAR, so it
 * has to go before it can come in the other mode. Returns the count. */
static int kqueue_step(struct kevent *out, const struct kevent *filter, enum kqueue_mode have,
                       enum kqueue_mode want)
{
    int n = 0;
    if (have != want && have != KQUEUE_OFF) {
        out[n] = *filter;
        out[n++].flags = EV_DELETE | EV_RECEIPT;
    }
    if (have != want && want != KQUEUE_OFF) {
        out[n] = *filter;
        out[n++].flags = EV_ADD | EV_RECEIPT | (want == KQUEUE_EDGE ? EV_CLEAR : 0);
    }
    return n;
}

/* Makes the filters of the kernel those that are wanted. */
static enum err kqueue_settle(struct poller_kqueue *k, int fd)
{
    struct kqueue_watch *w = &k->watches[fd];
    const struct kevent read = {.ident = (uintptr_t)fd, .filter = EVFILT_READ};
    const struct kevent write = {.ident = (uintptr_t)fd, .filter = EVFILT_WRITE};
    struct kevent changes[KQUEUE_CHANGES_MAX];
    int n = kqueue_step(changes, &read, w->read, kqueue_wanted_read(w));
    n += kqueue_step(changes + n, &write, w->write, kqueue_wanted_write(w));
    if (n == 0) {
        return ERR_OK;
    }
    w->read = kqueue_wanted_read(w);
    w->write = kqueue_wanted_write(w);
    /* One receipt for each change: the call neither waits nor stops at the first failure. What
     * was asked for does not stand in it on every system. */
    struct kevent receipts[KQUEUE_CHANGES_MAX];
    if (kevent(k->fd, changes, n, receipts, n, NULL) != n) {
        return err_from_errno(errno);
    }
    enum err e = ERR_OK;
    for (int i = 0; i < n; i++) {
        int cause = (int)receipts[i].data;
        if (cause == 0 || (changes[i].flags & EV_DELETE)) {
            /* Taking out fails only for a descriptor that is already closed. */
            continue;
        }
        e = err_from_errno(cause);
        if (changes[i].filter == EVFILT_READ) {
            w->read = KQUEUE_OFF;
        } else {
            w->write = KQUEUE_OFF;
        }
    }
    return e;
}

static enum err kqueue_grow(struct poller_kqueue *k, int fd)
{
    int count = k->watch_count ? k->watch_count : 64;
    while (count <= fd) {
        count *= 2;
    }
    struct kqueue_watch *watches = mem_realloc(k->watches, (size_t)count * sizeof(*watches));
    if (!watches) {
        return ERR_NOMEM;
    }
    memset(watches + k->watch_count, 0, (size_t)(count - k->watch_count) * sizeof(*watches));
    k->watches = watches;
    k->watch_count = count;
    return ERR_OK;
}

static enum err kqueue_change(struct poller *p, int fd, unsigned events, uint64_t token)
{
    struct poller_kqueue *k = (struct poller_kqueue *)p;
    struct kqueue_watch *w = &k->watches[fd];
    ASSERT(w->is_watched && w->token == token);
    w->events = (uint8_t)events;
    w->is_hung = false;
    return kqueue_settle(k, fd);
}

static void kqueue_remove(struct poller *p, int fd, uint64_t token, bool is_closing)
{
    (void)is_closing; /* libkqueue does not see a close */
    struct poller_kqueue *k = (struct poller_kqueue *)p;
    struct kqueue_watch *w = &k->watches[fd];
    ASSERT(w->is_watched && w->token == token);
    w->is_watched = false;
    enum err ignored = kqueue_settle(k, fd);
    (void)ignored;
}

static enum err kqueue_add(struct poller *p, int fd, unsigned events, uint64_t token)
{
    struct poller_kqueue *k = (struct poller_kqueue *)p;
    if (fd >= k->watch_count) {
        enum err e = kqueue_grow(k, fd);
        if (e) {
            return e;
        }
    }
    struct kqueue_watch *w = &k->watches[fd];
    ASSERT(!w->is_watched);
    *w = (struct kqueue_watch){.token = token, .events = (uint8_t)events, .is_watched = true};
    enum err e = kqueue_settle(k, fd);
    if (e) {
        kqueue_remove(p, fd, token, false);
    }
    return e;
}

/* EV_EOF says that one direction ended; whether both did, or an error stands, poll(2) knows. */
static unsigned kqueue_hangup(int fd)
{
    struct pollfd state = {.fd = fd};
    if (poll(&state, 1, 0) <= 0) {
        return 0;
    }
    unsigned seen = (unsigned short)state.revents;
    return (seen & (POLLHUP | POLLERR) ? POLLER_READ | POLLER_HANGUP : 0u) |
           (seen & POLLERR ? POLLER_WRITE : 0u);
}

/* The events that one entry means for its watch; 0 for one that is not to be reported. */
static unsigned kqueue_meaning(struct poller_kqueue *k, const struct kevent *entry)
{
    int fd = (int)entry->ident;
    struct kqueue_watch *w = &k->watches[fd];
    bool has_ended = (entry->flags & EV_EOF) != 0;
    unsigned hangup = 0;
    if (has_ended && entry->fflags != 0) {
        hangup = POLLER_READ | POLLER_WRITE | POLLER_HANGUP;
    } else if (has_ended || w->events == 0) {
        hangup = kqueue_hangup(fd);
    }
    if (w->events == 0) {
        w->is_hung = hangup != 0;
        enum err e = kqueue_settle(k, fd);
        return e ? POLLER_READ | POLLER_WRITE | POLLER_HANGUP : hangup;
    }
    return hangup | (entry->filter == EVFILT_READ ? POLLER_READ : POLLER_WRITE);
}

static int kqueue_wait(struct poller *p, struct poller_event *ret_events, int event_count_max,
                       uint64_t deadline_ns)
{
    struct poller_kqueue *k = (struct poller_kqueue *)p;
    struct kevent batch[KQUEUE_BATCH];
    struct timespec timeout = {0};
    int max = event_count_max < KQUEUE_BATCH ? event_count_max : KQUEUE_BATCH;
    uint64_t now = deadline_ns && deadline_ns != UINT64_MAX ? clock_monotonic_ns() : 0;
    if (deadline_ns > now) {
        timeout.tv_sec = (time_t)((deadline_ns - now) / NS_PER_S);
        timeout.tv_nsec = (long)((deadline_ns - now) % NS_PER_S);
    }
    int n = kevent(k->fd, NULL, 0, batch, max, deadline_ns == UINT64_MAX ? NULL : &timeout);
    if (n < 0) {
        ASSERT(errno == EINTR);
        return 0;
    }
    int count = 0;
    for (int i = 0; i < n; i++) {
        struct kqueue_watch *w = &k->watches[batch[i].ident];
        unsigned events = kqueue_meaning(k, &batch[i]);
        if (events && w->event_at) {
            ret_events[w->event_at - 1].events |= events;
        } else if (events) {
            ret_events[count++] = (struct poller_event){w->token, events};
            w->event_at = count;
        }
    }
    for (int i = 0; i < n; i++) {
        k->watches[batch[i].ident].event_at = 0;
    }
    return count;
}

static const struct poller_ops kqueue_ops = {
    .name = "kqueue",
    .destroy = kqueue_destroy,
    .now_ns = kqueue_now_ns,
    .add = kqueue_add,
    .change = kqueue_change,
    .remove = kqueue_remove,
    .wait = kqueue_wait,
};

enum err poller_kqueue_create(struct poller **ret_poller)
{
    struct poller_kqueue *k = mem_zalloc(1, sizeof(*k));
    if (!k) {
        return ERR_NOMEM;
    }
    k->poller.ops = &kqueue_ops;
    k->fd = kqueue();
    if (k->fd < 0) {
        enum err e = err_from_errno(errno);
        mem_free(k);
        return e;
    }
    /* A child has no use for it; where it is not inherited anyway this changes nothing. */
    (void)fcntl(k->fd, F_SETFD, FD_CLOEXEC);
    *ret_poller = &k->poller;
    return ERR_OK;
}

#else

enum err poller_kqueue_create(struct poller **ret_poller)
{
    (void)ret_poller;
    return ERR_UNSUPPORTED;
}

#endif
