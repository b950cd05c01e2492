/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. */
#pragma once

/* Exit codes, as `sws help` tells them. */
enum {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILED = 1, /* it could not be done */
    EXIT_CODE_CONFIG = 2, /* the configuration is wrong */
    EXIT_CODE_USAGE = 64, /* the command line is wrong */
};

int command_run(int argc, char **argv);
