/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server on a simulated loop with a listening socket, clients, and a service that does what the
 * first letter of the path says:
 *   /n now  /g now, RIG_BIG_BYTES  /k keep the body, then echo it
 *   /l later (50 ms)  /e echo under back-pressure, trailers too  /c count the body, then answer
 *   /b begin the answer, then read the body as /c does
 *   /s stream RIG_STREAM_BYTES with a length, /t without  /f send the file  /h hang
 *   /w tunnel that echoes and says "bye" on a drain  /o the same later (50 ms), without a "bye"
 *   /d tunnel of datagrams that echoes; "many", "long", "end" and "break" make it send
 *      RIG_MANY_DATAGRAMS, one that is as long as can be, end and break  /q one that takes none
 *   /r reset  /p promise more than is given  /y ready-made answer  /x 204 with content
 *   /v a body without a length, then trailers
 */
#pragma once

#include "base/buf.h"
#include "net/server.h"

#define RIG_STREAM_BYTES (1024u * 1024u)
#define RIG_BIG_BYTES (100u * 1024u)
#define RIG_FILE_BYTES (2048u * 1024u)
#define RIG_LATER_MS 50u
#define RIG_MANY_DATAGRAMS 100u

struct rig {
    struct loop *loop;
    struct server *server;
    struct listener *listener;
    struct socket_address address;
    struct exchange_ready ready;
    int listen_fd;
    int file_fd;
    unsigned exchanges;
    unsigned ended;
    unsigned ended_well;
    unsigned refused;
    unsigned refused_status;
    unsigned limits[SERVER_LIMIT_COUNT];
    int connections;
    unsigned sends;
    unsigned drained;
    bool is_fuzzing; /* nothing that depends on cuts: /r, /p, /f are /n, and /e is /k */
};

struct client {
    struct rig *rig;
    int fd;
    struct buf got;
    bool is_closed; /* by the server, in order or not */
};

struct server_limits rig_limits(void);
void rig_start(struct rig *r, const struct server_limits *limits);
void rig_start_tcp(struct rig *r, const struct server_limits *limits);

/* Destroys the server, checks that each exchange ended once. */
void rig_stop(struct rig *r);

/* Turns until nothing happens any more without time passing; a busy loop is a failure. */
void rig_settle(struct rig *r);

/* The same while `ms` pass. */
void rig_advance(struct rig *r, uint64_t ms);

void client_open(struct rig *r, struct client *c);
void client_close(struct client *c);

/* Sends what the socket takes, without turning the loop. */
size_t client_put(struct client *c, struct str bytes);

/* Takes what has arrived; true when there was something. */
bool client_take(struct client *c);

/* Sends all, lets the server work and takes what comes, until nothing happens any more. */
void client_send(struct client *c, struct str bytes);

/* How often `text` stands in what came; how many bytes stand behind the first empty line. */
unsigned client_count(const struct client *c, const char *text);
size_t client_body_bytes(const struct client *c);

/* Blanks the values of Date fields. */
void rig_blank_dates(struct buf *b);
