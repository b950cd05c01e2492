/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h1_conn_int.h"

#include "base/assert.h"
#include "base/mem.h"

static const char refusal_head[] = "Content-Type: text/plain; charset=utf-8\r\n"
                                   "Connection: close\r\n";

/* Answers a head that cannot become an exchange; the connection ends behind it, because what
 * follows cannot be trusted. */
static void h1_input_refuse(struct h1_conn *c, unsigned reason, uint16_t status)
{
    struct server *s = c->conn.server;
    struct str phrase = http_status_reason(status);
    struct buf answer;
    buf_init(&answer, 0);
    buf_printf(&answer,
               "HTTP/1.1 %u " STR_FMT "\r\nDate: %.29s\r\nContent-Length: %zu\r\n%s\r\n"
               "%u " STR_FMT "\n",
               status, STR_ARG(phrase), server_date(s), phrase.n + 5, refusal_head, status,
               STR_ARG(phrase));
    enum err e = answer.is_failed ? ERR_NOMEM : h1_output_raw(c, buf_str(&answer));
    buf_done(&answer);
    c->is_closing = true;
    c->needs_linger = true;
    s->hooks.on_refused(s->hooks.context, &c->conn.peer, reason, e ? 0 : status);
    if (e) {
        h1_conn_kill(c, e);
    }
}

static void h1_input_begin_body(struct h1_stream *s)
{
    const struct h1_request *r = &s->request;
    s->is_body_done = r->framing == H1_FRAMING_NONE ||
                      (r->framing == H1_FRAMING_LENGTH && r->content_length == 0);
    s->body_left = r->framing == H1_FRAMING_LENGTH ? r->content_length : 0;
    s->x.request_body_bytes =
        r->framing == H1_FRAMING_CHUNKED ? EXCHANGE_LENGTH_UNKNOWN : s->body_left;
    buf_init(&s->trailers, 0);
    buf_init(&s->ending, 0);
    if (r->framing == H1_FRAMING_CHUNKED) {
        h1_chunked_init(&s->chunked, &s->trailers, 0);
    }
}

static void h1_input_dispatch(struct h1_conn *c, struct h1_stream *s)
{
    struct server *server = c->conn.server;
    const struct h1_request *r = &s->request;
    s->x.magic = EXCHANGE_MAGIC;
    s->x.protocol = r->head.version == HTTP_VERSION_10 ? &h1_protocol_10 : &h1_protocol_11;
    s->x.server = server;
    s->x.request = &r->head;
    s->x.peer = &c->conn.peer;
    s->x.upgrade = r->upgrade_value;
    s->x.is_head_only = r->head.method == HTTP_HEAD;
    s->x.start_ns = loop_now_ns(server->loop);
    arena_init(&s->x.arena, 1024, 0);
    arena_lend(&s->x.arena, s->bytes, sizeof(s->bytes));
    s->must_close = !r->keep_alive || c->is_closing || server->is_draining;
    h1_input_begin_body(s);
    c->current = s;
    c->has_answered = true;
    server->hooks.on_exchange(server->hooks.context, &s->x);
}

/* Reads one head. Returns the bytes used, 0 where more are needed or reading must stop. */
static size_t h1_input_head(struct h1_conn *c, const char *p, size_t n)
{
    struct server *server = c->conn.server;
    struct h1_stream *s = slab_alloc(&server->stream_slab);
    if (!s) {
        server->hooks.on_limit(server->hooks.context, SERVER_LIMIT_MEMORY);
        h1_conn_kill(c, ERR_NOMEM);
        return 0;
    }
    s->conn = c;
    const struct h1_limits limits = {.head_bytes_max = server->limits.header_bytes_max,
                                     .target_bytes_max = server->limits.uri_bytes_max,
                                     .field_count_max = server->limits.header_count_max};
    http_fields_init(&s->request.head.fields, s->fields, H1_FIELDS_MAX);
    ptrdiff_t head = h1_parse_request(p, n, c->scanned_bytes, &limits, &s->request);
    if (head == ERR_AGAIN) {
        slab_free(&server->stream_slab, s);
        c->scanned_bytes = n;
        if (!c->head_start_ms) {
            c->head_start_ms = loop_now_ms(server->loop);
        }
        return 0;
    }
    c->scanned_bytes = 0;
    c->head_start_ms = 0;
    if (head < 0) {
        enum h1_reject reject = s->request.reject;
        slab_free(&server->stream_slab, s);
        if (reject == H1_REJECT_VERSION && server->limits.speaks_h2c && !c->has_answered) {
            /* No HTTP at all: neither version has an answer for it (RFC 9113 3.4). */
            c->is_closing = true;
            server->hooks.on_refused(server->hooks.context, &c->conn.peer, reject, 0);
            return 0;
        }
        h1_input_refuse(c, reject, h1_reject_status(reject));
        return 0;
    }
    if (server->limits.refuses_h1) {
        slab_free(&server->stream_slab, s);
        h1_input_refuse(c, H1_REJECT_VERSION_UNSUPPORTED, 505);
        return 0;
    }
    if (s->request.framing == H1_FRAMING_LENGTH &&
        s->request.content_length > server->limits.body_bytes_max) {
        slab_free(&server->stream_slab, s);
        server->hooks.on_limit(server->hooks.context, SERVER_LIMIT_BODY);
        h1_input_refuse(c, H1_REJECT_NONE, 413);
        return 0;
    }
    s->head = p;
    s->head_bytes = (size_t)head;
    h1_input_dispatch(c, s);
    return (size_t)head;
}

/* The answer is given, the rest of the body is of no use. */
static bool h1_input_is_dropping(const struct h1_stream *s)
{
    return s->x.phase == EXCHANGE_FINISHED && !s->is_body_done;
}

static void h1_input_body_failed(struct h1_conn *c, struct h1_stream *s, enum err e)
{
    bool is_limit = e == ERR_LIMIT || e == ERR_RANGE;
    if (s->x.phase == EXCHANGE_FINISHED) {
        /* The answer stands; what follows the broken body is never read as a request. */
        s->must_close = true;
        s->is_body_done = true;
        c->needs_linger = true;
        c->conn.server->hooks.on_refused(c->conn.server->hooks.context, &c->conn.peer,
                                         H1_REJECT_BODY_UNEXPECTED, 0);
        h1_input_check_done(c);
        return;
    }
    c->current = NULL;
    if (s->x.phase == EXCHANGE_RESPONDED) {
        /* What was offered so far is sent; the answer then ends before its end. */
        c->is_closing = true;
        c->needs_linger = !h1_output_break(s);
        h1_stream_end(s, e);
        return;
    }
    uint16_t status = is_limit ? 413 : e == ERR_NOMEM ? 503 : 400;
    h1_input_refuse(c, H1_REJECT_BODY_UNEXPECTED, status);
    h1_stream_end(s, e);
}

/* Makes fields of the trailer lines. ERR_LIMIT, ERR_NOMEM. */
static enum err h1_input_take_trailers(struct h1_stream *s)
{
    const struct server_limits *limits = &s->conn->conn.server->limits;
    unsigned count = 0;
    for (size_t i = 0; i < s->trailers.n; i++) {
        count += s->trailers.p[i] == '\n';
    }
    if (count == 0 || h1_input_is_dropping(s)) {
        return ERR_OK;
    }
    if (count > limits->header_count_max) {
        return ERR_LIMIT;
    }
    struct http_fields *fields = arena_alloc(&s->x.arena, sizeof(*fields));
    struct http_field *v = arena_alloc(&s->x.arena, count * sizeof(*v));
    if (!fields || !v) {
        return ERR_NOMEM;
    }
    http_fields_init(fields, v, count);
    s->x.trailers = fields;
    return h1_chunked_trailers(&s->chunked, fields);
}

static void h1_input_body_end(struct h1_stream *s)
{
    enum err e = h1_input_take_trailers(s);
    if (e) {
        h1_input_body_failed(s->conn, s, e);
        return;
    }
    s->is_body_done = true;
    if (s->has_asked_body && s->x.phase != EXCHANGE_FINISHED && s->x.service->on_body_end) {
        s->x.service->on_body_end(&s->x);
    }
}

void h1_input_cut(struct h1_conn *c)
{
    if (c->current->is_tunnel) {
        h1_input_body_end(c->current);
        return;
    }
    if (!h1_input_is_dropping(c->current)) {
        h1_conn_kill(c, ERR_RESET);
        return;
    }
    c->current->must_close = true;
    c->current->is_body_done = true;
    h1_input_check_done(c);
}

static size_t h1_input_body(struct h1_conn *c, const char *p, size_t n)
{
    struct h1_stream *s = c->current;
    struct server *server = c->conn.server;
    struct str data;
    size_t used;
    if (s->is_tunnel) {
        used = n;
        data = str_make(p, n);
    } else if (s->request.framing == H1_FRAMING_CHUNKED) {
        enum err e = h1_chunked_feed(&s->chunked, p, n, &used, &data);
        if (!e && s->body_seen + data.n > server->limits.body_bytes_max) {
            server->hooks.on_limit(server->hooks.context, SERVER_LIMIT_BODY);
            e = ERR_LIMIT;
        }
        if (e) {
            h1_input_body_failed(c, s, e);
            return 0;
        }
    } else {
        used = n < s->body_left ? n : (size_t)s->body_left;
        data = str_make(p, used);
        s->body_left -= used;
    }
    s->body_seen += data.n;
    if (h1_input_is_dropping(s)) {
        if (s->body_seen > H1_DRAIN_BYTES_MAX) {
            s->must_close = true;
            c->needs_linger = true;
            s->is_body_done = true;
            return n;
        }
    } else if (data.n) {
        s->wants_body = false;
        s->x.service->on_body(&s->x, data.p, data.n);
    }
    if (c->is_dead || c->current != s) {
        return used;
    }
    bool is_end = s->request.framing == H1_FRAMING_CHUNKED ? h1_chunked_is_done(&s->chunked)
                                                           : s->body_left == 0;
    if (is_end && !s->is_body_done && !s->is_tunnel) {
        h1_input_body_end(s);
    }
    return used;
}

bool h1_input_is_wanted(const struct h1_conn *c)
{
    if (c->is_lingering) {
        return true;
    }
    const struct h1_stream *s = c->current;
    if (s) {
        return !s->is_body_done && (s->wants_body || h1_input_is_dropping(s));
    }
    return !c->is_closing && c->out_bytes < H1_OUT_BYTES_MAX;
}

bool h1_input_has_work(const struct h1_conn *c)
{
    size_t stuck = c->current ? 0 : c->scanned_bytes;
    return !c->is_lingering && c->pending_bytes > stuck && h1_input_is_wanted(c);
}

void h1_input_check_done(struct h1_conn *c)
{
    struct h1_stream *s = c->current;
    if (!s || s->x.phase != EXCHANGE_FINISHED || !s->is_body_done) {
        return;
    }
    if (s->must_close) {
        c->is_closing = true;
    }
    if (!c->out) {
        c->activity_ms = loop_now_ms(c->conn.server->loop); /* idle from here on */
    }
    c->current = NULL;
    s->next = NULL;
    /* Only the current exchange queues output, so its end can only be the last piece. */
    const struct h1_piece *last = c->out ? CONTAINER_OF(c->out_tail, struct h1_piece, next) : NULL;
    if (!last || last->ends != s) {
        h1_stream_end(s, ERR_OK);
    } else {
        *c->unsent_tail = s;
        c->unsent_tail = &s->next;
    }
}

size_t h1_input_feed(struct h1_conn *c, char *p, size_t n)
{
    size_t used = 0;
    c->is_feeding = true;
    while (used < n && !c->is_dead && h1_input_is_wanted(c)) {
        size_t step;
        if (c->current) {
            step = h1_input_body(c, p + used, n - used);
        } else {
            step = h1_input_head(c, p + used, n - used);
        }
        if (step == 0) {
            break;
        }
        used += step;
        if (!c->is_dead) {
            h1_input_check_done(c);
        }
    }
    c->is_feeding = false;
    if (c->is_closing && !c->current) {
        return n; /* whatever follows is not read as requests any more */
    }
    return used;
}

static void h1_input_move(struct str *s, const char *from, size_t n, const char *to)
{
    if (s->p >= from && s->p <= from + n) {
        s->p = to + (s->p - from);
    }
}

static enum err h1_input_pin_stream(struct h1_stream *s)
{
    if (s->is_pinned) {
        return ERR_OK;
    }
    struct str copy = arena_str(&s->x.arena, str_make(s->head, s->head_bytes));
    if (!copy.p) {
        return ERR_NOMEM;
    }
    struct request_head *h = &s->request.head;
    struct str *views[] = {
        &h->method_text,           &h->target,   &h->scheme, &h->authority, &h->path, &h->query,
        &s->request.upgrade_value, &s->x.upgrade};
    for (unsigned i = 0; i < COUNT_OF(views); i++) {
        h1_input_move(views[i], s->head, s->head_bytes, copy.p);
    }
    for (unsigned i = 0; i < h->fields.n; i++) {
        h1_input_move(&s->fields[i].name, s->head, s->head_bytes, copy.p);
        h1_input_move(&s->fields[i].value, s->head, s->head_bytes, copy.p);
    }
    s->head = copy.p;
    s->is_pinned = true;
    return ERR_OK;
}

enum err h1_input_pin(struct h1_conn *c)
{
    for (struct h1_stream *s = c->unsent; s; s = s->next) {
        if (h1_input_pin_stream(s) != ERR_OK) {
            return ERR_NOMEM;
        }
    }
    return c->current ? h1_input_pin_stream(c->current) : ERR_OK;
}
