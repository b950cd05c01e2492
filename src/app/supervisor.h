/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first process: binds what the edge asks for, starts it, starts it again when it dies, and
 * upgrades. It reads no configuration and no byte from a peer, so that it can hardly fail.
 */
#pragma once

struct supervisor_options {
    const char *program;     /* what to start, by its path on disk */
    const char *const *argv; /* program, role (set by the supervisor), then what all roles get */
    const char *resume;      /* descriptor number of the state left by the old program, or NULL */
};

/* Runs until the edge is gone for good. Returns the exit code of the program. */
int supervisor_run(const struct supervisor_options *options);
