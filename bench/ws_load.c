/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket load: CONNECTIONS sockets, each with one message of MESSAGE_BYTES under way, sent again
 * when its echo is back; for SECONDS. Prints "MESSAGES SECONDS". With 0 seconds it opens the
 * sockets, lets each have one message, prints "open" and holds them until its input ends. Usage:
 * ws_load PORT CONNECTIONS MESSAGE_BYTES SECONDS
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define MESSAGE_MAX 60000

static const char HELLO[] = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static char frame[MESSAGE_MAX + 16];
static size_t frame_bytes, echo_bytes;
static size_t *left; /* bytes of the echo that are due, by descriptor */
static char input[65536];

static void fail(const char *what)
{
    fprintf(stderr, "ws_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* A text message with a mask of zeros; the echo has no mask. */
static void make_frame(size_t n)
{
    size_t head = 2;
    frame[0] = (char)0x81;
    if (n < 126) {
        frame[1] = (char)(0x80 | n);
    } else {
        frame[1] = (char)(0x80 | 126);
        frame[2] = (char)(n >> 8);
        frame[3] = (char)n;
        head = 4;
    }
    memset(frame + head, 0, 4);
    memset(frame + head + 4, 'm', n);
    frame_bytes = head + 4 + n;
    echo_bytes = head + n;
}

static void send_frame(int fd)
{
    if (send(fd, frame, frame_bytes, MSG_NOSIGNAL) != (ssize_t)frame_bytes) {
        fail("send");
    }
    left[fd] = echo_bytes;
}

static int open_one(int port)
{
    int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((unsigned short)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    size_t n = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        fail("connect");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (send(fd, HELLO, sizeof(HELLO) - 1, MSG_NOSIGNAL) < 0) {
        fail("send");
    }
    do {
        ssize_t got = recv(fd, input + n, sizeof(input) - 1 - n, 0);
        if (got <= 0) {
            fail("answer");
        }
        n += (size_t)got;
        input[n] = '\0';
    } while (!strstr(input, "\r\n\r\n"));
    if (strncmp(input, "HTTP/1.1 101", 12) != 0) {
        fprintf(stderr, "ws_load: no WebSocket: %.60s\n", input);
        exit(1);
    }
    return fd;
}

/* True: the echo is whole. */
static int take(int fd)
{
    ssize_t n = recv(fd, input, sizeof(input), 0);
    if (n <= 0) {
        fail("receive");
    }
    left[fd] -= (size_t)n < left[fd] ? (size_t)n : left[fd];
    return left[fd] == 0;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    if (argc != 5 || atoi(argv[3]) < 1 || atoi(argv[3]) > MESSAGE_MAX) {
        fprintf(stderr, "usage: ws_load PORT CONNECTIONS MESSAGE_BYTES SECONDS\n");
        return 64;
    }
    int count = atoi(argv[2]);
    double seconds = atof(argv[4]);
    int poller = epoll_create1(0);
    left = calloc((size_t)count + 64, sizeof(*left));
    make_frame((size_t)atol(argv[3]));
    for (int i = 0; i < count; i++) {
        int fd = open_one(atoi(argv[1]));
        struct epoll_event want = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= count + 64 || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &want) != 0) {
            fail("too many");
        }
        send_frame(fd);
    }
    double start = now(), end = start + seconds;
    unsigned long messages = 0;
    for (int waiting = count; seconds > 0 ? now() < end : waiting > 0;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(poller, events, EVENTS, 1000);
        for (int i = 0; i < n; i++) {
            if (take(events[i].data.fd)) {
                messages++;
                waiting--;
                if (seconds > 0) {
                    send_frame(events[i].data.fd);
                }
            }
        }
    }
    if (seconds > 0) {
        printf("%lu %.3f\n", messages, now() - start);
        return 0;
    }
    puts("open");
    fflush(stdout);
    return read(0, input, 1) < 0;
}
