/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups, version 2: limits of memory and CPU for a program and all that it starts. */
#pragma once

#include <limits.h>
#include <stdint.h>

#include "base/err.h"

struct cgroup_limits {
    uint64_t memory_bytes; /* 0: none */
    uint64_t cpu_permille; /* of one CPU; 0: none */
};

/* Where groups can be made below our own, with both limits: `root` is where they are mounted,
 * `own` the file that names ours. Where nothing else is in our group, what is there moves into one
 * of its own, which the kernel wants. ERR_UNSUPPORTED, with a sentence. */
enum err cgroup_find(const char *root, const char *own, char ret_base[PATH_MAX],
                     const char **ret_reason) MUST_CHECK;

/* Makes the group `base`/`name` with these limits and opens its list of processes. */
enum err cgroup_create(const char *base, const char *name, const struct cgroup_limits *limits,
                       int *ret_procs) MUST_CHECK;

/* Kills what is in the group; removes it once that is gone. */
void cgroup_kill(const char *base, const char *name);
void cgroup_remove(const char *base, const char *name);

/* Kills and removes all whose names begin so. */
void cgroup_remove_all(const char *base, const char *prefix);

/* Bytes in use, and how often the limit of memory killed; 0 where that is not known. */
uint64_t cgroup_memory(const char *base, const char *name);
uint64_t cgroup_kill_count(const char *base, const char *name);
