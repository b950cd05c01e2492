/* SPDX-License-Identifier: Apache-2.0 */
#include "log/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_FILE_MODE 0640

static enum err log_file_open_with(const char *path, int flags, int *ret_fd)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY, LOG_FILE_MODE);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    *ret_fd = fd;
    return ERR_OK;
}

enum err log_file_open(const char *path, int *ret_fd)
{
    return log_file_open_with(path, O_WRONLY | O_CREAT | O_APPEND, ret_fd);
}

enum err log_file_open_read(const char *path, int *ret_fd)
{
    return log_file_open_with(path, O_RDONLY | O_NOFOLLOW, ret_fd);
}

enum err log_file_open_new(const char *path, int *ret_fd)
{
    return log_file_open_with(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, ret_fd);
}

void log_file_close(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

size_t log_file_write(int fd, struct str bytes)
{
    size_t done = 0;
    while (done < bytes.n) {
        ssize_t n = write(fd, bytes.p + done, bytes.n - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            break;
        }
    }
    return done;
}

enum err log_file_read(int fd, char *to, size_t n, size_t *ret_n)
{
    ssize_t got;
    do {
        got = read(fd, to, n);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return err_from_errno(errno);
    }
    *ret_n = (size_t)got;
    return ERR_OK;
}

uint64_t log_file_size(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
}

bool log_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

enum err log_file_rename(const char *from, const char *to)
{
    return rename(from, to) == 0 ? ERR_OK : err_from_errno(errno);
}

void log_file_remove(const char *path)
{
    unlink(path);
}

static uint64_t log_file_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t log_file_time_ns(void)
{
    return log_file_clock(CLOCK_REALTIME);
}

uint64_t log_file_monotonic_ns(void)
{
    return log_file_clock(CLOCK_MONOTONIC);
}
