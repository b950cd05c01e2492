/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/echo.h"

#include "crypto/tls_conn.h"
#include "edge/ws_session.h"
#include "http/negotiate.h"
#include "http/varint.h"
#include "http/websocket_handshake.h"
#include "log/escape.h"

#define UDP_PAYLOAD_BYTES_MAX 65527u /* RFC 9298 section 5 */

/* ---- a request as text or JSON ---- */

/* What proves who someone is is never given back: a script of a page could read there what the
 * browser keeps from it. */
static struct str echo_value(const struct http_field *f)
{
    bool is_secret = f->id == HTTP_FIELD_COOKIE || f->id == HTTP_FIELD_AUTHORIZATION ||
                     f->id == HTTP_FIELD_PROXY_AUTHORIZATION;
    return is_secret ? STR("(not shown)") : f->value;
}

static void echo_add_version(struct buf *out, unsigned version)
{
    buf_printf(out, version < HTTP_VERSION_20 ? "HTTP/%u.%u" : "HTTP/%u", version / 10,
               version % 10);
}

static const char *echo_tls_version(const struct tls_conn *tls)
{
    switch (tls_conn_version(tls)) {
    case TLS_VERSION_12:
        return "1.2";
    case TLS_VERSION_13:
        return "1.3";
    }
    return "";
}

static void echo_add_text(const struct request *r, struct buf *out)
{
    const struct request_head *head = r->x->request;
    const struct tls_conn *tls = r->x->peer->tls;
    buf_printf(out, STR_FMT " " STR_FMT " ", STR_ARG(head->method_text), STR_ARG(head->target));
    echo_add_version(out, head->version);
    buf_add_char(out, '\n');
    for (unsigned i = 0; i < head->fields.n; i++) {
        const struct http_field *f = &head->fields.v[i];
        buf_printf(out, STR_FMT ": " STR_FMT "\n", STR_ARG(f->name), STR_ARG(echo_value(f)));
    }
    buf_printf(out, "\nclient: " STR_FMT "\n", STR_ARG(r->client));
    if (tls) {
        struct tls_client_certificate certificate;
        buf_printf(out, "tls: %s %s\nalpn: " STR_FMT "\nserver name: " STR_FMT "\nresumed: %s\n",
                   echo_tls_version(tls), tls_conn_cipher(tls), STR_ARG(tls_conn_alpn(tls)),
                   STR_ARG(tls_conn_sni(tls)), tls_conn_is_resumed(tls) ? "yes" : "no");
        if (tls_conn_client_certificate(tls, &certificate) == ERR_OK) {
            buf_printf(out, "client certificate: " STR_FMT "\n", STR_ARG(certificate.subject));
        }
    }
}

/* `,"name":"value"`; the first of an object has no comma before it. */
static void echo_add_member(struct buf *out, const char *name, struct str value)
{
    bool is_first = out->n && out->p[out->n - 1] == '{';
    buf_printf(out, "%s\"%s\":\"", is_first ? "" : ",", name);
    escape_json(out, value);
    buf_add_char(out, '"');
}

static void echo_add_json(const struct request *r, struct buf *out)
{
    const struct request_head *head = r->x->request;
    const struct tls_conn *tls = r->x->peer->tls;
    buf_add_char(out, '{');
    echo_add_member(out, "method", head->method_text);
    echo_add_member(out, "target", head->target);
    buf_add_str(out, STR(",\"version\":\""));
    echo_add_version(out, head->version);
    buf_add_str(out, STR("\",\"fields\":["));
    for (unsigned i = 0; i < head->fields.n; i++) {
        const struct http_field *f = &head->fields.v[i];
        buf_add_str(out, i ? STR(",[\"") : STR("[\""));
        escape_json(out, f->name);
        buf_add_str(out, STR("\",\""));
        escape_json(out, echo_value(f));
        buf_add_str(out, STR("\"]"));
    }
    buf_add_char(out, ']');
    echo_add_member(out, "client", r->client);
    if (tls) {
        struct tls_client_certificate certificate;
        buf_add_str(out, STR(",\"tls\":{"));
        echo_add_member(out, "version", str_of(echo_tls_version(tls)));
        echo_add_member(out, "cipher", str_of(tls_conn_cipher(tls)));
        echo_add_member(out, "alpn", tls_conn_alpn(tls));
        echo_add_member(out, "server_name", tls_conn_sni(tls));
        buf_printf(out, ",\"resumed\":%s", tls_conn_is_resumed(tls) ? "true" : "false");
        if (tls_conn_client_certificate(tls, &certificate) == ERR_OK) {
            echo_add_member(out, "client_certificate", certificate.subject);
        }
        buf_add_char(out, '}');
    }
    buf_add_str(out, STR("}\n"));
}

static void echo_answer_facts(struct request *r)
{
    static const struct str offered[] = {STR("text/plain"), STR("application/json")};
    struct buf body;
    bool is_json = http_accept_media_type(&r->x->request->fields, offered, 2) == 1;
    buf_init(&body, 0);
    if (is_json) {
        echo_add_json(r, &body);
    } else {
        echo_add_text(r, &body);
    }
    if (body.is_failed) {
        request_fail(r, 503, "out of memory");
    } else {
        request_answer(r, 200, is_json ? offered[1] : STR("text/plain; charset=utf-8"),
                       buf_str(&body), (struct str){NULL, 0});
    }
    buf_done(&body);
}

/* ---- a body, as it comes ---- */

/* The answer begins with the first byte, so that a body that is broken from its start is refused.
 */
static enum err echo_respond(struct request *r)
{
    struct http_field array[REQUEST_FIELDS_MAX];
    struct response_head head = {.status = 200};
    struct str type = http_fields_value(&r->x->request->fields, HTTP_FIELD_CONTENT_TYPE);
    http_fields_init(&head.fields, array, REQUEST_FIELDS_MAX);
    enum err e = http_fields_add_id(&head.fields, HTTP_FIELD_CONTENT_TYPE,
                                    type.n ? type : STR("application/octet-stream"));
    e = e ? e : request_add_route_fields(r, &head.fields);
    return e ? e : exchange_respond(r->x, &head, r->x->request_body_bytes);
}

static void echo_on_body(struct request *r, struct str bytes)
{
    enum err e = r->x->phase == EXCHANGE_OPEN ? echo_respond(r) : ERR_OK;
    e = e ? e : exchange_send_bytes(r->x, bytes);
    if (e) {
        exchange_reset(r->x, e);
    } else if (exchange_room(r->x) > 0) {
        exchange_read_body(r->x);
    } else {
        r->is_waiting = true;
    }
}

static void echo_on_room(struct request *r)
{
    if (r->is_waiting) {
        r->is_waiting = false;
        exchange_read_body(r->x);
    }
}

static enum err echo_send_trailers(struct request *r)
{
    bool is_wanted = r->x->trailers &&
                     http_fields_has_token(&r->x->request->fields, HTTP_FIELD_TE, STR("trailers"));
    return is_wanted ? exchange_send_trailers(r->x, r->x->trailers) : ERR_OK;
}

static void echo_on_body_end(struct request *r)
{
    enum err e = r->x->phase == EXCHANGE_OPEN ? echo_respond(r) : ERR_OK;
    e = e ? e : echo_send_trailers(r);
    if (e) {
        exchange_reset(r->x, e);
    } else {
        exchange_finish(r->x);
    }
}

/* ---- a WebSocket ---- */

static enum err echo_on_data(struct ws_session *s, const struct websocket_event *piece)
{
    return ws_session_send(s, piece);
}

static const struct ws_handler echo_ws_handler = {.on_data = echo_on_data};

/* It speaks whatever the client likes best. */
static struct str echo_subprotocol(const struct http_fields *fields)
{
    struct str wishes = http_fields_value(fields, HTTP_FIELD_SEC_WEBSOCKET_PROTOCOL);
    struct str wish;
    bool has_one = http_list_next(&wishes, &wish) && http_token_is_valid(wish);
    return has_one ? wish : STR("");
}

/* ---- UDP payloads: a server that echoes them stands behind every target ---- */

/* RFC 9298 section 5. */
static void echo_on_datagram(struct request *r, struct str bytes)
{
    uint64_t context;
    size_t used = varint_read(bytes, &context);
    if (used && context == 0 && bytes.n - used <= UDP_PAYLOAD_BYTES_MAX) {
        enum err ignored = exchange_send_datagram(r->x, bytes);
        (void)ignored; /* lost, as datagrams may be */
    }
}

static void echo_end_udp(struct request *r)
{
    exchange_finish(r->x);
}

static void echo_open_udp(struct request *r)
{
    const struct http_fields none = {.n = 0};
    const struct request_head *head = r->x->request;
    if (head->method != HTTP_CONNECT && head->method != HTTP_GET) {
        request_fail(r, 400, "connect-udp begins with GET");
        return;
    }
    if (r->x->server->is_draining) {
        request_fail(r, 503, "the server drains");
        return;
    }
    enum err e = exchange_tunnel_datagrams(r->x, STR("connect-udp"), &none);
    if (e) {
        request_fail(r, e == ERR_NOMEM ? 503 : 400, err_text(e));
        return;
    }
    r->on_datagram = echo_on_datagram;
    r->on_body_end = echo_end_udp;
    r->on_drain = echo_end_udp;
    exchange_read_body(r->x);
}

static bool echo_is_udp_asked(struct str upgrade)
{
    struct str token;
    while (http_list_next(&upgrade, &token)) {
        if (str_eq_ci(token, STR("connect-udp"))) {
            return true;
        }
    }
    return false;
}

void echo_handle(struct request *r)
{
    if (websocket_is_asked(r->x->upgrade)) {
        ws_session_open(r, &echo_ws_handler, echo_subprotocol(&r->x->request->fields));
        return;
    }
    if (echo_is_udp_asked(r->x->upgrade)) {
        echo_open_udp(r);
        return;
    }
    if (r->x->request_body_bytes == 0) {
        echo_answer_facts(r);
        return;
    }
    r->on_body = echo_on_body;
    r->on_body_end = echo_on_body_end;
    r->on_room = echo_on_room;
    exchange_read_body(r->x);
}
