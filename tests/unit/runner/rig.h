/* SPDX-License-Identifier: Apache-2.0 */
/* A runner on a loop of its own, with programs of the machine. */
#pragma once

#include "runner/report.h"
#include "runner/runner.h"

struct rig {
    struct loop *loop;
    struct log *log;
    struct runner *runner;
    char folder[64];
    bool is_stopped;
    struct arena arena; /* of the report */
    struct buf bytes;
    struct report report;
};

/* False: no memory. */
bool rig_try_init(struct rig *r);
void rig_init(struct rig *r);
void rig_done(struct rig *r);

/* The settings of one host whose process is `process`, a YAML value. */
struct settings *rig_settings(const char *process);
void rig_apply(struct rig *r, const char *process);

/* Turns until `fn` says yes, with the report up to date; fails after 20 s. */
typedef bool (*rig_fn)(const struct rig *r);
void rig_wait(struct rig *r, rig_fn fn, const char *what);
void rig_turn(struct rig *r);

/* The only instance, or that in a state; NULL: there is none. */
const struct report_instance *rig_instance(const struct rig *r, enum instance_state state);
