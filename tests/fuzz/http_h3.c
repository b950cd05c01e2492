/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/3 session gets frames that the input describes, right and wrong ones, on several streams.
 * What it makes of them must not depend on how the streams were cut; every stream object ends once;
 * and what is kept of answers stays within its limit.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "http/h3_session.h"
#include "input.h"

#define OPS_MAX 64
#define SCRIPT_BYTES_MAX 32768u
#define CONTROL_ID 2
#define ENCODER_ID 6
#define DECODER_ID 10
#define IDS_MAX 16 /* of streams, from 0 */
#define ANSWER_BYTES 40000u

/* ---- the script: bytes of streams, in the order in which they come ---- */

enum op_kind { OP_BYTES, OP_RESET, OP_STOP, OP_CLOSE, OP_TALK, OP_DATAGRAM };

struct op {
    enum op_kind kind;
    int64_t id;
    size_t at, n; /* in the bytes of the script */
    bool is_end;
};

struct script {
    struct op ops[OPS_MAX];
    size_t count;
    struct buf bytes;
};

static void put_varint(struct buf *b, uint64_t n)
{
    if (n < 64) {
        buf_add_char(b, (char)n);
    } else {
        buf_add_char(b, (char)(0x40 | (n >> 8 & 0x3f)));
        buf_add_char(b, (char)n);
    }
}

static void put_frame(struct buf *b, uint64_t kind, struct str payload)
{
    put_varint(b, kind);
    put_varint(b, payload.n);
    buf_add_str(b, payload);
}

/* A field section of the static table (RFC 9204, appendix A), with faults to choose from. */
static void put_request(struct input *in, struct buf *b)
{
    static const uint8_t methods[] = {17, 20, 18, 15, 16, 19, 21, 63};
    unsigned what = take(in), more = take(in);
    struct buf block;
    buf_init(&block, 0);
    buf_add(&block, "\0", 2);
    buf_add_char(&block, (char)(0xc0 | methods[what & 7]));
    if (!(what & 8)) {
        buf_add_char(&block, (char)(0xc0 | (what & 16 ? 22 : 23))); /* http, https */
    }
    if (!(what & 32)) {
        buf_add_char(&block, (char)(0xc0 | 1)); /* / */
    }
    if (!(what & 64)) {
        buf_add(&block,
                "\x50\x01"
                "a",
                3); /* :authority: a */
    }
    if (what & 128) {
        buf_add(&block, "\x54", 1); /* content-length, by name, with the input's value */
        struct str value = take_text(in);
        value = str_sub(value, 0, value.n < 100 ? value.n : 100);
        buf_add_char(&block, (char)value.n);
        buf_add_str(&block, value);
    }
    if (more & 1) {
        struct str name = take_text(in); /* a literal of both */
        name = str_sub(name, 0, name.n < 6 ? name.n : 6);
        buf_add_char(&block, (char)(0x20 | name.n));
        buf_add_str(&block, name);
        buf_add(&block, "\x01v", 2);
    }
    put_frame(b, 1, buf_str(&block));
    buf_done(&block);
}

static void put_bytes(struct input *in, struct buf *b, unsigned what)
{
    switch (what & 15) {
    case 0:
    case 1:
    case 2:
        put_request(in, b);
        break;
    case 3:
    case 4:
        put_frame(b, 0, take_text(in));
        break;
    case 5:
        put_frame(b, 1, take_text(in)); /* HEADERS as the input has them */
        break;
    case 6:
        put_frame(b, 4, take_text(in)); /* SETTINGS */
        break;
    case 7:
        put_frame(b, 7, take_text(in)); /* GOAWAY */
        break;
    case 8:
        put_varint(b, 0x80 | 0x4000); /* a frame of a kind that is not known */
        put_varint(b, take(in));
        break;
    case 9:
        buf_add_char(b, (char)take(in)); /* the kind of a stream */
        break;
    case 10:
        put_frame(b, take(in), take_text(in));
        break;
    default:
        buf_add_str(b, take_text(in));
        break;
    }
}

static int64_t take_id(unsigned what)
{
    static const int64_t ids[] = {0, 4, 8, 0, 4, CONTROL_ID, ENCODER_ID, DECODER_ID};
    return ids[what >> 4 & 7];
}

static void make_script(struct input *in, struct script *s)
{
    bool is_over[IDS_MAX] = {false};
    while (in->n && s->count < OPS_MAX && s->bytes.n < SCRIPT_BYTES_MAX) {
        unsigned what = take(in), how = take(in);
        struct op *op = &s->ops[s->count];
        *op = (struct op){.kind = OP_BYTES, .id = take_id(what), .at = s->bytes.n};
        bool is_request = (op->id & 3) == 0;
        if ((how & 0xf0) == 0xf0) {
            op->kind = (enum op_kind)(OP_RESET + how % 4);
        }
        if (how >= 0xfc) {
            op->kind = OP_DATAGRAM;
            buf_add_str(&s->bytes, take_text(in));
            op->n = s->bytes.n - op->at;
            s->count++;
            continue;
        }
        if (op->kind != OP_TALK && is_over[op->id]) {
            continue;
        }
        if (op->kind == OP_BYTES) {
            put_bytes(in, &s->bytes, what);
            op->n = s->bytes.n - op->at;
            op->is_end = is_request && how & 1;
        }
        is_over[op->id] |= op->is_end || op->kind == OP_RESET || op->kind == OP_CLOSE;
        s->count++;
    }
}

/* ---- the owner of the session ---- */

struct owner {
    struct h3_session *session;
    struct buf log;
    struct buf bodies[3]; /* of the streams 0, 4 and 8 */
    unsigned live;
    bool is_stopped[IDS_MAX];
};

struct fuzz_stream {
    struct mux_stream stream; /* first */
    size_t left;
};

static struct mux_stream *on_stream(void *context)
{
    struct fuzz_stream *f = mem_zalloc(1, sizeof(*f));
    ((struct owner *)context)->live += f != NULL;
    return f ? &f->stream : NULL;
}

static void on_request(void *context, struct mux_stream *stream)
{
    struct owner *o = context;
    struct response_head head = {.status = 200};
    const struct mux_response response = {
        .head = &head, .body_bytes = ANSWER_BYTES, .has_body = true};
    http_fields_init(&head.fields, NULL, 0);
    buf_printf(&o->log, "%d " STR_FMT " " STR_FMT "\n", (int)stream->id,
               STR_ARG(stream->head.method_text), STR_ARG(stream->head.authority));
    ((struct fuzz_stream *)stream)->left = ANSWER_BYTES;
    if (mux_respond(h3_session_mux(o->session), stream, &response) != ERR_OK) {
        mux_reset(h3_session_mux(o->session), stream, MUX_RESET_INTERNAL);
    }
}

static void on_body(void *context, struct mux_stream *stream, const char *bytes, size_t n)
{
    struct owner *o = context;
    ASSERT(stream->id >= 0 && stream->id <= 8);
    buf_add(&o->bodies[stream->id / 4], bytes, n);
    mux_consume(h3_session_mux(o->session), stream, n);
}

static void on_body_end(void *context, struct mux_stream *stream)
{
    buf_printf(&((struct owner *)context)->log, "%d body\n", (int)stream->id);
}

static void on_answered(void *context, struct mux_stream *stream)
{
    buf_printf(&((struct owner *)context)->log, "%d answered\n", (int)stream->id);
}

static void free_stream(struct owner *o, struct mux_stream *stream)
{
    ASSERT(o->live > 0);
    o->live--;
    arena_done(&stream->arena);
    mem_free(stream);
}

static void on_stream_end(void *context, struct mux_stream *stream, enum err cause)
{
    struct owner *o = context;
    buf_printf(&o->log, "%d %s\n", (int)stream->id, cause ? err_name(cause) : "end");
    free_stream(o, stream);
}

static size_t on_offer(void *context, struct mux_stream *stream, size_t n, bool *ret_is_last)
{
    const struct fuzz_stream *f = (const struct fuzz_stream *)stream;
    (void)context;
    *ret_is_last = f->left <= n;
    return f->left < n ? f->left : n;
}

static enum err on_take(void *context, struct mux_stream *stream, struct buf *out, size_t n)
{
    static const char zeros[H3_CHUNK_BYTES];
    (void)context;
    ((struct fuzz_stream *)stream)->left -= n;
    buf_add(out, zeros, n);
    return ERR_OK;
}

static void on_refused(void *context, enum h1_reject reason, unsigned status)
{
    buf_printf(&((struct owner *)context)->log, "refused %d %u\n", (int)reason, status);
}

static void on_datagram(void *context, struct mux_stream *stream, const char *bytes, size_t n)
{
    ASSERT(n == 0 || bytes);
    buf_printf(&((struct owner *)context)->log, "%d datagram %zu\n", stream ? (int)stream->id : -1,
               n);
}

static void wire_consume(void *context, int64_t id, size_t n)
{
    (void)context;
    (void)id;
    (void)n;
}

static void wire_code(void *context, int64_t id, uint64_t code)
{
    buf_printf(&((struct owner *)context)->log, "%d code %d\n", (int)id, (int)code);
}

/* QUIC brings nothing more of the stream. */
static void wire_stop(void *context, int64_t id, uint64_t code)
{
    struct owner *o = context;
    o->is_stopped[id] = true;
    wire_code(context, id, code);
}

static void wire_wake(void *context)
{
    (void)context;
}

/* Sends what there is, and lets it arrive. */
static void talk(struct owner *o)
{
    for (unsigned rounds = 0;; rounds++) {
        struct h3_offer offer;
        ASSERT(rounds < 10000);
        h3_session_offer(o->session, 1, &offer);
        if (offer.stream_id < 0 || h3_session_is_failed(o->session)) {
            return;
        }
        size_t n = 0;
        for (size_t i = 0; i < offer.count; i++) {
            n += offer.pieces[i].n;
        }
        h3_session_taken(o->session, n);
        ASSERT(h3_session_kept_bytes(o->session) <= H3_KEPT_BYTES_MIN + H3_CHUNK_BYTES);
        h3_session_acknowledged(o->session, offer.stream_id, n);
    }
}

/* ---- both runs ---- */

static void run_op(struct owner *o, const struct script *s, const struct op *op, size_t cut)
{
    const uint8_t *p = op->n ? (const uint8_t *)s->bytes.p + op->at : NULL;
    size_t at = 0;
    switch (op->kind) {
    case OP_BYTES:
        if (o->is_stopped[op->id]) {
            break;
        }
        do {
            size_t left = op->n - at, n = cut && cut < left ? cut : left;
            h3_session_recv(o->session, 1, op->id, n ? p + at : NULL, n, op->is_end && n == left);
            at += n;
        } while (at < op->n && !o->is_stopped[op->id]);
        break;
    case OP_RESET:
        h3_session_peer_reset(o->session, 1, op->id);
        break;
    case OP_STOP:
        h3_session_peer_stop(o->session, 1, op->id);
        break;
    case OP_CLOSE:
        h3_session_closed(o->session, op->id, H3_NO_ERROR);
        break;
    case OP_DATAGRAM:
        h3_session_recv_datagram(o->session, 1, p, op->n);
        break;
    case OP_TALK:
        break;
    }
    talk(o);
}

static void run(const struct script *s, size_t cut, struct owner *o)
{
    const struct mux_limits limits = {.header_bytes_max = 4096,
                                      .header_count_max = 20,
                                      .uri_bytes_max = 1024,
                                      .stream_count_max = 100};
    const struct mux_events events = {on_stream,   on_request,    on_body,  on_body_end,
                                      on_answered, on_stream_end, on_offer, on_take,
                                      on_refused,  on_datagram,   NULL,     o};
    const struct h3_wire wire = {wire_consume, wire_code, wire_stop, wire_wake, o};
    *o = (struct owner){.live = 0};
    buf_init(&o->log, 0);
    for (size_t i = 0; i < COUNT_OF(o->bodies); i++) {
        buf_init(&o->bodies[i], 0);
    }
    if (h3_session_create(&limits, &events, &wire, &o->session) != ERR_OK ||
        h3_session_bind(o->session, 3, 7, 11) != ERR_OK) {
        abort();
    }
    for (size_t i = 0; i < s->count && !h3_session_is_failed(o->session); i++) {
        run_op(o, s, &s->ops[i], cut);
    }
    buf_printf(&o->log, "failed %d code %d abuse %d ready %d\n",
               (int)h3_session_is_failed(o->session), (int)h3_session_code(o->session),
               (int)h3_session_abuse(o->session), (int)h3_session_is_ready(o->session));
    struct list *streams = &h3_session_mux(o->session)->streams;
    while (!list_is_empty(streams)) {
        struct mux_stream *stream = CONTAINER_OF(streams->next, struct mux_stream, link);
        list_remove(&stream->link);
        free_stream(o, stream);
    }
    h3_session_destroy(o->session);
    ASSERT(o->live == 0);
}

static void owner_done(struct owner *o)
{
    buf_done(&o->log);
    for (size_t i = 0; i < COUNT_OF(o->bodies); i++) {
        buf_done(&o->bodies[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    struct script s = {.count = 0};
    struct owner whole, pieces;
    buf_init(&s.bytes, 0);
    size_t cut = 1 + take(&in) % 7;
    make_script(&in, &s);
    run(&s, 0, &whole);
    run(&s, cut, &pieces);
    ASSERT(str_eq(buf_str(&whole.log), buf_str(&pieces.log)));
    for (size_t i = 0; i < COUNT_OF(whole.bodies); i++) {
        ASSERT(str_eq(buf_str(&whole.bodies[i]), buf_str(&pieces.bodies[i])));
    }
    owner_done(&whole);
    owner_done(&pieces);
    buf_done(&s.bytes);
    return 0;
}
