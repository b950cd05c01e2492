/* SPDX-License-Identifier: Apache-2.0 */
#include "http/websocket_handshake.h"

#include "http/authority.h"

#define KEY_BYTES 24 /* base64 of 16 bytes */

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 1.3 */
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

_Static_assert(KEY_BYTES + sizeof(guid) - 1 == WEBSOCKET_CHALLENGE_BYTES, "key and GUID");

bool websocket_is_asked(struct str upgrade)
{
    struct str token;
    while (http_list_next(&upgrade, &token)) {
        if (str_eq_ci(token, STR("websocket"))) {
            return true;
        }
    }
    return false;
}

/* The only field of its id. */
static const struct http_field *only_field(const struct http_fields *fields, enum http_field_id id)
{
    const struct http_field *f = http_fields_get(fields, id);
    return f && !http_fields_next(fields, f) ? f : NULL;
}

static bool key_is_valid(const struct http_fields *fields)
{
    const struct http_field *f = only_field(fields, HTTP_FIELD_SEC_WEBSOCKET_KEY);
    if (!f || f->value.n != KEY_BYTES || !str_ends_with(f->value, STR("=="))) {
        return false;
    }
    for (size_t i = 0; i < KEY_BYTES - 2; i++) {
        char c = f->value.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '+' && c != '/') {
            return false;
        }
    }
    return true;
}

uint16_t websocket_check_request(const struct request_head *head, const char **reterr_reason)
{
    bool is_h1 = head->version < HTTP_VERSION_20;
    const struct http_field *version = only_field(&head->fields, HTTP_FIELD_SEC_WEBSOCKET_VERSION);
    if (head->method != (is_h1 ? HTTP_GET : HTTP_CONNECT)) {
        *reterr_reason = "a WebSocket begins with GET";
        return 400;
    }
    if (!version || !str_eq(version->value, STR(WEBSOCKET_VERSION))) {
        *reterr_reason = "another version of WebSocket";
        return 426;
    }
    if (is_h1 && !key_is_valid(&head->fields)) {
        *reterr_reason = "no valid Sec-WebSocket-Key";
        return 400;
    }
    return 101;
}

/* Scheme, host and port of a serialised origin (RFC 6454 6.2). False for "null" and the like. */
static bool origin_parse(struct str origin, struct str *ret_scheme, struct str *ret_host,
                         uint16_t *ret_port)
{
    static const struct str schemes[] = {STR("https"), STR("http")};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        struct str rest = origin;
        size_t n = schemes[i].n;
        if (rest.n < n + 3 || !str_eq_ci(str_sub(rest, 0, n), schemes[i]) ||
            !str_eq(str_sub(rest, n, 3), STR("://"))) {
            continue;
        }
        *ret_scheme = schemes[i];
        return http_authority_parse(str_sub(rest, n + 3, rest.n), ret_host, ret_port) == ERR_OK;
    }
    return false;
}

static uint16_t port_or_default(uint16_t port, struct str scheme)
{
    return port ? port : str_eq(scheme, STR("https")) ? 443 : 80;
}

bool websocket_origin_is_allowed(const struct request_head *head, const struct str *others,
                                 size_t count)
{
    struct str scheme, host, own_host;
    uint16_t port, own_port;
    if (!http_fields_get(&head->fields, HTTP_FIELD_ORIGIN)) {
        return true;
    }
    const struct http_field *f = only_field(&head->fields, HTTP_FIELD_ORIGIN);
    if (!f) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (str_eq_ci(f->value, others[i])) {
            return true;
        }
    }
    /* The scheme is the browser's: TLS may have ended before us. */
    return origin_parse(f->value, &scheme, &host, &port) &&
           http_authority_parse(head->authority, &own_host, &own_port) == ERR_OK &&
           str_eq_ci(host, own_host) &&
           port_or_default(port, scheme) == port_or_default(own_port, scheme);
}

void websocket_challenge(struct str key, char ret_text[WEBSOCKET_CHALLENGE_BYTES])
{
    memcpy(ret_text, key.p, KEY_BYTES);
    memcpy(ret_text + KEY_BYTES, guid, sizeof(guid) - 1);
}

void websocket_accept(const uint8_t sha1[20], char ret_text[WEBSOCKET_ACCEPT_BYTES])
{
    unsigned held = 0, held_bits = 0;
    char *at = ret_text;
    for (size_t i = 0; i < 20; i++) {
        held = held << 8 | sha1[i];
        for (held_bits += 8; held_bits >= 6; held_bits -= 6) {
            *at++ = alphabet[held >> (held_bits - 6) & 63];
        }
    }
    *at++ = alphabet[held << (6 - held_bits) & 63]; /* 160 bits leave four over */
    *at = '=';
}

struct str websocket_subprotocol(const struct http_fields *fields, const struct str *offered,
                                 size_t count)
{
    const struct http_field *f = http_fields_get(fields, HTTP_FIELD_SEC_WEBSOCKET_PROTOCOL);
    for (; f; f = http_fields_next(fields, f)) {
        struct str rest = f->value, wish;
        while (http_list_next(&rest, &wish)) {
            for (size_t i = 0; i < count; i++) {
                if (str_eq(wish, offered[i])) {
                    return wish;
                }
            }
        }
    }
    return (struct str){NULL, 0};
}
