/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/list.h"
#include "runner/capture.h"
#include "runner/probe.h"
#include "runner/report.h"
#include "runner/runner.h"
#include "runner/spec.h"

#define INSTANCE_FAULT_BYTES 384
#define INSTANCE_ADDRESS_BYTES 128
#define INSTANCE_SOCKET_BYTES 108

struct runner {
    struct runner_options options;
    struct list groups;
    uint64_t next_id;
    char cgroup_base[PATH_MAX];
    const char *cgroup_fault; /* why there are none; NULL: there are */
    char cgroup_prefix[32];
    struct timer tick;
    struct loop_task change;
    uint64_t drain_ms;      /* of the settings in force */
    uint64_t epoch;         /* of the first of the runners that handed over to each other */
    uint64_t hold_until_ms; /* no instance is told to end before, unless all are */
    bool is_ending;
};

/* A process and its instances. */
struct group {
    struct list link;
    struct runner *runner;
    struct spec *spec; /* as it shall be */
    struct list instances;
    bool is_named;   /* by the configuration that is being taken over */
    bool is_removed; /* no configuration names it any more */
    bool is_rolling; /* some instances are new and take over when they are ready */
    bool is_asked;   /* an operator wanted that; a failure ends it */
    uint64_t roll_count;
    uint64_t roll_failure_count;
    uint64_t restart_count;
    uint64_t dropped_lines;           /* of instances that are gone */
    char fault[INSTANCE_FAULT_BYTES]; /* of the last replacement */
};

struct instance {
    struct list link;
    struct group *group;
    struct spec *spec;
    uint64_t fingerprint; /* of what it was started with */
    uint64_t id;
    unsigned number;
    enum instance_state state;
    bool is_new;
    bool is_retired; /* does not come back */
    bool has_started;
    pid_t pid;
    struct capture outputs[2];
    struct capture_budget budget;
    int socket_fd; /* handed over at each start; -1 = none */
    uint16_t port;
    char socket[INSTANCE_SOCKET_BYTES];
    char folder[PATH_MAX]; /* of the socket; empty = none of ours */
    char address[INSTANCE_ADDRESS_BYTES];
    char cgroup[64]; /* empty = none */
    uint64_t restart_count;
    unsigned failure_count; /* in a row */
    uint64_t since_s;
    uint64_t ready_ms;
    uint64_t drain_until_ms;
    struct timer timer; /* of its state */
    struct probe probe;
    uint64_t memory_bytes;
    bool is_over_memory;
    char fault[INSTANCE_FAULT_BYTES];
};

/* runner.c */
void runner_changed(struct runner *r);

/* group.c: takes over `spec`. ERR_NOMEM. */
enum err group_create(struct runner *r, struct spec *spec, struct group **ret_group) MUST_CHECK;
void group_destroy(struct group *g); /* has no instances any more */
/* Takes over `spec`. */
enum err group_apply(struct group *g, struct spec *spec) MUST_CHECK;
enum err group_roll(struct group *g) MUST_CHECK;
void group_remove(struct group *g);
/* Whatever became of one of its instances, this makes of it what there is to do. The group may be
 * gone afterwards. */
void group_settle(struct group *g);
/* An instance did not come as far as being ready. */
void group_on_failed_start(struct group *g, struct instance *i);

/* instance.c */
enum err instance_create(struct group *g, unsigned number, bool is_new,
                         struct instance **ret_instance) MUST_CHECK;
void instance_destroy(struct instance *i);
/* It shall end and not come back: once its requests are done, unless `is_now`. It may be gone
 * afterwards. */
void instance_retire(struct instance *i, bool is_now);
void instance_set_state(struct instance *i, enum instance_state state);
void instance_stop(struct instance *i);
void instance_kill(struct instance *i);
void instance_on_exit(struct instance *i);
void instance_idle(struct instance *i);
void instance_on_ready(struct instance *i);
/* It did not start, or ended: it starts again after a pause, or not. */
void instance_failed(struct instance *i, bool was_error);
void instance_init_parts(struct instance *i);

/* instance_start.c: starts the program; what goes wrong is a failure of the instance. */
void instance_start(struct instance *i);
enum err instance_begin_probe(struct instance *i) MUST_CHECK;
void instance_forget_place(struct instance *i);

#define INSTANCE_LOG(i, level, text, ...)                                                          \
    LOG((i)->group->runner->options.log, level, text, log_str("process", (i)->spec->name),         \
        log_u64("instance", (i)->number), __VA_ARGS__)
