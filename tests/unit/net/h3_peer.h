/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of HTTP/3 beside the server of rig.h: QUIC by quic_conn.h, requests as bytes of the
 * static table of QPACK. Both sides turn on the clock of the simulated loop; datagrams go over UDP
 * on the loopback, and a test may do to those of the client what it likes.
 */
#pragma once

#include "../../sim/quic_rig.h"
#include "net/h3_conn.h"
#include "rig.h"

/* The UDP port of the rig's server. */
struct h3_port {
    struct quic_endpoint *endpoint;
    int fd;
};

/* After rig_start and sim_start. */
void h3_port_open(struct h3_port *port, struct rig *r);
void h3_port_close(struct h3_port *port);

struct h3_peer {
    struct rig *rig;
    struct h3_port *port;
    struct quic_conn *conn;
    int fd;
    struct socket_address local;
    const char *path; /* of the request */
    const char *body; /* POST with it; NULL: GET */
    bool is_tunnel;   /* CONNECT for the protocol "bytes"; the stream stays open while it is set */
    bool takes_datagrams;
    struct buf out; /* of the request stream */
    size_t out_sent;
    int64_t control_id, request_id;
    size_t control_sent;
    bool is_end_sent;
    bool is_dead;        /* the connection is over, or the request */
    uint64_t reset_code; /* of the request */
    bool is_answered;
    struct buf got; /* of the request stream: frames */
    unsigned message_count;
    unsigned wanted_messages; /* h3_peer_run returns when there are so many; 0: no matter */
    struct buf message;       /* the last */
    /* What becomes of a datagram; NULL: it is sent. Calls h3_peer_send. */
    void (*change)(struct h3_peer *p, uint8_t *bytes, size_t n);
    void *context;
};

/* False: no memory. */
bool h3_peer_open(struct h3_peer *p, struct rig *r, struct h3_port *port, const char *path,
                  const char *body);

/* Opens a tunnel, and says or not that datagrams are taken beside its stream. */
bool h3_peer_open_tunnel(struct h3_peer *p, struct rig *r, struct h3_port *port, const char *path,
                         bool takes_datagrams);

/* Sends a datagram as it is, its stream in front; and bytes of the tunnel, in one DATA frame. */
void h3_peer_send_message(struct h3_peer *p, struct str bytes);
void h3_peer_send_data(struct h3_peer *p, struct str bytes);

void h3_peer_send(struct h3_peer *p, const uint8_t *bytes, size_t n);

/* Turns both sides until the answer is there, the connection is over, or `ms` have passed. */
void h3_peer_run(struct h3_peer *p, uint64_t ms);
bool h3_peer_has(const struct h3_peer *p, const char *text);

/* With a word to the server, or as if the cable had been cut. */
void h3_peer_close(struct h3_peer *p, bool is_told);
