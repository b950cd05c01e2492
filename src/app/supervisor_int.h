/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "app/control.h"
#include "app/supervisor.h"

#define SUPERVISOR_SOCKETS_MAX 1024
#define SUPERVISOR_ARGUMENTS_MAX 16
#define SUPERVISOR_EDGES_MAX 4 /* one in force, one starting, and some that drain */

struct supervisor_socket {
    struct control_address asked;
    uint32_t index; /* of several on one address */
    int fd;
};

struct supervisor_edge {
    pid_t pid; /* 0 = free */
    int channel;
    int relay;           /* takes datagrams for an edge that others received, -1 = none */
    uint32_t generation; /* of an edge: how many were started before, and itself */
    bool is_ready;
    bool is_draining;
};

/* What works for the edge in force (supervisor_helper.c). */
enum supervisor_helper_kind {
    SUPERVISOR_ISSUER,
    SUPERVISOR_WATCHER,
    SUPERVISOR_RUNNER,
    SUPERVISOR_HELPER_COUNT,
};

struct supervisor_helper {
    struct supervisor_edge process; /* pid 0 = none */
    bool is_wanted;
    int task; /* what it is told at its start, -1 = nothing */
    unsigned failures;
    uint64_t at_ns; /* when it starts again, or did last */
};

struct supervisor {
    const struct supervisor_options *options;
    int signals;
    struct supervisor_edge edges[SUPERVISOR_EDGES_MAX];
    int current;                   /* index of the edge in force, -1 = none */
    int next;                      /* index of the one that an upgrade started, -1 = none */
    struct supervisor_edge reader; /* reads the configuration for a reload; pid 0 = none */
    struct supervisor_helper helpers[SUPERVISOR_HELPER_COUNT];
    struct supervisor_socket sockets[SUPERVISOR_SOCKETS_MAX];
    uint32_t socket_count;
    int kept;            /* of CONTROL_KEEP, -1 = nothing */
    uint32_t generation; /* of the edge that was started last */
    bool is_stopping;
    bool has_served; /* some edge became ready once */
    unsigned failures;
    uint64_t restart_at_ns;  /* 0 = no restart due */
    uint64_t upgrade_end_ns; /* when a new edge must have become ready */
    uint64_t reader_end_ns;  /* when the reader must have answered */
    int exit_code;
};

/* One line on stderr in the form of the log. */
void supervisor_say(const char *level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Starts `role`; the arguments of all roles are the same. */
enum err supervisor_start_role(struct supervisor *s, const char *role,
                               struct supervisor_edge *ret) MUST_CHECK;

/* Starts the helper anew with `task` (taken; -1: none), or ends it where it is not wanted. */
void supervisor_want_helper(struct supervisor *s, enum supervisor_helper_kind kind, bool is_wanted,
                            int task);

/* Ends a helper, or all but the runner. They lose nothing: what they had begun goes on when they
 * start again. */
void supervisor_end_helper(struct supervisor *s, enum supervisor_helper_kind kind);
void supervisor_end_helpers(struct supervisor *s);

/* Starts the runner where it is wanted (`m` is CONTROL_RUN) and does not run; else passes `m` on.
 */
void supervisor_run_processes(struct supervisor *s, const struct control_message *m);

/* Passes `m` on to a helper that runs and listens; else it is lost. */
void supervisor_tell_helper(struct supervisor *s, enum supervisor_helper_kind kind,
                            const struct control_message *m, int fd);

/* Takes what a helper says. */
void supervisor_on_helper(struct supervisor *s, enum supervisor_helper_kind kind);

/* Whether the process that ended was a helper; it is started again later then. */
bool supervisor_reap_helper(struct supervisor *s, pid_t pid, const char *how);

/* When the next start of a helper is due (0: none), and starting what is due. */
uint64_t supervisor_helpers_until_ns(const struct supervisor *s);
void supervisor_helpers_on_time(struct supervisor *s, uint64_t now_ns);

/* Replaces this program by the one on disk, keeping sockets and children; returns only when that
 * failed. */
void upgrade_replace_program(struct supervisor *s);

/* Takes over what the old program left. */
enum err upgrade_resume(struct supervisor *s, bool *ret_is_reload_due) MUST_CHECK;
