/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h1_conn_int.h"

#include "base/assert.h"

#define FLUSH_PIECES_MAX 64
#define FLUSH_BUDGET_BYTES (2u * 1024u * 1024u) /* per turn, so that no download starves others */
#define SEND_FILE_BYTES (1024u * 1024u)

void h1_stream_end(struct h1_stream *s, enum err cause)
{
    struct server *server = s->conn->conn.server;
    if (s->x.service) {
        s->x.service->on_end(&s->x, cause);
    }
    s->x.magic = 0;
    buf_done(&s->trailers);
    buf_done(&s->ending);
    arena_done(&s->x.arena);
    slab_free(&server->stream_slab, s);
}

struct h1_piece *h1_output_piece(struct h1_conn *c)
{
    struct h1_piece *piece = slab_alloc(&c->conn.server->piece_slab);
    if (piece) {
        *c->out_tail = piece;
        c->out_tail = &piece->next;
    }
    return piece;
}

enum err h1_output_chunk(struct h1_conn *c, struct chunk *chunk, size_t offset, size_t n)
{
    struct h1_piece *piece = h1_output_piece(c);
    if (!piece) {
        return ERR_NOMEM;
    }
    piece->chunk = chunk_ref(chunk);
    piece->offset = offset;
    piece->n = n;
    c->out_bytes += n;
    return ERR_OK;
}

struct h1_piece *h1_output_last(const struct h1_conn *c)
{
    return c->out ? CONTAINER_OF(c->out_tail, struct h1_piece, next) : NULL;
}

enum err h1_output_begin(struct h1_conn *c, struct str bytes, size_t room)
{
    struct chunk *chunk = chunk_create(bytes.n + room);
    if (!chunk) {
        return ERR_NOMEM;
    }
    memcpy(chunk->data, bytes.p, bytes.n);
    enum err e = h1_output_chunk(c, chunk, 0, bytes.n);
    if (!e) {
        h1_output_last(c)->room = room;
    }
    chunk_unref(chunk);
    return e;
}

enum err h1_output_raw(struct h1_conn *c, struct str bytes)
{
    return h1_output_begin(c, bytes, 0);
}

enum err h1_output_add(struct h1_conn *c, struct str bytes)
{
    struct h1_piece *last = h1_output_last(c);
    if (!last || last->room < bytes.n || last->ends) {
        return h1_output_raw(c, bytes);
    }
    memcpy(last->chunk->data + last->offset + last->n, bytes.p, bytes.n);
    last->n += bytes.n;
    last->room -= bytes.n;
    c->out_bytes += bytes.n;
    return ERR_OK;
}

static void h1_output_drop_piece(struct h1_conn *c, struct h1_piece *piece)
{
    if (piece->chunk) {
        c->out_bytes -= piece->n;
    }
    chunk_unref(piece->chunk);
    exchange_file_unref(piece->file);
    slab_free(&c->conn.server->piece_slab, piece);
}

static void h1_output_drop_first(struct h1_conn *c)
{
    struct h1_piece *piece = c->out;
    c->out = piece->next;
    if (!c->out) {
        c->out_tail = &c->out;
    }
    h1_output_drop_piece(c, piece);
}

void h1_output_take_back(struct h1_conn *c, struct h1_piece **tail)
{
    struct h1_piece *piece = *tail;
    *tail = NULL;
    c->out_tail = tail;
    while (piece) {
        struct h1_piece *next = piece->next;
        h1_output_drop_piece(c, piece);
        piece = next;
    }
}

bool h1_output_break(const struct h1_stream *s)
{
    bool ends_by_close = s->x.left_bytes == EXCHANGE_LENGTH_UNKNOWN && !s->is_chunked_out;
    if (ends_by_close) {
        transport_break(&s->conn->conn.transport);
    }
    return ends_by_close;
}

void h1_output_clear(struct h1_conn *c)
{
    while (c->out) {
        h1_output_drop_first(c);
    }
}

static void h1_output_end_stream(struct h1_conn *c, struct h1_stream *s)
{
    if (c->unsent == s) {
        c->unsent = s->next;
        if (!c->unsent) {
            c->unsent_tail = &c->unsent;
        }
        h1_stream_end(s, ERR_OK);
    }
    /* Otherwise it is `current` and still reads its body: h1_input_check_done ends it. */
}

/* Takes `sent` bytes off the front of the queue and ends the exchanges that are complete. */
static void h1_output_take(struct h1_conn *c, size_t sent)
{
    while (c->out) {
        struct h1_piece *piece = c->out;
        size_t n = sent < piece->n ? sent : (size_t)piece->n;
        piece->offset += n;
        piece->n -= n;
        sent -= n;
        if (piece->chunk) {
            c->out_bytes -= n;
        }
        if (piece->n) {
            return;
        }
        struct h1_stream *ends = piece->ends;
        h1_output_drop_first(c);
        if (ends) {
            h1_output_end_stream(c, ends);
        }
        if (sent == 0 && c->out && c->out->n) {
            return;
        }
    }
}

/* The memory at the front of the queue; `*ret_next` (NULL: all of it) stands behind that. */
static size_t h1_output_gather(const struct h1_conn *c, struct iovec pieces[FLUSH_PIECES_MAX],
                               const struct h1_piece **ret_next)
{
    size_t count = 0;
    const struct h1_piece *piece = c->out;
    for (; piece && piece->chunk && count < FLUSH_PIECES_MAX; piece = piece->next) {
        pieces[count].iov_base = piece->chunk->data + piece->offset;
        pieces[count++].iov_len = (size_t)piece->n;
    }
    *ret_next = piece;
    return count;
}

static enum err h1_output_send_memory(struct h1_conn *c, size_t *ret_sent)
{
    struct iovec pieces[FLUSH_PIECES_MAX];
    const struct h1_piece *piece;
    size_t count = h1_output_gather(c, pieces, &piece);
    /* The end of the connection follows in this turn and then shares the last segment. */
    bool is_last = c->is_closing && !c->current;
    return transport_send(&c->conn.transport, pieces, count, piece != NULL || is_last, ret_sent);
}

static enum err h1_output_send_file(struct h1_conn *c, size_t *ret_sent)
{
    struct h1_piece *piece = c->out;
    size_t n = piece->n < SEND_FILE_BYTES ? (size_t)piece->n : SEND_FILE_BYTES;
    enum err e =
        transport_send_file(&c->conn.transport, piece->file->fd, piece->offset, n, ret_sent);
    if (e == ERR_EOF) {
        /* The file was cut while it was being sent: only a reset keeps the client from taking
         * what it has for the whole. */
        transport_break(&c->conn.transport);
    }
    return e;
}

static void h1_output_count(struct h1_conn *c, size_t sent)
{
    struct server *s = c->conn.server;
    c->activity_ms = loop_now_ms(s->loop);
    s->hooks.on_bytes(s->hooks.context, 0, sent);
}

/* Where nothing but parts of the same answer waits, which end nothing. */
static bool h1_output_may_pass(const struct h1_conn *c)
{
    size_t count = 0;
    for (const struct h1_piece *piece = c->out; piece; piece = piece->next) {
        if (!piece->chunk || piece->ends || ++count == FLUSH_PIECES_MAX) {
            return false;
        }
    }
    return !c->is_dead && !transport_has_unsent(&c->conn.transport);
}

/* What the socket takes of the queue and of `*bytes` behind it. What breaks meets the next flush
 * as well, which deals with it. */
static void h1_output_pass(struct h1_conn *c, struct str *bytes)
{
    enum err e = ERR_OK;
    while (!e && bytes->n && h1_output_may_pass(c)) {
        struct iovec pieces[FLUSH_PIECES_MAX];
        const struct h1_piece *none;
        size_t queued = c->out_bytes, sent;
        size_t count = h1_output_gather(c, pieces, &none);
        pieces[count].iov_base = (char *)bytes->p;
        pieces[count++].iov_len = bytes->n;
        e = transport_send(&c->conn.transport, pieces, count, false, &sent);
        if (!e) {
            size_t of_bytes = sent > queued ? sent - queued : 0;
            h1_output_count(c, sent);
            h1_output_take(c, sent - of_bytes);
            *bytes = str_sub(*bytes, of_bytes, bytes->n);
        }
    }
}

enum err h1_output_offer(struct h1_conn *c, struct str bytes)
{
    if (bytes.n >= H1_PASS_BYTES_MIN) {
        h1_output_pass(c, &bytes);
    }
    return bytes.n ? h1_output_add(c, bytes) : ERR_OK;
}

enum err h1_output_flush(struct h1_conn *c)
{
    size_t budget = FLUSH_BUDGET_BYTES;
    enum err e = ERR_OK;
    c->is_flushing = true;
    if (transport_has_unsent(&c->conn.transport)) {
        e = transport_flush(&c->conn.transport);
    }
    while (!e && c->out && !c->is_dead) {
        size_t sent = 0;
        if (c->out->n) {
            e = c->out->chunk ? h1_output_send_memory(c, &sent) : h1_output_send_file(c, &sent);
            if (e) {
                break;
            }
            h1_output_count(c, sent);
        }
        h1_output_take(c, sent);
        if (sent >= budget) {
            e = ERR_AGAIN;
            break;
        }
        budget -= sent;
    }
    if (e && e != ERR_AGAIN) {
        c->is_flushing = false;
        return e;
    }
    struct h1_stream *current = c->current;
    if (!c->is_dead && current && current->x.phase == EXCHANGE_RESPONDED &&
        c->out_bytes < H1_OUT_BYTES_MAX && current->x.service->on_room) {
        current->x.service->on_room(&current->x);
    }
    c->is_flushing = false;
    return c->is_dead || !h1_conn_has_output(c) ? ERR_OK : ERR_AGAIN;
}
