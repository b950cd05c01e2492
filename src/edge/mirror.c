/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/mirror.h"

#include "base/assert.h"
#include "base/mem.h"
#include "edge/proxy_int.h"
#include "edge/upstream.h"
#include "net/resolver.h"

#define MIRRORS_MAX 256u                  /* of a loop */
#define MIRROR_DROP_BYTES_MAX (1u << 20u) /* of an answer, to keep its connection */

/* Everything of the request is copied: its exchange may end first. */
struct mirror {
    struct list link;
    struct pipeline *pipeline;
    struct site_use *use; /* a reference */
    const struct upstream *upstream;
    struct upstream_use tries;
    struct client_target target;
    struct resolver_question question;
    struct client_exchange *x; /* NULL: not begun */
    struct arena arena;
    struct client_request request;
    struct http_fields fields;
    struct str body;
    uint64_t dropped_bytes;
};

bool mirror_takes(const struct request *r)
{
    return r->route->mirror && !r->x->request->protocol.p && !r->x->upgrade.n &&
           pipeline_random(r->pipeline) % 1000000u < (uint64_t)r->route->keys->mirror.share_ppm;
}

static void mirror_end(struct mirror *m)
{
    struct pipeline *p = m->pipeline;
    resolver_forget(&m->question);
    if (m->x) {
        client_cancel(m->x);
    }
    upstream_end(m->upstream, &m->tries);
    site_use_end(m->use);
    list_remove(&m->link);
    p->mirror_count--;
    arena_done(&m->arena);
    mem_free(m);
}

void mirror_end_all(struct pipeline *p)
{
    while (!list_is_empty(&p->mirrors)) {
        mirror_end(CONTAINER_OF(p->mirrors.next, struct mirror, link));
    }
}

static void mirror_skip(struct pipeline *p)
{
    metrics_add(p->metrics, METRICS_MIRROR_SKIPPED, 1);
}

/* ---- the answer ---- */

static void mirror_on_head(struct client_exchange *x, const struct response_head *head,
                           uint64_t body_bytes)
{
    struct mirror *m = client_state(x);
    (void)body_bytes;
    upstream_answered(m->pipeline, m->upstream, &m->tries, head->status);
    client_read_body(x);
}

static void mirror_on_body(struct client_exchange *x, struct str bytes)
{
    struct mirror *m = client_state(x);
    m->dropped_bytes += bytes.n;
    if (m->dropped_bytes > MIRROR_DROP_BYTES_MAX) {
        mirror_end(m);
    } else {
        client_read_body(x);
    }
}

/* No upgrade is asked for, and the body is given at once. */
static void mirror_on_nothing(struct client_exchange *x)
{
    (void)x;
}

static void mirror_report(struct mirror *m, const struct client_end *end)
{
    (void)upstream_report(m->pipeline, m->upstream, &m->tries, end, false, false);
    mirror_end(m);
}

static void mirror_on_end(struct client_exchange *x, const struct client_end *end)
{
    struct mirror *m = client_state(x);
    m->x = NULL;
    mirror_report(m, end);
}

static const struct client_service mirror_service = {
    .on_head = mirror_on_head,
    .on_body = mirror_on_body,
    .on_tunnel_end = mirror_on_nothing,
    .on_room = mirror_on_nothing,
    .on_end = mirror_on_end,
};

/* ---- the request ---- */

static enum err mirror_start(struct mirror *m)
{
    struct client *client;
    enum err e = pipeline_client(m->pipeline, &client);
    e = e ? e
          : client_start(client, &m->target, upstream_timeouts(m->upstream), &m->request, false,
                         &mirror_service, m, &m->x);
    if (!e && m->body.n) {
        e = client_send(m->x, m->body);
    }
    return !e && m->request.has_body ? client_finish(m->x, NULL) : e;
}

static void mirror_connect(struct mirror *m)
{
    enum err e = mirror_start(m);
    if (!e) {
        metrics_add(m->pipeline->metrics, METRICS_MIRRORED, 1);
    } else if (m->x || e == ERR_NOMEM || e == ERR_SYNTAX) {
        mirror_skip(m->pipeline);
        mirror_end(m);
    } else {
        const struct client_end end = {.fault = client_connect_fault(e),
                                       .detail = client_connect_text(e)};
        mirror_report(m, &end);
    }
}

static void mirror_on_addresses(struct resolver_question *q, const struct socket_address *addresses,
                                unsigned count)
{
    struct mirror *m = CONTAINER_OF(q, struct mirror, question);
    if (count == 0) {
        const struct client_end end = {.fault = CLIENT_FAULT_NAME, .detail = ""};
        mirror_report(m, &end);
        return;
    }
    m->target.address = addresses[0];
    mirror_connect(m);
}

static enum err mirror_copy_fields(struct mirror *m, const struct http_fields *from)
{
    struct http_field *array = arena_alloc(&m->arena, (from->n + 1u) * sizeof(*array));
    if (!array) {
        return ERR_NOMEM;
    }
    http_fields_init(&m->fields, array, from->n);
    for (unsigned i = 0; i < from->n; i++) {
        struct str name = arena_str(&m->arena, from->v[i].name);
        struct str value = arena_str(&m->arena, from->v[i].value);
        enum err e = name.p && value.p ? http_fields_add(&m->fields, name, value) : ERR_NOMEM;
        if (e) {
            return e;
        }
    }
    return ERR_OK;
}

static enum err mirror_copy(struct mirror *m, struct request *r, struct str target, struct str body)
{
    const struct request_head *head = r->x->request;
    struct http_field array[HTTP_FIELDS_MAX];
    struct http_fields fields;
    http_fields_init(&fields, array, HTTP_FIELDS_MAX);
    enum err e = proxy_request_fields(r, m->upstream, m->tries.endpoint, STR(""), &fields);
    e = e ? e : mirror_copy_fields(m, &fields);
    m->body = arena_str(&m->arena, body);
    m->request = (struct client_request){
        .method = arena_str(&m->arena, head->method_text),
        .method_id = head->method,
        .target = arena_str(&m->arena, target),
        .fields = &m->fields,
        .has_body = proxy_has_body(r->x),
        .body_bytes = body.n,
        .upgrade = STR(""),
    };
    return !e && (!m->body.p || !m->request.method.p || !m->request.target.p) ? ERR_NOMEM : e;
}

/* From here on mirror_end ends it. */
static struct mirror *mirror_create(struct request *r)
{
    struct pipeline *p = r->pipeline;
    struct mirror *m = p->mirror_count < MIRRORS_MAX ? mem_zalloc(1, sizeof(*m)) : NULL;
    if (m) {
        m->pipeline = p;
        m->use = r->use;
        m->use->use_count++;
        m->upstream = r->route->mirror;
        m->tries.view = &m->use->views[upstream_index(m->upstream)];
        m->tries.key = proxy_hash_key(r, upstream_settings(m->upstream)->hash);
        arena_init(&m->arena, 1024, 0);
        list_push_back(&p->mirrors, &m->link);
        p->mirror_count++;
    }
    return m;
}

void mirror_send(struct request *r, struct str target, const struct buf *body)
{
    struct pipeline *p = r->pipeline;
    struct mirror *m = body ? mirror_create(r) : NULL;
    if (!m) {
        mirror_skip(p);
        return;
    }
    if (!upstream_pick(p, m->upstream, &m->tries) ||
        mirror_copy(m, r, target, buf_str(body)) != ERR_OK) {
        mirror_skip(p);
        mirror_end(m);
        return;
    }
    const struct upstream_endpoint *endpoint = m->tries.endpoint;
    m->target = endpoint->target;
    if (m->target.proxy_version) {
        struct str text;
        if (proxy_greeting(r->x, m->target.proxy_version, &text) != ERR_OK) {
            mirror_skip(p);
            mirror_end(m);
            return;
        }
        m->target.greeting = arena_str(&m->arena, text);
    }
    if (!endpoint->host.n) {
        mirror_connect(m);
    } else if (pipeline_ask(p, r->use->site, endpoint->host, endpoint->port, &m->question,
                            mirror_on_addresses) != ERR_OK) {
        mirror_skip(p);
        mirror_end(m);
    }
}
