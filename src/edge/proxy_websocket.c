/* SPDX-License-Identifier: Apache-2.0 */
/* A WebSocket that is passed on: its handshake is made anew on either side (RFC 6455, 8441, 9220).
 */
#include "crypto/digest.h"
#include "edge/proxy_int.h"
#include "http/websocket_handshake.h"
#include "os/random.h"

static enum err proxy_accept(struct str key, char ret_text[WEBSOCKET_ACCEPT_BYTES])
{
    char challenge[WEBSOCKET_CHALLENGE_BYTES];
    uint8_t sha1[20];
    websocket_challenge(key, challenge);
    enum err e = digest_of(DIGEST_SHA1, str_make(challenge, sizeof(challenge)), sha1);
    if (!e) {
        websocket_accept(sha1, ret_text);
    }
    return e;
}

/* The upstream agreed: both sides are byte streams from here on. */
enum err proxy_switch(struct proxy *p, const struct response_head *head)
{
    struct http_field array[HTTP_FIELDS_MAX];
    struct http_fields fields;
    char text[WEBSOCKET_ACCEPT_BYTES];
    const struct http_fields *from = &head->fields;
    enum err e = proxy_accept(p->websocket_key, text);
    /* Over HTTP/2 a yes is a yes (RFC 8441 5). */
    bool is_right = proxy_is_h2(p) ||
                    (str_eq_ci(http_fields_value(from, HTTP_FIELD_UPGRADE), STR("websocket")) &&
                     str_eq(http_fields_value(from, HTTP_FIELD_SEC_WEBSOCKET_ACCEPT),
                            str_make(text, sizeof(text))));
    if (e || !is_right) {
        return e ? e : ERR_SYNTAX;
    }
    http_fields_init(&fields, array, HTTP_FIELDS_MAX);
    struct str key = http_fields_value(&p->x->request->fields, HTTP_FIELD_SEC_WEBSOCKET_KEY);
    if (key.n && p->x->request->version < HTTP_VERSION_20) {
        e = proxy_accept(key, text);
        e = e ? e
              : http_fields_add_id(&fields, HTTP_FIELD_SEC_WEBSOCKET_ACCEPT,
                                   str_make(text, sizeof(text)));
    }
    e = e ? e : proxy_response_fields(p->request, from, proxy_version(p), true, &fields);
    e = e ? e : proxy_add_sticky(p->request, p->upstream, &p->use, &fields);
    e = e ? e : exchange_tunnel(p->x, STR("websocket"), &fields);
    if (!e) {
        upstream_tunnel(p->upstream, &p->use);
        p->is_tunnel = true;
        p->has_body = true;
        p->is_body_done = false;
        p->is_body_asked = false;
    }
    return e;
}

bool proxy_prepare_websocket(struct proxy *p)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const struct request_head *head = p->x->request;
    const char *reason;
    if (p->request->script || !websocket_is_asked(p->x->upgrade)) {
        if (head->protocol.p) {
            request_fail(p->request, 501, "backends are no place for this protocol");
        }
        return !head->protocol.p;
    }
    uint16_t status = websocket_check_request(head, &reason);
    if (status != 101) {
        /* Over HTTP/1 it is a request like any other, whose Upgrade may be ignored. */
        if (head->protocol.p) {
            request_fail(p->request, status, reason);
        }
        return !head->protocol.p;
    }
    uint8_t bytes[16];
    char *key = arena_alloc(&p->x->arena, PROXY_KEY_BYTES);
    if (!key) {
        request_fail(p->request, 503, "out of memory");
        return false;
    }
    random_bytes(bytes, sizeof(bytes));
    for (unsigned i = 0; i < PROXY_KEY_BYTES; i++) {
        /* Six bits each of 128, the last two of 22 characters with four zero bits; RFC 4648 4. */
        unsigned bit = i * 6, at = bit / 8;
        unsigned pair = at < 16 ? (unsigned)bytes[at] << 8 | (at + 1 < 16 ? bytes[at + 1] : 0) : 0;
        key[i] = bit < 128 ? digits[pair >> (10 - bit % 8) & 63] : '=';
    }
    p->websocket_key = str_make(key, PROXY_KEY_BYTES);
    return true;
}
