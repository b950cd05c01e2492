/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/file_send.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "http/conditional.h"
#include "http/date.h"
#include "http/negotiate.h"
#include "http/range.h"
#include "os/random.h"

#define MEMORY_BODY_BYTES_MAX (128u * 1024u) /* larger files are sent from the page cache */

/* What is going to be sent: the file itself, a precompressed sibling, or a coded form. */
struct variant {
    struct file_entry *entry; /* whose bytes are sent */
    struct str type;          /* of the file that was asked for */
    struct str etag;
    struct str coding;       /* empty: identity */
    bool is_dynamic;         /* coded by us */
    bool varies;             /* another client may get another form */
    enum coding_choice code; /* of `coding` */
};

static struct str coding_name(enum coding_choice c)
{
    switch (c) {
    case CODING_ZSTD:
        return STR("zstd");
    case CODING_BR:
        return STR("br");
    case CODING_GZIP:
        return STR("gzip");
    }
    return STR("");
}

static struct str coding_suffix(enum coding_choice c)
{
    switch (c) {
    case CODING_ZSTD:
        return STR(".zst");
    case CODING_BR:
        return STR(".br");
    case CODING_GZIP:
        return STR(".gz");
    }
    return STR("");
}

static enum err send_sibling(struct request *r, const struct file_entry *e, enum coding_choice c,
                             struct file_entry **ret_entry)
{
    struct str suffix = coding_suffix(c);
    struct str name =
        arena_printf(&r->x->arena, STR_FMT STR_FMT, STR_ARG(e->name), STR_ARG(suffix));
    if (!name.p) {
        return ERR_NOMEM;
    }
    return file_cache_get(r->pipeline->files, r->route, r->x->peer->tls != NULL, name,
                          loop_now_ms(r->pipeline->loop), ret_entry);
}

/* The entry `name` once more, because looking up another one may have evicted it. NULL: out of
 * memory, or it is a file no longer. */
static struct file_entry *send_again(struct request *r, struct str name)
{
    struct file_entry *e;
    if (!name.p || file_cache_get(r->pipeline->files, r->route, r->x->peer->tls != NULL, name,
                                  loop_now_ms(r->pipeline->loop), &e) != ERR_OK) {
        return NULL;
    }
    return e->kind == FILE_REGULAR ? e : NULL;
}

/* Looks for precompressed siblings once a second. */
static struct file_entry *send_check_siblings(struct request *r, struct file_entry *e)
{
    const struct enum_list *list = &r->route->keys->precompressed;
    if (e->has_siblings_checked || list->count == 0) {
        return e;
    }
    struct str name = arena_str(&r->x->arena, e->name);
    uint8_t found = 0;
    bool is_sure = true;
    for (uint32_t i = 0; i < list->count; i++) {
        struct file_entry *sibling;
        if (send_sibling(r, e, (enum coding_choice)list->items[i], &sibling) != ERR_OK) {
            is_sure = false; /* this answer does without; the next request looks again */
        } else if (sibling->kind == FILE_REGULAR && sibling->info.mtime_s >= e->info.mtime_s) {
            found |= (uint8_t)(1u << list->items[i]);
        }
        e = send_again(r, name);
        if (!e) {
            return NULL;
        }
    }
    e->siblings = found;
    e->has_siblings_checked = is_sure;
    return e;
}

static int send_pick(const struct request *r, const struct enum_list *list, uint8_t mask)
{
    struct str offered[FILE_CACHE_CODINGS];
    uint8_t codes[FILE_CACHE_CODINGS];
    unsigned n = 0;
    for (uint32_t i = 0; i < list->count && n < FILE_CACHE_CODINGS; i++) {
        if (mask & (1u << list->items[i])) {
            codes[n] = list->items[i];
            offered[n++] = coding_name((enum coding_choice)list->items[i]);
        }
    }
    int best = n ? http_accept_encoding(&r->x->request->fields, offered, n) : -1;
    return best >= 0 ? codes[best] : -1;
}

static bool send_is_type_listed(const struct compress_settings *c, struct str whole_type)
{
    ptrdiff_t end = str_index(whole_type, ';');
    struct str type = str_trim(end < 0 ? whole_type : str_sub(whole_type, 0, (size_t)end));
    for (size_t i = 0; i < c->types.count; i++) {
        struct str range = c->types.items[i];
        bool is_family = str_ends_with(range, STR("/*"));
        if (str_eq(range, STR("*/*")) || str_eq_ci(range, type) ||
            (is_family && type.n >= range.n - 1 &&
             str_eq_ci(str_sub(type, 0, range.n - 1), str_sub(range, 0, range.n - 1)))) {
            return true;
        }
    }
    return false;
}

static bool send_may_compress(const struct request *r, struct file_entry *e)
{
    const struct compress_settings *c = &r->route->keys->compress;
    if (!c->is_on || e->info.size < (uint64_t)c->min_bytes) {
        return false;
    }
    if (c->types.count == 0) {
        return e->is_compressible;
    }
    if (!e->is_type_wanted) {
        e->is_type_wanted = send_is_type_listed(c, e->type) ? 2 : 1;
    }
    return e->is_type_wanted == 2;
}

/* True: `ret` is a precompressed sibling. `*e` is looked up anew; NULL: as send_again. */
static bool send_choose_sibling(struct request *r, struct file_entry **e, struct variant *ret)
{
    const struct enum_list *list = &r->route->keys->precompressed;
    struct str name = arena_str(&r->x->arena, (*e)->name);
    struct str type = arena_str(&r->x->arena, (*e)->type);
    int code = send_pick(r, list, (*e)->siblings);
    while (code >= 0) {
        struct file_entry *sibling;
        if (!type.p || send_sibling(r, *e, (enum coding_choice)code, &sibling) != ERR_OK) {
            *e = NULL;
            return false;
        }
        if (sibling->kind == FILE_REGULAR) {
            *ret = (struct variant){.entry = sibling,
                                    .type = type,
                                    .etag = sibling->etag,
                                    .coding = coding_name((enum coding_choice)code),
                                    .varies = true,
                                    .code = (enum coding_choice)code};
            return true;
        }
        /* It went within the second since it was looked for: the file itself is still there. */
        *e = send_again(r, name);
        if (!*e) {
            return false;
        }
        (*e)->siblings &= (uint8_t) ~(1u << code);
        code = send_pick(r, list, (*e)->siblings);
    }
    return false;
}

/* Chooses the form. False: the request was failed. */
static bool send_choose(struct request *r, struct file_entry *e, struct variant *ret)
{
    const struct http_fields *fields = &r->x->request->fields;
    bool has_accept = fields->known[HTTP_FIELD_ACCEPT_ENCODING] != HTTP_FIELD_NONE;
    e = send_check_siblings(r, e);
    if (e && e->siblings && has_accept && send_choose_sibling(r, &e, ret)) {
        return true;
    }
    if (!e) {
        request_fail(r, 503, "out of memory");
        return false;
    }
    bool may_compress = send_may_compress(r, e);
    *ret = (struct variant){
        .entry = e, .type = e->type, .etag = e->etag, .varies = e->siblings || may_compress};
    if (!has_accept) {
        return true;
    }
    /* A range is of the stored bytes: what is coded on the fly has none. */
    bool has_range = fields->known[HTTP_FIELD_RANGE] != HTTP_FIELD_NONE;
    int code = may_compress && !has_range ? send_pick(r, &r->route->keys->compress.codings, 7) : -1;
    if (code >= 0) {
        char tag[HTTP_ETAG_BYTES_MAX];
        const struct http_etag_source source = {
            .mtime_ns = e->info.mtime_s * 1000000000 + e->info.mtime_ns,
            .size = e->info.size,
            .inode = e->info.inode,
            .coding = coding_name((enum coding_choice)code),
            .is_weak = true,
        };
        ret->coding = source.coding;
        ret->code = (enum coding_choice)code;
        ret->is_dynamic = true;
        ret->etag = arena_str(&r->x->arena, http_etag_make(&source, tag));
        if (!ret->etag.p) {
            request_fail(r, 503, "out of memory");
            return false;
        }
    }
    return true;
}

/* The fields that every answer about the variant carries (RFC 9110 15.4.5 for 304). */
static enum err send_fields(const struct request *r, const struct variant *v, bool has_content,
                            struct http_fields *f)
{
    enum err e = http_fields_add_id(f, HTTP_FIELD_ETAG, v->etag);
    if (!e) {
        e = http_fields_add_id(f, HTTP_FIELD_LAST_MODIFIED, v->entry->last_modified);
    }
    if (!e && has_content) {
        e = http_fields_add_id(f, HTTP_FIELD_CONTENT_TYPE, v->type);
    }
    if (!e && has_content && !v->is_dynamic) {
        e = http_fields_add_id(f, HTTP_FIELD_ACCEPT_RANGES, STR("bytes"));
    }
    if (!e && v->coding.n && has_content) {
        e = http_fields_add_id(f, HTTP_FIELD_CONTENT_ENCODING, v->coding);
    }
    if (!e && v->varies) {
        e = http_fields_add_id(f, HTTP_FIELD_VARY, STR("Accept-Encoding"));
    }
    return e ? e : request_add_route_fields(r, f);
}

static void send_empty(struct request *r, const struct variant *v, uint16_t status)
{
    struct http_field array[REQUEST_FIELDS_MAX];
    struct response_head head = {.status = status};
    http_fields_init(&head.fields, array, REQUEST_FIELDS_MAX);
    enum err e = send_fields(r, v, false, &head.fields);
    if (!e) {
        e = exchange_answer(r->x, &head, STR(""));
        return;
    }
    request_fail(r, 503, err_text(e));
}

static void send_unsatisfiable(struct request *r, const struct variant *v)
{
    struct http_field array[REQUEST_FIELDS_MAX];
    char range_text[HTTP_CONTENT_RANGE_BYTES_MAX];
    struct response_head head = {.status = 416};
    http_fields_init(&head.fields, array, REQUEST_FIELDS_MAX);
    enum err e = http_fields_add_id(&head.fields, HTTP_FIELD_CONTENT_RANGE,
                                    http_content_range(NULL, v->entry->info.size, range_text));
    if (!e) {
        e = request_add_route_fields(r, &head.fields);
    }
    if (!e) {
        e = exchange_answer(r->x, &head, STR(""));
        return;
    }
    request_fail(r, 503, err_text(e));
}

static void send_single(struct request *r, const struct variant *v, const struct http_range *range)
{
    struct http_field array[REQUEST_FIELDS_MAX];
    char range_text[HTTP_CONTENT_RANGE_BYTES_MAX];
    struct response_head head = {.status = 206};
    http_fields_init(&head.fields, array, REQUEST_FIELDS_MAX);
    enum err e = http_fields_add_id(&head.fields, HTTP_FIELD_CONTENT_RANGE,
                                    http_content_range(range, v->entry->info.size, range_text));
    if (!e) {
        e = send_fields(r, v, true, &head.fields);
    }
    if (!e) {
        e = exchange_respond(r->x, &head, range->n);
    }
    if (e) {
        request_fail(r, 503, err_text(e));
        return;
    }
    e = exchange_send_file(r->x, v->entry->file, range->offset, range->n);
    if (e) {
        exchange_reset(r->x, e);
        return;
    }
    exchange_finish(r->x);
}

static void send_multipart(struct request *r, const struct variant *v,
                           const struct http_ranges *ranges)
{
    struct http_field array[REQUEST_FIELDS_MAX];
    struct response_head head = {.status = 206};
    uint64_t random[2];
    random_bytes(random, sizeof(random));
    struct str boundary =
        arena_printf(&r->x->arena, "%016llx%016llx", (unsigned long long)random[0],
                     (unsigned long long)random[1]);
    struct str type =
        arena_printf(&r->x->arena, "multipart/byteranges; boundary=" STR_FMT, STR_ARG(boundary));
    const struct http_multipart m = {boundary, v->type, v->entry->info.size};
    struct variant outer = *v;
    outer.type = type;
    http_fields_init(&head.fields, array, REQUEST_FIELDS_MAX);
    enum err e = boundary.p && type.p ? send_fields(r, &outer, true, &head.fields) : ERR_NOMEM;
    if (!e) {
        e = exchange_respond(r->x, &head, http_multipart_bytes(&m, ranges));
    }
    if (e) {
        request_fail(r, 503, err_text(e));
        return;
    }
    struct buf part;
    buf_init(&part, 0);
    for (unsigned i = 0; i < ranges->n && !e; i++) {
        buf_clear(&part);
        http_multipart_part(&m, &ranges->v[i], i == 0, &part);
        e = part.is_failed ? ERR_NOMEM : exchange_send_bytes(r->x, buf_str(&part));
        if (!e) {
            e = exchange_send_file(r->x, v->entry->file, ranges->v[i].offset, ranges->v[i].n);
        }
    }
    if (!e) {
        buf_clear(&part);
        http_multipart_end(&m, &part);
        e = part.is_failed ? ERR_NOMEM : exchange_send_bytes(r->x, buf_str(&part));
    }
    buf_done(&part);
    if (e) {
        exchange_reset(r->x, e);
        return;
    }
    exchange_finish(r->x);
}

/* True when the request was answered with a part, or with 416. */
static bool send_ranges(struct request *r, const struct variant *v,
                        const struct http_validators *validators, int64_t now_s)
{
    const struct request_head *head = r->x->request;
    struct str value = http_fields_value(&head->fields, HTTP_FIELD_RANGE);
    struct http_ranges ranges;
    if (!value.p || head->method != HTTP_GET || v->is_dynamic ||
        !http_if_range_matches(head, validators, now_s)) {
        return false;
    }
    switch (http_range_parse(value, v->entry->info.size, &ranges)) {
    case HTTP_RANGE_WHOLE:
        return false;
    case HTTP_RANGE_UNSATISFIABLE:
        send_unsatisfiable(r, v);
        return true;
    case HTTP_RANGE_PARTIAL:
        if (ranges.n == 1) {
            send_single(r, v, &ranges.v[0]);
        } else {
            send_multipart(r, v, &ranges);
        }
        return true;
    }
    return false;
}

/* The bytes of a small file, read once. NULL: read it from the descriptor each time. */
static struct chunk *send_load(struct request *r, struct file_entry *e)
{
    if (e->ready.body || e->info.size > MEMORY_BODY_BYTES_MAX) {
        return e->ready.body;
    }
    size_t got = 0;
    struct chunk *body = chunk_create((size_t)e->info.size);
    if (!body || file_read_at(e->file->fd, 0, body->data, body->n, &got) != ERR_OK ||
        got != body->n) {
        chunk_unref(body); /* the file shrank just now: the descriptor path will notice */
        return NULL;
    }
    e->ready.body = body;
    file_cache_account(r->pipeline->files, e, body->n);
    return body;
}

/* Fills in a ready-made answer whose fields live as long as the entry. */
static enum err send_prepare(struct request *r, struct file_entry *e, const struct variant *v,
                             struct exchange_ready *ready)
{
    struct http_field array[REQUEST_FIELDS_MAX];
    struct variant kept = *v;
    if (kept.etag.p != e->etag.p) {
        kept.etag = arena_str(&e->arena, kept.etag);
    }
    if (kept.type.p != e->type.p) {
        kept.type = arena_str(&e->arena, kept.type);
    }
    if (!kept.etag.p || !kept.type.p) {
        return ERR_NOMEM;
    }
    ready->body_bytes = ready->body->n;
    http_fields_init(&ready->fields, array, REQUEST_FIELDS_MAX);
    enum err err = send_fields(r, &kept, true, &ready->fields);
    size_t bytes = ready->fields.n * sizeof(array[0]);
    ready->fields.v = err ? NULL : arena_alloc(&e->arena, bytes);
    ready->fields.capacity = ready->fields.n;
    if (!ready->fields.v) {
        return err ? err : ERR_NOMEM;
    }
    memcpy(ready->fields.v, array, bytes);
    ready->status = 200; /* complete: later requests may use it */
    return ERR_OK;
}

static void send_ready(struct request *r, struct exchange_ready *ready, enum err e)
{
    if (!e) {
        e = exchange_respond_ready(r->x, ready);
    }
    if (e) {
        request_fail(r, 503, err_text(e));
    }
}

static void send_from_file(struct request *r, const struct variant *v, uint16_t status)
{
    struct http_field array[REQUEST_FIELDS_MAX];
    struct response_head head = {.status = status};
    http_fields_init(&head.fields, array, REQUEST_FIELDS_MAX);
    enum err e = send_fields(r, v, true, &head.fields);
    if (!e && status == 405) {
        e = http_fields_add_id(&head.fields, HTTP_FIELD_ALLOW, STR("GET, HEAD, OPTIONS"));
    }
    if (!e && v->is_dynamic) {
        file_send_compressed(r, v->entry, v->code, &head);
        return;
    }
    if (!e) {
        e = exchange_respond(r->x, &head, v->entry->info.size);
    }
    if (e) {
        request_fail(r, 503, err_text(e));
        return;
    }
    e = exchange_send_file(r->x, v->entry->file, 0, v->entry->info.size);
    if (e) {
        exchange_reset(r->x, e);
        return;
    }
    exchange_finish(r->x);
}

static void send_whole(struct request *r, const struct variant *v)
{
    struct file_entry *e = v->entry;
    if (v->is_dynamic) {
        struct exchange_ready *ready = &e->coded_ready[v->code];
        bool is_made = ready->status != 0;
        if (!ready->body && e->info.size <= MEMORY_BODY_BYTES_MAX && send_load(r, e) &&
            file_compress_small(r, e, v->code)) {
            ready->body = chunk_ref(e->coded[v->code]);
        }
        if (ready->body) {
            send_ready(r, ready, is_made ? ERR_OK : send_prepare(r, e, v, ready));
            return;
        }
    } else if (e->ready.body || send_load(r, e)) {
        /* Under its own name it is another thing than in place of the file it was made from. */
        bool is_sibling = v->coding.n != 0;
        struct exchange_ready *ready = is_sibling ? &e->sibling_ready : &e->ready;
        if (is_sibling && !ready->body) {
            ready->body = chunk_ref(e->ready.body);
        }
        send_ready(r, ready, ready->status ? ERR_OK : send_prepare(r, e, v, ready));
        return;
    }
    send_from_file(r, v, 200);
}

void file_send(struct request *r, struct file_entry *e)
{
    const struct request_head *head = r->x->request;
    struct variant v;
    int64_t now_s = loop_wall_s(r->pipeline->loop);
    if (!send_choose(r, e, &v)) {
        return;
    }
    const struct http_validators validators = {.etag = v.etag,
                                               .last_modified_s = v.entry->info.mtime_s,
                                               .has_last_modified = true,
                                               .exists = true};
    if (v.coding.n) {
        REQUEST_NOTE(r, "file", STR_FMT ", %s", STR_ARG(v.coding),
                     v.is_dynamic ? "made now" : "precompressed");
    }
    switch (http_condition_check(head, &validators, now_s)) {
    case HTTP_CONDITION_PROCEED:
        break;
    case HTTP_CONDITION_NOT_MODIFIED:
        send_empty(r, &v, 304);
        return;
    case HTTP_CONDITION_FAILED:
        send_empty(r, &v, 412);
        return;
    }
    if (!send_ranges(r, &v, &validators, now_s)) {
        send_whole(r, &v);
    }
}

void file_send_page(struct request *r, struct file_entry *e, uint16_t status)
{
    const struct variant v = {.entry = e, .type = e->type, .etag = e->etag};
    send_from_file(r, &v, status);
}
