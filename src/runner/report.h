/* SPDX-License-Identifier: Apache-2.0 */
/* What the runner tells the edge: which instances there are, and where those that are ready are. */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"

enum instance_state {
    INSTANCE_STARTING, /* it runs and is not ready yet */
    INSTANCE_READY,
    INSTANCE_DRAINING, /* gets no new requests; is stopped when it has none left */
    INSTANCE_STOPPING, /* was told to end */
    INSTANCE_WAITING,  /* ended; starts again after a pause */
    INSTANCE_ENDED,    /* and stays so */
    INSTANCE_STATE_COUNT,
};

struct report_instance {
    struct str process; /* name, as conf/settings.h gives it */
    struct str address; /* as of a backend, "http://127.0.0.1:1234" or "unix:/path" */
    struct str fault;   /* why it is not ready; empty: nothing is wrong */
    uint64_t id;        /* never used for another one */
    uint64_t number;    /* among the instances, from 1 */
    uint64_t pid;       /* 0: it does not run */
    enum instance_state state;
    uint64_t restart_count;
    uint64_t since_s; /* wall clock: when it came into its state */
    uint64_t memory_bytes;
    uint64_t dropped_lines;
};

struct report_process {
    struct str name;
    struct str fault; /* why the last replacement of its instances failed */
    uint64_t epoch;   /* another one: the runner lost what it had counted */
    uint64_t roll_count;
    uint64_t roll_failure_count;
    uint64_t restart_count; /* of all that it had; likewise below */
    uint64_t dropped_lines;
};

struct report {
    struct report_process *processes;
    size_t process_count;
    struct report_instance *instances;
    size_t instance_count;
};

/* "starting", "ready", ...; never NULL. */
const char *instance_state_name(enum instance_state state);

void report_add_process(struct buf *out, const struct report_process *p);
void report_add_instance(struct buf *out, const struct report_instance *i);

/* All text is a view of `bytes`, the lists lie in `arena`. ERR_SYNTAX, ERR_NOMEM. */
enum err report_read(struct arena *arena, struct str bytes, struct report *ret_report) MUST_CHECK;
