/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of checks. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "edge/fcgi.h"
#include "edge/health_int.h"
#include "edge/upstream.h"
#include "net/client.h"
#include "os/file.h"

/* Ours is the timer that ends a check. */
#define NO_TIME_MS 86400000u

#define OWN_FIELDS_MAX 4 /* of a kind of check */

/* ---- exchanges ---- */

static struct str health_host(const struct health_probe *p)
{
    struct str policy = upstream_settings(p->upstream)->host;
    bool is_word = str_eq(policy, STR("pass")) || str_eq(policy, STR("upstream"));
    return is_word ? p->endpoint->authority : policy;
}

enum err health_exchange_begin(struct health_probe *p, struct client_request *request,
                               const struct http_fields *own, const struct client_service *service)
{
    static const struct client_timeouts timeouts = {NO_TIME_MS, NO_TIME_MS, NO_TIME_MS, NO_TIME_MS};
    struct client *client = health_client(p->health);
    struct http_field array[2 + OWN_FIELDS_MAX];
    struct http_fields fields;
    http_fields_init(&fields, array, COUNT_OF(array));
    buf_init(&p->body, HEALTH_BODY_BYTES_MAX);
    enum err e = client ? http_fields_add_id(&fields, HTTP_FIELD_HOST, health_host(p)) : ERR_NOMEM;
    e = e ? e
          : http_fields_add_id(&fields, HTTP_FIELD_USER_AGENT, STR("selenia-health/" SWS_VERSION));
    for (unsigned i = 0; own && i < own->n && !e; i++) {
        e = http_fields_add(&fields, own->v[i].name, own->v[i].value);
    }
    request->fields = &fields;
    e = e ? e
          : client_start(client, &p->target, &timeouts, request, true, service, p, &p->exchange);
    request->fields = NULL;
    return e;
}

void health_exchange_cancel(struct health_probe *p)
{
    if (p->exchange) {
        client_cancel(p->exchange);
        p->exchange = NULL;
    }
}

void health_exchange_end(struct health_probe *p, const char *reason)
{
    health_exchange_cancel(p);
    health_verdict(p, reason);
}

void health_exchange_failed(struct health_probe *p, const struct client_end *end)
{
    char text[HEALTH_REASON_BYTES];
    snprintf(text, sizeof(text), "%s%s%s", client_fault_text(end->fault),
             end->detail[0] ? ": " : "", end->detail);
    health_verdict(p, text);
}

/* ---- a GET ---- */

static bool http_has_text(const struct health_probe *p)
{
    struct str wanted = p->settings->body;
    return !wanted.p || memmem(p->body.p, p->body.n, wanted.p, wanted.n);
}

static void http_on_head(struct client_exchange *x, const struct response_head *head,
                         uint64_t body_bytes)
{
    struct health_probe *p = client_state(x);
    uint16_t low = 0, high = 0;
    size_t at;
    const char *never = value_parse_status_range(p->settings->status, &low, &high, &at);
    (void)never; /* the tables have checked it */
    (void)body_bytes;
    if (head->status < low || head->status > high) {
        char text[32];
        snprintf(text, sizeof(text), "status %u", head->status);
        health_exchange_end(p, text);
        return;
    }
    client_read_body(x);
}

/* All of it is read, so that the endpoint sees no client that left, unless it is too long. */
static void http_on_body(struct client_exchange *x, struct str bytes)
{
    struct health_probe *p = client_state(x);
    size_t room = HEALTH_BODY_BYTES_MAX - p->body.n;
    buf_add_str(&p->body, str_sub(bytes, 0, bytes.n < room ? bytes.n : room));
    if (p->body.is_failed) {
        health_exchange_end(p, err_text(ERR_NOMEM));
    } else if (bytes.n < room) {
        client_read_body(x);
    } else {
        health_exchange_end(p, http_has_text(p) ? NULL : "the text is not in its answer");
    }
}

static void http_on_end(struct client_exchange *x, const struct client_end *end)
{
    struct health_probe *p = client_state(x);
    p->exchange = NULL;
    if (end->fault) {
        health_exchange_failed(p, end);
    } else {
        health_verdict(p, http_has_text(p) ? NULL : "the text is not in its answer");
    }
}

static void http_on_room(struct client_exchange *x)
{
    (void)x; /* nothing is sent behind the head */
}

static const struct client_service http_service = {
    .on_head = http_on_head,
    .on_body = http_on_body,
    .on_room = http_on_room,
    .on_end = http_on_end,
};

static enum err http_begin(struct health_probe *p)
{
    struct client_request request = {
        .method = STR("GET"), .method_id = HTTP_GET, .target = p->settings->path};
    struct client_variable variables[FCGI_CHECK_VARIABLES];
    struct buf file;
    enum err e = ERR_OK;
    buf_init(&file, 0);
    if (p->target.protocol == CLIENT_FCGI) {
        const struct fcgi_settings *fcgi = &upstream_settings(p->upstream)->fcgi;
        request.variables = variables;
        request.variable_count = FCGI_CHECK_VARIABLES;
        if (buf_reserve(&file, fcgi->root.n + p->settings->path.n)) {
            fcgi_check_variables(fcgi, p->settings->path, file.p, variables);
        } else {
            e = ERR_NOMEM;
        }
    }
    e = e ? e : health_exchange_begin(p, &request, NULL, &http_service);
    buf_done(&file);
    return e;
}

const struct health_kind health_kind_http = {http_begin, health_exchange_cancel};

/* ---- a connection ---- */

static void tcp_on_ready(struct loop_watch *w, unsigned events)
{
    struct health_probe *p = CONTAINER_OF(w, struct health_probe, watch);
    (void)events;
    enum err e = socket_connect_result(w->fd);
    loop_close(health_loop(p->health), w);
    health_verdict(p, e ? client_connect_text(e) : NULL);
}

static enum err tcp_begin(struct health_probe *p)
{
    int fd;
    enum err e = socket_connect_begin(&p->target.address, &fd);
    if (e && e != ERR_AGAIN) {
        return e;
    }
    e = loop_watch(health_loop(p->health), &p->watch, fd, POLLER_WRITE, tcp_on_ready);
    if (e) {
        file_close(fd);
    }
    return e;
}

static void tcp_cancel(struct health_probe *p)
{
    loop_close(health_loop(p->health), &p->watch);
}

const struct health_kind health_kind_tcp = {tcp_begin, tcp_cancel};
