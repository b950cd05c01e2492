/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of an upstream, as it comes. */
#include "edge/fcgi.h"
#include "edge/proxy_int.h"

/* RFC 8297; other interim answers are of no use to anyone. */
static void proxy_pass_hints(struct proxy *p, const struct response_head *head)
{
    struct http_field array[HTTP_FIELDS_MAX];
    struct http_fields fields;
    http_fields_init(&fields, array, HTTP_FIELDS_MAX);
    if (proxy_trailers(&head->fields, &fields) == ERR_OK) {
        exchange_send_interim(p->x, head->status, &fields);
    }
}

static void proxy_on_interim(struct client_exchange *answer, const struct response_head *head)
{
    struct proxy *p = client_state(answer);
    if (head->status == 100 && p->is_waiting_continue) {
        timer_cancel(&p->continue_timer);
        p->is_waiting_continue = false;
        proxy_pull(p);
    } else if (head->status == 103) {
        proxy_pass_hints(p, head);
    }
}

static enum err proxy_respond(struct proxy *p, const struct response_head *from,
                              uint64_t body_bytes)
{
    struct http_field array[HTTP_FIELDS_MAX];
    struct response_head head = {.status = from->status};
    http_fields_init(&head.fields, array, HTTP_FIELDS_MAX);
    enum err e =
        proxy_response_fields(p->request, &from->fields, proxy_version(p), false, &head.fields);
    e = e ? e : proxy_add_sticky(p->request, p->upstream, &p->use, &head.fields);
    if (!http_status_has_content(from->status)) {
        body_bytes = 0;
    }
    return e ? e : exchange_respond(p->x, &head, body_bytes);
}

static void proxy_on_head(struct client_exchange *answer, const struct response_head *head,
                          uint64_t body_bytes)
{
    struct proxy *p = client_state(answer);
    bool is_switch = head->status == 101;
    /* To an extended CONNECT any 2xx would be a yes. */
    bool is_false_yes = p->x->request->protocol.p && head->status / 100 == 2;
    timer_cancel(&p->continue_timer);
    p->is_waiting_continue = false;
    upstream_answered(p->request->pipeline, p->upstream, &p->use, head->status);
    if (proxy_is_idempotent(p) && proxy_is_replayable(p) &&
        upstream_retry_answer(p->request->pipeline, p->upstream, &p->use, head->status)) {
        client_cancel(p->answer);
        p->answer = NULL;
        proxy_await_retry(p);
        return;
    }
    proxy_drop_replay(p);
    enum err e = is_switch      ? proxy_switch(p, head)
                 : is_false_yes ? ERR_SYNTAX
                                : proxy_respond(p, head, body_bytes);
    if (e) {
        const struct client_end end = {
            .fault = e == ERR_NOMEM              ? CLIENT_FAULT_MEMORY
                     : is_switch || is_false_yes ? CLIENT_FAULT_UPGRADE
                                                 : CLIENT_FAULT_RESPONSE,
            .detail = err_text(e),
        };
        client_cancel(p->answer);
        p->answer = NULL;
        upstream_release(p->upstream, &p->use);
        metrics_add_at(p->request->pipeline->metrics, METRICS_UPSTREAM_ERRORS, end.fault, 1);
        proxy_fail(p, &end);
        return;
    }
    client_read_body(answer);
    if (is_switch) {
        proxy_pull(p);
    }
}

static void proxy_on_answer_body(struct client_exchange *answer, struct str bytes)
{
    struct proxy *p = client_state(answer);
    enum err e = exchange_send_bytes(p->x, bytes);
    if (e) {
        p->request->error = err_text(e);
        exchange_reset(p->x, e);
    } else if (exchange_room(p->x) > 0) {
        client_read_body(answer);
    } else {
        p->is_waiting_room = true;
    }
}

void proxy_on_room(struct request *r)
{
    struct proxy *p = r->handler;
    if (p->answer && p->is_waiting_room) {
        p->is_waiting_room = false;
        client_read_body(p->answer);
    }
}

static void proxy_on_tunnel_end(struct client_exchange *answer)
{
    struct proxy *p = client_state(answer);
    exchange_finish(p->x);
}

/* The whole answer is there. */
static void proxy_finish(struct proxy *p, const struct http_fields *from)
{
    struct http_field array[HTTP_FIELDS_MAX];
    struct http_fields trailers;
    http_fields_init(&trailers, array, HTTP_FIELDS_MAX);
    enum err e = from ? proxy_trailers(from, &trailers) : ERR_OK;
    if (!e && trailers.n) {
        e = exchange_send_trailers(p->x, &trailers);
    }
    if (e) {
        p->request->error = err_text(e);
        exchange_reset(p->x, e);
    } else {
        exchange_finish(p->x);
    }
}

static void proxy_on_answer_end(struct client_exchange *answer, const struct client_end *end)
{
    struct proxy *p = client_state(answer);
    p->answer = NULL;
    if (p->x->phase == EXCHANGE_FINISHED) {
        upstream_release(p->upstream, &p->use);
        return; /* a tunnel whose end the client knows already */
    }
    proxy_report(p, end);
    if (end->fault == CLIENT_FAULT_NONE) {
        proxy_finish(p, end->trailers);
    }
}

static void proxy_on_upstream_room(struct client_exchange *answer)
{
    proxy_pull(client_state(answer));
}

static void proxy_on_log(struct client_exchange *answer, struct str text)
{
    const struct proxy *p = client_state(answer);
    fcgi_log(p->request, p->use.endpoint->name, text);
}

const struct client_service proxy_service = {
    .on_interim = proxy_on_interim,
    .on_head = proxy_on_head,
    .on_body = proxy_on_answer_body,
    .on_tunnel_end = proxy_on_tunnel_end,
    .on_log = proxy_on_log,
    .on_room = proxy_on_upstream_room,
    .on_end = proxy_on_answer_end,
};
