/* SPDX-License-Identifier: Apache-2.0 */
/* A session whose owner writes down what it is told, and answers at once. */
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

#define STREAMS_MAX 64

struct test_stream {
    struct mux_stream stream;
    size_t body_left; /* to be offered */
    bool is_held;     /* nothing is offered yet */
    bool is_answered; /* by `answer` */
};

struct test {
    struct h2_pool pool;
    struct h2_session *session;
    struct buf in;
    struct buf out;
    struct buf log; /* the events as text */
    struct buf body;
    uint64_t now_ms;
    unsigned live;
    enum h1_reject reject;
    unsigned refused;
    unsigned refused_status;
    size_t answer_bytes; /* of every answer's body */
    bool is_silent;      /* no answers */
    bool has_trailers;
    bool is_hoarding;          /* body bytes are not given back */
    bool is_answering_in_turn; /* the first at once, each other while a body is taken */
};

static const char date[] = "Sat, 21 Nov 2026 08:00:00 GMT";

static inline struct mux_stream *on_stream(void *context)
{
    struct test *t = context;
    struct test_stream *s = mem_zalloc(1, sizeof(*s));
    t->live += s != NULL;
    return s ? &s->stream : NULL;
}

static inline void answer(struct test *t, struct mux_stream *stream)
{
    struct response_head head = {.status = 200};
    struct http_field v[2];
    struct test_stream *s = (struct test_stream *)stream;
    http_fields_init(&head.fields, v, 2);
    enum err e = http_fields_add(&head.fields, STR("X-Own"), STR("yes"));
    assert_int_equal(e, ERR_OK);
    s->body_left = t->answer_bytes;
    s->is_answered = true;
    const struct mux_response response = {.head = &head,
                                          .body_bytes = t->answer_bytes,
                                          .date = date,
                                          .has_body = t->answer_bytes > 0};
    e = h2_session_respond(t->session, stream, &response);
    if (!e && t->has_trailers) {
        struct http_fields trailers;
        http_fields_init(&trailers, v, 2);
        e = http_fields_add(&trailers, STR("X-Sum"), STR("12"));
        e = e ? e : mux_trailers(stream, &trailers);
    }
    if (e) {
        h2_session_reset(t->session, stream, H2_INTERNAL_ERROR);
    }
}

static inline void on_request(void *context, struct mux_stream *stream)
{
    struct test *t = context;
    const struct request_head *h = &stream->head;
    buf_printf(&t->log, "%d " STR_FMT " " STR_FMT "://" STR_FMT STR_FMT "%s" STR_FMT,
               (int)stream->id, STR_ARG(h->method_text), STR_ARG(h->scheme), STR_ARG(h->authority),
               STR_ARG(h->path), h->has_query ? "?" : "", STR_ARG(h->query));
    if (h->protocol.p) {
        buf_printf(&t->log, " protocol=" STR_FMT, STR_ARG(h->protocol));
    }
    for (unsigned i = 0; i < h->fields.n; i++) {
        buf_printf(&t->log, " " STR_FMT "=" STR_FMT, STR_ARG(h->fields.v[i].name),
                   STR_ARG(h->fields.v[i].value));
    }
    buf_add_char(&t->log, '\n');
    if (!t->is_silent && (!t->is_answering_in_turn || stream->id == 1)) {
        answer(t, stream);
    }
}

static inline void on_body(void *context, struct mux_stream *stream, const char *bytes, size_t n)
{
    struct test *t = context;
    buf_add(&t->body, bytes, n);
    if (!t->is_hoarding) {
        h2_session_consume(t->session, stream, n);
    }
}

static inline void on_body_end(void *context, struct mux_stream *stream)
{
    struct test *t = context;
    buf_printf(&t->log, "%d body", (int)stream->id);
    for (unsigned i = 0; i < stream->trailers.n; i++) {
        buf_printf(&t->log, " " STR_FMT "=" STR_FMT, STR_ARG(stream->trailers.v[i].name),
                   STR_ARG(stream->trailers.v[i].value));
    }
    buf_add_char(&t->log, '\n');
}

static inline void on_answered(void *context, struct mux_stream *stream)
{
    struct test *t = context;
    buf_printf(&t->log, "%d answered\n", (int)stream->id);
}

static inline void free_stream(struct test *t, struct mux_stream *stream)
{
    t->live--;
    arena_done(&stream->arena);
    mem_free(stream);
}

static inline void on_stream_end(void *context, struct mux_stream *stream, enum err cause)
{
    struct test *t = context;
    buf_printf(&t->log, "%d %s\n", (int)stream->id, cause ? err_name(cause) : "end");
    free_stream(t, stream);
}

static inline size_t on_offer(void *context, struct mux_stream *stream, size_t n, bool *ret_is_last)
{
    struct test_stream *s = (struct test_stream *)stream;
    if (s->is_held) {
        return 0;
    }
    *ret_is_last = s->body_left <= n;
    return s->body_left < n ? s->body_left : n;
}

static inline enum err on_take(void *context, struct mux_stream *stream, struct buf *out, size_t n)
{
    struct test_stream *s = (struct test_stream *)stream;
    static const char zeros[16384];
    assert_true(n <= s->body_left);
    buf_add(out, zeros, n);
    s->body_left -= n;
    struct test *t = context;
    LIST_FOR_EACH(at, h2_session_streams(t->session))
    {
        struct mux_stream *other = CONTAINER_OF(at, struct mux_stream, link);
        if (t->is_answering_in_turn && !((struct test_stream *)other)->is_answered) {
            answer(t, other);
            break;
        }
    }
    return ERR_OK;
}

static inline void on_refused(void *context, enum h1_reject reason, unsigned status)
{
    struct test *t = context;
    t->refused++;
    t->reject = reason;
    t->refused_status = status;
}

static inline struct mux_limits test_limits(void)
{
    return (struct mux_limits){.header_bytes_max = 32768,
                               .header_count_max = 100,
                               .uri_bytes_max = 8192,
                               .stream_count_max = 100};
}

static inline enum err open_with(struct test *t, const struct mux_limits *limits)
{
    const struct mux_events events = {on_stream,   on_request,    on_body,  on_body_end,
                                      on_answered, on_stream_end, on_offer, on_take,
                                      on_refused,  NULL,          NULL,     t};
    *t = (struct test){.now_ms = 1000};
    h2_pool_init(&t->pool);
    wire_hello(&t->in);
    return h2_session_create(limits, &events, &t->pool, &t->session);
}

static inline int begin(void **state)
{
    static struct test t;
    const struct mux_limits limits = test_limits();
    assert_int_equal(open_with(&t, &limits), ERR_OK);
    *state = &t;
    return 0;
}

static inline void close_test(struct test *t)
{
    if (t->session) {
        struct list *streams = h2_session_streams(t->session);
        while (!list_is_empty(streams)) {
            struct mux_stream *stream = CONTAINER_OF(streams->next, struct mux_stream, link);
            list_remove(&stream->link);
            free_stream(t, stream);
        }
    }
    h2_session_destroy(t->session);
    assert_int_equal(t->live, 0);
    h2_pool_done(&t->pool);
    buf_done(&t->in);
    buf_done(&t->out);
    buf_done(&t->log);
    buf_done(&t->body);
}

static inline int end(void **state)
{
    close_test(*state);
    return 0;
}

/* Gives what was written to the session in pieces of `step` bytes and takes what it says. */
static inline enum err run_cut(struct test *t, size_t step)
{
    struct str rest = buf_str(&t->in);
    enum err e = ERR_OK;
    while (rest.n && !e) {
        struct str piece = str_sub(rest, 0, step);
        rest = str_sub(rest, piece.n, rest.n);
        e = h2_session_recv(t->session, t->now_ms, piece.p, piece.n);
        while (!e && h2_session_wants_output(t->session)) {
            size_t before = t->out.n;
            e = h2_session_pull(t->session, t->now_ms, &t->out, t->out.n + 65536);
            if (t->out.n == before) {
                break;
            }
        }
    }
    buf_clear(&t->in);
    return e;
}

static inline void run(struct test *t)
{
    assert_int_equal(run_cut(t, SIZE_MAX), ERR_OK);
}

static inline void assert_log(struct test *t, const char *wanted)
{
    buf_add_char(&t->log, 0);
    assert_string_equal(t->log.p, wanted);
    t->log.n = 0;
}

#define HEAD ":method: GET\n:scheme: http\n:path: /\n:authority: a\n"

/* A header block is decoded whole and answered; the connection goes on. */
static inline void assert_status(struct test *t, uint32_t id, enum h1_reject reason,
                                 unsigned status)
{
    struct wire_frame f;
    run(t);
    assert_int_equal(t->reject, reason);
    assert_int_equal(t->refused_status, status);
    assert_int_equal(wire_count(buf_str(&t->out), WIRE_HEADERS, id, &f), 1);
    assert_true(f.flags & WIRE_END_STREAM);
    assert_int_equal(wire_goaway_code(buf_str(&t->out)), -1);
}

static inline void assert_no_goaway(struct test *t)
{
    run(t);
    assert_int_equal(wire_goaway_code(buf_str(&t->out)), -1);
    assert_int_equal(h2_session_abuse(t->session), H2_ABUSE_NONE);
}
