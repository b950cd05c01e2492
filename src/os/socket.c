/* SPDX-License-Identifier: Apache-2.0 */
#include "os/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096

enum err socket_address_ip(struct str host, uint16_t port, struct socket_address *ret_address)
{
    char text[INET6_ADDRSTRLEN + 1];
    struct socket_address a = {0};
    if (host.n == 0 || host.n >= sizeof(text)) {
        return ERR_SYNTAX;
    }
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    struct sockaddr_in *v4 = (struct sockaddr_in *)&a.raw;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a.raw;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        a.n = sizeof(*v4);
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        a.n = sizeof(*v6);
    } else {
        return ERR_SYNTAX;
    }
    *ret_address = a;
    return ERR_OK;
}

enum err socket_address_raw(const void *bytes, size_t n, uint16_t port,
                            struct socket_address *ret_address)
{
    *ret_address = (struct socket_address){0};
    if (n == 4) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&ret_address->raw;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        memcpy(&v4->sin_addr, bytes, 4);
        ret_address->n = sizeof(*v4);
    } else if (n == 16) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret_address->raw;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        memcpy(&v6->sin6_addr, bytes, 16);
        ret_address->n = sizeof(*v6);
    }
    return ret_address->n ? ERR_OK : ERR_SYNTAX;
}

enum err socket_address_unix(struct str path, struct socket_address *ret_address)
{
    struct socket_address a = {0};
    struct sockaddr_un *u = (struct sockaddr_un *)&a.raw;
    if (path.n == 0 || path.n >= sizeof(u->sun_path)) {
        return ERR_LIMIT;
    }
    u->sun_family = AF_UNIX;
    memcpy(u->sun_path, path.p, path.n);
    a.n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n);
    if (u->sun_path[0] == '@') {
        u->sun_path[0] = '\0';
    } else {
        a.n++;
    }
    *ret_address = a;
    return ERR_OK;
}

size_t socket_address_host(const struct socket_address *a, char text[SOCKET_ADDRESS_TEXT_BYTES])
{
    const char *done = NULL;
    if (a->raw.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->raw;
        done = inet_ntop(AF_INET, &v4->sin_addr, text, SOCKET_ADDRESS_TEXT_BYTES);
    } else if (a->raw.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->raw;
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            done = inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, SOCKET_ADDRESS_TEXT_BYTES);
        } else {
            done = inet_ntop(AF_INET6, &v6->sin6_addr, text, SOCKET_ADDRESS_TEXT_BYTES);
        }
    }
    if (!done) {
        memcpy(text, "unix", 5);
    }
    return strlen(text);
}

uint16_t socket_address_port(const struct socket_address *a)
{
    if (a->raw.ss_family == AF_INET) {
        return ntohs(((const struct sockaddr_in *)&a->raw)->sin_port);
    }
    if (a->raw.ss_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)&a->raw)->sin6_port);
    }
    return 0;
}

size_t socket_address_bytes(const struct socket_address *a,
                            uint8_t ret_bytes[SOCKET_ADDRESS_BYTES_MAX])
{
    if (a->raw.ss_family == AF_INET) {
        memcpy(ret_bytes, &((const struct sockaddr_in *)&a->raw)->sin_addr, 4);
        return 4;
    }
    if (a->raw.ss_family == AF_INET6) {
        memcpy(ret_bytes, &((const struct sockaddr_in6 *)&a->raw)->sin6_addr, 16);
        return 16;
    }
    return 0;
}

size_t socket_address_text(const struct socket_address *a, char text[SOCKET_ADDRESS_TEXT_BYTES])
{
    char host[SOCKET_ADDRESS_TEXT_BYTES];
    int n;
    if (a->raw.ss_family == AF_UNIX) {
        const struct sockaddr_un *u = (const struct sockaddr_un *)&a->raw;
        bool is_abstract = u->sun_path[0] == '\0';
        n = snprintf(text, SOCKET_ADDRESS_TEXT_BYTES, "unix:%s%s", is_abstract ? "@" : "",
                     u->sun_path + is_abstract);
    } else {
        socket_address_host(a, host);
        bool is_v6 = strchr(host, ':') != NULL;
        n = snprintf(text, SOCKET_ADDRESS_TEXT_BYTES, is_v6 ? "[%s]:%u" : "%s:%u", host,
                     socket_address_port(a));
    }
    return n < 0 ? 0 : (size_t)n;
}

static bool socket_unix_is_stale(const struct socket_address *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool is_stale =
        connect(fd, (const struct sockaddr *)&a->raw, a->n) != 0 && errno == ECONNREFUSED;
    close(fd);
    return is_stale;
}

static int socket_bind(int fd, const struct socket_address *a)
{
    if (bind(fd, (const struct sockaddr *)&a->raw, a->n) == 0) {
        return 0;
    }
    const struct sockaddr_un *u = (const struct sockaddr_un *)&a->raw;
    struct stat st;
    if (errno == EADDRINUSE && a->raw.ss_family == AF_UNIX && u->sun_path[0] != '\0' &&
        lstat(u->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) && socket_unix_is_stale(a) &&
        unlink(u->sun_path) == 0) {
        return bind(fd, (const struct sockaddr *)&a->raw, a->n);
    }
    return -1;
}

enum err socket_listen(const struct socket_address *a, bool is_shared, int *ret_fd)
{
    int on = 1;
    int fd = socket(a->raw.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    if (a->raw.ss_family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        /* Accepted sockets inherit it. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (is_shared) {
            setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
        }
        if (a->raw.ss_family == AF_INET6) {
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
        }
    }
    if (socket_bind(fd, a) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        int cause = errno;
        close(fd);
        return cause == EADDRNOTAVAIL ? ERR_NOT_FOUND : err_from_errno(cause);
    }
    *ret_fd = fd;
    return ERR_OK;
}

enum err socket_connect(const struct socket_address *a, int *ret_fd)
{
    int fd = socket(a->raw.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    if (connect(fd, (const struct sockaddr *)&a->raw, a->n) != 0) {
        int cause = errno;
        close(fd);
        return cause == ECONNREFUSED ? ERR_NOT_FOUND : err_from_errno(cause);
    }
    *ret_fd = fd;
    return ERR_OK;
}

enum err socket_connect_within(const struct socket_address *a, unsigned timeout_ms, int *ret_fd)
{
    const struct timeval limit = {timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000) * 1000};
    int fd = socket(a->raw.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (const struct sockaddr *)&a->raw, a->n) != 0) {
        int cause = errno;
        close(fd);
        return cause == ECONNREFUSED  ? ERR_NOT_FOUND
               : cause == EINPROGRESS ? ERR_TIMEOUT
                                      : err_from_errno(cause);
    }
    *ret_fd = fd;
    return ERR_OK;
}

static enum err socket_connect_err(int cause)
{
    return cause == ECONNREFUSED || cause == ENOENT ? ERR_NOT_FOUND : err_from_errno(cause);
}

enum err socket_connect_begin(const struct socket_address *a, int *ret_fd)
{
    int on = 1;
    int fd = socket(a->raw.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    if (a->raw.ss_family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    enum err e = ERR_OK;
    if (connect(fd, (const struct sockaddr *)&a->raw, a->n) != 0) {
        int cause = errno;
        e = cause == EINPROGRESS ? ERR_AGAIN
            : cause == EAGAIN    ? ERR_LIMIT
                                 : socket_connect_err(cause);
    }
    if (e && e != ERR_AGAIN) {
        close(fd);
        return e;
    }
    *ret_fd = fd;
    return e;
}

enum err socket_connect_result(int fd)
{
    int cause = 0;
    socklen_t n = sizeof(cause);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &n) != 0) {
        cause = errno;
    }
    return cause ? socket_connect_err(cause) : ERR_OK;
}

enum err socket_send_all(int fd, struct str bytes)
{
    for (size_t at = 0; at < bytes.n;) {
        ssize_t sent = send(fd, bytes.p + at, bytes.n - at, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return errno == EAGAIN ? ERR_TIMEOUT : err_from_errno(errno);
        }
        at += sent > 0 ? (size_t)sent : 0;
    }
    return ERR_OK;
}

enum err socket_recv_all(int fd, void *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = recv(fd, (char *)bytes + at, n - at, 0);
        if (got == 0) {
            return ERR_EOF;
        }
        if (got < 0 && errno != EINTR) {
            return errno == EAGAIN ? ERR_TIMEOUT : err_from_errno(errno);
        }
        at += got > 0 ? (size_t)got : 0;
    }
    return ERR_OK;
}

enum err socket_accept(int listener, struct socket_address *ret_peer, int *ret_fd)
{
    ret_peer->n = sizeof(ret_peer->raw);
    int fd = accept4(listener, (struct sockaddr *)&ret_peer->raw, &ret_peer->n,
                     SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        /* Errors of the connection that was about to be accepted: the next call takes the next. */
        return errno == ECONNABORTED || errno == EPROTO ? ERR_RESET : err_from_errno(errno);
    }
    *ret_fd = fd;
    return ERR_OK;
}

enum err socket_local(int fd, struct socket_address *ret_address)
{
    ret_address->n = sizeof(ret_address->raw);
    if (getsockname(fd, (struct sockaddr *)&ret_address->raw, &ret_address->n) != 0) {
        return err_from_errno(errno);
    }
    return ERR_OK;
}

static enum err socket_take(int fd, void *bytes, size_t n, int flags, size_t *ret_n)
{
    ssize_t got = recv(fd, bytes, n, flags);
    if (got > 0) {
        *ret_n = (size_t)got;
        return ERR_OK;
    }
    return got == 0 ? ERR_EOF : err_from_errno(errno);
}

enum err socket_recv(int fd, void *bytes, size_t n, size_t *ret_n)
{
    return socket_take(fd, bytes, n, 0, ret_n);
}

enum err socket_peek(int fd, void *bytes, size_t n, size_t *ret_n)
{
    return socket_take(fd, bytes, n, MSG_PEEK, ret_n);
}

enum err socket_set_low_water(int fd, size_t n)
{
    int least = n < INT_MAX ? (int)n : INT_MAX;
    return setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof(least)) == 0
               ? ERR_OK
               : err_from_errno(errno);
}

bool socket_is_silent(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

enum err socket_send(int fd, const struct iovec *pieces, size_t piece_count, bool has_more,
                     size_t *ret_n)
{
    int flags = MSG_NOSIGNAL | (has_more ? MSG_MORE : 0);
    ssize_t sent;
    if (piece_count == 1) {
        sent = send(fd, pieces[0].iov_base, pieces[0].iov_len, flags);
    } else {
        struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = piece_count};
        sent = sendmsg(fd, &message, flags);
    }
    if (sent < 0) {
        return err_from_errno(errno);
    }
    *ret_n = (size_t)sent;
    return ERR_OK;
}

enum err socket_send_file(int fd, int file, uint64_t offset, size_t n, size_t *ret_n)
{
    off_t at = (off_t)offset;
    ssize_t sent = sendfile(fd, file, &at, n);
    if (sent < 0) {
        return err_from_errno(errno);
    }
    if (sent == 0) {
        return ERR_EOF;
    }
    *ret_n = (size_t)sent;
    return ERR_OK;
}

void socket_shutdown_write(int fd)
{
    shutdown(fd, SHUT_WR);
}

uint64_t socket_unacknowledged(int fd)
{
    int n = 0;
    return ioctl(fd, SIOCOUTQ, &n) == 0 && n > 0 ? (uint64_t)n : 0;
}

void socket_reset_on_close(int fd)
{
    struct linger abort_now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_now, sizeof(abort_now));
}
