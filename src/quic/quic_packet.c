/* SPDX-License-Identifier: Apache-2.0 */
#include "quic/quic_packet.h"

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <string.h>

#include "base/assert.h"
#include "crypto/digest.h"
#include "crypto/secret.h"

#define RETRY_NS (30ull * 1000000000u) /* how long a client may take to come back after a Retry */
#define TOKEN_NS (86400ull * 1000000000u) /* the same with a token of an earlier connection */
#define RESET_BYTES_MIN 41 /* RFC 9000 10.3: shorter ones could be told from packets */

static void cid_set(struct quic_cid *ret, const uint8_t *p, size_t n)
{
    ret->n = (uint8_t)n;
    if (n) {
        memcpy(ret->bytes, p, n);
    }
}

static ngtcp2_cid cid_of(const struct quic_cid *cid)
{
    ngtcp2_cid c;
    ngtcp2_cid_init(&c, cid->bytes, cid->n);
    return c;
}

enum err quic_packet_read(const uint8_t *p, size_t n, struct quic_packet *ret)
{
    ngtcp2_version_cid v;
    *ret = (struct quic_packet){.kind = QUIC_PACKET_SHORT};
    int r = n ? ngtcp2_pkt_decode_version_cid(&v, p, n, QUIC_CID_BYTES) : -1;
    if ((r && r != NGTCP2_ERR_VERSION_NEGOTIATION) || v.dcidlen > QUIC_CID_BYTES_MAX ||
        v.scidlen > QUIC_CID_BYTES_MAX) {
        return ERR_SYNTAX;
    }
    cid_set(&ret->destination, v.dcid, v.dcidlen);
    cid_set(&ret->source, v.scid, v.scidlen);
    ret->version = v.version;
    if (r) {
        ret->kind = QUIC_PACKET_VERSION;
        return n < QUIC_INITIAL_BYTES_MIN ? ERR_SYNTAX : ERR_OK;
    }
    if (v.version == 0) {
        return ERR_OK;
    }
    ngtcp2_pkt_hd head;
    ret->kind = QUIC_PACKET_LONG;
    if (ngtcp2_accept(&head, p, n) == 0 && head.type == NGTCP2_PKT_INITIAL) {
        ret->kind = QUIC_PACKET_INITIAL;
        ret->token = str_make((const char *)head.token, head.tokenlen);
    }
    return ERR_OK;
}

size_t quic_packet_write_versions(const struct quic_packet *p, uint8_t random,
                                  uint8_t bytes[QUIC_DATAGRAM_BYTES])
{
    const uint32_t spoken[] = {0x1a2a3a4au, NGTCP2_PROTO_VER_V1, NGTCP2_PROTO_VER_V2};
    ngtcp2_ssize n = ngtcp2_pkt_write_version_negotiation(
        bytes, QUIC_DATAGRAM_BYTES, random, p->source.bytes, p->source.n, p->destination.bytes,
        p->destination.n, spoken, COUNT_OF(spoken));
    return n > 0 ? (size_t)n : 0;
}

size_t quic_packet_write_retry(const struct quic_packet *p, const uint8_t secret[QUIC_SECRET_BYTES],
                               struct str remote, const struct quic_cid *fresh, uint64_t now_ns,
                               uint8_t bytes[QUIC_DATAGRAM_BYTES])
{
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2];
    const ngtcp2_cid own = cid_of(fresh), client = cid_of(&p->source),
                     original = cid_of(&p->destination);
    ngtcp2_ssize token_bytes =
        ngtcp2_crypto_generate_retry_token2(token, secret, QUIC_SECRET_BYTES, p->version,
                                            (const ngtcp2_sockaddr *)(const void *)remote.p,
                                            (ngtcp2_socklen)remote.n, &own, &original, now_ns);
    if (token_bytes < 0) {
        return 0;
    }
    ngtcp2_ssize n = ngtcp2_crypto_write_retry(bytes, QUIC_DATAGRAM_BYTES, p->version, &client,
                                               &own, &original, token, (size_t)token_bytes);
    return n > 0 ? (size_t)n : 0;
}

/* RFC 9369 5: a token is of the version that it was given under. */
static enum err token_key(const uint8_t secret[QUIC_SECRET_BYTES], uint32_t version,
                          uint8_t ret_key[QUIC_SECRET_BYTES])
{
    char info[] = "address token 0000";
    for (size_t i = 0; i < 4; i++) {
        info[sizeof(info) - 2 - i] = (char)(version >> (8 * i));
    }
    return digest_derive(str_make((const char *)secret, QUIC_SECRET_BYTES),
                         str_make(info, sizeof(info) - 1), ret_key, QUIC_SECRET_BYTES);
}

size_t quic_token_make(const uint8_t secret[QUIC_SECRET_BYTES], uint32_t version, struct str remote,
                       uint64_t now_ns, uint8_t bytes[QUIC_ADDRESS_TOKEN_BYTES])
{
    uint8_t key[QUIC_SECRET_BYTES];
    _Static_assert(NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN <= QUIC_ADDRESS_TOKEN_BYTES, "it fits");
    if (token_key(secret, version, key) != ERR_OK) {
        return 0;
    }
    ngtcp2_ssize n = ngtcp2_crypto_generate_regular_token(
        bytes, key, sizeof(key), (const ngtcp2_sockaddr *)(const void *)remote.p,
        (ngtcp2_socklen)remote.n, now_ns);
    secret_wipe(key, sizeof(key));
    return n > 0 ? (size_t)n : 0;
}

static enum err token_check_address(const struct quic_packet *p,
                                    const uint8_t secret[QUIC_SECRET_BYTES], struct str remote,
                                    uint64_t now_ns)
{
    uint8_t key[QUIC_SECRET_BYTES];
    enum err e = token_key(secret, p->version, key);
    if (e) {
        return ERR_NOT_FOUND;
    }
    int r = ngtcp2_crypto_verify_regular_token((const uint8_t *)p->token.p, p->token.n, key,
                                               sizeof(key),
                                               (const ngtcp2_sockaddr *)(const void *)remote.p,
                                               (ngtcp2_socklen)remote.n, TOKEN_NS, now_ns);
    secret_wipe(key, sizeof(key));
    return r ? ERR_NOT_FOUND : ERR_OK;
}

enum err quic_token_check(const struct quic_packet *p, const uint8_t secret[QUIC_SECRET_BYTES],
                          struct str remote, uint64_t now_ns, struct quic_cid *ret_original)
{
    ngtcp2_cid original;
    const ngtcp2_cid own = cid_of(&p->destination);
    const uint8_t *token = (const uint8_t *)p->token.p;
    if (p->token.n && token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_REGULAR) {
        ret_original->n = 0;
        return token_check_address(p, secret, remote, now_ns);
    }
    if (p->token.n == 0 || token[0] != NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2) {
        return ERR_NOT_FOUND;
    }
    if (ngtcp2_crypto_verify_retry_token2(&original, token, p->token.n, secret, QUIC_SECRET_BYTES,
                                          p->version,
                                          (const ngtcp2_sockaddr *)(const void *)remote.p,
                                          (ngtcp2_socklen)remote.n, &own, RETRY_NS, now_ns) != 0) {
        return ERR_ACCESS;
    }
    cid_set(ret_original, original.data, original.datalen);
    return ERR_OK;
}

void quic_reset_token(const uint8_t secret[QUIC_SECRET_BYTES], const struct quic_cid *cid,
                      uint8_t ret_token[QUIC_TOKEN_BYTES])
{
    const ngtcp2_cid id = cid_of(cid);
    int r = ngtcp2_crypto_generate_stateless_reset_token(ret_token, secret, QUIC_SECRET_BYTES, &id);
    ASSERT(r == 0); /* a hash of fixed sizes */
}

size_t quic_packet_write_reset(const struct quic_packet *p, const uint8_t secret[QUIC_SECRET_BYTES],
                               size_t n, const uint8_t *random, size_t random_bytes,
                               uint8_t bytes[QUIC_DATAGRAM_BYTES])
{
    uint8_t token[QUIC_TOKEN_BYTES];
    if (n <= RESET_BYTES_MIN || p->destination.n != QUIC_CID_BYTES) {
        return 0;
    }
    quic_reset_token(secret, &p->destination, token);
    /* Shorter than what it answers, so that two ends that lost their state fall silent. */
    size_t most = n - 1 < QUIC_DATAGRAM_BYTES ? n - 1 : QUIC_DATAGRAM_BYTES;
    size_t filled = most - QUIC_TOKEN_BYTES < random_bytes ? most - QUIC_TOKEN_BYTES : random_bytes;
    ngtcp2_ssize written = ngtcp2_pkt_write_stateless_reset(bytes, most, token, random, filled);
    return written > 0 ? (size_t)written : 0;
}

size_t quic_packet_write_refusal(const struct quic_packet *p, uint8_t bytes[QUIC_DATAGRAM_BYTES])
{
    const ngtcp2_cid client = cid_of(&p->source), own = cid_of(&p->destination);
    ngtcp2_ssize n = ngtcp2_crypto_write_connection_close(
        bytes, QUIC_DATAGRAM_BYTES, p->version, &client, &own, NGTCP2_CONNECTION_REFUSED, NULL, 0);
    return n > 0 ? (size_t)n : 0;
}
