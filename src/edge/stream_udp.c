/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "base/mem.h"
#include "edge/access_log.h"
#include "edge/balance.h"
#include "edge/site.h"
#include "edge/stream.h"
#include "edge/upstream.h"
#include "net/resolver.h"

/* One client. */
struct stream_flow {
    struct pipeline *pipeline;
    struct site_use *use; /* a reference */
    const struct upstream *upstream;
    struct str name;
    struct upstream_use tries;
    struct flow *flow;
    struct socket_address address; /* of the endpoint */
    struct resolver_question question;
    struct exchange_peer peer; /* for the log */
    char host_text[SOCKET_ADDRESS_TEXT_BYTES];
    uint64_t start_ns;
    const char *error; /* static; NULL: none */
};

/* Another try is the client's: its next datagram begins anew. */
static void stream_flow_report(struct stream_flow *s, enum client_fault fault, const char *detail)
{
    const struct client_end end = {.fault = fault, .detail = detail};
    upstream_avoid(s->pipeline, &s->tries, fault, &s->address);
    (void)upstream_report(s->pipeline, s->upstream, &s->tries, &end, false, false);
    s->error = client_fault_text(fault);
}

static void stream_flow_on_end(struct flow *f, enum err cause, uint64_t in, uint64_t out)
{
    struct stream_flow *s = flow_state(f);
    if (!s) {
        return; /* there was no memory for it */
    }
    struct pipeline *p = s->pipeline;
    if (cause == ERR_NOT_FOUND && !s->error) {
        stream_flow_report(s, CLIENT_FAULT_CONNECT, "");
    }
    const struct access_stream line = {
        .protocol = STR("UDP"),
        .peer = &s->peer,
        .name = s->name,
        .endpoint = s->tries.endpoint ? s->tries.endpoint->name : STR(""),
        .start_ns = s->start_ns,
        .out_bytes = out,
        .error = s->error ? s->error
                 : cause  ? err_text(cause)
                          : "",
    };
    (void)in;
    access_log_stream(p, &line);
    resolver_forget(&s->question);
    upstream_end(s->upstream, &s->tries);
    site_use_end(s->use);
    mem_free(s);
}

static void stream_flow_fail(struct stream_flow *s, enum client_fault fault, const char *detail)
{
    stream_flow_report(s, fault, detail);
    flow_cancel(s->flow, ERR_NOT_FOUND);
}

static void stream_flow_on_answer(struct flow *f)
{
    struct stream_flow *s = flow_state(f);
    upstream_answered(s->pipeline, s->upstream, &s->tries, 200);
}

static void stream_flow_connect(struct stream_flow *s, const struct socket_address *to)
{
    s->address = *to;
    enum err e = flow_connect(s->flow, to, upstream_timeouts(s->upstream)->idle_ms);
    if (e) {
        stream_flow_fail(s, client_connect_fault(e), client_connect_text(e));
    }
}

static void stream_flow_on_addresses(struct resolver_question *q,
                                     const struct socket_address *addresses, unsigned count)
{
    struct stream_flow *s = CONTAINER_OF(q, struct stream_flow, question);
    if (count == 0) {
        stream_flow_fail(s, CLIENT_FAULT_NAME, "");
    } else {
        stream_flow_connect(s, &addresses[0]);
    }
}

static void stream_flow_begin(struct stream_flow *s)
{
    if (!upstream_pick(s->pipeline, s->upstream, &s->tries)) {
        s->error = "backend: each endpoint has as many clients as it may";
        flow_cancel(s->flow, ERR_LIMIT);
        return;
    }
    const struct upstream_endpoint *endpoint = s->tries.endpoint;
    if (!endpoint->host.n) {
        stream_flow_connect(s, &endpoint->target.address);
        return;
    }
    enum err e = pipeline_ask(s->pipeline, s->use->site, endpoint->host, endpoint->port,
                              &s->question, stream_flow_on_addresses);
    if (e) {
        s->error = err_text(e);
        flow_cancel(s->flow, e);
    }
}

static void stream_flow_on_open(struct flow *f, void *context)
{
    struct stream_listener *l = context;
    struct pipeline *p = l->pipeline;
    struct stream_flow *s = l->tag < p->use->site->stream_count ? mem_zalloc(1, sizeof(*s)) : NULL;
    if (!s) {
        flow_cancel(f, ERR_NOMEM);
        return;
    }
    const struct site_stream *settings = &p->use->site->streams[l->tag];
    s->pipeline = p;
    s->flow = f;
    s->upstream = settings->upstream;
    s->name = settings->name;
    s->start_ns = loop_now_ns(p->loop);
    s->peer.address = *flow_client(f);
    s->peer.host = str_make(s->host_text, socket_address_host(&s->peer.address, s->host_text));
    s->use = p->use;
    s->use->use_count++;
    s->tries.view = &s->use->views[upstream_index(s->upstream)];
    s->tries.key = balance_hash(s->peer.host);
    flow_set_state(f, s);
    stream_flow_begin(s);
}

const struct flows_service stream_flows_service = {
    .on_open = stream_flow_on_open,
    .on_answer = stream_flow_on_answer,
    .on_end = stream_flow_on_end,
};
