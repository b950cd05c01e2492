/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "base/mem.h"
#include "http/h2_session_int.h"

/* A header block as the engine takes it. */
struct h2_block {
    nghttp2_nv nv[HTTP_FIELDS_MAX + MUX_OWN_FIELDS];
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

static void h2_block_from(struct h2_block *b, const struct mux_block *from)
{
    for (b->n = 0; b->n < from->n; b->n++) {
        const struct mux_field *f = &from->v[b->n];
        b->nv[b->n] = (nghttp2_nv){
            .name = (uint8_t *)(uintptr_t)f->name.p,
            .namelen = f->name.n,
            .value = (uint8_t *)(uintptr_t)f->value.p,
            .valuelen = f->value.n,
            .flags = f->is_lasting ? NGHTTP2_NV_FLAG_NO_COPY_NAME : NGHTTP2_NV_FLAG_NONE,
        };
    }
}

static enum err h2_answer_error(int rv)
{
    return rv == 0 || rv != NGHTTP2_ERR_NOMEM ? ERR_OK : ERR_NOMEM;
}

enum err h2_session_respond(struct h2_session *s, struct mux_stream *stream,
                            const struct mux_response *response)
{
    struct mux_block fields;
    struct h2_block block;
    enum err e = mux_block_fill(&fields, response, &stream->arena);
    if (e || s->is_failed || stream->is_resetting) {
        return e;
    }
    h2_block_from(&block, &fields);
    nghttp2_data_provider body = {.source.ptr = stream, .read_callback = h2_answer_offer};
    return h2_answer_error(nghttp2_submit_response(s->engine, (int32_t)stream->id, block.nv,
                                                   block.n, response->has_body ? &body : NULL));
}

void h2_session_continue(struct h2_session *s, struct mux_stream *stream)
{
    struct mux_block fields;
    struct h2_block block;
    mux_block_start(&fields, 100);
    h2_block_from(&block, &fields);
    if (!s->is_failed) {
        (void)nghttp2_submit_headers(s->engine, NGHTTP2_FLAG_NONE, (int32_t)stream->id, NULL,
                                     block.nv, block.n, NULL);
    }
}

/* The engine sends what is submitted from within the offer behind the last DATA frame. */
static enum err h2_answer_submit_ending(struct h2_session *s, struct mux_stream *stream)
{
    struct mux_block fields;
    struct h2_block block;
    fields.n = 0;
    enum err e = mux_block_add_fields(&fields, &stream->ending, true, &stream->arena);
    h2_block_from(&block, &fields);
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
