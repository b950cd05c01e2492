/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/socket.h"

#define TURNS_MAX 20000

struct job {
    struct rig *rig;
    struct exchange *x;
    struct timer timer;
    char kind;
    bool is_waiting; /* for room */
    bool is_ended;
    uint64_t left;
    uint64_t counted;
    struct buf kept;
};

static void job_answer(struct exchange *x, struct str body)
{
    struct response_head head = {.status = 200};
    enum err e = exchange_answer(x, &head, body);
    (void)e; /* a failed one has reset the exchange */
}

static bool job_respond(struct exchange *x, uint16_t status, uint64_t body_bytes)
{
    struct response_head head = {.status = status};
    enum err e = exchange_respond(x, &head, body_bytes);
    if (e) {
        exchange_reset(x, e);
    }
    return e == ERR_OK;
}

static bool job_send(struct exchange *x, struct str bytes)
{
    enum err e = exchange_send_bytes(x, bytes);
    if (e) {
        exchange_reset(x, e);
    }
    return e == ERR_OK;
}

static void job_tunnel(struct job *j)
{
    struct http_field array[1];
    struct http_fields fields;
    http_fields_init(&fields, array, 1);
    bool has_datagrams = j->kind == 'd' || j->kind == 'q';
    enum err e = http_fields_add(&fields, STR("X-Tunnel"), STR("yes"));
    if (!e) {
        e = has_datagrams ? exchange_tunnel_datagrams(j->x, STR("bytes"), &fields)
                          : exchange_tunnel(j->x, STR("bytes"), &fields);
    }
    if (!e) {
        exchange_read_body(j->x);
    } else {
        struct response_head head = {.status = e == ERR_UNSUPPORTED ? 400 : 503};
        e = exchange_answer(j->x, &head, STR(""));
    }
}

static void job_on_time(struct timer *t)
{
    struct job *j = CONTAINER_OF(t, struct job, timer);
    if (j->kind == 'o') {
        job_tunnel(j);
        return;
    }
    job_answer(j->x, STR("late\n"));
}

static void job_fill(struct job *j)
{
    static const char block[16384] = {'s'};
    while (j->left && exchange_room(j->x) > 0) {
        size_t n = j->left < sizeof(block) ? (size_t)j->left : sizeof(block);
        if (!job_send(j->x, str_make(block, n))) {
            return;
        }
        j->left -= n;
    }
    if (!j->left) {
        exchange_finish(j->x);
    }
}

static void job_on_room(struct exchange *x)
{
    struct job *j = x->state;
    if (j->kind == 's' || j->kind == 't') {
        job_fill(j);
    } else if (j->is_waiting) {
        j->is_waiting = false;
        exchange_read_body(x);
    }
}

static bool job_is_echo(const struct job *j)
{
    return strchr("ewodq", j->kind) != NULL;
}

static void job_on_drain(struct exchange *x)
{
    struct job *j = x->state;
    if (j->kind == 'w' && job_send(x, STR("bye"))) {
        exchange_finish(x);
    }
}

static void job_on_body(struct exchange *x, const char *bytes, size_t n)
{
    struct job *j = x->state;
    ASSERT(n > 0);
    j->counted += n;
    if (j->kind == 'k') {
        buf_add(&j->kept, bytes, n);
    }
    if (job_is_echo(j)) {
        if (!job_send(x, str_make(bytes, n))) {
            return;
        }
        if (exchange_room(x) == 0) {
            j->is_waiting = true;
            return;
        }
    }
    exchange_read_body(x);
}

static void job_on_body_end(struct exchange *x)
{
    struct job *j = x->state;
    char text[32];
    if (job_is_echo(j)) {
        enum err e = x->trailers ? exchange_send_trailers(x, x->trailers) : ERR_OK;
        if (e) {
            exchange_reset(x, e);
        } else {
            exchange_finish(x);
        }
        return;
    }
    if (j->kind == 'k') {
        job_answer(x, buf_str(&j->kept));
        return;
    }
    int n = snprintf(text, sizeof(text), "counted %llu\n", (unsigned long long)j->counted);
    if (j->kind == 'c') {
        job_answer(x, str_make(text, (size_t)n));
    } else if (job_send(x, str_make(text, (size_t)n))) {
        exchange_finish(x);
    }
}

static void job_on_end(struct exchange *x, enum err cause)
{
    struct job *j = x->state;
    ASSERT(!j->is_ended);
    j->is_ended = true;
    timer_cancel(&j->timer);
    buf_done(&j->kept);
    j->rig->ended++;
    j->rig->ended_well += cause == ERR_OK;
}

/* What does not fit is lost, as the network may lose it. */
static void job_on_datagram(struct exchange *x, const char *bytes, size_t n)
{
    static const char zeros[65536];
    struct str text = str_make(bytes, n);
    size_t most = exchange_datagram_bytes_max(x);
    enum err e = ERR_OK;
    if (str_eq(text, STR("end"))) {
        exchange_finish(x);
    } else if (str_eq(text, STR("break"))) {
        exchange_reset(x, ERR_CANCELLED);
    } else if (str_eq(text, STR("long"))) {
        ASSERT(exchange_send_datagram(x, str_make(zeros, most + 1)) == ERR_RANGE);
        e = exchange_send_datagram(x, str_make(zeros, most));
    } else if (str_eq(text, STR("many"))) {
        for (unsigned i = 0; i < RIG_MANY_DATAGRAMS; i++) {
            e = exchange_send_datagram(x, str_make(zeros, most < 5000 ? 100 : 5000));
            ASSERT(!e || e == ERR_LIMIT || e == ERR_NOMEM);
        }
    } else {
        e = exchange_send_datagram(x, text);
    }
    (void)e;
}

static const struct exchange_service job_service = {
    .on_body = job_on_body,
    .on_body_end = job_on_body_end,
    .on_datagram = job_on_datagram,
    .on_room = job_on_room,
    .on_drain = job_on_drain,
    .on_end = job_on_end,
};

static const struct exchange_service job_deaf_service = {
    .on_body_end = job_on_body_end,
    .on_end = job_on_end,
};

static void job_send_file(struct job *j)
{
    struct exchange *x = j->x;
    int fd = dup(j->rig->file_fd);
    struct exchange_file *f = exchange_file_create(fd);
    if (!f) {
        close(fd);
        exchange_reset(x, ERR_NOMEM);
        return;
    }
    if (job_respond(x, 200, RIG_FILE_BYTES)) {
        enum err e = exchange_send_file(x, f, 0, RIG_FILE_BYTES);
        if (e) {
            exchange_reset(x, e);
        } else {
            exchange_finish(x);
        }
    }
    exchange_file_unref(f);
}

static void job_ready(struct job *j)
{
    struct exchange_ready *ready = &j->rig->ready;
    struct http_field array[2];
    http_fields_init(&ready->fields, array, 2);
    if (!ready->body) {
        ready->status = 200;
        ready->body = chunk_from(STR("ready\n"));
        ready->body_bytes = 6;
    }
    enum err e = ready->body ? exchange_respond_ready(j->x, ready) : ERR_NOMEM;
    if (e) {
        /* As the pipeline does: another answer where none has begun. */
        struct response_head head = {.status = 503};
        e = exchange_answer(j->x, &head, STR(""));
    }
}

/* What has no place in trailers is refused, and the answer goes on. */
static void job_trailers(struct job *j)
{
    struct http_field array[2];
    struct http_fields trailers;
    enum err e;
    if (!job_respond(j->x, 200, EXCHANGE_LENGTH_UNKNOWN) || !job_send(j->x, STR("body\n"))) {
        return;
    }
    http_fields_init(&trailers, array, 2);
    e = http_fields_add(&trailers, STR("Content-Length"), STR("5"));
    ASSERT(!e && exchange_send_trailers(j->x, &trailers) == ERR_SYNTAX);
    http_fields_init(&trailers, array, 2);
    e = http_fields_add(&trailers, STR("X-Sum"), STR("12"));
    e = e ? e : http_fields_add(&trailers, STR("ETag"), STR("\"e\""));
    e = e ? e : exchange_send_trailers(j->x, &trailers);
    if (e) {
        exchange_reset(j->x, e);
    } else {
        exchange_finish(j->x);
    }
}

static void job_start(struct job *j)
{
    struct exchange *x = j->x;
    switch (j->kind) {
    case 'q':
        exchange_serve(x, &job_deaf_service, j);
        job_tunnel(j);
        break;
    case 'w':
    case 'd':
        job_tunnel(j);
        break;
    case 'l':
    case 'o':
        timer_init(&j->timer, job_on_time);
        loop_timer_set(j->rig->loop, &j->timer, loop_now_ms(j->rig->loop) + RIG_LATER_MS);
        break;
    case 'e':
        /* Asked first, so that the head need not announce the end of the connection. */
        if (x->request_body_bytes == 0) {
            job_answer(x, STR(""));
            break;
        }
        exchange_read_body(x);
        (void)job_respond(x, 200, x->request_body_bytes);
        break;
    case 'c':
    case 'k':
        exchange_read_body(x);
        break;
    case 'b':
        if (job_respond(x, 200, EXCHANGE_LENGTH_UNKNOWN)) {
            exchange_read_body(x);
        }
        break;
    case 's':
    case 't':
        j->left = RIG_STREAM_BYTES;
        if (job_respond(x, 200, j->kind == 's' ? j->left : EXCHANGE_LENGTH_UNKNOWN)) {
            job_fill(j);
        }
        break;
    case 'f':
        job_send_file(j);
        break;
    case 'h':
        break;
    case 'p':
        if (job_respond(x, 200, 100) && job_send(x, STR("short"))) {
            exchange_finish(x);
        }
        break;
    case 'g': {
        static const char big[RIG_BIG_BYTES] = {'g'};
        job_answer(x, str_make(big, sizeof(big)));
        break;
    }
    case 'r':
        exchange_reset(x, ERR_INTERNAL);
        break;
    case 'y':
        job_ready(j);
        break;
    case 'v':
        job_trailers(j);
        break;
    case 'x':
        if (job_respond(x, 204, 7) && job_send(x, STR("content"))) {
            exchange_finish(x);
        }
        break;
    default:
        job_answer(x, STR("now\n"));
        break;
    }
}

static void on_exchange(void *context, struct exchange *x)
{
    struct rig *r = context;
    struct job *j = arena_zalloc(&x->arena, sizeof(*j));
    if (!j) {
        exchange_reset(x, ERR_NOMEM);
        return;
    }
    r->exchanges++;
    j->rig = r;
    j->x = x;
    j->kind = x->request->path.n > 1 ? x->request->path.p[1] : 'n';
    if (r->is_fuzzing && (j->kind == 'r' || j->kind == 'p' || j->kind == 'f')) {
        j->kind = 'n';
    }
    if (r->is_fuzzing && j->kind == 'e') {
        j->kind = 'k';
    }
    timer_init(&j->timer, job_on_time);
    exchange_serve(x, &job_service, j);
    job_start(j);
}

static void on_refused(void *context, const struct exchange_peer *peer, unsigned reason,
                       unsigned status)
{
    struct rig *r = context;
    (void)peer;
    (void)reason;
    r->refused++;
    r->refused_status = status;
}

static void on_limit(void *context, enum server_limit limit)
{
    ((struct rig *)context)->limits[limit]++;
}

static void on_connection(void *context, int change)
{
    ((struct rig *)context)->connections += change;
}

static void on_bytes(void *context, uint64_t in, uint64_t out)
{
    (void)in;
    ((struct rig *)context)->sends += out > 0;
}

struct server_limits rig_limits(void)
{
    return (struct server_limits){
        .connections_max = 100,
        .header_bytes_max = 8192,
        .header_count_max = 100,
        .uri_bytes_max = 4096,
        .body_bytes_max = 64u << 20,
        .header_ms = 10000,
        .idle_ms = 60000,
        .read_idle_ms = 20000,
        .write_idle_ms = 30000,
        .tunnel_idle_ms = 3600000,
    };
}

static void rig_start_at(struct rig *r, const struct server_limits *limits,
                         const struct socket_address *address)
{
    const struct server_hooks hooks = {.on_exchange = on_exchange,
                                       .on_refused = on_refused,
                                       .on_limit = on_limit,
                                       .on_connection = on_connection,
                                       .on_bytes = on_bytes,
                                       .context = r};
    *r = (struct rig){.file_fd = memfd_create("rig", MFD_CLOEXEC)};
    ASSERT(r->file_fd >= 0 && ftruncate(r->file_fd, RIG_FILE_BYTES) == 0);
    ASSERT(socket_listen(address, false, &r->listen_fd) == ERR_OK);
    ASSERT(socket_local(r->listen_fd, &r->address) == ERR_OK);
    ASSERT(loop_create(POLLER_KIND_SIM, &r->loop) == ERR_OK);
    ASSERT(server_create(r->loop, limits, &hooks, &r->server) == ERR_OK);
    ASSERT(server_listen(r->server, r->listen_fd, false, &r->listener) == ERR_OK);
}

void rig_start(struct rig *r, const struct server_limits *limits)
{
    static unsigned count;
    char name[64];
    struct socket_address address;
    int n = snprintf(name, sizeof(name), "@sws-net-test-%d-%u", (int)getpid(), count++);
    ASSERT(socket_address_unix(str_make(name, (size_t)n), &address) == ERR_OK);
    rig_start_at(r, limits, &address);
}

void rig_start_tcp(struct rig *r, const struct server_limits *limits)
{
    struct socket_address address;
    ASSERT(socket_address_ip(STR("127.0.0.1"), 0, &address) == ERR_OK);
    rig_start_at(r, limits, &address);
}

void rig_stop(struct rig *r)
{
    rig_settle(r);
    server_destroy(r->server);
    ASSERT(r->ended == r->exchanges);
    ASSERT(r->connections == 0);
    exchange_ready_done(&r->ready);
    loop_destroy(r->loop);
    file_close(r->listen_fd);
    file_close(r->file_fd);
}

void rig_settle(struct rig *r)
{
    unsigned turns = 0;
    while (loop_turn(r->loop, 0)) {
        ASSERT(++turns < TURNS_MAX);
    }
}

void rig_advance(struct rig *r, uint64_t ms)
{
    uint64_t end_ns = loop_now_ns(r->loop) + ms * NS_PER_MS;
    unsigned turns = 0;
    while (loop_now_ns(r->loop) < end_ns) {
        loop_turn(r->loop, end_ns);
        ASSERT(++turns < TURNS_MAX);
    }
    rig_settle(r);
}

void client_open(struct rig *r, struct client *c)
{
    *c = (struct client){.rig = r, .fd = -1};
    ASSERT(socket_connect(&r->address, &c->fd) == ERR_OK);
    buf_init(&c->got, 0);
    rig_settle(r);
}

void client_close(struct client *c)
{
    close(c->fd);
    buf_done(&c->got);
    rig_settle(c->rig);
}

size_t client_put(struct client *c, struct str bytes)
{
    ssize_t sent = send(c->fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? 0 : (size_t)sent;
}

bool client_take(struct client *c)
{
    char block[65536];
    ssize_t n = recv(c->fd, block, sizeof(block), MSG_DONTWAIT);
    if (n > 0) {
        buf_add(&c->got, block, (size_t)n);
        return true;
    }
    if (n == 0 || errno == ECONNRESET) {
        c->is_closed = true;
    }
    return false;
}

void client_send(struct client *c, struct str bytes)
{
    bool is_moving = true;
    while (is_moving) {
        size_t sent = bytes.n ? client_put(c, bytes) : 0;
        bytes = str_sub(bytes, sent, bytes.n - sent);
        rig_settle(c->rig);
        is_moving = client_take(c) || sent > 0;
    }
}

unsigned client_count(const struct client *c, const char *text)
{
    unsigned count = 0;
    size_t n = strlen(text);
    const char *at = c->got.p, *end = at ? at + c->got.n : NULL;
    while (at && (at = memmem(at, (size_t)(end - at), text, n))) {
        at += n;
        count++;
    }
    return count;
}

size_t client_body_bytes(const struct client *c)
{
    const char *at = c->got.p ? memmem(c->got.p, c->got.n, "\r\n\r\n", 4) : NULL;
    return at ? c->got.n - (size_t)(at + 4 - c->got.p) : 0;
}

void rig_blank_dates(struct buf *b)
{
    char *at = b->p, *end = at ? at + b->n : NULL;
    while (at && (at = memmem(at, (size_t)(end - at), "\r\nDate: ", 8))) {
        at += 8;
        for (int i = 0; i < 29 && at < end; i++) {
            *at++ = '.';
        }
    }
}
