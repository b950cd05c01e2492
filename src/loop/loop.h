/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event loop, run by one thread. A turn: wait for readiness, read the clock once, fire timers,
 * call the watches that are ready, run the tasks deferred in the turn (replies are written here,
 * gathered), then end what was closed. Only loop_post and loop_stop may be called from elsewhere.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "loop/timer.h"
#include "os/poller.h"

struct loop;
struct loop_watch;
struct loop_task;

typedef void (*loop_ready_fn)(struct loop_watch *w, unsigned events);
typedef void (*loop_task_fn)(struct loop_task *t);
typedef void (*loop_message_fn)(void *context, uint64_t value);

/* Interest in one descriptor; embedded in its owner. */
struct loop_watch {
    int fd;
    uint32_t generation;
    unsigned events; /* that are wanted */
    unsigned armed;  /* that the poller has: POLLER_READ may be left there unwanted */
    bool is_active;
    bool is_added; /* known to the poller */
    loop_ready_fn on_ready;
};

/* Something to do once at the end of the turn; embedded in its owner. */
struct loop_task {
    struct list link;
    loop_task_fn run;
};

struct loop_stats {
    uint64_t turns;
    uint64_t busy_ns;    /* time outside of waiting */
    uint64_t lag_max_ns; /* longest turn since the last read */
};

enum err loop_create(enum poller_kind kind, struct loop **ret_loop) MUST_CHECK;

/* The loop must not run. Watches and timers still there are forgotten, not closed. */
void loop_destroy(struct loop *l);

/* Runs turns until loop_stop. */
void loop_run(struct loop *l);

/* One turn that waits at most until `deadline_ns` (loop clock); for tests. True when something
 * happened. */
bool loop_turn(struct loop *l, uint64_t deadline_ns);

/* Ends loop_run after the present turn. Any thread. */
void loop_stop(struct loop *l);

/* Calls `fn(context, value)` on the loop's thread, in the order posted. Any thread. ERR_LIMIT:
 * the mailbox is full. */
enum err loop_post(struct loop *l, loop_message_fn fn, void *context, uint64_t value) MUST_CHECK;

/* Time of this turn. */
uint64_t loop_now_ns(const struct loop *l);
uint64_t loop_now_ms(const struct loop *l);

/* Time right now, for measuring what happens within a turn. */
uint64_t loop_clock_ns(const struct loop *l);

/* Wall-clock seconds of this turn, and a counter that changes with them. */
int64_t loop_wall_s(const struct loop *l);
uint64_t loop_wall_ns(const struct loop *l);

const char *loop_poller_name(const struct loop *l);

/* Reads the figures and resets the maximum. */
struct loop_stats loop_read_stats(struct loop *l);

/* The part of the recent second that this loop was busy, 0 to 1000. */
unsigned loop_load_permille(const struct loop *l);

/* Starts watching `fd`. The watch stays where it is until loop_unwatch. */
enum err loop_watch(struct loop *l, struct loop_watch *w, int fd, unsigned events,
                    loop_ready_fn on_ready) MUST_CHECK;

/* As loop_watch, but asks the kernel for nothing before the first loop_rewatch: for a descriptor
 * that may be done with before anyone has to wait for it. */
enum err loop_watch_later(struct loop *l, struct loop_watch *w, int fd,
                          loop_ready_fn on_ready) MUST_CHECK;

/* Changes the interest; a no-op where it is the same. */
enum err loop_rewatch(struct loop *l, struct loop_watch *w, unsigned events) MUST_CHECK;

/* Ends watching: on_ready will not be called again, not even in this turn. No-op if inactive. */
void loop_unwatch(struct loop *l, struct loop_watch *w);

/* `to`, a copy of `from`, takes its place. */
void loop_watch_move(struct loop *l, struct loop_watch *to, struct loop_watch *from);

/* Ends watching and closes the descriptor, which nobody else may hold. */
void loop_close(struct loop *l, struct loop_watch *w);

void loop_timer_set(struct loop *l, struct timer *t, uint64_t deadline_ms);

void loop_task_init(struct loop_task *t, loop_task_fn run);

/* Runs the task once at the end of this turn; again while queued is a no-op. */
void loop_defer(struct loop *l, struct loop_task *t);

/* As loop_defer, but behind all of those: for freeing memory. */
void loop_defer_end(struct loop *l, struct loop_task *t);

void loop_task_cancel(struct loop_task *t);
