/* SPDX-License-Identifier: Apache-2.0 */
/* How the edge hears where the instances of processes are, and tells when one is needed no more. */
#include <stdio.h>

#include "app/edge_int.h"
#include "base/assert.h"
#include "base/mem.h"
#include "edge/endpoint.h"
#include "edge/upstream.h"
#include "log/escape.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"
#include "runner/report.h"

#define DRAIN_LOOK_MS 20u
#define ROUND_MS_MAX 1000u
#define DRAIN_UPSTREAMS_MAX 4
#define DRAINS_MAX 128
#define WAITERS_MAX 16

/* An instance that gets no new requests. */
struct runner_drain {
    uint64_t id;
    uint64_t round; /* of the turn round all loops behind which nobody can choose it any more */
    struct endpoint *endpoints[DRAIN_UPSTREAMS_MAX];
    unsigned endpoint_count;
};

/* Who asked for a restart. */
struct runner_waiter {
    struct exchange *exchange;
    char process[256];
    uint64_t epoch;
    uint64_t rolls;
    uint64_t failures;
};

struct edge_runner {
    struct edge *edge;
    struct arena arena; /* of the report in force */
    struct buf bytes;
    struct report report;
    struct timer look;
    struct runner_drain drains[DRAINS_MAX];
    unsigned drain_count;
    uint64_t round; /* the last one that is wanted */
    uint64_t passed;
    uint64_t under_way;
    uint64_t began_ms;
    unsigned loops_left; /* of the round under way; 0: none is */
    struct runner_waiter waiters[WAITERS_MAX];
    unsigned waiter_count;
    bool is_wanted; /* what the supervisor was told last */
    bool has_told;
};

static void runner_tell(struct edge *e, const struct control_message *m, int fd)
{
    if (control_send(PROCESS_CHANNEL_FD, m, fd) != ERR_OK) {
        LOG(e->log, LOG_LEVEL_ERROR, "the supervisor does not answer", log_u64("kind", m->kind));
    }
}

/* ---- what drains ---- */

static void runner_begin_round(struct edge_runner *r);

static void runner_on_round(void *edge, uint64_t round)
{
    struct edge_runner *r = ((struct edge *)edge)->runner;
    if (round == r->under_way && --r->loops_left == 0) {
        r->passed = round;
        if (r->round > round) {
            runner_begin_round(r);
        }
    }
}

/* On the loop of a worker: whatever it chooses from here on, it chooses from the new lists. */
static void runner_pass(void *worker, uint64_t round)
{
    struct worker *w = worker;
    enum err e = loop_post(w->edge->loop, runner_on_round, w->edge, round);
    (void)e; /* a full mailbox: the round begins again */
}

static void runner_begin_round(struct edge_runner *r)
{
    struct edge *e = r->edge;
    r->under_way = r->round;
    r->began_ms = loop_now_ms(e->loop);
    r->loops_left = e->worker_count;
    for (unsigned i = 0; i < e->worker_count; i++) {
        enum err err = loop_post(e->workers[i].loop, runner_pass, &e->workers[i], r->round);
        (void)err; /* likewise */
    }
}

static void runner_end_drain(struct edge_runner *r, unsigned index)
{
    struct runner_drain *d = &r->drains[index];
    for (unsigned i = 0; i < d->endpoint_count; i++) {
        endpoint_unref(d->endpoints[i]);
    }
    *d = r->drains[--r->drain_count];
}

static bool runner_is_idle(const struct runner_drain *d, uint64_t now_ms)
{
    unsigned in_flight = 0;
    for (unsigned i = 0; i < d->endpoint_count; i++) {
        struct balance_endpoint now;
        endpoint_look(d->endpoints[i], now_ms, &now);
        in_flight += now.in_flight;
    }
    return in_flight == 0;
}

static void runner_on_look(struct timer *t)
{
    struct edge_runner *r = CONTAINER_OF(t, struct edge_runner, look);
    uint64_t now_ms = loop_now_ms(r->edge->loop);
    for (unsigned i = 0; i < r->drain_count;) {
        const struct runner_drain *d = &r->drains[i];
        if (d->round <= r->passed && runner_is_idle(d, now_ms)) {
            const struct control_message m = {
                .kind = CONTROL_IDLE, .count = (uint32_t)d->id, .fd = -1};
            runner_tell(r->edge, &m, -1);
            runner_end_drain(r, i);
        } else {
            i++;
        }
    }
    if (r->loops_left && now_ms - r->began_ms > ROUND_MS_MAX) {
        r->round++;
        runner_begin_round(r);
    }
    if (r->drain_count) {
        loop_timer_set(r->edge->loop, t, now_ms + DRAIN_LOOK_MS);
    }
}

static struct runner_drain *runner_find_drain(struct edge_runner *r, uint64_t id)
{
    for (unsigned i = 0; i < r->drain_count; i++) {
        if (r->drains[i].id == id) {
            return &r->drains[i];
        }
    }
    return NULL;
}

/* Those that are gone, and those that drain from here on; before the new lists are published. */
static void runner_note_drains(struct edge_runner *r)
{
    for (unsigned i = 0; i < r->drain_count;) {
        bool is_there = false;
        for (size_t k = 0; k < r->report.instance_count && !is_there; k++) {
            is_there = r->report.instances[k].id == r->drains[i].id &&
                       r->report.instances[k].state == INSTANCE_DRAINING;
        }
        if (is_there) {
            i++;
        } else {
            runner_end_drain(r, i);
        }
    }
    for (size_t k = 0; k < r->report.instance_count && r->drain_count < DRAINS_MAX; k++) {
        const struct report_instance *i = &r->report.instances[k];
        if (i->state == INSTANCE_DRAINING && !runner_find_drain(r, i->id)) {
            r->drains[r->drain_count++] = (struct runner_drain){.id = i->id, .round = r->round + 1};
        }
    }
}

/* ---- the lists ---- */

static void runner_hold_endpoint(struct edge_runner *r, const struct upstream *u,
                                 const struct report_instance *i)
{
    struct runner_drain *d = runner_find_drain(r, i->id);
    const struct upstream_endpoint *endpoint = members_find(upstream_members(u), i->address);
    if (d && endpoint && d->endpoint_count < DRAIN_UPSTREAMS_MAX) {
        d->endpoints[d->endpoint_count++] = endpoint_ref(endpoint->state);
    }
}

static bool runner_is_same_list(const struct members *now, const struct member *list, size_t count)
{
    bool is_same = now->count == count;
    for (size_t i = 0; i < count && is_same; i++) {
        is_same = str_eq(now->items[i].name, list[i].name);
    }
    return is_same;
}

static void runner_publish(struct edge_runner *r, const struct upstream *u)
{
    struct member list[BACKEND_ENDPOINTS_MAX];
    struct str name = upstream_settings(u)->process.name;
    struct fault fault;
    size_t count = 0;
    for (size_t k = 0; k < r->report.instance_count; k++) {
        const struct report_instance *i = &r->report.instances[k];
        if (!str_eq(i->process, name)) {
            continue;
        }
        if (i->state == INSTANCE_DRAINING) {
            runner_hold_endpoint(r, u, i);
        } else if (i->state == INSTANCE_READY && count < BACKEND_ENDPOINTS_MAX) {
            list[count++] = (struct member){.name = i->address, .url = i->address, .weight = 1};
        }
    }
    if (runner_is_same_list(upstream_members(u), list, count)) {
        return;
    }
    enum err e = upstream_publish(u, list, count, &fault);
    if (e) {
        LOG(r->edge->log, LOG_LEVEL_ERROR, "the instances of a process cannot be taken over",
            log_str("process", name),
            log_str("reason", str_of(e == ERR_CONFIG ? fault.text : err_text(e))));
    }
}

void edge_apply_report(struct edge *e)
{
    struct edge_runner *r = e->runner;
    unsigned before = r->drain_count;
    uint64_t round = r->round;
    runner_note_drains(r);
    for (size_t i = 0; i < e->site->upstream_count; i++) {
        if (upstream_settings(e->site->upstreams[i])->process.is_on) {
            runner_publish(r, e->site->upstreams[i]);
        }
    }
    for (unsigned i = 0; i < r->drain_count; i++) {
        if (r->drains[i].round > round) {
            r->round = round + 1;
        }
    }
    if (r->round > round && r->loops_left == 0) {
        runner_begin_round(r);
    }
    if (r->drain_count && (!before || !timer_is_set(&r->look))) {
        loop_timer_set(e->loop, &r->look, loop_now_ms(e->loop) + DRAIN_LOOK_MS);
    }
}

/* ---- restarts that somebody waits for ---- */

static const struct report_process *runner_find_process(const struct edge_runner *r,
                                                        struct str name)
{
    for (size_t i = 0; i < r->report.process_count; i++) {
        if (str_eq(r->report.processes[i].name, name)) {
            return &r->report.processes[i];
        }
    }
    return NULL;
}

static void runner_answer_waiters(struct edge_runner *r)
{
    for (unsigned i = 0; i < r->waiter_count;) {
        const struct runner_waiter w = r->waiters[i];
        const struct report_process *p = runner_find_process(r, str_of(w.process));
        char text[512];
        bool is_same = p && p->epoch == w.epoch;
        bool is_done = is_same && p->roll_count > w.rolls;
        if (is_same && !is_done && p->roll_failure_count <= w.failures) {
            i++;
            continue;
        }
        struct str fault = is_same ? p->fault
                           : p     ? STR("the runner of programs ended")
                                   : STR("there is no such process any more");
        snprintf(text, sizeof(text),
                 is_done ? "the new instances serve" : "not restarted: " STR_FMT, STR_ARG(fault));
        r->waiters[i] = r->waiters[--r->waiter_count];
        admin_say(w.exchange, is_done ? 200 : 422, text);
    }
}

void edge_runner_forget(struct edge *e, const struct exchange *x)
{
    struct edge_runner *r = e->runner;
    for (unsigned i = 0; i < r->waiter_count; i++) {
        if (r->waiters[i].exchange == x) {
            r->waiters[i] = r->waiters[--r->waiter_count];
            return;
        }
    }
}

void edge_runner_drain(struct edge *e)
{
    struct edge_runner *r = e->runner;
    while (r->waiter_count) {
        admin_say(r->waiters[--r->waiter_count].exchange, 503, "this process is draining");
    }
}

bool edge_restart_process(struct edge *e, struct str name, struct exchange *x,
                          const char **ret_fault)
{
    struct edge_runner *r = e->runner;
    const struct control_message m = {.kind = CONTROL_RESTART, .fd = -1};
    const struct report_process *p = runner_find_process(r, name);
    int fd;
    *ret_fault = !p                               ? "there is no such process"
                 : r->waiter_count == WAITERS_MAX ? "too many wait for a restart already"
                 : file_in_memory(name, &fd)      ? "out of memory"
                                                  : NULL;
    if (*ret_fault) {
        return false;
    }
    struct runner_waiter *w = &r->waiters[r->waiter_count++];
    *w = (struct runner_waiter){.exchange = x,
                                .epoch = p->epoch,
                                .rolls = p->roll_count,
                                .failures = p->roll_failure_count};
    snprintf(w->process, sizeof(w->process), STR_FMT, STR_ARG(name));
    runner_tell(e, &m, fd);
    file_close(fd);
    return true;
}

/* ---- reports ---- */

void edge_take_report(struct edge *e, int fd)
{
    struct edge_runner *r = e->runner;
    struct report report;
    struct arena arena;
    struct buf bytes;
    buf_init(&bytes, 0);
    arena_init(&arena, 4096, 0);
    enum err err = fd < 0 ? ERR_SYNTAX : file_read_memory(fd, &bytes);
    file_close(fd);
    err = err ? err : report_read(&arena, buf_str(&bytes), &report);
    if (err) {
        LOG(e->log, LOG_LEVEL_ERROR, "what the runner tells cannot be read", log_err(err));
        arena_done(&arena);
        buf_done(&bytes);
        return;
    }
    arena_done(&r->arena);
    buf_done(&r->bytes);
    r->arena = arena;
    r->bytes = bytes;
    r->report = report;
    edge_apply_report(e);
    runner_answer_waiters(r);
}

void edge_run_processes(struct edge *e)
{
    struct edge_runner *r = e->runner;
    struct control_message m = {.kind = CONTROL_RUN, .edge = e->generation, .fd = -1};
    for (size_t i = 0; i < e->site->upstream_count && !m.count; i++) {
        m.count = upstream_settings(e->site->upstreams[i])->process.is_on;
    }
    if (m.count || r->is_wanted || !r->has_told) {
        runner_tell(e, &m, -1);
    }
    r->is_wanted = m.count != 0;
    r->has_told = true;
    edge_apply_report(e);
}

enum err edge_runner_create(struct edge *e)
{
    struct edge_runner *r = mem_zalloc(1, sizeof(*r));
    if (!r) {
        return ERR_NOMEM;
    }
    r->edge = e;
    arena_init(&r->arena, 4096, 0);
    buf_init(&r->bytes, 0);
    timer_init(&r->look, runner_on_look);
    e->runner = r;
    return ERR_OK;
}

void edge_runner_destroy(struct edge *e)
{
    struct edge_runner *r = e->runner;
    if (r) {
        while (r->drain_count) {
            runner_end_drain(r, 0);
        }
        timer_cancel(&r->look);
        arena_done(&r->arena);
        buf_done(&r->bytes);
        mem_free(r);
        e->runner = NULL;
    }
}

/* ---- for people and machines ---- */

void edge_write_processes_json(const struct edge *e, struct buf *out)
{
    const struct report *report = &e->runner->report;
    uint64_t now_s = (uint64_t)clock_wall_s();
    for (size_t k = 0; k < report->instance_count; k++) {
        const struct report_instance *i = &report->instances[k];
        buf_add_str(out, k ? STR(",{\"process\":\"") : STR("{\"process\":\""));
        escape_json(out, i->process);
        buf_printf(out,
                   "\",\"instance\":%llu,\"id\":%llu,\"pid\":%llu,\"restarts\":%llu,"
                   "\"since\":%llu,\"state_s\":%llu,\"memory_bytes\":%llu,\"dropped_lines\":%llu,"
                   "\"address\":\"",
                   (unsigned long long)i->number, (unsigned long long)i->id,
                   (unsigned long long)i->pid, (unsigned long long)i->restart_count,
                   (unsigned long long)i->since_s,
                   (unsigned long long)(now_s > i->since_s ? now_s - i->since_s : 0),
                   (unsigned long long)i->memory_bytes, (unsigned long long)i->dropped_lines);
        escape_json(out, i->address);
        buf_printf(out, "\",\"state\":\"%s\",\"error\":\"", instance_state_name(i->state));
        escape_json(out, i->fault);
        buf_add_str(out, STR("\"}"));
    }
}

static void runner_write_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP sws_process_%s %s\n# TYPE sws_process_%s %s\n", name, help, name, type);
}

static void runner_write_line(struct buf *out, const char *name, struct str process,
                              const struct report_instance *i, uint64_t value)
{
    buf_printf(out, "sws_process_%s{process=\"", name);
    escape_json(out, process);
    if (i) {
        buf_printf(out, "\",instance=\"%llu", (unsigned long long)i->number);
    }
    buf_printf(out, "\"} %llu\n", (unsigned long long)value);
}

void edge_write_processes_prometheus(const struct edge *e, struct buf *out)
{
    const struct report *report = &e->runner->report;
    if (!report->process_count) {
        return;
    }
    runner_write_head(out, "restarts_total", "counter", "Restarts of instances that ended.");
    for (size_t k = 0; k < report->process_count; k++) {
        const struct report_process *p = &report->processes[k];
        runner_write_line(out, "restarts_total", p->name, NULL, p->restart_count);
    }
    runner_write_head(out, "running", "gauge", "Instances that are ready for requests.");
    for (size_t k = 0; k < report->process_count; k++) {
        uint64_t count = 0;
        for (size_t n = 0; n < report->instance_count; n++) {
            count += report->instances[n].state == INSTANCE_READY &&
                     str_eq(report->instances[n].process, report->processes[k].name);
        }
        runner_write_line(out, "running", report->processes[k].name, NULL, count);
    }
    runner_write_head(out, "memory_bytes", "gauge", "Memory of an instance that is ready.");
    for (size_t k = 0; k < report->instance_count; k++) {
        const struct report_instance *i = &report->instances[k];
        if (i->state == INSTANCE_READY) {
            runner_write_line(out, "memory_bytes", i->process, i, i->memory_bytes);
        }
    }
    runner_write_head(out, "dropped_lines_total", "counter", "Lines of output beyond the rate.");
    for (size_t k = 0; k < report->process_count; k++) {
        const struct report_process *p = &report->processes[k];
        runner_write_line(out, "dropped_lines_total", p->name, NULL, p->dropped_lines);
    }
}
