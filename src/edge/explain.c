/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/explain.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/tls_conn.h"
#include "edge/explain_int.h"
#include "edge/pipeline.h"
#include "edge/upstream.h"
#include "http/h1_parse.h"
#include "log/escape.h"
#include "net/server.h"

struct explain {
    struct buf *out;
    const char *phase; /* of the note before; NULL: this is the first */
    bool is_json;
};

/* Everything that a loop has, for one request. */
struct explain_bench {
    struct explain explain;
    struct loop *loop;
    struct metrics *metrics;
    struct server *server;
    struct tls_server *tls_server;
    struct tls_conn *tls;
    struct pipeline pipeline;
    bool has_pipeline;
    atomic_bool is_ready;
};

/* ---- notes ---- */

static void explain_write(struct explain *e, const char *phase, struct str text)
{
    bool goes_on = e->phase && !strcmp(e->phase, phase);
    if (e->is_json) {
        buf_printf(e->out, "%s{\"phase\":\"%s\",\"text\":\"", e->phase ? "," : "", phase);
        escape_json(e->out, text);
        buf_add_str(e->out, STR("\"}"));
    } else {
        buf_printf(e->out, "%-10s ", goes_on ? "" : phase);
        for (size_t i = 0; i < text.n; i++) {
            bool is_control = (unsigned char)text.p[i] < ' ' || text.p[i] == 127;
            buf_add_char(e->out, is_control ? '?' : text.p[i]);
        }
        buf_add_char(e->out, '\n');
    }
    e->phase = phase;
}

void explain_note(struct explain *e, const char *phase, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : mem_alloc((size_t)n + 1);
    if (text) {
        vsnprintf(text, (size_t)n + 1, format, again);
        explain_write(e, phase, str_make(text, (size_t)n));
        mem_free(text);
    } else {
        e->out->is_failed = true;
    }
    va_end(again);
}

/* ---- the loop ---- */

static void bench_done(struct explain_bench *b)
{
    tls_conn_destroy(b->tls);
    tls_server_destroy(b->tls_server);
    server_destroy(b->server);
    if (b->has_pipeline) {
        pipeline_done(&b->pipeline);
    }
    metrics_destroy(b->metrics);
    loop_destroy(b->loop);
}

static uint16_t explain_https_port(const struct settings *s)
{
    for (size_t i = 0; i < s->server.listen.count; i++) {
        const struct listen_address *l = &s->server.listen.items[i];
        if (l->is_tls) {
            return l->port ? l->port : 443; /* 0: the system will say which */
        }
    }
    return 0;
}

static enum err bench_init(struct explain_bench *b, struct site *site, bool is_tls)
{
    const struct metrics_options options = {
        .loop_count = 1,
        .limit_names = pipeline_limit_names(),
        .limit_count = SERVER_LIMIT_COUNT,
        .reason_names = pipeline_reason_names(),
        .reason_count = H1_REJECT_COUNT,
        .cause_names = pipeline_cause_names(),
        .cause_count = CLIENT_FAULT_COUNT,
    };
    const struct server_limits limits = {.connections_max = 1};
    enum err e = loop_create(POLLER_KIND_EPOLL, &b->loop);
    e = e ? e : metrics_create(&options, &b->metrics);
    e = e ? e : pipeline_init(&b->pipeline, b->loop, site);
    if (e) {
        return e;
    }
    b->has_pipeline = true;
    b->pipeline.metrics = metrics_block(b->metrics, 0);
    b->pipeline.explain = &b->explain;
    b->pipeline.https_port = explain_https_port(site->settings);
    /* The same ids each time. */
    b->pipeline.id_state[0] = 1;
    b->pipeline.id_state[1] = 2;
    atomic_init(&b->is_ready, true);
    b->pipeline.is_ready = &b->is_ready;
    const struct server_hooks hooks = pipeline_hooks(&b->pipeline);
    e = server_create(b->loop, &limits, &hooks, &b->server);
    b->pipeline.server = b->server;
    if (!e && is_tls) {
        const struct tls_server_config config = {.hooks = pipeline_tls_hooks(&b->pipeline)};
        e = tls_server_create(&config, &b->tls_server);
        e = e ? e : tls_conn_create(b->tls_server, NULL, loop_wall_s(b->loop), &b->tls);
    }
    return e;
}

/* ---- the request ---- */

static void explain_head(const struct explain_request *in, struct buf *out)
{
    buf_printf(out, STR_FMT " " STR_FMT " HTTP/1.1\r\nHost: " STR_FMT "\r\n", STR_ARG(in->method),
               STR_ARG(in->target), STR_ARG(in->host));
    for (size_t i = 0; i < in->field_count; i++) {
        buf_printf(out, "%s\r\n", in->fields[i]);
    }
    buf_add_str(out, STR("\r\n"));
}

/* False: it came to an end before the pipeline. */
static bool explain_connection(struct explain *e, const struct site *site,
                               const struct explain_request *in)
{
    const struct site_host *host = site_find_host(site, in->host);
    const struct site_tls *tls = host ? &host->tls : &site->tls;
    if (!in->is_tls) {
        return true;
    }
    if (host && host->pass.upstream) {
        explain_note(e, "connection", "TLS for this name is passed on as it is, to " STR_FMT,
                     STR_ARG(upstream_name(host->pass.upstream)));
        return false;
    }
    if (!tls->policy) {
        explain_note(e, "connection", "no TLS for this name: the handshake is refused");
        return false;
    }
    explain_note(e, "connection", "TLS, for this name");
    return true;
}

static bool explain_parse(struct explain *e, const struct settings *s, const struct buf *head,
                          struct h1_request *request)
{
    const struct max_settings *max = &s->server.max;
    const struct h1_limits limits = {.head_bytes_max = (uint32_t)max->header_bytes,
                                     .target_bytes_max = (uint32_t)max->uri_bytes,
                                     .field_count_max = (uint32_t)max->header_count};
    unsigned status = 0;
    const char *reason = "the body is too long";
    if (h1_parse_request(head->p, head->n, 0, &limits, request) < 0) {
        status = h1_reject_status(request->reject);
        reason = h1_reject_name(request->reject).p;
    } else if (request->framing == H1_FRAMING_LENGTH &&
               request->content_length > (uint64_t)max->body_bytes) {
        status = 413;
    }
    if (status) {
        explain_note(e, "refused", "%s", reason);
        explain_note(e, "answer", "%u", status);
        return false;
    }
    explain_note(e, "limits", "bodies up to %lld bytes", (long long)max->body_bytes);
    return true;
}

static void explain_exchange_run(struct explain_bench *b, const struct explain_request *in,
                                 const struct h1_request *request, const struct exchange_peer *peer)
{
    const struct server_hooks hooks = pipeline_hooks(&b->pipeline);
    struct explain_exchange e = {
        .x = {.magic = EXCHANGE_MAGIC,
              .protocol = explain_protocol(in->version),
              .server = b->server,
              .request = &request->head,
              .peer = peer,
              .upgrade = in->version == HTTP_VERSION_11 ? request->upgrade_value : STR(""),
              .request_body_bytes = request->framing == H1_FRAMING_LENGTH ? request->content_length
                                    : request->framing == H1_FRAMING_CHUNKED
                                        ? EXCHANGE_LENGTH_UNKNOWN
                                        : 0,
              .is_head_only = request->head.method == HTTP_HEAD,
              .start_ns = loop_now_ns(b->loop)},
        .explain = &b->explain,
    };
    arena_init(&e.x.arena, 1024, 0);
    hooks.on_exchange(hooks.context, &e.x);
    if (e.x.service) {
        e.x.service->on_end(&e.x, e.is_ended ? e.cause : ERR_CLOSED);
    }
    arena_done(&e.x.arena);
}

static enum err explain_one(struct explain_bench *b, struct site *site,
                            const struct explain_request *in)
{
    struct http_field array[HTTP_FIELDS_MAX];
    struct h1_request request = {0};
    struct exchange_peer peer = {.fd = -1, .host = in->ip, .tls = b->tls, .version = in->version};
    struct buf head;
    for (size_t i = 0; i < in->field_count; i++) {
        if (strpbrk(in->fields[i], "\r\n") || !strchr(in->fields[i], ':')) {
            return ERR_SYNTAX;
        }
    }
    enum err e = socket_address_ip(in->ip, 0, &peer.address);
    if (e) {
        return e == ERR_NOMEM ? e : ERR_SYNTAX;
    }
    http_fields_init(&request.head.fields, array, HTTP_FIELDS_MAX);
    buf_init(&head, 0);
    explain_head(in, &head);
    if (head.is_failed) {
        e = ERR_NOMEM;
    } else if (explain_connection(&b->explain, site, in) &&
               explain_parse(&b->explain, site->settings, &head, &request)) {
        request.head.version = in->version;
        explain_exchange_run(b, in, &request, &peer);
    }
    buf_done(&head);
    return e;
}

enum err explain_run(struct site *site, const struct explain_request *request, bool is_json,
                     struct buf *out)
{
    struct explain_bench *b = mem_zalloc(1, sizeof(*b));
    if (!b) {
        return ERR_NOMEM;
    }
    b->explain = (struct explain){.out = out, .is_json = is_json};
    if (is_json) {
        buf_add_str(out, STR("{\"steps\":["));
    }
    enum err e = bench_init(b, site, request->is_tls);
    e = e ? e : explain_one(b, site, request);
    if (is_json) {
        buf_add_str(out, STR("]}\n"));
    }
    bench_done(b);
    mem_free(b);
    return !e && out->is_failed ? ERR_NOMEM : e;
}
