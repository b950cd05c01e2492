/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/proxy.h"

#include "base/assert.h"
#include "edge/fcgi.h"
#include "edge/mirror.h"
#include "edge/proxy_int.h"

/* How long the client's body waits for the upstream's 100: not all of them know it (RFC 9110
 * 10.1.1). */
#define CONTINUE_MS 1000u

static void proxy_try(struct proxy *p);

static struct proxy *proxy_of(const struct request *r)
{
    return r->handler;
}

/* ---- the end ---- */

/* "upstream http://127.0.0.1:3000: no connection: nobody listens there" */
static const char *proxy_reason(struct proxy *p, const struct client_end *end)
{
    if (!p->use.endpoint) {
        return client_fault_text(end->fault); /* it waits for its turn in a list that changed */
    }
    struct str text =
        arena_printf(&p->x->arena, STR_FMT ": %s%s%s", STR_ARG(p->use.endpoint->name),
                     client_fault_text(end->fault), end->detail[0] ? ": " : "", end->detail);
    return text.p ? text.p : client_fault_text(end->fault);
}

void proxy_fail(struct proxy *p, const struct client_end *end)
{
    struct request *r = p->request;
    r->error = proxy_reason(p, end);
    if (p->x->phase == EXCHANGE_OPEN) {
        request_fail(r, client_fault_status(end->fault), r->error);
    } else {
        exchange_reset(p->x, ERR_RESET);
    }
}

static void proxy_retry(struct proxy *p)
{
    struct loop *loop = p->request->pipeline->loop;
    if (upstream_begin_retry(p->request->pipeline, p->upstream, &p->use)) {
        proxy_try(p);
    } else if (loop_now_ms(loop) < p->retry_until_ms) {
        loop_timer_set(loop, &p->retry_timer, loop_now_ms(loop) + p->use.pause_ms);
    } else {
        proxy_fail(p, &p->last_end);
    }
}

static void proxy_on_retry_time(struct timer *t)
{
    proxy_retry(CONTAINER_OF(t, struct proxy, retry_timer));
}

void proxy_await_retry(struct proxy *p)
{
    struct loop *loop = p->request->pipeline->loop;
    p->retry_until_ms = loop_now_ms(loop) + UPSTREAM_RETRY_WAIT_MS;
    timer_cancel(&p->continue_timer);
    p->is_waiting_continue = false;
    if (p->use.pause_ms) {
        loop_timer_set(loop, &p->retry_timer, loop_now_ms(loop) + p->use.pause_ms);
    } else {
        proxy_retry(p);
    }
}

bool proxy_is_idempotent(const struct proxy *p)
{
    return http_method_is_idempotent(p->x->request->method);
}

bool proxy_is_replayable(const struct proxy *p)
{
    return p->x->phase == EXCHANGE_OPEN && !p->is_tunnel &&
           !(p->is_body_spent && p->is_replay_lost);
}

void proxy_report(struct proxy *p, const struct client_end *end)
{
    upstream_avoid(p->request->pipeline, &p->use, end->fault, &p->target_now.address);
    if (upstream_report(p->request->pipeline, p->upstream, &p->use, end, proxy_is_idempotent(p),
                        proxy_is_replayable(p))) {
        p->last_end = (struct client_end){.fault = end->fault, .detail = end->detail};
        proxy_await_retry(p);
    } else if (end->fault) {
        proxy_fail(p, end);
    }
}

void proxy_give_up(struct proxy *p, enum err e)
{
    const struct client_end end = {
        .fault = e == ERR_NOMEM ? CLIENT_FAULT_MEMORY : CLIENT_FAULT_REQUEST,
        .detail = err_text(e),
    };
    if (p->answer) {
        client_cancel(p->answer);
        p->answer = NULL;
    }
    upstream_release(p->upstream, &p->use);
    metrics_add_at(p->request->pipeline->metrics, METRICS_UPSTREAM_ERRORS, end.fault, 1);
    proxy_fail(p, &end);
}

static void proxy_on_end(struct request *r)
{
    struct proxy *p = proxy_of(r);
    timer_cancel(&p->continue_timer);
    timer_cancel(&p->retry_timer);
    resolver_forget(&p->question);
    if (p->answer) {
        client_cancel(p->answer);
        p->answer = NULL;
    }
    upstream_end(p->upstream, &p->use);
    buf_done(&p->replay);
}

/* ---- the body of the request ---- */

void proxy_pull(struct proxy *p)
{
    if (p->answer && p->has_body && !p->is_body_asked && !p->is_body_done &&
        !p->is_waiting_continue && client_room(p->answer) > 0) {
        p->is_body_asked = true;
        exchange_read_body(p->x);
    }
}

void proxy_drop_replay(struct proxy *p)
{
    p->is_replay_lost = true;
    buf_done(&p->replay);
}

/* What comes while no try is under way was asked for by the last one, and is kept in any case. */
static enum err proxy_keep(struct proxy *p, struct str bytes)
{
    size_t most = p->answer ? p->replay_bytes_max : SIZE_MAX;
    if (p->is_tunnel || (p->answer && p->is_replay_lost)) {
        return ERR_OK;
    }
    if (bytes.n > most || p->replay.n > most - bytes.n) {
        proxy_drop_replay(p);
        return ERR_OK;
    }
    buf_add(&p->replay, bytes.p, bytes.n);
    return p->replay.is_failed ? ERR_NOMEM : ERR_OK;
}

/* CGI wants to know how long a body is, so one that does not say so comes whole before it goes on
 * its way. */
static void proxy_gather(struct proxy *p)
{
    if (upstream_settings(p->upstream)->fcgi.body_bytes == 0) {
        request_fail(p->request, 411, "a body without a length");
        return;
    }
    p->is_gathering = true;
    p->is_body_asked = true;
    exchange_read_body(p->x);
}

static void proxy_on_gathered(struct proxy *p, struct str bytes)
{
    size_t most = (size_t)upstream_settings(p->upstream)->fcgi.body_bytes;
    if (bytes.n > most - p->replay.n) {
        request_fail(p->request, 413, "more of a body without a length than fcgi.body");
        return;
    }
    buf_add_str(&p->replay, bytes);
    if (p->replay.is_failed) {
        request_fail(p->request, 503, "out of memory");
    } else {
        exchange_read_body(p->x);
    }
}

static void proxy_on_body(struct request *r, struct str bytes)
{
    struct proxy *p = proxy_of(r);
    if (p->is_gathering) {
        proxy_on_gathered(p, bytes);
        return;
    }
    p->is_body_asked = false;
    p->is_body_spent = true;
    enum err e = proxy_keep(p, bytes);
    e = !e && p->answer ? client_send(p->answer, bytes) : e;
    if (e) {
        proxy_give_up(p, e);
    } else {
        proxy_pull(p);
    }
}

/* The request is whole. What was kept for another try is all of its body, or is not there. */
static void proxy_mirror(struct proxy *p)
{
    if (p->is_mirrored) {
        p->is_mirrored = false;
        mirror_send(p->request, p->target, p->is_replay_lost ? NULL : &p->replay);
    }
}

static enum err proxy_finish_body(struct proxy *p)
{
    struct http_field array[HTTP_FIELDS_MAX];
    struct http_fields trailers;
    const struct http_fields *from = p->is_tunnel ? NULL : p->x->trailers;
    http_fields_init(&trailers, array, HTTP_FIELDS_MAX);
    enum err e = from ? proxy_trailers(from, &trailers) : ERR_OK;
    return e ? e : client_finish(p->answer, trailers.n ? &trailers : NULL);
}

static void proxy_on_body_end(struct request *r)
{
    struct proxy *p = proxy_of(r);
    p->is_body_done = true;
    proxy_mirror(p);
    if (p->is_gathering) {
        p->is_gathering = false;
        p->is_body_spent = true;
        p->body_bytes = p->replay.n;
        proxy_try(p);
        return;
    }
    enum err e = p->answer ? proxy_finish_body(p) : ERR_OK;
    if (e) {
        proxy_give_up(p, e);
    }
}

static void proxy_on_continue_timeout(struct timer *t)
{
    struct proxy *p = CONTAINER_OF(t, struct proxy, continue_timer);
    p->is_waiting_continue = false;
    proxy_pull(p);
}

/* ---- the request ---- */

/* The client waits for 100 before it sends its body; so do we for the upstream's, which FastCGI
 * does not have. */
static bool proxy_expects_continue(const struct proxy *p)
{
    return p->has_body && !p->request->script && !p->is_body_spent && !p->is_body_done &&
           http_fields_get(&p->x->request->fields, HTTP_FIELD_EXPECT) != NULL;
}

static enum err proxy_start(struct proxy *p)
{
    struct request *r = p->request;
    const struct request_head *head = p->x->request;
    struct http_field array[HTTP_FIELDS_MAX];
    struct http_fields fields;
    bool is_websocket = p->websocket_key.n > 0;
    http_fields_init(&fields, array, HTTP_FIELDS_MAX);
    enum err e = proxy_request_fields(r, p->upstream, p->use.endpoint, p->websocket_key, &fields);
    if (e) {
        return e == ERR_LIMIT ? ERR_SYNTAX : e;
    }
    struct client_request request = {
        .method = is_websocket ? STR("GET") : head->method_text,
        .method_id = is_websocket ? HTTP_GET : head->method,
        .target = p->target,
        .fields = &fields,
        .has_body = p->has_body,
        .body_bytes = p->body_bytes,
        .upgrade = is_websocket ? STR("websocket") : STR(""),
    };
    struct client *client;
    e = r->script ? fcgi_variables(r, &request.variables, &request.variable_count) : ERR_OK;
    e = e ? e : pipeline_client(r->pipeline, &client);
    return e ? e
             : client_start(client, &p->target_now, upstream_timeouts(p->upstream), &request,
                            p->use.wants_new_connection, &proxy_service, p, &p->answer);
}

/* The address of the endpoint is known. */
static void proxy_connect(struct proxy *p)
{
    enum err e = proxy_start(p);
    if (e == ERR_NOMEM || e == ERR_SYNTAX) {
        proxy_give_up(p, e);
        return;
    }
    if (e) {
        const struct client_end end = {.fault = client_connect_fault(e),
                                       .detail = client_connect_text(e)};
        proxy_report(p, &end);
        return;
    }
    bool is_whole = p->is_body_done && p->has_body;
    e = p->replay.n ? client_send(p->answer, buf_str(&p->replay)) : ERR_OK;
    e = !e && is_whole ? proxy_finish_body(p) : e;
    if (e) {
        proxy_give_up(p, e);
        return;
    }
    if (is_whole) {
        return;
    }
    if (proxy_expects_continue(p)) {
        struct loop *loop = p->request->pipeline->loop;
        p->is_waiting_continue = true;
        loop_timer_set(loop, &p->continue_timer, loop_now_ms(loop) + CONTINUE_MS);
    }
    proxy_pull(p);
}

static void proxy_on_addresses(struct resolver_question *q, const struct socket_address *addresses,
                               unsigned count)
{
    struct proxy *p = CONTAINER_OF(q, struct proxy, question);
    if (count == 0) {
        const struct client_end end = {.fault = CLIENT_FAULT_NAME, .detail = ""};
        proxy_report(p, &end);
        return;
    }
    p->target_now.address = addresses[0];
    proxy_connect(p);
}

static enum err proxy_resolve(struct proxy *p, const struct upstream_endpoint *endpoint)
{
    return pipeline_ask(p->request->pipeline, p->request->use->site, endpoint->host, endpoint->port,
                        &p->question, proxy_on_addresses);
}

static const char *proxy_refusal(const struct proxy *p)
{
    if (upstream_has_endpoint(&p->use)) {
        return "backend: no endpoint has room";
    }
    return upstream_settings(p->upstream)->process.is_on
               ? "backend: no instance of the process is ready"
               : "backend: there is no endpoint";
}

static void proxy_refuse(struct proxy *p)
{
    upstream_release(p->upstream, &p->use);
    p->request->is_overload = true;
    request_fail(p->request, 503, proxy_refusal(p));
}

/* The endpoint is known. */
static void proxy_go(struct proxy *p)
{
    const struct upstream_endpoint *endpoint = p->use.endpoint;
    p->target_now = endpoint->target;
    if (p->target_now.proxy_version && !p->target_now.greeting.n) {
        enum err failed =
            proxy_greeting(p->x, p->target_now.proxy_version, &p->target_now.greeting);
        if (failed) {
            proxy_give_up(p, failed);
            return;
        }
    }
    if (!endpoint->host.n) {
        proxy_connect(p);
        return;
    }
    enum err e = proxy_resolve(p, endpoint);
    if (e) {
        proxy_give_up(p, e == ERR_NOMEM ? e : ERR_SYNTAX);
    }
}

static void proxy_on_turn(struct upstream_use *use)
{
    struct proxy *p = CONTAINER_OF(use, struct proxy, use);
    if (use->endpoint) {
        proxy_go(p);
    } else {
        proxy_refuse(p);
    }
}

static void proxy_try(struct proxy *p)
{
    enum upstream_answer answer =
        upstream_pick_or_wait(p->request->pipeline, p->upstream, &p->use, proxy_on_turn);
    if (answer == UPSTREAM_PICKED) {
        proxy_go(p);
    } else if (answer == UPSTREAM_REFUSED) {
        proxy_refuse(p);
    }
}

bool proxy_has_body(const struct exchange *x)
{
    enum http_method m = x->request->method;
    return x->request_body_bytes > 0 || m == HTTP_POST || m == HTTP_PUT || m == HTTP_PATCH;
}

static bool proxy_prepare_target(struct proxy *p)
{
    struct buf target;
    buf_init(&target, 0);
    request_add_target(p->request, p->request->path, &target);
    if (!p->request->query.n && p->x->request->has_query) {
        buf_add_char(&target, '?');
    }
    p->target =
        target.is_failed ? (struct str){NULL, 0} : arena_str(&p->x->arena, buf_str(&target));
    buf_done(&target);
    return p->target.p != NULL;
}

void proxy_handle(struct request *r)
{
    if (r->pipeline->explain) {
        explain_backend(r);
        return;
    }
    struct proxy *p = arena_zalloc(&r->x->arena, sizeof(*p));
    bool is_good = p != NULL;
    if (is_good) {
        p->request = r;
        p->x = r->x;
        p->upstream = r->upstream;
        p->use.view = &r->use->views[upstream_index(p->upstream)];
        const struct backend_settings *backend = upstream_settings(p->upstream);
        if (backend->balance == BALANCE_CHOICE_HASH) {
            p->use.key = proxy_hash_key(r, backend->hash);
        }
        proxy_read_sticky(r, p->upstream, &p->use);
        p->has_body = proxy_has_body(r->x);
        p->body_bytes = r->x->request_body_bytes == EXCHANGE_LENGTH_UNKNOWN
                            ? CLIENT_LENGTH_UNKNOWN
                            : r->x->request_body_bytes;
        buf_init(&p->replay, 0);
        p->is_mirrored = mirror_takes(r);
        p->replay_bytes_max = upstream_replay_bytes(p->upstream);
        if (p->is_mirrored && p->replay_bytes_max < MIRROR_BODY_BYTES_MAX) {
            p->replay_bytes_max = MIRROR_BODY_BYTES_MAX;
        }
        p->is_replay_lost = r->x->request_body_bytes != EXCHANGE_LENGTH_UNKNOWN &&
                            r->x->request_body_bytes > p->replay_bytes_max;
        timer_init(&p->continue_timer, proxy_on_continue_timeout);
        timer_init(&p->retry_timer, proxy_on_retry_time);
        is_good = proxy_prepare_target(p);
    }
    if (!is_good) {
        request_fail(r, 503, "out of memory");
        return;
    }
    if (!proxy_prepare_websocket(p)) {
        return;
    }
    if (p->websocket_key.n) {
        p->has_body = false;
    }
    r->handler = p;
    r->on_body = proxy_on_body;
    r->on_body_end = proxy_on_body_end;
    r->on_room = proxy_on_room;
    r->on_end = proxy_on_end;
    if (r->script && p->has_body && p->body_bytes == CLIENT_LENGTH_UNKNOWN) {
        proxy_gather(p);
        return;
    }
    p->is_body_done = p->has_body && r->x->request_body_bytes == 0;
    if (!p->has_body || p->is_body_done) {
        proxy_mirror(p);
    }
    proxy_try(p);
}
