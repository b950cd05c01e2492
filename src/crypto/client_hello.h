/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ClientHello (RFC 8446 4.1.2, RFC 5246 7.4.1.2) says that decides which policy and which
 * certificate answer it. Views point into the message.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define CLIENT_HELLO_ALPN_MAX 16
#define CLIENT_HELLO_NAME_BYTES_MAX 253

struct client_hello {
    char sni_text[CLIENT_HELLO_NAME_BYTES_MAX + 1];
    struct str sni; /* in lower case, without a final dot; empty when absent */
    struct str alpn[CLIENT_HELLO_ALPN_MAX]; /* in the client's order; more are not seen */
    uint8_t alpn_count;
    bool offers_tls13;
    bool offers_early_data;
    bool takes_ecdsa; /* P-256 or P-384 with SHA-2 */
    bool takes_ed25519;
    bool takes_rsa;
    bool prefers_chacha; /* the first cipher that we know is ChaCha20 */
    struct str ticket;   /* the first ticket: TLS 1.3 identity, else TLS 1.2 extension */
};

/* Reads the body of a ClientHello (without the handshake header). ERR_SYNTAX: lengths that do not
 * add up, a name that is no host name, an extension twice. */
enum err client_hello_parse(struct client_hello *h, struct str body) MUST_CHECK;

/* The body of the ClientHello that the records of a connection begin with, which moves to the front
 * of the `n` bytes at `p` where it lies in several. ERR_AGAIN: more are needed, up to
 * CLIENT_HELLO_RECORDS_MAX; ERR_SYNTAX: it is none. */
#define CLIENT_HELLO_RECORDS_MAX 32768u
enum err client_hello_of_records(char *p, size_t n, struct str *ret_body) MUST_CHECK;

/* Whether the client offers this protocol. */
bool client_hello_offers(const struct client_hello *h, struct str protocol);
