/* SPDX-License-Identifier: Apache-2.0 */
/* FastCGI towards upstreams: one exchange at a time, and a head of CGI in its answer. */
#include "base/assert.h"
#include "http/cgi_response.h"
#include "http/fcgi.h"
#include "http/status.h"
#include "net/client_int.h"

#define CLIENT_FCGI_LOG_BYTES_MAX 4096u /* of one answer, told to the service */

/* Of a body that the answer must not have, read so that its connection can go on. */
#define CLIENT_FCGI_DROP_BYTES_MAX (1u << 20)

struct client_fcgi_exchange {
    struct client_exchange x; /* first */
    /* The request. */
    uint64_t send_left;
    bool is_kept; /* the upstream was asked to keep the connection */
    /* The answer. */
    struct fcgi_reader reader;
    cgi_scan_state scan;
    struct buf head;
    bool has_content; /* a body may follow the head */
    bool has_length;
    uint64_t body_left;
    size_t dropped_bytes;
    size_t log_bytes;
};

static struct client_fcgi_exchange *client_fcgi_of(const struct client_exchange *x)
{
    return CONTAINER_OF((struct client_exchange *)(uintptr_t)x, struct client_fcgi_exchange, x);
}

/* The one that is under way; NULL: the connection is at rest, or dead. */
static struct client_fcgi_exchange *client_fcgi_now(const struct client_conn *c)
{
    struct client_exchange *x = client_conn_first(c);
    return x ? client_fcgi_of(x) : NULL;
}

/* Ends the exchange; the connection is kept where `is_clean`, and ends otherwise. The caller
 * touches neither of them again. */
static void client_fcgi_end(struct client_conn *c, enum client_fault fault, const char *detail,
                            bool is_clean)
{
    struct client_exchange *x = client_conn_first(c);
    client_exchange_leave(x);
    if (is_clean) {
        client_conn_rest(c);
    } else {
        client_conn_kill(c, fault == CLIENT_FAULT_NONE);
    }
    client_exchange_end(x, fault, detail, NULL);
}

static void client_fcgi_break_off(struct client_exchange *x)
{
    struct client_conn *c = x->conn;
    client_exchange_leave(x);
    if (!c->is_dead) {
        client_conn_kill(c, false);
    }
}

static void client_fcgi_exchange_done(struct client_exchange *x)
{
    buf_done(&client_fcgi_of(x)->head);
}

static bool client_fcgi_has_room(const struct client_conn *c, bool wants_new)
{
    return c->exchange_count == 0 && !wants_new;
}

/* ---- the request ---- */

/* HTTP_X_NAME (RFC 3875 4.1.18). False: no variable can be called so. */
static bool client_fcgi_name(struct str name, struct buf *out)
{
    buf_clear(out);
    buf_add_str(out, STR("HTTP_"));
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool is_dash = c == '-' || c == '_';
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && !is_dash) {
            return false;
        }
        buf_add_char(out, (char)(is_dash ? '_' : ascii_is_alpha(c) ? c & ~0x20 : c));
    }
    return !str_eq(buf_str(out), STR("HTTP_PROXY")); /* CVE-2016-5385 */
}

/* Whether a field before `f` bears its name, and brought its value along. */
static bool client_fcgi_is_repeated(const struct http_fields *fields, const struct http_field *f)
{
    return http_fields_find(fields, f->name) != f;
}

/* All values of a name are one variable. */
static struct str client_fcgi_value(const struct http_fields *fields, const struct http_field *f,
                                    struct buf *out)
{
    const struct http_field *next = http_fields_next(fields, f);
    if (!next) {
        return f->value;
    }
    buf_clear(out);
    buf_add_str(out, f->value);
    for (; next; next = http_fields_next(fields, next)) {
        buf_add_str(out, f->id == HTTP_FIELD_COOKIE ? STR("; ") : STR(", "));
        buf_add_str(out, next->value);
    }
    return buf_str(out);
}

static enum err client_fcgi_add_fields(struct fcgi_params *params, const struct http_fields *fields)
{
    struct buf name, value;
    enum err e = ERR_OK;
    buf_init(&name, 0);
    buf_init(&value, 0);
    for (unsigned i = 0; i < fields->n && !e; i++) {
        const struct http_field *f = &fields->v[i];
        if (client_fcgi_is_repeated(fields, f)) {
            continue;
        }
        if (f->id == HTTP_FIELD_CONTENT_TYPE) {
            e = fcgi_params_add(params, STR("CONTENT_TYPE"), f->value);
        } else if (client_fcgi_name(f->name, &name)) {
            struct str whole = client_fcgi_value(fields, f, &value);
            bool is_failed = name.is_failed || value.is_failed;
            e = is_failed ? ERR_NOMEM : fcgi_params_add(params, buf_str(&name), whole);
        }
    }
    buf_done(&name);
    buf_done(&value);
    return e;
}

static enum err client_fcgi_add_length(struct fcgi_params *params, uint64_t n)
{
    struct buf text;
    buf_init(&text, 0);
    buf_add_u64(&text, n);
    enum err e =
        text.is_failed ? ERR_NOMEM : fcgi_params_add(params, STR("CONTENT_LENGTH"), buf_str(&text));
    buf_done(&text);
    return e;
}

static enum err client_fcgi_add_params(const struct client_request *request, struct buf *out)
{
    struct fcgi_params params;
    enum err e = ERR_OK;
    fcgi_params_begin(&params, out);
    for (size_t i = 0; i < request->variable_count && !e; i++) {
        e = fcgi_params_add(&params, request->variables[i].name, request->variables[i].value);
    }
    if (!e && request->has_body) {
        e = client_fcgi_add_length(&params, request->body_bytes);
    }
    e = e ? e : client_fcgi_add_fields(&params, request->fields);
    fcgi_params_end(&params);
    return e == ERR_LIMIT ? ERR_SYNTAX : e;
}

static enum err client_fcgi_begin(struct client_exchange *x, const struct client_request *request)
{
    struct client_fcgi_exchange *f = client_fcgi_of(x);
    struct client_conn *c = x->conn;
    char end[FCGI_HEAD_BYTES];
    buf_init(&f->head, CLIENT_HEAD_BYTES_MAX);
    if (request->upgrade.n || (request->has_body && request->body_bytes == CLIENT_LENGTH_UNKNOWN)) {
        return ERR_SYNTAX;
    }
    f->is_kept = c->target.idle_max > 0 && c->greeting.n == 0;
    f->send_left = request->has_body ? request->body_bytes : 0;
    x->is_request_done = !request->has_body;
    fcgi_add_begin(&c->out, f->is_kept);
    enum err e = client_fcgi_add_params(request, &c->out);
    if (e) {
        return e;
    }
    if (!request->has_body) {
        fcgi_record_head(FCGI_STDIN, 0, end);
        buf_add(&c->out, end, sizeof(end));
    }
    return c->out.is_failed ? ERR_NOMEM : ERR_OK;
}

static enum err client_fcgi_send(struct client_exchange *x, struct str bytes)
{
    struct client_fcgi_exchange *f = client_fcgi_of(x);
    char head[FCGI_HEAD_BYTES];
    enum err e = ERR_OK;
    if (bytes.n > f->send_left) {
        return ERR_SYNTAX;
    }
    f->send_left -= bytes.n;
    while (bytes.n > 0 && !e) {
        struct str part = str_sub(bytes, 0, FCGI_CONTENT_MAX);
        fcgi_record_head(FCGI_STDIN, part.n, head);
        const struct str pieces[] = {str_make(head, sizeof(head)), part};
        e = client_exchange_put(x, pieces, COUNT_OF(pieces));
        bytes = str_sub(bytes, part.n, bytes.n);
    }
    return e;
}

static enum err client_fcgi_finish(struct client_exchange *x, const struct http_fields *trailers)
{
    char head[FCGI_HEAD_BYTES];
    (void)trailers; /* CGI has no place for them */
    if (client_fcgi_of(x)->send_left > 0) {
        return ERR_SYNTAX;
    }
    fcgi_record_head(FCGI_STDIN, 0, head);
    const struct str piece = str_make(head, sizeof(head));
    return client_exchange_put(x, &piece, 1);
}

static size_t client_fcgi_room(const struct client_exchange *x)
{
    const struct client_conn *c = x->conn;
    if (!c->is_connected || c->is_deaf || transport_has_unsent(&c->transport)) {
        return 0;
    }
    return c->out.n < CLIENT_OUT_BYTES_MAX ? CLIENT_OUT_BYTES_MAX - c->out.n : 0;
}

static bool client_fcgi_is_sending(const struct client_exchange *x)
{
    return client_conn_is_blocked(x->conn);
}

/* ---- the answer ---- */

static bool client_fcgi_is_reading(const struct client_conn *c)
{
    const struct client_exchange *x = client_conn_first(c);
    return x && (x->phase == CLIENT_HEAD || x->is_asked);
}

static void client_fcgi_log(struct client_fcgi_exchange *f, struct str text)
{
    size_t room = CLIENT_FCGI_LOG_BYTES_MAX - f->log_bytes;
    struct str part = str_sub(text, 0, room);
    f->log_bytes += part.n;
    if (part.n && f->x.service->on_log) {
        f->x.service->on_log(&f->x, part);
    }
}

/* False: the exchange has ended. */
static bool client_fcgi_respond(struct client_conn *c)
{
    struct client_fcgi_exchange *f = client_fcgi_now(c);
    struct client_exchange *x = &f->x;
    struct cgi_response r;
    http_fields_init(&r.head.fields, c->client->fields, CLIENT_FIELDS_MAX);
    if (cgi_parse(buf_str(&f->head), &r) != ERR_OK) {
        client_fcgi_end(c, CLIENT_FAULT_RESPONSE, r.fault, false);
        return false;
    }
    x->phase = CLIENT_BODY;
    f->has_content = x->method != HTTP_HEAD && http_status_has_content(r.head.status);
    f->has_length = f->has_content && r.content_length != CGI_LENGTH_NONE;
    f->body_left = f->has_length ? r.content_length : 0;
    x->service->on_head(
        x, &r.head, r.content_length == CGI_LENGTH_NONE ? CLIENT_LENGTH_UNKNOWN : r.content_length);
    if (c->is_dead) {
        return false;
    }
    buf_done(&f->head);
    buf_init(&f->head, CLIENT_HEAD_BYTES_MAX);
    return true;
}

/* Bytes of the head; returns how many. */
static size_t client_fcgi_head(struct client_conn *c, struct str data, bool *ret_goes_on)
{
    struct client_fcgi_exchange *f = client_fcgi_now(c);
    bool is_whole;
    size_t n = cgi_scan(&f->scan, data.p, data.n, &is_whole);
    bool is_long = n > CLIENT_HEAD_BYTES_MAX - f->head.n;
    if (!is_long) {
        buf_add(&f->head, data.p, n);
    }
    if (is_long || f->head.is_failed) {
        client_fcgi_end(c, is_long ? CLIENT_FAULT_RESPONSE : CLIENT_FAULT_MEMORY,
                        is_long ? "its head is too long" : "", false);
        *ret_goes_on = false;
        return n;
    }
    fcgi_take(&f->reader, n);
    *ret_goes_on = !is_whole || client_fcgi_respond(c);
    return n;
}

static void client_fcgi_body(struct client_conn *c, struct str data, bool *ret_goes_on)
{
    struct client_fcgi_exchange *f = client_fcgi_now(c);
    struct client_exchange *x = &f->x;
    fcgi_take(&f->reader, data.n);
    *ret_goes_on = true;
    if (!f->has_content) {
        f->dropped_bytes += data.n;
        if (f->dropped_bytes > CLIENT_FCGI_DROP_BYTES_MAX) {
            client_fcgi_end(c, CLIENT_FAULT_NONE, "", false);
            *ret_goes_on = false;
        }
        return;
    }
    if (f->has_length && data.n > f->body_left) {
        client_fcgi_end(c, CLIENT_FAULT_RESPONSE, "more than its Content-Length", false);
        *ret_goes_on = false;
        return;
    }
    f->body_left -= f->has_length ? data.n : 0;
    x->is_asked = false;
    x->service->on_body(x, data);
    *ret_goes_on = !c->is_dead;
}

/* END_REQUEST came; `left` bytes behind it are no answer to anything. */
static void client_fcgi_complete(struct client_conn *c, const struct fcgi_piece *end, size_t left)
{
    struct client_fcgi_exchange *f = client_fcgi_now(c);
    bool has_head = f->x.phase != CLIENT_HEAD;
    bool is_refused =
        end->protocol_status == FCGI_OVERLOADED || end->protocol_status == FCGI_CANT_MPX_CONN;
    enum client_fault fault = has_head ? CLIENT_FAULT_CUT : CLIENT_FAULT_RESPONSE;
    if (is_refused && !has_head && f->head.n == 0) {
        client_fcgi_end(c, CLIENT_FAULT_REFUSED, "overloaded", false);
    } else if (end->protocol_status != FCGI_REQUEST_COMPLETE) {
        client_fcgi_end(c, fault, "it refused the role, or was overloaded", false);
    } else if (end->app_status != 0) {
        client_fcgi_end(c, fault, "the program failed", false);
    } else if (!has_head) {
        client_fcgi_end(c, fault, "no head", false);
    } else if (f->body_left > 0) {
        client_fcgi_end(c, fault, "less than its Content-Length", false);
    } else {
        bool is_clean = f->is_kept && f->x.is_request_done && left == 0 &&
                        !client_conn_is_blocked(c) && !c->is_deaf;
        client_fcgi_end(c, CLIENT_FAULT_NONE, "", is_clean);
    }
}

static size_t client_fcgi_feed(struct client_conn *c, const char *p, size_t n)
{
    struct client_fcgi_exchange *f = client_fcgi_now(c);
    size_t used = 0;
    bool goes_on = true;
    if (!f) {
        client_conn_kill(c, true); /* bytes that answer no request */
        return n;
    }
    f->x.has_answered = true;
    while (goes_on && used < n && client_fcgi_is_reading(c)) {
        struct fcgi_piece piece;
        size_t step;
        enum err e = fcgi_read(&f->reader, p + used, n - used, &step, &piece);
        used += step;
        if (e) {
            client_fcgi_end(c, CLIENT_FAULT_RESPONSE, "its records are no answer of FastCGI",
                            false);
            return n;
        }
        switch (piece.event) {
        case FCGI_EVENT_NONE:
            return used;
        case FCGI_EVENT_STDOUT:
            client_exchange_touch(&f->x);
            if (f->x.phase == CLIENT_HEAD) {
                used += client_fcgi_head(c, piece.data, &goes_on);
            } else {
                client_fcgi_body(c, piece.data, &goes_on);
                used += piece.data.n;
            }
            break;
        case FCGI_EVENT_STDERR:
            /* It is no progress: who writes nothing else runs out of time. */
            fcgi_take(&f->reader, piece.data.n);
            used += piece.data.n;
            client_fcgi_log(f, piece.data);
            goes_on = !c->is_dead;
            break;
        case FCGI_EVENT_END:
            client_fcgi_complete(c, &piece, n - used);
            return n;
        }
    }
    return goes_on ? used : n;
}

/* Only END_REQUEST says that an answer is whole. */
static void client_fcgi_end_of_input(struct client_conn *c, bool is_orderly)
{
    bool has_head = client_conn_first(c)->phase != CLIENT_HEAD;
    (void)is_orderly;
    client_fcgi_end(c, has_head ? CLIENT_FAULT_CUT : CLIENT_FAULT_CLOSED, "", false);
}

static void client_fcgi_settle(struct client_conn *c)
{
    struct client_exchange *x = client_conn_first(c);
    if (!x) {
        return;
    }
    if (client_conn_flush(c) > 0) {
        x->has_sent = true;
        client_exchange_touch(x);
    }
    if (!x->is_request_done && client_fcgi_room(x) > 0) {
        x->service->on_room(x);
    }
}

const struct client_protocol client_protocol_fcgi = {
    .id = CLIENT_FCGI,
    .conn_bytes = sizeof(struct client_conn),
    .exchange_bytes = sizeof(struct client_fcgi_exchange),
    .has_room = client_fcgi_has_room,
    .begin = client_fcgi_begin,
    .send = client_fcgi_send,
    .finish = client_fcgi_finish,
    .room = client_fcgi_room,
    .break_off = client_fcgi_break_off,
    .exchange_done = client_fcgi_exchange_done,
    .is_sending = client_fcgi_is_sending,
    .feed = client_fcgi_feed,
    .end_of_input = client_fcgi_end_of_input,
    .is_reading = client_fcgi_is_reading,
    .settle = client_fcgi_settle,
};
