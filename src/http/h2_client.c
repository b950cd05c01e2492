/* SPDX-License-Identifier: Apache-2.0 */
/* What only clients do: they open streams, and read the heads and bodies of answers. */
#include "base/assert.h"
#include "http/h2_session_int.h"

/* ---- requests ---- */

bool h2_session_is_closing(const struct h2_session *s)
{
    return s->is_failed || s->is_peer_leaving || s->is_finishing || s->last_id >= INT32_MAX - 2;
}

uint32_t h2_session_streams_max(const struct h2_session *s)
{
    return s->streams_max;
}

uint32_t h2_session_room(const struct h2_session *s)
{
    if (h2_session_is_closing(s) || s->mux.stream_count >= s->streams_max) {
        return 0;
    }
    return s->streams_max - (uint32_t)s->mux.stream_count;
}

bool h2_session_has_connect(const struct h2_session *s)
{
    return s->has_connect;
}

/* Our own fields, and those of the owner. */
static enum err client_fill_block(struct mux_block *b, const struct h2_request *request,
                                  struct arena *arena)
{
    b->n = 0;
    enum err e = mux_block_add_fields(b, request->fields, false, arena);
    if (e) {
        return e;
    }
    if (http_fields_has_token(request->fields, HTTP_FIELD_TE, STR("trailers"))) {
        mux_block_add_known(b, HTTP_FIELD_TE, STR("trailers"));
    }
    if (request->has_body && request->body_bytes != MUX_LENGTH_UNKNOWN) {
        mux_block_add_length(b, request->body_bytes);
    }
    return ERR_OK;
}

static bool client_is_target_valid(const struct h2_request *request)
{
    return request->scheme.n > 0 && http_token_is_valid(request->method) &&
           http_field_value_is_valid(request->authority) &&
           http_field_value_is_valid(request->target) && request->target.n > 0 &&
           (!request->protocol.n || http_token_is_valid(request->protocol));
}

enum err h2_request_check(const struct h2_request *request)
{
    bool is_valid = client_is_target_valid(request);
    for (unsigned i = 0; i < request->fields->n && is_valid; i++) {
        const struct http_field *f = &request->fields->v[i];
        is_valid = http_field_value_is_valid(f->value) &&
                   (f->id != HTTP_FIELD_OTHER || http_token_is_valid(f->name));
    }
    return is_valid ? ERR_OK : ERR_SYNTAX;
}

static void client_put_head(struct h2_session *s, const struct h2_request *request,
                            const struct mux_block *b, uint32_t id)
{
    const struct hpack_target target = {.method = request->method,
                                        .scheme = request->scheme,
                                        .authority = request->authority,
                                        .path = request->target,
                                        .protocol = request->protocol};
    size_t start = h2_put_block_begin(s);
    hpack_encode_target(&s->encoder, &s->queue, &target);
    for (size_t i = 0; i < b->n; i++) {
        if (b->v[i].id != HTTP_FIELD_HOST) {
            hpack_encode(&s->encoder, &s->queue, b->v[i].id, b->v[i].name, b->v[i].value);
        }
    }
    h2_put_block_end(s, start, request->has_body ? 0 : H2_END_STREAM, id);
}

enum err h2_session_request(struct h2_session *s, const struct h2_request *request,
                            struct mux_stream *stream)
{
    struct mux_block block;
    struct arena arena;
    if (h2_session_room(s) == 0) {
        return ERR_LIMIT;
    }
    if (!client_is_target_valid(request)) {
        return ERR_SYNTAX;
    }
    arena_init(&arena, 1024, 0); /* for names in lower case, until they are encoded */
    enum err e = client_fill_block(&block, request, &arena);
    uint32_t id = s->last_id ? s->last_id + 2 : 1;
    struct h2_stream *h = e ? NULL : h2_stream_join(s, stream, id);
    if (!e && !h) {
        e = ERR_NOMEM;
    }
    if (!e) {
        s->last_id = id;
        stream->head.method = request->method_id;
        stream->content_length = MUX_LENGTH_UNKNOWN;
        client_put_head(s, request, &block, id);
        h->has_body = request->has_body;
        h->is_ended = !request->has_body;
        h->is_offering = request->has_body;
        if (h->has_body) {
            h2_output_ready(s, h);
        } else {
            list_push_back(&s->due, &h->due);
        }
    }
    arena_done(&arena);
    return e;
}

/* ---- heads of answers ---- */

/* The stream whose head this is; NULL: it counts for the table alone. */
struct h2_stream *h2_client_head_stream(struct h2_session *s, struct h2_stream *h, bool is_end)
{
    if (!h || h->stream->is_resetting) {
        return NULL;
    }
    struct mux_stream *stream = h->stream;
    if (stream->is_body_done) {
        h2_stream_reset(s, h, H2_STREAM_CLOSED);
        return NULL;
    }
    if (stream->is_begun && !is_end) {
        h2_head_refuse(s, h); /* RFC 9113 8.1: a head behind the last one is that of trailers */
        return NULL;
    }
    if (stream->is_begun) {
        mux_head_begin_trailers(&s->mux, stream);
    } else {
        struct http_fields *fields = &stream->head.fields;
        stream->field_count = 0;
        http_fields_init(fields, fields->v, fields->capacity);
    }
    return h;
}

bool h2_client_take_status(struct h2_stream *h, struct str value)
{
    uint64_t status;
    if (value.n != 3 || str_to_u64(value, &status) != ERR_OK ||
        !http_status_is_valid((uint16_t)status)) {
        return false;
    }
    h->stream->status = (uint16_t)status;
    return true;
}

static bool client_is_length_right(struct mux_stream *stream, bool is_end)
{
    const struct http_field *length =
        http_fields_get(&stream->head.fields, HTTP_FIELD_CONTENT_LENGTH);
    if (!length) {
        bool is_empty = is_end && !stream->has_no_content;
        stream->content_length = is_empty ? 0 : MUX_LENGTH_UNKNOWN;
        return true;
    }
    if (str_to_u64(length->value, &stream->content_length) != ERR_OK ||
        stream->content_length > INT64_MAX) {
        return false;
    }
    return !is_end || stream->has_no_content || stream->content_length == 0;
}

void h2_client_head_finish(struct h2_session *s, struct h2_stream *h, bool is_end)
{
    struct mux_stream *stream = h->stream;
    bool is_interim = stream->status < 200;
    /* RFC 9113 8.1, 8.6: an interim answer is not the end, and 101 is of HTTP/1.1. */
    if (stream->reject != H1_REJECT_NONE || stream->status == 101 || (is_interim && is_end)) {
        h2_head_refuse(s, h);
        return;
    }
    if (!is_interim) {
        bool is_tunnel = stream->head.method == HTTP_CONNECT && stream->status / 100 == 2;
        stream->has_no_content =
            stream->head.method == HTTP_HEAD || !http_status_has_content(stream->status);
        if (!is_tunnel && !client_is_length_right(stream, is_end)) {
            h2_head_refuse(s, h);
            return;
        }
        stream->is_begun = true;
    }
    s->mux.events.on_response(s->mux.events.context, stream);
}

/* ---- bodies ---- */

void h2_client_on_body(struct h2_session *s, struct h2_stream *h, const uint8_t *p, size_t n)
{
    struct mux_stream *stream = h->stream;
    h->body_bytes += n;
    bool is_too_long = stream->has_no_content || h->body_bytes > stream->content_length;
    if (!stream->is_resetting && (!stream->is_begun || is_too_long)) {
        h2_head_refuse(s, h);
    }
    if (stream->is_resetting || n == 0) {
        h2_window_return(s, NULL, n);
        return;
    }
    stream->body_bytes += n;
    h2_window_keep(s, n);
    s->mux.events.on_body(s->mux.events.context, stream, (const char *)p, n);
}

/* ---- the end ---- */

/* The oldest beyond `id`; NULL: none. */
static struct h2_stream *client_first_beyond(const struct h2_session *s, uint32_t id)
{
    LIST_FOR_EACH(at, &s->mux.streams)
    {
        struct h2_stream *h = h2_stream_of(CONTAINER_OF(at, struct mux_stream, link));
        if (h->id > id) {
            return h;
        }
    }
    return NULL;
}

/* RFC 9113 6.8: what is beyond the last stream was not looked at. */
void h2_client_on_goaway(struct h2_session *s, uint32_t last_id)
{
    struct h2_stream *h;
    while ((h = client_first_beyond(s, last_id)) != NULL) {
        h->stream->is_unprocessed = !h->stream->is_begun;
        h2_stream_gone(s, h, ERR_RESET);
    }
}
