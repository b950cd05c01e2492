/* SPDX-License-Identifier: Apache-2.0 */
/* How another program goes on with our children: it takes this process over, so they stay its
 * children, and is told what they are. */
#include <fcntl.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/child.h"
#include "os/file.h"
#include "runner/runner_int.h"
#include "runner/wire.h"

#define FORMAT 0x3152535753ull /* "SWSR1" */
#define TAG_GROUP 1u
#define TAG_INSTANCE 2u
#define NO_DESCRIPTOR UINT64_MAX

#define GROUP_OF(at) CONTAINER_OF(at, struct group, link)
#define INSTANCE_OF(at) CONTAINER_OF(at, struct instance, link)

/* ---- saving ---- */

static uint64_t save_fd(int fd)
{
    return fd < 0 ? NO_DESCRIPTOR : (uint64_t)fd;
}

static void save_group(const struct group *g, struct buf *out)
{
    const struct spec *s = g->spec;
    const uint64_t numbers[] = {
        s->stop_ms,    s->drain_ms,           s->socket,       g->is_rolling, g->is_asked,
        g->roll_count, g->roll_failure_count, g->restart_count};
    wire_put_u64(out, TAG_GROUP);
    wire_put_str(out, s->name);
    wire_put_str(out, s->socket_path);
    wire_put_str(out, s->ready_path);
    wire_put_str(out, str_of(g->fault));
    for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
        wire_put_u64(out, numbers[k]);
    }
}

static void save_instance(struct instance *i, struct buf *out)
{
    for (int k = 0; k < 2; k++) {
        if (i->outputs[k].is_open) {
            capture_flush(&i->outputs[k]);
        }
    }
    const uint64_t numbers[] = {
        i->fingerprint,
        i->id,
        i->number,
        i->state,
        i->is_new,
        i->is_retired,
        (uint64_t)i->pid,
        save_fd(i->outputs[0].is_open ? i->outputs[0].watch.fd : -1),
        save_fd(i->outputs[1].is_open ? i->outputs[1].watch.fd : -1),
        save_fd(i->socket_fd),
        i->port,
        i->restart_count,
        i->failure_count,
        i->since_s,
        i->ready_ms,
        i->drain_until_ms,
        timer_is_set(&i->timer) ? i->timer.deadline_ms : 0,
        i->memory_bytes,
        i->has_started,
    };
    wire_put_u64(out, TAG_INSTANCE);
    wire_put_str(out, str_of(i->socket));
    wire_put_str(out, str_of(i->folder));
    wire_put_str(out, str_of(i->address));
    wire_put_str(out, str_of(i->cgroup));
    wire_put_str(out, str_of(i->fault));
    for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
        wire_put_u64(out, numbers[k]);
    }
}

void runner_save(struct runner *r, struct buf *out)
{
    wire_put_u64(out, FORMAT);
    wire_put_u64(out, r->next_id);
    wire_put_u64(out, r->hold_until_ms);
    wire_put_u64(out, r->epoch);
    LIST_FOR_EACH(group, &r->groups)
    {
        save_group(GROUP_OF(group), out);
        LIST_FOR_EACH(at, &GROUP_OF(group)->instances)
        {
            save_instance(INSTANCE_OF(at), out);
        }
    }
}

void runner_keep_descriptors(const struct runner *r, bool are_kept)
{
    LIST_FOR_EACH(group, &r->groups)
    {
        LIST_FOR_EACH(at, &GROUP_OF(group)->instances)
        {
            const struct instance *i = INSTANCE_OF(at);
            for (int k = 0; k < 2; k++) {
                if (i->outputs[k].is_open) {
                    child_keep_on_exec(i->outputs[k].watch.fd, are_kept);
                }
            }
            if (i->socket_fd >= 0) {
                child_keep_on_exec(i->socket_fd, are_kept);
            }
        }
    }
}

/* ---- going on ---- */

static enum err restore_numbers(struct str *rest, uint64_t *ret_numbers, size_t count)
{
    enum err e = ERR_OK;
    for (size_t k = 0; k < count && !e; k++) {
        e = wire_get_u64(rest, &ret_numbers[k]);
    }
    return e;
}

/* Into room for `n` bytes, the end included. */
static enum err restore_text(struct str *rest, char *ret_text, size_t n)
{
    struct str text;
    enum err e = wire_get_str(rest, &text);
    if (e || text.n >= n) {
        return ERR_SYNTAX;
    }
    memcpy(ret_text, text.n ? text.p : "", text.n);
    ret_text[text.n] = '\0';
    return ERR_OK;
}

static enum err restore_group(struct runner *r, struct str *rest, struct group **ret_group)
{
    struct str name, socket_path, ready_path;
    char fault[INSTANCE_FAULT_BYTES];
    uint64_t n[8];
    struct spec *spec;
    enum err e = wire_get_str(rest, &name);
    e = e ? e : wire_get_str(rest, &socket_path);
    e = e ? e : wire_get_str(rest, &ready_path);
    e = e ? e : restore_text(rest, fault, sizeof(fault));
    e = e ? e : restore_numbers(rest, n, sizeof(n) / sizeof(n[0]));
    if (e || n[2] > SPEC_ACTIVATE) {
        return ERR_SYNTAX;
    }
    e = spec_create_ending(name, n[0], n[1], &spec);
    if (e) {
        return e;
    }
    spec->socket = (enum spec_socket)n[2];
    spec->socket_path = arena_str(&spec->arena, socket_path);
    spec->ready_path = arena_str(&spec->arena, ready_path);
    if (!spec->socket_path.p || !spec->ready_path.p) {
        spec_unref(spec);
        return ERR_NOMEM;
    }
    e = group_create(r, spec, ret_group);
    if (!e) {
        struct group *g = *ret_group;
        g->is_rolling = n[3] != 0;
        g->is_asked = n[4] != 0;
        g->roll_count = n[5];
        g->roll_failure_count = n[6];
        g->restart_count = n[7];
        memcpy(g->fault, fault, sizeof(fault));
    }
    return e;
}

static int restore_fd(uint64_t number)
{
    int fd = number <= INT_MAX ? (int)number : -1;
    if (fd >= 0) {
        child_keep_on_exec(fd, false);
    }
    return fd;
}

static enum err restore_outputs(struct instance *i, const int fds[2])
{
    static const char *const streams[] = {"stdout", "stderr"};
    enum err e = ERR_OK;
    for (int k = 0; k < 2; k++) {
        i->outputs[k].level = i->spec->log_level;
        i->outputs[k].source = (struct capture_source){i->spec->name, i->number, streams[k]};
        enum err one = fds[k] < 0 ? ERR_OK : capture_open(&i->outputs[k], fds[k]);
        e = e ? e : one;
    }
    return e;
}

static enum err restore_instance(struct group *g, struct str *rest)
{
    struct instance *i;
    uint64_t n[19];
    if (!g) {
        return ERR_SYNTAX;
    }
    enum err e = instance_create(g, 0, false, &i);
    if (e) {
        return e;
    }
    e = restore_text(rest, i->socket, sizeof(i->socket));
    e = e ? e : restore_text(rest, i->folder, sizeof(i->folder));
    e = e ? e : restore_text(rest, i->address, sizeof(i->address));
    e = e ? e : restore_text(rest, i->cgroup, sizeof(i->cgroup));
    e = e ? e : restore_text(rest, i->fault, sizeof(i->fault));
    e = e ? e : restore_numbers(rest, n, sizeof(n) / sizeof(n[0]));
    if (e || n[3] >= INSTANCE_STATE_COUNT || n[6] > INT_MAX) {
        return ERR_SYNTAX;
    }
    i->fingerprint = n[0];
    i->id = n[1];
    i->number = (unsigned)n[2];
    i->state = (enum instance_state)n[3];
    i->is_new = n[4] != 0;
    i->is_retired = n[5] != 0;
    i->pid = (pid_t)n[6];
    i->socket_fd = restore_fd(n[9]);
    i->port = (uint16_t)n[10];
    i->restart_count = n[11];
    i->failure_count = (unsigned)n[12];
    i->since_s = n[13];
    i->ready_ms = n[14];
    i->drain_until_ms = n[15];
    i->memory_bytes = n[17];
    i->has_started = n[18] != 0;
    if (n[16]) {
        loop_timer_set(g->runner->options.loop, &i->timer, n[16]);
    }
    e = restore_outputs(i, (const int[]){restore_fd(n[7]), restore_fd(n[8])});
    return !e && i->state == INSTANCE_STARTING ? instance_begin_probe(i) : e;
}

enum err runner_restore(struct runner *r, struct str saved)
{
    uint64_t format = 0, tag = 0, next_id = 0;
    struct group *g = NULL;
    enum err e = wire_get_u64(&saved, &format);
    e = e ? e : wire_get_u64(&saved, &next_id);
    e = e ? e : wire_get_u64(&saved, &r->hold_until_ms);
    e = e ? e : wire_get_u64(&saved, &r->epoch);
    if (!e && format != FORMAT) {
        e = ERR_SYNTAX;
    }
    while (!e && saved.n) {
        e = wire_get_u64(&saved, &tag);
        if (!e && tag == TAG_GROUP) {
            e = restore_group(r, &saved, &g);
        } else if (!e) {
            e = tag == TAG_INSTANCE ? restore_instance(g, &saved) : ERR_SYNTAX;
        }
    }
    r->next_id = next_id;
    return e;
}
