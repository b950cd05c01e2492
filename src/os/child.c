/* SPDX-License-Identifier: Apache-2.0 */
#include "os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET_FD 3
#define REPORT_FD 4

/* ---- users and programs ---- */

enum err child_find_user(const char *name, struct child_user *ret_user)
{
    const struct passwd *p = getpwnam(name);
    if (!p) {
        return ERR_NOT_FOUND;
    }
    if (geteuid() != 0 && p->pw_uid != geteuid()) {
        return ERR_ACCESS;
    }
    *ret_user =
        (struct child_user){.uid = p->pw_uid, .gid = p->pw_gid, .group_count = CHILD_GROUPS_MAX};
    snprintf(ret_user->home, sizeof(ret_user->home), "%s", p->pw_dir);
    if (getgrouplist(name, p->pw_gid, ret_user->groups, &ret_user->group_count) < 0) {
        return ERR_LIMIT;
    }
    return ERR_OK;
}

void child_find_self(struct child_user *ret_user)
{
    const struct passwd *p = getpwuid(geteuid());
    *ret_user = (struct child_user){.uid = geteuid(), .gid = getegid()};
    snprintf(ret_user->home, sizeof(ret_user->home), "%s", p ? p->pw_dir : "/");
}

/* A directory can be executed too. */
static enum err child_may_execute(const char *path)
{
    struct stat facts;
    if (stat(path, &facts) != 0) {
        return errno == EACCES ? ERR_ACCESS : ERR_NOT_FOUND;
    }
    return S_ISREG(facts.st_mode) && (facts.st_mode & 0111) ? ERR_OK : ERR_ACCESS;
}

static bool child_join(char ret_path[PATH_MAX], struct str folder, struct str name)
{
    int n = snprintf(ret_path, PATH_MAX, STR_FMT "/" STR_FMT, STR_ARG(folder), STR_ARG(name));
    return n > 0 && n < PATH_MAX;
}

enum err child_find_program(struct str program, struct str path, const char *cwd,
                            char ret_path[PATH_MAX])
{
    enum err e = ERR_NOT_FOUND;
    struct str folder;
    if (str_starts_with(program, STR("./"))) {
        program = str_sub(program, 2, program.n);
        return child_join(ret_path, str_of(cwd), program) ? child_may_execute(ret_path) : ERR_LIMIT;
    }
    if (str_index(program, '/') >= 0) {
        bool is_whole = program.p[0] == '/';
        int n = is_whole ? snprintf(ret_path, PATH_MAX, STR_FMT, STR_ARG(program)) : 0;
        bool fits = is_whole ? n < PATH_MAX : child_join(ret_path, str_of(cwd), program);
        return fits ? child_may_execute(ret_path) : ERR_LIMIT;
    }
    while (str_split(&path, ':', &folder)) {
        if (folder.n == 0 || !child_join(ret_path, folder, program)) {
            continue;
        }
        enum err found = child_may_execute(ret_path);
        if (!found) {
            return ERR_OK;
        }
        e = found == ERR_ACCESS ? found : e;
    }
    return e;
}

/* ---- starting ---- */

enum child_step {
    CHILD_STEP_NONE,
    CHILD_STEP_PREPARE,
    CHILD_STEP_CGROUP,
    CHILD_STEP_LIMITS,
    CHILD_STEP_USER,
    CHILD_STEP_CWD,
    CHILD_STEP_EXEC,
};

struct child_report {
    enum child_step step;
    int cause; /* errno */
};

static bool child_limit(int resource, uint64_t max)
{
    const struct rlimit limit = {.rlim_cur = max, .rlim_max = max};
    return max == 0 || setrlimit((__rlimit_resource_t)resource, &limit) == 0;
}

static bool child_limit_all(const struct child_start *s)
{
    cpu_set_t set, some;
    if (!child_limit(RLIMIT_NOFILE, s->files_max) || !child_limit(RLIMIT_DATA, s->data_bytes_max)) {
        return false;
    }
    if (s->cpu_count == 0 || sched_getaffinity(0, sizeof(set), &set) != 0) {
        return s->cpu_count == 0;
    }
    unsigned left = s->cpu_count;
    /* Spread by pid, so that several do not all share the first CPU. */
    unsigned skip = (unsigned)getpid() % (unsigned)CPU_COUNT(&set);
    CPU_ZERO(&some);
    for (size_t i = 0, seen = 0; i < 2 * (size_t)CPU_SETSIZE && left > 0; i++) {
        size_t cpu = i % CPU_SETSIZE;
        if (CPU_ISSET(cpu, &set) && !CPU_ISSET(cpu, &some) && seen++ >= skip) {
            CPU_SET(cpu, &some);
            left--;
        }
    }
    return sched_setaffinity(0, sizeof(some), &some) == 0;
}

static bool child_become(const struct child_user *user)
{
    return !user || (setgroups((size_t)user->group_count, user->groups) == 0 &&
                     setgid(user->gid) == 0 && setuid(user->uid) == 0);
}

static void child_number_env(char **env)
{
    static char text[32];
    for (; *env; env++) {
        if (strncmp(*env, "LISTEN_PID=", 11) == 0) {
            snprintf(text, sizeof(text), "LISTEN_PID=%d", (int)getpid());
            *env = text;
        }
    }
}

/* Ours are closed on exec: 0 to 4 are laid out from copies above them. */
static bool child_lay_out(const struct child_start *s, int report)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int from[] = {null, s->output, s->errors, s->socket, report};
    for (int i = 0; i <= REPORT_FD; i++) {
        from[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, REPORT_FD + 1);
        if (from[i] < 0 && i != SOCKET_FD) {
            return false;
        }
    }
    for (int i = 0; i <= REPORT_FD; i++) {
        if (from[i] >= 0 && dup2(from[i], i) < 0) {
            return false;
        }
    }
    if (from[SOCKET_FD] < 0) {
        close(SOCKET_FD);
    } else {
        /* Who accepts decides whether to wait; systemd hands sockets over that do. */
        fcntl(SOCKET_FD, F_SETFL, fcntl(SOCKET_FD, F_GETFL) & ~O_NONBLOCK);
    }
    return fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC) == 0 && close_range(REPORT_FD + 1, ~0u, 0) == 0;
}

static enum child_step child_prepare(const struct child_start *s, int report)
{
    sigset_t none;
    sigemptyset(&none);
    setsid();
    if (s->cgroup >= 0 && write(s->cgroup, "0", 1) != 1) {
        return CHILD_STEP_CGROUP;
    }
    for (int i = 1; i < NSIG; i++) {
        signal(i, SIG_DFL);
    }
    if (sigprocmask(SIG_SETMASK, &none, NULL) != 0 || !child_lay_out(s, report)) {
        return CHILD_STEP_PREPARE;
    }
    if (!child_limit_all(s)) {
        return CHILD_STEP_LIMITS;
    }
    umask(022);
    return child_become(s->user) ? CHILD_STEP_NONE : CHILD_STEP_USER;
}

static void __attribute__((noreturn))
child_main(const struct child_start *s, int report, pid_t parent)
{
    struct child_report r = {.step = child_prepare(s, report)};
    /* What has not been laid out reports where it was. */
    int to = r.step == CHILD_STEP_CGROUP || r.step == CHILD_STEP_PREPARE ? report : REPORT_FD;
    /* Changing identity clears what ties a child to its parent's life, so this comes behind it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (getppid() != parent) {
        _exit(0);
    }
    if (!r.step && chdir(s->cwd) != 0) {
        r.step = CHILD_STEP_CWD;
    }
    if (!r.step) {
        child_number_env(s->env);
        execve(s->program, s->argv, s->env);
        r.step = CHILD_STEP_EXEC;
    }
    r.cause = errno;
    ssize_t ignored = write(to, &r, sizeof(r));
    (void)ignored;
    _exit(127);
}

static const char *child_step_text(enum child_step step)
{
    switch (step) {
    case CHILD_STEP_NONE:
    case CHILD_STEP_PREPARE:
        break;
    case CHILD_STEP_CGROUP:
        return "its cgroup cannot be entered";
    case CHILD_STEP_LIMITS:
        return "its limits cannot be set";
    case CHILD_STEP_USER:
        return "its user cannot be taken";
    case CHILD_STEP_CWD:
        return "its directory cannot be entered";
    case CHILD_STEP_EXEC:
        return "the program cannot be executed";
    }
    return "it cannot be started";
}

enum err child_spawn(const struct child_start *start, pid_t *ret_pid, char *ret_reason,
                     size_t reason_bytes)
{
    struct child_report r = {.step = CHILD_STEP_PREPARE};
    int ends[2];
    pid_t parent = getpid(), pid = -1;
    ssize_t got = -1;
    if (pipe2(ends, O_CLOEXEC) == 0) {
        pid = fork();
        r.cause = errno;
        if (pid == 0) {
            child_main(start, ends[1], parent);
        }
        close(ends[1]);
        if (pid > 0) {
            do {
                got = read(ends[0], &r, sizeof(r));
            } while (got < 0 && errno == EINTR);
        }
        close(ends[0]);
    } else {
        r.cause = errno;
    }
    if (got == 0) {
        *ret_pid = pid;
        return ERR_OK;
    }
    if (pid > 0) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    snprintf(ret_reason, reason_bytes, "%s: %s", child_step_text(r.step), strerror(r.cause));
    enum err e = err_from_errno(r.cause);
    return e ? e : ERR_IO;
}

/* ---- watching and ending ---- */

void child_adopt_orphans(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

pid_t child_next_ended(void)
{
    siginfo_t info = {0};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ? info.si_pid : 0;
}

void child_collect(pid_t pid, int *ret_code, char *ret_text, size_t text_bytes)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        *ret_code = 128 + WTERMSIG(status);
        if (name) {
            snprintf(ret_text, text_bytes, "was killed by SIG%s", name);
        } else {
            snprintf(ret_text, text_bytes, "was killed by signal %d", WTERMSIG(status));
        }
    } else {
        *ret_code = WEXITSTATUS(status);
        snprintf(ret_text, text_bytes, "exited with code %d", WEXITSTATUS(status));
    }
}

void child_signal(pid_t pid, int signal)
{
    kill(pid, signal);
}
