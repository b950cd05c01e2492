/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/2 session of a client gets frames that the input describes, right and wrong ones, and an
 * owner that asks, cancels and takes answers at any time, from within events too. What comes out
 * must not depend on how the bytes were cut; every stream object ends once, and none twice; what
 * the owner keeps is counted; and each byte of DATA gives the connection its credit, or is
 * withheld.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "h2_frames.h"
#include "http/h2_session_int.h"

#define OPS_MAX 200
#define SCRIPT_BYTES_MAX 30000u /* below what a window update is worth: those depend on cuts */
#define STREAMS_MAX 64
#define MISCHIEF_COUNT 8
#define MISCHIEF_MAX 200

/* ---- the script ---- */

enum op_kind { OP_BYTES, OP_PULL, OP_ACT, OP_TIME };

struct op {
    enum op_kind kind;
    unsigned value;
    size_t at, n; /* in the bytes of the script */
};

struct script {
    struct op ops[OPS_MAX];
    size_t count;
    struct buf bytes;
    uint8_t mischief[MISCHIEF_COUNT]; /* what the owner does within events, in turn */
    unsigned mode;
};

static void put_answer(struct input *in, struct buf *out, uint32_t id)
{
    static const char *const status[] = {"200", "204", "103", "304", "100", "101", "99", "404"};
    static const char *const more[] = {"",
                                       "content-length: 5\n",
                                       "content-length: 0\n",
                                       "set-cookie: a\nset-cookie: b\n",
                                       "connection: close\n",
                                       "A: b\n",
                                       "a: b\n:status: 200\n",
                                       "x-a: b\n"};
    unsigned how = take(in);
    char text[128];
    snprintf(text, sizeof(text), ":status: %s\n%s", status[how >> 1 & 7], more[how >> 4 & 7]);
    wire_headers(out, id, how & 1, text);
}

static void put_goaway(struct input *in, struct buf *out)
{
    const char payload[8] = {0, 0, 0, (char)take(in), 0, 0, 0, (char)take(in)};
    wire_put(out, WIRE_GOAWAY, 0, 0, str_make(payload, sizeof(payload)));
}

static void put_bytes(struct input *in, struct buf *out, unsigned what)
{
    uint32_t id = (what >> 4 & 7) * 2 + (what & 0x80 ? take(in) : 1);
    unsigned flags;
    switch (what & 15) {
    case 0:
    case 1:
        put_answer(in, out, id);
        break;
    case 2:
        flags = take(in);
        wire_put(out, flags & 0x80 ? WIRE_CONTINUATION : WIRE_HEADERS, flags & 0x2d, id,
                 take_text(in));
        break;
    case 3:
    case 4:
        put_data(in, out, id);
        break;
    case 5:
        wire_headers(out, id, WIRE_END_STREAM, take(in) & 1 ? "x: y\n" : "content-length: 1\n");
        break;
    case 6:
        wire_put_u32(out, WIRE_RST_STREAM, id, take(in));
        break;
    case 7:
        put_setting(in, out);
        break;
    case 8:
        put_update(in, out, id);
        break;
    case 9:
        put_goaway(in, out);
        break;
    case 10:
        flags = take(in);
        wire_put(out, flags, take(in), id, take_text(in));
        break;
    default:
        buf_add_str(out, take_text(in));
        break;
    }
}

static void make_script(struct input *in, struct script *s)
{
    s->mode = take(in);
    for (unsigned i = 0; i < MISCHIEF_COUNT; i++) {
        s->mischief[i] = (uint8_t)take(in);
    }
    while (in->n && s->count < OPS_MAX && s->bytes.n < SCRIPT_BYTES_MAX) {
        struct op *op = &s->ops[s->count++];
        unsigned what = take(in);
        *op = (struct op){.kind = OP_BYTES, .at = s->bytes.n};
        if ((what & 15) < 12) {
            put_bytes(in, &s->bytes, what);
        } else if ((what & 15) < 15) {
            op->kind = (what & 15) == 12 ? OP_PULL : OP_ACT;
            op->value = take(in);
        } else {
            op->kind = OP_TIME;
        }
        op->n = s->bytes.n - op->at;
    }
}

/* ---- the owner of the session ---- */

struct owner {
    struct h2_pool pool;
    struct h2_session *session;
    const struct script *script;
    struct buf log;
    struct buf out;
    uint64_t now_ms;
    unsigned live;
    unsigned begun;
    unsigned mischief_at;
    size_t hoarded; /* body bytes that were not given back */
};

struct fuzz_stream {
    struct mux_stream stream; /* first */
    struct buf body;
    size_t hoarded;
    size_t left;         /* of the request */
    bool is_held;        /* nothing is offered */
    bool has_head;       /* the last one came */
    bool has_body_ended; /* so nothing more may */
};

static struct fuzz_stream *owner_pick(const struct owner *o, unsigned n)
{
    struct list *streams = h2_session_streams(o->session);
    size_t count = h2_session_stream_count(o->session);
    struct list *at = streams->next;
    for (size_t i = count ? n % count : 0; i > 0; i--) {
        at = at->next;
    }
    return count ? (struct fuzz_stream *)CONTAINER_OF(at, struct mux_stream, link) : NULL;
}

static void owner_ask(struct owner *o, unsigned how)
{
    static const size_t sizes[] = {0, 1, 100, 70000};
    static const enum http_method methods[] = {HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_CONNECT};
    struct http_field v[4];
    struct http_fields fields;
    enum http_method method = methods[how >> 2 & 3];
    http_fields_init(&fields, v, 4);
    struct str value = str_make("abcdefghijklmnop", how >> 4);
    enum err e = http_fields_add(&fields, STR("X-Own"), value);
    struct fuzz_stream *f = mem_zalloc(1, sizeof(*f));
    if (!f || e) {
        abort();
    }
    f->left = sizes[how & 3];
    f->is_held = how & 0x40;
    const struct h2_request r = {.method = http_method_text(method),
                                 .method_id = method,
                                 .scheme = STR("http"),
                                 .authority = STR("a"),
                                 .target = STR("/"),
                                 .protocol = method == HTTP_CONNECT ? STR("websocket") : STR(""),
                                 .fields = &fields,
                                 .body_bytes = how & 0x80 ? MUX_LENGTH_UNKNOWN : f->left,
                                 .has_body = f->left > 0 || method == HTTP_CONNECT};
    uint32_t room = h2_session_room(o->session);
    e = o->begun < STREAMS_MAX ? h2_session_request(o->session, &r, &f->stream) : ERR_LIMIT;
    ASSERT(e == ERR_OK || e == ERR_LIMIT);
    ASSERT(!e || room == 0 || o->begun == STREAMS_MAX);
    if (e) {
        mem_free(f);
        return;
    }
    buf_init(&f->body, 0);
    o->live++;
    o->begun++;
}

static void owner_act(struct owner *o, unsigned what)
{
    if ((what & 7) < 3) {
        owner_ask(o, (what >> 3 ^ what << 3) & 0xff);
        return;
    }
    struct fuzz_stream *f = owner_pick(o, what >> 4);
    if (!f) {
        return;
    }
    switch (what & 7) {
    case 3:
        h2_session_reset(o->session, &f->stream, what & 8 ? H2_CANCEL : H2_NO_ERROR);
        break;
    case 4:
        f->is_held = false;
        h2_session_resume(o->session, &f->stream);
        break;
    case 5:
        h2_session_ping(o->session);
        break;
    default:
        o->hoarded -= f->hoarded;
        h2_session_consume(o->session, &f->stream, f->hoarded);
        f->hoarded = 0;
        break;
    }
}

static void owner_mischief(struct owner *o)
{
    if (o->mischief_at < MISCHIEF_MAX) {
        owner_act(o, o->script->mischief[o->mischief_at++ % MISCHIEF_COUNT]);
    }
}

static void on_response(void *context, struct mux_stream *stream)
{
    struct owner *o = context;
    struct fuzz_stream *f = (struct fuzz_stream *)stream;
    ASSERT(!f->has_head && !f->has_body_ended);
    ASSERT(stream->status >= 100 && stream->status < 600 && stream->status != 101);
    ASSERT((stream->status >= 200) == stream->is_begun);
    f->has_head = stream->is_begun;
    buf_printf(&o->log, "%d %u %u\n", (int)stream->id, (unsigned)stream->status,
               stream->head.fields.n);
    owner_mischief(o);
}

static void on_body(void *context, struct mux_stream *stream, const char *bytes, size_t n)
{
    struct owner *o = context;
    struct fuzz_stream *f = (struct fuzz_stream *)stream;
    ASSERT(f->has_head && !f->has_body_ended && n > 0 && !stream->has_no_content);
    buf_add(&f->body, bytes, n);
    if (o->script->mode & 2) {
        o->hoarded += n;
        f->hoarded += n;
    } else {
        h2_session_consume(o->session, stream, n);
    }
}

/* How much of a body came before it proved wrong may depend on cuts, what is complete may not. */
static void on_body_end(void *context, struct mux_stream *stream)
{
    struct owner *o = context;
    struct fuzz_stream *f = (struct fuzz_stream *)stream;
    ASSERT(f->has_head && !f->has_body_ended);
    ASSERT(stream->has_no_content || stream->content_length == MUX_LENGTH_UNKNOWN ||
           stream->content_length == f->body.n);
    f->has_body_ended = true;
    buf_printf(&o->log, "%d body ", (int)stream->id);
    buf_add_str(&o->log, buf_str(&f->body));
    buf_printf(&o->log, " %u\n", stream->trailers.n);
    owner_mischief(o);
}

static void on_answered(void *context, struct mux_stream *stream)
{
    struct owner *o = context;
    buf_printf(&o->log, "%d sent\n", (int)stream->id);
    owner_mischief(o);
}

static void free_stream(struct owner *o, struct mux_stream *stream)
{
    ASSERT(o->live > 0);
    o->live--;
    buf_done(&((struct fuzz_stream *)stream)->body);
    arena_done(&stream->arena);
    mem_free(stream);
}

static void on_stream_end(void *context, struct mux_stream *stream, enum err cause)
{
    struct owner *o = context;
    struct fuzz_stream *f = (struct fuzz_stream *)stream;
    size_t hoarded = f->hoarded;
    ASSERT(cause || f->has_body_ended);
    ASSERT(!stream->is_unprocessed || (cause && !f->has_head));
    buf_printf(&o->log, "%d %s %d\n", (int)stream->id, cause ? err_name(cause) : "end",
               stream->is_unprocessed);
    o->hoarded -= hoarded;
    h2_session_consume(o->session, NULL, hoarded);
    free_stream(o, stream);
    owner_mischief(o);
}

static size_t on_offer(void *context, struct mux_stream *stream, size_t n, bool *ret_is_last)
{
    struct owner *o = context;
    struct fuzz_stream *f = (struct fuzz_stream *)stream;
    owner_mischief(o);
    *ret_is_last = !f->is_held && f->left <= n;
    return f->is_held ? 0 : f->left < n ? f->left : n;
}

static enum err on_take(void *context, struct mux_stream *stream, struct buf *out, size_t n)
{
    static const char zeros[H2_FRAME_BYTES_MAX];
    struct owner *o = context;
    ASSERT((int64_t)n <= o->session->send_window);
    ASSERT((int64_t)n <= h2_stream_of(stream)->send_window);
    ((struct fuzz_stream *)stream)->left -= n;
    buf_add(out, zeros, n);
    owner_mischief(o);
    return o->script->mode & 4 && n == 100 ? ERR_EOF : ERR_OK;
}

static void on_refused(void *context, enum h1_reject reason, unsigned status)
{
    buf_printf(&((struct owner *)context)->log, "refused %d %u\n", (int)reason, status);
}

/* ---- what must hold ---- */

static void check_credit(const struct owner *o)
{
    const struct h2_session *s = o->session;
    int64_t coming = s->head_n == H2_FRAME_HEAD_BYTES && s->frame.type == H2_DATA ? s->left : 0;
    ASSERT(s->is_failed ||
           s->recv_window + s->consumed + coming + s->withheld_bytes == s->recv_max);
    ASSERT(s->is_failed || s->kept_bytes == o->hoarded);
}

static void on_field(void *context, const struct hpack_field *f)
{
    unsigned *count = context;
    ASSERT(f->name.n > 0);
    (*count)++;
}

/* Streams begin in order, with one block each, and say nothing behind their end. */
static void check_output(struct str got)
{
    bool is_sent[STREAMS_MAX * 2 + 2] = {false}, is_reset[STREAMS_MAX * 2 + 2] = {false};
    uint32_t last = 0;
    struct hpack_decoder decoder;
    struct buf scratch;
    struct wire_frame f;
    hpack_decoder_init(&decoder);
    buf_init(&scratch, 0);
    ASSERT(got.n == 0 || str_starts_with(got, STR(WIRE_PREFACE)));
    got = str_sub(got, sizeof(WIRE_PREFACE) - 1, got.n);
    while (wire_next(&got, &f)) {
        ASSERT(f.type <= WIRE_CONTINUATION && f.type != WIRE_PUSH_PROMISE);
        ASSERT(f.payload.n <= H2_FRAME_BYTES_MAX && f.id < COUNT_OF(is_sent));
        if (f.type == WIRE_HEADERS) {
            unsigned fields = 0;
            enum err e = hpack_decode(&decoder, (const uint8_t *)f.payload.p, f.payload.n, &scratch,
                                      on_field, &fields);
            ASSERT(e == ERR_OK && fields >= 5);
            ASSERT(f.id == (last ? last + 2 : 1));
            last = f.id;
        }
        if (f.type == WIRE_DATA || f.type == WIRE_RST_STREAM) {
            ASSERT(f.id <= last && f.id % 2 == 1 && !is_reset[f.id]);
        }
        if (f.type == WIRE_DATA) {
            ASSERT(!is_sent[f.id]);
            is_sent[f.id] = f.flags & WIRE_END_STREAM;
        }
        is_reset[f.id] |= f.type == WIRE_RST_STREAM;
    }
    ASSERT(got.n == 0);
    hpack_decoder_done(&decoder);
    buf_done(&scratch);
}

/* ---- both runs ---- */

static void pull(struct owner *o, size_t max)
{
    for (unsigned rounds = 0; h2_session_wants_output(o->session); rounds++) {
        size_t before = o->out.n;
        ASSERT(rounds < 100000);
        enum err e = h2_session_pull(o->session, o->now_ms, &o->out, before + max);
        ASSERT(e == ERR_OK);
        if (o->out.n == before) {
            break;
        }
    }
    ASSERT(o->session->is_failed || o->session->queue.n == 0);
    ASSERT(list_is_empty(&o->session->due) || o->session->is_failed);
}

static void run_op(struct owner *o, const struct op *op, size_t cut)
{
    struct str bytes = str_sub(buf_str(&o->script->bytes), op->at, op->n);
    switch (op->kind) {
    case OP_BYTES:
        for (size_t at = 0, n; at < op->n; at += n) {
            n = cut && cut < op->n - at ? cut : op->n - at;
            enum err e = h2_session_recv(o->session, o->now_ms, bytes.p + at, n);
            ASSERT(e == ERR_OK);
            check_credit(o);
        }
        break;
    case OP_PULL:
        pull(o, op->value * 64 + 1);
        break;
    case OP_ACT:
        owner_act(o, op->value);
        break;
    case OP_TIME:
        o->now_ms += H2_ABUSE_WINDOW_MS;
        break;
    }
    check_credit(o);
}

static void run(const struct script *s, size_t cut, struct owner *o)
{
    static const char settings[9] = {0, 0, 0, WIRE_SETTINGS};
    const struct mux_limits limits = {
        .header_bytes_max = 1024, .header_count_max = 8, .stream_count_max = 6};
    const struct mux_events events = {.on_body = on_body,
                                      .on_body_end = on_body_end,
                                      .on_answered = on_answered,
                                      .on_stream_end = on_stream_end,
                                      .on_offer = on_offer,
                                      .on_take = on_take,
                                      .on_refused = on_refused,
                                      .on_response = on_response,
                                      .context = o};
    *o = (struct owner){.script = s, .now_ms = 1000};
    buf_init(&o->log, 0);
    buf_init(&o->out, 0);
    h2_pool_init(&o->pool);
    if (h2_session_create_client(&limits, &events, &o->pool, &o->session) != ERR_OK) {
        abort();
    }
    if (!(s->mode & 8) && h2_session_recv(o->session, 1000, settings, sizeof(settings))) {
        abort();
    }
    for (size_t i = 0; i < s->count; i++) {
        run_op(o, &s->ops[i], cut);
    }
    pull(o, 65536);
    check_credit(o);
    buf_printf(&o->log, "over %d broken %d abuse %d closing %d room %u\n",
               (int)h2_session_is_over(o->session), (int)h2_session_is_broken(o->session),
               (int)h2_session_abuse(o->session), (int)h2_session_is_closing(o->session),
               (unsigned)h2_session_room(o->session));
    struct list *streams = h2_session_streams(o->session);
    while (!list_is_empty(streams)) {
        struct mux_stream *stream = CONTAINER_OF(streams->next, struct mux_stream, link);
        list_remove(&stream->link);
        free_stream(o, stream);
    }
    h2_session_destroy(o->session);
    h2_pool_done(&o->pool);
    ASSERT(o->live == 0);
    check_output(buf_str(&o->out));
}

static void owner_done(struct owner *o)
{
    buf_done(&o->log);
    buf_done(&o->out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    struct script s = {.count = 0};
    struct owner whole, pieces;
    buf_init(&s.bytes, 0);
    size_t cut = 1 + take(&in) % 11;
    make_script(&in, &s);
    run(&s, 0, &whole);
    run(&s, cut, &pieces);
    ASSERT(str_eq(buf_str(&whole.log), buf_str(&pieces.log)));
    ASSERT(str_eq(buf_str(&whole.out), buf_str(&pieces.out)));
    owner_done(&whole);
    owner_done(&pieces);
    buf_done(&s.bytes);
    return 0;
}
