/* SPDX-License-Identifier: Apache-2.0 */
/* A queue is an epoll of two others: one for each filter, because epoll knows a descriptor once. */
#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/event.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUEUES_MAX 64
#define EVENTS_MAX 256

static struct {
    int outer;
    int inner[2]; /* of EVFILT_READ and EVFILT_WRITE */
} queues[QUEUES_MAX];
static int queue_count;

static int place_of(short filter)
{
    return filter == EVFILT_READ ? 0 : 1;
}

/* A queue whose descriptor was given out anew has been closed: its inner ones go. */
static int *inner_of(int kq)
{
    for (int i = 0; i < queue_count; i++) {
        if (queues[i].outer == kq) {
            return queues[i].inner;
        }
    }
    return NULL;
}

static void forget(int kq)
{
    int *inner = inner_of(kq);
    if (inner) {
        close(inner[0]);
        close(inner[1]);
        for (int i = 0; i < queue_count; i++) {
            if (queues[i].inner == inner) {
                queues[i] = queues[--queue_count];
            }
        }
    }
}

int kqueue(void)
{
    int outer = epoll_create1(EPOLL_CLOEXEC);
    if (outer < 0) {
        return -1;
    }
    forget(outer);
    if (queue_count == QUEUES_MAX) {
        close(outer);
        errno = EMFILE;
        return -1;
    }
    queues[queue_count].outer = outer;
    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        int fd = epoll_create1(EPOLL_CLOEXEC);
        if (fd < 0 || epoll_ctl(outer, EPOLL_CTL_ADD, fd, &event) != 0) {
            return -1;
        }
        queues[queue_count].inner[i] = fd;
    }
    queue_count++;
    return outer;
}

static int change(const int *inner, const struct kevent *c)
{
    int fd = inner[place_of(c->filter)];
    struct epoll_event event = {.data.u64 = c->ident};
    event.events = c->filter == EVFILT_READ ? EPOLLIN | EPOLLRDHUP : EPOLLOUT;
    if (c->flags & EV_CLEAR) {
        event.events |= EPOLLET;
    }
    if (c->flags & EV_DELETE) {
        return epoll_ctl(fd, EPOLL_CTL_DEL, (int)c->ident, NULL) == 0 ? 0 : errno;
    }
    /* EV_ADD of a filter that is there keeps its EV_CLEAR. */
    bool is_added = epoll_ctl(fd, EPOLL_CTL_ADD, (int)c->ident, &event) == 0 || errno == EEXIST;
    return is_added ? 0 : errno;
}

static struct kevent report(short filter, const struct epoll_event *seen)
{
    struct kevent event = {.ident = (uintptr_t)seen->data.u64, .filter = filter};
    unsigned ends = filter == EVFILT_READ ? EPOLLRDHUP | EPOLLHUP | EPOLLERR : EPOLLHUP | EPOLLERR;
    if (seen->events & ends) {
        int cause = 0;
        socklen_t n = sizeof(cause);
        event.flags = EV_EOF;
        if (getsockopt((int)event.ident, SOL_SOCKET, SO_ERROR, &cause, &n) == 0) {
            event.fflags = (unsigned)cause;
        }
    }
    return event;
}

int kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events,
           int event_count, const struct timespec *timeout)
{
    const int *inner = inner_of(kq);
    int count = 0;
    if (!inner) {
        errno = EBADF;
        return -1;
    }
    for (int i = 0; i < change_count; i++) {
        int cause = change(inner, &changes[i]);
        if ((cause || (changes[i].flags & EV_RECEIPT)) && count < event_count) {
            events[count] = changes[i];
            events[count].flags = EV_ERROR;
            events[count++].data = cause;
        } else if (cause) {
            errno = cause;
            return -1;
        }
    }
    if (count || event_count == 0) {
        return count;
    }
    struct epoll_event ready[EVENTS_MAX];
    int ms = timeout ? (int)(timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000) : -1;
    if (epoll_wait(kq, ready, 2, ms) < 0) {
        return -1;
    }
    for (short filter = EVFILT_READ; filter >= EVFILT_WRITE; filter--) {
        int max = event_count - count < EVENTS_MAX ? event_count - count : EVENTS_MAX;
        int n = max > 0 ? epoll_wait(inner[place_of(filter)], ready, max, 0) : 0;
        for (int i = 0; i < n; i++) {
            events[count++] = report(filter, &ready[i]);
        }
    }
    return count;
}
