/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams of QUIC. First the input itself as one that belongs to no connection: what is read of
 * it lies within it, answers are no longer than they may be, and a token proves something only
 * where it was not changed. Then a client and a server shake hands and speak, and the input says
 * what happens to each datagram between them: whatever it is, nobody takes a changed one for the
 * peer's, and in the end every byte arrives.
 *
 * Randomness of the system is a fixed sequence here, so that an input does the same again.
 */
#include "../sim/quic_rig.c"

#include <sys/random.h>

#include "base/assert.h"
#include "input.h"

#define CHANGED_MAX 48u /* datagrams that the input decides about */
#define SPOILED_MAX 8u  /* of them are not to be understood: each waits twice as long as before */
#define STEPS_MAX 20000u
#define FLIGHT_MAX 512u
#define STREAM_BYTES 3000u
#define DELAY_NS (10 * MS)
#define START_NS (1000 * MS)

/* In place of the C library's: keys and nonces of TLS come from here. */
ssize_t getrandom(void *p, size_t n, unsigned flags)
{
    static uint64_t state = 1;
    (void)flags;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)p)[i] = (uint8_t)(state >> 56);
    }
    return (ssize_t)n;
}

/* ---- without a connection ---- */

static bool is_within(struct str part, struct input whole)
{
    const char *p = (const char *)whole.p;
    return part.n == 0 || (part.p >= p && part.p + part.n <= p + whole.n);
}

static void check_token(const struct quic_packet *p)
{
    const struct str remote = sim_path(true).remote;
    uint8_t token[QUIC_ADDRESS_TOKEN_BYTES];
    struct quic_cid original;
    struct quic_packet mine = *p;
    ASSERT(quic_token_check(p, sim_secret, remote, START_NS, &original) != ERR_OK);
    size_t n = quic_token_make(sim_secret, p->version, remote, START_NS, token);
    mine.token = str_make((const char *)token, n);
    ASSERT(n && quic_token_check(&mine, sim_secret, remote, START_NS, &original) == ERR_OK);
    size_t at = p->token.n % n;
    token[at] ^= (uint8_t)(1u << p->destination.n % 8);
    ASSERT(quic_token_check(&mine, sim_secret, remote, START_NS, &original) != ERR_OK);
}

static void check_packet(struct input in)
{
    struct quic_packet p;
    uint8_t out[QUIC_DATAGRAM_BYTES], noise[64] = {0};
    if (quic_packet_read(in.p, in.n, &p) != ERR_OK) {
        return;
    }
    ASSERT(p.destination.n <= QUIC_CID_BYTES_MAX && p.source.n <= QUIC_CID_BYTES_MAX);
    ASSERT(is_within(p.token, in));
    const struct quic_cid fresh = {.n = QUIC_CID_BYTES};
    const struct str remote = sim_path(true).remote;
    switch (p.kind) {
    case QUIC_PACKET_SHORT:
        ASSERT(quic_packet_write_reset(&p, sim_secret, in.n, noise, sizeof(noise), out) < in.n);
        break;
    case QUIC_PACKET_LONG:
        break;
    case QUIC_PACKET_INITIAL:
        check_token(&p);
        ASSERT(quic_packet_write_retry(&p, sim_secret, remote, &fresh, START_NS, out) <= 300);
        ASSERT(quic_packet_write_refusal(&p, out) <= 300);
        break;
    case QUIC_PACKET_VERSION:
        ASSERT(in.n >= QUIC_INITIAL_BYTES_MIN);
        ASSERT(quic_packet_write_versions(&p, 0, out) <= 100);
        break;
    }
}

/* ---- a client and a server ---- */

struct end {
    struct quic_conn *conn;
    bool is_server;
    bool is_ready;
    int64_t id; /* of the one stream; -1: not yet */
    size_t sent;
    size_t sendable;
    size_t received;
    bool is_end_sent;
    bool is_end_received;
    bool is_blocked;
};

struct flight {
    uint64_t at_ns;
    bool to_server;
    size_t n;
    uint8_t bytes[QUIC_DATAGRAM_BYTES];
};

static struct end client, server;
static struct flight flights[FLIGHT_MAX];
static size_t flight_first, flight_count, datagram_count, spoiled_count;
static uint64_t now_ns;
static struct input orders;

static void on_ready(void *user)
{
    ((struct end *)user)->is_ready = true;
}

static void on_handshake(void *user)
{
    struct end *e = user;
    if (!e->is_server) {
        CHECK(quic_conn_open(e->conn, true, &e->id) == ERR_OK);
        e->sendable = STREAM_BYTES;
    }
}

static uint8_t byte_of(size_t offset)
{
    return (uint8_t)(offset * 29 + offset / 251);
}

static uint8_t stream_bytes[STREAM_BYTES];

/* The server echoes. */
static enum err on_data(void *user, int64_t id, const uint8_t *p, size_t n, bool is_end)
{
    struct end *e = user;
    CHECK(e->received + n <= STREAM_BYTES && !e->is_end_received);
    for (size_t i = 0; i < n; i++) {
        CHECK(p[i] == byte_of(e->received + i));
    }
    e->id = id;
    e->received += n;
    e->sendable = e->is_server ? e->received : e->sendable;
    e->is_end_received = is_end;
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
    (void)code;
    CHECK(!"no stream is given up");
}

static void on_stream_end(void *user, int64_t id, uint64_t code)
{
    (void)user;
    (void)id;
    (void)code;
}

static void on_credit(void *user, int64_t id)
{
    (void)id;
    ((struct end *)user)->is_blocked = false;
}

static enum err offer(void *user, struct quic_offer *ret)
{
    struct end *e = user;
    bool is_all = e->sendable == STREAM_BYTES && (!e->is_server || e->is_end_received);
    if (e->id < 0 || e->is_blocked || e->is_end_sent || (e->sent == e->sendable && !is_all)) {
        return ERR_OK;
    }
    ret->stream_id = e->id;
    ret->is_end = is_all;
    ret->count = e->sent < e->sendable;
    ret->pieces[0] = (struct quic_piece){stream_bytes + e->sent, e->sendable - e->sent};
    return ERR_OK;
}

static enum err on_taken(void *user, int64_t id, size_t n)
{
    struct end *e = user;
    (void)id;
    e->sent += n;
    e->is_end_sent = e->sent == STREAM_BYTES && (!e->is_server || e->is_end_received);
    return ERR_OK;
}

static void on_blocked(void *user, int64_t id)
{
    (void)id;
    ((struct end *)user)->is_blocked = true;
}

static const struct quic_hooks hooks = {
    .on_ready = on_ready,
    .on_handshake = on_handshake,
    .on_data = on_data,
    .on_acknowledged = on_acknowledged,
    .on_reset = on_code,
    .on_stop = on_code,
    .on_stream_end = on_stream_end,
    .on_credit = on_credit,
    .offer = offer,
    .on_taken = on_taken,
    .on_blocked = on_blocked,
    .on_cannot_send = on_blocked,
    .random = sim_random,
    .make_cid = sim_make_cid,
    .drop_cid = sim_drop_cid,
};

static const struct quic_limits limits = {
    .connection_window_bytes = 65536,
    .connection_window_bytes_max = 65536,
    .stream_window_bytes = 2048,
    .stream_window_bytes_max = 2048,
    .stream_count = 4,
    .handshake_ns = 600000 * MS,
    .idle_ns = 600000 * MS,
};

/* ---- what happens to a datagram ---- */

static void flight_add(bool to_server, const uint8_t *p, size_t n)
{
    if (flight_count < FLIGHT_MAX && n) {
        struct flight *f = &flights[(flight_first + flight_count++) % FLIGHT_MAX];
        f->at_ns = now_ns + DELAY_NS;
        f->to_server = to_server;
        f->n = n;
        memcpy(f->bytes, p, n);
    }
}

static void flight_change(bool to_server, uint8_t *p, size_t n)
{
    unsigned order = take(&orders), where = take(&orders) * 6u + (order >> 4);
    bool spoils = (order & 15) == 1 || (order & 15) == 3 || (order & 15) == 5 ||
                  (order & 15) == 6 || (order & 15) == 8;
    if (spoils && spoiled_count++ >= SPOILED_MAX) {
        order = 0;
    }
    switch (order & 15) {
    case 1: /* lost */
        return;
    case 2: /* doubled */
        flight_add(to_server, p, n);
        break;
    case 3: /* cut */
        n = where % n;
        break;
    case 4: /* sent back */
        flight_add(!to_server, p, n);
        break;
    case 5: /* one bit; 6: the front, where what is not encrypted stands */
        p[where % n] ^= (uint8_t)(1u << (order >> 4 & 7));
        break;
    case 6:
        p[where % (n < 48 ? n : 48)] = (uint8_t)take(&orders);
        break;
    case 7: /* something of the input's */
        flight_add(to_server, orders.p, orders.n < 1500 ? orders.n : 1500);
        break;
    case 8: { /* longer */
        uint8_t longer[QUIC_DATAGRAM_BYTES];
        memcpy(longer, p, n);
        memset(longer + n, (int)where, sizeof(longer) - n);
        flight_add(to_server, longer, sizeof(longer));
        return;
    }
    default:
        break;
    }
    flight_add(to_server, p, n);
}

static void end_write(struct end *e)
{
    size_t burst = e->conn ? quic_conn_burst_bytes(e->conn) : 0;
    for (size_t sent = 0; sent < burst;) {
        uint8_t bytes[QUIC_DATAGRAM_BYTES];
        struct quic_datagram d;
        CHECK(quic_conn_write(e->conn, bytes, &d, now_ns) == ERR_OK);
        if (d.n == 0) {
            break;
        }
        sent += d.n;
        if (datagram_count++ < CHANGED_MAX) {
            flight_change(!e->is_server, bytes, d.n);
        } else {
            flight_add(!e->is_server, bytes, d.n);
        }
    }
    if (e->conn) {
        quic_conn_written(e->conn, now_ns);
    }
}

static void server_accept(const struct flight *f)
{
    struct quic_packet packet;
    struct quic_cid own = {.n = QUIC_CID_BYTES};
    uint8_t token[QUIC_TOKEN_BYTES];
    if (f->n < QUIC_INITIAL_BYTES_MIN || quic_packet_read(f->bytes, f->n, &packet) != ERR_OK ||
        packet.kind != QUIC_PACKET_INITIAL) {
        return;
    }
    sim_make_cid(NULL, own.bytes, token);
    struct quic_accept a = sim_accept(&packet, &own);
    a.hooks = &hooks;
    a.user = &server;
    a.limits = &limits;
    a.now_ns = now_ns;
    CHECK(quic_conn_accept(&a, &server.conn) == ERR_OK);
}

static void flight_deliver(void)
{
    const struct flight *f = &flights[flight_first];
    struct end *e = f->to_server ? &server : &client;
    const struct quic_path path = sim_path(f->to_server);
    now_ns = f->at_ns > now_ns ? f->at_ns : now_ns;
    if (f->to_server && !server.conn) {
        server_accept(f);
    }
    enum err err = e->conn ? quic_conn_receive(e->conn, &path, 0, f->bytes, f->n, now_ns) : ERR_OK;
    if (err == ERR_CANCELLED && f->to_server && !server.is_ready) {
        /* It was none of a client's: as if it had not come. */
        quic_conn_destroy(server.conn);
        server = (struct end){.is_server = true, .id = -1};
        err = ERR_OK;
    }
    CHECK(!err);
    flight_first = (flight_first + 1) % FLIGHT_MAX;
    flight_count--;
}

static void on_deadline(struct end *e)
{
    if (e->conn && quic_conn_deadline_ns(e->conn) <= now_ns) {
        CHECK(quic_conn_on_deadline(e->conn, now_ns) == ERR_OK);
    }
}

static void talk(void)
{
    for (unsigned steps = 0; !client.is_end_received; steps++) {
        CHECK(steps < STEPS_MAX);
        end_write(&client);
        end_write(&server);
        uint64_t timer_ns = quic_conn_deadline_ns(client.conn);
        uint64_t server_ns = server.conn ? quic_conn_deadline_ns(server.conn) : UINT64_MAX;
        timer_ns = server_ns < timer_ns ? server_ns : timer_ns;
        if (flight_count && flights[flight_first].at_ns <= timer_ns) {
            flight_deliver();
        } else {
            now_ns = timer_ns > now_ns ? timer_ns : now_ns;
            on_deadline(&client);
            on_deadline(&server);
        }
    }
    CHECK(client.received == STREAM_BYTES && server.received == STREAM_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool is_started;
    if (!is_started) {
        is_started = true;
        sim_start();
        for (size_t i = 0; i < STREAM_BYTES; i++) {
            stream_bytes[i] = byte_of(i);
        }
    }
    check_packet((struct input){data, n});
    orders = (struct input){data, n};
    sim_seed = 1;
    sim_restart();
    now_ns = START_NS;
    flight_first = flight_count = datagram_count = spoiled_count = 0;
    client = (struct end){.id = -1};
    server = (struct end){.is_server = true, .id = -1};
    const struct quic_connect connect = {.hooks = &hooks,
                                         .user = &client,
                                         .limits = &limits,
                                         .tls = sim_client(),
                                         .now_ns = now_ns,
                                         .path = sim_path(false)};
    CHECK(quic_conn_connect(&connect, &client.conn) == ERR_OK);
    talk();
    quic_conn_destroy(client.conn);
    quic_conn_destroy(server.conn);
    return 0;
}
