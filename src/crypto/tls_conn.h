/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server side of one TLS 1.2 or 1.3 connection (and the client's, see tls_client.h), without
 * I/O. Ciphertext goes in as views of the caller's receive buffer and comes out appended to the
 * caller's `out` buffer (one per loop is enough: a connection keeps no output). After every call,
 * also one that failed, the caller sends what `out` holds: it may be an answer of the handshake, a
 * ticket, or the alert that says why.
 *
 * A turn: point `in` at what the socket gave, and call tls_conn_read until it returns something
 * else than ERR_OK; use the plaintext of each call. ERR_AGAIN: wait for input. ERR_EOF: orderly
 * end. Anything else: send `out`, then close.
 *
 * GnuTLS keeps a record that is incomplete, so `in` is used up whenever ERR_AGAIN comes back. To
 * stop reading, stop calling and keep the rest of `in`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "crypto/tls_policy.h"
#include "crypto/tls_server.h"

#define TLS_RECORD_BYTES 16384 /* plaintext of a full record */
#define TLS_RECORD_OVERHEAD 29 /* at most, per record, with the ciphers that are served */

struct tls_conn;

/* Ciphertext that is waiting; the calls move `p` and `n`. */
struct tls_input {
    const char *p;
    size_t n;
    bool is_ended; /* nothing will follow: without a close_notify that is a truncation */
};

/* `now_s` is the time in Unix seconds, for ticket keys. `user` is passed to on_client_hello.
 * ERR_NOMEM. */
enum err tls_conn_create(struct tls_server *s, void *user, int64_t now_s,
                         struct tls_conn **ret_conn) MUST_CHECK;

/* Frees at once; not from within on_client_hello. NULL is a no-op. */
void tls_conn_destroy(struct tls_conn *c);

/* Goes on with the handshake and then decrypts, one record at most, into `plain` (best
 * TLS_RECORD_BYTES). ERR_OK: `*ret_n` > 0 bytes. ERR_AGAIN: needs more input. ERR_EOF: the peer
 * said close_notify. ERR_RESET: the input ended without it, or within the handshake, or the peer
 * sent a fatal alert. Fatal, an alert is in `out`: ERR_SYNTAX (malformed or altered records),
 * ERR_UNSUPPORTED (not TLS; no common version, cipher or protocol; renegotiation), ERR_ACCESS
 * (client certificate missing or refused), ERR_NOT_FOUND (name refused, or no certificate for it),
 * ERR_LIMIT, ERR_NOMEM. After a fatal error or ERR_RESET the same error comes back for good. */
enum err tls_conn_read(struct tls_conn *c, struct tls_input *in, char *plain, size_t plain_bytes,
                       struct buf *out, size_t *ret_n) MUST_CHECK;

/* Encrypts all of the pieces, in records that are as full as they can be. ERR_AGAIN: the handshake
 * is not done yet, nothing was taken. ERR_NOMEM, ERR_CLOSED (after tls_conn_close), or the fatal
 * error of before. */
enum err tls_conn_write(struct tls_conn *c, const struct str *pieces, size_t count,
                        struct buf *out) MUST_CHECK;

/* Says close_notify; reading goes on. Without effect after a fatal error or a second time. */
void tls_conn_close(struct tls_conn *c, struct buf *out);

bool tls_conn_is_handshaken(const struct tls_conn *c);

/* Whether the bytes of the last successful tls_conn_read were early data: they may be an
 * attacker's repetition as long as the handshake is not done (RFC 8446 8, RFC 8470). Waiting for
 * tls_conn_is_handshaken proves that they are not. */
bool tls_conn_is_early(const struct tls_conn *c);

/* Plaintext that is decrypted but was not fetched yet; a caller that stops in the middle must come
 * back without waiting for the socket. */
size_t tls_conn_pending_bytes(const struct tls_conn *c);

/* The sentence for the error that ended the connection; never NULL, lives as long as it. */
const char *tls_conn_error_text(const struct tls_conn *c);

/* What was agreed on; valid once the handshake is done, texts live as long as the connection. */
enum tls_version tls_conn_version(const struct tls_conn *c);
const char *tls_conn_cipher(const struct tls_conn *c);
struct str tls_conn_alpn(const struct tls_conn *c); /* empty: none */
struct str tls_conn_sni(const struct tls_conn *c);  /* lower case; empty: none; also before */
bool tls_conn_is_resumed(const struct tls_conn *c);

/* The policy that was chosen, so that a request for another host can be refused with 421 when its
 * policy differs; NULL before the ClientHello. */
const struct tls_policy *tls_conn_policy(const struct tls_conn *c);

struct tls_client_certificate {
    bool is_present;         /* and then it was verified: nothing else gets through */
    uint8_t fingerprint[32]; /* SHA-256 */
    struct str subject;      /* RFC 4514 */
    struct str issuer;       /* RFC 4514 */
    struct str serial;       /* hexadecimal */
    int64_t not_after_s;
    char text[768]; /* what the views point into: the struct must not be copied */
};

/* Describes the client's certificate (also of the original session, when resumed). A name that is
 * too long is cut. ERR_NOT_FOUND: none. */
enum err tls_conn_client_certificate(const struct tls_conn *c,
                                     struct tls_client_certificate *ret_certificate) MUST_CHECK;

/* `n` bytes bound to this connection (RFC 8446 7.5, RFC 5705), without context. ERR_UNSUPPORTED. */
enum err tls_conn_export(const struct tls_conn *c, struct str label, void *ret_bytes,
                         size_t n) MUST_CHECK;
