/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of the machine as children of this process. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "os/child.h"

static char home[64];

static int set_up(void **state)
{
    (void)state;
    strcpy(home, "/tmp/sws-child-XXXXXX");
    return mkdtemp(home) ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", home);
    return system(command);
}

struct run {
    pid_t pid;
    int code;
    char how[64];
    char text[4096]; /* what it wrote */
    char reason[256];
};

/* Runs a shell script to its end. */
static enum err run(const char *script, struct child_start start, struct run *ret)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    char *env[] = {(char *)"PATH=/usr/bin:/bin", (char *)"LISTEN_PID=", NULL};
    int ends[2];
    size_t n = 0, at = 0;
    *ret = (struct run){0};
    assert_int_equal(child_pipe(ends), ERR_OK);
    fcntl(ends[0], F_SETFL, 0); /* here we wait */
    start.program = start.program ? start.program : "/bin/sh";
    start.argv = (char *const *)(uintptr_t)argv;
    start.env = env;
    start.cwd = start.cwd ? start.cwd : home;
    start.output = start.errors = ends[1];
    enum err e = child_spawn(&start, &ret->pid, ret->reason, sizeof(ret->reason));
    close(ends[1]);
    while (!e && child_read(ends[0], ret->text + at, sizeof(ret->text) - 1 - at, &n) == ERR_OK) {
        at += n;
    }
    close(ends[0]);
    if (!e) {
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)ret->pid, &info, WEXITED | WNOWAIT), 0);
        assert_int_equal(child_next_ended(), ret->pid);
        child_collect(ret->pid, &ret->code, ret->how, sizeof(ret->how));
    }
    return e;
}

static struct child_start plain(void)
{
    return (struct child_start){.socket = -1, .cgroup = -1};
}

static void test_ends(void **state)
{
    struct run r;
    (void)state;
    assert_int_equal(run("exit 7", plain(), &r), ERR_OK);
    assert_int_equal(r.code, 7);
    assert_string_equal(r.how, "exited with code 7");
    assert_int_equal(run("kill -TERM $$", plain(), &r), ERR_OK);
    assert_string_equal(r.how, "was killed by SIGTERM");
    assert_int_equal(run("kill -40 $$", plain(), &r), ERR_OK);
    assert_string_equal(r.how, "was killed by signal 40");
    assert_int_equal(child_next_ended(), 0);
}

/* Nothing of ours reaches it but what it is given. */
static void test_what_it_gets(void **state)
{
    struct run r;
    char expected[256];
    (void)state;
    int leaked = dup(0);
    signal(SIGPIPE, SIG_IGN);
    /* What a program leaves ignored of the signals of glibc itself, 32 and 33, is none of ours. */
    assert_int_equal(run("for i in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$i ] && echo $i; done; "
                         "pwd; env | sort | grep -v '^PWD\\|^_\\|^OLDPWD\\|^SHLVL'; "
                         "cut -d' ' -f6 /proc/$$/stat; "
                         "echo $((0x$(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/$$/status) "
                         "& ~0x180000000))",
                         plain(), &r),
                     ERR_OK);
    snprintf(expected, sizeof(expected), "0\n1\n2\n%s\nLISTEN_PID=%d\nPATH=/usr/bin:/bin\n%d\n0\n",
             home, (int)r.pid, (int)r.pid);
    assert_string_equal(r.text, expected);
    close(leaked);
}

static void test_limits(void **state)
{
    struct child_start start = plain();
    struct run r;
    (void)state;
    start.files_max = 100;
    start.cpu_count = 1;
    start.data_bytes_max = 1024 * 1024 * 1024;
    assert_int_equal(run("ulimit -n; ulimit -d; nproc", start, &r), ERR_OK);
    assert_string_equal(r.text, "100\n1048576\n1\n");
}

static void test_socket(void **state)
{
    struct child_start start = plain();
    struct run r;
    int ends[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    start.socket = ends[0];
    assert_int_equal(run("echo hello >&3", start, &r), ERR_OK);
    char text[16] = "";
    assert_int_equal(read(ends[1], text, sizeof(text)), 6);
    assert_string_equal(text, "hello\n");
    assert_int_equal(fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    close(ends[1]);
}

static void test_cannot_start(void **state)
{
    struct child_start start = plain();
    struct run r;
    (void)state;
    start.program = "/no/such";
    assert_int_equal(run("", start, &r), ERR_NOT_FOUND);
    assert_string_equal(r.reason, "the program cannot be executed: No such file or directory");
    start = plain();
    start.cwd = "/no/such";
    assert_int_equal(run("", start, &r), ERR_NOT_FOUND);
    assert_string_equal(r.reason, "its directory cannot be entered: No such file or directory");
    start = plain();
    start.cgroup = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_not_equal(run("", start, &r), ERR_OK);
    assert_non_null(strstr(r.reason, "its cgroup cannot be entered"));
    close(start.cgroup);
    assert_int_equal(child_next_ended(), 0);
}

static void test_user(void **state)
{
    struct child_start start = plain();
    struct child_user user;
    struct run r;
    (void)state;
    assert_int_equal(child_find_user("no-such-user", &user), ERR_NOT_FOUND);
    if (geteuid() != 0) {
        assert_int_equal(child_find_user("root", &user), ERR_ACCESS);
        return;
    }
    assert_int_equal(child_find_user("daemon", &user), ERR_OK);
    start.user = &user;
    start.cwd = "/";
    assert_int_equal(run("id -un; id -Gn; grep NoNewPrivs /proc/self/status", start, &r), ERR_OK);
    assert_string_equal(r.text, "daemon\ndaemon\nNoNewPrivs:\t1\n");
}

static void make(const char *name, unsigned mode)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", home, name);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    chmod(path, mode);
}

static void test_find_program(void **state)
{
    char path[PATH_MAX], dirs[256], expected[128];
    (void)state;
    make("tool", 0755);
    make("text", 0644);
    snprintf(dirs, sizeof(dirs), "::/no/such:%s:/bin", home);
    snprintf(expected, sizeof(expected), "%s/tool", home);
    assert_int_equal(child_find_program(STR("tool"), str_of(dirs), "/", path), ERR_OK);
    assert_string_equal(path, expected);
    assert_int_equal(child_find_program(STR("./tool"), STR(""), home, path), ERR_OK);
    assert_string_equal(path, expected);
    assert_int_equal(child_find_program(STR("tool"), STR("/bin"), home, path), ERR_NOT_FOUND);
    assert_int_equal(child_find_program(STR("text"), str_of(dirs), "/", path), ERR_ACCESS);
    assert_int_equal(child_find_program(STR("/tmp"), str_of(dirs), "/", path), ERR_ACCESS);
    assert_int_equal(child_find_program(STR("/bin/sh"), STR(""), "/", path), ERR_OK);
    char name[PATH_MAX + 1];
    memset(name, 'a', sizeof(name));
    name[0] = '/';
    assert_int_equal(child_find_program(str_make(name, sizeof(name)), STR(""), "/", path),
                     ERR_LIMIT);
}

/* A session has more than one process, and one that left its group. */
static void test_session(void **state)
{
    struct run r;
    char *env[] = {(char *)"PATH=/usr/bin:/bin", NULL};
    const char *const argv[] = {"sh", "-c", "sleep 100 & set -m; sleep 100 & echo; wait", NULL};
    int ends[2], code;
    (void)state;
    assert_int_equal(child_pipe(ends), ERR_OK);
    struct child_start start = plain();
    start.program = "/bin/sh";
    start.argv = (char *const *)(uintptr_t)argv;
    start.env = env;
    start.cwd = "/";
    start.output = start.errors = ends[1];
    assert_int_equal(child_spawn(&start, &r.pid, r.reason, sizeof(r.reason)), ERR_OK);
    close(ends[1]);
    fcntl(ends[0], F_SETFL, 0);
    assert_int_equal(read(ends[0], r.text, 1), 1);
    uint64_t bytes = 0;
    child_session_memory(&r.pid, 1, &bytes);
    assert_true(bytes > 100000 && bytes < 100000000);
    child_signal_session(r.pid, SIGKILL);
    child_collect(r.pid, &code, r.how, sizeof(r.how));
    assert_string_equal(r.how, "was killed by SIGKILL");
    /* Its pipe ends when all of them have. */
    while (read(ends[0], r.text, sizeof(r.text)) > 0) {
    }
    close(ends[0]);
}

static void test_others(void **state)
{
    struct child_start start = plain();
    const char *const argv[] = {"sleep", "100", NULL};
    char *env[] = {NULL};
    char reason[128];
    pid_t pids[2];
    int code;
    (void)state;
    start.program = "/bin/sleep";
    start.argv = (char *const *)(uintptr_t)argv;
    start.env = env;
    start.cwd = "/";
    start.output = start.errors = 2;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(child_spawn(&start, &pids[i], reason, sizeof(reason)), ERR_OK);
    }
    child_kill_others(&pids[1], 1);
    assert_int_not_equal(kill(pids[0], 0), 0);
    assert_int_equal(kill(pids[1], 0), 0);
    child_signal(pids[1], SIGTERM);
    child_collect(pids[1], &code, reason, sizeof(reason));
    assert_string_equal(reason, "was killed by SIGTERM");
}

static void test_port(void **state)
{
    uint16_t port = 0;
    (void)state;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(child_free_port(&port), ERR_OK);
        assert_in_range(port, 10000, 31999);
    }
}

static int listen_at(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(strlen(path) < sizeof(a.sun_path));
    memcpy(a.sun_path, path, strlen(path));
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void test_socket_files(void **state)
{
    char one[128], two[128], link[128];
    struct stat before, after;
    (void)state;
    snprintf(one, sizeof(one), "%s/one", home);
    snprintf(two, sizeof(two), "%s/two", home);
    snprintf(link, sizeof(link), "%s/link", home);
    int fd = listen_at(one);
    assert_int_equal(child_open_socket_to_all(one), ERR_OK);
    assert_int_equal(stat(one, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0666);
    assert_int_equal(child_link_socket(one, two), ERR_OK);
    assert_int_equal(child_link_socket(one, two), ERR_OK);
    assert_int_equal(stat(two, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    /* A program may put a link where its socket should be. */
    make("secret", 0600);
    snprintf(two, sizeof(two), "%s/secret", home);
    assert_int_equal(symlink(two, link), 0);
    assert_int_equal(child_open_socket_to_all(link), ERR_ACCESS);
    assert_int_equal(child_open_socket_to_all(two), ERR_ACCESS);
    assert_int_equal(stat(two, &after), 0);
    assert_int_equal(after.st_mode & 0777, 0600);
    assert_int_equal(child_open_socket_to_all("/no/such"), ERR_NOT_FOUND);
    close(fd);
}

static void test_directory(void **state)
{
    char path[128];
    struct stat facts;
    (void)state;
    snprintf(path, sizeof(path), "%s/d", home);
    assert_int_equal(child_make_directory(path, NULL, getegid()), ERR_OK);
    assert_int_equal(child_make_directory(path, NULL, getegid()), ERR_OK);
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 0007, 0);
    snprintf(path, sizeof(path), "%s/l", home);
    assert_int_equal(symlink("/tmp", path), 0);
    assert_int_not_equal(child_make_directory(path, NULL, getegid()), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_it_gets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_socket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cannot_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_user, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_find_program, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_session, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_socket_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_directory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
