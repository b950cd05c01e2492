/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that gets certificates from public authorities. It serves nobody, holds the keys of
 * accounts and not those of sites, may be killed at any moment, and becomes the user of the edge
 * before it speaks to anyone.
 */
#pragma once

/* Runs with the supervisor at the other end of PROCESS_CHANNEL_FD; returns the exit code. */
int issuer_run(void);
