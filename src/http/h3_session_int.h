/* SPDX-License-Identifier: Apache-2.0 */
/* h3_session.c owns life and what comes, h3_answer.c what is sent. */
#pragma once

#include <nghttp3/nghttp3.h>

#include "http/h3_session.h"
#include "http/mux_int.h"

/* A part of a body that was handed down. */
struct h3_chunk {
    struct h3_chunk *next;
    struct buf bytes;
};

/* A request stream as QUIC has it: it may outlive the exchange, until all has arrived. */
struct h3_stream {
    struct list link;    /* in the session */
    struct list waiting; /* in the session's, while too much is kept */
    struct list ending;  /* in the session's, when the exchange is to end */
    struct h3_session *session;
    struct mux_stream *stream; /* NULL: the exchange has ended */
    int64_t id;
    uint64_t code; /* of the reset */
    enum err cause;
    size_t head_bytes; /* that came and belong to no body */
    struct h3_chunk *kept;
    struct h3_chunk **kept_tail;
    uint64_t acknowledged; /* bytes of the first chunk */
    bool is_head_done;
    bool is_stopped_by_peer;
    bool is_reset_by_peer;
};

struct h3_counter {
    uint64_t start_ms;
    uint64_t count;
};

struct h3_session {
    struct mux_session mux; /* first */
    nghttp3_conn *engine;
    struct h3_wire wire;
    struct list all; /* struct h3_stream */
    size_t all_count;
    struct list waiting;
    struct list ending;
    uint64_t now_ms;
    size_t kept_bytes;
    size_t kept_bytes_max;   /* now */
    uint64_t stream_allowed; /* in all */
    struct h3_counter resets;
    struct h3_counter control;
    struct h3_offer last; /* without its pieces */
    size_t last_bytes;
    uint64_t code;
    enum h3_abuse abuse;
    bool is_bound;
    bool is_ready;
    bool takes_datagrams; /* the client does */
    bool is_failed;       /* the engine must not be used any more */
    bool is_finishing;
};

/* h3_answer.c */
extern const struct mux_ops h3_mux_ops;
int h3_answer_on_acknowledged(nghttp3_conn *engine, int64_t id, uint64_t n, void *user,
                              void *stream_user);
void h3_answer_drop_kept(struct h3_stream *h);

/* h3_session.c */
/* Breaks the stream off when the events allow it. */
void h3_stream_break(struct h3_stream *h, uint64_t code, enum err cause);
