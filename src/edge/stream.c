/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/stream.h"

#include "base/assert.h"
#include "base/mem.h"
#include "edge/access_log.h"
#include "edge/balance.h"
#include "edge/site.h"
#include "edge/upstream.h"
#include "net/proxy_header.h"
#include "net/resolver.h"

struct stream {
    struct pipeline *pipeline;
    struct site_use *use; /* a reference */
    const struct upstream *upstream;
    struct str name; /* for the log; of the site */
    struct upstream_use tries;
    struct relay *relay;
    struct client_target target;
    struct resolver_question question;
    struct timer retry_timer;
    uint64_t retry_until_ms;
    enum client_fault last_fault; /* of the try before, while another one is due */
    uint64_t start_ns;
    const char *error; /* static; NULL: none */
};

static void stream_try(struct stream *s);

/* ---- the end ---- */

static void stream_on_end(struct relay *relay, enum err cause, uint64_t in, uint64_t out)
{
    struct stream *s = relay_state(relay);
    struct pipeline *p = s->pipeline;
    const struct access_stream line = {
        .protocol = STR("TCP"),
        .peer = relay_peer(relay),
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
    timer_cancel(&s->retry_timer);
    upstream_end(s->upstream, &s->tries);
    site_use_end(s->use);
    mem_free(s);
}

static void stream_fail(struct stream *s, const char *reason)
{
    s->error = reason;
    relay_cancel(s->relay, ERR_RESET);
}

/* ---- the tries: nothing of the client was spent, so each may follow another ---- */

static void stream_retry(struct stream *s)
{
    struct loop *loop = s->pipeline->loop;
    if (upstream_begin_retry(s->pipeline, s->upstream, &s->tries)) {
        stream_try(s);
    } else if (loop_now_ms(loop) < s->retry_until_ms) {
        loop_timer_set(loop, &s->retry_timer, loop_now_ms(loop) + s->tries.pause_ms);
    } else {
        stream_fail(s, client_fault_text(s->last_fault));
    }
}

static void stream_on_retry_time(struct timer *t)
{
    stream_retry(CONTAINER_OF(t, struct stream, retry_timer));
}

static void stream_report(struct stream *s, enum client_fault fault, const char *detail)
{
    struct loop *loop = s->pipeline->loop;
    const struct client_end end = {.fault = fault, .detail = detail};
    upstream_avoid(s->pipeline, &s->tries, fault, &s->target.address);
    if (!upstream_report(s->pipeline, s->upstream, &s->tries, &end, true, true)) {
        stream_fail(s, client_fault_text(fault));
        return;
    }
    s->last_fault = fault;
    s->retry_until_ms = loop_now_ms(loop) + UPSTREAM_RETRY_WAIT_MS;
    if (s->tries.pause_ms) {
        loop_timer_set(loop, &s->retry_timer, loop_now_ms(loop) + s->tries.pause_ms);
    } else {
        stream_retry(s);
    }
}

static void stream_on_connected(struct relay *relay, enum err e)
{
    struct stream *s = relay_state(relay);
    if (!e) {
        upstream_answered(s->pipeline, s->upstream, &s->tries, 200);
        upstream_last(s->upstream, &s->tries);
    } else if (e == ERR_TIMEOUT) {
        stream_report(s, CLIENT_FAULT_CONNECT_TIME, "");
    } else {
        stream_report(s, CLIENT_FAULT_CONNECT, client_connect_text(e));
    }
}

static const struct relay_service stream_service = {
    .on_connected = stream_on_connected,
    .on_end = stream_on_end,
};

static void stream_connect(struct stream *s)
{
    const struct client_timeouts *timeouts = upstream_timeouts(s->upstream);
    char header[PROXY_HEADER_WRITTEN_MAX];
    struct str greeting = STR("");
    struct socket_address local;
    unsigned version = s->target.proxy_version;
    enum err e = ERR_OK;
    if (version) {
        e = relay_local(s->relay, &local);
        greeting = str_make(
            header,
            e ? 0 : proxy_header_write(version, &relay_peer(s->relay)->address, &local, header));
    }
    e = e ? e
          : relay_connect(s->relay, &s->target.address, greeting, timeouts->connect_ms,
                          timeouts->tunnel_ms);
    if (e) {
        stream_report(s, client_connect_fault(e), client_connect_text(e));
    }
}

static void stream_on_addresses(struct resolver_question *q, const struct socket_address *addresses,
                                unsigned count)
{
    struct stream *s = CONTAINER_OF(q, struct stream, question);
    if (count == 0) {
        stream_report(s, CLIENT_FAULT_NAME, "");
        return;
    }
    s->target.address = addresses[0];
    stream_connect(s);
}

static void stream_try(struct stream *s)
{
    if (!upstream_pick(s->pipeline, s->upstream, &s->tries)) {
        stream_fail(s, "backend: each endpoint has as many connections as it may");
        return;
    }
    const struct upstream_endpoint *endpoint = s->tries.endpoint;
    s->target = endpoint->target;
    if (!endpoint->host.n) {
        stream_connect(s);
        return;
    }
    enum err e = pipeline_ask(s->pipeline, s->use->site, endpoint->host, endpoint->port,
                              &s->question, stream_on_addresses);
    if (e) {
        stream_fail(s, err_text(e));
    }
}

/* ---- the beginning ---- */

static enum err stream_create(struct pipeline *p, const struct site_stream *settings,
                              const struct relay_client *client)
{
    struct stream *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->pipeline = p;
    s->upstream = settings->upstream;
    s->name = settings->name;
    s->start_ns = loop_now_ns(p->loop);
    timer_init(&s->retry_timer, stream_on_retry_time);
    enum err e = relay_create(p->server, client, &stream_service, s, &s->relay);
    if (e) {
        mem_free(s);
        return e;
    }
    s->use = p->use;
    s->use->use_count++;
    s->tries.view = &s->use->views[upstream_index(s->upstream)];
    s->tries.key = balance_hash(relay_peer(s->relay)->host);
    stream_try(s);
    return ERR_OK;
}

enum err stream_accept(void *context, unsigned tag, const struct relay_client *client)
{
    struct pipeline *p = context;
    const struct site *site = p->use->site;
    /* A reload may have taken the stream away a moment before its listener. */
    return tag < site->stream_count ? stream_create(p, &site->streams[tag], client) : ERR_NOT_FOUND;
}

bool stream_reads_names(void *context)
{
    const struct pipeline *p = context;
    return p->use->site->passes_names;
}

bool stream_take_name(void *context, struct str name, const struct relay_client *client)
{
    struct pipeline *p = context;
    const struct site_host *host = name.n ? site_find_host(p->use->site, name) : NULL;
    return host && host->pass.upstream && stream_create(p, &host->pass, client) == ERR_OK;
}
