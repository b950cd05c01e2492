/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of kqueue(2) as the poller uses, over epoll, so that every test run on Linux compiles and
 * tries src/os/poller_kqueue.c. It behaves as the manual page of FreeBSD says, where the systems
 * differ: a receipt comes with EV_ERROR alone in its flags, filters of a descriptor that was closed
 * are gone. Not for programs: filters cost a system call each.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)

#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_CLEAR 0x0020
#define EV_RECEIPT 0x0040
#define EV_ERROR 0x4000
#define EV_EOF 0x8000

struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned int fflags;
    int64_t data;
    void *udata;
};

int kqueue(void);
int kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events,
           int event_count, const struct timespec *timeout);
