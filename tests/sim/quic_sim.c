/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ends of QUIC over a network that loses, delays, reorders, doubles and shrinks, with a clock
 * of its own: whatever the seed, every byte of every stream arrives once and in order, both ways,
 * and nothing stands still.
 *
 *   quic_sim COUNT [FIRST SEED]
 */
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "crypto/local_ca.h"
#include "crypto/start.h"
#include "quic/quic_packet.h"

#define MS 1000000ull
#define VIRTUAL_END_NS (1200000 * MS)
#define START_NS (1000 * MS) /* tokens are of then: they shall not run out on a bad network */
#define STREAMS_MAX 8
#define STREAM_BYTES_MAX 200000
#define FLIGHT_MAX 4096

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("seed %" PRIu64 ", %s:%d: %s\n", seed, __FILE__, __LINE__, #condition);         \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static uint64_t seed, random_state, now_ns;

static uint64_t draw(void)
{
    /* splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t draw_below(uint64_t n)
{
    return draw() % n;
}

/* ---- the network ---- */

struct flight {
    uint64_t at_ns;
    uint64_t order;
    bool to_server;
    size_t n;
    uint8_t bytes[QUIC_DATAGRAM_BYTES];
};

static struct flight *in_flight[FLIGHT_MAX];
static size_t flight_count;
static uint64_t flight_order;

static struct {
    unsigned loss_permille;
    unsigned double_permille;
    unsigned delay_ms;
    unsigned jitter_ms;
    size_t mtu;
} network;

static void network_draw(void)
{
    network.loss_permille = (unsigned)draw_below(draw_below(4) ? 50 : 150);
    network.double_permille = (unsigned)draw_below(50);
    network.delay_ms = (unsigned)draw_below(draw_below(4) ? 30 : 300);
    network.jitter_ms = (unsigned)draw_below(2) * (unsigned)draw_below(40);
    network.mtu = draw_below(3) ? QUIC_DATAGRAM_BYTES : 1200 + draw_below(250);
}

static void network_put(bool to_server, const uint8_t *p, size_t n)
{
    if (draw_below(200) == 0) {
        network_draw(); /* the path changes while it is in use */
    }
    if (n > network.mtu || draw_below(1000) < network.loss_permille) {
        return;
    }
    unsigned copies = 1 + (draw_below(1000) < network.double_permille);
    while (copies-- && flight_count < FLIGHT_MAX) {
        struct flight *f = malloc(sizeof(*f));
        f->at_ns = now_ns + (network.delay_ms + draw_below(network.jitter_ms + 1)) * MS + 1000;
        f->order = flight_order++;
        f->to_server = to_server;
        f->n = n;
        memcpy(f->bytes, p, n);
        in_flight[flight_count++] = f;
    }
}

/* The next to arrive, or NULL. */
static struct flight *network_first(void)
{
    struct flight *best = NULL;
    for (size_t i = 0; i < flight_count; i++) {
        struct flight *f = in_flight[i];
        if (!best || f->at_ns < best->at_ns ||
            (f->at_ns == best->at_ns && f->order < best->order)) {
            best = f;
        }
    }
    return best;
}

static void network_take(struct flight *f)
{
    for (size_t i = 0; i < flight_count; i++) {
        if (in_flight[i] == f) {
            in_flight[i] = in_flight[--flight_count];
            return;
        }
    }
}

/* ---- the ends ---- */

struct stream {
    int64_t id;
    uint8_t *data; /* to send; a server's are what came */
    size_t data_bytes;
    size_t sent;
    bool is_end_known; /* nothing will be added to data */
    bool is_end_sent;
    bool is_blocked;
    size_t received;
    bool is_end_received;
    bool is_gone;
};

struct end {
    struct quic_conn *conn;
    bool is_server;
    bool is_ready;
    bool is_handshaken;
    bool is_lost;
    struct stream streams[STREAMS_MAX];
    size_t stream_count;
    size_t next; /* round robin */
    uint64_t cid_count;
};

static struct end client, server;
static struct sockaddr_in client_address, server_address;
static const uint8_t secret[QUIC_SECRET_BYTES] = "a secret of the simulation";

static struct stream *stream_of(struct end *e, int64_t id)
{
    for (size_t i = 0; i < e->stream_count; i++) {
        if (e->streams[i].id == id) {
            return &e->streams[i];
        }
    }
    CHECK(e->is_server && e->stream_count < STREAMS_MAX);
    struct stream *s = &e->streams[e->stream_count++];
    *s = (struct stream){.id = id, .data = malloc(STREAM_BYTES_MAX + 1)};
    return s;
}

static void on_ready(void *user)
{
    CHECK(!((struct end *)user)->is_ready);
    ((struct end *)user)->is_ready = true;
}

static void on_handshake(void *user)
{
    ((struct end *)user)->is_handshaken = true;
}

/* What a client sends on a stream at an offset. */
static uint8_t byte_of(int64_t id, size_t offset)
{
    return (uint8_t)(seed * 7 + (uint64_t)id * 131 + offset * 29 + offset / 251);
}

static enum err on_data(void *user, int64_t id, const uint8_t *p, size_t n, bool is_end)
{
    struct end *e = user;
    struct stream *s = stream_of(e, id);
    CHECK(!s->is_end_received);
    for (size_t i = 0; i < n; i++) {
        CHECK(p[i] == byte_of(id, s->received + i));
    }
    if (e->is_server) {
        /* It echoes. */
        CHECK(s->data_bytes + n <= STREAM_BYTES_MAX);
        memcpy(s->data + s->data_bytes, p, n);
        s->data_bytes += n;
        s->is_end_known = is_end;
    }
    s->received += n;
    s->is_end_received = is_end;
    quic_conn_consume(e->conn, id, n);
    return ERR_OK;
}

static enum err on_acknowledged(void *user, int64_t id, uint64_t n)
{
    (void)user;
    (void)id;
    (void)n;
    return ERR_OK;
}

static void on_code(void *user, int64_t id, uint64_t code)
{
    (void)user;
    (void)id;
    CHECK(code == 0 && "no stream is given up");
}

static void on_stream_end(void *user, int64_t id, uint64_t code)
{
    struct end *e = user;
    (void)code;
    stream_of(e, id)->is_gone = true;
    if (e->is_server) {
        quic_conn_allow_stream(e->conn);
    }
}

static void on_credit(void *user, int64_t id)
{
    stream_of(user, id)->is_blocked = false;
}

static enum err offer(void *user, struct quic_offer *ret)
{
    struct end *e = user;
    for (size_t i = 0; i < e->stream_count; i++) {
        struct stream *s = &e->streams[(e->next + i) % e->stream_count];
        bool has_data = s->sent < s->data_bytes;
        bool has_end = s->is_end_known && !s->is_end_sent;
        if (s->is_gone || s->is_blocked || (!has_data && !has_end)) {
            continue;
        }
        e->next++;
        ret->stream_id = s->id;
        ret->is_end = s->is_end_known;
        ret->count = has_data;
        ret->pieces[0] = (struct quic_piece){s->data + s->sent, s->data_bytes - s->sent};
        return ERR_OK;
    }
    return ERR_OK;
}

static enum err on_taken(void *user, int64_t id, size_t n)
{
    struct stream *s = stream_of(user, id);
    s->sent += n;
    CHECK(s->sent <= s->data_bytes);
    s->is_end_sent = s->is_end_known && s->sent == s->data_bytes;
    return ERR_OK;
}

static void on_blocked(void *user, int64_t id)
{
    stream_of(user, id)->is_blocked = true;
}

static void on_cannot_send(void *user, int64_t id)
{
    (void)user;
    (void)id;
    CHECK(!"no side is closed early");
}

static void hook_random(void *user, uint8_t *p, size_t n)
{
    (void)user;
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint8_t)draw();
    }
}

static void make_cid(void *user, uint8_t *ret_bytes, uint8_t ret_token[QUIC_TOKEN_BYTES])
{
    struct quic_cid cid = {.n = QUIC_CID_BYTES};
    hook_random(user, cid.bytes, QUIC_CID_BYTES);
    memcpy(ret_bytes, cid.bytes, QUIC_CID_BYTES);
    quic_reset_token(secret, &cid, ret_token);
}

static void drop_cid(void *user, const uint8_t *p, size_t n)
{
    (void)user;
    (void)p;
    CHECK(n == QUIC_CID_BYTES);
}

static const struct quic_hooks hooks = {
    on_ready,   on_handshake,   on_data,     on_acknowledged, on_code,
    on_code,    on_stream_end,  on_credit,   offer,           on_taken,
    on_blocked, on_cannot_send, hook_random, make_cid,        drop_cid,
};

static const struct quic_limits limits = {
    .connection_window_bytes = 65536,
    .connection_window_bytes_max = 1 << 20,
    .stream_window_bytes = 32768,
    .stream_window_bytes_max = 1 << 18,
    .stream_count = 4,
    .handshake_ns = 600000 * MS,
    .idle_ns = 600000 * MS,
};

static struct quic_path path_of(bool is_server)
{
    struct str c = str_make((char *)&client_address, sizeof(client_address));
    struct str s = str_make((char *)&server_address, sizeof(server_address));
    return is_server ? (struct quic_path){s, c} : (struct quic_path){c, s};
}

static void end_write(struct end *e)
{
    size_t burst = e->conn ? quic_conn_burst_bytes(e->conn) : 0;
    for (size_t sent = 0; e->conn && !e->is_lost && sent < burst;) {
        uint8_t bytes[QUIC_DATAGRAM_BYTES];
        struct quic_datagram d;
        enum err err = quic_conn_write(e->conn, bytes, &d, now_ns);
        CHECK(!err);
        if (d.n == 0) {
            break;
        }
        sent += d.n;
        network_put(!e->is_server, bytes, d.n);
    }
    if (e->conn) {
        quic_conn_written(e->conn, now_ns);
    }
}

/* ---- TLS ---- */

static struct tls_server *tls;
static struct tls_policy *policy;
static struct certificate_store *store;
static struct buf root_pem;
static int64_t wall_s;

static enum err on_client_hello(void *context, void *user, const struct client_hello *hello,
                                struct tls_choice *ret)
{
    (void)context;
    (void)user;
    CHECK(str_eq(hello->sni, STR("quic.test")));
    *ret = (struct tls_choice){policy, store, false};
    return ERR_OK;
}

static void tls_start(void)
{
    static const struct str name = STR("quic.test");
    const struct local_ca_order order = {&name, 1, 30};
    struct local_ca *ca;
    struct certificate *certificate;
    struct fault fault;
    struct buf chain, key;
    buf_init(&chain, 0);
    buf_init(&key, 0);
    buf_init(&root_pem, 0);
    wall_s = (int64_t)time(NULL);
    CHECK(crypto_start(NULL) == ERR_OK);
    CHECK(local_ca_create(STR("sim"), wall_s, &ca) == ERR_OK);
    CHECK(local_ca_export_certificate(ca, &root_pem) == ERR_OK);
    CHECK(local_ca_issue(ca, &order, wall_s, &chain, &key) == ERR_OK);
    CHECK(certificate_create(buf_str(&chain), buf_str(&key), &certificate, &fault) == ERR_OK);
    CHECK(certificate_store_create(&certificate, 1, SIZE_MAX, &store) == ERR_OK);
    const struct tls_policy_config config = {.min_version = TLS_VERSION_12};
    CHECK(tls_policy_create(&config, &policy, &fault) == ERR_OK);
    const struct tls_server_config server_config = {.hooks = {.on_client_hello = on_client_hello}};
    CHECK(tls_server_create(&server_config, &tls) == ERR_OK);
    certificate_unref(certificate);
    local_ca_destroy(ca);
    buf_done(&chain);
    buf_done(&key);
}

static void tls_end(void)
{
    tls_server_destroy(tls);
    tls_policy_unref(policy);
    certificate_store_unref(store);
    buf_done(&root_pem);
}

/* ---- a run ---- */

static bool wants_retry;

static void server_receive(const uint8_t *p, size_t n)
{
    const struct quic_path path = path_of(true);
    if (!server.conn) {
        struct quic_packet packet;
        struct quic_cid original;
        if (quic_packet_read(p, n, &packet) != ERR_OK || packet.kind != QUIC_PACKET_INITIAL) {
            return;
        }
        struct quic_cid fresh = {.n = QUIC_CID_BYTES};
        uint8_t token[QUIC_TOKEN_BYTES];
        make_cid(&server, fresh.bytes, token);
        enum err e = quic_token_check(&packet, secret, path.remote, START_NS, &original);
        CHECK(e != ERR_ACCESS);
        if (e && wants_retry) {
            uint8_t bytes[QUIC_DATAGRAM_BYTES];
            size_t answer =
                quic_packet_write_retry(&packet, secret, path.remote, &fresh, START_NS, bytes);
            CHECK(answer > 0);
            network_put(false, bytes, answer);
            return;
        }
        struct quic_accept a = {
            .hooks = &hooks,
            .user = &server,
            .limits = &limits,
            .tls = tls,
            .wall_s = wall_s,
            .now_ns = now_ns,
            .path = path,
            .version = packet.version,
            .client_cid = packet.source,
            .server_cid = fresh,
            .original_cid = e ? packet.destination : original,
            .token = packet.token,
            .settings = STR(""),
        };
        if (!e) {
            a.retry_cid = packet.destination;
        }
        memcpy(a.reset_token, token, sizeof(token));
        CHECK(quic_conn_accept(&a, &server.conn) == ERR_OK);
    }
    enum err e = quic_conn_receive(server.conn, &path, 0, p, n, now_ns);
    if (e == ERR_CANCELLED) {
        quic_conn_destroy(server.conn);
        server.conn = NULL;
        return;
    }
    CHECK(!e);
}

static void deliver(struct flight *f)
{
    network_take(f);
    now_ns = f->at_ns;
    if (f->to_server) {
        server_receive(f->bytes, f->n);
    } else {
        const struct quic_path path = path_of(false);
        CHECK(quic_conn_receive(client.conn, &path, 0, f->bytes, f->n, now_ns) == ERR_OK);
    }
    free(f);
}

static bool is_done(void)
{
    for (size_t i = 0; i < client.stream_count; i++) {
        const struct stream *s = &client.streams[i];
        if (!s->is_end_received || s->received != s->data_bytes) {
            return false;
        }
    }
    return client.stream_count > 0;
}

static void open_streams(size_t count)
{
    while (client.stream_count < count) {
        int64_t id;
        if (quic_conn_open(client.conn, true, &id) != ERR_OK) {
            return; /* the server allows more when some have ended */
        }
        struct stream *s = &client.streams[client.stream_count++];
        *s = (struct stream){.id = id, .is_end_known = true};
        s->data_bytes = draw_below(4) ? draw_below(3000) : draw_below(STREAM_BYTES_MAX);
        s->data = malloc(s->data_bytes + 1);
        for (size_t i = 0; i < s->data_bytes; i++) {
            s->data[i] = byte_of(id, i);
        }
    }
}

static void end_destroy(struct end *e)
{
    quic_conn_destroy(e->conn);
    for (size_t i = 0; i < e->stream_count; i++) {
        free(e->streams[i].data);
    }
    *e = (struct end){.is_server = e->is_server};
}

static uint64_t next_event(struct end *e)
{
    return e->conn ? quic_conn_deadline_ns(e->conn) : UINT64_MAX;
}

static void on_deadline(struct end *e)
{
    if (e->conn && quic_conn_deadline_ns(e->conn) <= now_ns) {
        CHECK(quic_conn_on_deadline(e->conn, now_ns) == ERR_OK);
    }
}

static void run(void)
{
    struct tls_quic_client *tls_client;
    const struct tls_quic_client_config config = {.name = STR("quic.test"),
                                                  .trust_pem = buf_str(&root_pem)};
    random_state = seed;
    now_ns = START_NS;
    server.is_server = true;
    network_draw();
    wants_retry = draw_below(3) == 0;
    size_t count = 1 + draw_below(STREAMS_MAX);
    CHECK(tls_quic_client_create(&config, &tls_client) == ERR_OK);
    const struct quic_connect connect = {.hooks = &hooks,
                                         .user = &client,
                                         .limits = &limits,
                                         .tls = tls_client,
                                         .now_ns = now_ns,
                                         .path = path_of(false)};
    CHECK(quic_conn_connect(&connect, &client.conn) == ERR_OK);
    while (!is_done() || client.stream_count < count) {
        CHECK(now_ns < VIRTUAL_END_NS && "something stands still");
        if (client.is_handshaken) {
            open_streams(count);
        }
        end_write(&client);
        end_write(&server);
        struct flight *f = network_first();
        uint64_t client_ns = next_event(&client), server_ns = next_event(&server);
        uint64_t timer_ns = client_ns < server_ns ? client_ns : server_ns;
        CHECK(f || timer_ns != UINT64_MAX);
        if (f && f->at_ns <= timer_ns) {
            deliver(f);
        } else {
            now_ns = timer_ns > now_ns ? timer_ns : now_ns;
            on_deadline(&client);
            on_deadline(&server);
        }
    }
    end_destroy(&client);
    end_destroy(&server);
    while (flight_count) {
        free(in_flight[--flight_count]);
    }
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    client_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = 1};
    server_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = 2};
    tls_start();
    for (seed = first; seed < first + count; seed++) {
        run();
    }
    tls_end();
    printf("%" PRIu64 " seeds from %" PRIu64 ": every byte arrived\n", count, first);
    return 0;
}
