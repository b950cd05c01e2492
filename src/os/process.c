/* SPDX-License-Identifier: Apache-2.0 */
#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"

enum err process_channel(int ret_ends[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_ends) != 0) {
        return err_from_errno(errno);
    }
    return ERR_OK;
}

enum err process_send(int channel, const void *bytes, size_t n, int fd)
{
    struct iovec piece = {.iov_base = (void *)bytes, .iov_len = n};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.space;
        message.msg_controllen = sizeof(control.space);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    ssize_t sent;
    do {
        sent = sendmsg(channel, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? err_from_errno(errno) : ERR_OK;
}

enum err process_send_parts(int channel, struct str head, struct str body)
{
    struct iovec pieces[] = {{(void *)(uintptr_t)head.p, head.n},
                             {(void *)(uintptr_t)body.p, body.n}};
    const struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    ssize_t sent;
    do {
        sent = sendmsg(channel, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? err_from_errno(errno) : ERR_OK;
}

enum err process_recv(int channel, void *bytes, size_t n_max, bool may_wait, size_t *ret_n,
                      int *ret_fd)
{
    struct iovec piece = {.iov_base = bytes, .iov_len = n_max};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};
    ssize_t got;
    do {
        got = recvmsg(channel, &message, MSG_CMSG_CLOEXEC | (may_wait ? 0 : MSG_DONTWAIT));
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return err_from_errno(errno);
    }
    if (got == 0) {
        return ERR_EOF;
    }
    *ret_fd = -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    }
    *ret_n = (size_t)got;
    return ERR_OK;
}

enum err process_spawn(const char *program, char *const argv[], int channel, pid_t *ret_pid)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        return err_from_errno(errno);
    }
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        /* A child never outlives the process that watches over it. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) {
            _exit(0);
        }
        if (channel == PROCESS_CHANNEL_FD) {
            fcntl(channel, F_SETFD, 0);
        } else if (dup2(channel, PROCESS_CHANNEL_FD) < 0) {
            _exit(126);
        }
        execv(program, argv);
        _exit(127);
    }
    *ret_pid = pid;
    return ERR_OK;
}

enum err process_run(const char *const argv[])
{
    pid_t pid = fork();
    if (pid < 0) {
        return err_from_errno(errno);
    }
    if (pid == 0) {
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return err_from_errno(errno);
        }
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        return ERR_NOT_FOUND;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? ERR_OK : ERR_IO;
}

static void process_become(const char *const argv[], pid_t parent)
{
    sigset_t none;
    int null = open("/dev/null", O_RDONLY);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || null < 0 || dup2(null, 0) < 0 || dup2(2, 1) < 0) {
        _exit(126);
    }
    /* Whatever of ours is open without O_CLOEXEC is none of its business. */
    close_range(3, ~0u, 0);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

enum err process_run_within(const char *const argv[], unsigned timeout_ms, int *ret_code)
{
    int status = 0;
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) {
        return err_from_errno(errno);
    }
    if (pid == 0) {
        process_become(argv, parent);
    }
    int watch = pidfd_open(pid, 0);
    struct pollfd ended = {.fd = watch, .events = POLLIN};
    int ready;
    do {
        ready = watch < 0 ? 1 : poll(&ended, 1, (int)timeout_ms);
    } while (ready < 0 && errno == EINTR);
    if (ready != 1) {
        kill(-pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (watch >= 0) {
        close(watch);
    }
    *ret_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return ready == 1 ? ERR_OK : ERR_TIMEOUT;
}

void process_end(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

enum err process_signals(const int *signals, int *ret_fd)
{
    sigset_t set;
    sigemptyset(&set);
    for (; *signals; signals++) {
        sigaddset(&set, *signals);
    }
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return err_from_errno(errno);
    }
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    *ret_fd = fd;
    return ERR_OK;
}

int process_signal_next(int fd)
{
    struct signalfd_siginfo info;
    ssize_t got = read(fd, &info, sizeof(info));
    return got == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

bool process_reap(pid_t *ret_pid, int *ret_code, char *ret_text, size_t text_bytes)
{
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) {
        return false;
    }
    if (WIFSIGNALED(status)) {
        *ret_code = 128 + WTERMSIG(status);
        snprintf(ret_text, text_bytes, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    } else {
        *ret_code = WEXITSTATUS(status);
        snprintf(ret_text, text_bytes, "exited with code %d", WEXITSTATUS(status));
    }
    *ret_pid = pid;
    return true;
}

uint64_t process_raise_fd_limit(void)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return (uint64_t)limit.rlim_cur;
}

uint64_t process_memory_bytes(void)
{
    unsigned long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%lu %lu", &total, &resident) != 2) {
            resident = 0;
        }
        fclose(f);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

int process_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return 1;
    }
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

void process_pin_thread(int n)
{
    cpu_set_t all, one;
    if (sched_getaffinity(getpid(), sizeof(all), &all) != 0) {
        return;
    }
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &all) && n-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof(one), &one);
            return;
        }
    }
}
