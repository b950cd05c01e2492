/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that lives for one reload: it reads, with the rights of the supervisor, the files that
 * the configuration is made of, and hands them on as one sealed piece of memory. So the edge, which
 * gave its rights up, can be given what only root may read, and nobody asks for a path.
 */
#pragma once

/* Runs with the supervisor at the other end of PROCESS_CHANNEL_FD; returns the exit code. `config`
 * NULL: there is no file to read (`sws serve DIR`). */
int reader_run(const char *config);
