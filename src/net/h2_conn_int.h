/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/2 server connection. http/h2_session.h turns bytes into streams and back; mux_stream.c
 * joins each stream with an exchange, h2_conn.c owns life, timers and interest.
 *
 * The session is destroyed, and memory freed, at the end of the turn only. What a service does to
 * an exchange becomes bytes at the end of the turn, or when the connection settles.
 */
#pragma once

#include "http/h2_session.h"
#include "net/mux_conn_int.h"

#define H2_CONN_MAGIC 0x6832636eu
#define H2_OUT_BYTES 65536u                   /* encoded at once */
#define H2_FLUSH_BUDGET_BYTES (1024u * 1024u) /* per turn, so that no download starves others */

struct h2_conn {
    struct mux_conn mux; /* first */
    uint32_t magic;
    struct timer timer;
    struct loop_task free_task;
    struct h2_session *session;
    struct buf rest; /* encoded, not taken by the socket */
    uint64_t start_ms;
    uint64_t unblocked_ms;  /* when the socket took all that was encoded */
    uint64_t head_start_ms; /* of a header block that is incomplete; 0 = none */
    bool is_input_closed;
    bool is_draining;  /* the client was told */
    bool is_finishing; /* no further stream is taken */
    bool is_lingering;
    bool is_dead;
    bool is_abuse_told;
};

size_t h2_conn_bytes(void);

/* `from` goes on as HTTP/2, and its first `n` bytes stand at `bytes`. On failure `from` is as it
 * was. */
enum err h2_conn_adopt(struct conn *from, const char *bytes, size_t n) MUST_CHECK;
