/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of a header block become the head that HTTP/1 makes of its bytes, under the same grammar.
 * The engine has checked names and values, the order and number of pseudo fields, and that no field
 * belongs to the connection (RFC 9113 8.2, 8.3; RFC 9114 4.2, 4.3). */
#include "http/authority.h"
#include "http/h1_scan_int.h"
#include "http/mux_int.h"

#define FIELDS_FIRST 20u
#define FIELD_COST 32u /* RFC 9113 6.5.2 */
#define METHOD_BYTES_MAX 32
#define ARENA_BLOCK_BYTES 960 /* with its head a size that the heap keeps at hand */

void mux_stream_init(struct mux_session *s, struct mux_stream *stream, int64_t id,
                     enum http_version version)
{
    stream->id = id;
    stream->head.version = (uint8_t)version;
    stream->head.method = HTTP_METHOD_OTHER;
    arena_init(&stream->arena, ARENA_BLOCK_BYTES, 0);
    if (stream->first_bytes) {
        arena_lend(&stream->arena, stream->first_bytes, stream->first_byte_count);
    }
    http_fields_init(&stream->head.fields, stream->first_fields, stream->first_field_count);
    http_fields_init(&stream->trailers, NULL, 0);
    http_fields_init(&stream->ending, NULL, 0);
    list_push_back(&s->streams, &stream->link);
    s->stream_count++;
}

struct mux_stream *mux_stream_begin(struct mux_session *s, int64_t id, enum http_version version)
{
    struct mux_stream *stream = s->events.on_stream(s->events.context);
    if (stream) {
        mux_stream_init(s, stream, id, version);
    }
    return stream;
}

void mux_stream_gone(struct mux_session *s, struct mux_stream *stream, enum err cause)
{
    list_remove(&stream->link);
    s->stream_count--;
    s->events.on_stream_end(s->events.context, stream, cause);
}

static void mux_head_refuse(struct mux_session *s, struct mux_stream *stream, enum h1_reject reason)
{
    if (stream->reject != H1_REJECT_NONE) {
        return;
    }
    stream->reject = reason;
    if (h1_reject_status(reason) == 400) {
        /* RFC 9113 8.1.1: malformed. Limits are answered when the block is complete. */
        s->events.on_refused(s->events.context, reason, 0);
        s->ops->reset(s, stream, MUX_RESET_PROTOCOL);
    } else if (stream->is_trailer) {
        s->events.on_refused(s->events.context, reason, 0);
        s->ops->reset(s, stream, MUX_RESET_CALM);
    }
}

void mux_head_begin_trailers(struct mux_session *s, struct mux_stream *stream)
{
    stream->is_trailer = true;
    if (stream->head.method == HTTP_CONNECT) {
        mux_head_refuse(s, stream, H1_REJECT_MESSAGE);
    }
}

static struct str mux_head_keep(struct mux_session *s, struct mux_stream *stream, struct str text)
{
    struct str kept = arena_str(&stream->arena, text);
    if (!kept.p) {
        stream->reject = H1_REJECT_HEAD_LONG;
        s->ops->reset(s, stream, MUX_RESET_INTERNAL);
        return STR("");
    }
    return kept;
}

static bool mux_head_make_room(struct mux_stream *stream, struct http_fields *fields)
{
    if (fields->n < fields->capacity) {
        return true;
    }
    unsigned capacity = fields->capacity ? fields->capacity * 2 : FIELDS_FIRST;
    capacity = capacity < HTTP_FIELDS_MAX ? capacity : HTTP_FIELDS_MAX;
    struct http_field *v = arena_alloc(&stream->arena, capacity * sizeof(*v));
    if (!v) {
        return false;
    }
    if (fields->n) {
        memcpy(v, fields->v, fields->n * sizeof(*v));
        fields->v = v;
        fields->capacity = capacity;
    } else {
        http_fields_init(fields, v, capacity);
    }
    return true;
}

static void mux_head_regular(struct mux_session *s, struct mux_stream *stream,
                             const struct mux_field *f)
{
    struct http_fields *fields = stream->is_trailer ? &stream->trailers : &stream->head.fields;
    enum http_field_id id = (enum http_field_id)f->id;
    struct str name = f->name;
    if (stream->is_trailer ? http_field_is_forbidden_in_trailer(id)
                           : id == HTTP_FIELD_HTTP2_SETTINGS) {
        mux_head_refuse(s, stream, H1_REJECT_FIELD_NAME);
        return;
    }
    stream->cookie_count += id == HTTP_FIELD_COOKIE;
    if (id != HTTP_FIELD_OTHER) {
        name = http_field_name(id);
    } else if (!f->is_lasting) {
        name = mux_head_keep(s, stream, name);
    }
    struct str value = mux_head_keep(s, stream, f->value);
    if (stream->reject != H1_REJECT_NONE) {
        return;
    }
    if (!mux_head_make_room(stream, fields) || http_fields_add(fields, name, value) != ERR_OK) {
        mux_head_refuse(s, stream, H1_REJECT_FIELD_COUNT);
    }
}

static void mux_head_pseudo(struct mux_session *s, struct mux_stream *stream, struct str name,
                            struct str value)
{
    struct request_head *head = &stream->head;
    struct str *place = &head->protocol;
    /* The engine lets pass only five of them. */
    switch (name.p[1]) {
    case 'm':
        if (value.n > METHOD_BYTES_MAX) {
            mux_head_refuse(s, stream, H1_REJECT_METHOD_LONG);
            return;
        }
        head->method = http_method_of(value);
        if (head->method != HTTP_METHOD_OTHER) {
            head->method_text = http_method_text(head->method);
            return;
        }
        place = &head->method_text;
        break;
    case 's': {
        bool is_https = str_eq_ci(value, STR("https"));
        if (!is_https && !str_eq_ci(value, STR("http"))) {
            mux_head_refuse(s, stream, H1_REJECT_TARGET_FORM);
            return;
        }
        head->scheme = is_https ? STR("https") : STR("http");
        return;
    }
    case 'a':
        place = &head->authority;
        break;
    default:
        if (str_eq(name, STR(":path"))) {
            place = &head->target;
            if (value.n > s->limits.uri_bytes_max) {
                mux_head_refuse(s, stream, H1_REJECT_TARGET_LONG);
                return;
            }
        }
        break;
    }
    *place = mux_head_keep(s, stream, value);
}

void mux_head_field(struct mux_session *s, struct mux_stream *stream, const struct mux_field *f)
{
    bool is_pseudo = f->name.n > 0 && f->name.p[0] == ':';
    size_t cost = f->name.n + f->value.n + FIELD_COST;
    stream->cost = cost < UINT32_MAX - stream->cost ? stream->cost + (uint32_t)cost : UINT32_MAX;
    stream->field_count += !is_pseudo;
    if (stream->reject != H1_REJECT_NONE) {
        return;
    }
    if (stream->cost > s->limits.header_bytes_max) {
        mux_head_refuse(s, stream, H1_REJECT_HEAD_LONG);
    } else if (stream->field_count > s->limits.header_count_max) {
        mux_head_refuse(s, stream, H1_REJECT_FIELD_COUNT);
    } else if (is_pseudo) {
        mux_head_pseudo(s, stream, f->name, f->value);
    } else {
        mux_head_regular(s, stream, f);
    }
}

/* RFC 9113 8.2.3: crumbs become one field again. */
static enum err mux_head_join_cookies(struct mux_stream *stream)
{
    struct http_fields *fields = &stream->head.fields;
    const struct http_field *first = http_fields_get(fields, HTTP_FIELD_COOKIE);
    size_t n = 0;
    for (const struct http_field *f = first; f; f = http_fields_next(fields, f)) {
        n += f->value.n + 2;
    }
    char *text = arena_alloc(&stream->arena, n);
    if (!text) {
        return ERR_NOMEM;
    }
    n = 0;
    for (const struct http_field *f = first; f; f = http_fields_next(fields, f)) {
        if (f->value.n) {
            memcpy(text + n, f->value.p, f->value.n);
        }
        memcpy(text + n + f->value.n, "; ", 2);
        n += f->value.n + 2;
    }
    return http_fields_set_id(fields, HTTP_FIELD_COOKIE, str_make(text, n - 2));
}

static enum h1_reject mux_head_split_path(struct request_head *head)
{
    struct str target = head->target;
    const char *end = target.p + target.n;
    if (target.n == 0 || h1_scan(target.p, end, &h1_class_target) != end) {
        return H1_REJECT_TARGET;
    }
    if (target.p[0] != '/') {
        bool is_server = head->method == HTTP_OPTIONS && str_eq(target, STR("*"));
        head->path = target;
        return is_server ? H1_REJECT_NONE : H1_REJECT_TARGET_FORM;
    }
    ptrdiff_t at = str_index(target, '?');
    head->has_query = at >= 0;
    head->path = at < 0 ? target : str_sub(target, 0, (size_t)at);
    head->query = at < 0 ? STR("") : str_sub(target, (size_t)at + 1, target.n);
    return H1_REJECT_NONE;
}

/* RFC 9113 8.3.1: both name the same, and one is there. */
static enum h1_reject mux_head_check_authority(struct request_head *head)
{
    const struct http_field *field = http_fields_get(&head->fields, HTTP_FIELD_HOST);
    struct str host;
    uint16_t port;
    if (!head->authority.p && !field) {
        return H1_REJECT_HOST_MISSING;
    }
    if (head->authority.p && http_authority_parse(head->authority, &host, &port) != ERR_OK) {
        return H1_REJECT_AUTHORITY;
    }
    if (field && head->authority.p && !str_eq_ci(field->value, head->authority)) {
        return H1_REJECT_AUTHORITY;
    }
    if (!head->authority.p) {
        head->authority = field->value;
        if (http_authority_parse(head->authority, &host, &port) != ERR_OK) {
            return H1_REJECT_HOST_INVALID;
        }
    }
    bool is_plain_connect = head->method == HTTP_CONNECT && !head->protocol.p;
    return is_plain_connect && port == 0 ? H1_REJECT_AUTHORITY : H1_REJECT_NONE;
}

static enum h1_reject mux_head_check_body(struct mux_stream *stream)
{
    const struct request_head *head = &stream->head;
    const struct http_field *length = http_fields_get(&head->fields, HTTP_FIELD_CONTENT_LENGTH);
    stream->content_length = stream->is_body_done ? 0 : MUX_LENGTH_UNKNOWN;
    if (length && (str_to_u64(length->value, &stream->content_length) != ERR_OK ||
                   stream->content_length > INT64_MAX)) {
        return H1_REJECT_LENGTH;
    }
    bool is_bodiless = head->method == HTTP_TRACE || (head->method == HTTP_CONNECT && length);
    /* What follows an extended CONNECT is no content: even a length of 0 could be read in two ways.
     */
    if ((is_bodiless && stream->content_length != 0) || (head->protocol.p && length)) {
        return H1_REJECT_BODY_UNEXPECTED;
    }
    const struct http_field *expect = http_fields_get(&head->fields, HTTP_FIELD_EXPECT);
    if (expect) {
        bool is_known = str_eq_ci(expect->value, STR("100-continue"));
        if (!is_known || http_fields_next(&head->fields, expect)) {
            return H1_REJECT_EXPECT;
        }
        stream->expect_continue = !stream->is_body_done;
    }
    return H1_REJECT_NONE;
}

static enum h1_reject mux_head_check(struct mux_stream *stream)
{
    struct request_head *head = &stream->head;
    enum h1_reject reason = H1_REJECT_NONE;
    if (head->method == HTTP_METHOD_OTHER && !http_token_is_valid(head->method_text)) {
        return H1_REJECT_METHOD;
    }
    if (head->method == HTTP_CONNECT && !head->protocol.p) {
        head->target = head->authority;
    } else {
        reason = mux_head_split_path(head);
    }
    if (reason == H1_REJECT_NONE) {
        reason = mux_head_check_authority(head);
    }
    return reason == H1_REJECT_NONE ? mux_head_check_body(stream) : reason;
}

void mux_head_finish(struct mux_session *s, struct mux_stream *stream)
{
    if (stream->reject == H1_REJECT_NONE) {
        enum h1_reject reason = mux_head_check(stream);
        if (reason != H1_REJECT_NONE) {
            mux_head_refuse(s, stream, reason);
        } else if (stream->cookie_count > 1 && mux_head_join_cookies(stream) != ERR_OK) {
            stream->reject = H1_REJECT_HEAD_LONG;
            s->ops->reset(s, stream, MUX_RESET_INTERNAL);
        }
    }
    if (stream->is_resetting) {
        return;
    }
    if (stream->reject != H1_REJECT_NONE) {
        uint16_t status = h1_reject_status(stream->reject);
        s->events.on_refused(s->events.context, stream->reject, status);
        const struct response_head head = {.status = status};
        const struct mux_response response = {.head = &head};
        if (s->ops->respond(s, stream, &response) != ERR_OK) {
            s->ops->reset(s, stream, MUX_RESET_INTERNAL);
        }
        return;
    }
    stream->is_begun = true;
    s->events.on_request(s->events.context, stream);
}
