/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the supervisor and a role say to each other, one fixed-size message at a time over a
 * message socket. The supervisor understands nothing but this.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "os/socket.h"

enum control_kind {
    /* role to supervisor */
    CONTROL_BIND = 1, /* asks for `count` listening sockets on `address`, or more if there are */
    CONTROL_READY,    /* configured and able to serve; waits for CONTROL_GO */
    CONTROL_RELEASE,  /* `address` is not listened on any more */
    CONTROL_ASK_STOP,
    CONTROL_ASK_UPGRADE,
    CONTROL_ASK_RELOAD,
    CONTROL_KEEP,   /* what the next edge shall get in its CONTROL_HELLO, in the descriptor */
    CONTROL_CONFIG, /* of the reader: what the configuration is made of, or `error` */
    CONTROL_ISSUE,  /* of the edge: the task of an issuer, in the descriptor; none: no issuer */
    CONTROL_ISSUED, /* of the issuer: there is a new certificate, or news; passed on to the edge */
    CONTROL_DEMAND, /* of the edge: a name that a client brought; passed on to the issuer */
    CONTROL_WATCH,  /* of the edge: `count` 1: its configuration names files of certificates */
    CONTROL_FILES,  /* of the watcher: what they hold now; passed on to the edge */
    CONTROL_RUN, /* of the edge: `count` 1: its configuration, which may be another one now, names
                  * processes; passed on to the runner */
    CONTROL_RESTART, /* of the edge: the name of a process; passed on to the runner */
    CONTROL_IDLE,    /* of the edge: it needs instance `count` no more; passed on to the runner */
    CONTROL_RUNNING, /* of the runner: its report, in the descriptor; passed on to every edge */
    /* supervisor to role */
    CONTROL_HELLO,   /* first; with what an edge before gave for keeping, if any did; `count` is the
                      * generation of the edge */
    CONTROL_RELAY,   /* behind it: where the edge of the generation `count` takes its datagrams that
                      * another one received; with its own generation: where it shall take them */
    CONTROL_BOUND,   /* one per socket, with the descriptor, `count` in all; or `error` */
    CONTROL_GO,      /* start accepting */
    CONTROL_RELOAD,  /* with what the reader sent */
    CONTROL_REOPEN,  /* open log files again; of the edge: passed on to the runner */
    CONTROL_REPLACE, /* to the runner: become the program on disk */
    CONTROL_DRAIN,   /* stop accepting, finish, exit; `count` 1: another edge took over */
};

/* An address as the role asked for it. On port 0 every `variant` gets a port of its own. */
#define CONTROL_VARIANT_DATAGRAM 0x100u /* UDP */
#define CONTROL_VARIANT_STREAM(number) ((uint32_t)(number) << 16)
struct control_address {
    struct socket_address at;
    uint32_t variant;
};

bool control_address_eq(const struct control_address *a, const struct control_address *b);

struct control_message {
    uint32_t kind;
    uint32_t count;
    int32_t error; /* enum err */
    uint32_t edge; /* CONTROL_RUN: generation of the edge */
    int32_t fd;    /* CONTROL_BIND: an inherited descriptor to use instead of binding, or -1 */
    struct control_address address;
};

/* Sends `m`, with `fd` where >= 0. */
enum err control_send(int channel, const struct control_message *m, int fd) MUST_CHECK;

/* Receives one message; ERR_EOF when the other side is gone, ERR_SYNTAX for a foreign size. */
enum err control_recv(int channel, bool may_wait, struct control_message *ret_m,
                      int *ret_fd) MUST_CHECK;
