/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups in a tree of plain files: what is written where, and what is refused. What the
 * kernel makes of it is its own matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "os/cgroup.h"

static char home[64];

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", home, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void expect(const char *name, const char *text)
{
    char path[256], got[256] = "";
    snprintf(path, sizeof(path), "%s/%s", home, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_true(fread(got, 1, sizeof(got) - 1, f) > 0);
    fclose(f);
    assert_string_equal(got, text);
}

static int set_up(void **state)
{
    char path[128];
    (void)state;
    strcpy(home, "/tmp/sws-cgroup-XXXXXX");
    if (!mkdtemp(home)) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/app", home);
    mkdir(path, 0755);
    put("own", "12:cpu:/other\n0::/app\n");
    put("app/cgroup.controllers", "cpuset cpu io memory pids\n");
    put("app/cgroup.subtree_control", "");
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", home);
    return system(command);
}

static enum err find(char base[PATH_MAX], const char **reason)
{
    char own[128];
    snprintf(own, sizeof(own), "%s/own", home);
    return cgroup_find(home, own, base, reason);
}

static void test_find(void **state)
{
    char base[PATH_MAX], expected[128];
    const char *reason;
    (void)state;
    assert_int_equal(find(base, &reason), ERR_OK);
    snprintf(expected, sizeof(expected), "%s/app", home);
    assert_string_equal(base, expected);
    expect("app/cgroup.subtree_control", "+memory +cpu");
    /* Moved into a group of its own by a runner before. */
    put("own", "0::/app/sws\n");
    assert_int_equal(find(base, &reason), ERR_OK);
    assert_string_equal(base, expected);
}

static void test_nothing_there(void **state)
{
    char base[PATH_MAX];
    const char *reason;
    (void)state;
    put("app/cgroup.controllers", "cpuset io memoryless cpu\n");
    assert_int_equal(find(base, &reason), ERR_UNSUPPORTED);
    assert_string_equal(reason, "the cgroup has no controllers of memory and CPU");
    put("own", "9:memory:/app\n");
    assert_int_equal(find(base, &reason), ERR_UNSUPPORTED);
    assert_string_equal(reason, "there are no cgroups of version 2");
    assert_int_equal(cgroup_find(home, "/no/such", base, &reason), ERR_UNSUPPORTED);
}

static void test_create(void **state)
{
    const struct cgroup_limits limits = {.memory_bytes = 1000000, .cpu_permille = 1500};
    const struct cgroup_limits none = {0};
    char base[PATH_MAX];
    const char *reason;
    int procs;
    (void)state;
    assert_int_equal(find(base, &reason), ERR_OK);
    assert_int_equal(cgroup_create(base, "run.1", &limits, &procs), ERR_OK);
    close(procs);
    expect("app/run.1/memory.max", "1000000");
    expect("app/run.1/memory.oom.group", "1");
    expect("app/run.1/cpu.max", "150000 100000");
    put("app/run.1/memory.current", "4096\n");
    put("app/run.1/memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\n");
    assert_int_equal(cgroup_memory(base, "run.1"), 4096);
    assert_int_equal(cgroup_kill_count(base, "run.1"), 2);
    cgroup_kill(base, "run.1");
    expect("app/run.1/cgroup.kill", "1");
    assert_int_equal(cgroup_memory(base, "run.2"), 0);
    assert_int_equal(cgroup_kill_count(base, "run.2"), 0);
    assert_int_equal(cgroup_create(base, "run.2", &none, &procs), ERR_OK);
    close(procs);
    assert_int_not_equal(cgroup_create("/no/such", "run.3", &none, &procs), ERR_OK);
}

static void test_remove_all(void **state)
{
    char base[PATH_MAX], path[PATH_MAX + 32];
    const char *reason;
    (void)state;
    assert_int_equal(find(base, &reason), ERR_OK);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", base, i ? "run.7.1" : "run.77.1");
        mkdir(path, 0755);
    }
    /* The kernel's directories can be removed with what is in them; here one must be empty. */
    cgroup_remove(base, "run.7.1");
    assert_int_not_equal(access(path, F_OK), 0);
    mkdir(path, 0755);
    cgroup_remove_all(base, "run.7.");
    snprintf(path, sizeof(path), "%s/run.77.1/cgroup.kill", base);
    assert_int_not_equal(access(path, F_OK), 0);
    expect("app/run.7.1/cgroup.kill", "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_find, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_create, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_remove_all, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
