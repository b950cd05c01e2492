/* SPDX-License-Identifier: Apache-2.0 */
/* The same tests on every back end of the poller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "loop/loop.h"
#include "os/clock.h"

static enum poller_kind kind;

struct end {
    struct loop_watch watch;
    struct loop *loop;
    int calls;
    unsigned last;
    char got;
    struct loop_watch *to_unwatch;
};

static void on_end(struct loop_watch *w, unsigned events)
{
    struct end *e = CONTAINER_OF(w, struct end, watch);
    e->calls++;
    e->last = events;
    if (e->got) {
        assert_int_equal(read(w->fd, &e->got, 1), 1);
    }
    if (e->to_unwatch) {
        loop_unwatch(e->loop, e->to_unwatch);
    }
}

static struct loop *make_loop(void)
{
    struct loop *l = NULL;
    assert_int_equal(loop_create(kind, &l), ERR_OK);
    return l;
}

static void soon(struct loop *l)
{
    loop_turn(l, kind == POLLER_KIND_SIM ? 0 : loop_now_ns(l) + 200 * NS_PER_MS);
}

/* Nothing happens for a while, and a back end does not turn without end to find that out. */
static void idle(struct loop *l)
{
    uint64_t end = loop_now_ns(l) + 20 * NS_PER_MS;
    for (int turns = 0; loop_now_ns(l) < end; turns++) {
        assert_true(turns < 20);
        loop_turn(l, end);
    }
}

static void test_ready_until_read(void **state)
{
    struct loop *l = make_loop();
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct end e = {.loop = l};
    assert_int_equal(loop_watch(l, &e.watch, fds[0], POLLER_READ, on_end), ERR_OK);
    loop_turn(l, loop_now_ns(l) + NS_PER_MS);
    assert_int_equal(e.calls, 0);
    assert_int_equal(write(fds[1], "ab", 2), 2);
    soon(l);
    assert_int_equal(e.calls, 1);
    soon(l);
    assert_int_equal(e.calls, 2); /* level-triggered */
    e.got = 1;
    soon(l);
    soon(l);
    assert_int_equal(e.calls, 4);
    e.got = 0;
    loop_turn(l, loop_now_ns(l) + NS_PER_MS);
    assert_int_equal(e.calls, 4);
    assert_int_equal(loop_rewatch(l, &e.watch, POLLER_WRITE), ERR_OK);
    soon(l);
    assert_int_equal(e.calls, 5);
    assert_int_equal(e.last & POLLER_WRITE, POLLER_WRITE);
    assert_int_equal(loop_rewatch(l, &e.watch, 0), ERR_OK);
    loop_turn(l, loop_now_ns(l) + NS_PER_MS);
    assert_int_equal(e.calls, 5);
    assert_int_equal(loop_rewatch(l, &e.watch, POLLER_READ), ERR_OK);
    close(fds[1]);
    soon(l);
    assert_int_equal(e.calls, 6);
    loop_unwatch(l, &e.watch);
    loop_unwatch(l, &e.watch);
    close(fds[0]);
    loop_destroy(l);
}

/* Two are ready in one turn; the first called ends the other, which must not be called. */
static void test_unwatched_is_not_called(void **state)
{
    struct loop *l = make_loop();
    int a[2], b[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
    struct end x = {.loop = l}, y = {.loop = l};
    x.to_unwatch = &y.watch;
    y.to_unwatch = &x.watch;
    assert_int_equal(loop_watch(l, &x.watch, a[0], POLLER_READ, on_end), ERR_OK);
    assert_int_equal(loop_watch(l, &y.watch, b[0], POLLER_READ, on_end), ERR_OK);
    assert_int_equal(write(a[1], "a", 1), 1);
    assert_int_equal(write(b[1], "b", 1), 1);
    soon(l);
    assert_int_equal(x.calls + y.calls, 1);
    loop_unwatch(l, &x.watch);
    loop_unwatch(l, &y.watch);
    /* A descriptor that is used again under the same number gets no event of its predecessor. */
    struct end z = {.loop = l};
    close(a[1]);
    close(a[0]);
    int c[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, c), 0);
    assert_int_equal(loop_watch(l, &z.watch, c[0], POLLER_READ, on_end), ERR_OK);
    loop_turn(l, loop_now_ns(l) + NS_PER_MS);
    assert_int_equal(z.calls, 0);
    loop_unwatch(l, &z.watch);
    close(b[0]);
    close(b[1]);
    close(c[0]);
    close(c[1]);
    loop_destroy(l);
}

/* Both directions in one call, and no trace of the watch once it is ended. */
static void test_read_and_write_come_together(void **state)
{
    struct loop *l = make_loop();
    int fds[2];
    char byte;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct end e = {.loop = l};
    assert_int_equal(loop_watch(l, &e.watch, fds[0], POLLER_READ | POLLER_WRITE, on_end), ERR_OK);
    soon(l);
    assert_int_equal(e.calls, 1);
    assert_int_equal(e.last, POLLER_WRITE);
    assert_int_equal(write(fds[1], "a", 1), 1);
    soon(l);
    assert_int_equal(e.calls, 2);
    assert_int_equal(e.last, POLLER_READ | POLLER_WRITE);
    assert_int_equal(loop_rewatch(l, &e.watch, POLLER_READ), ERR_OK);
    soon(l);
    assert_int_equal(e.calls, 3);
    assert_int_equal(e.last, POLLER_READ);
    loop_unwatch(l, &e.watch);
    loop_turn(l, loop_now_ns(l) + NS_PER_MS);
    assert_int_equal(e.calls, 3);
    /* Nothing holds the descriptor any more: its peer sees the close (here a reset, because a byte
     * was never read). */
    close(fds[0]);
    assert_int_equal(recv(fds[1], &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, ECONNRESET);
    close(fds[1]);
    loop_destroy(l);
}

/* A watch for nothing hears of no byte and of no half-close, but of the hangup, again and again. */
static void test_hangup_is_always_reported(void **state)
{
    struct loop *l = make_loop();
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct end e = {.loop = l};
    assert_int_equal(loop_watch(l, &e.watch, fds[0], 0, on_end), ERR_OK);
    assert_int_equal(write(fds[1], "a", 1), 1);
    idle(l);
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    idle(l);
    assert_int_equal(e.calls, 0);
    assert_int_equal(loop_rewatch(l, &e.watch, POLLER_READ), ERR_OK);
    soon(l);
    assert_int_equal(e.calls, 1);
    assert_int_equal(e.last, POLLER_READ);
    assert_int_equal(loop_rewatch(l, &e.watch, 0), ERR_OK);
    idle(l);
    assert_int_equal(e.calls, 1);
    close(fds[1]);
    for (int calls = 2; calls < 4; calls++) {
        soon(l);
        assert_int_equal(e.calls, calls);
        assert_int_equal(e.last & POLLER_HANGUP, POLLER_HANGUP);
    }
    assert_int_equal(loop_rewatch(l, &e.watch, POLLER_WRITE), ERR_OK);
    soon(l);
    assert_int_equal(e.calls, 4);
    assert_int_equal(e.last & POLLER_HANGUP, POLLER_HANGUP);
    loop_unwatch(l, &e.watch);
    close(fds[0]);
    loop_destroy(l);
}

/* Interest that is lost and comes back between two turns: what came meanwhile is told once it is
 * wanted, not before, and not without end while it is not. */
static void test_interest_comes_and_goes(void **state)
{
    struct loop *l = make_loop();
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct end e = {.loop = l};
    assert_int_equal(loop_watch(l, &e.watch, fds[0], POLLER_READ, on_end), ERR_OK);
    assert_int_equal(loop_rewatch(l, &e.watch, 0), ERR_OK);
    assert_int_equal(write(fds[1], "a", 1), 1);
    assert_int_equal(loop_rewatch(l, &e.watch, POLLER_READ), ERR_OK);
    soon(l);
    assert_int_equal(e.calls, 1);
    assert_int_equal(loop_rewatch(l, &e.watch, 0), ERR_OK);
    idle(l);
    assert_int_equal(e.calls, 1);
    assert_int_equal(loop_rewatch(l, &e.watch, POLLER_WRITE), ERR_OK);
    soon(l);
    assert_int_equal(e.calls, 2);
    assert_int_equal(e.last, POLLER_WRITE);
    assert_int_equal(loop_rewatch(l, &e.watch, POLLER_READ), ERR_OK);
    assert_int_equal(loop_rewatch(l, &e.watch, 0), ERR_OK);
    close(fds[1]); /* with a byte unread: both ways are closed */
    soon(l);
    assert_int_equal(e.calls, 3);
    assert_int_equal(e.last & POLLER_HANGUP, POLLER_HANGUP);
    loop_unwatch(l, &e.watch);
    close(fds[0]);
    loop_destroy(l);
}

/* A peer that sent all it had and reads slowly. */
static void test_write_waits_for_a_half_closed_peer(void **state)
{
    struct loop *l = make_loop();
    int fds[2];
    static char bytes[4096];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct end e = {.loop = l};
    assert_int_equal(loop_watch(l, &e.watch, fds[0], 0, on_end), ERR_OK);
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    while (send(fds[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    assert_int_equal(loop_rewatch(l, &e.watch, POLLER_WRITE), ERR_OK);
    idle(l);
    assert_int_equal(e.calls, 0);
    while (recv(fds[1], bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    for (int calls = 1; calls < 4; calls++) {
        soon(l);
        assert_int_equal(e.calls, calls);
        assert_int_equal(e.last, POLLER_WRITE);
    }
    while (send(fds[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    e.calls = 0;
    idle(l);
    assert_int_equal(e.calls, 0);
    loop_unwatch(l, &e.watch);
    close(fds[0]);
    close(fds[1]);
    loop_destroy(l);
}

struct mail_box {
    struct loop *loop;
    uint64_t sum;
    uint64_t last;
};

static void on_mail(void *context, uint64_t value)
{
    struct mail_box *m = context;
    assert_true(value == m->last + 1);
    m->last = value;
    m->sum += value;
    if (value == 1000) {
        loop_stop(m->loop);
    }
}

static void *post_thread(void *context)
{
    struct mail_box *m = context;
    for (uint64_t i = 1; i <= 1000; i++) {
        while (loop_post(m->loop, on_mail, m, i) == ERR_LIMIT) {
        }
    }
    return NULL;
}

static void test_mail_arrives_in_order(void **state)
{
    struct mail_box m = {.loop = make_loop()};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post_thread, &m), 0);
    loop_run(m.loop);
    pthread_join(thread, NULL);
    assert_true(m.sum == 500500);
    loop_destroy(m.loop);
}

static struct loop *task_loop;
static int task_order[4];
static int task_count;
static struct loop_task task_a, task_b, task_end;

static void run_a(struct loop_task *t)
{
    task_order[task_count++] = 1;
    loop_defer_end(task_loop, &task_end);
    loop_defer(task_loop, &task_b);
}

static void run_b(struct loop_task *t)
{
    task_order[task_count++] = 2;
}

static void run_end(struct loop_task *t)
{
    task_order[task_count++] = 3;
}

static void test_tasks_run_once_and_ends_last(void **state)
{
    task_loop = make_loop();
    task_count = 0;
    loop_task_init(&task_a, run_a);
    loop_task_init(&task_b, run_b);
    loop_task_init(&task_end, run_end);
    loop_defer(task_loop, &task_a);
    loop_defer(task_loop, &task_a);
    loop_turn(task_loop, 0);
    loop_turn(task_loop, 0);
    assert_int_equal(task_count, 3);
    assert_int_equal(task_order[0], 1);
    assert_int_equal(task_order[1], 2);
    assert_int_equal(task_order[2], 3);
    loop_destroy(task_loop);
}

static int timer_calls;

static void on_timer(struct timer *t)
{
    timer_calls++;
}

static void test_timer_wakes_the_loop(void **state)
{
    struct loop *l = make_loop();
    struct timer t;
    timer_calls = 0;
    timer_init(&t, on_timer);
    uint64_t due = loop_now_ms(l) + 30;
    loop_timer_set(l, &t, due);
    for (int i = 0; i < 100 && timer_calls == 0; i++) {
        loop_turn(l, UINT64_MAX);
    }
    assert_int_equal(timer_calls, 1);
    assert_true(loop_now_ms(l) >= due);
    loop_destroy(l);
}

static void test_creation_survives_failed_allocations(void **state)
{
    mem_test_fail_at(0);
    struct loop *l = make_loop();
    unsigned long made = mem_test_fail_at(0);
    loop_destroy(l);
    for (unsigned long n = 1; n <= made; n++) {
        mem_test_fail_at(n);
        struct loop *broken = NULL;
        assert_int_equal(loop_create(kind, &broken), ERR_NOMEM);
        assert_null(broken);
    }
    mem_test_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready_until_read),
        cmocka_unit_test(test_unwatched_is_not_called),
        cmocka_unit_test(test_read_and_write_come_together),
        cmocka_unit_test(test_hangup_is_always_reported),
        cmocka_unit_test(test_interest_comes_and_goes),
        cmocka_unit_test(test_write_waits_for_a_half_closed_peer),
        cmocka_unit_test(test_mail_arrives_in_order),
        cmocka_unit_test(test_tasks_run_once_and_ends_last),
        cmocka_unit_test(test_timer_wakes_the_loop),
        cmocka_unit_test(test_creation_survives_failed_allocations),
    };
    int failed = 0;
#ifdef SWS_NEEDS_KQUEUE
    const enum poller_kind kinds[] = {POLLER_KIND_KQUEUE};
#else
    const enum poller_kind kinds[] = {POLLER_KIND_EPOLL, POLLER_KIND_URING, POLLER_KIND_KQUEUE,
                                      POLLER_KIND_SIM};
#endif
    for (unsigned i = 0; i < COUNT_OF(kinds); i++) {
        struct poller *p = NULL;
        kind = kinds[i];
        if (poller_create(kind, &p) != ERR_OK) {
#ifdef SWS_NEEDS_KQUEUE
            return 1;
#endif
            printf("skipped: this kernel or build has no back end %u\n", i);
            continue;
        }
        printf("back end %s\n", poller_name(p));
        poller_destroy(p);
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
