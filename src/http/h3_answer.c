/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "base/mem.h"
#include "http/h3_session_int.h"

struct h3_block {
    nghttp3_nv nv[HTTP_FIELDS_MAX + MUX_OWN_FIELDS];
    size_t n;
};

static void h3_block_from(struct h3_block *b, const struct mux_block *from)
{
    for (b->n = 0; b->n < from->n; b->n++) {
        const struct mux_field *f = &from->v[b->n];
        b->nv[b->n] = (nghttp3_nv){
            .name = (uint8_t *)(uintptr_t)f->name.p,
            .namelen = f->name.n,
            .value = (uint8_t *)(uintptr_t)f->value.p,
            .valuelen = f->value.n,
            .flags = f->is_lasting ? NGHTTP3_NV_FLAG_NO_COPY_NAME : NGHTTP3_NV_FLAG_NONE,
        };
    }
}

/* ---- bodies: kept until they have arrived ---- */

static void h3_kept_drop_first(struct h3_stream *h)
{
    struct h3_chunk *chunk = h->kept;
    h->kept = chunk->next;
    if (!h->kept) {
        h->kept_tail = &h->kept;
    }
    h->session->kept_bytes -= chunk->bytes.n;
    buf_done(&chunk->bytes);
    mem_free(chunk);
}

static void h3_resume_waiting(struct h3_session *s)
{
    if (s->kept_bytes > s->kept_bytes_max / 4 * 3 || s->is_failed || list_is_empty(&s->waiting)) {
        return;
    }
    while (!list_is_empty(&s->waiting)) {
        struct h3_stream *h = CONTAINER_OF(s->waiting.next, struct h3_stream, waiting);
        list_remove(&h->waiting);
        if (nghttp3_conn_resume_stream(s->engine, h->id) != 0) {
            h3_session_break(s, H3_INTERNAL_ERROR);
            return;
        }
    }
    s->wire.wake(s->wire.context);
}

void h3_answer_drop_kept(struct h3_stream *h)
{
    while (h->kept) {
        h3_kept_drop_first(h);
    }
    h3_resume_waiting(h->session);
}

int h3_answer_on_acknowledged(nghttp3_conn *engine, int64_t id, uint64_t n, void *user,
                              void *stream_user)
{
    struct h3_stream *h = stream_user;
    (void)engine;
    (void)id;
    (void)user;
    if (!h) {
        return 0;
    }
    h->acknowledged += n;
    while (h->kept && h->acknowledged >= h->kept->bytes.n) {
        h->acknowledged -= h->kept->bytes.n;
        h3_kept_drop_first(h);
    }
    h3_resume_waiting(h->session);
    return 0;
}

static enum err h3_take(struct h3_stream *h, size_t n, nghttp3_vec *ret)
{
    struct h3_session *s = h->session;
    struct h3_chunk *chunk = mem_zalloc(1, sizeof(*chunk));
    if (!chunk) {
        return ERR_NOMEM;
    }
    buf_init(&chunk->bytes, 0);
    enum err e = buf_reserve(&chunk->bytes, n)
                     ? s->mux.events.on_take(s->mux.events.context, h->stream, &chunk->bytes, n)
                     : ERR_NOMEM;
    if (e || chunk->bytes.is_failed) {
        buf_done(&chunk->bytes);
        mem_free(chunk);
        return e ? e : ERR_NOMEM;
    }
    ASSERT(chunk->bytes.n == n);
    *h->kept_tail = chunk;
    h->kept_tail = &chunk->next;
    s->kept_bytes += n;
    *ret = (nghttp3_vec){(uint8_t *)chunk->bytes.p, n};
    return ERR_OK;
}

/* Trailers go behind what was offered last. */
static enum err h3_submit_ending(struct h3_session *s, struct mux_stream *stream)
{
    struct mux_block fields;
    struct h3_block block;
    fields.n = 0;
    enum err e = mux_block_add_fields(&fields, &stream->ending, true, &stream->arena);
    h3_block_from(&block, &fields);
    if (!e && nghttp3_conn_submit_trailers(s->engine, stream->id, block.nv, block.n) != 0) {
        e = ERR_NOMEM;
    }
    return e;
}

static nghttp3_ssize h3_on_read(nghttp3_conn *engine, int64_t id, nghttp3_vec *vec, size_t count,
                                uint32_t *flags, void *user, void *stream_user)
{
    struct h3_session *s = user;
    struct h3_stream *h = stream_user;
    bool is_last = false;
    (void)engine;
    (void)id;
    (void)count; /* at least one */
    if (!h->stream || h->stream->is_resetting) {
        return NGHTTP3_ERR_WOULDBLOCK;
    }
    if (s->kept_bytes >= s->kept_bytes_max) {
        list_remove(&h->waiting);
        list_push_back(&s->waiting, &h->waiting);
        return NGHTTP3_ERR_WOULDBLOCK;
    }
    size_t n = s->mux.events.on_offer(s->mux.events.context, h->stream, H3_CHUNK_BYTES, &is_last);
    if (n == 0 && !is_last) {
        return NGHTTP3_ERR_WOULDBLOCK;
    }
    enum err e = n ? h3_take(h, n, vec) : ERR_OK;
    if (!e && is_last) {
        *flags |= NGHTTP3_DATA_FLAG_EOF;
        if (h->stream->ending.n) {
            *flags |= NGHTTP3_DATA_FLAG_NO_END_STREAM;
            e = h3_submit_ending(s, h->stream);
        }
    }
    if (e) {
        h3_stream_break(h, H3_INTERNAL_ERROR, ERR_RESET);
        return NGHTTP3_ERR_WOULDBLOCK;
    }
    return n ? 1 : 0;
}

/* ---- as the layer above sees it ---- */

static struct h3_session *h3_of_mux(struct mux_session *mux)
{
    return (struct h3_session *)mux;
}

static enum err h3_mux_respond(struct mux_session *mux, struct mux_stream *stream,
                               const struct mux_response *response)
{
    struct h3_session *s = h3_of_mux(mux);
    struct mux_block fields;
    struct h3_block block;
    const nghttp3_data_reader reader = {h3_on_read};
    enum err e = mux_block_fill(&fields, response, &stream->arena);
    if (e || s->is_failed || stream->is_resetting) {
        return e;
    }
    h3_block_from(&block, &fields);
    int rv = nghttp3_conn_submit_response(s->engine, stream->id, block.nv, block.n,
                                          response->has_body ? &reader : NULL);
    s->wire.wake(s->wire.context);
    return rv == NGHTTP3_ERR_NOMEM ? ERR_NOMEM : ERR_OK;
}

static void h3_mux_interim(struct mux_session *mux, struct mux_stream *stream, uint16_t status,
                           const struct http_fields *fields)
{
    struct h3_session *s = h3_of_mux(mux);
    struct mux_block from;
    struct h3_block block;
    mux_block_start(&from, status);
    enum err e = fields ? mux_block_add_fields(&from, fields, false, &stream->arena) : ERR_OK;
    if (!e && !s->is_failed && !stream->is_resetting) {
        h3_block_from(&block, &from);
        (void)nghttp3_conn_submit_info(s->engine, stream->id, block.nv, block.n);
        s->wire.wake(s->wire.context);
    }
}

static void h3_mux_resume(struct mux_session *mux, struct mux_stream *stream)
{
    struct h3_session *s = h3_of_mux(mux);
    if (!s->is_failed && nghttp3_conn_resume_stream(s->engine, stream->id) != 0) {
        h3_session_break(s, H3_INTERNAL_ERROR);
    }
    s->wire.wake(s->wire.context);
}

static uint64_t h3_code_of(enum mux_reset why)
{
    switch (why) {
    case MUX_RESET_NO_ERROR:
        return H3_NO_ERROR;
    case MUX_RESET_PROTOCOL:
        return H3_MESSAGE_ERROR;
    case MUX_RESET_INTERNAL:
        return H3_INTERNAL_ERROR;
    case MUX_RESET_CANCEL:
        return H3_REQUEST_CANCELLED;
    case MUX_RESET_CALM:
        return H3_EXCESSIVE_LOAD;
    case MUX_RESET_DATAGRAM:
        return H3_DATAGRAM_ERROR;
    }
    return H3_INTERNAL_ERROR;
}

static void h3_mux_reset(struct mux_session *mux, struct mux_stream *stream, enum mux_reset why)
{
    (void)mux;
    h3_stream_break(stream->part, h3_code_of(why), ERR_RESET);
}

static void h3_mux_consume(struct mux_session *mux, struct mux_stream *stream, size_t n)
{
    struct h3_session *s = h3_of_mux(mux);
    if (n && !s->is_failed) {
        s->wire.consume(s->wire.context, stream ? stream->id : -1, n);
    }
}

const struct mux_ops h3_mux_ops = {
    .respond = h3_mux_respond,
    .interim = h3_mux_interim,
    .resume = h3_mux_resume,
    .reset = h3_mux_reset,
    .consume = h3_mux_consume,
};
