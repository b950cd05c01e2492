/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/acme_post.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/base64url.h"
#include "crypto/digest.h"
#include "crypto/jws.h"

#define EAB_KEY_BYTES_MAX 512

/* The three members; `protected` and `payload` in base64url. */
static void put_members(struct str protected, struct str payload, struct str signature,
                        struct buf *out)
{
    buf_add_str(out, STR("{\"protected\":\""));
    buf_add_str(out, protected);
    buf_add_str(out, STR("\",\"payload\":\""));
    buf_add_str(out, payload);
    buf_add_str(out, STR("\",\"signature\":\""));
    base64url_encode(out, signature);
    buf_add_str(out, STR("\"}"));
}

/* What is signed (RFC 7515 5.1): `header.payload`, both encoded; `*ret_dot` is where the dot is. */
static void put_signed_text(struct str header, struct str payload, struct buf *out, size_t *ret_dot)
{
    base64url_encode(out, header);
    *ret_dot = out->n;
    buf_add_char(out, '.');
    base64url_encode(out, payload);
}

enum err acme_put_post(const struct acme_post *post, struct buf *out)
{
    struct buf header, text;
    uint8_t signature[JWS_ES256_BYTES];
    size_t dot;
    buf_init(&header, 0);
    buf_init(&text, 0);
    buf_add_str(&header, STR("{\"alg\":\"ES256\","));
    enum err e = ERR_OK;
    if (post->account.n) {
        buf_printf(&header, "\"kid\":\"" STR_FMT "\"", STR_ARG(post->account));
    } else {
        buf_add_str(&header, STR("\"jwk\":"));
        e = jws_put_jwk(post->key, &header);
    }
    buf_printf(&header, ",\"nonce\":\"" STR_FMT "\",\"url\":\"" STR_FMT "\"}", STR_ARG(post->nonce),
               STR_ARG(post->url));
    put_signed_text(buf_str(&header), post->payload, &text, &dot);
    if (!e) {
        e = header.is_failed || text.is_failed ? ERR_NOMEM : ERR_OK;
    }
    if (!e) {
        e = jws_sign_es256(post->key, buf_str(&text), signature);
    }
    if (!e) {
        put_members(str_make(text.p, dot), str_make(text.p + dot + 1, text.n - dot - 1),
                    str_make((char *)signature, sizeof(signature)), out);
        e = out->is_failed ? ERR_NOMEM : ERR_OK;
    }
    buf_done(&header);
    buf_done(&text);
    return e;
}

/* The JWS of 7.3.4: our public key, signed with the key that the CA gave. */
static enum err put_external_account(const struct acme_account_request *request, struct buf *out)
{
    struct buf key, jwk, text;
    uint8_t mac[32];
    size_t dot;
    buf_init(&key, EAB_KEY_BYTES_MAX);
    buf_init(&jwk, 0);
    buf_init(&text, 0);
    json_t *h = json_pack("{s:s, s:s%, s:s%}", "alg", "HS256", "kid", request->eab_kid.p,
                          request->eab_kid.n, "url", request->url.p, request->url.n);
    char *h_text = h ? json_dumps(h, JSON_COMPACT) : NULL;
    enum err e = h_text ? base64url_decode(&key, request->eab_key) : ERR_NOMEM;
    if (!e) {
        e = jws_put_jwk(request->key, &jwk);
    }
    if (!e) {
        put_signed_text(str_of(h_text), buf_str(&jwk), &text, &dot);
        e = text.is_failed ? ERR_NOMEM : digest_hmac(buf_str(&key), buf_str(&text), mac);
    }
    if (!e) {
        put_members(str_make(text.p, dot), str_make(text.p + dot + 1, text.n - dot - 1),
                    str_make((char *)mac, sizeof(mac)), out);
    }
    free(h_text);
    json_decref(h);
    buf_done_secret(&key);
    buf_done(&jwk);
    buf_done(&text);
    return e;
}

enum err acme_put_account(const struct acme_account_request *request, struct buf *out)
{
    enum err e = ERR_OK;
    buf_add_str(out, STR("{\"termsOfServiceAgreed\":true"));
    if (request->email.n) {
        json_t *contact = json_sprintf("mailto:" STR_FMT, STR_ARG(request->email));
        char *text = contact ? json_dumps(contact, JSON_ENCODE_ANY) : NULL;
        if (text) {
            buf_printf(out, ",\"contact\":[%s]", text);
        } else {
            e = ERR_NOMEM;
        }
        free(text);
        json_decref(contact);
    }
    if (!e && request->eab_kid.n) {
        buf_add_str(out, STR(",\"externalAccountBinding\":"));
        e = put_external_account(request, out);
    }
    buf_add_char(out, '}');
    return !e && out->is_failed ? ERR_NOMEM : e;
}

/* A name that ends in a digit, or holds a colon, is an address (RFC 3986 3.2.2 has no such host
 * name that a CA would sign for). */
static bool is_address(struct str name)
{
    return str_index(name, ':') >= 0 || (name.n && ascii_is_digit(name.p[name.n - 1]));
}

enum err acme_put_order(const struct str *names, size_t count, struct str replaces, struct buf *out)
{
    json_t *list = json_array();
    json_t *root = json_pack("{s:o}", "identifiers", list);
    bool is_good = root != NULL;
    for (size_t i = 0; i < count && is_good; i++) {
        is_good = json_array_append_new(list, json_pack("{s:s, s:s%}", "type",
                                                        is_address(names[i]) ? "ip" : "dns",
                                                        "value", names[i].p, names[i].n)) == 0;
    }
    if (is_good && replaces.n) {
        is_good = json_object_set_new(root, "replaces", json_stringn(replaces.p, replaces.n)) == 0;
    }
    char *text = is_good ? json_dumps(root, JSON_COMPACT) : NULL;
    if (text) {
        buf_add_str(out, str_of(text));
    }
    is_good = text && !out->is_failed;
    free(text);
    json_decref(root);
    return is_good ? ERR_OK : ERR_NOMEM;
}

enum err acme_put_finalize(struct str csr, struct buf *out)
{
    buf_add_str(out, STR("{\"csr\":\""));
    base64url_encode(out, csr);
    buf_add_str(out, STR("\"}"));
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}
