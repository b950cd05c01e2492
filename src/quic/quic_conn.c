/* SPDX-License-Identifier: Apache-2.0 */
#include "quic/quic_conn.h"

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "quic/quic_message.h"

#define QUIC_MAGIC 0x71756963u
#define DATAGRAM_BYTES_SAFE 1200  /* RFC 9000 14: every path takes these */
#define MESSAGE_OVERHEAD_BYTES 64 /* of packet and frame, at most */
#define UNI_STREAMS_MAX 8         /* control and QPACK, and some of unknown kinds */
#define SETTINGS_BYTES_MAX 64
#define CONTEXT_BYTES_MAX 256 /* more than version, settings and transport parameters take */

struct quic_conn {
    uint32_t magic;
    ngtcp2_conn *ngtcp2;
    struct quic_hooks hooks;
    void *user;
    struct tls_conn *tls;           /* of a server */
    struct tls_quic_client *client; /* of a client */
    ngtcp2_ccerr last_error;
    enum err hook_error; /* what a callback returned */
    uint64_t received_ns;
    size_t datagram_bytes_max;
    struct quic_messages messages;
    ngtcp2_mem memory;
    bool is_out_of_memory;
};

/* ---- memory: through ours, so that its failures can be tried ---- */

/* ngtcp2 goes on after some failures as if nothing had happened, and trips over them later: a
 * connection that ever ran out of memory is not to be used again. */
static void *quic_keep(void *user, void *p)
{
    struct quic_conn *c = user;
    c->is_out_of_memory |= p == NULL;
    return p;
}

static void *quic_malloc(size_t n, void *user)
{
    return quic_keep(user, mem_alloc(n ? n : 1));
}

static void quic_free(void *p, void *user)
{
    (void)user;
    mem_free(p);
}

static void *quic_calloc(size_t count, size_t n, void *user)
{
    return quic_keep(user, mem_zalloc(count ? count : 1, n ? n : 1));
}

static void *quic_realloc(void *p, size_t n, void *user)
{
    return quic_keep(user, mem_realloc(p, n ? n : 1));
}

/* ---- callbacks of ngtcp2, in the order of a connection's life ---- */

static ngtcp2_conn *quic_of_reference(ngtcp2_crypto_conn_ref *reference)
{
    struct quic_conn *c = reference->user_data;
    ASSERT_MAGIC(c, QUIC_MAGIC);
    return c->ngtcp2;
}

static struct quic_conn *quic_of(void *user)
{
    struct quic_conn *c = user;
    ASSERT_MAGIC(c, QUIC_MAGIC);
    return c;
}

/* Keeps why a hook failed; ngtcp2 only knows that it did. */
static int quic_verdict(struct quic_conn *c, enum err e)
{
    if (e) {
        c->hook_error = e;
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
}

static int quic_on_key(ngtcp2_conn *ngtcp2, ngtcp2_encryption_level level, void *user)
{
    struct quic_conn *c = quic_of(user);
    (void)ngtcp2;
    if (level == NGTCP2_ENCRYPTION_LEVEL_1RTT && c->hooks.on_ready) {
        c->hooks.on_ready(c->user);
    }
    return 0;
}

static int quic_on_handshake(ngtcp2_conn *ngtcp2, void *user)
{
    struct quic_conn *c = quic_of(user);
    (void)ngtcp2;
    enum err e = c->tls ? tls_quic_finish(c->tls) : ERR_OK;
    if (!e) {
        c->hooks.on_handshake(c->user);
    }
    return quic_verdict(c, e);
}

static int quic_on_data(ngtcp2_conn *ngtcp2, uint32_t flags, int64_t stream_id, uint64_t offset,
                        const uint8_t *p, size_t n, void *user, void *stream_user)
{
    struct quic_conn *c = quic_of(user);
    (void)ngtcp2;
    (void)offset;
    (void)stream_user;
    return quic_verdict(
        c, c->hooks.on_data(c->user, stream_id, p, n, (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0));
}

static int quic_on_acknowledged(ngtcp2_conn *ngtcp2, int64_t stream_id, uint64_t offset, uint64_t n,
                                void *user, void *stream_user)
{
    struct quic_conn *c = quic_of(user);
    (void)ngtcp2;
    (void)offset;
    (void)stream_user;
    return quic_verdict(c, c->hooks.on_acknowledged(c->user, stream_id, n));
}

static int quic_on_reset(ngtcp2_conn *ngtcp2, int64_t stream_id, uint64_t final_size, uint64_t code,
                         void *user, void *stream_user)
{
    struct quic_conn *c = quic_of(user);
    (void)ngtcp2;
    (void)final_size;
    (void)stream_user;
    c->hooks.on_reset(c->user, stream_id, code);
    return 0;
}

static int quic_on_stop(ngtcp2_conn *ngtcp2, int64_t stream_id, uint64_t code, void *user,
                        void *stream_user)
{
    struct quic_conn *c = quic_of(user);
    (void)ngtcp2;
    (void)stream_user;
    c->hooks.on_stop(c->user, stream_id, code);
    return 0;
}

static int quic_on_stream_end(ngtcp2_conn *ngtcp2, uint32_t flags, int64_t stream_id, uint64_t code,
                              void *user, void *stream_user)
{
    struct quic_conn *c = quic_of(user);
    (void)stream_user;
    bool has_code = flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET;
    c->hooks.on_stream_end(c->user, stream_id, has_code ? code : 0);
    if (!ngtcp2_is_bidi_stream(stream_id) && !ngtcp2_conn_is_local_stream(ngtcp2, stream_id)) {
        ngtcp2_conn_extend_max_streams_uni(ngtcp2, 1);
    }
    return 0;
}

static int quic_on_credit(ngtcp2_conn *ngtcp2, int64_t stream_id, uint64_t limit, void *user,
                          void *stream_user)
{
    struct quic_conn *c = quic_of(user);
    (void)ngtcp2;
    (void)limit;
    (void)stream_user;
    c->hooks.on_credit(c->user, stream_id);
    return 0;
}

static int quic_on_message(ngtcp2_conn *ngtcp2, uint32_t flags, const uint8_t *p, size_t n,
                           void *user)
{
    struct quic_conn *c = quic_of(user);
    (void)ngtcp2;
    if (c->hooks.on_message && !(flags & NGTCP2_DATAGRAM_FLAG_0RTT)) {
        c->hooks.on_message(c->user, p, n);
    }
    return 0;
}

static void quic_end_message(struct quic_conn *c, uint64_t id, bool has_arrived)
{
    if (c->hooks.on_message_end) {
        c->hooks.on_message_end(c->user, id, has_arrived);
    }
}

static int quic_on_message_acknowledged(ngtcp2_conn *ngtcp2, uint64_t id, void *user)
{
    (void)ngtcp2;
    quic_end_message(quic_of(user), id, true);
    return 0;
}

static int quic_on_message_lost(ngtcp2_conn *ngtcp2, uint64_t id, void *user)
{
    (void)ngtcp2;
    quic_end_message(quic_of(user), id, false);
    return 0;
}

static void quic_on_random(uint8_t *p, size_t n, const ngtcp2_rand_ctx *context)
{
    struct quic_conn *c = quic_of(context->native_handle);
    c->hooks.random(c->user, p, n);
}

static int quic_on_new_cid(ngtcp2_conn *ngtcp2, ngtcp2_cid *cid, uint8_t *token, size_t n,
                           void *user)
{
    struct quic_conn *c = quic_of(user);
    (void)ngtcp2;
    (void)n; /* QUIC_CID_BYTES, as the first one */
    cid->datalen = QUIC_CID_BYTES;
    c->hooks.make_cid(c->user, cid->data, token);
    return 0;
}

static int quic_on_cid_gone(ngtcp2_conn *ngtcp2, const ngtcp2_cid *cid, void *user)
{
    struct quic_conn *c = quic_of(user);
    (void)ngtcp2;
    c->hooks.drop_cid(c->user, cid->data, cid->datalen);
    return 0;
}

static int quic_on_challenge(ngtcp2_conn *ngtcp2, uint8_t *p, void *user)
{
    struct quic_conn *c = quic_of(user);
    (void)ngtcp2;
    c->hooks.random(c->user, p, NGTCP2_PATH_CHALLENGE_DATALEN);
    return 0;
}

static const ngtcp2_callbacks quic_callbacks = {
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
    .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
    .handshake_completed = quic_on_handshake,
    .encrypt = ngtcp2_crypto_encrypt_cb,
    .decrypt = ngtcp2_crypto_decrypt_cb,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .recv_stream_data = quic_on_data,
    .acked_stream_data_offset = quic_on_acknowledged,
    .stream_close = quic_on_stream_end,
    .recv_retry = ngtcp2_crypto_recv_retry_cb,
    .rand = quic_on_random,
    .get_new_connection_id = quic_on_new_cid,
    .remove_connection_id = quic_on_cid_gone,
    .update_key = ngtcp2_crypto_update_key_cb,
    .stream_reset = quic_on_reset,
    .extend_max_stream_data = quic_on_credit,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .get_path_challenge_data = quic_on_challenge,
    .stream_stop_sending = quic_on_stop,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .recv_tx_key = quic_on_key,
    .recv_datagram = quic_on_message,
    .ack_datagram = quic_on_message_acknowledged,
    .lost_datagram = quic_on_message_lost,
};

/* ---- making one ---- */

static ngtcp2_cid cid_of(const struct quic_cid *cid)
{
    ngtcp2_cid c;
    ngtcp2_cid_init(&c, cid->bytes, cid->n);
    return c;
}

static ngtcp2_path path_of(const struct quic_path *path)
{
    return (ngtcp2_path){
        .local = {(ngtcp2_sockaddr *)(uintptr_t)path->local.p, (ngtcp2_socklen)path->local.n},
        .remote = {(ngtcp2_sockaddr *)(uintptr_t)path->remote.p, (ngtcp2_socklen)path->remote.n},
    };
}

static ngtcp2_cc_algo quic_algorithm(enum quic_congestion congestion)
{
    switch (congestion) {
    case QUIC_CONGESTION_CUBIC:
        return NGTCP2_CC_ALGO_CUBIC;
    case QUIC_CONGESTION_BBR:
        return NGTCP2_CC_ALGO_BBR;
    case QUIC_CONGESTION_RENO:
        return NGTCP2_CC_ALGO_RENO;
    }
    return NGTCP2_CC_ALGO_CUBIC;
}

static void quic_settings(struct quic_conn *c, const struct quic_limits *limits, uint64_t now_ns,
                          ngtcp2_settings *ret)
{
    /* What Ethernet carries, usually and with jumbo frames, less the heads of IPv6 and UDP. What
     * our own interface does not carry never leaves it. */
    static const uint16_t probes[] = {1500 - 48, QUIC_DATAGRAM_BYTES - 48};
    ngtcp2_settings_default(ret);
    ret->initial_ts = now_ns;
    ret->cc_algo = quic_algorithm(limits->congestion);
    ret->handshake_timeout = limits->handshake_ns;
    ret->max_window = limits->connection_window_bytes_max;
    ret->max_stream_window = limits->stream_window_bytes_max;
    ret->rand_ctx.native_handle = c;
    ret->max_tx_udp_payload_size = probes[COUNT_OF(probes) - 1];
    ret->pmtud_probes = probes;
    ret->pmtud_probeslen = COUNT_OF(probes);
}

static void quic_params(const struct quic_limits *limits, bool is_server,
                        ngtcp2_transport_params *ret)
{
    ngtcp2_transport_params_default(ret);
    ret->initial_max_data = limits->connection_window_bytes;
    ret->initial_max_stream_data_bidi_local = limits->stream_window_bytes;
    ret->initial_max_stream_data_bidi_remote = limits->stream_window_bytes;
    ret->initial_max_stream_data_uni = limits->stream_window_bytes;
    ret->initial_max_streams_bidi = is_server ? limits->stream_count : 0;
    ret->initial_max_streams_uni = UNI_STREAMS_MAX;
    ret->max_idle_timeout = limits->idle_ns;
    ret->active_connection_id_limit = 7;
    ret->grease_quic_bit = 1;
    ret->max_datagram_frame_size = limits->message_bytes_max;
}

static struct quic_conn *quic_alloc(const struct quic_hooks *hooks, void *user)
{
    struct quic_conn *c = mem_zalloc(1, sizeof(*c));
    if (c) {
        c->magic = QUIC_MAGIC;
        c->hooks = *hooks;
        c->user = user;
        c->datagram_bytes_max = QUIC_DATAGRAM_BYTES;
        c->memory = (ngtcp2_mem){c, quic_malloc, quic_free, quic_calloc, quic_realloc};
        ngtcp2_ccerr_default(&c->last_error);
    }
    return c;
}

static void quic_refer(struct quic_conn *c, void *words)
{
    ngtcp2_crypto_conn_ref *reference = words;
    reference->get_conn = quic_of_reference;
    reference->user_data = c;
}

/* The server's end of TLS, bound to all that the client may rely on with its early data. */
static enum err quic_accept_tls(struct quic_conn *c, const struct quic_accept *a,
                                const ngtcp2_transport_params *params)
{
    uint8_t context[CONTEXT_BYTES_MAX];
    ASSERT(a->settings.n <= SETTINGS_BYTES_MAX);
    /* RFC 9369 5: a ticket is of the version that it was given under. */
    memcpy(context, &a->version, sizeof(a->version));
    size_t n = sizeof(a->version);
    memcpy(context + n, a->settings.p, a->settings.n);
    n += a->settings.n;
    ngtcp2_ssize written = ngtcp2_transport_params_encode(context + n, sizeof(context) - n, params);
    ASSERT(written >= 0);
    n += (size_t)written;
    return tls_quic_accept(a->tls, a->user, a->wall_s, str_make((char *)context, n), &c->tls);
}

enum err quic_conn_accept(const struct quic_accept *a, struct quic_conn **ret_conn)
{
    struct quic_conn *c = quic_alloc(a->hooks, a->user);
    if (!c) {
        return ERR_NOMEM;
    }
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    quic_settings(c, a->limits, a->now_ns, &settings);
    quic_params(a->limits, true, &params);
    enum err e = quic_accept_tls(c, a, &params);
    settings.token = (const uint8_t *)a->token.p;
    settings.tokenlen = a->token.n;
    params.original_dcid = cid_of(&a->original_cid);
    params.original_dcid_present = 1;
    if (a->retry_cid.n) {
        params.retry_scid = cid_of(&a->retry_cid);
        params.retry_scid_present = 1;
        settings.token_type = NGTCP2_TOKEN_TYPE_RETRY;
    } else if (a->token.n) {
        settings.token_type = NGTCP2_TOKEN_TYPE_NEW_TOKEN;
    }
    memcpy(params.stateless_reset_token, a->reset_token, QUIC_TOKEN_BYTES);
    params.stateless_reset_token_present = 1;
    const ngtcp2_cid client = cid_of(&a->client_cid), server = cid_of(&a->server_cid);
    const ngtcp2_path path = path_of(&a->path);
    if (!e && ngtcp2_conn_server_new(&c->ngtcp2, &client, &server, &path, a->version,
                                     &quic_callbacks, &settings, &params, &c->memory, c) != 0) {
        c->ngtcp2 = NULL;
        e = ERR_NOMEM;
    }
    if (!e) {
        quic_refer(c, tls_quic_reference(c->tls));
        e = ngtcp2_crypto_gnutls_configure_server_session(tls_quic_handle(c->tls)) ? ERR_NOMEM
                                                                                   : ERR_OK;
    }
    if (e) {
        quic_conn_destroy(c);
        return e;
    }
    ngtcp2_conn_set_tls_native_handle(c->ngtcp2, tls_quic_handle(c->tls));
    *ret_conn = c;
    return ERR_OK;
}

enum err quic_conn_connect(const struct quic_connect *k, struct quic_conn **ret_conn)
{
    struct quic_conn *c = quic_alloc(k->hooks, k->user);
    if (!c) {
        return ERR_NOMEM;
    }
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    quic_settings(c, k->limits, k->now_ns, &settings);
    quic_params(k->limits, false, &params);
    struct quic_cid own = {.n = QUIC_CID_BYTES}, peer = {.n = QUIC_CID_BYTES + 2};
    uint8_t token[QUIC_TOKEN_BYTES];
    c->hooks.make_cid(c->user, own.bytes, token);
    c->hooks.random(c->user, peer.bytes, peer.n);
    const ngtcp2_cid source = cid_of(&own), destination = cid_of(&peer);
    const ngtcp2_path path = path_of(&k->path);
    if (ngtcp2_conn_client_new(&c->ngtcp2, &destination, &source, &path, NGTCP2_PROTO_VER_V1,
                               &quic_callbacks, &settings, &params, &c->memory, c) != 0) {
        c->ngtcp2 = NULL;
        quic_conn_destroy(c);
        return ERR_NOMEM;
    }
    quic_refer(c, tls_quic_client_reference(k->tls));
    if (ngtcp2_crypto_gnutls_configure_client_session(tls_quic_client_handle(k->tls))) {
        quic_conn_destroy(c);
        return ERR_NOMEM;
    }
    ngtcp2_conn_set_tls_native_handle(c->ngtcp2, tls_quic_client_handle(k->tls));
    c->client = k->tls;
    *ret_conn = c;
    return ERR_OK;
}

void quic_conn_destroy(struct quic_conn *c)
{
    if (!c) {
        return;
    }
    ngtcp2_conn_del(c->ngtcp2);
    quic_messages_done(&c->messages);
    tls_conn_destroy(c->tls);
    tls_quic_client_destroy(c->client);
    c->magic = 0;
    mem_free(c);
}

/* ---- datagrams ---- */

static enum err quic_fail(struct quic_conn *c, int code)
{
    if (c->is_out_of_memory) {
        return ERR_NOMEM;
    }
    switch (code) {
    case NGTCP2_ERR_DRAINING:
        return ERR_CLOSED;
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
        return ERR_CANCELLED;
    case NGTCP2_ERR_IDLE_CLOSE:
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
        return ERR_TIMEOUT;
    case NGTCP2_ERR_NOMEM:
        return ERR_NOMEM;
    case NGTCP2_ERR_CRYPTO:
        ngtcp2_ccerr_set_tls_alert(&c->last_error, ngtcp2_conn_get_tls_alert(c->ngtcp2), NULL, 0);
        return ERR_ACCESS;
    case NGTCP2_ERR_CALLBACK_FAILURE:
        if (c->last_error.error_code == 0) {
            ngtcp2_ccerr_set_liberr(&c->last_error, code, NULL, 0);
        }
        return c->hook_error ? c->hook_error : ERR_INTERNAL;
    default:
        ngtcp2_ccerr_set_liberr(&c->last_error, code, NULL, 0);
        return ERR_SYNTAX;
    }
}

enum err quic_conn_receive(struct quic_conn *c, const struct quic_path *path, unsigned ecn,
                           const uint8_t *p, size_t n, uint64_t now_ns)
{
    const ngtcp2_path at = path_of(path);
    const ngtcp2_pkt_info info = {.ecn = (uint8_t)ecn};
    int r = ngtcp2_conn_read_pkt(c->ngtcp2, &at, &info, p, n, now_ns);
    c->received_ns = now_ns;
    return r || c->is_out_of_memory ? quic_fail(c, r) : ERR_OK;
}

static void quic_fill(struct quic_datagram *ret, const ngtcp2_path_storage *path,
                      const ngtcp2_pkt_info *info, size_t n)
{
    ret->n = n;
    ret->ecn = info->ecn;
    ret->remote_bytes = path->path.remote.addrlen;
    ASSERT(ret->remote_bytes <= sizeof(ret->remote));
    memcpy(ret->remote, path->path.remote.addr, ret->remote_bytes);
}

/* What to do with a stream that could not be written; true: try another. */
static bool quic_set_aside(struct quic_conn *c, int64_t stream_id, ngtcp2_ssize r)
{
    if (r == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
        c->hooks.on_blocked(c->user, stream_id);
        return true;
    }
    if (r == NGTCP2_ERR_STREAM_SHUT_WR || r == NGTCP2_ERR_STREAM_NOT_FOUND) {
        c->hooks.on_cannot_send(c->user, stream_id);
        return true;
    }
    return false;
}

/* Messages into the packet that is being made, before anything of streams. NGTCP2_ERR_WRITE_MORE:
 * there is room for more; else as of ngtcp2_conn_writev_stream. */
static ngtcp2_ssize quic_write_messages(struct quic_conn *c, ngtcp2_path *path,
                                        ngtcp2_pkt_info *info, uint8_t *bytes, uint64_t now_ns)
{
    while (c->messages.first) {
        struct quic_message *m = c->messages.first;
        const ngtcp2_vec vec = {m->bytes, m->n};
        uint64_t id = m->id;
        int is_accepted = 0;
        if (m->n > quic_conn_message_bytes_max(c)) {
            /* The path became narrower while it waited. */
            quic_messages_drop(&c->messages);
            quic_end_message(c, id, false);
            continue;
        }
        ngtcp2_ssize r = ngtcp2_conn_writev_datagram(
            c->ngtcp2, path, info, bytes, c->datagram_bytes_max, &is_accepted,
            NGTCP2_WRITE_DATAGRAM_FLAG_MORE, id, &vec, m->n ? 1 : 0, now_ns);
        if (is_accepted) {
            quic_messages_drop(&c->messages);
        }
        if (r != NGTCP2_ERR_WRITE_MORE) {
            return r;
        }
    }
    return NGTCP2_ERR_WRITE_MORE;
}

/* What the owner offers of its streams into the packet; as of quic_write_messages, but the packet
 * is complete. `*reterr_hook`: what a hook failed with. */
static ngtcp2_ssize quic_write_streams(struct quic_conn *c, ngtcp2_path *path,
                                       ngtcp2_pkt_info *info, uint8_t *bytes, uint64_t now_ns,
                                       enum err *reterr_hook)
{
    for (;;) {
        struct quic_offer offer = {.stream_id = -1};
        ngtcp2_vec vec[QUIC_PIECES_MAX];
        ngtcp2_ssize taken = -1;
        uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE;
        *reterr_hook = c->hooks.offer(c->user, &offer);
        if (*reterr_hook) {
            return 0;
        }
        for (size_t i = 0; i < offer.count; i++) {
            vec[i] = (ngtcp2_vec){(uint8_t *)(uintptr_t)offer.pieces[i].p, offer.pieces[i].n};
        }
        flags |= offer.is_end ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0;
        ngtcp2_ssize r =
            ngtcp2_conn_writev_stream(c->ngtcp2, path, info, bytes, c->datagram_bytes_max, &taken,
                                      flags, offer.stream_id, vec, offer.count, now_ns);
        if (taken >= 0 && offer.stream_id >= 0) {
            *reterr_hook = c->hooks.on_taken(c->user, offer.stream_id, (size_t)taken);
            if (*reterr_hook) {
                return 0;
            }
        }
        if (r != NGTCP2_ERR_WRITE_MORE && !quic_set_aside(c, offer.stream_id, r)) {
            return r;
        }
    }
}

enum err quic_conn_write(struct quic_conn *c, uint8_t *bytes, struct quic_datagram *ret,
                         uint64_t now_ns)
{
    ngtcp2_path_storage path;
    ngtcp2_pkt_info info = {0};
    enum err e = ERR_OK;
    ngtcp2_path_storage_zero(&path);
    ret->n = 0;
    ngtcp2_ssize r = quic_write_messages(c, &path.path, &info, bytes, now_ns);
    if (r == NGTCP2_ERR_WRITE_MORE) {
        r = quic_write_streams(c, &path.path, &info, bytes, now_ns, &e);
    }
    if (e || r < 0 || c->is_out_of_memory) {
        return e ? e : quic_fail(c, (int)r);
    }
    if (r > 0) {
        quic_fill(ret, &path, &info, (size_t)r);
        ret->is_probe = ret->n > ngtcp2_conn_get_path_max_tx_udp_payload_size(c->ngtcp2);
    }
    return ERR_OK;
}

void quic_conn_written(struct quic_conn *c, uint64_t now_ns)
{
    ngtcp2_conn_update_pkt_tx_time(c->ngtcp2, now_ns);
}

uint64_t quic_conn_window_bytes(struct quic_conn *c)
{
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(c->ngtcp2, &info);
    return info.cwnd;
}

size_t quic_conn_burst_bytes(struct quic_conn *c)
{
    return ngtcp2_conn_get_send_quantum(c->ngtcp2);
}

uint64_t quic_conn_deadline_ns(const struct quic_conn *c)
{
    return ngtcp2_conn_get_expiry(c->ngtcp2);
}

/* A path may come to swallow what it used to take (RFC 8899 4.3); ngtcp2 looks for larger sizes,
 * not for smaller ones. Where nothing comes back for long, only what every path takes is sent. */
static void quic_look_for_black_hole(struct quic_conn *c, uint64_t now_ns)
{
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(c->ngtcp2, &info);
    if (c->received_ns && info.bytes_in_flight &&
        now_ns - c->received_ns > 3 * ngtcp2_conn_get_pto(c->ngtcp2)) {
        c->datagram_bytes_max = DATAGRAM_BYTES_SAFE;
    }
}

enum err quic_conn_on_deadline(struct quic_conn *c, uint64_t now_ns)
{
    quic_look_for_black_hole(c, now_ns);
    int r = ngtcp2_conn_handle_expiry(c->ngtcp2, now_ns);
    return r || c->is_out_of_memory ? quic_fail(c, r) : ERR_OK;
}

enum err quic_conn_close_failed(struct quic_conn *c, uint8_t *bytes, struct quic_datagram *ret,
                                uint64_t now_ns)
{
    ngtcp2_path_storage path;
    ngtcp2_pkt_info info = {0};
    ngtcp2_path_storage_zero(&path);
    ret->n = 0;
    if (ngtcp2_conn_in_closing_period(c->ngtcp2) || ngtcp2_conn_in_draining_period(c->ngtcp2)) {
        return ERR_OK;
    }
    ngtcp2_ssize r = ngtcp2_conn_write_connection_close(
        c->ngtcp2, &path.path, &info, bytes, QUIC_DATAGRAM_BYTES, &c->last_error, now_ns);
    if (r < 0) {
        return ERR_INTERNAL;
    }
    if (r > 0) {
        quic_fill(ret, &path, &info, (size_t)r);
    }
    return ERR_OK;
}

enum err quic_conn_close(struct quic_conn *c, uint64_t code, uint8_t *bytes,
                         struct quic_datagram *ret, uint64_t now_ns)
{
    ngtcp2_ccerr_set_application_error(&c->last_error, code, NULL, 0);
    return quic_conn_close_failed(c, bytes, ret, now_ns);
}

uint64_t quic_conn_linger_ns(struct quic_conn *c)
{
    return 3 * ngtcp2_conn_get_pto(c->ngtcp2);
}

/* ---- streams ---- */

enum err quic_conn_open(struct quic_conn *c, bool is_two_way, int64_t *ret_stream_id)
{
    int r = is_two_way ? ngtcp2_conn_open_bidi_stream(c->ngtcp2, ret_stream_id, NULL)
                       : ngtcp2_conn_open_uni_stream(c->ngtcp2, ret_stream_id, NULL);
    return r == NGTCP2_ERR_STREAM_ID_BLOCKED ? ERR_LIMIT : r ? ERR_NOMEM : ERR_OK;
}

void quic_conn_consume(struct quic_conn *c, int64_t stream_id, size_t n)
{
    /* A stream that is gone has no window of its own any more. */
    int ignored = ngtcp2_conn_extend_max_stream_offset(c->ngtcp2, stream_id, n);
    (void)ignored;
    ngtcp2_conn_extend_max_offset(c->ngtcp2, n);
}

void quic_conn_allow_stream(struct quic_conn *c)
{
    ngtcp2_conn_extend_max_streams_bidi(c->ngtcp2, 1);
}

void quic_conn_keep_alive(struct quic_conn *c, bool is_wanted)
{
    /* The shorter time of both ends rules, 0 is none; a third of it leaves room for losses. */
    uint64_t ours = ngtcp2_conn_get_local_transport_params(c->ngtcp2)->max_idle_timeout;
    uint64_t theirs = ngtcp2_conn_get_remote_transport_params(c->ngtcp2)->max_idle_timeout;
    uint64_t idle = theirs && (theirs < ours || !ours) ? theirs : ours;
    ngtcp2_conn_set_keep_alive_timeout(c->ngtcp2, is_wanted && idle ? idle / 3 : UINT64_MAX);
}

size_t quic_conn_message_bytes_max(struct quic_conn *c)
{
    const ngtcp2_transport_params *peer = ngtcp2_conn_get_remote_transport_params(c->ngtcp2);
    uint64_t frame = peer ? peer->max_datagram_frame_size : 0;
    uint64_t packet = ngtcp2_conn_get_path_max_tx_udp_payload_size(c->ngtcp2);
    const uint64_t frame_head = 1 + 8; /* kind, and length at its longest */
    frame = frame > frame_head ? frame - frame_head : 0;
    packet -= MESSAGE_OVERHEAD_BYTES;
    return (size_t)(frame < packet ? frame : packet);
}

enum err quic_conn_send_message(struct quic_conn *c, struct str bytes, uint64_t id)
{
    if (!quic_conn_is_handshaken(c)) {
        return ERR_AGAIN;
    }
    size_t most = quic_conn_message_bytes_max(c);
    if (most == 0) {
        return ERR_UNSUPPORTED;
    }
    return bytes.n > most ? ERR_RANGE
                          : quic_messages_add(&c->messages, bytes, id, QUIC_MESSAGES_MAX);
}

void quic_conn_reset(struct quic_conn *c, int64_t stream_id, uint64_t code)
{
    int ignored = ngtcp2_conn_shutdown_stream_write(c->ngtcp2, 0, stream_id, code);
    (void)ignored; /* a stream that is gone needs no reset */
}

void quic_conn_stop(struct quic_conn *c, int64_t stream_id, uint64_t code)
{
    int ignored = ngtcp2_conn_shutdown_stream_read(c->ngtcp2, 0, stream_id, code);
    (void)ignored;
}

enum err quic_conn_send_token(struct quic_conn *c, struct str token)
{
    int r = ngtcp2_conn_submit_new_token(c->ngtcp2, (const uint8_t *)token.p, token.n);
    return r ? ERR_NOMEM : ERR_OK;
}

bool quic_conn_is_handshaken(const struct quic_conn *c)
{
    return ngtcp2_conn_get_handshake_completed(c->ngtcp2) != 0;
}

const struct tls_conn *quic_conn_tls(const struct quic_conn *c)
{
    return c->tls;
}
