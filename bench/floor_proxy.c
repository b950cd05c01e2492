/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of proxying: the least a proxy on epoll can do. Each client has an upstream connection
 * of its own, and what one side sends goes to the other; nothing is parsed, pooled or logged.
 * Usage: floor_proxy PORT UPSTREAM_PORT
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define SOCKETS 4096

static char input[131072];
static int other[SOCKETS]; /* the socket that gets what comes from this one */

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listen_on(int port)
{
    int on = 1;
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, SOCKETS) != 0) {
        perror("floor_proxy");
        exit(1);
    }
    return fd;
}

static void watch(int poller, int fd)
{
    struct epoll_event want = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &want);
}

static void accept_one(int poller, int listener, int upstream_port)
{
    int on = 1;
    struct sockaddr_in a = loopback(upstream_port);
    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (client < 0) {
        return;
    }
    int upstream = socket(AF_INET, SOCK_STREAM, 0);
    if (upstream < 0 || client >= SOCKETS || upstream >= SOCKETS ||
        connect(upstream, (struct sockaddr *)&a, sizeof(a)) != 0) {
        fprintf(stderr, "floor_proxy: no upstream\n");
        exit(1);
    }
    setsockopt(upstream, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    other[client] = upstream;
    other[upstream] = client;
    watch(poller, client);
    watch(poller, upstream);
}

/* The upstream's socket blocks where it is full; the client's is tried again until it takes all. */
static int pass_on(int fd)
{
    ssize_t n = recv(fd, input, sizeof(input), MSG_DONTWAIT);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN ? 0 : -1;
    }
    for (ssize_t sent = 0; sent < n;) {
        ssize_t put = send(other[fd], input + sent, (size_t)(n - sent), MSG_NOSIGNAL);
        if (put < 0 && errno != EAGAIN) {
            return -1;
        }
        sent += put > 0 ? put : 0;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    if (argc != 3) {
        fprintf(stderr, "usage: floor_proxy PORT UPSTREAM_PORT\n");
        return 64;
    }
    int listener = listen_on(atoi(argv[1]));
    int poller = epoll_create1(0);
    watch(poller, listener);
    for (;;) {
        int n = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                accept_one(poller, listener, atoi(argv[2]));
            } else if (other[fd] && pass_on(fd) != 0) {
                int peer = other[fd];
                other[fd] = other[peer] = 0;
                close(fd);
                close(peer);
            }
        }
    }
}
