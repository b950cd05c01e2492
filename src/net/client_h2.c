/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "net/client_h2_int.h"

static uint64_t client_h2_now(const struct client_h2_conn *hc)
{
    return loop_now_ms(hc->c.client->loop);
}

/* ---- life ---- */

static enum err client_h2_conn_open(struct client_conn *c)
{
    static const struct mux_limits limits = {.header_bytes_max = CLIENT_HEAD_BYTES_MAX,
                                             .header_count_max = CLIENT_FIELDS_MAX,
                                             .stream_count_max = CLIENT_H2_STREAMS_MAX};
    struct client_h2_conn *hc = client_h2_conn_of(c);
    struct mux_events events = client_h2_events;
    events.context = hc;
    list_init(&hc->todo);
    hc->streams_first = CLIENT_H2_STREAMS_MAX;
    return h2_session_create_client(&limits, &events, &c->client->h2_pool, &hc->session);
}

static void client_h2_conn_done(struct client_conn *c)
{
    struct client_h2_conn *hc = client_h2_conn_of(c);
    struct list *streams = hc->session ? h2_session_streams(hc->session) : NULL;
    while (streams && !list_is_empty(streams)) {
        struct mux_stream *stream = CONTAINER_OF(streams->next, struct mux_stream, link);
        list_remove(&stream->link);
        client_h2_stream_free(CONTAINER_OF(stream, struct client_h2_stream, stream));
    }
    h2_session_destroy(hc->session);
}

static void client_h2_conn_ready(struct client_conn *c)
{
    struct client_h2_conn *hc = client_h2_conn_of(c);
    hc->begin_ms = client_h2_now(hc);
    hc->heard_ms = hc->begin_ms;
}

static unsigned client_h2_streams_max(const struct client_h2_conn *hc)
{
    uint32_t max =
        h2_session_is_ready(hc->session) ? h2_session_streams_max(hc->session) : hc->streams_first;
    return max < CLIENT_H2_STREAMS_MAX ? max : CLIENT_H2_STREAMS_MAX;
}

static bool client_h2_has_room(const struct client_conn *c, bool wants_new)
{
    const struct client_h2_conn *hc = client_h2_conn_of(c);
    return !c->is_dead && !c->is_deaf && !hc->is_input_closed && !hc->is_retired &&
           !h2_session_is_closing(hc->session) && c->exchange_count < client_h2_streams_max(hc) &&
           !(wants_new && c->is_at_rest);
}

/* ---- exchanges ---- */

/* Upstreams end a connection on which many streams are reset, and what else is under way there with
 * it: clients that go away must not do that to others. So it is retired before. */
static void client_h2_count_cancel(struct client_h2_conn *hc)
{
    uint64_t now = client_h2_now(hc);
    if (now - hc->cancel_ms >= CLIENT_H2_CANCELS_MS) {
        hc->cancel_ms = now;
        hc->cancel_count = 0;
    }
    hc->is_retired |= ++hc->cancel_count >= CLIENT_H2_CANCELS_MAX;
}

void client_h2_leave(struct client_h2_exchange *e, enum h2_code code)
{
    struct client_conn *c = e->x.conn;
    struct client_h2_conn *hc = client_h2_conn_of(c);
    struct client_h2_stream *s = e->s;
    list_remove(&e->todo);
    hc->waiting_count -= s == NULL;
    if (s && !c->is_dead) {
        h2_session_consume(hc->session, s->is_gone ? NULL : &s->stream, e->unread);
        e->unread = 0;
        bool is_whole = s->stream.is_answered && s->stream.is_body_done;
        if (!s->is_gone && !is_whole) {
            h2_session_reset(hc->session, &s->stream, code);
            client_h2_count_cancel(hc);
        }
    }
    client_exchange_leave(&e->x);
    client_conn_schedule(c);
}

void client_h2_end(struct client_h2_exchange *e, enum client_fault fault, const char *detail)
{
    client_h2_leave(e, H2_CANCEL);
    client_exchange_end(&e->x, fault, detail, NULL);
}

static void client_h2_ask(struct client_exchange *x)
{
    struct client_h2_exchange *e = client_h2_exchange_of(x);
    if (e->unread > 0 || e->is_whole) {
        client_h2_add_todo(e);
    }
}

static void client_h2_break_off(struct client_exchange *x)
{
    struct client_conn *c = x->conn;
    client_h2_leave(client_h2_exchange_of(x), H2_CANCEL);
    if (!c->is_dead && !c->is_connected && c->exchange_count == 0) {
        client_conn_kill(c, false);
    }
}

static void client_h2_exchange_done(struct client_exchange *x)
{
    struct client_h2_exchange *e = client_h2_exchange_of(x);
    if (e->todo.next) {
        list_remove(&e->todo);
    }
    client_h2_detach(e);
    buf_done(&e->in);
    buf_done(&e->out);
    arena_done(&e->arena);
    if (e->ret_is_freed) {
        *e->ret_is_freed = true;
    }
}

static enum err client_h2_keep_fields(struct client_h2_exchange *e,
                                      const struct client_request *request)
{
    const struct http_fields *from = request->fields;
    struct http_field *v = arena_alloc(&e->arena, (from->n + 1) * sizeof(*v));
    if (!v) {
        return ERR_NOMEM;
    }
    http_fields_init(&e->fields, v, from->n);
    for (unsigned i = 0; i < from->n; i++) {
        const struct http_field *f = &from->v[i];
        /* RFC 8441 5: a stream needs no proof that the other side knows the protocol. */
        if (f->id == HTTP_FIELD_SEC_WEBSOCKET_KEY && request->upgrade.n) {
            continue;
        }
        struct str name = arena_str(&e->arena, f->name), value = arena_str(&e->arena, f->value);
        if (!name.p || !value.p) {
            return ERR_NOMEM;
        }
        enum err err = http_fields_add(&e->fields, name, value);
        if (err) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err client_h2_keep_request(struct client_h2_exchange *e,
                                       const struct client_request *request)
{
    bool is_tunnel = request->upgrade.n > 0;
    enum err err = client_h2_keep_fields(e, request);
    if (err) {
        return err;
    }
    e->request = (struct h2_request){
        .method = is_tunnel ? STR("CONNECT") : arena_str(&e->arena, request->method),
        .method_id = is_tunnel ? HTTP_CONNECT : request->method_id,
        .scheme = e->x.conn->target.tls ? STR("https") : STR("http"),
        .authority = http_fields_value(&e->fields, HTTP_FIELD_HOST),
        .target = arena_str(&e->arena, request->target),
        .protocol = is_tunnel ? arena_str(&e->arena, request->upgrade) : STR(""),
        .fields = &e->fields,
        .body_bytes = request->has_body ? request->body_bytes : MUX_LENGTH_UNKNOWN,
        .has_body = request->has_body || is_tunnel,
    };
    const struct h2_request *r = &e->request;
    return r->method.p && r->target.p && r->protocol.p ? h2_request_check(r) : ERR_NOMEM;
}

/* It waits for its turn on its connection, which may have to say that it lives. */
static void client_h2_wait(struct client_h2_exchange *e)
{
    struct client_h2_conn *hc = client_h2_conn_of(e->x.conn);
    uint64_t now = client_h2_now(hc);
    hc->waiting_count++;
    if (h2_session_is_ready(hc->session) && now - hc->heard_ms >= CLIENT_H2_SILENCE_MS &&
        !h2_session_is_pinging(hc->session)) {
        hc->ping_ms = now;
        h2_session_ping(hc->session);
    }
}

static enum err client_h2_begin(struct client_exchange *x, const struct client_request *request)
{
    struct client_h2_exchange *e = client_h2_exchange_of(x);
    list_init(&e->todo);
    buf_init(&e->in, 0);
    buf_init(&e->out, 0);
    arena_init(&e->arena, 1024, 0);
    http_fields_init(&e->trailers, NULL, 0);
    e->keeps_out = true;
    e->send_left = request->body_bytes;
    x->is_request_done = !request->has_body;
    x->wants_tunnel = request->upgrade.n > 0;
    client_h2_wait(e);
    return client_h2_keep_request(e, request);
}

/* ---- from one connection to another ---- */

bool client_h2_can_move(const struct client_h2_exchange *e)
{
    return e->move_count < CLIENT_H2_MOVES_MAX && e->keeps_out && e->x.phase == CLIENT_HEAD;
}

void client_h2_move(struct client_h2_exchange *e)
{
    struct client_exchange *x = &e->x;
    const struct client_h2_conn *from = client_h2_conn_of(x->conn);
    const struct client_target target = from->c.target;
    unsigned streams_max = client_h2_streams_max(from);
    client_h2_leave(e, H2_CANCEL);
    client_h2_detach(e);
    e->out_at = 0;
    e->move_count++;
    x->has_sent = false;
    enum err err = client_exchange_rejoin(x, &target);
    if (err) {
        client_exchange_end(x, err == ERR_NOMEM ? CLIENT_FAULT_MEMORY : CLIENT_FAULT_CONNECT,
                            client_connect_text(err), NULL);
        return;
    }
    struct client_h2_conn *to = client_h2_conn_of(x->conn);
    if (!h2_session_is_ready(to->session) && streams_max > 0) {
        to->streams_first = streams_max; /* the same upstream will say the same */
    }
    client_h2_wait(e);
    client_conn_place(&to->c);
}

static struct client_h2_exchange *client_h2_first_waiting(const struct client_h2_conn *hc)
{
    LIST_FOR_EACH(at, &hc->c.exchanges)
    {
        struct client_exchange *x = CONTAINER_OF(at, struct client_exchange, link);
        if (!client_h2_exchange_of(x)->s) {
            return client_h2_exchange_of(x);
        }
    }
    return NULL;
}

/* `e` waits in vain. */
static void client_h2_send_away(struct client_h2_exchange *e)
{
    if (client_h2_can_move(e)) {
        client_h2_move(e);
    } else {
        client_h2_end(e, CLIENT_FAULT_REFUSED, "it takes no more streams");
    }
}

/* How many streams may begin now; before its settings came, the upstream gets one. */
static uint32_t client_h2_room_now(const struct client_h2_conn *hc)
{
    if (h2_session_is_pinging(hc->session)) {
        return 0;
    }
    uint32_t room = h2_session_room(hc->session);
    bool is_first = h2_session_stream_count(hc->session) == 0;
    return h2_session_is_ready(hc->session) ? room : room && is_first ? 1 : 0;
}

/* Opens streams for those that wait. */
static void client_h2_open_waiting(struct client_h2_conn *hc)
{
    while (hc->waiting_count > 0 && !hc->c.is_dead) {
        bool is_ready = h2_session_is_ready(hc->session);
        struct client_h2_exchange *e = client_h2_first_waiting(hc);
        if (h2_session_is_closing(hc->session) || hc->is_retired) {
            client_h2_send_away(e);
            continue;
        }
        if (e->x.wants_tunnel && is_ready && !h2_session_has_connect(hc->session)) {
            client_h2_end(e, CLIENT_FAULT_UPGRADE,
                          "it takes no WebSockets over HTTP/2 (RFC 8441); use http:// or https://");
            continue;
        }
        if (client_h2_room_now(hc) == 0 || (e->x.wants_tunnel && !is_ready)) {
            bool is_full = is_ready && hc->c.exchange_count > client_h2_streams_max(hc);
            if (!is_full) {
                return;
            }
            client_h2_send_away(e);
            continue;
        }
        enum err err = client_h2_open(e);
        hc->waiting_count -= e->s != NULL;
        if (err) {
            client_h2_end(e, err == ERR_NOMEM ? CLIENT_FAULT_MEMORY : CLIENT_FAULT_REQUEST,
                          err_text(err));
        }
    }
}

/* ---- the end of a connection ---- */

/* Nothing more comes. What is whole is still given to the services, all others end now. */
static void client_h2_close(struct client_h2_conn *hc, enum client_fault fault, const char *detail)
{
    struct list *at;
    hc->is_input_closed = true;
    client_conn_deafen(&hc->c);
    client_conn_place(&hc->c);
    do {
        at = hc->c.exchanges.next;
        while (at != &hc->c.exchanges) {
            struct client_exchange *x = CONTAINER_OF(at, struct client_exchange, link);
            struct client_h2_exchange *e = client_h2_exchange_of(x);
            if (!e->s && client_h2_can_move(e)) {
                client_h2_move(e);
                break;
            }
            if (!e->is_whole) {
                bool is_cut = x->phase != CLIENT_HEAD && fault == CLIENT_FAULT_CLOSED;
                client_h2_end(e, is_cut ? CLIENT_FAULT_CUT : fault, detail);
                break;
            }
            at = at->next;
        }
    } while (at != &hc->c.exchanges && !hc->c.is_dead);
    if (!hc->c.is_dead && hc->c.exchange_count == 0) {
        client_conn_kill(&hc->c, false);
    }
}

static const char *client_h2_broken_text(const struct client_h2_conn *hc)
{
    if (!h2_session_is_ready(hc->session)) {
        return "it does not speak HTTP/2";
    }
    return h2_session_abuse(hc->session) != H2_ABUSE_NONE ? "it sent a flood of frames or fields"
                                                          : "it broke the rules of HTTP/2";
}

/* Says why before it ends. */
static void client_h2_check_broken(struct client_h2_conn *hc)
{
    struct client_conn *c = &hc->c;
    if (c->is_dead || hc->is_input_closed || !h2_session_is_broken(hc->session)) {
        return;
    }
    enum err err = h2_session_pull(hc->session, client_h2_now(hc), &c->out, CLIENT_OUT_BYTES_MAX);
    if (!err && !c->is_dead) {
        (void)client_conn_flush(c);
    }
    client_h2_close(hc, err ? CLIENT_FAULT_MEMORY : CLIENT_FAULT_RESPONSE,
                    client_h2_broken_text(hc));
}

static void client_h2_end_of_input(struct client_conn *c, bool is_orderly)
{
    (void)is_orderly; /* HTTP/2 has its own ends */
    client_h2_close(client_h2_conn_of(c), CLIENT_FAULT_CLOSED, "");
}

/* ---- bytes ---- */

static size_t client_h2_feed(struct client_conn *c, const char *p, size_t n)
{
    struct client_h2_conn *hc = client_h2_conn_of(c);
    hc->heard_ms = client_h2_now(hc);
    if (h2_session_recv(hc->session, hc->heard_ms, p, n) != ERR_OK) {
        client_conn_fail(c, CLIENT_FAULT_MEMORY, "");
    } else {
        client_h2_check_broken(hc);
    }
    return n;
}

static bool client_h2_is_reading(const struct client_conn *c)
{
    return !client_h2_conn_of(c)->is_input_closed;
}

static void client_h2_flush(struct client_h2_conn *hc)
{
    struct client_conn *c = &hc->c;
    size_t budget = CLIENT_H2_BUDGET_BYTES;
    (void)client_conn_flush(c);
    while (!client_conn_is_blocked(c) && !c->is_deaf && budget > 0 &&
           h2_session_wants_output(hc->session)) {
        enum err err =
            h2_session_pull(hc->session, client_h2_now(hc), &c->out, CLIENT_OUT_BYTES_MAX);
        if (err) {
            client_conn_fail(c, CLIENT_FAULT_MEMORY, "");
            return;
        }
        if (c->out.n == 0) {
            return;
        }
        budget -= budget < c->out.n ? budget : c->out.n;
        (void)client_conn_flush(c);
    }
    if (budget == 0) {
        client_conn_schedule(c);
    }
}

static void client_h2_settle(struct client_conn *c)
{
    struct client_h2_conn *hc = client_h2_conn_of(c);
    client_h2_open_waiting(hc);
    client_h2_run_todo(hc);
    if (!c->is_dead && !hc->is_input_closed) {
        client_h2_flush(hc);
    }
    client_h2_check_broken(hc);
    if (c->is_dead) {
        return;
    }
    if (c->exchange_count == 0) {
        if (hc->is_input_closed || hc->is_retired || h2_session_is_closing(hc->session)) {
            client_conn_kill(c, true);
        } else if (!c->is_at_rest) {
            client_conn_rest(c);
        }
    } else {
        client_conn_place(c);
    }
}

/* ---- time ---- */

/* For settings, and for the answer to a PING. */
static uint64_t client_h2_deadline(const struct client_conn *c)
{
    const struct client_h2_conn *hc = client_h2_conn_of(c);
    const struct client_exchange *x = client_conn_first(c);
    if (!x || !c->is_connected || hc->is_input_closed) {
        return UINT64_MAX;
    }
    if (!h2_session_is_ready(hc->session)) {
        return hc->begin_ms + x->timeouts.connect_ms;
    }
    return h2_session_is_pinging(hc->session) ? hc->ping_ms + x->timeouts.connect_ms : UINT64_MAX;
}

static void client_h2_on_deadline(struct client_conn *c)
{
    struct client_h2_conn *hc = client_h2_conn_of(c);
    if (h2_session_is_ready(hc->session)) {
        client_h2_close(hc, CLIENT_FAULT_CLOSED, "it did not answer a PING");
    } else {
        client_conn_fail(c, CLIENT_FAULT_CONNECT_TIME, "its settings of HTTP/2 did not come");
    }
}

const struct client_protocol client_protocol_h2 = {
    .id = CLIENT_H2,
    .conn_bytes = sizeof(struct client_h2_conn),
    .exchange_bytes = sizeof(struct client_h2_exchange),
    .alpn = {"h2", 2},
    .alpn_fault = "it does not speak HTTP/2: it did not agree on h2 in the handshake (ALPN)",
    .may_speak_first = true,
    .conn_open = client_h2_conn_open,
    .conn_done = client_h2_conn_done,
    .has_room = client_h2_has_room,
    .conn_ready = client_h2_conn_ready,
    .begin = client_h2_begin,
    .send = client_h2_send,
    .finish = client_h2_finish,
    .room = client_h2_room,
    .ask = client_h2_ask,
    .break_off = client_h2_break_off,
    .exchange_done = client_h2_exchange_done,
    .is_sending = client_h2_is_sending,
    .feed = client_h2_feed,
    .end_of_input = client_h2_end_of_input,
    .is_reading = client_h2_is_reading,
    .settle = client_h2_settle,
    .deadline = client_h2_deadline,
    .on_deadline = client_h2_on_deadline,
};
