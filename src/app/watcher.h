/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that looks after the files of certificates and keys that the configuration names, with
 * the supervisor's rights to read, and hands on what they hold whenever they change. As the reader
 * it is given no path by anybody; it understands nothing of what it passes on.
 */
#pragma once

/* Runs with the supervisor at the other end of PROCESS_CHANNEL_FD until that is gone; returns the
 * exit code. */
int watcher_run(const char *config);
