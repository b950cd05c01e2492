/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/runner.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/cgroup.h"
#include "os/child.h"
#include "os/clock.h"
#include "runner/check.h"
#include "runner/runner_int.h"

#define TICK_MS 1000u
#define TICK_MS_WATCHING 200u /* where nobody else holds the memory of a program */
#define MEASURED_MAX 512

#define GROUP_OF(at) CONTAINER_OF(at, struct group, link)
#define INSTANCE_OF(at) CONTAINER_OF(at, struct instance, link)

void runner_changed(struct runner *r)
{
    loop_defer(r->options.loop, &r->change);
}

static void runner_on_change(struct loop_task *t)
{
    struct runner *r = CONTAINER_OF(t, struct runner, change);
    r->options.on_change(r->options.context);
    if (r->is_ending && list_is_empty(&r->groups)) {
        r->options.on_stopped(r->options.context);
    }
}

/* ---- memory ---- */

struct runner_measure {
    struct instance *instances[MEASURED_MAX];
    pid_t pids[MEASURED_MAX];
    uint64_t bytes[MEASURED_MAX];
    size_t count;
    bool is_watching;
};

static void runner_list(const struct runner *r, struct runner_measure *m)
{
    LIST_FOR_EACH(group, &r->groups)
    {
        LIST_FOR_EACH(at, &GROUP_OF(group)->instances)
        {
            struct instance *i = INSTANCE_OF(at);
            if (i->pid && m->count < MEASURED_MAX) {
                m->instances[m->count] = i;
                m->pids[m->count++] = i->pid;
                m->is_watching |= i->spec->limits.memory_bytes && !i->cgroup[0];
            }
        }
    }
}

static void runner_watch_memory(struct instance *i)
{
    uint64_t max = i->spec->limits.memory_bytes;
    if (max == 0 || i->cgroup[0] || i->memory_bytes <= max || i->is_over_memory) {
        return;
    }
    i->is_over_memory = true;
    INSTANCE_LOG(i, LOG_LEVEL_ERROR, "a program uses too much memory and is killed",
                 log_u64("pid", (uint64_t)i->pid), log_u64("bytes", i->memory_bytes),
                 log_u64("bytes_max", max));
    instance_kill(i);
}

/* Whether it is worth telling. */
static bool runner_is_other(uint64_t before, uint64_t now)
{
    uint64_t difference = before > now ? before - now : now - before;
    return difference > before / 16;
}

static void runner_on_tick(struct timer *t)
{
    struct runner *r = CONTAINER_OF(t, struct runner, tick);
    static struct runner_measure m;
    m.count = 0;
    m.is_watching = false;
    runner_list(r, &m);
    if (m.count) {
        child_session_memory(m.pids, m.count, m.bytes);
    }
    for (size_t k = 0; k < m.count; k++) {
        struct instance *i = m.instances[k];
        uint64_t bytes = i->cgroup[0] ? cgroup_memory(r->cgroup_base, i->cgroup) : m.bytes[k];
        bool has_dropped = i->budget.dropped_count != i->budget.told_count;
        if (runner_is_other(i->memory_bytes, bytes) || has_dropped) {
            runner_changed(r);
        }
        i->memory_bytes = bytes;
        capture_tell_dropped(&i->outputs[0], false);
        runner_watch_memory(i);
    }
    loop_timer_set(r->options.loop, t,
                   loop_now_ms(r->options.loop) + (m.is_watching ? TICK_MS_WATCHING : TICK_MS));
}

/* ---- making ---- */

enum err runner_create(const struct runner_options *options, struct runner **ret_runner)
{
    struct runner *r = mem_zalloc(1, sizeof(*r));
    if (!r) {
        return ERR_NOMEM;
    }
    r->options = *options;
    r->epoch = clock_wall_ns();
    list_init(&r->groups);
    timer_init(&r->tick, runner_on_tick);
    loop_task_init(&r->change, runner_on_change);
    /* By the supervisor, so that a runner finds what one before it left behind. */
    snprintf(r->cgroup_prefix, sizeof(r->cgroup_prefix), "run.%d.", (int)getppid());
    const char *fault = NULL;
    enum err e = cgroup_find(options->cgroup_root, options->cgroup_own, r->cgroup_base, &fault);
    r->cgroup_fault = e ? fault : NULL;
    if (!e && !options->goes_on) {
        cgroup_remove_all(r->cgroup_base, r->cgroup_prefix);
    }
    LOG(options->log, LOG_LEVEL_INFO, "programs are limited",
        log_str("by",
                r->cgroup_fault ? STR("rlimits, and by watching their memory") : STR("cgroups")),
        log_str("because", str_of(r->cgroup_fault ? r->cgroup_fault : "they are writable")));
    loop_timer_set(options->loop, &r->tick, loop_now_ms(options->loop) + TICK_MS);
    *ret_runner = r;
    return ERR_OK;
}

void runner_destroy(struct runner *r)
{
    if (!r) {
        return;
    }
    LIST_FOR_EACH_SAFE(group, spare, &r->groups)
    {
        struct group *g = GROUP_OF(group);
        LIST_FOR_EACH_SAFE(at, next, &g->instances)
        {
            struct instance *i = INSTANCE_OF(at);
            i->is_retired = true;
            if (i->pid) {
                instance_on_exit(i); /* kills it, waits for its end, and ends the instance */
            } else {
                instance_destroy(i);
            }
        }
    }
    LIST_FOR_EACH_SAFE(group, spare, &r->groups)
    {
        group_destroy(GROUP_OF(group));
    }
    timer_cancel(&r->tick);
    loop_task_cancel(&r->change);
    mem_free(r);
}

/* ---- what is wanted ---- */

static struct group *runner_find(const struct runner *r, struct str name)
{
    LIST_FOR_EACH(at, &r->groups)
    {
        if (str_eq(GROUP_OF(at)->spec->name, name)) {
            return GROUP_OF(at);
        }
    }
    return NULL;
}

struct runner_application {
    struct runner *runner;
    uint64_t drain_ms;
};

static enum err runner_apply_process(void *context, const struct process_settings *p)
{
    const struct runner_application *a = context;
    struct group *g = runner_find(a->runner, p->name);
    struct spec *spec;
    enum err e = spec_create(p, a->drain_ms, &spec);
    if (e) {
        return e;
    }
    if (!g) {
        e = group_create(a->runner, spec_ref(spec), &g);
    }
    if (e) {
        spec_unref(spec);
        return e;
    }
    g->is_named = true;
    return group_apply(g, spec);
}

enum err runner_apply(struct runner *r, const struct settings *s)
{
    struct runner_application a = {.runner = r, .drain_ms = (uint64_t)s->server.timeouts.drain_ms};
    r->drain_ms = a.drain_ms;
    LIST_FOR_EACH(at, &r->groups)
    {
        GROUP_OF(at)->is_named = false;
    }
    enum err e = runner_each_process(s, runner_apply_process, &a);
    LIST_FOR_EACH_SAFE(at, spare, &r->groups)
    {
        struct group *g = GROUP_OF(at);
        if (!g->is_named && !e) {
            group_remove(g);
            group_settle(g);
        }
    }
    runner_changed(r);
    return e;
}

enum err runner_restart(struct runner *r, struct str process)
{
    struct group *g = runner_find(r, process);
    if (!g || g->is_removed || r->is_ending) {
        return ERR_NOT_FOUND;
    }
    g->is_asked = !g->is_rolling || g->is_asked;
    return group_roll(g);
}

static void runner_each(struct runner *r, void (*fn)(struct instance *i, uint64_t value),
                        uint64_t value)
{
    LIST_FOR_EACH_SAFE(group, spare, &r->groups)
    {
        struct group *g = GROUP_OF(group);
        LIST_FOR_EACH_SAFE(at, next, &g->instances)
        {
            fn(INSTANCE_OF(at), value);
        }
    }
}

static void runner_tell_idle(struct instance *i, uint64_t id)
{
    if (i->id == id) {
        instance_idle(i);
    }
}

void runner_idle(struct runner *r, uint64_t id)
{
    runner_each(r, runner_tell_idle, id);
}

void runner_edge_changed(struct runner *r)
{
    r->hold_until_ms = loop_now_ms(r->options.loop) + r->drain_ms;
}

/* One at a time, and looked for anew: what ends one may end another. */
void runner_reap(struct runner *r)
{
    for (pid_t pid = child_next_ended(); pid > 0; pid = child_next_ended()) {
        struct instance *found = NULL;
        LIST_FOR_EACH(group, &r->groups)
        {
            LIST_FOR_EACH(at, &GROUP_OF(group)->instances)
            {
                found = INSTANCE_OF(at)->pid == pid ? INSTANCE_OF(at) : found;
            }
        }
        if (found) {
            instance_on_exit(found);
        } else {
            int code;
            char how[64];
            child_collect(pid, &code, how, sizeof(how)); /* what a program left behind */
        }
    }
}

static void runner_retire(struct instance *i, uint64_t is_now)
{
    instance_retire(i, is_now != 0);
}

static void runner_end(struct runner *r, bool is_now)
{
    r->is_ending = true;
    runner_each(r, runner_retire, is_now);
    LIST_FOR_EACH_SAFE(at, spare, &r->groups)
    {
        GROUP_OF(at)->is_rolling = false;
        group_settle(GROUP_OF(at));
    }
    runner_changed(r);
}

void runner_finish(struct runner *r)
{
    runner_end(r, false);
}

void runner_stop(struct runner *r)
{
    runner_end(r, true);
}

/* ---- telling ---- */

static void runner_report_instance(const struct instance *i, struct buf *out)
{
    const struct report_instance item = {
        .process = i->spec->name,
        .address = str_of(i->address),
        .fault = str_of(i->fault),
        .id = i->id,
        .number = i->number,
        .pid = (uint64_t)i->pid,
        /* One that shall take over is not asked before all are ready. */
        .state = i->is_new && i->state == INSTANCE_READY ? INSTANCE_STARTING : i->state,
        .restart_count = i->restart_count,
        .since_s = i->since_s,
        .memory_bytes = i->memory_bytes,
        .dropped_lines = i->budget.dropped_count,
    };
    report_add_instance(out, &item);
}

void runner_report(const struct runner *r, struct buf *out)
{
    LIST_FOR_EACH(group, &r->groups)
    {
        const struct group *g = GROUP_OF(group);
        uint64_t dropped_lines = g->dropped_lines;
        LIST_FOR_EACH(at, &g->instances)
        {
            dropped_lines += INSTANCE_OF(at)->budget.dropped_count;
        }
        const struct report_process item = {
            .dropped_lines = dropped_lines,
            .name = g->spec->name,
            .epoch = r->epoch,
            .fault = str_of(g->fault),
            .roll_count = g->roll_count,
            .roll_failure_count = g->roll_failure_count,
            .restart_count = g->restart_count,
        };
        report_add_process(out, &item);
        LIST_FOR_EACH(at, &g->instances)
        {
            runner_report_instance(INSTANCE_OF(at), out);
        }
    }
}
