/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/request.h"

#include "edge/files.h"
#include "edge/grpc.h"
#include "edge/page.h"
#include "edge/request_id.h"
#include "http/negotiate.h"
#include "http/target.h"
#include "os/file.h"

#define ERROR_PAGE_BYTES_MAX (1024u * 1024u)

struct str request_method(const struct request *r)
{
    const struct request_head *head = r->x->request;
    return head->protocol.p ? http_method_text(HTTP_GET) : head->method_text;
}

enum err request_add_route_fields(const struct request *r, struct http_fields *fields)
{
    const struct site_route *route = r->route;
    if (!route) {
        return ERR_OK;
    }
    struct str hsts = route->host->tls.hsts;
    if (hsts.n && r->x->peer->tls) {
        enum err e = http_fields_set_id(fields, HTTP_FIELD_STRICT_TRANSPORT_SECURITY, hsts);
        if (e) {
            return e;
        }
    }
    if (r->pipeline->alt_svc.n && r->x->peer->tls) {
        enum err e = http_fields_set_id(fields, HTTP_FIELD_ALT_SVC, r->pipeline->alt_svc);
        if (e) {
            return e;
        }
    }
    for (unsigned i = 0; i < route->removed_count; i++) {
        http_fields_remove(fields, route->removed[i]);
    }
    for (unsigned i = 0; i < route->field_count; i++) {
        const struct http_field *f = &route->fields[i];
        if (i < route->preset_count && http_fields_find(fields, f->name)) {
            continue;
        }
        /* What the user names takes the place of what we, or a backend, would say. */
        http_fields_remove(fields, f->name);
        enum err e = http_fields_add(fields, f->name, f->value);
        if (e) {
            return e;
        }
    }
    return ERR_OK;
}

void request_answer(struct request *r, uint16_t status, struct str type, struct str body,
                    struct str location)
{
    struct http_field array[REQUEST_FIELDS_MAX];
    struct response_head head = {.status = status};
    enum err e = ERR_OK;
    http_fields_init(&head.fields, array, REQUEST_FIELDS_MAX);
    if (location.n) {
        e = http_fields_add_id(&head.fields, HTTP_FIELD_LOCATION, location);
    }
    if (!e && type.n && http_status_has_content(status)) {
        e = http_fields_add_id(&head.fields, HTTP_FIELD_CONTENT_TYPE, type);
    }
    bool is_about_methods = status == 405 || r->x->request->method == HTTP_OPTIONS;
    if (!e && is_about_methods) {
        e = http_fields_add_id(&head.fields, HTTP_FIELD_ALLOW, STR("GET, HEAD, OPTIONS"));
    }
    if (!e && status >= 400) {
        e = http_fields_add_id(&head.fields, HTTP_FIELD_X_REQUEST_ID, request_id(r));
    }
    if (!e && r->is_overload) {
        e = http_fields_add_id(&head.fields, HTTP_FIELD_RETRY_AFTER, STR("1"));
    }
    if (!e) {
        e = request_add_route_fields(r, &head.fields);
    }
    if (e) {
        exchange_reset(r->x, e);
        return;
    }
    e = exchange_answer(r->x, &head, http_status_has_content(status) ? body : STR(""));
    (void)e; /* an answer that failed has reset the exchange */
}

static bool request_fail_with_file(struct request *r, struct str path, uint16_t status)
{
    struct buf body;
    struct str type = media_types_find(&r->route->site->types, path);
    buf_init(&body, 0);
    bool is_read = file_read_all(path.p, ERROR_PAGE_BYTES_MAX, &body) == ERR_OK;
    if (is_read) {
        if (!type.p) {
            type = STR("text/plain");
        }
        bool has_charset = r->route->keys->charset.n && media_type_has_charset(type);
        struct str whole = has_charset
                               ? arena_printf(&r->x->arena, STR_FMT "; charset=" STR_FMT,
                                              STR_ARG(type), STR_ARG(r->route->keys->charset))
                               : type;
        request_answer(r, status, whole.p ? whole : type, buf_str(&body), (struct str){NULL, 0});
    }
    buf_done(&body);
    return is_read;
}

const struct status_file *request_error_page(const struct request *r, uint16_t status)
{
    const struct status_file_list *pages = &r->route->keys->error_pages;
    const struct status_file *best = NULL;
    for (size_t i = 0; i < pages->count; i++) {
        const struct status_file *page = &pages->items[i];
        bool is_match = page->low <= status && status <= page->high;
        if (is_match && (!best || page->high - page->low < best->high - best->low)) {
            best = page;
        }
    }
    return best;
}

static bool request_fail_with_page(struct request *r, uint16_t status)
{
    const struct status_file *best =
        r->route && !r->is_error_page ? request_error_page(r, status) : NULL;
    if (!best) {
        return false;
    }
    REQUEST_NOTE(r, "failure", "its page is " STR_FMT, STR_ARG(best->file));
    r->is_error_page = true;
    /* A relative name is a file of the site, an absolute one of the operator. */
    if (best->file.n && best->file.p[0] == '/') {
        return request_fail_with_file(r, best->file, status);
    }
    return files_answer_page(r, best->file, status) == ERR_OK;
}

void request_fail(struct request *r, uint16_t status, const char *reason)
{
    static const struct str offered[] = {{"text/html", 9}, {"application/json", 16}};
    if (!r->error) {
        r->error = reason;
    }
    REQUEST_NOTE(r, "failure", "%u: %s", status, reason);
    if (r->x->phase != EXCHANGE_OPEN) {
        exchange_reset(r->x, ERR_INTERNAL);
        return;
    }
    if (grpc_is_asked(r->x->request)) {
        grpc_fail(r, status);
        return;
    }
    if (request_fail_with_page(r, status)) {
        return;
    }
    struct buf body;
    struct str phrase = http_status_reason(status);
    struct str accept = http_fields_value(&r->x->request->fields, HTTP_FIELD_ACCEPT);
    struct str type = STR("text/plain; charset=utf-8");
    buf_init(&body, 0);
    if (accept.p && memmem(accept.p, accept.n, "text/html", 9)) {
        type = STR("text/html; charset=utf-8");
        page_error(status, phrase, request_id(r), &body);
    } else if (accept.p && http_accept_media_type(&r->x->request->fields, offered, 2) == 1) {
        type = STR("application/problem+json");
        struct str id = request_id(r);
        buf_printf(&body,
                   "{\"status\":%u,\"title\":\"" STR_FMT "\",\"request_id\":\"" STR_FMT "\"}\n",
                   status, STR_ARG(phrase), STR_ARG(id));
    } else {
        buf_printf(&body, "%u " STR_FMT "\n", status, STR_ARG(phrase));
    }
    request_answer(r, status, type, buf_str(&body), (struct str){NULL, 0});
    buf_done(&body);
}

void request_add_target(const struct request *r, struct str path, struct buf *out)
{
    http_path_encode(path, out);
    if (r->query.n) {
        buf_add_char(out, '?');
        buf_add_str(out, r->query);
    }
}

void request_redirect(struct request *r, uint16_t status, struct buf *location)
{
    if (location->is_failed) {
        request_fail(r, 503, "out of memory");
    } else {
        request_answer(r, status, (struct str){NULL, 0}, STR(""), buf_str(location));
    }
    buf_done(location);
}

void request_redirect_path(struct request *r, uint16_t status, struct str path)
{
    struct buf location;
    buf_init(&location, 0);
    request_add_target(r, path, &location);
    request_redirect(r, status, &location);
}
