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

struct supervisor {
    const struct supervisor_options *options;
    int signals;
    struct supervisor_edge edges[SUPERVISOR_EDGES_MAX];
    int current;                   /* index of the edge in force, -1 = none */
    int next;                      /* index of the one that an upgrade started, -1 = none */
    struct supervisor_edge reader; /* reads the configuration for a reload; pid 0 = none */
    struct supervisor_edge issuer; /* gets certificates; pid 0 = none */
    int issuer_task;               /* what it was told, -1 = nothing */
    unsigned issuer_failures;
    uint64_t issuer_at_ns; /* when it starts again, or did last */
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

/* Ends the issuer, which loses nothing: it goes on where it was when it starts again. */
void supervisor_end_issuer(struct supervisor *s);

/* Replaces this program by the one on disk, keeping sockets and children; returns only when that
 * failed. */
void upgrade_replace_program(struct supervisor *s);

/* Takes over what the old program left. */
enum err upgrade_resume(struct supervisor *s, bool *ret_is_reload_due) MUST_CHECK;
