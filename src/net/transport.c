/* SPDX-License-Identifier: Apache-2.0 */
#include "net/transport.h"

#include "base/assert.h"
#include "base/mem.h"
#include "os/file.h"

#define SEND_BYTES_MAX 65536u /* plain bytes that are encrypted at once */
#define SEND_PIECES_MAX 64

enum err transport_init(struct transport *t, struct loop *loop, int fd,
                        struct transport_scratch *scratch, loop_ready_fn on_ready)
{
    *t = (struct transport){.loop = loop, .scratch = scratch};
    return loop_watch_later(loop, &t->watch, fd, on_ready);
}

/* Gives the socket what `bytes` holds; what it does not take becomes unsent. */
static enum err transport_put(struct transport *t, const struct buf *bytes, bool has_more)
{
    size_t sent = 0;
    enum err e = ERR_OK;
    while (sent < bytes->n && !e) {
        struct iovec piece = {bytes->p + sent, bytes->n - sent};
        size_t n;
        e = socket_send(t->watch.fd, &piece, 1, has_more, &n);
        if (!e) {
            sent += n;
        }
    }
    t->sent_bytes += sent;
    if (e && e != ERR_AGAIN) {
        return e;
    }
    buf_add(&t->unsent, bytes->p + sent, bytes->n - sent);
    return t->unsent.is_failed ? ERR_NOMEM : ERR_OK;
}

/* What TLS itself had to say (handshake, alerts, tickets). */
static enum err transport_put_scratch(struct transport *t, bool has_more)
{
    struct buf *out = &t->scratch->out;
    if (out->n == 0) {
        return ERR_OK;
    }
    enum err e = ERR_OK;
    if (t->unsent.n) {
        buf_add(&t->unsent, out->p, out->n);
        e = t->unsent.is_failed ? ERR_NOMEM : ERR_OK;
    } else {
        e = transport_put(t, out, has_more);
    }
    buf_clear(out);
    return e;
}

void transport_done(struct transport *t, bool is_orderly)
{
    if (t->tls) {
        if (is_orderly) {
            buf_clear(&t->scratch->out);
            tls_conn_close(t->tls, &t->scratch->out);
            /* Best effort: the connection ends here either way. */
            enum err ignored = transport_put_scratch(t, true);
            (void)ignored;
        }
        tls_conn_destroy(t->tls);
    }
    buf_done(&t->unsent);
    loop_close(t->loop, &t->watch);
}

void transport_move(struct transport *to, struct transport *from)
{
    *to = *from;
    loop_watch_move(to->loop, &to->watch, &from->watch);
    from->tls = NULL;
    buf_init(&from->unsent, 0);
}

enum err transport_want(struct transport *t, unsigned events)
{
    return loop_rewatch(t->loop, &t->watch, events);
}

void transport_rest(struct transport *t)
{
    if (t->watch.is_added) {
        int fd = t->watch.fd;
        loop_ready_fn on_ready = t->watch.on_ready;
        loop_unwatch(t->loop, &t->watch);
        enum err never = loop_watch_later(t->loop, &t->watch, fd, on_ready);
        (void)never; /* it fails only for a descriptor that was never watched */
    }
}

static enum err transport_recv_tls(struct transport *t, char *bytes, size_t n, size_t *ret_n)
{
    ASSERT(n > TRANSPORT_RECORD_BYTES);
    size_t room = n - TRANSPORT_RECORD_BYTES;
    struct tls_input in = {.p = t->scratch->cipher};
    enum err e = socket_recv(t->watch.fd, t->scratch->cipher,
                             room < TRANSPORT_CIPHER_BYTES ? room : TRANSPORT_CIPHER_BYTES, &in.n);
    if (e && e != ERR_EOF) {
        return e;
    }
    in.is_ended = e == ERR_EOF;
    size_t total = 0, got;
    buf_clear(&t->scratch->out);
    do {
        e = tls_conn_read(t->tls, &in, bytes + total, n - total, &t->scratch->out, &got);
        total += e ? 0 : got;
    } while (!e && total < n);
    if (e && e != ERR_AGAIN && !tls_conn_is_handshaken(t->tls) && t->scratch->cipher[0] >= ' ') {
        buf_clear(&t->scratch->out); /* who speaks no TLS has no use for an alert */
    }
    enum err put = transport_put_scratch(t, false);
    if (put) {
        return put;
    }
    if (e && e != ERR_AGAIN) {
        t->read_error = e;
    }
    *ret_n = total;
    return total ? ERR_OK : e;
}

enum err transport_begin_tls(struct transport *t, struct tls_conn *tls)
{
    struct tls_input nothing = {.p = ""};
    char plain[1];
    size_t n;
    t->tls = tls;
    if (!t->scratch->cipher) {
        t->scratch->cipher = mem_alloc(TRANSPORT_CIPHER_BYTES);
    }
    if (!t->scratch->cipher) {
        return ERR_NOMEM;
    }
    buf_clear(&t->scratch->out);
    enum err e = tls_conn_read(tls, &nothing, plain, sizeof(plain), &t->scratch->out, &n);
    if (e == ERR_AGAIN) {
        e = transport_put_scratch(t, false);
    }
    return e;
}

enum err transport_recv(struct transport *t, void *bytes, size_t n, size_t *ret_n)
{
    if (!t->tls) {
        return socket_recv(t->watch.fd, bytes, n, ret_n);
    }
    return t->read_error ? t->read_error : transport_recv_tls(t, bytes, n, ret_n);
}

bool transport_is_ended(const struct transport *t)
{
    return t->read_error != ERR_OK;
}

static enum err transport_encrypt(struct transport *t, const struct str *pieces, size_t count,
                                  bool has_more)
{
    buf_clear(&t->scratch->out);
    enum err e = tls_conn_write(t->tls, pieces, count, &t->scratch->out);
    return e ? e : transport_put_scratch(t, has_more);
}

static enum err transport_send_tls(struct transport *t, const struct iovec *pieces,
                                   size_t piece_count, bool has_more, size_t *ret_n)
{
    struct str plain[SEND_PIECES_MAX];
    size_t count = 0, total = 0;
    enum err e = transport_flush(t);
    if (e) {
        return e;
    }
    while (count < piece_count && count < SEND_PIECES_MAX && total < SEND_BYTES_MAX) {
        size_t n = pieces[count].iov_len;
        n = n < SEND_BYTES_MAX - total ? n : SEND_BYTES_MAX - total;
        plain[count] = str_make(pieces[count].iov_base, n);
        total += n;
        count++;
    }
    e = transport_encrypt(t, plain, count, has_more);
    if (!e) {
        *ret_n = total;
    }
    return e;
}

enum err transport_send(struct transport *t, const struct iovec *pieces, size_t piece_count,
                        bool has_more, size_t *ret_n)
{
    if (t->tls) {
        return transport_send_tls(t, pieces, piece_count, has_more, ret_n);
    }
    enum err e = socket_send(t->watch.fd, pieces, piece_count, has_more, ret_n);
    if (!e) {
        t->sent_bytes += *ret_n;
    }
    return e;
}

static enum err transport_send_file_tls(struct transport *t, int file, uint64_t offset, size_t n,
                                        size_t *ret_n)
{
    size_t got;
    enum err e = transport_flush(t);
    if (e) {
        return e;
    }
    /* The buffer of the way in serves the way out: neither is in use between calls. */
    n = n < TRANSPORT_CIPHER_BYTES ? n : TRANSPORT_CIPHER_BYTES;
    e = file_read_at(file, offset, t->scratch->cipher, n, &got);
    if (!e && got == 0) {
        e = ERR_EOF;
    }
    if (!e) {
        struct str plain = str_make(t->scratch->cipher, got);
        e = transport_encrypt(t, &plain, 1, false);
    }
    if (!e) {
        *ret_n = got;
    }
    return e;
}

enum err transport_send_file(struct transport *t, int file, uint64_t offset, size_t n,
                             size_t *ret_n)
{
    if (t->tls) {
        return transport_send_file_tls(t, file, offset, n, ret_n);
    }
    enum err e = socket_send_file(t->watch.fd, file, offset, n, ret_n);
    if (!e) {
        t->sent_bytes += *ret_n;
    }
    return e;
}

enum err transport_flush(struct transport *t)
{
    while (t->unsent.n) {
        struct iovec piece = {t->unsent.p, t->unsent.n};
        size_t n;
        enum err e = socket_send(t->watch.fd, &piece, 1, false, &n);
        if (e) {
            return e;
        }
        t->sent_bytes += n;
        buf_consume(&t->unsent, n);
    }
    if (t->unsent.capacity) {
        buf_done(&t->unsent);
        buf_init(&t->unsent, 0);
    }
    return ERR_OK;
}

bool transport_has_unsent(const struct transport *t)
{
    return t->unsent.n != 0;
}

uint64_t transport_take_progress(struct transport *t)
{
    uint64_t queued = socket_unacknowledged(t->watch.fd);
    uint64_t taken = t->sent_bytes > queued ? t->sent_bytes - queued : 0;
    uint64_t more = taken > t->taken_bytes ? taken - t->taken_bytes : 0;
    t->taken_bytes += more;
    return more;
}

void transport_end(struct transport *t)
{
    if (t->tls) {
        buf_clear(&t->scratch->out);
        tls_conn_close(t->tls, &t->scratch->out);
        enum err ignored = transport_put_scratch(t, true);
        (void)ignored;
    }
    socket_shutdown_write(t->watch.fd);
}

void transport_break(struct transport *t)
{
    socket_reset_on_close(t->watch.fd);
}

void transport_scratch_done(struct transport_scratch *s)
{
    mem_free(s->cipher);
    buf_done(&s->out);
}
