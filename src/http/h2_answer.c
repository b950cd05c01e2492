/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "base/mem.h"
#include "http/date.h"
#include "http/h2_session_int.h"

#define STATUS_BYTES 3
#define LENGTH_BYTES 20
#define OWN_FIELDS 3 /* status, date, length */

/* A header block under construction. */
struct h2_block {
    nghttp2_nv nv[HTTP_FIELDS_MAX + OWN_FIELDS];
    size_t n;
};

static enum err h2_answer_submit_ending(struct h2_session *s, struct mux_stream *stream);

static ssize_t h2_answer_offer(nghttp2_session *engine, int32_t id, uint8_t *bytes, size_t n,
                               uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2_session *s = user;
    struct mux_stream *stream = source->ptr;
    bool is_last = false;
    (void)engine;
    (void)id;
    (void)bytes;
    size_t offered = s->mux.events.on_offer(s->mux.events.context, stream, n, &is_last);
    if (offered == 0 && !is_last) {
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (is_last) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    if (is_last && stream->ending.n) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (h2_answer_submit_ending(s, stream) != ERR_OK) {
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
    }
    return (ssize_t)offered;
}

int h2_answer_send_data(nghttp2_session *engine, nghttp2_frame *frame, const uint8_t *head,
                        size_t n, nghttp2_data_source *source, void *user)
{
    struct h2_session *s = user;
    struct mux_stream *stream = source->ptr;
    size_t before = s->out->n;
    (void)engine;
    ASSERT(frame->data.padlen == 0);
    buf_add(s->out, head, 9);
    enum err e = n ? s->mux.events.on_take(s->mux.events.context, stream, s->out, n) : ERR_OK;
    if (s->out->is_failed) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (e) {
        s->out->n = before;
        stream->is_resetting = true;
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    s->update_credit = s->update_credit < H2_CONTROL_MAX ? s->update_credit + 2 : H2_CONTROL_MAX;
    return s->out->n >= s->out_bytes_max ? NGHTTP2_ERR_PAUSE : 0;
}

static void h2_block_add(struct h2_block *b, struct str name, struct str value)
{
    static const char empty[1];
    ASSERT(b->n < COUNT_OF(b->nv));
    b->nv[b->n++] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.p,
                                 .namelen = name.n,
                                 .value = (uint8_t *)(uintptr_t)(value.p ? value.p : empty),
                                 .valuelen = value.n,
                                 .flags = NGHTTP2_NV_FLAG_NONE};
}

/* Names of our own are never copied; those of the service are made lower case in `arena`. */
static enum err h2_block_add_fields(struct h2_block *b, const struct http_fields *fields,
                                    bool is_checked, struct arena *arena)
{
    for (unsigned i = 0; i < fields->n; i++) {
        const struct http_field *f = &fields->v[i];
        struct str name = f->name;
        if (!is_checked && !http_field_value_is_valid(f->value)) {
            return ERR_SYNTAX;
        }
        if (f->id == HTTP_FIELD_OTHER) {
            if (!http_token_is_valid(f->name)) {
                return ERR_SYNTAX;
            }
            name = arena_str(arena, f->name);
            if (!name.p) {
                return ERR_NOMEM;
            }
            char *p = (char *)(uintptr_t)name.p;
            for (size_t k = 0; k < name.n; k++) {
                p[k] = ascii_lower(p[k]);
            }
        } else if (http_field_is_hop_by_hop((enum http_field_id)f->id) &&
                   f->id != HTTP_FIELD_PROXY_AUTHENTICATE) {
            continue;
        } else {
            name = http_field_name((enum http_field_id)f->id);
        }
        h2_block_add(b, name, f->value);
        if (f->id != HTTP_FIELD_OTHER) {
            b->nv[b->n - 1].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
        }
    }
    return ERR_OK;
}

static enum err h2_answer_error(int rv)
{
    return rv == 0 || rv != NGHTTP2_ERR_NOMEM ? ERR_OK : ERR_NOMEM;
}

static struct str h2_status_text(uint16_t status, char text[STATUS_BYTES])
{
    text[0] = (char)('0' + status / 100);
    text[1] = (char)('0' + status / 10 % 10);
    text[2] = (char)('0' + status % 10);
    return str_make(text, STATUS_BYTES);
}

static struct str h2_length_text(uint64_t length, char text[LENGTH_BYTES])
{
    size_t at = LENGTH_BYTES;
    do {
        text[--at] = (char)('0' + length % 10);
        length /= 10;
    } while (length);
    return str_make(text + at, LENGTH_BYTES - at);
}

enum err h2_session_respond(struct h2_session *s, struct mux_stream *stream,
                            const struct mux_response *response)
{
    struct h2_block block;
    char status[STATUS_BYTES], length[LENGTH_BYTES];
    const struct response_head *head = response->head;
    block.n = 0;
    if (head->status < 200 || head->status > 599) {
        return ERR_SYNTAX;
    }
    h2_block_add(&block, STR(":status"), h2_status_text(head->status, status));
    if (response->date) {
        h2_block_add(&block, STR("date"), str_make(response->date, HTTP_DATE_BYTES));
    }
    if (http_status_has_content(head->status) && response->body_bytes != MUX_LENGTH_UNKNOWN) {
        h2_block_add(&block, STR("content-length"), h2_length_text(response->body_bytes, length));
    }
    for (size_t i = 0; i < block.n; i++) {
        block.nv[i].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    }
    enum err e = h2_block_add_fields(&block, &head->fields, response->is_checked, &stream->arena);
    if (e || s->is_failed || stream->is_resetting) {
        return e;
    }
    nghttp2_data_provider body = {.source.ptr = stream, .read_callback = h2_answer_offer};
    return h2_answer_error(nghttp2_submit_response(s->engine, (int32_t)stream->id, block.nv,
                                                   block.n, response->has_body ? &body : NULL));
}

void h2_session_continue(struct h2_session *s, struct mux_stream *stream)
{
    struct h2_block block;
    block.n = 0;
    h2_block_add(&block, STR(":status"), STR("100"));
    if (!s->is_failed) {
        (void)nghttp2_submit_headers(s->engine, NGHTTP2_FLAG_NONE, (int32_t)stream->id, NULL,
                                     block.nv, block.n, NULL);
    }
}

enum err h2_session_trailers(struct h2_session *s, struct mux_stream *stream,
                             const struct http_fields *fields)
{
    struct http_field *v = arena_alloc(&stream->arena, (fields->n + 1) * sizeof(*v));
    struct h2_block block;
    block.n = 0;
    (void)s;
    enum err e = v ? h2_block_add_fields(&block, fields, false, &stream->arena) : ERR_NOMEM;
    if (e) {
        return e;
    }
    http_fields_init(&stream->ending, v, fields->n);
    for (size_t i = 0; i < block.n && !e; i++) {
        const nghttp2_nv *nv = &block.nv[i];
        struct str name = str_make((const char *)nv->name, nv->namelen);
        struct str value =
            arena_str(&stream->arena, str_make((const char *)nv->value, nv->valuelen));
        e = value.p ? http_fields_add(&stream->ending, name, value) : ERR_NOMEM;
    }
    return e;
}

/* The engine sends what is submitted from within the offer behind the last DATA frame. */
static enum err h2_answer_submit_ending(struct h2_session *s, struct mux_stream *stream)
{
    struct h2_block block;
    block.n = 0;
    enum err e = h2_block_add_fields(&block, &stream->ending, true, &stream->arena);
    return e ? e
             : h2_answer_error(
                   nghttp2_submit_trailer(s->engine, (int32_t)stream->id, block.nv, block.n));
}

void h2_session_resume(struct h2_session *s, struct mux_stream *stream)
{
    /* An error only says that the body was not deferred: it is asked for anyway. */
    if (!s->is_failed) {
        (void)nghttp2_session_resume_data(s->engine, (int32_t)stream->id);
    }
}
