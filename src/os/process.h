/* SPDX-License-Identifier: Apache-2.0 */
/* Processes, the messages between them, and signals as descriptors. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* A pair of connected message sockets (each message whole, at most 64 KiB). */
enum err process_channel(int ret_ends[2]) MUST_CHECK;

/* Sends one message, with one descriptor where `fd` >= 0. */
enum err process_send(int channel, const void *bytes, size_t n, int fd) MUST_CHECK;

/* Sends one message that is `head` and `body` behind each other, without waiting. ERR_AGAIN: the
 * other side has too much to read; ERR_CLOSED, ERR_RESET: it is gone. */
enum err process_send_parts(int channel, struct str head, struct str body) MUST_CHECK;

/* Receives one message. *ret_fd is -1 or a descriptor that the caller now owns. ERR_EOF: the
 * other side is gone; ERR_AGAIN: none waits (with `may_wait` false). */
enum err process_recv(int channel, void *bytes, size_t n_max, bool may_wait, size_t *ret_n,
                      int *ret_fd) MUST_CHECK;

/* Starts `program` with `argv` (NULL-terminated). `channel` becomes descriptor 3 there; all other
 * descriptors but 0, 1, 2 close on exec. */
enum err process_spawn(const char *program, char *const argv[], int channel,
                       pid_t *ret_pid) MUST_CHECK;

#define PROCESS_CHANNEL_FD 3

/* Runs the program argv[0] (a path) to its end, with no input and its output on our stderr, and
 * gives its exit code (128 and more: killed by a signal). ERR_TIMEOUT: it took longer than
 * `timeout_ms`, and was killed with what it had started. Blocks. */
enum err process_run_within(const char *const argv[], unsigned timeout_ms,
                            int *ret_code) MUST_CHECK;

/* Kills a child and waits for its end. */
void process_end(pid_t pid);

/* Runs `argv` (found by PATH, NULL-terminated) to its end; its output goes where ours goes.
 * ERR_NOT_FOUND: there is no such program; ERR_IO: it failed. For command-line use only. */
enum err process_run(const char *const argv[]) MUST_CHECK;

/* Blocks the signals of the list (ended by 0) and gives a descriptor that reports them. */
enum err process_signals(const int *signals, int *ret_fd) MUST_CHECK;

/* The next reported signal, or 0. */
int process_signal_next(int fd);

/* Takes one ended child: its pid and a sentence about how it ended ("exited with 1", "killed by
 * signal 11"); false when none has ended. */
bool process_reap(pid_t *ret_pid, int *ret_code, char *ret_text, size_t text_bytes);

/* Raises the soft limit of open descriptors to the hard one; returns it. */
uint64_t process_raise_fd_limit(void);

/* Resident memory of this process in bytes. */
uint64_t process_memory_bytes(void);

/* Number of CPUs this process may run on, at least 1. */
int process_cpu_count(void);

/* Binds the calling thread to the n-th CPU it may run on; harmless where not permitted. */
void process_pin_thread(int n);
