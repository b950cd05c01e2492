/* SPDX-License-Identifier: Apache-2.0 */
/* The edge process: reads the configuration, runs one worker per CPU, and does what the
 * supervisor and the admin socket ask. Holds no state that cannot be lost. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct edge_options {
    const char *config;    /* path; NULL with `directory` */
    const char *directory; /* `sws serve DIR` */
    uint16_t port;
    bool is_https;
};

/* Runs with the supervisor at the other end of PROCESS_CHANNEL_FD; returns the exit code. */
int edge_run(const struct edge_options *options);
