/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 towards upstreams: one exchange at a time. */
#include "base/assert.h"
#include "http/h1_chunked.h"
#include "http/h1_response.h"
#include "http/h1_write.h"
#include "net/client_int.h"

struct client_h1_exchange {
    struct client_exchange x; /* first */
    /* The request. */
    uint64_t send_left; /* of a declared length */
    bool is_chunked_out;
    bool is_end_sent; /* ours, of a tunnel */
    /* The answer. */
    bool keep_alive;
    bool is_tunnel_ended; /* the upstream's side */
    enum h1_framing framing;
    uint64_t body_left;
    struct h1_chunked chunked;
    struct buf trailers; /* as lines */
};

static struct client_h1_exchange *client_h1_of(const struct client_exchange *x)
{
    return CONTAINER_OF((struct client_exchange *)(uintptr_t)x, struct client_h1_exchange, x);
}

/* The one that is under way; NULL: the connection is at rest, or dead. */
static struct client_h1_exchange *client_h1_now(const struct client_conn *c)
{
    struct client_exchange *x = client_conn_first(c);
    return x ? client_h1_of(x) : NULL;
}

/* Ends the exchange; the connection is kept where `is_clean`, and ends otherwise. The caller
 * touches neither of them again. */
static void client_h1_end(struct client_conn *c, enum client_fault fault, const char *detail,
                          const struct http_fields *trailers, bool is_clean)
{
    struct client_exchange *x = client_conn_first(c);
    client_exchange_leave(x);
    if (is_clean) {
        client_conn_rest(c);
    } else {
        client_conn_kill(c, fault == CLIENT_FAULT_NONE);
    }
    client_exchange_end(x, fault, detail, trailers);
}

static void client_h1_break_off(struct client_exchange *x)
{
    struct client_conn *c = x->conn;
    client_exchange_leave(x);
    if (!c->is_dead) {
        client_conn_kill(c, false);
    }
}

static void client_h1_exchange_done(struct client_exchange *x)
{
    buf_done(&client_h1_of(x)->trailers);
}

static bool client_h1_has_room(const struct client_conn *c, bool wants_new)
{
    return c->exchange_count == 0 && !wants_new;
}

/* ---- the request ---- */

static void client_h1_add_connection(const struct client_exchange *x,
                                     const struct client_request *request, struct buf *out)
{
    bool has_te = http_fields_get(request->fields, HTTP_FIELD_TE) != NULL;
    bool is_last = x->conn->target.idle_max == 0 && !request->upgrade.n;
    if (request->upgrade.n) {
        buf_printf(out, "Connection: %supgrade\r\nUpgrade: " STR_FMT "\r\n", has_te ? "te, " : "",
                   STR_ARG(request->upgrade));
    } else if (has_te || is_last) {
        buf_printf(out, "Connection: %s%s%s\r\n", has_te ? "te" : "", has_te && is_last ? ", " : "",
                   is_last ? "close" : "");
    }
}

static void client_h1_add_framing(struct client_h1_exchange *h,
                                  const struct client_request *request, struct buf *out)
{
    h->x.is_request_done = !request->has_body;
    if (!request->has_body) {
        return;
    }
    h->is_chunked_out = request->body_bytes == CLIENT_LENGTH_UNKNOWN;
    if (h->is_chunked_out) {
        buf_add_str(out, STR("Transfer-Encoding: chunked\r\n"));
    } else {
        h->send_left = request->body_bytes;
        buf_add_str(out, STR("Content-Length: "));
        buf_add_u64(out, request->body_bytes);
        buf_add_str(out, STR("\r\n"));
    }
}

static enum err client_h1_begin(struct client_exchange *x, const struct client_request *request)
{
    struct client_h1_exchange *h = client_h1_of(x);
    struct buf *out = &x->conn->out;
    buf_init(&h->trailers, 0);
    if (!http_field_value_is_valid(request->upgrade)) {
        return ERR_SYNTAX;
    }
    x->wants_tunnel = request->upgrade.n > 0;
    enum err e = h1_write_request(out, request->method, request->target, request->fields);
    if (e) {
        return e;
    }
    client_h1_add_connection(x, request, out);
    client_h1_add_framing(h, request, out);
    buf_add_str(out, STR("\r\n"));
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}

static enum err client_h1_send(struct client_exchange *x, struct str bytes)
{
    struct client_h1_exchange *h = client_h1_of(x);
    char head[H1_CHUNK_HEAD_BYTES];
    if (h->is_chunked_out) {
        const struct str pieces[] = {str_make(head, h1_chunk_head(bytes.n, head)), bytes,
                                     STR("\r\n")};
        return client_exchange_put(x, pieces, COUNT_OF(pieces));
    }
    if (x->phase != CLIENT_TUNNEL) {
        if (bytes.n > h->send_left) {
            return ERR_SYNTAX;
        }
        h->send_left -= bytes.n;
    }
    return client_exchange_put(x, &bytes, 1);
}

static enum err client_h1_finish(struct client_exchange *x, const struct http_fields *trailers)
{
    struct client_h1_exchange *h = client_h1_of(x);
    if (!h->is_chunked_out) {
        return h->send_left > 0 ? ERR_SYNTAX : ERR_OK;
    }
    struct buf ending;
    buf_init(&ending, 0);
    enum err e = h1_chunk_end(&ending, trailers);
    if (!e) {
        const struct str piece = buf_str(&ending);
        e = client_exchange_put(x, &piece, 1);
    }
    buf_done(&ending);
    h->is_chunked_out = h->is_chunked_out && e;
    return e;
}

static size_t client_h1_room(const struct client_exchange *x)
{
    const struct client_conn *c = x->conn;
    if (!c->is_connected || c->is_deaf || transport_has_unsent(&c->transport)) {
        return 0;
    }
    return c->out.n < CLIENT_OUT_BYTES_MAX ? CLIENT_OUT_BYTES_MAX - c->out.n : 0;
}

static bool client_h1_is_sending(const struct client_exchange *x)
{
    return client_conn_is_blocked(x->conn);
}

/* ---- the answer ---- */

static bool client_h1_is_reading(const struct client_conn *c)
{
    const struct client_h1_exchange *h = client_h1_now(c);
    return h && (h->x.phase == CLIENT_HEAD || (h->x.is_asked && !h->is_tunnel_ended));
}

/* The answer is whole; `left` bytes behind it are no answer to anything. */
static void client_h1_complete(struct client_conn *c, const struct http_fields *trailers,
                               size_t left)
{
    const struct client_h1_exchange *h = client_h1_now(c);
    bool is_clean = h->keep_alive && h->x.is_request_done && left == 0 &&
                    !client_conn_is_blocked(c) && !c->is_deaf;
    client_h1_end(c, CLIENT_FAULT_NONE, "", trailers, is_clean);
}

static size_t client_h1_interim(struct client_conn *c, const struct h1_response *r, size_t n,
                                bool *ret_goes_on)
{
    struct client_exchange *x = client_conn_first(c);
    if (++x->interim_count > CLIENT_INTERIM_MAX) {
        client_h1_end(c, CLIENT_FAULT_INTERIM, "", NULL, false);
        *ret_goes_on = false;
        return 0;
    }
    if (x->service->on_interim) {
        x->service->on_interim(x, &r->head);
    }
    *ret_goes_on = !c->is_dead;
    return n;
}

/* `n` bytes are the head, `left` stand behind it. */
static size_t client_h1_final(struct client_conn *c, const struct h1_response *r, size_t n,
                              size_t left, bool *ret_goes_on)
{
    struct client_h1_exchange *h = client_h1_now(c);
    struct client_exchange *x = &h->x;
    bool is_tunnel = r->head.status == 101;
    if (is_tunnel && !x->wants_tunnel) {
        client_h1_end(c, CLIENT_FAULT_UPGRADE, "", NULL, false);
        *ret_goes_on = false;
        return 0;
    }
    x->phase = is_tunnel ? CLIENT_TUNNEL : CLIENT_BODY;
    x->is_request_done = x->is_request_done && !is_tunnel;
    h->keep_alive = r->keep_alive && !is_tunnel;
    h->framing = r->framing;
    h->body_left = r->framing == H1_FRAMING_LENGTH ? r->content_length : 0;
    if (r->framing == H1_FRAMING_CHUNKED) {
        h1_chunked_init(&h->chunked, &h->trailers, 0);
    }
    x->service->on_head(
        x, &r->head, r->framing == H1_FRAMING_CHUNKED ? CLIENT_LENGTH_UNKNOWN : r->content_length);
    *ret_goes_on = !c->is_dead;
    bool is_whole = !is_tunnel && (r->framing == H1_FRAMING_NONE ||
                                   (r->framing == H1_FRAMING_LENGTH && r->content_length == 0));
    if (*ret_goes_on && is_whole) {
        client_h1_complete(c, NULL, left);
        *ret_goes_on = false;
    }
    return n;
}

static size_t client_h1_head(struct client_conn *c, const char *p, size_t n, bool *ret_goes_on)
{
    static const struct h1_limits limits = {.head_bytes_max = CLIENT_HEAD_BYTES_MAX,
                                            .field_count_max = CLIENT_FIELDS_MAX};
    struct h1_response r;
    http_fields_init(&r.head.fields, c->client->fields, CLIENT_FIELDS_MAX);
    ptrdiff_t head =
        h1_parse_response(p, n, c->scanned_bytes, &limits, client_conn_first(c)->method, &r);
    if (head == ERR_AGAIN) {
        c->scanned_bytes = n;
        return 0;
    }
    c->scanned_bytes = 0;
    if (head < 0) {
        client_h1_end(c, CLIENT_FAULT_RESPONSE, h1_reject_name(r.reject).p, NULL, false);
        *ret_goes_on = false;
        return 0;
    }
    bool is_interim = r.head.status < 200 && r.head.status != 101;
    return is_interim ? client_h1_interim(c, &r, (size_t)head, ret_goes_on)
                      : client_h1_final(c, &r, (size_t)head, n - (size_t)head, ret_goes_on);
}

/* A chunked body is whole. */
static void client_h1_end_chunks(struct client_conn *c, size_t left)
{
    struct client_h1_exchange *h = client_h1_now(c);
    struct http_fields trailers;
    http_fields_init(&trailers, c->client->fields, CLIENT_FIELDS_MAX);
    if (h->trailers.n && h1_chunked_trailers(&h->chunked, &trailers) != ERR_OK) {
        client_h1_end(c, CLIENT_FAULT_RESPONSE, "trailers", NULL, false);
        return;
    }
    client_h1_complete(c, trailers.n ? &trailers : NULL, left);
}

static size_t client_h1_body(struct client_conn *c, const char *p, size_t n, bool *ret_goes_on)
{
    struct client_h1_exchange *h = client_h1_now(c);
    struct client_exchange *x = &h->x;
    size_t used = n;
    struct str data = str_make(p, n);
    bool is_chunked = x->phase == CLIENT_BODY && h->framing == H1_FRAMING_CHUNKED;
    bool has_length = x->phase == CLIENT_BODY && h->framing == H1_FRAMING_LENGTH;
    if (is_chunked) {
        enum err e = h1_chunked_feed(&h->chunked, p, n, &used, &data);
        if (e) {
            client_h1_end(c, e == ERR_NOMEM ? CLIENT_FAULT_MEMORY : CLIENT_FAULT_RESPONSE, "chunks",
                          NULL, false);
            *ret_goes_on = false;
            return 0;
        }
    } else if (has_length) {
        used = n < h->body_left ? n : (size_t)h->body_left;
        data.n = used;
        h->body_left -= used;
    }
    if (data.n) {
        x->is_asked = false;
        x->service->on_body(x, data);
        if (c->is_dead) {
            *ret_goes_on = false;
            return used;
        }
    }
    if (is_chunked && h1_chunked_is_done(&h->chunked)) {
        client_h1_end_chunks(c, n - used);
        *ret_goes_on = false;
    } else if (has_length && h->body_left == 0) {
        client_h1_complete(c, NULL, n - used);
        *ret_goes_on = false;
    }
    return used;
}

static size_t client_h1_feed(struct client_conn *c, const char *p, size_t n)
{
    size_t used = 0;
    bool goes_on = true;
    struct client_exchange *x = client_conn_first(c);
    if (!x) {
        client_conn_kill(c, true); /* bytes that answer no request */
        return n;
    }
    x->has_answered = true;
    client_exchange_touch(x);
    while (used < n && client_h1_is_reading(c)) {
        size_t step = x->phase == CLIENT_HEAD ? client_h1_head(c, p + used, n - used, &goes_on)
                                              : client_h1_body(c, p + used, n - used, &goes_on);
        used += step;
        if (!goes_on) {
            return n;
        }
        if (step == 0) {
            break;
        }
    }
    return used;
}

static void client_h1_end_of_input(struct client_conn *c, bool is_orderly)
{
    struct client_h1_exchange *h = client_h1_now(c);
    switch (h->x.phase) {
    case CLIENT_HEAD:
        client_h1_end(c, CLIENT_FAULT_CLOSED, "", NULL, false);
        break;
    case CLIENT_BODY:
        if (h->framing == H1_FRAMING_CLOSE && is_orderly) {
            client_h1_complete(c, NULL, 0);
        } else {
            client_h1_end(c, CLIENT_FAULT_CUT, "", NULL, false);
        }
        break;
    case CLIENT_TUNNEL:
        if (!is_orderly) {
            client_h1_end(c, CLIENT_FAULT_CUT, "", NULL, false);
            return;
        }
        h->is_tunnel_ended = true;
        h->x.service->on_tunnel_end(&h->x);
        break;
    }
}

/* ---- what follows from the state ---- */

/* A tunnel ends when both sides have; what has no way out counts as sent. */
static void client_h1_end_tunnel(struct client_conn *c)
{
    struct client_h1_exchange *h = client_h1_now(c);
    bool is_sent = !client_conn_is_blocked(c);
    if (h->is_tunnel_ended && (c->is_deaf || (h->x.is_request_done && is_sent))) {
        client_h1_end(c, CLIENT_FAULT_NONE, "", NULL, false);
    } else if (h->x.is_request_done && is_sent && !h->is_end_sent && !c->is_deaf) {
        h->is_end_sent = true;
        transport_end(&c->transport);
    }
}

static void client_h1_settle(struct client_conn *c)
{
    struct client_exchange *x = client_conn_first(c);
    if (!x) {
        return;
    }
    if (client_conn_flush(c) > 0) {
        x->has_sent = true;
        client_exchange_touch(x);
    }
    if (!x->is_request_done && client_h1_room(x) > 0) {
        x->service->on_room(x);
    }
    if (!c->is_dead && client_conn_first(c) == x && x->phase == CLIENT_TUNNEL) {
        client_h1_end_tunnel(c);
    }
}

const struct client_protocol client_protocol_h1 = {
    .id = CLIENT_H1,
    .conn_bytes = sizeof(struct client_conn),
    .exchange_bytes = sizeof(struct client_h1_exchange),
    .has_room = client_h1_has_room,
    .begin = client_h1_begin,
    .send = client_h1_send,
    .finish = client_h1_finish,
    .room = client_h1_room,
    .break_off = client_h1_break_off,
    .exchange_done = client_h1_exchange_done,
    .is_sending = client_h1_is_sending,
    .feed = client_h1_feed,
    .end_of_input = client_h1_end_of_input,
    .is_reading = client_h1_is_reading,
    .settle = client_h1_settle,
};
