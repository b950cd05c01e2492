/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A site on disk, the configuration that serves it, and a server with its pipeline on a simulated
 * loop: requests go in over real sockets, answers come out decoded.
 */
#pragma once

#include <stdatomic.h>

#include "base/buf.h"
#include "edge/pipeline.h"
#include "edge/site.h"

#define RIG_BIG_BYTES 300000u  /* big.txt, huge.bin: sent from the descriptor */
#define RIG_TIME_S 1704067200  /* mtime of every file: Mon, 01 Jan 2024 00:00:00 GMT */
#define RIG_SCRIPT_BYTES 4000u /* app.js and code.css: worth compressing, kept in memory */

/* The files below a new directory, made once for all tests; `rig_files_done` removes them. */
void rig_files_make(void);
void rig_files_done(void);

/* The bytes of `name` below www; ended with buf_done. */
void rig_file_read(const char *name, struct buf *ret_bytes);

/* Takes `name` below www away, and puts it back. */
void rig_file_hide(const char *name);
void rig_file_show(const char *name);

/* Loads the configuration of the tests; never fails. */
struct settings *rig_settings(void);

/* The site of the tests. */
struct site *rig_site(void);

struct rig {
    struct loop *loop;
    struct server *server;
    struct metrics *metrics;
    struct writer *writer;
    struct pipeline pipeline;
    atomic_bool is_ready;
    struct socket_address local; /* a Unix socket */
    struct socket_address tcp;   /* loopback, where the peer must have an address */
    int local_fd;
    int tcp_fd;
    int up_fd;
};

/* Ends with an assertion where `site` cannot be served. */
void rig_start(struct rig *r, struct site *site);
void rig_stop(struct rig *r);

/* Lets `ms` of the loop's time pass. */
void rig_advance(struct rig *r, uint64_t ms);

struct answer {
    unsigned status;    /* 0: no head came */
    bool is_whole;      /* by its own framing */
    bool is_closed;     /* the connection ended, in order or not */
    struct buf got;     /* all bytes, ends with NUL */
    struct buf head;    /* with the empty line, ends with NUL */
    struct buf content; /* without framing and content coding; boundaries of parts are blanked */
};

/* Sends `request` on a new connection and takes what comes until the answer is whole or the
 * connection ends; that neither comes is a failure. The server's `fail_at`-th allocation fails (0:
 * none); returns how many it made. The answer is ended with answer_done. */
unsigned long rig_ask(struct rig *r, bool is_tcp, const char *request, unsigned long fail_at,
                      struct answer *ret_answer);
void answer_done(struct answer *a);

/* True where the head has this line, but for the case of its letters. */
bool answer_has(const struct answer *a, const char *line);
