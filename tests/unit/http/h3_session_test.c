/* SPDX-License-Identifier: Apache-2.0 */
/* A session and the client of nghttp3, joined in memory: what becomes of streams, what is kept
 * until it is acknowledged, and what abuse leads to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <nghttp3/nghttp3.h>

#include "base/assert.h"
#include "base/mem.h"
#include "http/h3_session.h"
#include "http/varint.h"

#define PAIRS_MAX 256

struct test_stream {
    struct mux_stream stream;
    size_t body_left; /* to be offered */
};

struct test {
    struct h3_session *session;
    nghttp3_conn *client;
    struct buf log;      /* of the server's events, and what the client gets, as text */
    size_t answer_bytes; /* of every answer's body */
    size_t got_bytes;    /* by the client */
    size_t consumed_bytes;
    size_t kept_most;
    uint64_t unacknowledged[PAIRS_MAX]; /* by stream */
    uint64_t now_ms;
    unsigned live;
    unsigned stops;
    unsigned resets;
    uint64_t last_code;
    unsigned refused_status;
    const char *request_body; /* of the next request */
    bool has_request_trailers;
    bool is_endless;    /* the request has no end */
    struct buf control; /* what the client gets on the control stream */
    bool is_silent;     /* no answers */
    bool has_trailers;
    bool acknowledges_late;
};

static bool client_takes_datagrams;

static const char date[] = "Sat, 21 Nov 2026 08:00:00 GMT";

/* ---- the server's owner ---- */

static struct mux_stream *on_stream(void *context)
{
    struct test *t = context;
    struct test_stream *s = mem_zalloc(1, sizeof(*s));
    t->live += s != NULL;
    return s ? &s->stream : NULL;
}

static void on_request(void *context, struct mux_stream *stream)
{
    struct test *t = context;
    struct mux_session *mux = h3_session_mux(t->session);
    const struct request_head *h = &stream->head;
    struct http_field v[2];
    buf_printf(&t->log, "%d " STR_FMT " " STR_FMT "://" STR_FMT STR_FMT "\n", (int)stream->id,
               STR_ARG(h->method_text), STR_ARG(h->scheme), STR_ARG(h->authority),
               STR_ARG(h->path));
    if (t->is_silent) {
        return;
    }
    struct response_head head = {.status = 200};
    http_fields_init(&head.fields, v, 2);
    enum err e = http_fields_add(&head.fields, STR("X-Own"), STR("yes"));
    const struct mux_response response = {.head = &head,
                                          .body_bytes =
                                              h->protocol.p ? MUX_LENGTH_UNKNOWN : t->answer_bytes,
                                          .date = date,
                                          .has_body = t->answer_bytes > 0};
    ((struct test_stream *)stream)->body_left = t->answer_bytes;
    e = e ? e : mux_respond(mux, stream, &response);
    if (!e && t->has_trailers && !h->protocol.p) {
        struct http_fields trailers;
        http_fields_init(&trailers, v, 2);
        e = http_fields_add(&trailers, STR("X-Sum"), STR("12"));
        e = e ? e : mux_trailers(stream, &trailers);
    }
    if (e) {
        mux_reset(mux, stream, MUX_RESET_INTERNAL);
    }
}

static void on_body(void *context, struct mux_stream *stream, const char *bytes, size_t n)
{
    struct test *t = context;
    buf_printf(&t->log, "%d takes %.*s\n", (int)stream->id, (int)n, bytes);
    mux_consume(h3_session_mux(t->session), stream, n);
}

static void on_body_end(void *context, struct mux_stream *stream)
{
    struct test *t = context;
    buf_printf(&t->log, "%d body", (int)stream->id);
    for (unsigned i = 0; i < stream->trailers.n; i++) {
        buf_printf(&t->log, " " STR_FMT "=" STR_FMT, STR_ARG(stream->trailers.v[i].name),
                   STR_ARG(stream->trailers.v[i].value));
    }
    buf_add_char(&t->log, '\n');
}

static void on_answered(void *context, struct mux_stream *stream)
{
    struct test *t = context;
    buf_printf(&t->log, "%d answered\n", (int)stream->id);
}

static void free_stream(struct test *t, struct mux_stream *stream)
{
    t->live--;
    arena_done(&stream->arena);
    mem_free(stream);
}

static void on_stream_end(void *context, struct mux_stream *stream, enum err cause)
{
    struct test *t = context;
    buf_printf(&t->log, "%d %s\n", (int)stream->id, cause ? err_name(cause) : "end");
    free_stream(t, stream);
}

static size_t on_offer(void *context, struct mux_stream *stream, size_t n, bool *ret_is_last)
{
    const struct test_stream *s = (const struct test_stream *)stream;
    (void)context;
    *ret_is_last = s->body_left <= n;
    return s->body_left < n ? s->body_left : n;
}

static enum err on_take(void *context, struct mux_stream *stream, struct buf *out, size_t n)
{
    struct test_stream *s = (struct test_stream *)stream;
    (void)context;
    for (size_t i = 0; i < n; i++) {
        buf_add_char(out, 'b');
    }
    s->body_left -= n;
    return ERR_OK;
}

static void on_refused(void *context, enum h1_reject reason, unsigned status)
{
    struct test *t = context;
    (void)reason;
    t->refused_status = status;
}

static void on_datagram(void *context, struct mux_stream *stream, const char *bytes, size_t n)
{
    struct test *t = context;
    buf_printf(&t->log, "%d datagram %.*s\n", stream ? (int)stream->id : -1, (int)n, bytes);
}

static void wire_consume(void *context, int64_t id, size_t n)
{
    (void)id;
    ((struct test *)context)->consumed_bytes += n;
}

static void wire_reset(void *context, int64_t id, uint64_t code)
{
    struct test *t = context;
    (void)id;
    t->resets++;
    t->last_code = code;
}

static void wire_stop(void *context, int64_t id, uint64_t code)
{
    struct test *t = context;
    (void)id;
    t->stops++;
    t->last_code = code;
}

static void wire_wake(void *context)
{
    (void)context;
}

/* ---- the client ---- */

static int client_on_data(nghttp3_conn *conn, int64_t id, const uint8_t *p, size_t n, void *user,
                          void *stream_user)
{
    ((struct test *)user)->got_bytes += n;
    return 0;
}

static int client_on_header(nghttp3_conn *conn, int64_t id, int32_t token, nghttp3_rcbuf *name,
                            nghttp3_rcbuf *value, uint8_t flags, void *user, void *stream_user)
{
    const nghttp3_vec n = nghttp3_rcbuf_get_buf(name), v = nghttp3_rcbuf_get_buf(value);
    buf_printf(&((struct test *)user)->log, "< %.*s: %.*s\n", (int)n.len, n.base, (int)v.len,
               v.base);
    return 0;
}

static nghttp3_ssize client_on_read(nghttp3_conn *conn, int64_t id, nghttp3_vec *vec, size_t count,
                                    uint32_t *flags, void *user, void *stream_user)
{
    const struct test *t = user;
    if (t->is_endless) {
        return NGHTTP3_ERR_WOULDBLOCK;
    }
    *flags |= NGHTTP3_DATA_FLAG_EOF;
    if (t->has_request_trailers) {
        nghttp3_nv nv = {(uint8_t *)"x-sum", (uint8_t *)"34", 5, 2, 0};
        *flags |= NGHTTP3_DATA_FLAG_NO_END_STREAM;
        assert_int_equal(nghttp3_conn_submit_trailers(conn, id, &nv, 1), 0);
    }
    vec[0] = (nghttp3_vec){(uint8_t *)(uintptr_t)t->request_body, strlen(t->request_body)};
    return 1;
}

static struct mux_limits test_limits(void)
{
    return (struct mux_limits){.header_bytes_max = 4096,
                               .header_count_max = 20,
                               .uri_bytes_max = 1000,
                               .stream_count_max = PAIRS_MAX};
}

static enum err open_with(struct test *t, const struct mux_limits *limits)
{
    const struct mux_events events = {on_stream,   on_request,    on_body,  on_body_end,
                                      on_answered, on_stream_end, on_offer, on_take,
                                      on_refused,  on_datagram,   NULL,     t};
    const struct h3_wire wire = {wire_consume, wire_reset, wire_stop, wire_wake, t};
    const nghttp3_callbacks callbacks = {.recv_data = client_on_data,
                                         .recv_header = client_on_header,
                                         .recv_trailer = client_on_header};
    nghttp3_settings settings;
    *t = (struct test){.now_ms = 1};
    buf_init(&t->log, 0);
    buf_init(&t->control, 0);
    nghttp3_settings_default(&settings);
    settings.qpack_max_dtable_capacity = 4096;
    settings.qpack_blocked_streams = 16;
    settings.h3_datagram = client_takes_datagrams;
    assert_int_equal(nghttp3_conn_client_new(&t->client, &callbacks, &settings, NULL, t), 0);
    assert_int_equal(nghttp3_conn_bind_control_stream(t->client, 2), 0);
    assert_int_equal(nghttp3_conn_bind_qpack_streams(t->client, 6, 10), 0);
    enum err e = h3_session_create(limits, &events, &wire, &t->session);
    if (e) {
        t->session = NULL;
        return e;
    }
    return h3_session_bind(t->session, 3, 7, 11);
}

static enum err open_test(struct test *t)
{
    const struct mux_limits limits = test_limits();
    return open_with(t, &limits);
}

static void close_test(struct test *t)
{
    if (t->session) {
        struct list *streams = &h3_session_mux(t->session)->streams;
        while (!list_is_empty(streams)) {
            struct mux_stream *stream = CONTAINER_OF(streams->next, struct mux_stream, link);
            list_remove(&stream->link);
            free_stream(t, stream);
        }
    }
    h3_session_destroy(t->session);
    nghttp3_conn_del(t->client);
    assert_int_equal(t->live, 0);
    buf_done(&t->log);
    buf_done(&t->control);
}

static bool client_to_server(struct test *t)
{
    nghttp3_vec vec[16];
    int64_t id = -1;
    int is_end = 0;
    nghttp3_ssize count = nghttp3_conn_writev_stream(t->client, &id, &is_end, vec, 16);
    assert_true(count >= 0);
    if (id < 0) {
        return false;
    }
    size_t total = 0;
    for (nghttp3_ssize i = 0; i < count; i++) {
        bool is_last = is_end && i == count - 1;
        h3_session_recv(t->session, t->now_ms, id, vec[i].base, vec[i].len, is_last);
        total += vec[i].len;
    }
    if (count == 0) {
        h3_session_recv(t->session, t->now_ms, id, NULL, 0, is_end);
    }
    assert_int_equal(nghttp3_conn_add_write_offset(t->client, id, total), 0);
    assert_int_equal(nghttp3_conn_add_ack_offset(t->client, id, total), 0);
    return true;
}

static bool server_to_client(struct test *t)
{
    struct h3_offer offer;
    h3_session_offer(t->session, t->now_ms, &offer);
    if (offer.stream_id < 0) {
        return false;
    }
    size_t total = 0;
    for (size_t i = 0; i < offer.count; i++) {
        bool is_last = offer.is_end && i == offer.count - 1;
        assert_true(nghttp3_conn_read_stream(t->client, offer.stream_id, offer.pieces[i].p,
                                             offer.pieces[i].n, is_last) >= 0);
        if (offer.stream_id == 3) {
            buf_add(&t->control, offer.pieces[i].p, offer.pieces[i].n);
        }
        total += offer.pieces[i].n;
    }
    if (offer.count == 0 && offer.is_end) {
        assert_true(nghttp3_conn_read_stream(t->client, offer.stream_id, NULL, 0, 1) >= 0);
    }
    h3_session_taken(t->session, total);
    size_t kept = h3_session_kept_bytes(t->session);
    t->kept_most = kept > t->kept_most ? kept : t->kept_most;
    if (t->acknowledges_late) {
        t->unacknowledged[offer.stream_id] += total;
    } else {
        h3_session_acknowledged(t->session, offer.stream_id, total);
    }
    return true;
}

static void talk(struct test *t)
{
    for (bool is_going = true; is_going && !h3_session_is_failed(t->session);) {
        is_going = client_to_server(t);
        is_going |= server_to_client(t);
    }
}

static void request(struct test *t, int64_t id, const char *method, const char *path,
                    const char *name, const char *value, const char *body)
{
    const char *fields[][2] = {
        {":method", method}, {":scheme", "https"}, {":authority", "a.test"},
        {":path", path},     {name, value},
    };
    nghttp3_nv nv[5];
    const nghttp3_data_reader reader = {client_on_read};
    size_t n = name ? 5 : 4;
    for (size_t i = 0; i < n; i++) {
        nv[i] = (nghttp3_nv){(uint8_t *)(uintptr_t)fields[i][0], (uint8_t *)(uintptr_t)fields[i][1],
                             strlen(fields[i][0]), strlen(fields[i][1]), 0};
    }
    t->request_body = body;
    assert_int_equal(nghttp3_conn_submit_request(t->client, id, nv, n, body ? &reader : NULL, NULL),
                     0);
}

static bool has(const struct test *t, const char *text)
{
    return memmem(t->log.p, t->log.n, text, strlen(text)) != NULL;
}

/* ---- tests ---- */

static void test_request_and_answer(void **state)
{
    struct test t;
    assert_int_equal(open_test(&t), ERR_OK);
    t.answer_bytes = 5;
    t.has_trailers = true;
    request(&t, 0, "GET", "/p?q", "x-a", "1", NULL);
    talk(&t);
    assert_true(h3_session_is_ready(t.session));
    assert_true(has(&t, "0 GET https://a.test/p\n"));
    assert_true(has(&t, "< :status: 200\n< date: Sat, 21 Nov 2026 08:00:00 GMT\n"
                        "< content-length: 5\n< x-own: yes\n"));
    assert_true(has(&t, "< x-sum: 12\n"));
    assert_true(has(&t, "0 answered\n0 end\n"));
    assert_int_equal(t.got_bytes, 5);
    assert_int_equal(t.live, 0);
    close_test(&t);
}

static void test_body_of_a_request(void **state)
{
    struct test t;
    assert_int_equal(open_test(&t), ERR_OK);
    t.is_silent = true;
    request(&t, 0, "POST", "/", "content-length", "4", "abcd");
    talk(&t);
    assert_true(has(&t, "0 takes abcd\n0 body\n"));
    assert_true(t.consumed_bytes > 4);
    assert_int_equal(t.live, 1);
    close_test(&t);
}

static void test_trailers_of_a_request(void **state)
{
    struct test t;
    assert_int_equal(open_test(&t), ERR_OK);
    t.is_silent = true;
    t.has_request_trailers = true;
    request(&t, 0, "POST", "/", NULL, NULL, "abcd");
    talk(&t);
    assert_true(has(&t, "0 takes abcd\n0 body x-sum=34\n"));
    close_test(&t);
}

/* RFC 9220: announced, and then bytes are all that may come. */
static void test_extended_connect(void **state)
{
    struct test t;
    struct mux_limits limits = test_limits();
    limits.has_connect_protocol = true;
    assert_int_equal(open_with(&t, &limits), ERR_OK);
    t.is_silent = true;
    request(&t, 0, "CONNECT", "/chat", ":protocol", "websocket", "bytes");
    talk(&t);
    assert_non_null(memmem(t.control.p, t.control.n, "\x08\x01", 2));
    assert_true(has(&t, "0 CONNECT https://a.test/chat\n0 takes bytes\n0 body\n"));
    t.has_request_trailers = true;
    request(&t, 4, "CONNECT", "/chat", ":protocol", "websocket", "bytes");
    talk(&t);
    assert_true(has(&t, "4 takes bytes\n"));
    assert_false(has(&t, "4 body"));
    assert_true(h3_session_is_failed(t.session));
    assert_int_equal(h3_session_code(t.session), NGHTTP3_H3_FRAME_UNEXPECTED);
    close_test(&t);
}

static void test_connect_that_is_not_announced(void **state)
{
    struct test t;
    assert_int_equal(open_test(&t), ERR_OK);
    request(&t, 0, "CONNECT", "/chat", ":protocol", "websocket", NULL);
    talk(&t);
    assert_null(memmem(t.control.p, t.control.n, "\x08\x01", 2));
    assert_false(has(&t, "CONNECT"));
    assert_int_equal(t.last_code, H3_MESSAGE_ERROR);
    assert_int_equal(t.live, 0);
    close_test(&t);
}

/* The bytes of several large answers stay until they are acknowledged, and no more than twice what
 * the path takes. */
static void check_kept_bytes(uint64_t window_bytes, size_t most)
{
    struct test t;
    assert_int_equal(open_test(&t), ERR_OK);
    t.answer_bytes = 2600000;
    h3_session_set_window(t.session, window_bytes);
    t.acknowledges_late = true;
    for (int64_t id = 0; id < 16; id += 4) {
        request(&t, id, "GET", "/", NULL, NULL, NULL);
    }
    for (unsigned rounds = 0; t.got_bytes < 4 * t.answer_bytes; rounds++) {
        assert_true(rounds < 60);
        talk(&t);
        assert_true(h3_session_kept_bytes(t.session) > 0);
        for (int64_t id = 0; id < PAIRS_MAX; id++) {
            h3_session_acknowledged(t.session, id, t.unacknowledged[id]);
            t.unacknowledged[id] = 0;
        }
        assert_int_equal(h3_session_kept_bytes(t.session), 0);
    }
    assert_in_range(t.kept_most, most - H3_CHUNK_BYTES, most + H3_CHUNK_BYTES);
    assert_int_equal(t.live, 0);
    close_test(&t);
}

static void test_kept_bytes_are_bounded(void **state)
{
    check_kept_bytes(0, H3_KEPT_BYTES_MIN);
    check_kept_bytes(14720, H3_KEPT_BYTES_MIN);
    check_kept_bytes(500000, 1000000);
    check_kept_bytes(H3_KEPT_BYTES_MAX / 2, H3_KEPT_BYTES_MAX);
    check_kept_bytes(UINT64_MAX, H3_KEPT_BYTES_MAX);
}

/* What was not acknowledged when the stream is closed goes with it. */
static void test_a_closed_stream_keeps_nothing(void **state)
{
    struct test t;
    assert_int_equal(open_test(&t), ERR_OK);
    t.answer_bytes = 100000;
    t.acknowledges_late = true;
    request(&t, 0, "GET", "/", NULL, NULL, NULL);
    talk(&t);
    assert_int_equal(h3_session_kept_bytes(t.session), 100000);
    h3_session_finish(t.session);
    assert_false(h3_session_is_over(t.session));
    h3_session_closed(t.session, 0, H3_NO_ERROR);
    assert_int_equal(h3_session_kept_bytes(t.session), 0);
    assert_true(h3_session_is_over(t.session));
    assert_int_equal(h3_session_code(t.session), H3_NO_ERROR);
    close_test(&t);
}

static void test_large_heads_are_answered(void **state)
{
    static char value[5000];
    struct test t;
    memset(value, 'v', sizeof(value) - 1);
    assert_int_equal(open_test(&t), ERR_OK);
    request(&t, 0, "GET", "/", "x-long", value, NULL);
    talk(&t);
    assert_int_equal(t.refused_status, 431);
    assert_true(has(&t, "< :status: 431\n"));
    value[1500] = '\0';
    value[0] = '/';
    request(&t, 4, "GET", value, NULL, NULL, NULL);
    talk(&t);
    assert_int_equal(t.refused_status, 414);
    request(&t, 8, "GET", "/", NULL, NULL, NULL);
    talk(&t);
    assert_true(has(&t, "8 answered\n8 end\n"));
    close_test(&t);
}

static void test_malformed_requests_are_reset(void **state)
{
    static const char *const fields[][2] = {{"connection", "close"},
                                            {"transfer-encoding", "chunked"},
                                            {"content-length", "x"},
                                            {"host", "other.test"}};
    struct test t;
    assert_int_equal(open_test(&t), ERR_OK);
    for (unsigned i = 0; i < 4; i++) {
        request(&t, 4 * (int64_t)i, "GET", "/", fields[i][0], fields[i][1], NULL);
        talk(&t);
        assert_false(has(&t, "GET"));
        assert_int_equal(t.resets, i + 1);
        assert_int_equal(t.last_code, H3_MESSAGE_ERROR);
        assert_int_equal(t.live, 0);
        assert_false(h3_session_is_failed(t.session));
    }
    close_test(&t);
}

static void test_the_peer_gives_up(void **state)
{
    struct test t;
    assert_int_equal(open_test(&t), ERR_OK);
    t.is_silent = true;
    request(&t, 0, "GET", "/", NULL, NULL, NULL);
    request(&t, 4, "GET", "/", NULL, NULL, NULL);
    talk(&t);
    h3_session_peer_stop(t.session, t.now_ms, 0);
    h3_session_peer_reset(t.session, t.now_ms, 4);
    assert_int_equal(t.live, 2); /* not from within */
    talk(&t);
    assert_true(has(&t, "0 ERR_RESET\n4 ERR_RESET\n"));
    assert_int_equal(t.resets, 1); /* a stop is answered by QUIC itself */
    close_test(&t);
}

static void test_rapid_resets_end_it(void **state)
{
    struct test t;
    assert_int_equal(open_test(&t), ERR_OK);
    t.is_silent = true;
    for (unsigned i = 0; i <= H3_RESETS_MAX; i++) {
        int64_t id = (int64_t)i * 4;
        assert_false(h3_session_is_failed(t.session));
        request(&t, id, "GET", "/", NULL, NULL, NULL);
        talk(&t);
        h3_session_peer_reset(t.session, t.now_ms, id);
        h3_session_closed(t.session, id, H3_REQUEST_CANCELLED);
        assert_int_equal(nghttp3_conn_close_stream(t.client, id, H3_REQUEST_CANCELLED), 0);
    }
    assert_int_equal(h3_session_abuse(t.session), H3_ABUSE_RESETS);
    assert_int_equal(h3_session_code(t.session), H3_EXCESSIVE_LOAD);
    close_test(&t);
}

/* Frames of unknown types on the control stream (RFC 9114 9) carry nothing. */
static void test_a_flood_of_control_bytes_ends_it(void **state)
{
    static uint8_t frames[30000];
    struct test t;
    assert_int_equal(open_test(&t), ERR_OK);
    talk(&t);
    for (size_t i = 0; i + 3 <= sizeof(frames); i += 3) {
        frames[i] = 0x21;
        frames[i + 1] = 1;
    }
    unsigned count = 0;
    for (; count < 100 && !h3_session_is_failed(t.session); count++) {
        h3_session_recv(t.session, t.now_ms, 2, frames, sizeof(frames), false);
    }
    assert_in_range(count, 8, 9);
    assert_int_equal(h3_session_abuse(t.session), H3_ABUSE_CONTROL);
    close_test(&t);
}

/* Frames of one byte each are many messages, not a flood of framing. */
static void test_many_small_frames(void **state)
{
    static uint8_t frames[3 * 5000];
    struct test t;
    struct mux_limits limits = test_limits();
    limits.has_connect_protocol = true;
    assert_int_equal(open_with(&t, &limits), ERR_OK);
    t.is_silent = true;
    t.is_endless = true;
    request(&t, 0, "CONNECT", "/", ":protocol", "bytes", "");
    talk(&t);
    for (size_t i = 0; i + 3 <= sizeof(frames); i += 3) {
        frames[i + 1] = 1;
        frames[i + 2] = 'x';
    }
    for (unsigned i = 0; i < 100; i++) {
        h3_session_recv(t.session, t.now_ms, 0, frames, sizeof(frames), false);
    }
    assert_false(h3_session_is_failed(t.session));
    close_test(&t);
}

static void datagram(struct test *t, struct str bytes)
{
    h3_session_recv_datagram(t->session, t->now_ms, (const uint8_t *)bytes.p, bytes.n);
}

/* RFC 9297 2.1: announced, and led to streams that are there. */
static void test_datagrams(void **state)
{
    char head[H3_DATAGRAM_HEAD_BYTES_MAX];
    struct test t;
    struct mux_limits limits = test_limits();
    limits.has_connect_protocol = true;
    assert_int_equal(open_with(&t, &limits), ERR_OK);
    t.is_silent = true;
    t.is_endless = true;
    datagram(&t, STR("\0early")); /* it overtook its request */
    assert_int_equal(h3_session_datagram_head(t.session, 0, head), 0);
    request(&t, 0, "CONNECT", "/", ":protocol", "bytes", "");
    request(&t, 4, "CONNECT", "/", ":protocol", "bytes", "");
    talk(&t);
    assert_non_null(memmem(t.control.p, t.control.n, "\x33\x01", 2));
    assert_int_equal(h3_session_datagram_head(t.session, 4, head), 0); /* it takes none */
    datagram(&t, STR("\x01one"));
    datagram(&t, STR("\x40\x01two")); /* a longer form */
    datagram(&t, STR("\0"));
    datagram(&t, STR("\x05other"));
    assert_true(has(&t, "-1 datagram early\n"));
    assert_true(has(&t, "4 datagram one\n4 datagram two\n0 datagram \n-1 datagram other\n"));
    h3_session_peer_reset(t.session, t.now_ms, 4);
    datagram(&t, STR("\x01late"));
    assert_true(has(&t, "-1 datagram late\n"));
    assert_false(h3_session_is_failed(t.session));
    close_test(&t);
}

static void test_the_client_takes_datagrams(void **state)
{
    char head[H3_DATAGRAM_HEAD_BYTES_MAX];
    struct test t;
    struct mux_limits limits = test_limits();
    client_takes_datagrams = true;
    assert_int_equal(open_with(&t, &limits), ERR_OK);
    client_takes_datagrams = false;
    talk(&t);
    assert_int_equal(h3_session_datagram_head(t.session, 4, head), 1);
    assert_int_equal(head[0], 1);
    assert_int_equal(h3_session_datagram_head(t.session, 256, head), 2);
    assert_memory_equal(head, "\x40\x40", 2);
    close_test(&t);
}

static void test_malformed_datagrams(void **state)
{
    static const struct {
        struct str bytes;
        uint64_t code;
    } wrong[] = {
        {STR(""), H3_DATAGRAM_ERROR},
        {STR("\x40"), H3_DATAGRAM_ERROR},
        {STR("\xff\xff\xff\xff\xff\xff\xff"), H3_DATAGRAM_ERROR},
        {STR("\xd0\0\0\0\0\0\0\0"), H3_DATAGRAM_ERROR}, /* 2^60: no stream has this */
        {STR("\xcf\xff\xff\xff\xff\xff\xff\xff"), H3_ID_ERROR},
    };
    struct test t;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(open_test(&t), ERR_OK);
        talk(&t);
        datagram(&t, wrong[i].bytes);
        assert_true(h3_session_is_failed(t.session));
        assert_int_equal(h3_session_code(t.session), wrong[i].code);
        assert_int_equal(t.log.n, 0);
        datagram(&t, STR("\0x"));
        assert_int_equal(t.log.n, 0);
        close_test(&t);
    }
    uint32_t most = test_limits().stream_count_max; /* the first stream that is not allowed yet */
    char head[VARINT_BYTES_MAX];
    assert_int_equal(open_test(&t), ERR_OK);
    datagram(&t, str_make(head, varint_write(most - 1, head)));
    assert_false(h3_session_is_failed(t.session));
    datagram(&t, str_make(head, varint_write(most, head)));
    assert_int_equal(h3_session_code(t.session), H3_ID_ERROR);
    close_test(&t);
}

static void test_a_fault_of_the_peer_has_its_code(void **state)
{
    static const uint8_t data_on_control[] = {0x00, 0x01, 'x'};
    struct test t;
    assert_int_equal(open_test(&t), ERR_OK);
    talk(&t);
    h3_session_recv(t.session, t.now_ms, 2, data_on_control, sizeof(data_on_control), false);
    assert_true(h3_session_is_failed(t.session));
    assert_true(h3_session_is_over(t.session));
    assert_int_equal(h3_session_code(t.session), NGHTTP3_H3_FRAME_UNEXPECTED);
    close_test(&t);
}

static void test_out_of_memory(void **state)
{
    unsigned long total = 0;
    struct mux_limits limits = test_limits();
    limits.has_connect_protocol = true;
    for (unsigned long n = 0; n <= total; n++) {
        struct test t;
        (void)mem_test_fail_at(n);
        enum err e = open_with(&t, &limits);
        if (!e) {
            t.answer_bytes = 40000;
            t.has_trailers = true;
            request(&t, 0, "GET", "/p", "x-a", "1", NULL);
            request(&t, 4, "POST", "/", NULL, NULL, "body");
            request(&t, 8, "CONNECT", "/", ":protocol", "bytes", "body");
            talk(&t);
        }
        unsigned long used = mem_test_fail_at(0);
        total = n ? total : used;
        close_test(&t);
    }
    assert_true(total > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_and_answer),
        cmocka_unit_test(test_body_of_a_request),
        cmocka_unit_test(test_trailers_of_a_request),
        cmocka_unit_test(test_extended_connect),
        cmocka_unit_test(test_connect_that_is_not_announced),
        cmocka_unit_test(test_kept_bytes_are_bounded),
        cmocka_unit_test(test_a_closed_stream_keeps_nothing),
        cmocka_unit_test(test_large_heads_are_answered),
        cmocka_unit_test(test_malformed_requests_are_reset),
        cmocka_unit_test(test_the_peer_gives_up),
        cmocka_unit_test(test_rapid_resets_end_it),
        cmocka_unit_test(test_a_flood_of_control_bytes_ends_it),
        cmocka_unit_test(test_many_small_frames),
        cmocka_unit_test(test_datagrams),
        cmocka_unit_test(test_the_client_takes_datagrams),
        cmocka_unit_test(test_malformed_datagrams),
        cmocka_unit_test(test_a_fault_of_the_peer_has_its_code),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
