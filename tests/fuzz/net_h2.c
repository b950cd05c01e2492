/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/2 connection gets frames that the input describes, right and wrong ones, in pieces. What
 * comes back must be frames again, each stream answered at most once and never past its end, and no
 * more data than the windows allow; every exchange ends once; and each byte of a body that is
 * neither with a stream nor given back is on its way to either.
 */
#include <sys/socket.h>

#include "../unit/http/h2_wire.h"
#include "../unit/net/rig.c"
#include "http/h2_session_int.h"
#include "net/h2_conn_int.h"
#include "input.h"

#define STREAMS_MAX 128
#define FRAMES_MAX 200

struct script {
    struct buf bytes;
    uint64_t window; /* of the connection, as the server may take it */
};

static void put_request(struct input *in, struct buf *out, uint32_t id)
{
    static const char *const paths[] = {"/n", "/y", "/e", "/c", "/k", "/s", "/t", "/g", "/h", "/l",
                                        "/b", "/x", "/p", "/r", "*",  "",   "/w", "/o", "/v"};
    static const char *const more[] = {"",
                                       "content-length: 5\n",
                                       "expect: 100-continue\n",
                                       "priority: u=1, i\n",
                                       "cookie: a\ncookie: b\n",
                                       "host: other\n",
                                       "te: trailers\n",
                                       "connection: close\n",
                                       ":protocol: bytes\n"};
    static const char *const methods[] = {"GET", "POST", "HEAD", "CONNECT"};
    unsigned what = take(in), how = take(in);
    bool is_tunnel = how >> 3 & 1;
    wire_request(out, id, how & 1, methods[how >> 1 & 3],
                 paths[is_tunnel ? 16 + what % 3 : what & 15], more[is_tunnel ? 8 : what >> 4 & 7]);
}

/* A header block as the input has it: HPACK, or not. */
static void put_block(struct input *in, struct buf *out, uint32_t id)
{
    unsigned flags = take(in);
    wire_put(out, flags & 0x80 ? WIRE_CONTINUATION : WIRE_HEADERS, flags & 0x2d, id, take_text(in));
}

static void put_settings(struct input *in, struct script *s)
{
    char entry[6] = {0, (char)(take(in) % 10), 0, 0, 0, 0};
    unsigned value = take(in);
    entry[2] = (char)(value & 0x40 ? 0x7f : 0);
    entry[4] = (char)(value & 0x3f);
    entry[5] = (char)take(in);
    unsigned is_ack = value >> 7;
    wire_put(&s->bytes, WIRE_SETTINGS, is_ack, 0, str_make(entry, is_ack ? 0 : 6));
}

static void put_frame(struct input *in, struct script *s)
{
    unsigned op = take(in);
    uint32_t id = (op >> 4 & 7) * 2 + (op & 0x80 ? take(in) : 1);
    uint32_t value;
    switch (op & 15) {
    case 0:
    case 1:
    case 2:
        put_request(in, &s->bytes, id);
        break;
    case 3:
        put_block(in, &s->bytes, id);
        break;
    case 4:
    case 5:
        value = take(in);
        wire_put(&s->bytes, WIRE_DATA, value & 9, id, take_text(in));
        break;
    case 6:
        wire_headers(&s->bytes, id, WIRE_END_STREAM, take(in) & 1 ? "x: y\n" : "host: a\n");
        break;
    case 7:
        wire_put_u32(&s->bytes, WIRE_RST_STREAM, id, take(in));
        break;
    case 8:
        put_settings(in, s);
        break;
    case 9:
        value = take(in);
        value = value & 0x80 ? value << 16 : value;
        id = value & 1 ? id : 0;
        s->window += id ? 0 : value;
        wire_put_u32(&s->bytes, WIRE_WINDOW_UPDATE, id, value);
        break;
    case 10:
        wire_put(&s->bytes, WIRE_PING, take(in) & 1, 0, STR("sws-rtt1"));
        break;
    case 11:
        wire_put(&s->bytes, WIRE_PRIORITY, 0, id, take_text(in));
        break;
    case 12:
        wire_put(&s->bytes, WIRE_PRIORITY_UPDATE, 0, 0, take_text(in));
        break;
    case 13:
        wire_put(&s->bytes, take(in), take(in), id, take_text(in));
        break;
    case 14:
        buf_add_str(&s->bytes, take_text(in));
        break;
    default:
        wire_put(&s->bytes, WIRE_GOAWAY, 0, 0, str_make("\0\0\0\0\0\0\0\0", 8));
        break;
    }
}

/* The answers keep to RFC 9113 5.1 and 6.9. */
static void check(struct str got, uint64_t window)
{
    bool is_begun[STREAMS_MAX * 2] = {false}, is_ended[STREAMS_MAX * 2] = {false};
    struct wire_frame f;
    uint64_t data = 0;
    if (got.n && got.p[0] == 'H') {
        return; /* it was HTTP/1 */
    }
    while (wire_next(&got, &f)) {
        ASSERT(f.type <= WIRE_CONTINUATION && f.payload.n <= 16384);
        if (f.type == WIRE_DATA || f.type == WIRE_HEADERS) {
            ASSERT(f.id % 2 == 1);
            data += f.type == WIRE_DATA ? f.payload.n : 0;
            if (f.id < STREAMS_MAX * 2) {
                ASSERT(!is_ended[f.id]);
                ASSERT(f.type == WIRE_HEADERS || is_begun[f.id]);
                is_begun[f.id] = true;
                is_ended[f.id] = (f.flags & WIRE_END_STREAM) != 0;
            }
        }
        if (f.type == WIRE_RST_STREAM && f.id < STREAMS_MAX * 2) {
            is_ended[f.id] = true;
        }
    }
    ASSERT(data <= window);
}

/* The preface came, so the connection, if there is one still, speaks HTTP/2. */
static void check_credit(const struct rig *rig)
{
    LIST_FOR_EACH(at, &rig->server->connections)
    {
        struct conn *conn = CONTAINER_OF(at, struct conn, link);
        const struct h2_conn *c = CONTAINER_OF(conn, struct h2_conn, mux.conn);
        const struct h2_session *s = c->session;
        bool is_data = s->head_n == H2_FRAME_HEAD_BYTES && s->frame.type == H2_DATA;
        int64_t kept = is_data ? s->left : 0;
        ASSERT_MAGIC(c, H2_CONN_MAGIC);
        LIST_FOR_EACH(stream, &s->mux.streams)
        {
            kept += (int64_t)mux_exchange_of(CONTAINER_OF(stream, struct mux_stream, link))->in.n;
        }
        ASSERT(s->is_failed || s->recv_window + s->consumed + kept == s->recv_max);
    }
}

static void run(struct input cuts, const struct script *s)
{
    struct server_limits limits = rig_limits();
    struct rig rig;
    struct client c;
    limits.speaks_h2c = true;
    limits.has_connect_protocol = true;
    limits.stream_count_max = 20;
    limits.header_bytes_max = 512;
    limits.header_count_max = 8;
    limits.uri_bytes_max = 128;
    limits.body_bytes_max = 1024;
    rig_start(&rig, &limits);
    client_open(&rig, &c);
    struct str all = buf_str(&s->bytes);
    while (cuts.n && all.n) {
        size_t n = (size_t)take(&cuts) * 4 + 1;
        client_send(&c, str_sub(all, 0, n));
        all = str_sub(all, n, all.n);
    }
    client_send(&c, all);
    check_credit(&rig);
    rig_advance(&rig, RIG_LATER_MS + 2);
    client_send(&c, STR(""));
    check_credit(&rig);
    rig_advance(&rig, 200000);
    client_send(&c, STR(""));
    check(buf_str(&c.got), s->window);
    client_close(&c);
    rig_stop(&rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    if (n > 4096) {
        return 0;
    }
    struct str cut = take_text(&in);
    struct input cuts = {(const uint8_t *)cut.p, cut.n < 64 ? cut.n : 64};
    struct script s = {.window = 65535};
    buf_init(&s.bytes, 0);
    wire_hello(&s.bytes);
    for (unsigned i = 0; i < FRAMES_MAX && in.n; i++) {
        put_frame(&in, &s);
    }
    run(cuts, &s);
    buf_done(&s.bytes);
    return 0;
}
