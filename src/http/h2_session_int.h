/* SPDX-License-Identifier: Apache-2.0 */
/* h2_session.c owns life and the frames that come, h2_head.c turns fields into a request,
 * h2_answer.c what is sent. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "http/h2_session.h"

/* How often something happened within H2_ABUSE_WINDOW_MS. */
struct h2_counter {
    uint64_t start_ms;
    uint32_t count;
};

struct h2_session {
    nghttp2_session *engine;
    struct h2_limits limits;
    struct h2_events events;
    struct list streams;
    size_t stream_count;
    struct h2_stream *reading; /* whose fields come */
    struct buf *out;           /* during h2_session_pull */
    size_t out_bytes_max;
    uint64_t now_ms;
    struct h2_counter resets;
    struct h2_counter control;
    uint32_t update_credit; /* window updates that our data called for */
    uint32_t block_bytes;   /* of the header block that comes */
    int32_t last_id;        /* of the latest request */
    enum h2_abuse abuse;
    uint32_t goaway_code; /* of the one that we write ourselves */
    bool is_within_head;
    bool is_ready;
    bool is_failed; /* the engine must not be used any more */
    bool is_goaway_pulled;
    bool is_noticed;
    bool is_broken;
    /* Estimate of the bandwidth-delay product. */
    int32_t window;
    uint64_t ping_ms;
    uint64_t ping_bytes; /* body bytes since the ping */
    bool is_ping_out;
};

/* h2_head.c */

/* Takes one field; costs are counted before anything is kept. */
void h2_head_field(struct h2_session *s, struct h2_stream *stream, const nghttp2_vec *name,
                   const nghttp2_vec *value, bool is_name_static);

/* All fields are there. */
void h2_head_finish(struct h2_session *s, struct h2_stream *stream);

/* h2_answer.c */
int h2_answer_send_data(nghttp2_session *engine, nghttp2_frame *frame, const uint8_t *head,
                        size_t n, nghttp2_data_source *source, void *user);

/* Answers with a status alone. */
void h2_answer_status(struct h2_session *s, struct h2_stream *stream, uint16_t status);

/* h2_session.c */

/* Counts; false when there were more than `max` within the window. */
bool h2_counter_add(struct h2_counter *c, uint64_t now_ms, uint32_t max);

/* Ends the session by a GOAWAY of our own. */
void h2_session_fail(struct h2_session *s, uint32_t code);
