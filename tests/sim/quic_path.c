/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A large body over HTTP/3 on a long path: a bottleneck with a queue, 100 ms there and back, some
 * loss, a clock of its own. Says how much of the bottleneck each congestion control makes use of,
 * and fails where neither windows nor what is kept may be what holds it back.
 *
 *   quic_path [MEGABYTES]
 */
#include "base/assert.h"
#include "base/mem.h"
#include "http/h3_session.h"
#include "quic_rig.h"

#define RTT_MS 100
#define LANE_PACKETS 16384u
#define VIRTUAL_END_NS (600000 * MS)
#define PIECE_BYTES 65536

/* As the workers set them, app/edge_quic.c. */
#define WINDOW_BYTES (1024u * 1024u)
#define WINDOW_BYTES_MAX (8u * 1024u * 1024u)
#define STREAM_WINDOW_BYTES (256u * 1024u)
#define STREAM_WINDOW_BYTES_MAX (4u * 1024u * 1024u)

struct path_case {
    enum quic_congestion congestion;
    bool is_upload;
    uint64_t bytes_per_s;
    unsigned loss_per_100k;
    unsigned least_percent; /* of the bottleneck; 0: only told */
};

static uint64_t now_ns;
static const struct path_case *now_case;

/* ---- the path ---- */

struct packet {
    uint64_t at_ns;
    unsigned ecn;
    size_t n;
    uint8_t bytes[QUIC_DATAGRAM_BYTES];
};

/* One direction: first in, first out. */
struct lane {
    struct packet *packets;
    size_t first, count;
    uint64_t busy_ns; /* until when the bottleneck sends */
};

static struct lane lanes[2]; /* to the client, to the server */

static void lane_put(struct lane *l, const struct quic_datagram *d, const uint8_t *p)
{
    uint64_t start_ns = l->busy_ns > now_ns ? l->busy_ns : now_ns;
    uint64_t send_ns = d->n * 1000 * MS / now_case->bytes_per_s;
    bool is_queue_full = start_ns - now_ns > RTT_MS * MS; /* a queue of one round trip */
    if (is_queue_full || sim_draw_below(100000) < now_case->loss_per_100k) {
        return;
    }
    CHECK(l->count < LANE_PACKETS);
    struct packet *to = &l->packets[(l->first + l->count++) % LANE_PACKETS];
    l->busy_ns = start_ns + send_ns;
    to->at_ns = l->busy_ns + RTT_MS / 2 * MS;
    to->ecn = d->ecn;
    to->n = d->n;
    memcpy(to->bytes, p, d->n);
}

static uint64_t lane_next_ns(const struct lane *l)
{
    return l->count ? l->packets[l->first].at_ns : UINT64_MAX;
}

/* ---- the server: HTTP/3 as net/h3_conn.c joins it ---- */

struct body {
    struct mux_stream stream; /* first */
    size_t left;
};

static struct quic_conn *server, *client;
static struct h3_session *session;
static uint64_t body_bytes;
static bool is_uploaded;

static struct mux_stream *on_stream(void *context)
{
    struct body *b = mem_zalloc(1, sizeof(*b));
    (void)context;
    CHECK(b);
    return &b->stream;
}

static void answer(struct mux_stream *stream, uint64_t n)
{
    struct response_head head = {.status = 200};
    http_fields_init(&head.fields, NULL, 0);
    const struct mux_response response = {.head = &head, .body_bytes = n, .has_body = n > 0};
    ((struct body *)stream)->left = (size_t)n;
    CHECK(mux_respond(h3_session_mux(session), stream, &response) == ERR_OK);
}

static void on_request(void *context, struct mux_stream *stream)
{
    (void)context;
    if (!now_case->is_upload) {
        answer(stream, body_bytes);
    }
}

static void on_body(void *context, struct mux_stream *stream, const char *bytes, size_t n)
{
    (void)context;
    (void)bytes;
    mux_consume(h3_session_mux(session), stream, n);
}

static void on_body_end(void *context, struct mux_stream *stream)
{
    (void)context;
    CHECK(stream->body_bytes == body_bytes);
    is_uploaded = true;
    answer(stream, 0);
}

static void on_answered(void *context, struct mux_stream *stream)
{
    (void)context;
    (void)stream;
}

static void body_free(struct mux_stream *stream)
{
    arena_done(&stream->arena);
    mem_free(stream);
}

static void on_stream_gone(void *context, struct mux_stream *stream, enum err cause)
{
    (void)context;
    (void)cause;
    body_free(stream);
}

static size_t on_offer(void *context, struct mux_stream *stream, size_t n, bool *ret_is_last)
{
    const struct body *b = (const struct body *)stream;
    (void)context;
    *ret_is_last = b->left <= n;
    return b->left < n ? b->left : n;
}

static enum err on_take(void *context, struct mux_stream *stream, struct buf *out, size_t n)
{
    static const char zeros[H3_CHUNK_BYTES];
    (void)context;
    ((struct body *)stream)->left -= n;
    buf_add(out, zeros, n);
    return ERR_OK;
}

static void on_refused(void *context, enum h1_reject reason, unsigned status)
{
    (void)context;
    (void)reason;
    (void)status;
    CHECK(!"the request is good");
}

static void wire_consume(void *context, int64_t id, size_t n)
{
    (void)context;
    quic_conn_consume(server, id, n);
}

static void wire_code(void *context, int64_t id, uint64_t code)
{
    (void)context;
    (void)id;
    (void)code;
}

static void wire_wake(void *context)
{
    (void)context;
}

static void server_ready(void *user)
{
    int64_t ids[3];
    (void)user;
    for (size_t i = 0; i < 3; i++) {
        CHECK(quic_conn_open(server, false, &ids[i]) == ERR_OK);
    }
    CHECK(h3_session_bind(session, ids[0], ids[1], ids[2]) == ERR_OK);
}

static void on_handshake(void *user)
{
    (void)user;
}

static enum err server_data(void *user, int64_t id, const uint8_t *p, size_t n, bool is_end)
{
    (void)user;
    h3_session_recv(session, now_ns / MS, id, p, n, is_end);
    return ERR_OK;
}

static enum err server_acknowledged(void *user, int64_t id, uint64_t n)
{
    (void)user;
    h3_session_set_window(session, quic_conn_window_bytes(server));
    h3_session_acknowledged(session, id, n);
    return ERR_OK;
}

static void on_code(void *user, int64_t id, uint64_t code)
{
    (void)user;
    (void)id;
    (void)code;
    CHECK(!"nothing is given up");
}

static void server_stream_end(void *user, int64_t id, uint64_t code)
{
    (void)user;
    h3_session_closed(session, id, code);
}

static void server_credit(void *user, int64_t id)
{
    (void)user;
    h3_session_unblock(session, id);
}

static enum err server_offer(void *user, struct quic_offer *ret)
{
    struct h3_offer o;
    (void)user;
    h3_session_offer(session, now_ns / MS, &o);
    CHECK(!h3_session_is_failed(session));
    ret->stream_id = o.stream_id;
    ret->is_end = o.is_end;
    ret->count = o.count;
    for (size_t i = 0; i < o.count; i++) {
        ret->pieces[i] = (struct quic_piece){o.pieces[i].p, o.pieces[i].n};
    }
    return ERR_OK;
}

static enum err server_taken(void *user, int64_t id, size_t n)
{
    (void)user;
    (void)id;
    h3_session_taken(session, n);
    return ERR_OK;
}

static void server_blocked(void *user, int64_t id)
{
    (void)user;
    h3_session_block(session, id);
}

static void server_cannot_send(void *user, int64_t id)
{
    (void)user;
    h3_session_cannot_send(session, id);
}

static const struct quic_hooks server_hooks = {
    .on_ready = server_ready,
    .on_handshake = on_handshake,
    .on_data = server_data,
    .on_acknowledged = server_acknowledged,
    .on_reset = on_code,
    .on_stop = on_code,
    .on_stream_end = server_stream_end,
    .on_credit = server_credit,
    .offer = server_offer,
    .on_taken = server_taken,
    .on_blocked = server_blocked,
    .on_cannot_send = server_cannot_send,
    .random = sim_random,
    .make_cid = sim_make_cid,
    .drop_cid = sim_drop_cid,
};

/* ---- the client: a control stream and one request, as bytes ---- */

static const uint8_t control_bytes[] = {0x00, 0x04, 0x00}; /* its kind, empty SETTINGS */
static uint8_t request_bytes[64];
static size_t request_byte_count;
static int64_t control_id, request_id;
static uint64_t control_sent, request_sent;
static bool is_request_end_sent, is_blocked, is_answered;

static void put_varint(uint64_t n)
{
    for (int shift = 56; shift >= 0; shift -= 8) {
        request_bytes[request_byte_count++] =
            (uint8_t)((n >> shift & 0xff) | (shift == 56 ? 0xc0 : 0));
    }
}

/* Fields of the static table of QPACK (RFC 9204, appendix A), and the name of the server. */
static void make_request(void)
{
    const uint8_t method = now_case->is_upload ? 0xc0 | 20 : 0xc0 | 17; /* POST, GET */
    const uint8_t head[] = {0x01, 16,  0,   0,   method, 0xc0 | 23, 0xc0 | 1, 0x50, 9,
                            'q',  'u', 'i', 'c', '.',    't',       'e',      's',  't'};
    memcpy(request_bytes, head, sizeof(head));
    request_byte_count = sizeof(head);
    if (now_case->is_upload) {
        request_bytes[request_byte_count++] = 0; /* DATA */
        put_varint(body_bytes);
    }
}

static void client_handshake(void *user)
{
    (void)user;
    CHECK(quic_conn_open(client, false, &control_id) == ERR_OK);
    CHECK(quic_conn_open(client, true, &request_id) == ERR_OK);
}

static enum err client_data(void *user, int64_t id, const uint8_t *p, size_t n, bool is_end)
{
    (void)user;
    (void)p;
    quic_conn_consume(client, id, n);
    is_answered |= id == request_id && is_end;
    return ERR_OK;
}

static enum err client_acknowledged(void *user, int64_t id, uint64_t n)
{
    (void)user;
    (void)id;
    (void)n;
    return ERR_OK;
}

static void client_stream_end(void *user, int64_t id, uint64_t code)
{
    (void)user;
    (void)id;
    (void)code;
}

static void client_credit(void *user, int64_t id)
{
    (void)user;
    (void)id;
    is_blocked = false;
}

static enum err client_offer(void *user, struct quic_offer *ret)
{
    static const uint8_t zeros[PIECE_BYTES];
    uint64_t all = request_byte_count + (now_case->is_upload ? body_bytes : 0);
    (void)user;
    if (control_id < 0) {
        return ERR_OK;
    }
    if (control_sent < sizeof(control_bytes)) {
        ret->stream_id = control_id;
        ret->count = 1;
        ret->pieces[0] =
            (struct quic_piece){control_bytes + control_sent, sizeof(control_bytes) - control_sent};
        return ERR_OK;
    }
    if (is_request_end_sent || is_blocked) {
        return ERR_OK;
    }
    ret->stream_id = request_id;
    ret->count = 1;
    if (request_sent < request_byte_count) {
        ret->pieces[0] =
            (struct quic_piece){request_bytes + request_sent, request_byte_count - request_sent};
    } else {
        uint64_t left = all - request_sent;
        ret->pieces[0] = (struct quic_piece){zeros, left < PIECE_BYTES ? left : PIECE_BYTES};
    }
    ret->is_end = request_sent + ret->pieces[0].n == all;
    return ERR_OK;
}

static enum err client_taken(void *user, int64_t id, size_t n)
{
    uint64_t all = request_byte_count + (now_case->is_upload ? body_bytes : 0);
    (void)user;
    if (id == control_id) {
        control_sent += n;
    } else {
        request_sent += n;
        is_request_end_sent = request_sent == all;
    }
    return ERR_OK;
}

static void client_blocked(void *user, int64_t id)
{
    (void)user;
    (void)id;
    is_blocked = true;
}

static void client_cannot_send(void *user, int64_t id)
{
    (void)user;
    (void)id;
    CHECK(!"no side is closed early");
}

static const struct quic_hooks client_hooks = {
    .on_handshake = client_handshake,
    .on_data = client_data,
    .on_acknowledged = client_acknowledged,
    .on_reset = on_code,
    .on_stop = on_code,
    .on_stream_end = client_stream_end,
    .on_credit = client_credit,
    .offer = client_offer,
    .on_taken = client_taken,
    .on_blocked = client_blocked,
    .on_cannot_send = client_cannot_send,
    .random = sim_random,
    .make_cid = sim_make_cid,
    .drop_cid = sim_drop_cid,
};

/* ---- a run ---- */

static void server_accept(const struct packet *packet)
{
    struct quic_limits limits = {
        .connection_window_bytes = WINDOW_BYTES,
        .connection_window_bytes_max = WINDOW_BYTES_MAX,
        .stream_window_bytes = STREAM_WINDOW_BYTES,
        .stream_window_bytes_max = STREAM_WINDOW_BYTES_MAX,
        .stream_count = 100,
        .handshake_ns = 10000 * MS,
        .idle_ns = 60000 * MS,
        .congestion = now_case->congestion,
    };
    struct quic_packet head;
    struct quic_cid own = {.n = QUIC_CID_BYTES};
    uint8_t token[QUIC_TOKEN_BYTES];
    CHECK(quic_packet_read(packet->bytes, packet->n, &head) == ERR_OK);
    CHECK(head.kind == QUIC_PACKET_INITIAL);
    sim_make_cid(NULL, own.bytes, token);
    struct quic_accept a = sim_accept(&head, &own);
    a.hooks = &server_hooks;
    a.limits = &limits;
    a.now_ns = now_ns;
    CHECK(quic_conn_accept(&a, &server) == ERR_OK);
}

static void lane_deliver(struct lane *l)
{
    const struct packet *p = &l->packets[l->first];
    bool is_server = l == &lanes[1];
    const struct quic_path path = sim_path(is_server);
    now_ns = p->at_ns > now_ns ? p->at_ns : now_ns;
    if (is_server && !server) {
        server_accept(p);
    }
    CHECK(quic_conn_receive(is_server ? server : client, &path, p->ecn, p->bytes, p->n, now_ns) ==
          ERR_OK);
    l->first = (l->first + 1) % LANE_PACKETS;
    l->count--;
}

static void conn_write(struct quic_conn *c, struct lane *l)
{
    size_t burst = c ? quic_conn_burst_bytes(c) : 0;
    for (size_t sent = 0; sent < burst;) {
        uint8_t bytes[QUIC_DATAGRAM_BYTES];
        struct quic_datagram d;
        CHECK(quic_conn_write(c, bytes, &d, now_ns) == ERR_OK);
        if (d.n == 0) {
            break;
        }
        sent += d.n;
        lane_put(l, &d, bytes);
    }
    if (c) {
        quic_conn_written(c, now_ns);
    }
}

static void conn_on_time(struct quic_conn *c)
{
    if (c && quic_conn_deadline_ns(c) <= now_ns) {
        CHECK(quic_conn_on_deadline(c, now_ns) == ERR_OK);
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* One step of the clock. */
static void step(void)
{
    conn_write(client, &lanes[1]);
    conn_write(server, &lanes[0]);
    uint64_t to_client_ns = lane_next_ns(&lanes[0]), to_server_ns = lane_next_ns(&lanes[1]);
    uint64_t arrival_ns = earlier(to_client_ns, to_server_ns);
    uint64_t timer_ns =
        earlier(quic_conn_deadline_ns(client), server ? quic_conn_deadline_ns(server) : UINT64_MAX);
    if (arrival_ns <= timer_ns) {
        lane_deliver(to_client_ns <= to_server_ns ? &lanes[0] : &lanes[1]);
    } else {
        now_ns = timer_ns > now_ns ? timer_ns : now_ns;
        conn_on_time(client);
        conn_on_time(server);
    }
    CHECK(now_ns < VIRTUAL_END_NS);
}

static void run_begin(const struct path_case *c)
{
    static const struct quic_limits limits = {
        .connection_window_bytes = 64 * WINDOW_BYTES, /* the client holds nothing back */
        .connection_window_bytes_max = 64 * WINDOW_BYTES,
        .stream_window_bytes = 64 * WINDOW_BYTES,
        .stream_window_bytes_max = 64 * WINDOW_BYTES,
        .handshake_ns = 10000 * MS,
        .idle_ns = 60000 * MS,
    };
    static const struct mux_limits mux = {.header_bytes_max = 32768,
                                          .header_count_max = 100,
                                          .uri_bytes_max = 8192,
                                          .stream_count_max = 100};
    static const struct mux_events events = {on_stream,   on_request,     on_body,  on_body_end,
                                             on_answered, on_stream_gone, on_offer, on_take,
                                             on_refused,  NULL,           NULL,     NULL};
    static const struct h3_wire wire = {wire_consume, wire_code, wire_code, wire_wake, NULL};
    struct quic_limits own = limits;
    now_case = c;
    now_ns = 1000 * MS;
    sim_restart();
    own.congestion = c->congestion;
    control_id = request_id = -1;
    control_sent = request_sent = 0;
    is_request_end_sent = is_blocked = is_answered = is_uploaded = false;
    make_request();
    CHECK(h3_session_create(&mux, &events, &wire, &session) == ERR_OK);
    const struct quic_connect connect = {.hooks = &client_hooks,
                                         .limits = &own,
                                         .tls = sim_client(),
                                         .now_ns = now_ns,
                                         .path = sim_path(false)};
    CHECK(quic_conn_connect(&connect, &client) == ERR_OK);
}

static void run_end(void)
{
    struct list *streams = &h3_session_mux(session)->streams;
    quic_conn_destroy(client);
    quic_conn_destroy(server);
    while (!list_is_empty(streams)) {
        struct mux_stream *stream = CONTAINER_OF(streams->next, struct mux_stream, link);
        list_remove(&stream->link);
        body_free(stream);
    }
    h3_session_destroy(session);
    client = server = NULL;
    for (size_t i = 0; i < 2; i++) {
        lanes[i].count = lanes[i].first = 0;
        lanes[i].busy_ns = 0;
    }
}

static void run(const struct path_case *c)
{
    static const char *const names[] = {"cubic", "bbr", "reno"};
    run_begin(c);
    while (request_id < 0) {
        step();
    }
    uint64_t start_ns = now_ns;
    while (!is_answered) {
        step();
    }
    CHECK(!c->is_upload || is_uploaded);
    uint64_t best_ns = body_bytes * 1000 * MS / c->bytes_per_s;
    unsigned percent = (unsigned)(best_ns * 100 / (now_ns - start_ns));
    printf("%-5s %-8s %4u Mbit/s, %2u.%02u %% lost: %6.2f s, %2u %% of the bottleneck\n",
           names[c->congestion], c->is_upload ? "upload" : "download",
           (unsigned)(c->bytes_per_s / 125000), c->loss_per_100k / 1000,
           c->loss_per_100k % 1000 / 10, (double)(now_ns - start_ns) / 1e9, percent);
    run_end();
    CHECK(percent >= c->least_percent);
}

int main(int argc, char **argv)
{
    static const struct path_case cases[] = {
        {QUIC_CONGESTION_CUBIC, false, 12500000, 0, 60},
        {QUIC_CONGESTION_CUBIC, true, 12500000, 0, 60},
        {QUIC_CONGESTION_CUBIC, false, 50000000, 0, 25}, /* 1 MB a round trip would be 20 */
        {QUIC_CONGESTION_CUBIC, false, 12500000, 100, 0},
        {QUIC_CONGESTION_CUBIC, false, 12500000, 1000, 0},
        {QUIC_CONGESTION_BBR, false, 12500000, 0, 60},
        {QUIC_CONGESTION_BBR, true, 12500000, 0, 60},
        {QUIC_CONGESTION_BBR, false, 50000000, 0, 25},
        {QUIC_CONGESTION_BBR, false, 12500000, 100, 50},
        {QUIC_CONGESTION_BBR, false, 12500000, 1000, 25},
        {QUIC_CONGESTION_RENO, false, 12500000, 0, 60},
        {QUIC_CONGESTION_RENO, false, 12500000, 100, 0},
    };
    body_bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 50) * 1024 * 1024;
    sim_seed = 1;
    sim_start();
    for (size_t i = 0; i < 2; i++) {
        lanes[i].packets = calloc(LANE_PACKETS, sizeof(struct packet));
        CHECK(lanes[i].packets);
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        run(&cases[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        free(lanes[i].packets);
    }
    sim_end();
    return 0;
}
