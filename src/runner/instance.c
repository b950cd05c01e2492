/* SPDX-License-Identifier: Apache-2.0 */
/* The life of one instance. What its group makes of it is decided in group.c. */
#include <signal.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/clock.h"
#include "runner/runner_int.h"

#define DOUBLINGS_MAX 20u

static void instance_on_time(struct timer *t);

static uint64_t instance_now_ms(const struct instance *i)
{
    return loop_now_ms(i->group->runner->options.loop);
}

static void instance_timer(struct instance *i, uint64_t after_ms)
{
    struct loop *loop = i->group->runner->options.loop;
    loop_timer_set(loop, &i->timer, loop_now_ms(loop) + after_ms);
}

void instance_set_state(struct instance *i, enum instance_state state)
{
    i->state = state;
    i->since_s = (uint64_t)clock_wall_s();
    runner_changed(i->group->runner);
}

/* ---- ready ---- */

void instance_on_ready(struct instance *i)
{
    timer_cancel(&i->timer);
    if (i->spec->socket == SPEC_OWN) {
        enum err e = child_open_socket_to_all(i->socket);
        if (e) {
            INSTANCE_LOG(i, LOG_LEVEL_WARN, "its socket may be closed to the edge", log_err(e));
        }
    } else if (i->spec->socket_path.n) {
        enum err e = child_link_socket(i->socket, i->spec->socket_path.p);
        if (e) {
            INSTANCE_LOG(i, LOG_LEVEL_WARN, "its socket cannot be put in its place",
                         log_str("path", i->spec->socket_path), log_err(e));
        }
    }
    i->ready_ms = instance_now_ms(i);
    i->fault[0] = '\0';
    instance_set_state(i, INSTANCE_READY);
    INSTANCE_LOG(i, LOG_LEVEL_INFO, "a program is ready", log_u64("pid", (uint64_t)i->pid),
                 log_u64("restarts", i->restart_count));
    group_settle(i->group);
}

static void instance_on_yes(struct probe *p)
{
    instance_on_ready(CONTAINER_OF(p, struct instance, probe));
}

static void instance_not_ready(struct instance *i)
{
    probe_end(&i->probe);
    snprintf(i->fault, sizeof(i->fault), "it was not ready within %llu ms: %s at %s",
             (unsigned long long)i->spec->ready_ms,
             i->probe.fault[0] ? i->probe.fault : "no answer", i->address);
    INSTANCE_LOG(i, LOG_LEVEL_ERROR, "a program does not become ready",
                 log_u64("pid", (uint64_t)i->pid), log_str("reason", str_of(i->fault)));
    instance_stop(i);
}

/* ---- ending ---- */

void instance_kill(struct instance *i)
{
    if (i->cgroup[0]) {
        cgroup_kill(i->group->runner->cgroup_base, i->cgroup);
    }
    child_signal_session(i->pid, SIGKILL);
}

void instance_stop(struct instance *i)
{
    probe_end(&i->probe);
    child_signal(i->pid, SIGTERM);
    instance_set_state(i, INSTANCE_STOPPING);
    instance_timer(i, i->spec->stop_ms);
}

static void instance_stop_late(struct instance *i)
{
    INSTANCE_LOG(i, LOG_LEVEL_WARN, "a program does not end in time and is killed",
                 log_u64("pid", (uint64_t)i->pid), log_u64("after_ms", i->spec->stop_ms));
    instance_kill(i);
}

static void instance_drain(struct instance *i)
{
    i->drain_until_ms = instance_now_ms(i) + i->spec->drain_ms;
    instance_set_state(i, INSTANCE_DRAINING);
    instance_timer(i, i->spec->drain_ms);
}

void instance_idle(struct instance *i)
{
    uint64_t hold_ms = i->group->runner->hold_until_ms, now_ms = instance_now_ms(i);
    if (i->state != INSTANCE_DRAINING) {
        return;
    }
    if (hold_ms > now_ms) {
        uint64_t until_ms = hold_ms < i->drain_until_ms ? hold_ms : i->drain_until_ms;
        instance_timer(i, until_ms > now_ms ? until_ms - now_ms : 0);
    } else {
        instance_stop(i);
    }
}

void instance_retire(struct instance *i, bool is_now)
{
    i->is_retired = true;
    switch (i->state) {
    case INSTANCE_READY:
        if (is_now) {
            instance_stop(i);
        } else {
            instance_drain(i);
        }
        break;
    case INSTANCE_STARTING:
        instance_stop(i);
        break;
    case INSTANCE_DRAINING:
        if (is_now) {
            instance_stop(i);
        }
        break;
    case INSTANCE_STOPPING:
        break;
    case INSTANCE_WAITING:
    case INSTANCE_ENDED:
    case INSTANCE_STATE_COUNT:
        instance_destroy(i);
        break;
    }
}

static uint64_t instance_pause_ms(const struct instance *i)
{
    unsigned doublings = i->failure_count < DOUBLINGS_MAX ? i->failure_count : DOUBLINGS_MAX;
    uint64_t pause_ms = i->spec->backoff_min_ms << doublings;
    return pause_ms < i->spec->backoff_max_ms ? pause_ms : i->spec->backoff_max_ms;
}

void instance_failed(struct instance *i, bool was_error)
{
    struct group *g = i->group;
    bool has_served = i->state == INSTANCE_READY;
    bool is_wanted = i->spec->restart == PROCESS_RESTART_ALWAYS ||
                     (i->spec->restart == PROCESS_RESTART_ON_FAILURE && was_error);
    timer_cancel(&i->timer);
    if (has_served && instance_now_ms(i) - i->ready_ms >= i->spec->backoff_max_ms) {
        i->failure_count = 0;
    }
    if (is_wanted) {
        uint64_t pause_ms = instance_pause_ms(i);
        i->failure_count++;
        instance_set_state(i, INSTANCE_WAITING);
        instance_timer(i, pause_ms);
        INSTANCE_LOG(i, LOG_LEVEL_WARN, "a program starts again after a pause",
                     log_u64("pause_ms", pause_ms));
    } else {
        instance_set_state(i, INSTANCE_ENDED);
    }
    if (!has_served) {
        group_on_failed_start(g, i); /* may end the instance */
    }
    group_settle(g);
}

/* What the limit of memory killed is told from what anybody else did. */
static bool instance_look_at_memory(const struct instance *i)
{
    return i->is_over_memory ||
           (i->cgroup[0] && cgroup_kill_count(i->group->runner->cgroup_base, i->cgroup));
}

static void instance_say_end(struct instance *i, const char *how, bool was_wanted)
{
    bool is_over = instance_look_at_memory(i);
    enum log_level level = was_wanted ? LOG_LEVEL_INFO : LOG_LEVEL_WARN;
    if (!was_wanted && i->state != INSTANCE_STOPPING) {
        snprintf(i->fault, sizeof(i->fault), "it %s%s", how,
                 is_over ? " for using more than its memory" : "");
    }
    INSTANCE_LOG(i, level, "a program ended", log_u64("pid", (uint64_t)i->pid),
                 log_str("how", str_of(how)),
                 log_str("because", str_of(is_over      ? "it used more than its memory"
                                           : was_wanted ? "it was told to"
                                                        : "of itself")));
}

void instance_on_exit(struct instance *i)
{
    struct group *g = i->group;
    int code;
    char how[64];
    /* Whatever it started ends with it; not collected yet, its number is still its own. */
    instance_kill(i);
    child_collect(i->pid, &code, how, sizeof(how));
    for (int k = 0; k < 2; k++) {
        capture_close(&i->outputs[k]);
    }
    probe_end(&i->probe);
    instance_say_end(i, how, i->is_retired);
    if (i->cgroup[0]) {
        cgroup_remove(g->runner->cgroup_base, i->cgroup);
        i->cgroup[0] = '\0';
    }
    i->pid = 0;
    i->memory_bytes = 0;
    if (i->is_retired) {
        instance_destroy(i);
        group_settle(g);
    } else {
        instance_failed(i, code != 0 || i->state == INSTANCE_STOPPING);
    }
}

static void instance_on_time(struct timer *t)
{
    struct instance *i = CONTAINER_OF(t, struct instance, timer);
    switch (i->state) {
    case INSTANCE_STARTING:
        instance_not_ready(i);
        break;
    case INSTANCE_DRAINING:
        if (instance_now_ms(i) >= i->drain_until_ms) {
            INSTANCE_LOG(i, LOG_LEVEL_WARN, "requests at a program take too long and are cut",
                         log_u64("pid", (uint64_t)i->pid));
        }
        instance_stop(i);
        break;
    case INSTANCE_STOPPING:
        instance_stop_late(i);
        break;
    case INSTANCE_WAITING:
        i->restart_count += i->has_started;
        i->group->restart_count += i->has_started;
        instance_start(i);
        break;
    case INSTANCE_READY:
    case INSTANCE_ENDED:
    case INSTANCE_STATE_COUNT:
        break;
    }
}

/* ---- making ---- */

void instance_init_parts(struct instance *i)
{
    const struct runner *r = i->group->runner;
    timer_init(&i->timer, instance_on_time);
    probe_init(&i->probe);
    i->probe.on_yes = instance_on_yes;
    capture_budget_init(&i->budget, loop_now_ms(r->options.loop));
    for (int k = 0; k < 2; k++) {
        i->outputs[k].loop = r->options.loop;
        i->outputs[k].log = r->options.log;
        i->outputs[k].budget = &i->budget;
    }
}

enum err instance_create(struct group *g, unsigned number, bool is_new,
                         struct instance **ret_instance)
{
    struct instance *i = mem_zalloc(1, sizeof(*i));
    if (!i) {
        return ERR_NOMEM;
    }
    i->group = g;
    i->spec = spec_ref(g->spec);
    i->fingerprint = g->spec->fingerprint;
    i->id = ++g->runner->next_id;
    i->number = number;
    i->is_new = is_new;
    i->socket_fd = -1;
    instance_init_parts(i);
    list_push_back(&g->instances, &i->link);
    *ret_instance = i;
    return ERR_OK;
}

void instance_destroy(struct instance *i)
{
    ASSERT(i->pid == 0);
    runner_changed(i->group->runner);
    timer_cancel(&i->timer);
    probe_end(&i->probe);
    for (int k = 0; k < 2; k++) {
        capture_close(&i->outputs[k]);
    }
    instance_forget_place(i);
    i->group->dropped_lines += i->budget.dropped_count;
    list_remove(&i->link);
    spec_unref(i->spec);
    mem_free(i);
}
