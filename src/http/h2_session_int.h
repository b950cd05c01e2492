/* SPDX-License-Identifier: Apache-2.0 */
/* h2_session.c owns life, windows and streams, h2_input.c turns bytes into frames and acts on them,
 * h2_head.c checks the fields of a block, h2_output.c encodes and decides what is sent next,
 * h2_client.c has what only clients do: requests, and the heads and bodies of answers. */
#pragma once

#include "http/h2_pool.h"
#include "http/h2_session.h"
#include "http/hpack_int.h"
#include "http/mux_int.h"
#include "http/priority.h"

#define H2_FRAME_HEAD_BYTES 9u
#define H2_FRAME_BYTES_MAX 16384u /* of a payload, both ways */
#define H2_WINDOW_DEFAULT 65535   /* before SETTINGS say otherwise */
#define H2_CLOSED_MAX 128u
#define H2_BUCKETS 64u
#define H2_EARLY_PRIORITIES 8u

/* RFC 9113 section 6, RFC 9218 section 7.1. */
enum h2_type {
    H2_DATA = 0x0,
    H2_HEADERS = 0x1,
    H2_PRIORITY = 0x2,
    H2_RST_STREAM = 0x3,
    H2_SETTINGS = 0x4,
    H2_PUSH_PROMISE = 0x5,
    H2_PING = 0x6,
    H2_GOAWAY = 0x7,
    H2_WINDOW_UPDATE = 0x8,
    H2_CONTINUATION = 0x9,
    H2_PRIORITY_UPDATE = 0x10,
};

enum h2_flag {
    H2_ACK = 0x1,
    H2_END_STREAM = 0x1,
    H2_END_HEADERS = 0x4,
    H2_PADDED = 0x8,
    H2_HAS_PRIORITY = 0x20,
};

enum h2_setting {
    H2_HEADER_TABLE_SIZE = 0x1,
    H2_ENABLE_PUSH = 0x2,
    H2_MAX_CONCURRENT_STREAMS = 0x3,
    H2_INITIAL_WINDOW_SIZE = 0x4,
    H2_MAX_FRAME_SIZE = 0x5,
    H2_MAX_HEADER_LIST_SIZE = 0x6,
    H2_ENABLE_CONNECT_PROTOCOL = 0x8,
    H2_NO_RFC7540_PRIORITIES = 0x9,
};

struct h2_frame {
    uint32_t length;
    uint32_t id;
    uint8_t type;
    uint8_t flags;
};

/* What the session keeps of a stream beside the part that all protocols have. */
struct h2_stream {
    struct mux_stream *stream;
    struct h2_stream *next; /* in the bucket */
    struct list ready;      /* in h2_session.ready, while it may have something to send */
    struct list due;        /* in h2_session.due, when its answer went out or it was reset */
    uint32_t id;
    int64_t send_window; /* below 0 where SETTINGS took it back */
    int64_t recv_window; /* what the peer may still send */
    int64_t recv_max;    /* what it may send at once */
    uint32_t consumed;   /* not given back yet */
    uint64_t body_bytes; /* of the request, whoever got them */
    uint32_t head_seen;  /* h2_head.c: what the block had so far */
    bool is_malformed;   /* nothing of it counts any more */
    bool has_body;       /* there is an answer with a body */
    bool is_offering;    /* on_offer is to be asked */
    bool is_ended;       /* END_STREAM was encoded */
    bool has_update;     /* a PRIORITY_UPDATE overrules the field */
    struct http_priority priority;
};

/* How often something happened within H2_ABUSE_WINDOW_MS. */
struct h2_counter {
    uint64_t start_ms;
    uint32_t count;
};

struct h2_session {
    struct mux_session mux; /* first */
    struct h2_pool *pool;
    struct hpack_decoder decoder;
    struct hpack_encoder encoder;
    struct h2_stream *buckets[H2_BUCKETS];
    struct list ready[HTTP_URGENCY_COUNT];
    struct list due;
    struct buf *out;           /* during h2_session_pull */
    struct buf queue;          /* encoded frames that wait for h2_session_pull */
    uint32_t queue_frames;     /* among them those that carry no head */
    uint32_t queue_acks;       /* among these those that acknowledge */
    struct h2_stream *reading; /* whose fields come; NULL: of none that counts */
    uint64_t now_ms;
    struct h2_counter resets;
    struct h2_counter control;
    uint32_t update_credit; /* window updates that our data called for */
    uint32_t last_id;       /* of the latest request */
    bool is_client;
    bool has_connect;        /* of the peer's settings: extended CONNECT */
    bool is_live_ping_out;   /* h2_session_ping waits for its answer */
    uint32_t streams_max;    /* of the peer's settings */
    uint32_t kept_bytes;     /* of answers, with the owner */
    uint32_t withheld_bytes; /* of them, those that the connection got no credit for */
    /* Windows of the connection, and what those of streams begin with. */
    int64_t send_window;
    int64_t send_window_first;
    int64_t recv_window;
    int64_t recv_max;
    uint32_t consumed;
    /* The streams that closed last, as id * 2, and 1 more where we reset them: what the client had
     * sent before it knew is passed over. */
    uint32_t closed[H2_CLOSED_MAX];
    uint32_t closed_count;
    uint32_t closed_floor; /* the largest id that we reset and forgot */
    /* PRIORITY_UPDATE frames for streams that have not come yet. */
    struct {
        uint32_t id;
        struct http_priority priority;
    } early[H2_EARLY_PRIORITIES];
    uint32_t early_count;
    /* Where the input stands. */
    uint32_t preface_n; /* bytes of it that came */
    uint8_t head[H2_FRAME_HEAD_BYTES];
    uint32_t head_n;
    struct h2_frame frame; /* whose payload comes */
    uint32_t left;         /* of its payload */
    uint32_t pad_left;     /* of DATA */
    bool is_pad_known;
    struct h2_stream *target;    /* of DATA; NULL: dropped */
    struct buf payload;          /* of a frame that came in parts */
    struct buf block;            /* of a head in several frames */
    struct h2_frame block_frame; /* the HEADERS that began it */
    uint32_t block_bytes;
    uint32_t block_frames; /* behind the first */
    enum h2_abuse abuse;
    enum h2_code goaway_code; /* of the one that ends it in fault */
    bool is_block_open;       /* CONTINUATION must follow */
    bool is_within_head;
    bool has_ends;          /* of `ready`, some may end though the connection has no window */
    bool is_ready;          /* SETTINGS came */
    bool is_settings_acked; /* ours are known to the client */
    bool is_failed;         /* nothing but the GOAWAY follows */
    bool is_exhausted;      /* memory ran out where the peer's state and ours would part */
    bool is_goaway_pulled;
    bool is_finishing; /* a GOAWAY of ours was the last word: no further streams */
    bool is_peer_leaving;
    bool is_noticed;
    bool is_broken;
    int64_t window_first; /* of a stream's input */
    int64_t window_max;
    /* Estimate of the bandwidth-delay product. */
    int64_t window;
    uint64_t ping_ms;
    uint64_t ping_bytes; /* body bytes since the ping */
    bool is_ping_out;
};

/* h2_session.c */

/* Counts; false when there were more than `max` within the window. */
bool h2_counter_add(struct h2_counter *c, uint64_t now_ms, uint32_t max);

/* Memory ran out: the session ends without a word. */
void h2_session_exhaust(struct h2_session *s);

/* Ends the session by a GOAWAY. */
void h2_session_fail(struct h2_session *s, enum h2_code code);
void h2_session_fail_calm(struct h2_session *s, enum h2_abuse abuse);

struct h2_stream *h2_stream_find(const struct h2_session *s, uint32_t id);
struct h2_stream *h2_stream_of(const struct mux_stream *stream);

/* A new stream, or NULL: the owner has no room for one. */
struct h2_stream *h2_stream_open(struct h2_session *s, uint32_t id, bool is_body_done);

/* The same for `stream`; NULL: out of memory. */
struct h2_stream *h2_stream_join(struct h2_session *s, struct mux_stream *stream, uint32_t id);

/* The answer went out, or to a client came, as a whole: what follows takes nothing from it. */
bool h2_stream_is_whole(const struct h2_session *s, const struct mux_stream *stream);

/* Tells the last event and frees it. */
void h2_stream_gone(struct h2_session *s, struct h2_stream *h, enum err cause);
void h2_stream_reset(struct h2_session *s, struct h2_stream *h, enum h2_code code);

/* Remembers a stream that closed, and finds it: as in h2_session.closed, 0 where it is not there.
 */
void h2_closed_add(struct h2_session *s, uint32_t id, bool is_by_us);
uint32_t h2_closed_find(const struct h2_session *s, uint32_t id);

/* The window of `h`, or of the connection (NULL), becomes as large as `max`. */
void h2_window_grow(struct h2_session *s, struct h2_stream *h, int64_t max);
/* Gives credit back to `h` (NULL: none), and to the connection. */
void h2_window_return(struct h2_session *s, struct h2_stream *h, size_t n);
/* Bytes of an answer went to the owner of a client. */
void h2_window_keep(struct h2_session *s, size_t n);
void h2_window_on_ping(struct h2_session *s, const uint8_t *payload);
void h2_window_estimate(struct h2_session *s, size_t n);

/* h2_head.c: reads a whole block for `h`; NULL: only the state of the table counts. */
void h2_head_read(struct h2_session *s, struct h2_stream *h, const uint8_t *block, size_t n);

/* h2_output.c: frames into the queue. */
void h2_put(struct h2_session *s, enum h2_type type, unsigned flags, uint32_t id,
            const uint8_t *payload, size_t n);
void h2_put_u32(struct h2_session *s, enum h2_type type, uint32_t id, uint32_t value);
void h2_put_goaway(struct h2_session *s, uint32_t last_id, enum h2_code code);

/* The latest of the peer's streams, for our last GOAWAY. */
uint32_t h2_last_taken(const struct h2_session *s);

/* The fields of a block, between which a caller may put pseudo fields of its own. */
size_t h2_put_block_begin(struct h2_session *s);
void h2_put_block_end(struct h2_session *s, size_t start, unsigned flags, uint32_t id);

/* h2_client.c */
struct h2_stream *h2_client_head_stream(struct h2_session *s, struct h2_stream *h, bool is_end);
bool h2_client_take_status(struct h2_stream *h, struct str value);
void h2_client_head_finish(struct h2_session *s, struct h2_stream *h, bool is_end);
void h2_client_on_body(struct h2_session *s, struct h2_stream *h, const uint8_t *p, size_t n);
void h2_client_on_goaway(struct h2_session *s, uint32_t last_id);

/* h2_head.c: the answer, or the request, is malformed. */
void h2_head_refuse(struct h2_session *s, struct h2_stream *h);

/* It may have something to send. */
void h2_output_ready(struct h2_session *s, struct h2_stream *h);
void h2_output_prioritise(struct h2_session *s, struct h2_stream *h, struct http_priority p);

extern const struct mux_ops h2_mux_ops;
