/* SPDX-License-Identifier: Apache-2.0 */
#include "http/websocket_deflate.h"

#include <limits.h>
#include <zlib.h>

#include "base/assert.h"
#include "base/mem.h"

#define BITS_MAX 15
#define LEVEL 1 /* live streams: what it saves is saved with the first level already */
#define MEMORY_LEVEL 8
#define ROOM_BYTES 4096

/* What ends every flushed piece and is left out at the end of a message, RFC 7692 7.2.1. */
static const char flush_end[4] = {0, 0, '\xff', '\xff'};

struct websocket_inflater {
    z_stream z;
    bool is_at_end;
};

struct websocket_deflater {
    z_stream z;
    uint8_t bits;
};

static voidpf zalloc(voidpf opaque, uInt count, uInt size)
{
    (void)opaque;
    return mem_zalloc(count, size);
}

static void zfree(voidpf opaque, voidpf p)
{
    (void)opaque;
    mem_free(p);
}

enum err websocket_inflater_open(struct websocket_pool *pool,
                                 struct websocket_inflater **ret_inflater)
{
    if (pool && pool->inflater_count) {
        *ret_inflater = pool->inflaters[--pool->inflater_count];
        return ERR_OK;
    }
    struct websocket_inflater *i = mem_zalloc(1, sizeof(*i));
    if (!i) {
        return ERR_NOMEM;
    }
    i->z.zalloc = zalloc;
    i->z.zfree = zfree;
    i->is_at_end = true;
    if (inflateInit2(&i->z, -BITS_MAX) != Z_OK) {
        mem_free(i);
        return ERR_NOMEM;
    }
    *ret_inflater = i;
    return ERR_OK;
}

static void inflater_free(struct websocket_inflater *i)
{
    inflateEnd(&i->z);
    mem_free(i);
}

void websocket_inflater_close(struct websocket_pool *pool, struct websocket_inflater *i)
{
    if (!i) {
        return;
    }
    if (pool && pool->inflater_count < WEBSOCKET_POOL_COUNT) {
        inflateReset(&i->z);
        i->is_at_end = true;
        pool->inflaters[pool->inflater_count++] = i;
        return;
    }
    inflater_free(i);
}

enum err websocket_inflate(struct websocket_inflater *i, struct websocket_inflate_step *step)
{
    ASSERT(step->in_bytes <= UINT_MAX && step->out_bytes <= UINT_MAX);
    i->z.next_in = (Bytef *)(uintptr_t)step->in;
    i->z.avail_in = (uInt)step->in_bytes;
    i->z.next_out = (Bytef *)step->out;
    i->z.avail_out = (uInt)step->out_bytes;
    int status;
    bool goes_on;
    do {
        status = inflate(&i->z, Z_SYNC_FLUSH);
        i->is_at_end = status == Z_STREAM_END || (i->z.data_type & 128);
        if (status == Z_STREAM_END) {
            /* RFC 7692 7.2.3.5: a block may say that it is the last one, and more may follow. */
            inflateResetKeep(&i->z);
        }
        goes_on = status == Z_STREAM_END && i->z.avail_in;
    } while (goes_on);
    step->in += step->in_bytes - i->z.avail_in;
    step->in_bytes = i->z.avail_in;
    step->out += step->out_bytes - i->z.avail_out;
    step->out_bytes = i->z.avail_out;
    switch (status) {
    case Z_OK:
    case Z_STREAM_END:
    case Z_BUF_ERROR: /* nothing to do */
        return ERR_OK;
    case Z_MEM_ERROR:
        return ERR_NOMEM;
    default:
        return ERR_SYNTAX;
    }
}

bool websocket_inflater_is_at_end(const struct websocket_inflater *i)
{
    return i->is_at_end;
}

enum err websocket_deflater_open(struct websocket_pool *pool, unsigned bits,
                                 struct websocket_deflater **ret_deflater)
{
    if (pool && bits == BITS_MAX && pool->deflater_count) {
        *ret_deflater = pool->deflaters[--pool->deflater_count];
        return ERR_OK;
    }
    struct websocket_deflater *d = mem_zalloc(1, sizeof(*d));
    if (!d) {
        return ERR_NOMEM;
    }
    d->z.zalloc = zalloc;
    d->z.zfree = zfree;
    d->bits = (uint8_t)bits;
    if (deflateInit2(&d->z, LEVEL, Z_DEFLATED, -(int)bits, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) !=
        Z_OK) {
        mem_free(d);
        return ERR_NOMEM;
    }
    *ret_deflater = d;
    return ERR_OK;
}

static void deflater_free(struct websocket_deflater *d)
{
    deflateEnd(&d->z);
    mem_free(d);
}

void websocket_deflater_close(struct websocket_pool *pool, struct websocket_deflater *d)
{
    if (!d) {
        return;
    }
    if (pool && d->bits == BITS_MAX && pool->deflater_count < WEBSOCKET_POOL_COUNT) {
        deflateReset(&d->z);
        pool->deflaters[pool->deflater_count++] = d;
        return;
    }
    deflater_free(d);
}

enum err websocket_deflate_bytes(struct websocket_deflater *d, struct str bytes, bool is_last,
                                 struct buf *out)
{
    size_t before = out->n;
    ASSERT(bytes.n <= UINT_MAX);
    d->z.next_in = (Bytef *)(uintptr_t)bytes.p;
    d->z.avail_in = (uInt)bytes.n;
    do {
        if (!buf_reserve(out, ROOM_BYTES)) {
            return ERR_NOMEM;
        }
        d->z.next_out = (Bytef *)out->p + out->n;
        d->z.avail_out = ROOM_BYTES;
        int status = deflate(&d->z, is_last ? Z_SYNC_FLUSH : Z_NO_FLUSH);
        ASSERT(status == Z_OK || status == Z_BUF_ERROR);
        out->n += ROOM_BYTES - d->z.avail_out;
    } while (d->z.avail_out == 0);
    if (is_last) {
        if (out->n - before < sizeof(flush_end)) {
            /* RFC 7692 7.2.3.6: nothing since the last flush, an empty message. */
            buf_add_char(out, 0);
            return out->is_failed ? ERR_NOMEM : ERR_OK;
        }
        ASSERT(memcmp(out->p + out->n - sizeof(flush_end), flush_end, sizeof(flush_end)) == 0);
        out->n -= sizeof(flush_end);
    }
    return ERR_OK;
}

void websocket_pool_done(struct websocket_pool *pool)
{
    while (pool->inflater_count) {
        inflater_free(pool->inflaters[--pool->inflater_count]);
    }
    while (pool->deflater_count) {
        deflater_free(pool->deflaters[--pool->deflater_count]);
    }
}

/* ---- negotiation ---- */

/* One of the offered parameters, RFC 7692 7.1. */
enum parameter {
    SERVER_NO_CONTEXT_TAKEOVER,
    CLIENT_NO_CONTEXT_TAKEOVER,
    SERVER_MAX_WINDOW_BITS,
    CLIENT_MAX_WINDOW_BITS,
    PARAMETER_COUNT,
};

static const struct str parameter_names[PARAMETER_COUNT] = {
    STR("server_no_context_takeover"),
    STR("client_no_context_takeover"),
    STR("server_max_window_bits"),
    STR("client_max_window_bits"),
};

/* 8 to 15 without a leading zero (RFC 7692 7.1.2), as a token or quoted; 0 where it is neither. */
static uint8_t window_bits(struct str text)
{
    uint64_t bits;
    if (text.n >= 2 && text.p[0] == '"' && text.p[text.n - 1] == '"') {
        text = str_make(text.p + 1, text.n - 2);
    }
    if (str_to_u64(text, &bits) != ERR_OK || text.p[0] == '0' || bits < 8 || bits > BITS_MAX) {
        return 0;
    }
    return (uint8_t)bits;
}

struct offer {
    bool has[PARAMETER_COUNT];
    uint8_t server_bits;
};

static bool read_parameter(struct str text, struct offer *o)
{
    ptrdiff_t equals = str_index(text, '=');
    struct str name = str_trim(equals < 0 ? text : str_make(text.p, (size_t)equals));
    struct str value =
        equals < 0 ? (struct str){NULL, 0} : str_trim(str_sub(text, (size_t)equals + 1, text.n));
    for (unsigned i = 0; i < PARAMETER_COUNT; i++) {
        if (!str_eq_ci(name, parameter_names[i])) {
            continue;
        }
        if (o->has[i]) {
            return false;
        }
        o->has[i] = true;
        switch ((enum parameter)i) {
        case SERVER_NO_CONTEXT_TAKEOVER:
        case CLIENT_NO_CONTEXT_TAKEOVER:
            return equals < 0;
        case SERVER_MAX_WINDOW_BITS:
            o->server_bits = window_bits(value);
            return o->server_bits != 0;
        case CLIENT_MAX_WINDOW_BITS:
            /* A hint: what is made with a smaller window is read with a larger one as well. */
            return equals < 0 || window_bits(value) != 0;
        case PARAMETER_COUNT:
            break;
        }
    }
    return false;
}

static bool read_offer(struct str text, struct offer *o)
{
    struct str part;
    *o = (struct offer){.server_bits = BITS_MAX};
    if (!str_split(&text, ';', &part) || !str_eq_ci(str_trim(part), STR("permessage-deflate"))) {
        return false;
    }
    while (str_split(&text, ';', &part)) {
        if (!read_parameter(part, o)) {
            return false;
        }
    }
    /* zlib makes no window of 8: what asks for it is not met. */
    return o->server_bits > 8;
}

struct websocket_deflate websocket_deflate_agree(const struct http_fields *fields,
                                                 const struct websocket_deflate_policy *policy)
{
    struct websocket_deflate d = {.server_bits = BITS_MAX};
    const struct http_field *f = http_fields_get(fields, HTTP_FIELD_SEC_WEBSOCKET_EXTENSIONS);
    for (; f; f = http_fields_next(fields, f)) {
        struct str rest = f->value, text;
        while (http_list_next(&rest, &text)) {
            struct offer o;
            if (!read_offer(text, &o)) {
                continue;
            }
            d.is_on = true;
            d.server_no_context_takeover =
                o.has[SERVER_NO_CONTEXT_TAKEOVER] || !policy->server_context_takeover;
            d.client_no_context_takeover =
                o.has[CLIENT_NO_CONTEXT_TAKEOVER] || !policy->client_context_takeover;
            d.has_server_bits = o.has[SERVER_MAX_WINDOW_BITS];
            d.server_bits = o.server_bits;
            return d;
        }
    }
    return d;
}

void websocket_deflate_text(const struct websocket_deflate *d, struct buf *out)
{
    buf_add_str(out, STR("permessage-deflate"));
    if (d->server_no_context_takeover) {
        buf_add_str(out, STR("; server_no_context_takeover"));
    }
    if (d->client_no_context_takeover) {
        buf_add_str(out, STR("; client_no_context_takeover"));
    }
    if (d->has_server_bits) {
        buf_printf(out, "; server_max_window_bits=%u", d->server_bits);
    }
}
