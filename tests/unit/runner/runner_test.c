/* SPDX-License-Identifier: Apache-2.0 */
/* The life of programs, with the loop and the children of this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "os/child.h"
#include "rig.h"

/* Listens until it is told to end. */
#define SERVE "[/usr/bin/python3, -m, http.server, --bind, $HOST, $PORT]"
#define PROCESS(more) "{command: " SERVE ", cwd: /tmp, user: nobody" more "}"

#define HEAD_BYTES 32 /* of what is saved, before the first process */

static uint64_t id_before;

static bool is_ready(const struct rig *r)
{
    return r->report.instance_count == 1 && rig_instance(r, INSTANCE_READY);
}

static bool is_other_ready(const struct rig *r)
{
    return is_ready(r) && rig_instance(r, INSTANCE_READY)->id != id_before;
}

static bool is_draining(const struct rig *r)
{
    return rig_instance(r, INSTANCE_DRAINING) != NULL;
}

static bool is_waiting(const struct rig *r)
{
    return rig_instance(r, INSTANCE_WAITING) != NULL;
}

static bool has_ended(const struct rig *r)
{
    return rig_instance(r, INSTANCE_ENDED) != NULL;
}

static bool has_restarted(const struct rig *r)
{
    return is_ready(r) && r->report.instances[0].restart_count == 1;
}

static bool are_three_ready(const struct rig *r)
{
    unsigned n = 0;
    for (size_t i = 0; i < r->report.instance_count; i++) {
        n += r->report.instances[i].state == INSTANCE_READY;
    }
    return n == 3;
}

static bool has_none(const struct rig *r)
{
    return r->report.instance_count == 0 && r->is_stopped;
}

static bool has_failed_roll(const struct rig *r)
{
    return r->report.process_count && r->report.processes[0].roll_failure_count > 0;
}

static bool is_alive(uint64_t pid)
{
    return kill((pid_t)pid, 0) == 0;
}

static uint64_t begin(struct rig *r)
{
    rig_init(r);
    rig_apply(r, PROCESS(""));
    rig_wait(r, is_ready, "ready instance");
    id_before = r->report.instances[0].id;
    return r->report.instances[0].pid;
}

static void test_stop(void **state)
{
    struct rig r;
    (void)state;
    uint64_t pid = begin(&r);
    assert_true(is_alive(pid));
    runner_stop(r.runner);
    rig_wait(&r, has_none, "end");
    assert_false(is_alive(pid));
    rig_done(&r);
}

static void test_destroy_kills(void **state)
{
    struct rig r;
    (void)state;
    uint64_t pid = begin(&r);
    rig_done(&r);
    assert_false(is_alive(pid));
}

static void test_restart_after_death(void **state)
{
    struct rig r;
    (void)state;
    uint64_t pid = begin(&r);
    kill((pid_t)pid, SIGKILL);
    rig_wait(&r, has_restarted, "restarted instance");
    assert_int_equal(r.report.instances[0].id, id_before);
    assert_int_not_equal(r.report.instances[0].pid, pid);
    assert_int_equal(r.report.processes[0].restart_count, 1);
    rig_done(&r);
}

static void test_roll_waits_for_idle(void **state)
{
    struct rig r;
    (void)state;
    uint64_t pid = begin(&r);
    assert_int_equal(runner_restart(r.runner, STR("nobody")), ERR_NOT_FOUND);
    assert_int_equal(runner_restart(r.runner, STR("app.test")), ERR_OK);
    rig_wait(&r, is_draining, "draining instance");
    assert_int_equal(rig_instance(&r, INSTANCE_DRAINING)->id, id_before);
    assert_non_null(rig_instance(&r, INSTANCE_READY));
    assert_true(is_alive(pid));
    runner_idle(r.runner, 12345);
    runner_idle(r.runner, id_before);
    rig_wait(&r, is_other_ready, "other instance alone");
    assert_false(is_alive(pid));
    assert_int_equal(r.report.processes[0].roll_count, 1);
    /* Nobody says that the next one is idle: its time runs out. */
    id_before = r.report.instances[0].id;
    assert_int_equal(runner_restart(r.runner, STR("app.test")), ERR_OK);
    rig_wait(&r, is_other_ready, "other instance alone");
    rig_done(&r);
}

static void test_settings_change(void **state)
{
    struct rig r;
    (void)state;
    uint64_t pid = begin(&r);
    rig_apply(&r, PROCESS(", stop: 1s, ready: {timeout: 9s}"));
    rig_turn(&r);
    assert_int_equal(r.report.instances[0].pid, pid);
    rig_apply(&r, PROCESS(", instances: 3"));
    rig_wait(&r, are_three_ready, "three instances");
    rig_apply(&r, PROCESS(", instances: 1"));
    rig_wait(&r, is_ready, "one instance");
    assert_int_equal(r.report.instances[0].pid, pid);
    rig_apply(&r, PROCESS(", env: {A: b}"));
    rig_wait(&r, is_other_ready, "instance with other settings");
    assert_false(is_alive(pid));
    rig_done(&r);
}

/* What cannot start leaves alone what runs, and goes when the settings are as before. */
static void test_bad_settings(void **state)
{
    struct rig r;
    (void)state;
    uint64_t pid = begin(&r);
    rig_apply(&r, "{command: [/bin/false], user: nobody, cwd: /tmp}");
    rig_wait(&r, has_failed_roll, "failure");
    assert_int_equal(rig_instance(&r, INSTANCE_READY)->pid, pid);
    assert_true(str_eq(r.report.processes[0].fault, STR("it exited with code 1")));
    rig_apply(&r, PROCESS(""));
    rig_wait(&r, is_ready, "old instance alone");
    assert_int_equal(r.report.instances[0].pid, pid);
    rig_done(&r);
}

static void test_failures(void **state)
{
    struct rig r;
    (void)state;
    rig_init(&r);
    rig_apply(&r, "{command: /nonexistent/program, user: nobody}");
    rig_wait(&r, is_waiting, "waiting instance");
    assert_true(
        str_eq(r.report.instances[0].fault, STR("there is no program /nonexistent/program")));
    rig_apply(&r, "{command: [/bin/sh, -c, exit 4], restart: never, cwd: /tmp}");
    rig_wait(&r, has_ended, "ended instance");
    assert_true(str_eq(rig_instance(&r, INSTANCE_ENDED)->fault, STR("it exited with code 4")));
    rig_apply(&r, "{command: [/bin/sh, -c, kill -SEGV $$], restart: never, cwd: /tmp}");
    rig_wait(&r, has_ended, "ended instance");
    rig_done(&r);
}

/* Another program in this process would go on like this. */
static void test_handover(void **state)
{
    struct rig r;
    struct buf saved;
    (void)state;
    uint64_t pid = begin(&r);
    assert_int_equal(runner_restart(r.runner, STR("app.test")), ERR_OK);
    rig_wait(&r, is_draining, "draining instance");
    buf_init(&saved, 0);
    runner_save(r.runner, &saved);
    assert_false(saved.is_failed);
    runner_keep_descriptors(r.runner, true);
    runner_keep_descriptors(r.runner, false);
    /* A cut one is refused, and so is another format. */
    for (size_t n = 0; n < HEAD_BYTES; n++) {
        struct rig other;
        rig_init(&other);
        assert_int_equal(runner_restore(other.runner, str_make(saved.p, n)), ERR_SYNTAX);
        rig_done(&other);
    }
    saved.p[0]++;
    struct rig other;
    rig_init(&other);
    assert_int_equal(runner_restore(other.runner, buf_str(&saved)), ERR_SYNTAX);
    rig_done(&other);
    assert_true(is_alive(pid));
    buf_done(&saved);
    rig_done(&r);
}

/* Whatever allocation fails, no program is left behind and nothing leaks. */
static void test_no_memory(void **state)
{
    struct settings *s = rig_settings("{command: [/bin/sleep, '100'], user: nobody, cwd: /tmp}");
    struct rig r;
    (void)state;
    mem_test_fail_at(0);
    assert_true(rig_try_init(&r));
    assert_int_equal(runner_apply(r.runner, s), ERR_OK);
    rig_turn(&r);
    rig_turn(&r);
    rig_done(&r);
    unsigned long total = mem_test_fail_at(0);
    assert_true(total > 10);
    for (unsigned long n = 1; n <= total; n++) {
        mem_test_fail_at(n);
        if (rig_try_init(&r)) {
            enum err e = runner_apply(r.runner, s);
            assert_true(e == ERR_OK || e == ERR_NOMEM);
            rig_turn(&r);
            rig_turn(&r);
        }
        mem_test_fail_at(0);
        rig_done(&r);
    }
    settings_destroy(s);
    assert_int_equal(child_next_ended(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_destroy_kills),
        cmocka_unit_test(test_restart_after_death),
        cmocka_unit_test(test_roll_waits_for_idle),
        cmocka_unit_test(test_settings_change),
        cmocka_unit_test(test_bad_settings),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_handover),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
