/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/report.h"

#include "runner/wire.h"

#define TAG_PROCESS 1u
#define TAG_INSTANCE 2u

/* The least that one takes, so that a short text cannot ask for long lists. */
#define ITEM_BYTES_MIN 32u

const char *instance_state_name(enum instance_state state)
{
    static const char *const names[INSTANCE_STATE_COUNT] = {
        [INSTANCE_STARTING] = "starting", [INSTANCE_READY] = "ready",
        [INSTANCE_DRAINING] = "draining", [INSTANCE_STOPPING] = "stopping",
        [INSTANCE_WAITING] = "waiting",   [INSTANCE_ENDED] = "ended",
    };
    return (unsigned)state < INSTANCE_STATE_COUNT ? names[state] : "unknown";
}

void report_add_process(struct buf *out, const struct report_process *p)
{
    wire_put_u64(out, TAG_PROCESS);
    wire_put_str(out, p->name);
    wire_put_str(out, p->fault);
    wire_put_u64(out, p->epoch);
    wire_put_u64(out, p->roll_count);
    wire_put_u64(out, p->roll_failure_count);
    wire_put_u64(out, p->restart_count);
    wire_put_u64(out, p->dropped_lines);
}

void report_add_instance(struct buf *out, const struct report_instance *i)
{
    const uint64_t numbers[] = {i->id,           i->number,        i->pid,
                                i->state,        i->restart_count, i->since_s,
                                i->memory_bytes, i->dropped_lines};
    wire_put_u64(out, TAG_INSTANCE);
    wire_put_str(out, i->process);
    wire_put_str(out, i->address);
    wire_put_str(out, i->fault);
    for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
        wire_put_u64(out, numbers[k]);
    }
}

static enum err report_read_process(struct str *rest, struct report_process *p)
{
    uint64_t *const numbers[] = {&p->epoch, &p->roll_count, &p->roll_failure_count,
                                 &p->restart_count, &p->dropped_lines};
    enum err e = wire_get_str(rest, &p->name);
    e = e ? e : wire_get_str(rest, &p->fault);
    for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]) && !e; k++) {
        e = wire_get_u64(rest, numbers[k]);
    }
    return e;
}

static enum err report_read_instance(struct str *rest, struct report_instance *i)
{
    uint64_t state = 0;
    uint64_t *const numbers[] = {&i->id,           &i->number,        &i->pid,
                                 &state,           &i->restart_count, &i->since_s,
                                 &i->memory_bytes, &i->dropped_lines};
    enum err e = wire_get_str(rest, &i->process);
    e = e ? e : wire_get_str(rest, &i->address);
    e = e ? e : wire_get_str(rest, &i->fault);
    for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]) && !e; k++) {
        e = wire_get_u64(rest, numbers[k]);
    }
    if (!e && state >= INSTANCE_STATE_COUNT) {
        return ERR_SYNTAX;
    }
    i->state = (enum instance_state)state;
    return e;
}

enum err report_read(struct arena *arena, struct str bytes, struct report *ret_report)
{
    size_t room = bytes.n / ITEM_BYTES_MIN + 1;
    struct report r = {
        .processes = arena_zalloc(arena, room * sizeof(*r.processes)),
        .instances = arena_zalloc(arena, room * sizeof(*r.instances)),
    };
    enum err e = r.processes && r.instances ? ERR_OK : ERR_NOMEM;
    while (bytes.n && !e) {
        uint64_t tag = 0;
        e = wire_get_u64(&bytes, &tag);
        if (!e && tag == TAG_PROCESS) {
            e = report_read_process(&bytes, &r.processes[r.process_count++]);
        } else if (!e && tag == TAG_INSTANCE) {
            e = report_read_instance(&bytes, &r.instances[r.instance_count++]);
        } else if (!e) {
            e = ERR_SYNTAX;
        }
    }
    if (!e) {
        *ret_report = r;
    }
    return e;
}
