/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "edge/explain_int.h"
#include "edge/fcgi.h"
#include "edge/members.h"
#include "edge/proxy_int.h"
#include "edge/request.h"
#include "http/websocket_handshake.h"

static bool backend_is_echo(const struct backend_settings *backend)
{
    return backend->proxy.count && str_eq(backend->proxy.items[0].url, STR("echo"));
}

/* "backend app: http://10.0.0.1:80, http://10.0.0.2:80 (backup)" */
static void backend_tell_endpoints(struct explain *e, const struct backend_settings *backend)
{
    const struct endpoint_list *list = &backend->proxy;
    struct buf line;
    buf_init(&line, 0);
    if (backend->name.n) {
        buf_printf(&line, " " STR_FMT ":", STR_ARG(backend->name));
    }
    for (size_t i = 0; i < list->count; i++) {
        buf_printf(&line, "%s " STR_FMT "%s", i ? "," : "", STR_ARG(list->items[i].url),
                   list->items[i].backup ? " (backup)" : "");
    }
    if (backend->process.is_on) {
        const struct str_list *command = &backend->process.command;
        buf_printf(&line, " process " STR_FMT ":", STR_ARG(backend->process.name));
        for (size_t i = 0; i < command->count; i++) {
            buf_printf(&line, " " STR_FMT, STR_ARG(command->items[i]));
        }
    }
    if (!list->count && !backend->process.is_on) {
        buf_add_str(&line, STR(" whose endpoints are discovered"));
    }
    struct str text = buf_str(&line);
    explain_note(e, "handler", "backend" STR_FMT, STR_ARG(text));
    buf_done(&line);
}

static const char *backend_balance(enum balance_choice balance)
{
    switch (balance) {
    case BALANCE_CHOICE_P2C:
        return "the cheaper of two by chance";
    case BALANCE_CHOICE_RR:
        return "in turn";
    case BALANCE_CHOICE_LEAST:
        return "the one with the fewest requests";
    case BALANCE_CHOICE_FIRST:
        return "the first that can";
    case BALANCE_CHOICE_HASH:
        return "by hash of";
    }
    return "";
}

static void backend_tell_policy(struct explain *e, const struct backend_settings *b)
{
    bool is_hash = b->balance == BALANCE_CHOICE_HASH;
    struct str key = is_hash ? b->hash : STR("");
    explain_note(e, "handler", "endpoint: %s%s" STR_FMT, backend_balance(b->balance),
                 is_hash ? " " : "", STR_ARG(key));
    if (b->sticky.is_on) {
        explain_note(e, "handler", "or the one that the cookie " STR_FMT " names",
                     STR_ARG(b->sticky.cookie));
    }
    explain_note(
        e, "handler", "host " STR_FMT ", connect within %lld ms, first byte within %lld ms",
        STR_ARG(b->host), (long long)b->timeout.connect_ms, (long long)b->timeout.first_ms);
    if (b->retry.is_on) {
        explain_note(e, "handler", "up to %lld more tries elsewhere, bodies up to %lld bytes",
                     (long long)b->retry.try_count, (long long)b->retry.body_bytes);
    } else {
        explain_note(e, "handler", "no second try");
    }
    if (b->health.is_on) {
        explain_note(e, "handler", "checked every %lld ms", (long long)b->health.interval_ms);
    }
}

static const char *backend_protocol(const struct client_target *target)
{
    switch (target->protocol) {
    case CLIENT_H2:
        return "HTTP/2";
    case CLIENT_FCGI:
        return "FastCGI";
    case CLIENT_H1:
    case CLIENT_PROTOCOL_COUNT:
        break;
    }
    return "HTTP/1.1";
}

/* The fields on the way up, as they are made for the first endpoint, and those that do not pass. */
static void backend_tell_request(struct request *r, struct explain *e)
{
    struct members *m = upstream_members(r->upstream);
    struct http_field array[HTTP_FIELDS_MAX];
    struct http_fields fields;
    struct buf target;
    if (m->count == 0) {
        explain_note(e, "upstream", "no endpoint is known now: 503 unless one comes");
        return;
    }
    http_fields_init(&fields, array, HTTP_FIELDS_MAX);
    enum err err = proxy_request_fields(r, r->upstream, &m->items[0], STR(""), &fields);
    buf_init(&target, 0);
    request_add_target(r, r->path, &target);
    struct str text = buf_str(&target);
    struct str method = request_method(r);
    if (err || target.is_failed) {
        explain_note(e, "upstream", "cannot be sent: %s", err_text(err ? err : ERR_NOMEM));
    } else {
        explain_note(e, "upstream", STR_FMT " " STR_FMT " over %s", STR_ARG(method), STR_ARG(text),
                     backend_protocol(&m->items[0].target));
        if (r->script) {
            explain_note(e, "upstream", "script " STR_FMT, STR_ARG(r->script->name));
        }
        explain_fields(e, "upstream", &fields);
        const struct http_fields *from = &r->x->request->fields;
        for (unsigned i = 0; i < from->n; i++) {
            if (!http_fields_find(&fields, from->v[i].name)) {
                explain_note(e, "upstream", "without " STR_FMT, STR_ARG(from->v[i].name));
            }
        }
    }
    buf_done(&target);
}

static void backend_tell_answer(const struct request *r, struct explain *e)
{
    static const struct http_fields nothing = {.n = 0};
    struct http_field array[HTTP_FIELDS_MAX];
    struct http_fields fields;
    http_fields_init(&fields, array, HTTP_FIELDS_MAX);
    enum err err = proxy_response_fields(r, &nothing, HTTP_VERSION_11, false, &fields);
    explain_note(e, "answer", "that of the backend, with");
    if (err) {
        explain_note(e, "answer", "nothing: %s", err_text(err));
    } else {
        explain_fields(e, "answer", &fields);
    }
    for (unsigned i = 0; i < r->route->removed_count; i++) {
        explain_note(e, "answer", "without " STR_FMT, STR_ARG(r->route->removed[i]));
    }
}

static void backend_tell_failures(const struct request *r, struct explain *e)
{
    static const uint16_t statuses[] = {502, 503, 504};
    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        const struct status_file *page = request_error_page(r, statuses[i]);
        struct str file = page ? page->file : STR("the built-in page");
        explain_note(e, "failure", "%u: " STR_FMT, statuses[i], STR_ARG(file));
    }
}

void explain_backend(struct request *r)
{
    struct explain *e = r->pipeline->explain;
    const struct route_keys *keys = r->route->keys;
    if (keys->split.count) {
        struct buf line;
        buf_init(&line, 0);
        for (size_t i = 0; i < keys->split.count; i++) {
            const struct split_share *share = &keys->split.items[i];
            buf_printf(&line, "%s " STR_FMT " %lld", i ? "," : "", STR_ARG(share->name),
                       (long long)share->weight);
        }
        struct str text = buf_str(&line);
        explain_note(e, "handler", "split by " STR_FMT ":" STR_FMT "%s", STR_ARG(keys->split_by),
                     STR_ARG(text),
                     str_eq(keys->split_by, STR("request")) ? "; by chance, here" : "; here");
        buf_done(&line);
    }
    const struct backend_settings *backend =
        r->upstream ? upstream_settings(r->upstream) : settings_backend(&keys->backend);
    if (!r->upstream || backend_is_echo(backend)) {
        explain_note(e, "handler", "backend echo: the program itself gives back what it is sent");
        explain_note(e, "answer", "200");
    } else {
        explain_note(e, "backend", STR_FMT, STR_ARG(upstream_name(r->upstream)));
        backend_tell_endpoints(e, backend);
        backend_tell_policy(e, backend);
        if (websocket_is_asked(r->x->upgrade)) {
            explain_note(e, "handler", "a WebSocket, open for up to %lld ms of silence",
                         (long long)backend->timeout.stream_ms);
        }
    }
    if (keys->mirror.is_on && r->route->mirror) {
        explain_note(e, "handler", "copies of %g %% of the requests to " STR_FMT,
                     (double)keys->mirror.share_ppm / 10000.0, STR_ARG(keys->mirror.to));
    }
    if (r->upstream) {
        backend_tell_request(r, e);
        backend_tell_answer(r, e);
        backend_tell_failures(r, e);
    }
}
