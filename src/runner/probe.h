/* SPDX-License-Identifier: Apache-2.0 */
/* Asks a program again and again whether it is ready, until it is. */
#pragma once

#include <stdbool.h>

#include "base/str.h"
#include "loop/loop.h"
#include "os/socket.h"

#define PROBE_REQUEST_BYTES_MAX 1024
#define PROBE_ANSWER_BYTES_MAX 64
#define PROBE_FAULT_BYTES 96

struct probe;
typedef void (*probe_fn)(struct probe *p);

/* What is asked. */
struct probe_question {
    struct socket_address address;
    struct str path;      /* a GET for it answered with 200 to 399 is a yes; empty: see below */
    bool wants_an_answer; /* any HTTP answer is a yes; else that somebody takes the connection */
};

struct probe {
    struct loop *loop;
    struct loop_watch watch;
    struct timer timer;
    struct probe_question question;
    char request[PROBE_REQUEST_BYTES_MAX];
    char answer[PROBE_ANSWER_BYTES_MAX];
    size_t request_bytes;
    size_t sent_bytes;
    size_t answer_bytes;
    unsigned pause_ms;
    bool is_open; /* a connection is under way */
    bool is_connected;
    probe_fn on_yes;
    char fault[PROBE_FAULT_BYTES]; /* of the last try */
};

/* Begins; the question's text must live on. ERR_LIMIT: the path is too long. */
enum err probe_begin(struct probe *p, struct loop *loop, const struct probe_question *question,
                     probe_fn on_yes) MUST_CHECK;

/* Ends it without an answer; a no-op where none runs. Not before probe_init. */
void probe_init(struct probe *p);
void probe_end(struct probe *p);
