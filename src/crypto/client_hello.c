/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/client_hello.h"

#include <string.h>

#define RANDOM_BYTES 32
#define SESSION_ID_BYTES_MAX 32
#define TLS13 0x0304
#define NAME_TYPE_HOST 0
#define LABEL_BYTES_MAX 63

enum {
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_SIGNATURES = 13,
    EXTENSION_ALPN = 16,
    EXTENSION_TICKET = 35,
    EXTENSION_PSK = 41,
    EXTENSION_EARLY_DATA = 42,
    EXTENSION_VERSIONS = 43,
};

/* Takes `n` bytes off the front of `*s`; false when there are fewer. */
static bool take(struct str *s, size_t n, struct str *ret_part)
{
    if (s->n < n) {
        return false;
    }
    *ret_part = str_make(s->p, n);
    *s = str_make(s->p + n, s->n - n);
    return true;
}

static bool take_number(struct str *s, size_t width, unsigned *ret_value)
{
    struct str part;
    if (!take(s, width, &part)) {
        return false;
    }
    *ret_value = 0;
    for (size_t i = 0; i < width; i++) {
        *ret_value = *ret_value << 8 | (unsigned char)part.p[i];
    }
    return true;
}

/* A vector behind its length of `width` bytes. */
static bool take_vector(struct str *s, size_t width, struct str *ret_part)
{
    unsigned n = 0;
    return take_number(s, width, &n) && take(s, n, ret_part);
}

/* Letters, digits, hyphens and underscores between dots, as RFC 6066 3 asks for (no address, no
 * byte that a file name or a log would trip over). */
static bool read_host(struct client_hello *h, struct str name)
{
    size_t label_bytes = 0;
    if (name.n && name.p[name.n - 1] == '.') {
        name.n--;
    }
    if (name.n == 0 || name.n > CLIENT_HELLO_NAME_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        char c = ascii_lower(name.p[i]);
        bool is_dot = c == '.';
        if (is_dot ? label_bytes == 0
                   : !ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_') {
            return false;
        }
        label_bytes = is_dot ? 0 : label_bytes + 1;
        if (label_bytes > LABEL_BYTES_MAX) {
            return false;
        }
        h->sni_text[i] = c;
    }
    h->sni_text[name.n] = '\0';
    h->sni = str_make(h->sni_text, name.n);
    return label_bytes > 0;
}

static bool read_server_name(struct client_hello *h, struct str data)
{
    struct str list, name;
    unsigned type = 0;
    if (!take_vector(&data, 2, &list) || data.n || list.n == 0) {
        return false;
    }
    while (list.n) {
        if (!take_number(&list, 1, &type) || !take_vector(&list, 2, &name)) {
            return false;
        }
        if (type == NAME_TYPE_HOST && (h->sni.n || !read_host(h, name))) {
            return false;
        }
    }
    return true;
}

static bool read_alpn(struct client_hello *h, struct str data)
{
    struct str list, name;
    if (!take_vector(&data, 2, &list) || data.n || list.n == 0) {
        return false;
    }
    while (list.n) {
        if (!take_vector(&list, 1, &name) || name.n == 0) {
            return false;
        }
        if (h->alpn_count < CLIENT_HELLO_ALPN_MAX) {
            h->alpn[h->alpn_count++] = name;
        }
    }
    return true;
}

static bool read_signatures(struct client_hello *h, struct str data)
{
    struct str list;
    unsigned scheme = 0;
    if (!take_vector(&data, 2, &list) || data.n || list.n % 2) {
        return false;
    }
    while (take_number(&list, 2, &scheme)) {
        h->takes_ecdsa |= scheme == 0x0403 || scheme == 0x0503;
        h->takes_ed25519 |= scheme == 0x0807;
        /* PKCS #1 for TLS 1.2, PSS for both. */
        h->takes_rsa |= (scheme >= 0x0804 && scheme <= 0x0806) || scheme == 0x0401 ||
                        scheme == 0x0501 || scheme == 0x0601;
    }
    return true;
}

static bool read_versions(struct client_hello *h, struct str data)
{
    struct str list;
    unsigned version = 0;
    if (!take_vector(&data, 1, &list) || data.n || list.n % 2) {
        return false;
    }
    while (take_number(&list, 2, &version)) {
        h->offers_tls13 |= version == TLS13;
    }
    return true;
}

static bool read_psk(struct client_hello *h, struct str data)
{
    struct str list;
    return take_vector(&data, 2, &list) && take_vector(&list, 2, &h->ticket);
}

static bool read_extension(struct client_hello *h, unsigned type, struct str data)
{
    switch (type) {
    case EXTENSION_SERVER_NAME:
        return read_server_name(h, data);
    case EXTENSION_SIGNATURES:
        return read_signatures(h, data);
    case EXTENSION_ALPN:
        return read_alpn(h, data);
    case EXTENSION_TICKET:
        if (!h->ticket.n) {
            h->ticket = data;
        }
        return true;
    case EXTENSION_PSK:
        return read_psk(h, data);
    case EXTENSION_EARLY_DATA:
        h->offers_early_data = true;
        return true;
    case EXTENSION_VERSIONS:
        return read_versions(h, data);
    default:
        return true;
    }
}

/* What TLS 1.2 can use depends on the suites as well: a client may list ECDSA signatures for TLS
 * 1.3 or for chains, and no suite that uses them. */
static void weigh_suites(struct client_hello *h, struct str suites)
{
    unsigned suite = 0;
    bool has_ecdsa = false, has_rsa = false;
    if (h->offers_tls13) {
        return;
    }
    while (take_number(&suites, 2, &suite)) {
        has_ecdsa |= suite == 0xc02b || suite == 0xc02c || suite == 0xcca9;
        has_rsa |= suite == 0xc02f || suite == 0xc030 || suite == 0xcca8;
    }
    h->takes_ecdsa &= has_ecdsa;
    h->takes_ed25519 &= has_ecdsa;
    h->takes_rsa &= has_rsa;
}

static bool prefers_chacha(struct str suites)
{
    unsigned suite = 0;
    while (take_number(&suites, 2, &suite)) {
        switch (suite) {
        case 0x1303:
        case 0xcca8:
        case 0xcca9:
            return true;
        case 0x1301:
        case 0x1302:
        case 0xc02b:
        case 0xc02c:
        case 0xc02f:
        case 0xc030:
            return false;
        default:
            break; /* one that means nothing to us, or to anybody (RFC 8701) */
        }
    }
    return false;
}

enum err client_hello_parse(struct client_hello *h, struct str body)
{
    struct str part, suites, extensions, data;
    unsigned type = 0;
    uint64_t seen = 0; /* the extensions that are read, by their number */
    memset(h, 0, sizeof(*h));
    if (!take(&body, 2 + RANDOM_BYTES, &part) || !take_vector(&body, 1, &part) ||
        part.n > SESSION_ID_BYTES_MAX || !take_vector(&body, 2, &suites) || suites.n % 2 ||
        !take_vector(&body, 1, &part)) {
        return ERR_SYNTAX;
    }
    if (body.n == 0) {
        return ERR_OK; /* no extensions: GnuTLS finds nothing to agree on */
    }
    if (!take_vector(&body, 2, &extensions) || body.n) {
        return ERR_SYNTAX;
    }
    while (extensions.n) {
        if (!take_number(&extensions, 2, &type) || !take_vector(&extensions, 2, &data)) {
            return ERR_SYNTAX;
        }
        uint64_t bit = type < 64 ? UINT64_C(1) << type : 0;
        if (seen & bit || !read_extension(h, type, data)) {
            return ERR_SYNTAX;
        }
        seen |= bit;
    }
    weigh_suites(h, suites);
    h->prefers_chacha = prefers_chacha(suites);
    return ERR_OK;
}

bool client_hello_offers(const struct client_hello *h, struct str protocol)
{
    for (size_t i = 0; i < h->alpn_count; i++) {
        if (str_eq(h->alpn[i], protocol)) {
            return true;
        }
    }
    return false;
}

/* RFC 8446 5.1 and 4: records of type 22, in them one message of type 1. */
enum err client_hello_of_records(char *p, size_t n, struct str *ret_body)
{
    enum { RECORD_HEAD = 5, MESSAGE_HEAD = 4, RECORD_MAX = 16384 + 256 };
    uint8_t *u = (uint8_t *)p;
    size_t at = 0, have = 0, want = MESSAGE_HEAD;
    char *message = p; /* a record's head lies before each part, so there is always room */
    while (have < want) {
        if (n - at < RECORD_HEAD) {
            bool is_wrong = n > at && u[at] != 22;
            return is_wrong || n > CLIENT_HELLO_RECORDS_MAX ? ERR_SYNTAX : ERR_AGAIN;
        }
        size_t bytes = (size_t)u[at + 3] << 8 | u[at + 4];
        if (u[at] != 22 || u[at + 1] != 3 || bytes == 0 || bytes > RECORD_MAX) {
            return ERR_SYNTAX;
        }
        at += RECORD_HEAD;
        size_t part = bytes < n - at ? bytes : n - at;
        memmove(message + have, p + at, part);
        have += part;
        at += part;
        if (have >= MESSAGE_HEAD) {
            want = MESSAGE_HEAD + ((size_t)u[1] << 16 | (size_t)u[2] << 8 | u[3]);
            if (u[0] != 1 || want > CLIENT_HELLO_RECORDS_MAX) {
                return ERR_SYNTAX;
            }
        }
        if (part < bytes && have < want) {
            return ERR_AGAIN;
        }
    }
    *ret_body = str_make(p + MESSAGE_HEAD, want - MESSAGE_HEAD);
    return ERR_OK;
}
