/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h2_session_int.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#define PING_PAUSE_MS 100u            /* between two estimates */
#define PING_BODY_BYTES (64u * 1024u) /* uploads below that need no larger window */
#define PING_BYTES 8

static const uint8_t ping_estimate[PING_BYTES] = {'s', 'w', 's', '-', 'r', 't', 't', '1'};
static const uint8_t ping_notice[PING_BYTES] = {'s', 'w', 's', '-', 'e', 'n', 'd', '1'};
static const uint8_t ping_live[PING_BYTES] = {'s', 'w', 's', '-', 'l', 'i', 'v', 'e'};

bool h2_counter_add(struct h2_counter *c, uint64_t now_ms, uint32_t max)
{
    if (c->count == 0 || now_ms - c->start_ms >= H2_ABUSE_WINDOW_MS) {
        c->start_ms = now_ms;
        c->count = 0;
    }
    return ++c->count <= max;
}

void h2_session_fail(struct h2_session *s, enum h2_code code)
{
    if (!s->is_failed) {
        s->is_failed = true;
        s->is_broken = true;
        s->goaway_code = code;
    }
}

void h2_session_fail_calm(struct h2_session *s, enum h2_abuse abuse)
{
    s->abuse = abuse;
    h2_session_fail(s, H2_ENHANCE_YOUR_CALM);
}

void h2_session_exhaust(struct h2_session *s)
{
    h2_session_fail(s, H2_INTERNAL_ERROR);
    s->is_exhausted = true;
    s->is_goaway_pulled = true;
}

/* ---- streams ---- */

static struct h2_stream **stream_bucket(struct h2_session *s, uint32_t id)
{
    return &s->buckets[id / 2 % H2_BUCKETS];
}

struct h2_stream *h2_stream_find(const struct h2_session *s, uint32_t id)
{
    struct h2_stream *h = s->buckets[id / 2 % H2_BUCKETS];
    while (h && h->id != id) {
        h = h->next;
    }
    return h;
}

struct h2_stream *h2_stream_of(const struct mux_stream *stream)
{
    return stream->part;
}

static void stream_take_early_priority(struct h2_session *s, struct h2_stream *h)
{
    for (unsigned i = 0; i < H2_EARLY_PRIORITIES; i++) {
        if (s->early[i].id == h->id) {
            h->priority = s->early[i].priority;
            h->has_update = true;
        }
    }
}

static void stream_enter(struct h2_session *s, struct h2_stream *h, struct mux_stream *stream,
                         uint32_t id)
{
    stream->part = h;
    h->stream = stream;
    h->id = id;
    h->send_window = s->send_window_first;
    h->recv_window = s->window_first;
    h->recv_max = s->window_first;
    h->priority = HTTP_PRIORITY_DEFAULT;
    list_init(&h->ready);
    list_init(&h->due);
    struct h2_stream **bucket = stream_bucket(s, id);
    h->next = *bucket;
    *bucket = h;
}

struct h2_stream *h2_stream_open(struct h2_session *s, uint32_t id, bool is_body_done)
{
    struct h2_stream *h = slab_alloc(&s->pool->streams);
    struct mux_stream *stream = h ? mux_stream_begin(&s->mux, id, HTTP_VERSION_20) : NULL;
    if (!stream) {
        slab_free(&s->pool->streams, h);
        return NULL;
    }
    stream->is_body_done = is_body_done;
    stream_enter(s, h, stream, id);
    if (s->early_count) {
        stream_take_early_priority(s, h);
    }
    if (!is_body_done) {
        h2_window_grow(s, h, s->window);
    }
    return h;
}

struct h2_stream *h2_stream_join(struct h2_session *s, struct mux_stream *stream, uint32_t id)
{
    struct h2_stream *h = slab_alloc(&s->pool->streams);
    if (h) {
        mux_stream_init(&s->mux, stream, id, HTTP_VERSION_20);
        stream_enter(s, h, stream, id);
        h->priority.is_incremental = true; /* none waits for the end of another */
        h2_window_grow(s, h, s->window);
    }
    return h;
}

static void stream_free(struct h2_session *s, struct h2_stream *h)
{
    struct h2_stream **at = stream_bucket(s, h->id);
    while (*at != h) {
        at = &(*at)->next;
    }
    *at = h->next;
    list_remove(&h->ready);
    list_remove(&h->due);
    if (s->target == h) {
        s->target = NULL;
    }
    slab_free(&s->pool->streams, h);
}

bool h2_stream_is_whole(const struct h2_session *s, const struct mux_stream *stream)
{
    return s->is_client ? stream->is_begun && stream->is_body_done : stream->is_answered;
}

void h2_stream_gone(struct h2_session *s, struct h2_stream *h, enum err cause)
{
    struct mux_stream *stream = h->stream;
    stream_free(s, h);
    mux_stream_gone(&s->mux, stream, cause);
}

/* Resets that the client provoked count as its own. */
static bool stream_is_provoked(enum h2_code code)
{
    return code == H2_PROTOCOL_ERROR || code == H2_FLOW_CONTROL_ERROR || code == H2_STREAM_CLOSED ||
           code == H2_FRAME_SIZE_ERROR || code == H2_REFUSED_STREAM || code == H2_ENHANCE_YOUR_CALM;
}

void h2_stream_reset(struct h2_session *s, struct h2_stream *h, enum h2_code code)
{
    if (h->stream->is_resetting || s->is_failed) {
        return;
    }
    h->stream->is_resetting = true;
    list_remove(&h->ready);
    if (list_is_empty(&h->due)) {
        list_push_back(&s->due, &h->due);
    }
    h2_closed_add(s, h->id, true);
    h2_put_u32(s, H2_RST_STREAM, h->id, (uint32_t)code);
    /* Each stream of a client is one of its own requests; faults of answers need no budget. */
    if (!s->is_client && stream_is_provoked(code) &&
        !h2_counter_add(&s->resets, s->now_ms, H2_RESETS_MAX)) {
        h2_session_fail_calm(s, H2_ABUSE_RESETS);
    }
}

void h2_closed_add(struct h2_session *s, uint32_t id, bool is_by_us)
{
    uint32_t *place = &s->closed[s->closed_count++ % H2_CLOSED_MAX];
    if ((*place & 1) && *place >> 1 > s->closed_floor) {
        s->closed_floor = *place >> 1;
    }
    *place = id << 1 | is_by_us;
}

uint32_t h2_closed_find(const struct h2_session *s, uint32_t id)
{
    for (size_t i = 0; i < H2_CLOSED_MAX; i++) {
        if (s->closed[i] >> 1 == id) {
            return s->closed[i];
        }
    }
    return 0;
}

/* ---- windows ---- */

void h2_window_grow(struct h2_session *s, struct h2_stream *h, int64_t max)
{
    int64_t *window = h ? &h->recv_window : &s->recv_window;
    int64_t *now = h ? &h->recv_max : &s->recv_max;
    if (max > *now) {
        h2_put_u32(s, H2_WINDOW_UPDATE, h ? h->id : 0, (uint32_t)(max - *now));
        *window += max - *now;
        *now = max;
    }
}

/* An answer that lies unread at a client gets no larger window: the connection would not say so. */
static bool stream_is_flowing(const struct h2_session *s, const struct mux_stream *stream)
{
    const struct h2_stream *h = h2_stream_of(stream);
    return !s->is_client || h->recv_max - h->recv_window - h->consumed <= h->recv_max / 2;
}

void h2_window_on_ping(struct h2_session *s, const uint8_t *payload)
{
    if (!memcmp(payload, ping_notice, sizeof(ping_notice))) {
        s->is_noticed = true;
        return;
    }
    if (!memcmp(payload, ping_live, sizeof(ping_live))) {
        s->is_live_ping_out = false;
        return;
    }
    if (!s->is_ping_out || memcmp(payload, ping_estimate, sizeof(ping_estimate)) != 0) {
        return;
    }
    s->is_ping_out = false;
    /* What came within one round trip fills the window nearly: the window holds the peer back, not
     * the owner, who would only keep more of it. */
    int64_t product = (int64_t)s->ping_bytes;
    int64_t kept = s->recv_max - s->recv_window - s->consumed;
    if (product < s->window / 3 * 2 || s->window >= s->window_max || kept > s->window / 2) {
        return;
    }
    s->window = product * 2 < s->window_max ? product * 2 : s->window_max;
    h2_window_grow(s, NULL, s->is_client ? s->window * 2 : s->window);
    LIST_FOR_EACH(at, &s->mux.streams)
    {
        struct mux_stream *stream = CONTAINER_OF(at, struct mux_stream, link);
        if (!stream->is_body_done && !stream->is_resetting && stream_is_flowing(s, stream)) {
            h2_window_grow(s, h2_stream_of(stream), s->window);
        }
    }
}

void h2_window_estimate(struct h2_session *s, size_t n)
{
    s->ping_bytes += n;
    bool is_due = !s->is_ping_out && s->window < s->window_max &&
                  s->ping_bytes >= PING_BODY_BYTES && s->now_ms - s->ping_ms >= PING_PAUSE_MS;
    if (is_due) {
        h2_put(s, H2_PING, 0, 0, ping_estimate, sizeof(ping_estimate));
        s->is_ping_out = true;
        s->ping_ms = s->now_ms;
        s->ping_bytes = 0;
    }
}

/* Gives credit back once it is worth a frame. */
static void window_credit(struct h2_session *s, uint32_t id, uint32_t *consumed, int64_t *window,
                          int64_t max)
{
    if (*consumed >= max / 2) {
        h2_put_u32(s, H2_WINDOW_UPDATE, id, *consumed);
        *window += *consumed;
        *consumed = 0;
    }
}

static void window_return_connection(struct h2_session *s, size_t n)
{
    s->consumed += (uint32_t)n;
    window_credit(s, 0, &s->consumed, &s->recv_window, s->recv_max);
}

static void window_return_stream(struct h2_session *s, struct h2_stream *h, size_t n)
{
    if (h && !h->stream->is_resetting && !h->stream->is_body_done) {
        h->consumed += (uint32_t)n;
        window_credit(s, h->id, &h->consumed, &h->recv_window, h->recv_max);
    }
}

void h2_window_return(struct h2_session *s, struct h2_stream *h, size_t n)
{
    if (!s->is_failed) {
        window_return_connection(s, n);
        window_return_stream(s, h, n);
    }
}

void h2_window_keep(struct h2_session *s, size_t n)
{
    s->kept_bytes += (uint32_t)n;
    if (s->kept_bytes <= H2_KEPT_BYTES_MAX) {
        window_return_connection(s, n);
    } else {
        s->withheld_bytes += (uint32_t)n;
    }
}

void h2_session_consume(struct h2_session *s, struct mux_stream *stream, size_t n)
{
    struct h2_stream *h = stream ? h2_stream_of(stream) : NULL;
    if (!s->is_client) {
        h2_window_return(s, h, n);
    } else if (!s->is_failed) {
        size_t released = n < s->withheld_bytes ? n : s->withheld_bytes;
        s->kept_bytes -= (uint32_t)n;
        s->withheld_bytes -= (uint32_t)released;
        window_return_connection(s, released);
        window_return_stream(s, h, n);
    }
}

/* ---- life ---- */

static void session_put_setting(uint8_t **at, enum h2_setting setting, uint32_t value)
{
    const uint8_t six[6] = {(uint8_t)((unsigned)setting >> 8),
                            (uint8_t)setting,
                            (uint8_t)(value >> 24),
                            (uint8_t)(value >> 16),
                            (uint8_t)(value >> 8),
                            (uint8_t)value};
    memcpy(*at, six, sizeof(six));
    *at += sizeof(six);
}

static void session_open(struct h2_session *s)
{
    uint8_t payload[5 * 6], *end = payload;
    if (s->is_client) {
        buf_add_str(&s->queue, STR(H2_PREFACE));
        session_put_setting(&end, H2_ENABLE_PUSH, 0);
    } else {
        session_put_setting(&end, H2_MAX_CONCURRENT_STREAMS, s->mux.limits.stream_count_max);
    }
    session_put_setting(&end, H2_INITIAL_WINDOW_SIZE, (uint32_t)s->window_first);
    session_put_setting(&end, H2_MAX_HEADER_LIST_SIZE, s->mux.limits.header_bytes_max);
    session_put_setting(&end, H2_NO_RFC7540_PRIORITIES, 1);
    if (!s->is_client && s->mux.limits.has_connect_protocol) {
        session_put_setting(&end, H2_ENABLE_CONNECT_PROTOCOL, 1);
    }
    h2_put(s, H2_SETTINGS, 0, 0, payload, (size_t)(end - payload));
    h2_window_grow(s, NULL, H2_WINDOW_CONNECTION);
}

static enum err session_create(const struct mux_limits *limits, const struct mux_events *events,
                               struct h2_pool *pool, bool is_client,
                               struct h2_session **ret_session)
{
    struct h2_session *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->is_client = is_client;
    s->preface_n = is_client ? H2_PREFACE_BYTES : 0; /* servers send none */
    s->pool = pool;
    s->mux.ops = &h2_mux_ops;
    s->mux.limits = *limits;
    s->mux.events = *events;
    list_init(&s->mux.streams);
    for (unsigned i = 0; i < HTTP_URGENCY_COUNT; i++) {
        list_init(&s->ready[i]);
    }
    list_init(&s->due);
    hpack_decoder_init(&s->decoder);
    hpack_encoder_init(&s->encoder);
    buf_init(&s->queue, 0);
    buf_init(&s->payload, 0);
    buf_init(&s->block, 0);
    s->window_first = is_client ? H2_CLIENT_WINDOW : H2_WINDOW_STREAM;
    s->window_max = is_client ? H2_CLIENT_WINDOW_MAX : H2_WINDOW_MAX;
    s->window = s->window_first;
    s->streams_max = UINT32_MAX;
    s->send_window = H2_WINDOW_DEFAULT;
    s->send_window_first = H2_WINDOW_DEFAULT;
    s->recv_window = H2_WINDOW_DEFAULT;
    s->recv_max = H2_WINDOW_DEFAULT;
    session_open(s);
    if (s->is_failed) {
        h2_session_destroy(s);
        return ERR_NOMEM;
    }
    *ret_session = s;
    return ERR_OK;
}

enum err h2_session_create(const struct mux_limits *limits, const struct mux_events *events,
                           struct h2_pool *pool, struct h2_session **ret_session)
{
    return session_create(limits, events, pool, false, ret_session);
}

enum err h2_session_create_client(const struct mux_limits *limits, const struct mux_events *events,
                                  struct h2_pool *pool, struct h2_session **ret_session)
{
    return session_create(limits, events, pool, true, ret_session);
}

void h2_session_destroy(struct h2_session *s)
{
    if (!s) {
        return;
    }
    for (unsigned i = 0; i < H2_BUCKETS; i++) {
        while (s->buckets[i]) {
            stream_free(s, s->buckets[i]);
        }
    }
    hpack_decoder_done(&s->decoder);
    hpack_encoder_done(&s->encoder);
    buf_done(&s->queue);
    buf_done(&s->payload);
    buf_done(&s->block);
    mem_free(s);
}

void h2_session_set_limits(struct h2_session *s, const struct mux_limits *limits)
{
    s->mux.limits.header_bytes_max = limits->header_bytes_max;
    s->mux.limits.header_count_max = limits->header_count_max;
    s->mux.limits.uri_bytes_max = limits->uri_bytes_max;
}

bool h2_session_is_over(const struct h2_session *s)
{
    if (s->is_failed) {
        return s->is_goaway_pulled;
    }
    return (s->is_finishing || s->is_peer_leaving) && s->mux.stream_count == 0 &&
           !h2_session_wants_output(s);
}

bool h2_session_is_broken(const struct h2_session *s)
{
    return s->is_broken;
}

bool h2_session_is_ready(const struct h2_session *s)
{
    return s->is_ready;
}

bool h2_session_is_within_head(const struct h2_session *s)
{
    return s->is_within_head;
}

enum h2_abuse h2_session_abuse(const struct h2_session *s)
{
    return s->abuse;
}

size_t h2_session_stream_count(const struct h2_session *s)
{
    return s->mux.stream_count;
}

struct mux_session *h2_session_mux(struct h2_session *s)
{
    return &s->mux;
}

struct list *h2_session_streams(struct h2_session *s)
{
    return &s->mux.streams;
}

void h2_session_reset(struct h2_session *s, struct mux_stream *stream, enum h2_code code)
{
    h2_stream_reset(s, h2_stream_of(stream), code);
}

void h2_session_notice(struct h2_session *s)
{
    h2_put_goaway(s, INT32_MAX, H2_NO_ERROR);
    h2_put(s, H2_PING, 0, 0, ping_notice, sizeof(ping_notice));
}

void h2_session_finish(struct h2_session *s)
{
    h2_put_goaway(s, h2_last_taken(s), H2_NO_ERROR);
    s->is_finishing = true;
}

void h2_session_ping(struct h2_session *s)
{
    if (!s->is_live_ping_out) {
        s->is_live_ping_out = true;
        h2_put(s, H2_PING, 0, 0, ping_live, sizeof(ping_live));
    }
}

bool h2_session_is_pinging(const struct h2_session *s)
{
    return s->is_live_ping_out;
}

bool h2_session_is_noticed(const struct h2_session *s)
{
    return s->is_noticed;
}

/* ---- as the layer above sees it ---- */

static struct h2_session *h2_of_mux(struct mux_session *mux)
{
    return (struct h2_session *)mux;
}

static enum err h2_mux_respond(struct mux_session *mux, struct mux_stream *stream,
                               const struct mux_response *response)
{
    return h2_session_respond(h2_of_mux(mux), stream, response);
}

static void h2_mux_interim(struct mux_session *mux, struct mux_stream *stream, uint16_t status,
                           const struct http_fields *fields)
{
    h2_session_interim(h2_of_mux(mux), stream, status, fields);
}

static void h2_mux_resume(struct mux_session *mux, struct mux_stream *stream)
{
    h2_session_resume(h2_of_mux(mux), stream);
}

static enum h2_code h2_code_of(enum mux_reset why)
{
    switch (why) {
    case MUX_RESET_NO_ERROR:
        return H2_NO_ERROR;
    case MUX_RESET_PROTOCOL:
    case MUX_RESET_DATAGRAM:
        return H2_PROTOCOL_ERROR;
    case MUX_RESET_INTERNAL:
        return H2_INTERNAL_ERROR;
    case MUX_RESET_CANCEL:
        return H2_CANCEL;
    case MUX_RESET_CALM:
        return H2_ENHANCE_YOUR_CALM;
    }
    return H2_INTERNAL_ERROR;
}

static void h2_mux_reset(struct mux_session *mux, struct mux_stream *stream, enum mux_reset why)
{
    h2_session_reset(h2_of_mux(mux), stream, h2_code_of(why));
}

static void h2_mux_consume(struct mux_session *mux, struct mux_stream *stream, size_t n)
{
    h2_session_consume(h2_of_mux(mux), stream, n);
}

const struct mux_ops h2_mux_ops = {
    .respond = h2_mux_respond,
    .interim = h2_mux_interim,
    .resume = h2_mux_resume,
    .reset = h2_mux_reset,
    .consume = h2_mux_consume,
};
