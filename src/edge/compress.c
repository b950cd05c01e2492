/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/compress.h"

#include <setjmp.h>
#include <stdalign.h>

/* The constructor that takes an allocator stands in the static part of the header, but has been
 * exported unchanged since 1.3. */
#define ZSTD_STATIC_LINKING_ONLY
#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"

#define COMPRESS_MAGIC 0x636f6d70u
#define OUT_BYTES_MIN 64

/* Windows: 2 to the power of these. RFC 9659 allows zstd 8 MB (23); streams made on the fly take
 * less, because every open response holds one. */
#define ZSTD_WINDOW_LOG 20
#define BROTLI_WINDOW_LOG 19
#define GZIP_WINDOW_LOG 15
#define GZIP_MEMORY_LEVEL 8
#define GZIP_WRAPPER 16

_Static_assert(ZSTD_WINDOW_LOG <= 23, "browsers refuse larger windows");

/*
 * libbrotlienc as Debian builds it calls exit() when an allocation fails, which would end the
 * server. So the allocator never returns NULL to a running encoder: it jumps back to the call,
 * and the encoder is never touched again. Nothing is lost by that, because every block of the
 * encoder is in this list and the encoder holds nothing else.
 */
struct compress_brotli {
    BrotliEncoderState *state;
    struct list blocks;
    jmp_buf escape;
    bool can_escape; /* inside a call that has set `escape` */
    bool is_broken;  /* it was used */
};

struct compress_block {
    alignas(max_align_t) struct list link;
};

struct compress {
    uint32_t magic;
    enum compress_coding coding;
    bool is_ended;
    bool is_failed;
    union {
        z_stream gzip;
        struct compress_brotli brotli;
        ZSTD_CCtx *zstd;
    };
};

static void *compress_alloc(void *opaque, size_t size)
{
    (void)opaque;
    return mem_alloc(size);
}

static void compress_free(void *opaque, void *p)
{
    (void)opaque;
    mem_free(p);
}

static voidpf compress_zalloc(voidpf opaque, uInt count, uInt size)
{
    (void)opaque;
    return mem_zalloc(count, size);
}

static int compress_clamp(int level, int low, int high)
{
    return level < low ? low : level > high ? high : level;
}

/* The smallest window that holds the body, between 2^low and 2^high. */
static int compress_window_log(uint64_t body_bytes, int low, int high)
{
    if (body_bytes == 0) {
        return high;
    }
    int log = low;
    while (log < high && (UINT64_C(1) << log) < body_bytes) {
        log++;
    }
    return log;
}

static enum err compress_open_gzip(struct compress *c, const struct compress_options *settings)
{
    c->gzip.zalloc = compress_zalloc;
    c->gzip.zfree = compress_free;
    /* Not below 9: zlib has a known defect with windows of 256 bytes. */
    int window = compress_window_log(settings->body_bytes, 9, GZIP_WINDOW_LOG);
    int status = deflateInit2(&c->gzip, compress_clamp(settings->level, 1, 9), Z_DEFLATED,
                              window + GZIP_WRAPPER, GZIP_MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
    return status == Z_OK ? ERR_OK : ERR_NOMEM;
}

static void *compress_brotli_alloc(void *opaque, size_t size)
{
    struct compress_brotli *b = opaque;
    struct compress_block *block = size <= SIZE_MAX / 2 ? mem_alloc(sizeof(*block) + size) : NULL;
    if (block) {
        list_push_back(&b->blocks, &block->link);
        return block + 1;
    }
    if (b->can_escape) {
        longjmp(b->escape, 1);
    }
    return NULL;
}

static void compress_brotli_free(void *opaque, void *p)
{
    (void)opaque;
    if (p) {
        struct compress_block *block = (struct compress_block *)p - 1;
        list_remove(&block->link);
        mem_free(block);
    }
}

static void compress_close_brotli(struct compress_brotli *b)
{
    if (b->state && !b->is_broken) {
        BrotliEncoderDestroyInstance(b->state);
    }
    LIST_FOR_EACH_SAFE(at, next, &b->blocks)
    {
        mem_free(CONTAINER_OF(at, struct compress_block, link));
    }
}

static enum err compress_open_brotli(struct compress *c, const struct compress_options *settings)
{
    struct compress_brotli *b = &c->brotli;
    list_init(&b->blocks);
    b->state = BrotliEncoderCreateInstance(compress_brotli_alloc, compress_brotli_free, b);
    if (!b->state) {
        return ERR_NOMEM;
    }
    uint32_t hint = settings->body_bytes > (1u << 30) ? 1u << 30 : (uint32_t)settings->body_bytes;
    int window = compress_window_log(settings->body_bytes, 16, BROTLI_WINDOW_LOG);
    bool is_set = BrotliEncoderSetParameter(b->state, BROTLI_PARAM_QUALITY,
                                            (uint32_t)compress_clamp(settings->level, 0, 11)) &&
                  BrotliEncoderSetParameter(b->state, BROTLI_PARAM_LGWIN, (uint32_t)window) &&
                  BrotliEncoderSetParameter(b->state, BROTLI_PARAM_SIZE_HINT, hint);
    return is_set ? ERR_OK : ERR_INTERNAL;
}

static enum err compress_open_zstd(struct compress *c, const struct compress_options *settings)
{
    c->zstd = ZSTD_createCCtx_advanced((ZSTD_customMem){compress_alloc, compress_free, NULL});
    if (!c->zstd) {
        return ERR_NOMEM;
    }
    int window = compress_window_log(settings->body_bytes, 10, ZSTD_WINDOW_LOG);
    int level = compress_clamp(settings->level, 1, 19);
    bool is_set = !ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, level)) &&
                  !ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_windowLog, window));
    return is_set ? ERR_OK : ERR_INTERNAL;
}

enum err compress_create(const struct compress_options *settings, struct compress **ret_compress)
{
    struct compress *c = mem_zalloc(1, sizeof(*c));
    if (!c) {
        return ERR_NOMEM;
    }
    c->magic = COMPRESS_MAGIC;
    c->coding = settings->coding;
    enum err e = ERR_INTERNAL;
    switch (settings->coding) {
    case COMPRESS_GZIP:
        e = compress_open_gzip(c, settings);
        break;
    case COMPRESS_BROTLI:
        e = compress_open_brotli(c, settings);
        break;
    case COMPRESS_ZSTD:
        e = compress_open_zstd(c, settings);
        break;
    }
    if (e) {
        compress_destroy(c);
        return e;
    }
    *ret_compress = c;
    return ERR_OK;
}

void compress_destroy(struct compress *c)
{
    if (!c) {
        return;
    }
    ASSERT_MAGIC(c, COMPRESS_MAGIC);
    switch (c->coding) {
    case COMPRESS_GZIP:
        deflateEnd(&c->gzip);
        break;
    case COMPRESS_BROTLI:
        compress_close_brotli(&c->brotli);
        break;
    case COMPRESS_ZSTD:
        ZSTD_freeCCtx(c->zstd);
        break;
    }
    c->magic = 0;
    mem_free(c);
}

/*
 * One call each into the libraries: from *input to `room` bytes at `out`. They set *ret_written
 * and whether the step is complete.
 */
static enum err compress_step_gzip(struct compress *c, enum compress_step step, struct str *input,
                                   char *out, size_t room, size_t *ret_written, bool *ret_is_done)
{
    static const int flush[] = {Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH};
    uInt given = input->n > UINT32_MAX ? UINT32_MAX : (uInt)input->n;
    uInt space = room > UINT32_MAX ? UINT32_MAX : (uInt)room;
    c->gzip.next_in = (z_const Bytef *)(uintptr_t)input->p;
    c->gzip.avail_in = given;
    c->gzip.next_out = (Bytef *)out;
    c->gzip.avail_out = space;
    int status = deflate(&c->gzip, given < input->n ? Z_NO_FLUSH : flush[step]);
    *input = str_sub(*input, given - c->gzip.avail_in, input->n);
    *ret_written = space - c->gzip.avail_out;
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
        return ERR_INTERNAL;
    }
    *ret_is_done =
        step == COMPRESS_END ? status == Z_STREAM_END : input->n == 0 && c->gzip.avail_out > 0;
    return ERR_OK;
}

/* One call of the encoder that survives lack of memory. False: it is broken. */
static bool compress_call_brotli(struct compress_brotli *b, BrotliEncoderOperation operation,
                                 struct str *input, uint8_t *out, size_t *room)
{
    const uint8_t *next_in = (const uint8_t *)input->p;
    if (setjmp(b->escape) != 0) {
        b->can_escape = false;
        b->is_broken = true;
        return false;
    }
    b->can_escape = true;
    size_t given = input->n;
    bool is_good = BrotliEncoderCompressStream(b->state, operation, &input->n, &next_in, room, &out,
                                               NULL) != 0;
    b->can_escape = false;
    input->p = given > 0 ? (const char *)next_in : input->p;
    return is_good;
}

static enum err compress_step_brotli(struct compress *c, enum compress_step step, struct str *input,
                                     char *out, size_t room, size_t *ret_written, bool *ret_is_done)
{
    static const BrotliEncoderOperation operation[] = {
        BROTLI_OPERATION_PROCESS, BROTLI_OPERATION_FLUSH, BROTLI_OPERATION_FINISH};
    struct compress_brotli *b = &c->brotli;
    size_t left = room;
    if (!compress_call_brotli(b, operation[step], input, (uint8_t *)out, &left)) {
        return ERR_NOMEM; /* the arguments are ours, so memory is all that can fail */
    }
    *ret_written = room - left;
    *ret_is_done = step == COMPRESS_END ? BrotliEncoderIsFinished(b->state) != 0
                                        : input->n == 0 && !BrotliEncoderHasMoreOutput(b->state);
    return ERR_OK;
}

static enum err compress_step_zstd(struct compress *c, enum compress_step step, struct str *input,
                                   char *out, size_t room, size_t *ret_written, bool *ret_is_done)
{
    static const ZSTD_EndDirective directive[] = {ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end};
    ZSTD_inBuffer in = {input->p, input->n, 0};
    ZSTD_outBuffer to = {out, room, 0};
    size_t left = ZSTD_compressStream2(c->zstd, &to, &in, directive[step]);
    if (ZSTD_isError(left)) {
        return ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation ? ERR_NOMEM : ERR_INTERNAL;
    }
    *input = str_sub(*input, in.pos, input->n);
    *ret_written = to.pos;
    *ret_is_done = input->n == 0 && (step == COMPRESS_FEED ? to.pos < room : left == 0);
    return ERR_OK;
}

enum err compress_run(struct compress *c, enum compress_step step, struct str *input,
                      size_t out_bytes_max, struct buf *out, bool *ret_is_done)
{
    ASSERT_MAGIC(c, COMPRESS_MAGIC);
    ASSERT(out_bytes_max >= OUT_BYTES_MIN);
    if (c->is_ended || c->is_failed) {
        return ERR_CLOSED;
    }
    if (!buf_reserve(out, out_bytes_max)) {
        bool is_bound = out->bytes_max && out_bytes_max > out->bytes_max - out->n;
        c->is_failed = true;
        return is_bound ? ERR_LIMIT : ERR_NOMEM;
    }
    size_t written = 0;
    bool is_done = false;
    enum err e = ERR_INTERNAL;
    char *to = out->p + out->n;
    switch (c->coding) {
    case COMPRESS_GZIP:
        e = compress_step_gzip(c, step, input, to, out_bytes_max, &written, &is_done);
        break;
    case COMPRESS_BROTLI:
        e = compress_step_brotli(c, step, input, to, out_bytes_max, &written, &is_done);
        break;
    case COMPRESS_ZSTD:
        e = compress_step_zstd(c, step, input, to, out_bytes_max, &written, &is_done);
        break;
    }
    if (e) {
        c->is_failed = true;
        return e;
    }
    out->n += written;
    c->is_ended = step == COMPRESS_END && is_done;
    *ret_is_done = is_done;
    return ERR_OK;
}

int compress_level(enum compress_coding coding, unsigned load_permille)
{
    int high = coding == COMPRESS_BROTLI ? 5 : 6;
    if (load_permille <= 300) {
        return high;
    }
    if (load_permille >= 900) {
        return 1;
    }
    return high - (int)((load_permille - 300) * (unsigned)(high - 1) / 600);
}

struct str compress_coding_name(enum compress_coding coding)
{
    switch (coding) {
    case COMPRESS_GZIP:
        return STR("gzip");
    case COMPRESS_BROTLI:
        return STR("br");
    case COMPRESS_ZSTD:
        return STR("zstd");
    }
    return STR("");
}
