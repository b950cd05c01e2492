/* SPDX-License-Identifier: Apache-2.0 */
/* A client's session whose owner writes down what it is told. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "h2_wire.h"
#include "http/h2_pool.h"
#include "http/h2_session.h"
#include "http/hpack_int.h"

struct client_stream {
    struct mux_stream stream; /* first */
    size_t body_left;         /* to be offered */
    bool is_held;             /* nothing is offered yet */
    size_t hoarded;
};

struct client_test {
    struct h2_pool pool;
    struct h2_session *session;
    struct buf in;
    struct buf out;
    struct buf log; /* the events as text */
    struct buf body;
    uint64_t now_ms;
    unsigned live;
    bool is_hoarding; /* body bytes are not given back */
    struct hpack_decoder decoder;
};

static inline void log_fields(struct client_test *t, const struct http_fields *fields)
{
    for (unsigned i = 0; i < fields->n; i++) {
        buf_printf(&t->log, " " STR_FMT "=" STR_FMT, STR_ARG(fields->v[i].name),
                   STR_ARG(fields->v[i].value));
    }
    buf_add_char(&t->log, '\n');
}

static inline void on_response(void *context, struct mux_stream *stream)
{
    struct client_test *t = context;
    buf_printf(&t->log, "%d %u", (int)stream->id, (unsigned)stream->status);
    if (stream->is_begun && stream->content_length != MUX_LENGTH_UNKNOWN) {
        buf_printf(&t->log, " (%u)", (unsigned)stream->content_length);
    }
    log_fields(t, &stream->head.fields);
}

static inline void on_body(void *context, struct mux_stream *stream, const char *bytes, size_t n)
{
    struct client_test *t = context;
    buf_add(&t->body, bytes, n);
    if (t->is_hoarding) {
        ((struct client_stream *)stream)->hoarded += n;
    } else {
        h2_session_consume(t->session, stream, n);
    }
}

static inline void on_body_end(void *context, struct mux_stream *stream)
{
    struct client_test *t = context;
    buf_printf(&t->log, "%d body", (int)stream->id);
    log_fields(t, &stream->trailers);
}

static inline void on_answered(void *context, struct mux_stream *stream)
{
    struct client_test *t = context;
    buf_printf(&t->log, "%d sent\n", (int)stream->id);
}

static inline void free_stream(struct client_test *t, struct mux_stream *stream)
{
    t->live--;
    arena_done(&stream->arena);
    mem_free(stream);
}

static inline void on_stream_end(void *context, struct mux_stream *stream, enum err cause)
{
    struct client_test *t = context;
    buf_printf(&t->log, "%d %s%s%s\n", (int)stream->id, cause ? err_name(cause) : "end",
               stream->is_unprocessed ? " unprocessed" : "",
               stream->reject != H1_REJECT_NONE ? " malformed" : "");
    h2_session_consume(t->session, NULL, ((struct client_stream *)stream)->hoarded);
    free_stream(t, stream);
}

static inline size_t on_offer(void *context, struct mux_stream *stream, size_t n, bool *ret_is_last)
{
    const struct client_stream *s = (const struct client_stream *)stream;
    (void)context;
    *ret_is_last = !s->is_held && s->body_left <= n;
    return s->is_held ? 0 : s->body_left < n ? s->body_left : n;
}

static inline enum err on_take(void *context, struct mux_stream *stream, struct buf *out, size_t n)
{
    static const char zeros[16384];
    (void)context;
    buf_add(out, zeros, n);
    ((struct client_stream *)stream)->body_left -= n;
    return ERR_OK;
}

static inline void on_refused(void *context, enum h1_reject reason, unsigned status)
{
    (void)context;
    (void)reason;
    (void)status;
}

static inline enum err open_client(struct client_test *t)
{
    static const struct mux_limits limits = {
        .header_bytes_max = 8192, .header_count_max = 100, .stream_count_max = 100};
    const struct mux_events events = {.on_body = on_body,
                                      .on_body_end = on_body_end,
                                      .on_answered = on_answered,
                                      .on_stream_end = on_stream_end,
                                      .on_offer = on_offer,
                                      .on_take = on_take,
                                      .on_refused = on_refused,
                                      .on_response = on_response,
                                      .context = t};
    *t = (struct client_test){.now_ms = 1000};
    h2_pool_init(&t->pool);
    hpack_decoder_init(&t->decoder);
    return h2_session_create_client(&limits, &events, &t->pool, &t->session);
}

static inline void close_client(struct client_test *t)
{
    struct list *streams = t->session ? h2_session_streams(t->session) : NULL;
    while (streams && !list_is_empty(streams)) {
        struct mux_stream *stream = CONTAINER_OF(streams->next, struct mux_stream, link);
        list_remove(&stream->link);
        free_stream(t, stream);
    }
    h2_session_destroy(t->session);
    assert_int_equal(t->live, 0);
    hpack_decoder_done(&t->decoder);
    h2_pool_done(&t->pool);
    buf_done(&t->in);
    buf_done(&t->out);
    buf_done(&t->log);
    buf_done(&t->body);
}

/* A request with `fields` ("name: value" lines) and, where it is not 0, a body of so many bytes. */
static inline enum err request(struct client_test *t, const char *method, const char *fields,
                               size_t body_bytes, struct client_stream **ret_stream)
{
    struct http_field v[16];
    struct http_fields list;
    struct str rest = str_of(fields), line;
    http_fields_init(&list, v, 16);
    while (str_split(&rest, '\n', &line)) {
        ptrdiff_t colon = str_index(line, ':');
        if (line.n && colon > 0) {
            enum err e = http_fields_add(&list, str_sub(line, 0, (size_t)colon),
                                         str_sub(line, (size_t)colon + 2, line.n));
            assert_int_equal(e, ERR_OK);
        }
    }
    const struct h2_request r = {.method = str_of(method),
                                 .method_id = http_method_of(str_of(method)),
                                 .scheme = STR("https"),
                                 .authority = STR("a"),
                                 .target = STR("/p"),
                                 .fields = &list,
                                 .body_bytes = body_bytes ? body_bytes : MUX_LENGTH_UNKNOWN,
                                 .has_body = body_bytes > 0};
    struct client_stream *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->body_left = body_bytes;
    enum err e = h2_session_request(t->session, &r, &s->stream);
    if (e) {
        mem_free(s);
        return e;
    }
    t->live++;
    if (ret_stream) {
        *ret_stream = s;
    }
    return ERR_OK;
}

static inline void get(struct client_test *t)
{
    assert_int_equal(request(t, "GET", "", 0, NULL), ERR_OK);
}

static inline enum err pull(struct client_test *t)
{
    enum err e = ERR_OK;
    while (!e && h2_session_wants_output(t->session)) {
        size_t before = t->out.n;
        e = h2_session_pull(t->session, t->now_ms, &t->out, t->out.n + 65536);
        if (t->out.n == before) {
            break;
        }
    }
    return e;
}

/* Gives what the peer says in pieces of `step` bytes, and takes what the session says. */
static inline enum err run_cut(struct client_test *t, size_t step)
{
    struct str rest = buf_str(&t->in);
    enum err e = pull(t);
    while (rest.n && !e) {
        struct str piece = str_sub(rest, 0, step);
        rest = str_sub(rest, piece.n, rest.n);
        e = h2_session_recv(t->session, t->now_ms, piece.p, piece.n);
        e = e ? e : pull(t);
    }
    buf_clear(&t->in);
    return e;
}

static inline void run(struct client_test *t)
{
    assert_int_equal(run_cut(t, SIZE_MAX), ERR_OK);
}

static inline void assert_log(struct client_test *t, const char *wanted)
{
    buf_add_char(&t->log, 0);
    assert_string_equal(t->log.p, wanted);
    t->log.n = 0;
}
