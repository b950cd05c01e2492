/* SPDX-License-Identifier: Apache-2.0 */
/* `sws ledger ...`: what can be done with a ledger from the command line. */
#pragma once

#include <stdbool.h>

struct ledger_verify_options {
    const char *receipt; /* a file; "-" is standard input */
    const char *key;     /* a verifier key or a file with it; NULL: the policy names the log */
    const char *policy;  /* a file; NULL: no witness is needed */
    const char *entry;   /* a file that must be what the log has; NULL: whatever it is */
    bool is_quiet;
    bool is_json;
};

/* Verifies a receipt without asking anyone. EXIT_CODE_OK: it holds, which is printed;
 * EXIT_CODE_FAILED: it does not; EXIT_CODE_USAGE: a file, the key or the policy cannot be used. The
 * reason is on standard error. */
int ledger_verify(const struct ledger_verify_options *options);
