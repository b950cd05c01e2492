/* SPDX-License-Identifier: Apache-2.0 */
/* h2_session.c owns life and the frames that come, mux_head.c turns fields into a request,
 * h2_answer.c what is sent. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "http/h2_pool.h"
#include "http/h2_session.h"
#include "http/mux_int.h"

#define H2_CLOSED_MAX 128u
#define H2_FRAME_HEAD_BYTES 9u
#define H2_SCAN_BYTES (H2_FRAME_HEAD_BYTES + 4u) /* with the dependency of a PRIORITY frame */

/* How often something happened within H2_ABUSE_WINDOW_MS. */
struct h2_counter {
    uint64_t start_ms;
    uint32_t count;
};

struct h2_session {
    struct mux_session mux; /* first */
    nghttp2_session *engine;
    struct h2_pool *pool;
    struct list blocks;         /* of the pool, that the engine has */
    struct mux_stream *reading; /* whose fields come */
    struct buf *out;            /* during h2_session_pull */
    size_t out_bytes_max;
    uint64_t now_ms;
    struct h2_counter resets;
    struct h2_counter control;
    uint32_t update_credit; /* window updates that our data called for */
    uint32_t block_bytes;   /* of the header block that comes, and its frames behind the first */
    uint32_t block_frames;
    int32_t last_id; /* of the latest request */
    /* The streams that closed last, as id * 2, and 1 more where we reset them: what the client had
     * sent before it knew is passed over. */
    uint32_t closed[H2_CLOSED_MAX];
    uint32_t closed_count;
    uint32_t closed_floor; /* the largest id that we reset and forgot */
    /* Where the input stands in its frames. */
    uint8_t scan_head[H2_SCAN_BYTES];
    uint32_t scan_have;
    uint32_t scan_skip;
    enum h2_abuse abuse;
    uint32_t goaway_code; /* of the one that we write ourselves */
    bool is_within_head;
    bool is_ready;
    bool is_failed;    /* the engine must not be used any more */
    bool is_exhausted; /* memory ran out within the engine */
    bool is_goaway_pulled;
    bool is_noticed;
    bool is_broken;
    /* Estimate of the bandwidth-delay product. */
    int32_t window;
    uint64_t ping_ms;
    uint64_t ping_bytes; /* body bytes since the ping */
    bool is_ping_out;
};

/* h2_frame.c: what the engine lets pass */

/* Remembers a stream that closed. */
void h2_frame_closed(struct h2_session *s, int32_t id, bool is_by_us);

/* The code of the connection error that this frame is, H2_NO_ERROR where it is none. */
uint32_t h2_frame_check(const struct h2_session *s, const nghttp2_frame_hd *frame);

/* Follows the frames within the input, up to behind the head of one that is to be looked at, which
 * h2_frame_found does once the engine has had these bytes, but for the last one of DATA without
 * payload. Returns how many they are. */
size_t h2_frame_scan(struct h2_session *s, const char *bytes, size_t n, bool *ret_is_found);
uint32_t h2_frame_found(const struct h2_session *s, nghttp2_frame_hd *ret_frame);

/* The header block whose frame was found last is longer than allowed. */
bool h2_frame_is_long_block(const struct h2_session *s, uint8_t type);

/* h2_answer.c */
int h2_answer_send_data(nghttp2_session *engine, nghttp2_frame *frame, const uint8_t *head,
                        size_t n, nghttp2_data_source *source, void *user);

extern const struct mux_ops h2_mux_ops;

/* h2_pool.c */
nghttp2_mem h2_pool_engine(struct h2_session *s);
void h2_pool_free_all(struct h2_session *s);

/* h2_session.c */

/* Counts; false when there were more than `max` within the window. */
bool h2_counter_add(struct h2_counter *c, uint64_t now_ms, uint32_t max);

/* Memory ran out: the session ends without a word. */
void h2_session_exhaust(struct h2_session *s);

/* Ends the session by a GOAWAY of our own. */
void h2_session_fail(struct h2_session *s, uint32_t code);
