/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request over HTTP/3, whatever its head, for tests of what other clients cannot say: extended
 * CONNECT (RFC 9220), trailers, heads that are wrong. QUIC is our own client's end, HTTP/3 that of
 * nghttp3.
 *
 *   h3_client [-r] [-d] ROOT_PEM NAME ADDRESS PORT FIELD=VALUE... [-- TRAILER=VALUE...]
 *
 * The fields go out as they are given, those with a colon in front first. What comes on standard
 * input is the body; behind its end come the trailers and the end of the stream, or with -r a
 * reset. The head of the answer is printed as lines, then an empty line, then the body. With -d
 * datagrams are taken (RFC 9297) and stand in place of both bodies, each behind its length in two
 * bytes and as it goes over the wire, its stream in front. There is no client of others for these,
 * and no other here that could send wrong ones. Standard
 * error tells the rest, a word and its value per line: trailer, reset and stopped (codes of the
 * stream), closed. The exit code is 0 for a whole answer, 3 for a reset, 4 where the connection
 * ended, 2 for a fault of the caller.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nghttp3/nghttp3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "crypto/start.h"
#include "os/clock.h"
#include "os/datagram.h"
#include "os/file.h"
#include "os/random.h"
#include "quic/quic_packet.h"

#define FIELDS_MAX 128
#define INPUT_BYTES 16384u
#define KEPT_BYTES_MAX (1024u * 1024u) /* of the body, sent and not acknowledged */
#define CANCELLED 0x10c                /* H3_REQUEST_CANCELLED */
#define NO_ERROR 0x100                 /* H3_NO_ERROR */

enum result { RESULT_WHOLE = 0, RESULT_USAGE = 2, RESULT_RESET = 3, RESULT_CLOSED = 4 };

struct chunk_of_body {
    struct chunk_of_body *next;
    size_t n;
    char bytes[INPUT_BYTES];
};

static struct {
    struct quic_conn *quic;
    nghttp3_conn *h3;
    int fd;
    struct socket_address local, remote;
    struct datagram_buffers *buffers;
    int64_t stream_id;
    nghttp3_nv fields[FIELDS_MAX], trailers[FIELDS_MAX];
    size_t field_count, trailer_count;
    struct chunk_of_body *unsent; /* read, not handed to nghttp3 */
    struct chunk_of_body *kept;   /* handed over, oldest first */
    struct chunk_of_body **kept_tail;
    size_t kept_bytes;
    uint64_t acknowledged; /* of the first kept one */
    struct buf out;
    size_t credit;        /* body bytes within `out` */
    struct buf datagrams; /* read, not sent */
    bool has_datagrams;
    bool resets_at_end;
    bool is_input_ended;
    bool is_bound;
    bool is_ended;
    enum result result;
} client;

static void fail(const char *what)
{
    fprintf(stderr, "h3_client: %s\n", what);
    exit(RESULT_USAGE);
}

static void must(bool holds, const char *what)
{
    if (!holds) {
        fail(what);
    }
}

static void end_with(enum result result, const char *word, uint64_t value)
{
    fprintf(stderr, "%s %" PRIu64 "\n", word, value);
    if (!client.is_ended) {
        client.is_ended = true;
        client.result = result;
    }
}

/* ---- HTTP/3 ---- */

static int on_settings(nghttp3_conn *h3, const nghttp3_settings *settings, void *user)
{
    int64_t id;
    /* RFC 9220 section 3: the settings are waited for. */
    must(quic_conn_open(client.quic, true, &id) == ERR_OK, "no stream");
    client.stream_id = id;
    return 0;
}

static int on_header(nghttp3_conn *h3, int64_t id, int32_t token, nghttp3_rcbuf *name,
                     nghttp3_rcbuf *value, uint8_t flags, void *user, void *stream_user)
{
    const nghttp3_vec n = nghttp3_rcbuf_get_buf(name), v = nghttp3_rcbuf_get_buf(value);
    buf_printf(&client.out, "%.*s: %.*s\n", (int)n.len, n.base, (int)v.len, v.base);
    return 0;
}

static int on_end_headers(nghttp3_conn *h3, int64_t id, int is_end, void *user, void *stream_user)
{
    buf_add_char(&client.out, '\n');
    return 0;
}

static int on_trailer(nghttp3_conn *h3, int64_t id, int32_t token, nghttp3_rcbuf *name,
                      nghttp3_rcbuf *value, uint8_t flags, void *user, void *stream_user)
{
    const nghttp3_vec n = nghttp3_rcbuf_get_buf(name), v = nghttp3_rcbuf_get_buf(value);
    fprintf(stderr, "trailer %.*s: %.*s\n", (int)n.len, n.base, (int)v.len, v.base);
    return 0;
}

static int on_body(nghttp3_conn *h3, int64_t id, const uint8_t *p, size_t n, void *user,
                   void *stream_user)
{
    if (client.has_datagrams) {
        fprintf(stderr, "body %zu\n", n);
        quic_conn_consume(client.quic, id, n);
        return 0;
    }
    buf_add(&client.out, p, n);
    client.credit += n;
    return 0;
}

static int on_deferred(nghttp3_conn *h3, int64_t id, size_t n, void *user, void *stream_user)
{
    quic_conn_consume(client.quic, id, n);
    return 0;
}

static int on_end_stream(nghttp3_conn *h3, int64_t id, void *user, void *stream_user)
{
    client.is_ended = true;
    return 0;
}

static int on_body_acknowledged(nghttp3_conn *h3, int64_t id, uint64_t n, void *user,
                                void *stream_user)
{
    client.acknowledged += n;
    while (client.kept && client.acknowledged >= client.kept->n) {
        struct chunk_of_body *first = client.kept;
        client.acknowledged -= first->n;
        client.kept_bytes -= first->n;
        client.kept = first->next;
        client.kept_tail = client.kept ? client.kept_tail : &client.kept;
        free(first);
    }
    return 0;
}

static int on_h3_stop(nghttp3_conn *h3, int64_t id, uint64_t code, void *user, void *stream_user)
{
    quic_conn_stop(client.quic, id, code);
    return 0;
}

static int on_h3_reset(nghttp3_conn *h3, int64_t id, uint64_t code, void *user, void *stream_user)
{
    quic_conn_reset(client.quic, id, code);
    return 0;
}

static const nghttp3_callbacks callbacks = {
    .recv_settings = on_settings,
    .recv_header = on_header,
    .end_headers = on_end_headers,
    .recv_trailer = on_trailer,
    .recv_data = on_body,
    .deferred_consume = on_deferred,
    .end_stream = on_end_stream,
    .acked_stream_data = on_body_acknowledged,
    .stop_sending = on_h3_stop,
    .reset_stream = on_h3_reset,
};

static nghttp3_ssize read_body(nghttp3_conn *h3, int64_t id, nghttp3_vec *vec, size_t count,
                               uint32_t *flags, void *user, void *stream_user)
{
    struct chunk_of_body *chunk = client.unsent;
    if (chunk) {
        client.unsent = NULL;
        *client.kept_tail = chunk;
        client.kept_tail = &chunk->next;
        client.kept_bytes += chunk->n;
        *vec = (nghttp3_vec){(uint8_t *)chunk->bytes, chunk->n};
        return 1;
    }
    if (!client.is_input_ended || client.resets_at_end) {
        return NGHTTP3_ERR_WOULDBLOCK;
    }
    *flags |= NGHTTP3_DATA_FLAG_EOF;
    if (client.trailer_count) {
        *flags |= NGHTTP3_DATA_FLAG_NO_END_STREAM;
        must(nghttp3_conn_submit_trailers(h3, id, client.trailers, client.trailer_count) == 0,
             "trailers");
    }
    return 0;
}

static void submit_request(void)
{
    static bool is_submitted;
    const nghttp3_data_reader reader = {read_body};
    if (client.stream_id >= 0 && !is_submitted) {
        is_submitted = true;
        must(nghttp3_conn_submit_request(client.h3, client.stream_id, client.fields,
                                         client.field_count, &reader, NULL) == 0,
             "request");
    }
}

/* ---- QUIC ---- */

static void on_handshake(void *user)
{
    int64_t id[3];
    for (int i = 0; i < 3; i++) {
        must(quic_conn_open(client.quic, false, &id[i]) == ERR_OK, "no stream of our own");
    }
    must(nghttp3_conn_bind_control_stream(client.h3, id[0]) == 0 &&
             nghttp3_conn_bind_qpack_streams(client.h3, id[1], id[2]) == 0,
         "streams of our own");
    client.is_bound = true;
}

static enum err on_data(void *user, int64_t id, const uint8_t *p, size_t n, bool is_end)
{
    nghttp3_ssize used = nghttp3_conn_read_stream(client.h3, id, p, n, is_end);
    must(used >= 0, "the answer is no HTTP/3");
    quic_conn_consume(client.quic, id, (size_t)used);
    return ERR_OK;
}

static enum err on_acknowledged(void *user, int64_t id, uint64_t n)
{
    return nghttp3_conn_add_ack_offset(client.h3, id, n) == 0 ? ERR_OK : ERR_INTERNAL;
}

static void on_message(void *user, const uint8_t *p, size_t n)
{
    buf_add_char(&client.out, (char)(n >> 8));
    buf_add_char(&client.out, (char)(n & 0xff));
    buf_add(&client.out, p, n);
}

static void on_reset(void *user, int64_t id, uint64_t code)
{
    end_with(RESULT_RESET, "reset", code);
}

static void on_stop(void *user, int64_t id, uint64_t code)
{
    fprintf(stderr, "stopped %" PRIu64 "\n", code);
    nghttp3_conn_shutdown_stream_write(client.h3, id);
}

static void on_stream_end(void *user, int64_t id, uint64_t code)
{
    (void)nghttp3_conn_close_stream(client.h3, id, code);
}

static void on_credit(void *user, int64_t id)
{
    must(nghttp3_conn_unblock_stream(client.h3, id) == 0, "unblock");
}

static enum err offer(void *user, struct quic_offer *ret)
{
    nghttp3_vec vec[QUIC_PIECES_MAX];
    int is_end = 0;
    if (!client.is_bound) {
        return ERR_OK;
    }
    submit_request();
    nghttp3_ssize n =
        nghttp3_conn_writev_stream(client.h3, &ret->stream_id, &is_end, vec, QUIC_PIECES_MAX);
    must(n >= 0, "nothing can be written");
    ret->is_end = is_end != 0;
    ret->count = (size_t)n;
    for (size_t i = 0; i < ret->count; i++) {
        ret->pieces[i] = (struct quic_piece){vec[i].base, vec[i].len};
    }
    return ERR_OK;
}

static enum err on_taken(void *user, int64_t id, size_t n)
{
    return nghttp3_conn_add_write_offset(client.h3, id, n) == 0 ? ERR_OK : ERR_INTERNAL;
}

static void on_blocked(void *user, int64_t id)
{
    nghttp3_conn_block_stream(client.h3, id);
}

static void on_cannot_send(void *user, int64_t id)
{
    nghttp3_conn_shutdown_stream_write(client.h3, id);
}

static void hook_random(void *user, uint8_t *p, size_t n)
{
    random_bytes(p, n);
}

static void make_cid(void *user, uint8_t *ret_bytes, uint8_t ret_token[QUIC_TOKEN_BYTES])
{
    random_bytes(ret_bytes, QUIC_CID_BYTES);
    random_bytes(ret_token, QUIC_TOKEN_BYTES);
}

static void drop_cid(void *user, const uint8_t *p, size_t n)
{
}

static const struct quic_hooks hooks = {
    .on_handshake = on_handshake,
    .on_data = on_data,
    .on_acknowledged = on_acknowledged,
    .on_reset = on_reset,
    .on_stop = on_stop,
    .on_stream_end = on_stream_end,
    .on_credit = on_credit,
    .offer = offer,
    .on_taken = on_taken,
    .on_blocked = on_blocked,
    .on_cannot_send = on_cannot_send,
    .on_message = on_message,
    .random = hook_random,
    .make_cid = make_cid,
    .drop_cid = drop_cid,
};

/* ---- the network ---- */

static struct quic_path path_between(const struct socket_address *local,
                                     const struct socket_address *remote)
{
    return (struct quic_path){str_make((const char *)&local->raw, local->n),
                              str_make((const char *)&remote->raw, remote->n)};
}

static void send_one(const uint8_t *bytes, const struct quic_datagram *d)
{
    const struct datagram_send one = {&client.remote, &client.local, d->ecn, bytes, d->n, d->n};
    enum err ignored = d->n ? datagram_send(client.fd, &one) : ERR_OK;
    (void)ignored; /* one that is lost is sent again */
}

/* The connection has ended, by either side. */
static void lose(enum err e)
{
    end_with(RESULT_CLOSED, "closed", (uint64_t)-e);
}

static void write_all(void)
{
    uint8_t bytes[QUIC_DATAGRAM_BYTES];
    struct quic_datagram d;
    size_t burst = quic_conn_burst_bytes(client.quic);
    for (size_t sent = 0; sent < burst; sent += d.n) {
        enum err e = quic_conn_write(client.quic, bytes, &d, clock_monotonic_ns());
        send_one(bytes, &d);
        if (e) {
            lose(e);
            return;
        }
        if (d.n == 0) {
            break;
        }
    }
    quic_conn_written(client.quic, clock_monotonic_ns());
}

static void receive(void)
{
    struct datagram batch[DATAGRAM_BATCH];
    unsigned count = 0;
    if (datagram_receive(client.fd, client.buffers, &client.local, batch, &count) != ERR_OK) {
        return;
    }
    for (unsigned i = 0; i < count && !client.is_ended; i++) {
        const struct datagram *d = &batch[i];
        const struct quic_path path = path_between(&d->local, &d->remote);
        for (size_t at = 0; at < d->n && !client.is_ended; at += d->segment_bytes) {
            size_t n = d->n - at < d->segment_bytes ? d->n - at : d->segment_bytes;
            enum err e = quic_conn_receive(client.quic, &path, d->ecn, d->bytes + at, n,
                                           clock_monotonic_ns());
            if (e) {
                lose(e);
            }
        }
    }
}

/* ---- standard input and output ---- */

/* Those that find no room are lost, as the network may lose them. */
static void send_datagrams(const char *bytes, size_t n)
{
    struct buf *b = &client.datagrams;
    buf_add(b, bytes, n);
    while (b->n >= 2) {
        size_t length = (size_t)(uint8_t)b->p[0] << 8 | (uint8_t)b->p[1];
        if (b->n - 2 < length) {
            break;
        }
        enum err e = quic_conn_send_message(client.quic, str_make(b->p + 2, length), 0);
        if (e) {
            fprintf(stderr, "unsent %s\n", err_name(e));
        }
        buf_consume(b, 2 + length);
    }
}

static void read_input(void)
{
    struct chunk_of_body *chunk = calloc(1, sizeof(*chunk));
    must(chunk != NULL, "out of memory");
    ssize_t n = read(STDIN_FILENO, chunk->bytes, sizeof(chunk->bytes));
    if (n > 0 && client.has_datagrams) {
        send_datagrams(chunk->bytes, (size_t)n);
        free(chunk);
    } else if (n > 0) {
        chunk->n = (size_t)n;
        client.unsent = chunk;
    } else {
        free(chunk);
        client.is_input_ended = n == 0 || errno != EAGAIN;
        if (client.is_input_ended && client.resets_at_end) {
            quic_conn_reset(client.quic, client.stream_id, CANCELLED);
            quic_conn_stop(client.quic, client.stream_id, CANCELLED);
        }
    }
    if (client.stream_id >= 0) {
        must(nghttp3_conn_resume_stream(client.h3, client.stream_id) == 0, "resume");
    }
}

static void write_output(void)
{
    ssize_t n = write(STDOUT_FILENO, client.out.p, client.out.n);
    if (n <= 0) {
        return;
    }
    buf_consume(&client.out, (size_t)n);
    /* The head may be told from the body: its bytes only give credit later than needed. */
    size_t credit = client.credit > client.out.n ? client.credit - client.out.n : 0;
    quic_conn_consume(client.quic, client.stream_id, credit);
    client.credit -= credit;
}

static void turn(void)
{
    uint64_t now = clock_monotonic_ns(), deadline = quic_conn_deadline_ns(client.quic);
    uint64_t wait_ms = deadline <= now ? 0 : (deadline - now) / 1000000 + 1;
    bool reads = client.stream_id >= 0 && !client.unsent && !client.is_input_ended &&
                 client.kept_bytes < KEPT_BYTES_MAX;
    struct pollfd fds[] = {{client.fd, POLLIN, 0},
                           {reads ? STDIN_FILENO : -1, POLLIN, 0},
                           {client.out.n ? STDOUT_FILENO : -1, POLLOUT, 0}};
    (void)poll(fds, 3, wait_ms < 1000 ? (int)wait_ms : 1000);
    if (fds[2].revents) {
        write_output();
    }
    if (fds[1].revents) {
        read_input();
    }
    if (fds[0].revents) {
        receive();
    }
    if (!client.is_ended && quic_conn_deadline_ns(client.quic) <= clock_monotonic_ns()) {
        enum err e = quic_conn_on_deadline(client.quic, clock_monotonic_ns());
        if (e) {
            lose(e);
        }
    }
    if (!client.is_ended) {
        write_all();
    }
}

static void run(void)
{
    while (!client.is_ended) {
        turn();
    }
    (void)fcntl(STDOUT_FILENO, F_SETFL, 0);
    while (client.out.n) {
        size_t before = client.out.n;
        write_output();
        must(client.out.n < before, "the answer cannot be written");
    }
    if (client.result != RESULT_CLOSED) {
        uint8_t bytes[QUIC_DATAGRAM_BYTES];
        struct quic_datagram d;
        if (quic_conn_close(client.quic, NO_ERROR, bytes, &d, clock_monotonic_ns()) == ERR_OK) {
            send_one(bytes, &d);
        }
    }
}

/* ---- the start ---- */

static size_t take_fields(char **texts, int count, nghttp3_nv *ret)
{
    size_t n = 0;
    for (int i = 0; i < count; i++, n++) {
        char *equal = strchr(texts[i], '=');
        must(equal && n < FIELDS_MAX, "FIELD=VALUE is wanted");
        *equal = '\0';
        ret[n] = (nghttp3_nv){.name = (uint8_t *)texts[i],
                              .namelen = strlen(texts[i]),
                              .value = (uint8_t *)equal + 1,
                              .valuelen = strlen(equal + 1)};
    }
    return n;
}

static void connect_to(const char *root, const char *name, const char *address, const char *port)
{
    const struct quic_limits limits = {
        .connection_window_bytes = 1 << 20,
        .connection_window_bytes_max = 1 << 22,
        .stream_window_bytes = 1 << 18,
        .stream_window_bytes_max = 1 << 20,
        .stream_count = 1,
        .handshake_ns = 30000000000u,
        .idle_ns = 120000000000u,
        .message_bytes_max = client.has_datagrams ? 65535 : 0,
    };
    struct buf pem;
    struct tls_quic_client *tls;
    buf_init(&pem, 0);
    must(file_read_all(root, 65536, &pem) == ERR_OK, "ROOT_PEM cannot be read");
    must(crypto_start(NULL) == ERR_OK, "no TLS");
    const struct tls_quic_client_config config = {.name = str_of(name), .trust_pem = buf_str(&pem)};
    must(tls_quic_client_create(&config, &tls) == ERR_OK, "ROOT_PEM is no certificate");
    must(socket_address_ip(str_of(address), (uint16_t)atoi(port), &client.remote) == ERR_OK &&
             socket_address_ip(STR("127.0.0.1"), 0, &client.local) == ERR_OK &&
             datagram_bind(&client.local, false, &client.fd) == ERR_OK &&
             socket_local(client.fd, &client.local) == ERR_OK,
         "no socket to ADDRESS and PORT");
    client.buffers = datagram_buffers_create();
    must(client.buffers != NULL, "out of memory");
    const struct quic_connect connect = {
        .hooks = &hooks,
        .limits = &limits,
        .tls = tls,
        .now_ns = clock_monotonic_ns(),
        .path = path_between(&client.local, &client.remote),
    };
    must(quic_conn_connect(&connect, &client.quic) == ERR_OK, "out of memory");
    buf_done(&pem);
}

int main(int argc, char **argv)
{
    nghttp3_settings settings;
    for (; argc > 1 && argv[1][0] == '-'; argc--, argv++) {
        client.resets_at_end |= strcmp(argv[1], "-r") == 0;
        client.has_datagrams |= strcmp(argv[1], "-d") == 0;
    }
    must(argc > 5, "[-r] [-d] ROOT_PEM NAME ADDRESS PORT FIELD=VALUE... [-- TRAILER=VALUE...]");
    int split = 5;
    while (split < argc && strcmp(argv[split], "--") != 0) {
        split++;
    }
    client.stream_id = -1;
    client.kept_tail = &client.kept;
    buf_init(&client.out, 0);
    buf_init(&client.datagrams, 0);
    client.field_count = take_fields(argv + 5, split - 5, client.fields);
    client.trailer_count =
        split < argc ? take_fields(argv + split + 1, argc - split - 1, client.trailers) : 0;
    nghttp3_settings_default(&settings);
    settings.h3_datagram = client.has_datagrams;
    must(nghttp3_conn_client_new(&client.h3, &callbacks, &settings, nghttp3_mem_default(), NULL) ==
             0,
         "out of memory");
    (void)fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    (void)fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK);
    connect_to(argv[1], argv[2], argv[3], argv[4]);
    write_all();
    run();
    return (int)client.result;
}
