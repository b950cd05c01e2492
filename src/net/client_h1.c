/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "http/h1_write.h"
#include "net/client_int.h"

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

static void client_h1_add_framing(struct client_exchange *x, const struct client_request *request,
                                  struct buf *out)
{
    x->is_request_done = !request->has_body;
    if (!request->has_body) {
        return;
    }
    x->is_chunked_out = request->body_bytes == CLIENT_LENGTH_UNKNOWN;
    if (x->is_chunked_out) {
        buf_add_str(out, STR("Transfer-Encoding: chunked\r\n"));
    } else {
        x->send_left = request->body_bytes;
        buf_add_str(out, STR("Content-Length: "));
        buf_add_u64(out, request->body_bytes);
        buf_add_str(out, STR("\r\n"));
    }
}

enum err client_h1_begin(struct client_exchange *x, const struct client_request *request)
{
    struct buf *out = &x->conn->out;
    if (!http_field_value_is_valid(request->upgrade)) {
        return ERR_SYNTAX;
    }
    x->method = request->method_id;
    x->wants_tunnel = request->upgrade.n > 0;
    enum err e = h1_write_request(out, request->method, request->target, request->fields);
    if (e) {
        return e;
    }
    client_h1_add_connection(x, request, out);
    client_h1_add_framing(x, request, out);
    buf_add_str(out, STR("\r\n"));
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}

enum err client_send(struct client_exchange *x, struct str bytes)
{
    char head[H1_CHUNK_HEAD_BYTES];
    ASSERT_MAGIC(x, CLIENT_EXCHANGE_MAGIC);
    if (bytes.n == 0) {
        return ERR_OK;
    }
    if (x->is_request_done) {
        return ERR_SYNTAX;
    }
    if (x->is_chunked_out) {
        const struct str pieces[] = {str_make(head, h1_chunk_head(bytes.n, head)), bytes,
                                     STR("\r\n")};
        return client_conn_put(x->conn, pieces, COUNT_OF(pieces));
    }
    if (x->phase != CLIENT_TUNNEL) {
        if (bytes.n > x->send_left) {
            return ERR_SYNTAX;
        }
        x->send_left -= bytes.n;
    }
    return client_conn_put(x->conn, &bytes, 1);
}

enum err client_finish(struct client_exchange *x, const struct http_fields *trailers)
{
    struct client_conn *c = x->conn;
    enum err e = ERR_OK;
    ASSERT_MAGIC(x, CLIENT_EXCHANGE_MAGIC);
    if (x->is_request_done) {
        return ERR_OK;
    }
    if (x->is_chunked_out) {
        struct buf ending;
        buf_init(&ending, 0);
        e = h1_chunk_end(&ending, trailers);
        if (!e) {
            const struct str piece = buf_str(&ending);
            e = client_conn_put(c, &piece, 1);
        }
        buf_done(&ending);
    } else if (x->send_left > 0) {
        e = ERR_SYNTAX;
    }
    if (!e) {
        x->is_request_done = true;
        x->is_chunked_out = false;
        c->activity_ms = loop_now_ms(c->client->loop);
        client_conn_schedule(c);
    }
    return e;
}

/* ---- the answer ---- */

bool client_h1_is_reading(const struct client_exchange *x)
{
    return x->phase == CLIENT_HEAD || (x->is_asked && !x->is_tunnel_ended);
}

/* The answer is whole; `left` bytes behind it are no answer to anything. */
static void client_h1_complete(struct client_conn *c, const struct http_fields *trailers,
                               size_t left)
{
    const struct client_exchange *x = c->x;
    bool is_clean = x->keep_alive && x->is_request_done && left == 0 && c->out.n == 0 &&
                    !transport_has_unsent(&c->transport) && !c->is_deaf;
    client_conn_end(c, CLIENT_FAULT_NONE, "", trailers, is_clean);
}

static size_t client_h1_interim(struct client_conn *c, const struct h1_response *r, size_t n,
                                bool *ret_goes_on)
{
    struct client_exchange *x = c->x;
    if (++x->interim_count > CLIENT_INTERIM_MAX) {
        client_conn_end(c, CLIENT_FAULT_INTERIM, "", NULL, false);
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
    struct client_exchange *x = c->x;
    bool is_tunnel = r->head.status == 101;
    if (is_tunnel && !x->wants_tunnel) {
        client_conn_end(c, CLIENT_FAULT_UPGRADE, "", NULL, false);
        *ret_goes_on = false;
        return 0;
    }
    x->phase = is_tunnel ? CLIENT_TUNNEL : CLIENT_BODY;
    x->is_request_done = x->is_request_done && !is_tunnel;
    x->keep_alive = r->keep_alive && !is_tunnel;
    x->framing = r->framing;
    x->body_left = r->framing == H1_FRAMING_LENGTH ? r->content_length : 0;
    if (r->framing == H1_FRAMING_CHUNKED) {
        h1_chunked_init(&x->chunked, &x->trailers, 0);
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
    ptrdiff_t head = h1_parse_response(p, n, c->scanned_bytes, &limits, c->x->method, &r);
    if (head == ERR_AGAIN) {
        c->scanned_bytes = n;
        return 0;
    }
    c->scanned_bytes = 0;
    if (head < 0) {
        client_conn_end(c, CLIENT_FAULT_RESPONSE, h1_reject_name(r.reject).p, NULL, false);
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
    struct client_exchange *x = c->x;
    struct http_fields trailers;
    http_fields_init(&trailers, c->client->fields, CLIENT_FIELDS_MAX);
    if (x->trailers.n && h1_chunked_trailers(&x->chunked, &trailers) != ERR_OK) {
        client_conn_end(c, CLIENT_FAULT_RESPONSE, "trailers", NULL, false);
        return;
    }
    client_h1_complete(c, trailers.n ? &trailers : NULL, left);
}

static size_t client_h1_body(struct client_conn *c, const char *p, size_t n, bool *ret_goes_on)
{
    struct client_exchange *x = c->x;
    size_t used = n;
    struct str data = str_make(p, n);
    bool is_chunked = x->phase == CLIENT_BODY && x->framing == H1_FRAMING_CHUNKED;
    bool has_length = x->phase == CLIENT_BODY && x->framing == H1_FRAMING_LENGTH;
    if (is_chunked) {
        enum err e = h1_chunked_feed(&x->chunked, p, n, &used, &data);
        if (e) {
            client_conn_end(c, e == ERR_NOMEM ? CLIENT_FAULT_MEMORY : CLIENT_FAULT_RESPONSE,
                            "chunks", NULL, false);
            *ret_goes_on = false;
            return 0;
        }
    } else if (has_length) {
        used = n < x->body_left ? n : (size_t)x->body_left;
        data.n = used;
        x->body_left -= used;
    }
    if (data.n) {
        x->is_asked = false;
        x->service->on_body(x, data);
        if (c->is_dead) {
            *ret_goes_on = false;
            return used;
        }
    }
    if (is_chunked && h1_chunked_is_done(&x->chunked)) {
        client_h1_end_chunks(c, n - used);
        *ret_goes_on = false;
    } else if (has_length && x->body_left == 0) {
        client_h1_complete(c, NULL, n - used);
        *ret_goes_on = false;
    }
    return used;
}

size_t client_h1_feed(struct client_conn *c, const char *p, size_t n, bool *ret_goes_on)
{
    size_t used = 0;
    *ret_goes_on = true;
    while (used < n && client_h1_is_reading(c->x)) {
        size_t step = c->x->phase == CLIENT_HEAD
                          ? client_h1_head(c, p + used, n - used, ret_goes_on)
                          : client_h1_body(c, p + used, n - used, ret_goes_on);
        used += step;
        if (!*ret_goes_on || step == 0) {
            break;
        }
    }
    return used;
}

bool client_h1_end_of_input(struct client_conn *c, bool is_orderly)
{
    struct client_exchange *x = c->x;
    switch (x->phase) {
    case CLIENT_HEAD:
        client_conn_end(c, CLIENT_FAULT_CLOSED, "", NULL, false);
        return false;
    case CLIENT_BODY:
        if (x->framing == H1_FRAMING_CLOSE && is_orderly) {
            client_h1_complete(c, NULL, 0);
        } else {
            client_conn_end(c, CLIENT_FAULT_CUT, "", NULL, false);
        }
        return false;
    case CLIENT_TUNNEL:
        if (!is_orderly) {
            client_conn_end(c, CLIENT_FAULT_CUT, "", NULL, false);
            return false;
        }
        x->is_tunnel_ended = true;
        x->service->on_tunnel_end(x);
        return !c->is_dead;
    }
    return true;
}
