/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program writes to stdout or stderr becomes lines of our log: one for each line, several
 * for a long one. A program that floods is read on and its lines are dropped and counted, so it
 * neither waits for us nor fills our log.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "log/log.h"
#include "loop/loop.h"

#define CAPTURE_PIECES_MAX 16 /* of a line, LOG_VALUE_BYTES_MAX each; the rest is skipped */

/* How many lines an instance may write, both streams together. */
struct capture_budget {
    uint64_t at_ms;
    uint64_t tokens; /* thousandths of a line */
    uint64_t dropped_count;
    uint64_t told_count; /* of those dropped, what the log says already */
    uint64_t told_ms;
};

/* Who writes; texts outlive the output. */
struct capture_source {
    struct str process;
    uint64_t number;
    const char *stream;
};

struct capture {
    struct loop *loop;
    struct log *log;
    struct loop_watch watch;
    struct capture_source source;
    struct capture_budget *budget;
    enum log_level level;
    unsigned piece_count; /* of the present line */
    size_t n;
    char text[LOG_VALUE_BYTES_MAX];
    bool is_open;
};

/* Reads from `fd` (taken). */
enum err capture_open(struct capture *o, int fd) MUST_CHECK;

/* Logs what is left and closes; a no-op where it is closed. */
void capture_close(struct capture *o);

/* Logs what stands there without an end of line. */
void capture_flush(struct capture *o);

/* Logs how many lines were dropped, once a second at most unless `is_last`. */
void capture_tell_dropped(struct capture *o, bool is_last);

/* Takes bytes as if they were read; for capture_open and tests. */
void capture_take(struct capture *o, const char *bytes, size_t n);

void capture_budget_init(struct capture_budget *b, uint64_t now_ms);
