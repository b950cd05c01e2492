/* SPDX-License-Identifier: Apache-2.0 */
#include "h3_peer.h"

#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/clock.h"

#define TURN_MS 10u
#define OUT_BYTES_MAX 8192u /* reserved: what was sent must not move before it is acknowledged */

static const struct quic_limits limits = {
    .connection_window_bytes = 1024 * 1024,
    .connection_window_bytes_max = 1024 * 1024,
    .stream_window_bytes = 256 * 1024,
    .stream_window_bytes_max = 256 * 1024,
    .stream_count = 100,
    .handshake_ns = 10000 * MS,
    .idle_ns = 60000 * MS,
    .message_bytes_max = 65535,
};

static bool on_foreign(void *context, struct quic_owner owner, const struct datagram *d)
{
    (void)context;
    (void)owner;
    (void)d;
    return false;
}

void h3_port_open(struct h3_port *port, struct rig *r)
{
    struct socket_address address;
    struct quic_endpoint_config config = {
        .limits = limits, .unproved_max = 4, .on_open = h3_conn_open, .on_foreign = on_foreign};
    memcpy(config.secret, sim_secret, sizeof(config.secret));
    ASSERT(server_set_tls(r->server, sim_new_tls()) == ERR_OK);
    ASSERT(socket_address_ip(STR("127.0.0.1"), 0, &address) == ERR_OK);
    ASSERT(datagram_bind(&address, false, &port->fd) == ERR_OK);
    ASSERT(quic_endpoint_create(r->server, port->fd, &config, &port->endpoint) == ERR_OK);
}

void h3_port_close(struct h3_port *port)
{
    quic_endpoint_destroy(port->endpoint, H3_CLOSE_CODE);
    close(port->fd);
}

/* ---- hooks of the client's connection ---- */

static void on_handshake(void *user)
{
    struct h3_peer *p = user;
    if (quic_conn_open(p->conn, false, &p->control_id) != ERR_OK ||
        quic_conn_open(p->conn, true, &p->request_id) != ERR_OK) {
        p->control_id = p->request_id = -1;
        p->is_dead = true;
    }
}

static enum err on_data(void *user, int64_t id, const uint8_t *bytes, size_t n, bool is_end)
{
    struct h3_peer *p = user;
    quic_conn_consume(p->conn, id, n);
    if (id == p->request_id) {
        buf_add(&p->got, bytes, n);
        p->is_answered = is_end;
    }
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
    struct h3_peer *p = user;
    if (id == p->request_id) {
        p->reset_code = code;
        p->is_dead = true; /* this client has but one request */
    }
}

static void on_stream_end(void *user, int64_t id, uint64_t code)
{
    (void)user;
    (void)id;
    (void)code;
}

static void on_stream(void *user, int64_t id)
{
    (void)user;
    (void)id;
}

static void on_message(void *user, const uint8_t *bytes, size_t n)
{
    struct h3_peer *p = user;
    p->message_count++;
    buf_clear(&p->message);
    buf_add(&p->message, bytes, n);
}

static enum err offer(void *user, struct quic_offer *ret)
{
    /* Its kind, then SETTINGS: H3_DATAGRAM. */
    static const uint8_t with[] = {0x00, 0x04, 0x02, 0x33, 0x01}, without[] = {0x00, 0x04, 0x00};
    struct h3_peer *p = user;
    const uint8_t *control = p->takes_datagrams ? with : without;
    size_t control_bytes = p->takes_datagrams ? sizeof(with) : sizeof(without);
    if (p->control_id >= 0 && p->control_sent < control_bytes) {
        ret->stream_id = p->control_id;
        ret->count = 1;
        ret->pieces[0] =
            (struct quic_piece){control + p->control_sent, control_bytes - p->control_sent};
    } else if (p->request_id >= 0 && !p->is_end_sent && (!p->is_tunnel || p->out_sent < p->out.n)) {
        ret->stream_id = p->request_id;
        ret->is_end = !p->is_tunnel;
        ret->count = 1;
        ret->pieces[0] = (struct quic_piece){p->out.p + p->out_sent, p->out.n - p->out_sent};
    }
    return ERR_OK;
}

static enum err on_taken(void *user, int64_t id, size_t n)
{
    struct h3_peer *p = user;
    if (id == p->control_id) {
        p->control_sent += n;
    } else {
        p->out_sent += n;
        p->is_end_sent = !p->is_tunnel && p->out_sent == p->out.n;
    }
    return ERR_OK;
}

static const struct quic_hooks hooks = {
    .on_handshake = on_handshake,
    .on_data = on_data,
    .on_acknowledged = on_acknowledged,
    .on_reset = on_code,
    .on_stop = on_code,
    .on_stream_end = on_stream_end,
    .on_credit = on_stream,
    .offer = offer,
    .on_taken = on_taken,
    .on_blocked = on_stream,
    .on_cannot_send = on_stream,
    .on_message = on_message,
    .random = sim_random,
    .make_cid = sim_make_cid,
    .drop_cid = sim_drop_cid,
};

/* ---- the client ---- */

static void put_request(struct h3_peer *p)
{
    static const char protocol[] = "\x27\x02:protocol\x05"
                                   "bytes"; /* both as they are */
    size_t path_bytes = strlen(p->path);
    const size_t protocol_bytes = sizeof(protocol) - 1;
    unsigned method = p->is_tunnel ? 15 : p->body ? 20 : 17; /* CONNECT, POST, GET */
    buf_add(&p->out, "\x01", 1);
    buf_add_char(&p->out, (char)(17 + path_bytes + (p->is_tunnel ? protocol_bytes : 0)));
    buf_add(&p->out, "\0", 2);
    buf_add_char(&p->out, (char)(0xc0 | method));
    buf_add_char(&p->out, (char)(0xc0 | 23)); /* https */
    buf_add(&p->out, "\x50\x09quic.test", 11);
    buf_add_char(&p->out, 0x51); /* :path by name */
    buf_add_char(&p->out, (char)path_bytes);
    buf_add(&p->out, p->path, path_bytes);
    if (p->is_tunnel) {
        buf_add(&p->out, protocol, protocol_bytes);
    }
    if (p->body) {
        buf_add(&p->out, "\0", 1);
        buf_add_char(&p->out, (char)strlen(p->body));
        buf_add(&p->out, p->body, strlen(p->body));
    }
}

static struct quic_path peer_path(const struct h3_peer *p)
{
    const struct socket_address *remote = quic_endpoint_local(p->port->endpoint);
    return (struct quic_path){str_make((const char *)&p->local.raw, p->local.n),
                              str_make((const char *)&remote->raw, remote->n)};
}

/* `p` says what is asked for. */
static bool peer_start(struct h3_peer *p)
{
    const int one_by_one = 0; /* peer_read takes them so */
    struct socket_address any;
    p->control_id = p->request_id = -1;
    buf_init(&p->out, 0);
    buf_init(&p->got, 0);
    buf_init(&p->message, 0);
    (void)buf_reserve(&p->out, OUT_BYTES_MAX);
    put_request(p);
    ASSERT(socket_address_ip(STR("127.0.0.1"), 0, &any) == ERR_OK);
    ASSERT(datagram_bind(&any, false, &p->fd) == ERR_OK);
    ASSERT(socket_local(p->fd, &p->local) == ERR_OK);
    ASSERT(setsockopt(p->fd, SOL_UDP, UDP_GRO, &one_by_one, sizeof(one_by_one)) == 0);
    struct quic_connect connect = {.hooks = &hooks,
                                   .user = p,
                                   .limits = &limits,
                                   .tls = sim_client(),
                                   .now_ns = loop_now_ns(p->rig->loop),
                                   .path = peer_path(p)};
    if (!connect.tls) {
        return false;
    }
    if (p->out.is_failed || quic_conn_connect(&connect, &p->conn) != ERR_OK) {
        tls_quic_client_destroy(connect.tls);
        return false;
    }
    return true;
}

bool h3_peer_open(struct h3_peer *p, struct rig *r, struct h3_port *port, const char *path,
                  const char *body)
{
    *p = (struct h3_peer){.rig = r, .port = port, .path = path, .body = body};
    return peer_start(p);
}

bool h3_peer_open_tunnel(struct h3_peer *p, struct rig *r, struct h3_port *port, const char *path,
                         bool takes_datagrams)
{
    *p = (struct h3_peer){.rig = r,
                          .port = port,
                          .path = path,
                          .is_tunnel = true,
                          .takes_datagrams = takes_datagrams};
    return peer_start(p);
}

void h3_peer_send_message(struct h3_peer *p, struct str bytes)
{
    enum err ignored = p->is_dead ? ERR_CLOSED : quic_conn_send_message(p->conn, bytes, 0);
    (void)ignored; /* lost on the way */
}

void h3_peer_send_data(struct h3_peer *p, struct str bytes)
{
    ASSERT(bytes.n < 64 && p->out.n + 2 + bytes.n <= OUT_BYTES_MAX);
    buf_add(&p->out, "\0", 1);
    buf_add_char(&p->out, (char)bytes.n);
    buf_add_str(&p->out, bytes);
}

void h3_peer_send(struct h3_peer *p, const uint8_t *bytes, size_t n)
{
    const struct datagram_send d = {.remote = quic_endpoint_local(p->port->endpoint),
                                    .local = &p->local,
                                    .bytes = bytes,
                                    .n = n,
                                    .segment_bytes = n};
    enum err ignored = n ? datagram_send(p->fd, &d) : ERR_OK;
    (void)ignored; /* lost on the way */
}

/* True: something was sent. */
static bool peer_write(struct h3_peer *p)
{
    bool is_sent = false;
    uint64_t now_ns = loop_now_ns(p->rig->loop);
    while (!p->is_dead) {
        uint8_t bytes[QUIC_DATAGRAM_BYTES];
        struct quic_datagram d;
        if (quic_conn_write(p->conn, bytes, &d, now_ns) != ERR_OK) {
            p->is_dead = true;
        } else if (d.n == 0) {
            break;
        } else if (p->change) {
            p->change(p, bytes, d.n);
        } else {
            h3_peer_send(p, bytes, d.n);
        }
        is_sent = true;
    }
    if (!p->is_dead) {
        quic_conn_written(p->conn, now_ns);
    }
    return is_sent;
}

static bool peer_read(struct h3_peer *p)
{
    const struct quic_path path = peer_path(p);
    uint8_t bytes[2048];
    bool is_moving = false;
    ssize_t n;
    while ((n = recv(p->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) >= 0) {
        is_moving = true;
        if (!p->is_dead && quic_conn_receive(p->conn, &path, 0, bytes, (size_t)n,
                                             loop_now_ns(p->rig->loop)) != ERR_OK) {
            p->is_dead = true;
        }
    }
    return is_moving;
}

void h3_peer_run(struct h3_peer *p, uint64_t ms)
{
    uint64_t end_ns = loop_now_ns(p->rig->loop) + ms * NS_PER_MS;
    while (!p->is_dead && !p->is_answered &&
           (p->wanted_messages == 0 || p->message_count < p->wanted_messages) &&
           loop_now_ns(p->rig->loop) < end_ns) {
        bool is_moving = peer_write(p);
        rig_settle(p->rig);
        is_moving |= peer_read(p);
        if (!is_moving) {
            rig_advance(p->rig, TURN_MS);
        }
        if (!p->is_dead && quic_conn_deadline_ns(p->conn) <= loop_now_ns(p->rig->loop) &&
            quic_conn_on_deadline(p->conn, loop_now_ns(p->rig->loop)) != ERR_OK) {
            p->is_dead = true;
        }
    }
}

bool h3_peer_has(const struct h3_peer *p, const char *text)
{
    return p->got.n && memmem(p->got.p, p->got.n, text, strlen(text)) != NULL;
}

void h3_peer_close(struct h3_peer *p, bool is_told)
{
    if (p->conn && is_told) {
        uint8_t bytes[QUIC_DATAGRAM_BYTES];
        struct quic_datagram d = {.n = 0};
        enum err ignored =
            quic_conn_close(p->conn, H3_CLOSE_CODE, bytes, &d, loop_now_ns(p->rig->loop));
        (void)ignored;
        h3_peer_send(p, bytes, d.n);
        rig_settle(p->rig);
    }
    quic_conn_destroy(p->conn);
    close(p->fd);
    buf_done(&p->out);
    buf_done(&p->got);
    buf_done(&p->message);
}
