/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/tls_conn.h"

#include <errno.h>
#include <sys/uio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/digest.h"
#include "crypto/tls_client.h"
#include "crypto/tls_conn_int.h"

#define HANDSHAKE_BYTES_MAX 65536 /* one message: a client's chain is the longest */
#define WARNINGS_MAX 8            /* alerts that change nothing, over the life of a connection */

static ssize_t on_pull(gnutls_transport_ptr_t context, void *bytes, size_t n)
{
    struct tls_conn *c = context;
    struct tls_input *in = c->input;
    ASSERT_MAGIC(c, TLS_CONN_MAGIC);
    if (!in || in->n == 0) {
        if (in && in->is_ended) {
            return 0;
        }
        gnutls_transport_set_errno(c->session, EAGAIN);
        return -1;
    }
    n = n < in->n ? n : in->n;
    memcpy(bytes, in->p, n);
    in->p += n;
    in->n -= n;
    return (ssize_t)n;
}

static int on_pull_timeout(gnutls_transport_ptr_t context, unsigned timeout_ms)
{
    struct tls_conn *c = context;
    (void)timeout_ms;
    return c->input && (c->input->n || c->input->is_ended);
}

static ssize_t on_push(gnutls_transport_ptr_t context, const giovec_t *pieces, int count)
{
    struct tls_conn *c = context;
    size_t before = c->out->n;
    ASSERT_MAGIC(c, TLS_CONN_MAGIC);
    for (int i = 0; i < count; i++) {
        buf_add(c->out, pieces[i].iov_base, pieces[i].iov_len);
    }
    if (c->out->is_failed) {
        gnutls_transport_set_errno(c->session, ENOMEM);
        return -1;
    }
    return (ssize_t)(c->out->n - before);
}

void tls_conn_set_transport(struct tls_conn *c)
{
    gnutls_session_set_ptr(c->session, c);
    gnutls_transport_set_ptr(c->session, c);
    gnutls_transport_set_pull_function(c->session, on_pull);
    gnutls_transport_set_pull_timeout_function(c->session, on_pull_timeout);
    gnutls_transport_set_vec_push_function(c->session, on_push);
    gnutls_handshake_set_timeout(c->session, 0);
    gnutls_handshake_set_max_packet_length(c->session, HANDSHAKE_BYTES_MAX);
}

static int session_init(struct tls_conn *c)
{
    struct tls_server *s = c->server;
    unsigned flags =
        GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_AUTO_SEND_TICKET;
    flags |= s->ticket_keys ? 0 : GNUTLS_NO_TICKETS;
    flags |= c->is_quic ? GNUTLS_NO_END_OF_EARLY_DATA : 0;
    if (s->anti_replay && (!c->is_quic || c->is_early_promised)) {
        flags |= GNUTLS_ENABLE_EARLY_DATA;
    }
    int r = gnutls_init(&c->session, flags);
    if (r < 0) {
        c->session = NULL;
        return r;
    }
    gnutls_session_set_ptr(c->session, c);
    if (!c->is_quic) {
        gnutls_transport_set_ptr(c->session, c);
        gnutls_transport_set_pull_function(c->session, on_pull);
        gnutls_transport_set_pull_timeout_function(c->session, on_pull_timeout);
        gnutls_transport_set_vec_push_function(c->session, on_push);
    }
    gnutls_handshake_set_timeout(c->session, 0);
    gnutls_handshake_set_max_packet_length(c->session, HANDSHAKE_BYTES_MAX);
    gnutls_handshake_set_hook_function(c->session, GNUTLS_HANDSHAKE_CLIENT_HELLO, GNUTLS_HOOK_PRE,
                                       tls_conn_on_hello);
    return gnutls_priority_set(c->session, tls_priorities_pick(&s->priorities, c->is_quic, false));
}

enum err tls_conn_create(struct tls_server *s, void *user, int64_t now_s,
                         struct tls_conn **ret_conn)
{
    return tls_conn_create_as(s, user, now_s, NULL, ret_conn);
}

enum err tls_conn_create_as(struct tls_server *s, void *user, int64_t now_s,
                            const struct str *quic_context, struct tls_conn **ret_conn)
{
    struct tls_conn *c = mem_zalloc(1, sizeof(*c));
    if (!c) {
        return ERR_NOMEM;
    }
    c->magic = TLS_CONN_MAGIC;
    c->is_quic = quic_context != NULL;
    c->is_early_promised =
        c->is_quic && s->hooks.takes_early_data && s->hooks.takes_early_data(s->hooks.context);
    c->server = s;
    c->user = user;
    c->now_s = now_s;
    c->error_text = "";
    s->conn_count++;
    enum err e = quic_context ? digest_of(DIGEST_SHA256, *quic_context, c->context) : ERR_OK;
    if (e || session_init(c) < 0) {
        tls_conn_destroy(c);
        return ERR_NOMEM;
    }
    *ret_conn = c;
    return ERR_OK;
}

void tls_conn_destroy(struct tls_conn *c)
{
    if (!c) {
        return;
    }
    ASSERT_MAGIC(c, TLS_CONN_MAGIC);
    if (c->session) {
        gnutls_deinit(c->session);
    }
    c->magic = 0;
    if (c->server) {
        c->server->conn_count--;
    }
    tls_client_unref(c->client);
    tls_policy_unref(c->policy);
    certificate_store_unref(c->store);
    mem_free(c->sni);
    mem_free(c);
}

static enum err error_of(int code)
{
    switch (code) {
    case GNUTLS_E_MEMORY_ERROR:
    case GNUTLS_E_PUSH_ERROR:
        return ERR_NOMEM;
    case GNUTLS_E_PREMATURE_TERMINATION:
    case GNUTLS_E_FATAL_ALERT_RECEIVED:
    case GNUTLS_E_SESSION_EOF:
        return ERR_RESET;
    case GNUTLS_E_CERTIFICATE_ERROR:
    case GNUTLS_E_CERTIFICATE_REQUIRED:
    case GNUTLS_E_NO_CERTIFICATE_FOUND:
    case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR:
    case GNUTLS_E_CERTIFICATE_KEY_MISMATCH:
    case GNUTLS_E_KEY_USAGE_VIOLATION:
        return ERR_ACCESS;
    case GNUTLS_E_UNRECOGNIZED_NAME:
    case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
        return ERR_NOT_FOUND;
    case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
    case GNUTLS_E_NO_CIPHER_SUITES:
    case GNUTLS_E_NO_COMMON_KEY_SHARE:
    case GNUTLS_E_NO_APPLICATION_PROTOCOL:
    case GNUTLS_E_NO_PRIORITIES_WERE_SET:
    case GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM:
    case GNUTLS_E_INCOMPATIBLE_SIG_WITH_KEY:
    case GNUTLS_E_INAPPROPRIATE_FALLBACK:
    case GNUTLS_E_REHANDSHAKE:
        return ERR_UNSUPPORTED;
    case GNUTLS_E_HANDSHAKE_TOO_LARGE:
    case GNUTLS_E_TOO_MANY_EMPTY_PACKETS:
    case GNUTLS_E_TOO_MANY_HANDSHAKE_PACKETS:
    case GNUTLS_E_RECORD_LIMIT_REACHED:
    case GNUTLS_E_WARNING_ALERT_RECEIVED:
        return ERR_LIMIT;
    default:
        return ERR_SYNTAX;
    }
}

/* Best effort: the connection ends whether the peer learns why or not. */
static void conn_alert(struct tls_conn *c, int code)
{
    int ignored;
    if (code == GNUTLS_E_REHANDSHAKE) {
        ignored = gnutls_alert_send(c->session, GNUTLS_AL_FATAL, GNUTLS_A_NO_RENEGOTIATION);
    } else if (code == GNUTLS_E_NO_CERTIFICATE_FOUND) {
        /* RFC 5246 7.4.6; TLS 1.3 has an alert of its own, under another code. */
        ignored = gnutls_alert_send(c->session, GNUTLS_AL_FATAL, GNUTLS_A_HANDSHAKE_FAILURE);
    } else {
        ignored = gnutls_alert_send_appropriate(c->session, code);
    }
    (void)ignored;
}

/* Ends the connection: keeps the cause, and tells the peer where it can be told. */
static enum err conn_fail(struct tls_conn *c, int code)
{
    c->error = c->hook_error ? c->hook_error : error_of(code);
    c->error_text = gnutls_strerror(code);
    if (code == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        const char *alert = gnutls_alert_get_name(gnutls_alert_get(c->session));
        c->error_text = alert ? alert : c->error_text;
    }
    if (c->error != ERR_RESET && !c->out->is_failed) {
        conn_alert(c, code);
    }
    return c->error;
}

/* True for what is no failure: GnuTLS wants input, or met an alert that changes nothing. */
static bool is_pause(struct tls_conn *c, int code)
{
    if (code == GNUTLS_E_WARNING_ALERT_RECEIVED) {
        return ++c->warning_count <= WARNINGS_MAX;
    }
    return code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED;
}

static enum err conn_finish_handshake(struct tls_conn *c)
{
    if (c->client) {
        c->is_handshaken = true;
        return ERR_OK;
    }
    /* An old form of hello that passes the hook by has no policy, and is not let in. */
    int r = c->policy ? tls_conn_check_resumed(c) : GNUTLS_E_INSUFFICIENT_CREDENTIALS;
    if (r < 0) {
        return conn_fail(c, r);
    }
    c->is_handshaken = true;
    if (c->server->anti_replay && !c->policy->takes_early_data) {
        /* What the ticket promises: GnuTLS knows no less than one byte. */
        r = gnutls_record_set_max_early_data_size(c->session, 1);
    }
    if (r >= 0 && c->server->ticket_keys && tls_conn_version(c) == TLS_VERSION_13) {
        r = gnutls_session_ticket_send(c->session, 1, 0);
    }
    return r < 0 ? conn_fail(c, r) : ERR_OK;
}

/* Early data that was accepted, also while the handshake waits for the rest. */
static size_t conn_take_early(struct tls_conn *c, char *plain, size_t plain_bytes)
{
    if (c->client || !c->server->anti_replay ||
        !(gnutls_session_get_flags(c->session) & GNUTLS_SFLAGS_EARLY_DATA)) {
        return 0;
    }
    ssize_t n = gnutls_record_recv_early_data(c->session, plain, plain_bytes);
    return n > 0 ? (size_t)n : 0;
}

static enum err conn_handshake(struct tls_conn *c)
{
    for (;;) {
        size_t before = c->input->n;
        int r = gnutls_handshake(c->session);
        if (r >= 0) {
            return conn_finish_handshake(c);
        }
        if (!is_pause(c, r)) {
            return conn_fail(c, r);
        }
        if (c->input->n == before && r != GNUTLS_E_WARNING_ALERT_RECEIVED) {
            return ERR_AGAIN;
        }
    }
}

static enum err conn_receive(struct tls_conn *c, char *plain, size_t plain_bytes, size_t *ret_n)
{
    for (;;) {
        size_t before = c->input->n;
        ssize_t r = gnutls_record_recv(c->session, plain, plain_bytes);
        if (r > 0) {
            *ret_n = (size_t)r;
            return ERR_OK;
        }
        if (r == 0) {
            c->is_ended = true;
            return ERR_EOF;
        }
        if (!is_pause(c, (int)r)) {
            return conn_fail(c, (int)r);
        }
        if (c->input->n == before && r != GNUTLS_E_WARNING_ALERT_RECEIVED) {
            return ERR_AGAIN;
        }
    }
}

enum err tls_conn_read(struct tls_conn *c, struct tls_input *in, char *plain, size_t plain_bytes,
                       struct buf *out, size_t *ret_n)
{
    enum err e = c->error ? c->error : c->is_ended ? ERR_EOF : ERR_OK;
    ASSERT_MAGIC(c, TLS_CONN_MAGIC);
    c->input = in;
    c->out = out;
    if (!e && !c->is_handshaken) {
        e = conn_handshake(c);
    }
    if (!e || e == ERR_AGAIN) {
        size_t n = conn_take_early(c, plain, plain_bytes);
        c->is_early = n > 0;
        if (n) {
            *ret_n = n;
            e = ERR_OK;
        } else if (!e) {
            e = conn_receive(c, plain, plain_bytes, ret_n);
        }
    }
    c->input = NULL;
    c->out = NULL;
    return e;
}

static enum err conn_send(struct tls_conn *c, const char *p, size_t n)
{
    while (n) {
        ssize_t r = gnutls_record_send(c->session, p, n);
        if (r < 0) {
            return conn_fail(c, (int)r);
        }
        p += r;
        n -= (size_t)r;
    }
    return ERR_OK;
}

static enum err conn_send_pieces(struct tls_conn *c, const struct str *pieces, size_t count)
{
    char record[TLS_RECORD_BYTES];
    size_t filled = 0;
    enum err e = ERR_OK;
    for (size_t i = 0; i < count && !e; i++) {
        struct str rest = pieces[i];
        while (rest.n && !e) {
            bool is_whole = filled == 0 && (rest.n >= TLS_RECORD_BYTES || i + 1 == count);
            size_t room = TLS_RECORD_BYTES - filled;
            size_t n = rest.n < room ? rest.n : room;
            if (is_whole) {
                e = conn_send(c, rest.p, n);
            } else {
                memcpy(record + filled, rest.p, n);
                filled += n;
            }
            if (filled == TLS_RECORD_BYTES) {
                e = conn_send(c, record, filled);
                filled = 0;
            }
            rest = str_sub(rest, n, rest.n);
        }
    }
    return e || !filled ? e : conn_send(c, record, filled);
}

enum err tls_conn_write(struct tls_conn *c, const struct str *pieces, size_t count, struct buf *out)
{
    ASSERT_MAGIC(c, TLS_CONN_MAGIC);
    if (c->error) {
        return c->error;
    }
    if (c->is_close_sent) {
        return ERR_CLOSED;
    }
    if (!c->is_handshaken) {
        return ERR_AGAIN;
    }
    c->out = out;
    enum err e = conn_send_pieces(c, pieces, count);
    c->out = NULL;
    return e;
}

void tls_conn_close(struct tls_conn *c, struct buf *out)
{
    if (c->error || c->is_close_sent || !c->is_handshaken) {
        return;
    }
    c->out = out;
    c->is_close_sent = true;
    int r = gnutls_bye(c->session, GNUTLS_SHUT_WR);
    if (r < 0) {
        c->error = error_of(r);
    }
    c->out = NULL;
}

bool tls_conn_is_handshaken(const struct tls_conn *c)
{
    return c->is_handshaken;
}

bool tls_conn_is_early(const struct tls_conn *c)
{
    return c->is_early;
}

size_t tls_conn_pending_bytes(const struct tls_conn *c)
{
    return gnutls_record_check_pending(c->session);
}

const char *tls_conn_error_text(const struct tls_conn *c)
{
    return c->error_text;
}

enum tls_version tls_conn_version(const struct tls_conn *c)
{
    return gnutls_protocol_get_version(c->session) == GNUTLS_TLS1_3 ? TLS_VERSION_13
                                                                    : TLS_VERSION_12;
}

const char *tls_conn_cipher(const struct tls_conn *c)
{
    const char *name = gnutls_ciphersuite_get(c->session);
    return name ? name : "";
}

struct str tls_conn_alpn(const struct tls_conn *c)
{
    gnutls_datum_t name;
    if (gnutls_alpn_get_selected_protocol(c->session, &name) < 0) {
        return STR("");
    }
    return str_make((const char *)name.data, name.size);
}

struct str tls_conn_sni(const struct tls_conn *c)
{
    return str_make(c->sni, c->sni_bytes);
}

bool tls_conn_is_resumed(const struct tls_conn *c)
{
    return gnutls_session_is_resumed(c->session) != 0;
}

const struct tls_policy *tls_conn_policy(const struct tls_conn *c)
{
    return c->policy;
}

enum err tls_conn_export(const struct tls_conn *c, struct str label, void *ret_bytes, size_t n)
{
    int r = gnutls_prf_rfc5705(c->session, label.n, label.p, 0, NULL, n, ret_bytes);
    return r < 0 ? ERR_UNSUPPORTED : ERR_OK;
}
