/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: the least a server on epoll can do. It receives, looks for the end of the head, and
 * sends fixed bytes; it parses nothing, logs nothing, serves nothing else. What a real server costs
 * above it is its own work. Usage: floor PORT BODY_BYTES
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256

static char input[65536];
static char *answer;
static size_t answer_bytes;

static void make_answer(size_t body_bytes)
{
    answer = malloc(body_bytes + 256);
    if (!answer) {
        exit(1);
    }
    int head = snprintf(answer, 256,
                        "HTTP/1.1 200 OK\r\nServer: floor\r\nContent-Type: text/html\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        body_bytes);
    memset(answer + head, 'x', body_bytes);
    answer_bytes = (size_t)head + body_bytes;
}

static int listen_on(int port)
{
    int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((unsigned short)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 4096) != 0) {
        perror("floor");
        exit(1);
    }
    return fd;
}

/* Counts the heads in what came; a head that is cut between two reads is not a case here. */
static int answer_all(int fd)
{
    ssize_t n = recv(fd, input, sizeof(input), 0);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN ? 0 : -1;
    }
    const char *at = input, *end = input + n;
    while ((at = memmem(at, (size_t)(end - at), "\r\n\r\n", 4)) != NULL) {
        at += 4;
        for (size_t sent = 0; sent < answer_bytes;) {
            ssize_t put = send(fd, answer + sent, answer_bytes - sent, MSG_NOSIGNAL);
            if (put < 0 && errno != EAGAIN) {
                return -1;
            }
            sent += put > 0 ? (size_t)put : 0;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    if (argc != 3) {
        fprintf(stderr, "usage: floor PORT BODY_BYTES\n");
        return 64;
    }
    make_answer((size_t)atol(argv[2]));
    int listener = listen_on(atoi(argv[1]));
    int poller = epoll_create1(0);
    struct epoll_event want = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &want);
    for (;;) {
        int n = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                if (answer_all(fd) != 0) {
                    close(fd);
                }
                continue;
            }
            int peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (peer >= 0) {
                want = (struct epoll_event){.events = EPOLLIN, .data.fd = peer};
                epoll_ctl(poller, EPOLL_CTL_ADD, peer, &want);
            }
        }
    }
}
