/* SPDX-License-Identifier: Apache-2.0 */
#include "net/quic_endpoint.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "net/quic_names_int.h"
#include "os/clock.h"
#include "os/random.h"

#define OUT_BYTES 65000u     /* of one send */
#define OUT_SEGMENTS_MAX 60u /* UDP_MAX_SEGMENTS is 64 in older kernels */
#define RECEIVE_BUDGET 8     /* batches per turn, so that other watches get their share */
#define LATE_MAX 16u         /* answers to packets behind the close */
#define RESETS_PER_SECOND_MAX 100u
/* Our ids: the owner, a mark by which they are told from those of clients, noise. */
#define CID_GENERATION_AT (QUIC_CID_LOOP_AT + 1)
#define CID_MARK_AT (QUIC_CID_LOOP_AT + 2)
#define CID_MARK_BYTES 2

struct quic_endpoint {
    struct server *server;
    struct quic_endpoint_config config;
    struct loop_watch watch;
    struct socket_address local;
    struct datagram_buffers *buffers;
    uint8_t *out;
    struct quic_names names;
    struct list blocked;
    struct list links;
    unsigned unproved_count;
    uint64_t reset_second; /* in which so many resets were sent */
    unsigned reset_count;
    bool is_draining;
    bool is_succeeded;    /* another process reads from the socket */
    bool has_no_segments; /* this machine sends one datagram at a time */
};

/* ---- connection ids ---- */

static void cid_mark(const struct quic_endpoint *e, const struct quic_cid *cid,
                     uint8_t ret_mark[CID_MARK_BYTES])
{
    struct quic_cid bare = *cid;
    uint8_t token[QUIC_TOKEN_BYTES];
    memset(bare.bytes + CID_MARK_AT, 0, CID_MARK_BYTES);
    quic_reset_token(e->config.secret, &bare, token);
    memcpy(ret_mark, token, CID_MARK_BYTES);
}

static void endpoint_new_cid(const struct quic_endpoint *e, struct quic_cid *ret)
{
    ret->n = QUIC_CID_BYTES;
    random_bytes(ret->bytes, QUIC_CID_BYTES);
    ret->bytes[QUIC_CID_LOOP_AT] = e->config.owner.loop_index;
    ret->bytes[CID_GENERATION_AT] = e->config.owner.generation;
    cid_mark(e, ret, ret->bytes + CID_MARK_AT);
}

/* Passes a datagram on whose id another loop or process chose. False: nobody did, or nobody is
 * there any more. */
static bool endpoint_pass_on(const struct quic_endpoint *e, const struct datagram *d,
                             const struct quic_cid *cid, uint8_t *p, size_t n)
{
    const struct quic_owner owner = {cid->bytes[QUIC_CID_LOOP_AT], cid->bytes[CID_GENERATION_AT]};
    uint8_t mark[CID_MARK_BYTES];
    if (cid->n != QUIC_CID_BYTES || (owner.loop_index == e->config.owner.loop_index &&
                                     owner.generation == e->config.owner.generation)) {
        return false;
    }
    cid_mark(e, cid, mark);
    if (memcmp(cid->bytes + CID_MARK_AT, mark, CID_MARK_BYTES) != 0) {
        return false;
    }
    struct datagram one = *d;
    one.bytes = p;
    one.n = n;
    one.segment_bytes = n;
    return e->config.on_foreign(e->config.context, owner, &one);
}

/* ---- hooks of the connection that are the endpoint's ---- */

static void link_random(void *user, uint8_t *p, size_t n)
{
    (void)user;
    random_bytes(p, n);
}

static void link_make_cid(void *user, uint8_t *ret_bytes, uint8_t ret_token[QUIC_TOKEN_BYTES])
{
    struct quic_link *l = user;
    struct quic_cid cid;
    endpoint_new_cid(l->endpoint, &cid);
    /* Without memory the id leads nowhere, and the peer has others. */
    enum err ignored = quic_names_add(&l->endpoint->names, l, &cid);
    (void)ignored;
    quic_reset_token(l->endpoint->config.secret, &cid, ret_token);
    memcpy(ret_bytes, cid.bytes, cid.n);
}

static void link_drop_cid(void *user, const uint8_t *bytes, size_t n)
{
    struct quic_link *l = user;
    quic_names_drop(&l->endpoint->names, l, bytes, n);
}

static struct str address_str(const struct socket_address *a)
{
    return str_make((const char *)&a->raw, a->n);
}

/* ---- the end of a link ---- */

static uint64_t endpoint_now_ns(const struct quic_endpoint *e)
{
    return loop_now_ns(e->server->loop);
}

static void link_prove(struct quic_link *l)
{
    if (l->is_counted) {
        l->is_counted = false;
        l->endpoint->unproved_count--;
    }
}

static void link_free(struct quic_link *l)
{
    struct quic_endpoint *e = l->endpoint;
    link_prove(l);
    timer_cancel(&l->timer);
    loop_task_cancel(&l->settle_task);
    list_remove(&l->blocked);
    quic_names_drop_all(&e->names, l);
    quic_conn_destroy(l->quic);
    l->quic = NULL;
    buf_done(&l->unsent);
    buf_done(&l->last);
    l->state = QUIC_LINK_DEAD;
    list_remove(&l->of_endpoint);
}

/* The handshake is complete: the client is at its address, and is told how to say so at once when
 * it comes back. */
static void link_on_proved(struct quic_link *l)
{
    uint8_t token[QUIC_ADDRESS_TOKEN_BYTES];
    link_prove(l);
    if (l->has_token) {
        return;
    }
    l->has_token = true;
    size_t n = quic_token_make(l->endpoint->config.secret, l->version, address_str(&l->remote),
                               endpoint_now_ns(l->endpoint), token);
    if (n) {
        /* Without memory the client has to prove itself again. */
        enum err ignored = quic_conn_send_token(l->quic, str_make((const char *)token, n));
        (void)ignored;
    }
}

static void link_over(struct quic_link *l)
{
    const struct quic_link_ops *ops = l->ops;
    link_free(l);
    ops->on_closed(l, l->cause);
}

void quic_link_abort(struct quic_link *l)
{
    if (l->state != QUIC_LINK_DEAD) {
        link_free(l);
    }
}

static void link_wait(struct quic_link *l, uint64_t deadline_ns)
{
    if (deadline_ns == UINT64_MAX) {
        timer_cancel(&l->timer);
    } else {
        loop_timer_set(l->endpoint->server->loop, &l->timer,
                       (deadline_ns + NS_PER_MS - 1) / NS_PER_MS);
    }
}

/* ---- sending ---- */

/* Without it the timers of loss recovery bring the links back. */
static void endpoint_watch(struct quic_endpoint *e)
{
    unsigned events =
        (e->is_succeeded ? 0u : POLLER_READ) | (list_is_empty(&e->blocked) ? 0u : POLLER_WRITE);
    enum err ignored = loop_rewatch(e->server->loop, &e->watch, events);
    (void)ignored;
}

static void link_block(struct quic_link *l)
{
    struct quic_endpoint *e = l->endpoint;
    if (list_is_empty(&l->blocked)) {
        list_push_back(&e->blocked, &l->blocked);
    }
    endpoint_watch(e);
}

static enum err endpoint_send(struct quic_endpoint *e, const struct datagram_send *d)
{
    enum err err = e->has_no_segments ? ERR_UNSUPPORTED : datagram_send(e->watch.fd, d);
    if (err != ERR_UNSUPPORTED || d->segment_bytes >= d->n) {
        return err;
    }
    e->has_no_segments = true;
    for (size_t at = 0; at < d->n; at += d->segment_bytes) {
        struct datagram_send one = *d;
        one.bytes = d->bytes + at;
        one.n = d->n - at < d->segment_bytes ? d->n - at : d->segment_bytes;
        err = datagram_send(e->watch.fd, &one);
        if (err) {
            /* The rest is as good as lost on the way. */
            return err == ERR_AGAIN ? ERR_OK : err;
        }
    }
    return ERR_OK;
}

/* False: the socket is full, and the bytes wait. Other faults are losses of the network. */
static bool link_send(struct quic_link *l, const struct datagram_send *d)
{
    struct server *s = l->endpoint->server;
    enum err err = endpoint_send(l->endpoint, d);
    if (err == ERR_AGAIN) {
        buf_clear(&l->unsent);
        buf_add(&l->unsent, d->bytes, d->n);
        l->unsent_segment_bytes = d->segment_bytes;
        l->unsent_ecn = d->ecn;
        l->remote = *d->remote;
        link_block(l);
        return false;
    }
    s->hooks.on_bytes(s->hooks.context, 0, d->n);
    return true;
}

static void link_fail(struct quic_link *l, enum err cause);

/* Datagrams of one size to one place go out together. */
struct link_batch {
    struct socket_address remote;
    size_t n;
    size_t segment_bytes;
    unsigned segment_count;
    unsigned ecn;
};

static bool link_flush(struct quic_link *l, struct link_batch *b)
{
    const struct datagram_send d = {.remote = &b->remote,
                                    .local = &l->local,
                                    .ecn = b->ecn,
                                    .bytes = l->endpoint->out,
                                    .n = b->n,
                                    .segment_bytes = b->segment_bytes};
    bool is_sent = b->n == 0 || link_send(l, &d);
    b->n = 0;
    b->segment_count = 0;
    return is_sent;
}

/* Moves the datagram behind the batch into it. True: it belongs there. */
static bool batch_takes(struct link_batch *b, const struct quic_datagram *d)
{
    bool is_first = b->n == 0;
    bool is_alike = d->n <= b->segment_bytes && d->ecn == b->ecn &&
                    d->remote_bytes == b->remote.n &&
                    memcmp(d->remote, &b->remote.raw, d->remote_bytes) == 0;
    if (!is_first && !is_alike) {
        return false;
    }
    if (is_first) {
        b->segment_bytes = d->n;
        b->ecn = d->ecn;
        b->remote.n = (socklen_t)d->remote_bytes;
        memcpy(&b->remote.raw, d->remote, d->remote_bytes);
    }
    b->n += d->n;
    b->segment_count++;
    return true;
}

static void link_write(struct quic_link *l)
{
    struct quic_endpoint *e = l->endpoint;
    uint64_t now_ns = endpoint_now_ns(e);
    size_t burst_bytes = quic_conn_burst_bytes(l->quic), total = 0;
    struct link_batch batch = {.n = 0};
    bool is_flowing = true;
    while (is_flowing && total < burst_bytes) {
        struct quic_datagram d;
        enum err err = quic_conn_write(l->quic, e->out + batch.n, &d, now_ns);
        if (err) {
            link_fail(l, err);
            return;
        }
        if (d.n == 0) {
            break;
        }
        total += d.n;
        if ((d.is_probe && batch.n) || !batch_takes(&batch, &d)) {
            uint8_t other[QUIC_DATAGRAM_BYTES];
            memcpy(other, e->out + batch.n, d.n);
            is_flowing = link_flush(l, &batch);
            memcpy(e->out, other, d.n);
            batch_takes(&batch, &d);
        }
        bool is_full = d.is_probe || d.n < batch.segment_bytes ||
                       batch.segment_count == OUT_SEGMENTS_MAX ||
                       batch.n + QUIC_DATAGRAM_BYTES > OUT_BYTES;
        if (is_flowing && is_full) {
            is_flowing = link_flush(l, &batch);
        }
    }
    if (is_flowing) {
        link_flush(l, &batch);
    }
    quic_conn_written(l->quic, now_ns);
}

static void link_settle(struct quic_link *l)
{
    if (l->state == QUIC_LINK_OPEN && l->unsent.n == 0) {
        link_write(l);
    }
    if (l->state == QUIC_LINK_OPEN) {
        link_wait(l, quic_conn_deadline_ns(l->quic));
    }
}

static void link_on_settle(struct loop_task *t)
{
    link_settle(CONTAINER_OF(t, struct quic_link, settle_task));
}

void quic_link_wake(struct quic_link *l)
{
    if (l->state == QUIC_LINK_OPEN) {
        loop_defer(l->endpoint->server->loop, &l->settle_task);
    }
}

static void endpoint_hit(const struct quic_endpoint *e, enum server_limit limit)
{
    e->server->hooks.on_limit(e->server->hooks.context, limit);
}

/* Sends the datagram that closes and keeps it for late packets. */
static void link_begin_closing(struct quic_link *l, enum err cause, const uint8_t *bytes,
                               const struct quic_datagram *d)
{
    struct quic_endpoint *e = l->endpoint;
    l->cause = cause;
    l->state = QUIC_LINK_CLOSING;
    if (d->n) {
        const struct datagram_send out = {.remote = &l->remote,
                                          .local = &l->local,
                                          .bytes = bytes,
                                          .n = d->n,
                                          .segment_bytes = d->n};
        enum err ignored = datagram_send(e->watch.fd, &out);
        (void)ignored;
        buf_add(&l->last, bytes, d->n);
    }
    link_wait(l, endpoint_now_ns(e) + quic_conn_linger_ns(l->quic));
    l->ops->on_end(l, cause);
}

static void link_fail(struct quic_link *l, enum err cause)
{
    uint8_t bytes[QUIC_DATAGRAM_BYTES];
    struct quic_datagram d = {.n = 0};
    if (cause == ERR_CLOSED) {
        l->cause = ERR_OK;
        l->state = QUIC_LINK_DRAINING;
        link_wait(l, endpoint_now_ns(l->endpoint) + quic_conn_linger_ns(l->quic));
        l->ops->on_end(l, ERR_OK);
        return;
    }
    if (cause == ERR_CANCELLED || cause == ERR_TIMEOUT || cause == ERR_NOMEM) {
        l->cause = cause;
        link_over(l);
        return;
    }
    if (cause == ERR_SYNTAX) {
        endpoint_hit(l->endpoint, SERVER_LIMIT_QUIC_FAULT);
    }
    enum err ignored = quic_conn_close_failed(l->quic, bytes, &d, endpoint_now_ns(l->endpoint));
    (void)ignored;
    link_begin_closing(l, cause, bytes, &d);
}

void quic_link_close(struct quic_link *l, uint64_t code)
{
    uint8_t bytes[QUIC_DATAGRAM_BYTES];
    struct quic_datagram d = {.n = 0};
    if (l->state != QUIC_LINK_OPEN) {
        return;
    }
    enum err ignored = quic_conn_close(l->quic, code, bytes, &d, endpoint_now_ns(l->endpoint));
    (void)ignored;
    link_begin_closing(l, ERR_OK, bytes, &d);
}

static void link_on_timer(struct timer *t)
{
    struct quic_link *l = CONTAINER_OF(t, struct quic_link, timer);
    if (l->state != QUIC_LINK_OPEN) {
        link_over(l);
        return;
    }
    uint64_t now_ns = endpoint_now_ns(l->endpoint);
    if (quic_conn_deadline_ns(l->quic) <= now_ns) {
        enum err err = quic_conn_on_deadline(l->quic, now_ns);
        if (err) {
            link_fail(l, err);
            return;
        }
    }
    link_settle(l);
}

/* ---- receiving ---- */

static void link_receive(struct quic_link *l, const struct datagram *d, const uint8_t *p, size_t n)
{
    struct quic_endpoint *e = l->endpoint;
    if (l->state == QUIC_LINK_CLOSING && l->last.n && l->late_count++ < LATE_MAX) {
        const struct datagram_send out = {.remote = &d->remote,
                                          .local = &d->local,
                                          .bytes = (const uint8_t *)l->last.p,
                                          .n = l->last.n,
                                          .segment_bytes = l->last.n};
        enum err ignored = datagram_send(e->watch.fd, &out);
        (void)ignored;
    }
    if (l->state != QUIC_LINK_OPEN) {
        return;
    }
    const struct quic_path path = {address_str(&d->local), address_str(&d->remote)};
    l->local = d->local;
    l->remote = d->remote;
    enum err err = quic_conn_receive(l->quic, &path, d->ecn, p, n, endpoint_now_ns(e));
    if (err) {
        link_fail(l, err);
        return;
    }
    if (quic_conn_is_handshaken(l->quic)) {
        link_on_proved(l);
    }
    quic_link_wake(l);
}

static void endpoint_answer(struct quic_endpoint *e, const struct datagram *d, const uint8_t *bytes,
                            size_t n)
{
    if (n) {
        const struct datagram_send out = {
            .remote = &d->remote, .local = &d->local, .bytes = bytes, .n = n, .segment_bytes = n};
        enum err ignored = datagram_send(e->watch.fd, &out);
        (void)ignored;
    }
}

/* What the token of an Initial says. */
struct endpoint_proof {
    bool is_good;
    struct quic_cid original; /* n = 0: no Retry was sent */
};

static enum err endpoint_accept(struct quic_endpoint *e, const struct datagram *d,
                                const struct quic_packet *packet,
                                const struct endpoint_proof *proof, struct quic_link *l)
{
    struct quic_cid own;
    struct quic_hooks hooks = l->ops->hooks;
    hooks.random = link_random;
    hooks.make_cid = link_make_cid;
    hooks.drop_cid = link_drop_cid;
    l->endpoint = e;
    l->local = d->local;
    l->remote = d->remote;
    timer_init(&l->timer, link_on_timer);
    loop_task_init(&l->settle_task, link_on_settle);
    list_init(&l->names);
    list_init(&l->blocked);
    buf_init(&l->unsent, 0);
    buf_init(&l->last, 0);
    list_push_back(&e->links, &l->of_endpoint);
    endpoint_new_cid(e, &own);
    struct quic_accept a = {
        .hooks = &hooks,
        .user = l,
        .limits = &e->config.limits,
        .tls = e->server->tls,
        .wall_s = loop_wall_s(e->server->loop),
        .now_ns = endpoint_now_ns(e),
        .path = {address_str(&d->local), address_str(&d->remote)},
        .version = packet->version,
        .client_cid = packet->source,
        .server_cid = own,
        .original_cid = packet->destination,
        .token = proof->is_good ? packet->token : STR(""),
        .settings = l->settings,
    };
    if (proof->original.n) {
        a.original_cid = proof->original;
        a.retry_cid = packet->destination;
    }
    if (!proof->is_good) {
        l->is_counted = true;
        e->unproved_count++;
    }
    l->version = packet->version;
    quic_reset_token(e->config.secret, &own, a.reset_token);
    enum err err = quic_names_add(&e->names, l, &own);
    if (!err) {
        /* What the client sends before it knows our id. */
        err = quic_names_add(&e->names, l, &packet->destination);
    }
    return err ? err : quic_conn_accept(&a, &l->quic);
}

static void endpoint_open(struct quic_endpoint *e, const struct datagram *d,
                          const struct quic_packet *packet, const struct endpoint_proof *proof,
                          const uint8_t *p, size_t n)
{
    struct server *s = e->server;
    uint8_t bytes[QUIC_DATAGRAM_BYTES];
    bool is_full = s->connection_count >= s->limits.connections_max;
    struct quic_link *l = NULL;
    if (is_full) {
        s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_CONNECTIONS);
    } else if (!e->is_draining) {
        l = e->config.on_open(e->config.context, e, &d->remote);
    }
    if (!l) {
        endpoint_answer(e, d, bytes, quic_packet_write_refusal(packet, bytes));
        return;
    }
    enum err err = endpoint_accept(e, d, packet, proof, l);
    if (err) {
        l->cause = err;
        link_over(l);
        return;
    }
    link_receive(l, d, p, n);
}

static void endpoint_on_initial(struct quic_endpoint *e, const struct datagram *d,
                                const struct quic_packet *packet, const uint8_t *p, size_t n)
{
    struct endpoint_proof proof = {.is_good = false};
    struct quic_cid fresh;
    uint8_t bytes[QUIC_DATAGRAM_BYTES];
    if (n < QUIC_INITIAL_BYTES_MIN) {
        return;
    }
    enum err err = quic_token_check(packet, e->config.secret, address_str(&d->remote),
                                    endpoint_now_ns(e), &proof.original);
    proof.is_good = err == ERR_OK;
    if (err == ERR_ACCESS) {
        endpoint_hit(e, SERVER_LIMIT_QUIC_TOKEN);
        endpoint_answer(e, d, bytes, quic_packet_write_refusal(packet, bytes));
        return;
    }
    if (!proof.is_good && e->unproved_count >= e->config.unproved_max) {
        endpoint_hit(e, SERVER_LIMIT_QUIC_UNPROVED);
        /* Of no owner: whoever gets what the client sends to it may make the connection. */
        fresh.n = QUIC_CID_BYTES;
        random_bytes(fresh.bytes, QUIC_CID_BYTES);
        endpoint_answer(e, d, bytes,
                        quic_packet_write_retry(packet, e->config.secret, address_str(&d->remote),
                                                &fresh, endpoint_now_ns(e), bytes));
        return;
    }
    endpoint_open(e, d, packet, &proof, p, n);
}

/* Resets are cheap to ask for, also in somebody else's name. */
static bool endpoint_may_reset(struct quic_endpoint *e)
{
    uint64_t second = endpoint_now_ns(e) / NS_PER_S;
    if (second != e->reset_second) {
        e->reset_second = second;
        e->reset_count = 0;
    }
    if (e->reset_count >= RESETS_PER_SECOND_MAX) {
        endpoint_hit(e, SERVER_LIMIT_QUIC_RESETS);
        return false;
    }
    e->reset_count++;
    return true;
}

static void endpoint_on_stray(struct quic_endpoint *e, const struct datagram *d,
                              const struct quic_packet *packet, size_t n)
{
    uint8_t bytes[QUIC_DATAGRAM_BYTES], noise[64];
    if (packet->kind == QUIC_PACKET_SHORT && endpoint_may_reset(e)) {
        random_bytes(noise, sizeof(noise));
        endpoint_answer(
            e, d, bytes,
            quic_packet_write_reset(packet, e->config.secret, n, noise, sizeof(noise), bytes));
    }
}

static void endpoint_on_datagram(struct quic_endpoint *e, const struct datagram *d, uint8_t *p,
                                 size_t n)
{
    struct quic_packet packet;
    uint8_t bytes[QUIC_DATAGRAM_BYTES];
    if (quic_packet_read(p, n, &packet) != ERR_OK) {
        return;
    }
    struct quic_link *l = quic_names_find(&e->names, &packet.destination);
    if (l) {
        link_receive(l, d, p, n);
    } else if (packet.kind == QUIC_PACKET_VERSION) {
        uint8_t noise;
        random_bytes(&noise, 1);
        endpoint_answer(e, d, bytes, quic_packet_write_versions(&packet, noise, bytes));
    } else if (!endpoint_pass_on(e, d, &packet.destination, p, n)) {
        if (packet.kind == QUIC_PACKET_INITIAL) {
            endpoint_on_initial(e, d, &packet, p, n);
        } else {
            endpoint_on_stray(e, d, &packet, n);
        }
    }
}

void quic_endpoint_deliver(struct quic_endpoint *e, const struct datagram *d)
{
    for (size_t at = 0; at < d->n; at += d->segment_bytes) {
        size_t left = d->n - at;
        endpoint_on_datagram(e, d, d->bytes + at,
                             left < d->segment_bytes ? left : d->segment_bytes);
    }
}

static void endpoint_unblock(struct quic_endpoint *e)
{
    while (!list_is_empty(&e->blocked)) {
        struct quic_link *l = CONTAINER_OF(e->blocked.next, struct quic_link, blocked);
        const struct datagram_send d = {.remote = &l->remote,
                                        .local = &l->local,
                                        .ecn = l->unsent_ecn,
                                        .bytes = (const uint8_t *)l->unsent.p,
                                        .n = l->unsent.n,
                                        .segment_bytes = l->unsent_segment_bytes};
        if (endpoint_send(e, &d) == ERR_AGAIN) {
            return;
        }
        list_remove(&l->blocked);
        buf_clear(&l->unsent);
        quic_link_wake(l);
    }
    endpoint_watch(e);
}

static void endpoint_on_ready(struct loop_watch *w, unsigned events)
{
    struct quic_endpoint *e = CONTAINER_OF(w, struct quic_endpoint, watch);
    struct server *s = e->server;
    if (events & POLLER_WRITE) {
        endpoint_unblock(e);
    }
    for (int i = 0; (events & POLLER_READ) && i < RECEIVE_BUDGET; i++) {
        struct datagram batch[DATAGRAM_BATCH];
        unsigned count;
        if (datagram_receive(w->fd, e->buffers, &e->local, batch, &count) != ERR_OK) {
            return;
        }
        for (unsigned k = 0; k < count; k++) {
            s->hooks.on_bytes(s->hooks.context, batch[k].n, 0);
            quic_endpoint_deliver(e, &batch[k]);
        }
        if (count < DATAGRAM_BATCH) {
            return;
        }
    }
}

/* ---- life ---- */

enum err quic_endpoint_create(struct server *s, int fd, const struct quic_endpoint_config *config,
                              struct quic_endpoint **ret_endpoint)
{
    struct quic_endpoint *e = mem_zalloc(1, sizeof(*e));
    if (!e) {
        return ERR_NOMEM;
    }
    ASSERT(s->tls);
    e->server = s;
    e->config = *config;
    list_init(&e->blocked);
    list_init(&e->links);
    e->buffers = datagram_buffers_create();
    e->out = mem_alloc(OUT_BYTES + QUIC_DATAGRAM_BYTES);
    enum err err = quic_names_init(&e->names);
    if (!err && (!e->buffers || !e->out)) {
        err = ERR_NOMEM;
    }
    if (!err) {
        err = socket_local(fd, &e->local);
    }
    if (!err) {
        err = loop_watch(s->loop, &e->watch, fd, POLLER_READ, endpoint_on_ready);
    }
    if (err) {
        quic_endpoint_destroy(e, 0);
        return err;
    }
    *ret_endpoint = e;
    return ERR_OK;
}

void quic_endpoint_destroy(struct quic_endpoint *e, uint64_t code)
{
    if (!e) {
        return;
    }
    while (!list_is_empty(&e->links)) {
        struct quic_link *l = CONTAINER_OF(e->links.next, struct quic_link, of_endpoint);
        quic_link_close(l, code);
        link_over(l);
    }
    loop_unwatch(e->server->loop, &e->watch);
    datagram_buffers_destroy(e->buffers);
    quic_names_done(&e->names);
    mem_free(e->out);
    mem_free(e);
}

void quic_endpoint_set_limits(struct quic_endpoint *e, const struct quic_limits *limits)
{
    e->config.limits = *limits;
}

void quic_endpoint_drain(struct quic_endpoint *e, bool is_succeeded)
{
    e->is_draining = true;
    e->is_succeeded = is_succeeded;
    endpoint_watch(e);
}

const struct socket_address *quic_endpoint_local(const struct quic_endpoint *e)
{
    return &e->local;
}

struct server *quic_endpoint_server(const struct quic_endpoint *e)
{
    return e->server;
}
