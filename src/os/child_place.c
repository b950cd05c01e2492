/* SPDX-License-Identifier: Apache-2.0 */
/* Where a child listens and writes to: ports, sockets, their directories, pipes. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/child.h"

/* Below the ports that the kernel gives to connections by itself. */
#define PORT_MIN 10000u
#define PORT_COUNT 22000u
#define PORT_TRIES 64
#define PIPE_BYTES (64 * 1024)

static bool child_port_is_free(uint16_t port)
{
    const struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    /* As servers do; else a connection that just ended would hold the port. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    bool is_free =
        bind(fd, (const struct sockaddr *)(const void *)&a, sizeof(a)) == 0 && listen(fd, 1) == 0;
    close(fd);
    return is_free;
}

enum err child_free_port(uint16_t *ret_port)
{
    for (int i = 0; i < PORT_TRIES; i++) {
        uint32_t random = 0;
        if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
            return ERR_IO;
        }
        uint16_t port = (uint16_t)(PORT_MIN + random % PORT_COUNT);
        if (child_port_is_free(port)) {
            *ret_port = port;
            return ERR_OK;
        }
    }
    return ERR_IN_USE;
}

enum err child_pipe(int ret_ends[2])
{
    if (pipe2(ret_ends, O_CLOEXEC) != 0) {
        return err_from_errno(errno);
    }
    fcntl(ret_ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ret_ends[0], F_SETPIPE_SZ, PIPE_BYTES);
    return ERR_OK;
}

enum err child_read(int fd, void *bytes, size_t n, size_t *ret_n)
{
    ssize_t got;
    do {
        got = read(fd, bytes, n);
    } while (got < 0 && errno == EINTR);
    if (got <= 0) {
        return got == 0 ? ERR_EOF : err_from_errno(errno);
    }
    *ret_n = (size_t)got;
    return ERR_OK;
}

enum err child_make_directory(const char *path, const struct child_user *user, gid_t gid)
{
    struct stat facts;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return err_from_errno(errno);
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    uid_t uid = user ? user->uid : geteuid();
    bool is_done = fstat(fd, &facts) == 0;
    if (is_done && geteuid() == 0) {
        is_done = fchown(fd, uid, gid) == 0 && fchmod(fd, 0710) == 0;
    }
    enum err e = is_done ? ERR_OK : err_from_errno(errno);
    close(fd);
    return e;
}

/* The directory belongs to the program, so the name may lead anywhere: only what was opened
 * without following it is changed. */
enum err child_open_socket_to_all(const char *path)
{
    struct stat facts;
    char opened[64];
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    snprintf(opened, sizeof(opened), "/proc/self/fd/%d", fd);
    enum err e = ERR_OK;
    if (fstat(fd, &facts) != 0 || !S_ISSOCK(facts.st_mode)) {
        e = ERR_ACCESS;
    } else if (chmod(opened, 0666) != 0) {
        e = err_from_errno(errno);
    }
    close(fd);
    return e;
}

enum err child_link_socket(const char *from, const char *to)
{
    char next[PATH_MAX];
    int n = snprintf(next, sizeof(next), "%s.new", to);
    if (n < 0 || n >= PATH_MAX) {
        return ERR_LIMIT;
    }
    unlink(next);
    if (link(from, next) != 0 || rename(next, to) != 0) {
        return err_from_errno(errno);
    }
    return ERR_OK;
}

void child_keep_on_exec(int fd, bool is_kept)
{
    fcntl(fd, F_SETFD, is_kept ? 0 : FD_CLOEXEC);
}
