/* SPDX-License-Identifier: Apache-2.0 */
#include "net/flows.h"

#include "base/assert.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "os/datagram.h"
#include "os/file.h"

#define FLOWS_MAGIC 0x666c6f77u
#define FLOW_BUCKETS 1024u
#define FLOW_WAIT_BYTES_MAX 16384u /* of datagrams, until it is known where they go */
#define FLOW_ANSWERS_MAX 16        /* of one flow in a turn */
#define FLOWS_BATCHES_MAX 8
#define FLOWS_TICK_MS 250u

struct flow {
    struct flows *all;
    struct list link;   /* in its bucket */
    struct list silent; /* in flows.silent, the longest first */
    uint64_t hash;
    struct socket_address client;
    struct socket_address local; /* that the client wrote to */
    struct loop_watch watch;     /* inactive until it is connected */
    struct buf waiting;          /* length and bytes of each */
    void *state;
    uint64_t activity_ms;
    uint64_t idle_ms;
    uint64_t in, out;
    bool is_answered;
};

struct flows {
    uint32_t magic;
    struct server *server;
    const struct flows_service *service;
    void *context;
    struct loop_watch watch;
    struct socket_address local;
    struct datagram_buffers *buffers;
    struct timer timer;
    struct list buckets[FLOW_BUCKETS];
    struct list silent;
    unsigned count;
    bool is_resting;
};

/* ---- life ---- */

static void flow_end(struct flow *f, enum err cause)
{
    struct flows *all = f->all;
    list_remove(&f->link);
    list_remove(&f->silent);
    all->count--;
    if (f->watch.is_active) {
        loop_close(all->server->loop, &f->watch);
    }
    buf_done(&f->waiting);
    all->service->on_end(f, cause, f->in, f->out);
    mem_free(f);
}

void flow_cancel(struct flow *f, enum err cause)
{
    ASSERT(f->all->magic == FLOWS_MAGIC);
    flow_end(f, cause);
}

static void flow_touch(struct flow *f)
{
    f->activity_ms = loop_now_ms(f->all->server->loop);
    list_remove(&f->silent);
    list_push_back(&f->all->silent, &f->silent);
}

static uint64_t flow_hash(const struct socket_address *client)
{
    uint8_t bytes[SOCKET_ADDRESS_BYTES_MAX];
    size_t n = socket_address_bytes(client, bytes);
    return hash_join(hash_str(str_make((const char *)bytes, n)), socket_address_port(client));
}

static bool flow_is_of(const struct flow *f, const struct datagram *d, uint64_t hash)
{
    uint8_t a[SOCKET_ADDRESS_BYTES_MAX], b[SOCKET_ADDRESS_BYTES_MAX];
    size_t n = socket_address_bytes(&f->client, a);
    return f->hash == hash && n == socket_address_bytes(&d->remote, b) && memcmp(a, b, n) == 0 &&
           socket_address_port(&f->client) == socket_address_port(&d->remote);
}

/* NULL: out of memory, or on_open ended it. */
static struct flow *flow_open(struct flows *all, const struct datagram *d, uint64_t hash)
{
    struct server *s = all->server;
    if (all->count >= FLOWS_MAX) {
        s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_CONNECTIONS);
        flow_end(CONTAINER_OF(all->silent.next, struct flow, silent), ERR_LIMIT);
    }
    struct flow *f = mem_zalloc(1, sizeof(*f));
    if (!f) {
        s->hooks.on_limit(s->hooks.context, SERVER_LIMIT_MEMORY);
        return NULL;
    }
    f->all = all;
    f->hash = hash;
    f->client = d->remote;
    f->local = d->local;
    f->activity_ms = loop_now_ms(s->loop);
    f->idle_ms = s->limits.header_ms;
    buf_init(&f->waiting, FLOW_WAIT_BYTES_MAX);
    list_push_back(&all->buckets[hash % FLOW_BUCKETS], &f->link);
    list_push_back(&all->silent, &f->silent);
    all->count++;
    return f;
}

static struct flow *flow_find(struct flows *all, const struct datagram *d, uint64_t hash)
{
    LIST_FOR_EACH(at, &all->buckets[hash % FLOW_BUCKETS])
    {
        struct flow *f = CONTAINER_OF(at, struct flow, link);
        if (flow_is_of(f, d, hash)) {
            return f;
        }
    }
    return NULL;
}

/* ---- to the upstream ---- */

/* False: the flow is gone. A full socket drops the datagram. */
static bool flow_send(struct flow *f, struct str bytes)
{
    struct iovec piece = {(char *)bytes.p, bytes.n};
    size_t sent;
    enum err e = socket_send(f->watch.fd, &piece, 1, false, &sent);
    if (e == ERR_NOT_FOUND || e == ERR_RESET) {
        flow_end(f, ERR_NOT_FOUND);
        return false;
    }
    return true;
}

/* What does not fit is dropped. */
static void flow_keep(struct flow *f, struct str bytes)
{
    uint16_t n = (uint16_t)bytes.n;
    size_t before = f->waiting.n;
    buf_add(&f->waiting, &n, sizeof(n));
    buf_add_str(&f->waiting, bytes);
    if (f->waiting.is_failed) {
        f->waiting.n = before;
        f->waiting.is_failed = false;
    }
}

static bool flow_send_waiting(struct flow *f)
{
    size_t at = 0;
    while (at < f->waiting.n) {
        uint16_t n;
        memcpy(&n, f->waiting.p + at, sizeof(n));
        at += sizeof(n);
        if (!flow_send(f, str_make(f->waiting.p + at, n))) {
            return false;
        }
        at += n;
    }
    buf_done(&f->waiting);
    buf_init(&f->waiting, FLOW_WAIT_BYTES_MAX);
    return true;
}

static void flows_take(struct flows *all, const struct datagram *d, struct str bytes)
{
    struct server *s = all->server;
    uint64_t hash = flow_hash(&d->remote);
    struct flow *f = flow_find(all, d, hash);
    bool is_new = f == NULL;
    if (is_new) {
        f = flow_open(all, d, hash);
        if (!f) {
            return;
        }
    }
    f->in += bytes.n;
    s->hooks.on_bytes(s->hooks.context, bytes.n, 0);
    flow_touch(f);
    if (f->watch.is_active) {
        (void)flow_send(f, bytes);
    } else {
        flow_keep(f, bytes);
    }
    if (is_new) {
        all->service->on_open(f, all->context);
    }
}

static void flows_on_ready(struct loop_watch *w, unsigned events)
{
    struct flows *all = CONTAINER_OF(w, struct flows, watch);
    struct datagram list[DATAGRAM_BATCH];
    unsigned count;
    (void)events;
    for (int i = 0; i < FLOWS_BATCHES_MAX; i++) {
        if (datagram_receive(w->fd, all->buffers, &all->local, list, &count) != ERR_OK) {
            return;
        }
        for (unsigned k = 0; k < count; k++) {
            const struct datagram *d = &list[k];
            for (size_t at = 0; at < d->n; at += d->segment_bytes) {
                size_t n = d->n - at < d->segment_bytes ? d->n - at : d->segment_bytes;
                flows_take(all, d, str_make((const char *)d->bytes + at, n));
            }
        }
    }
}

/* ---- back to the client ---- */

static void flow_answer(struct flow *f, const char *bytes, size_t n)
{
    struct server *s = f->all->server;
    const struct datagram_send d = {
        .remote = &f->client,
        .local = &f->local,
        .bytes = (const uint8_t *)bytes,
        .n = n,
        .segment_bytes = n,
    };
    if (!f->is_answered) {
        f->is_answered = true;
        f->all->service->on_answer(f);
    }
    if (datagram_send(f->all->watch.fd, &d) == ERR_OK) {
        f->out += n;
        s->hooks.on_bytes(s->hooks.context, 0, n);
    }
    flow_touch(f);
}

static void flow_on_ready(struct loop_watch *w, unsigned events)
{
    struct flow *f = CONTAINER_OF(w, struct flow, watch);
    struct server *s = f->all->server;
    (void)events;
    for (int i = 0; i < FLOW_ANSWERS_MAX; i++) {
        size_t n;
        enum err e = socket_recv(w->fd, s->input, s->input_bytes, &n);
        if (!e) {
            flow_answer(f, s->input, n);
        } else if (e == ERR_NOT_FOUND || e == ERR_RESET) {
            flow_end(f, ERR_NOT_FOUND);
            return;
        } else if (e != ERR_EOF) { /* an empty one */
            return;
        }
    }
}

enum err flow_connect(struct flow *f, const struct socket_address *to, uint64_t idle_ms)
{
    struct loop *loop = f->all->server->loop;
    int fd;
    ASSERT(!f->watch.is_active);
    enum err e = datagram_connect(to, &fd);
    if (e) {
        return e;
    }
    e = loop_watch(loop, &f->watch, fd, POLLER_READ, flow_on_ready);
    if (e) {
        file_close(fd);
        return e;
    }
    f->idle_ms = idle_ms;
    (void)flow_send_waiting(f);
    return ERR_OK;
}

/* ---- all of them ---- */

/* The list is by activity, but idle times differ: those that are due are behind at most a few. */
static void flows_on_time(struct timer *t)
{
    struct flows *all = CONTAINER_OF(t, struct flows, timer);
    struct loop *loop = all->server->loop;
    uint64_t now = loop_now_ms(loop);
    LIST_FOR_EACH_SAFE(at, spare, &all->silent)
    {
        struct flow *f = CONTAINER_OF(at, struct flow, silent);
        if (now < f->activity_ms + f->idle_ms) {
            break;
        }
        flow_end(f, ERR_OK);
    }
    loop_timer_set(loop, t, now + FLOWS_TICK_MS);
}

enum err flows_create(struct server *s, int fd, const struct flows_service *service, void *context,
                      struct flows **ret_flows)
{
    struct flows *all = mem_zalloc(1, sizeof(*all));
    if (!all) {
        return ERR_NOMEM;
    }
    all->magic = FLOWS_MAGIC;
    all->server = s;
    all->service = service;
    all->context = context;
    timer_init(&all->timer, flows_on_time);
    list_init(&all->silent);
    for (unsigned i = 0; i < FLOW_BUCKETS; i++) {
        list_init(&all->buckets[i]);
    }
    datagram_allow_fragments(fd);
    all->buffers = datagram_buffers_create();
    enum err e = all->buffers ? socket_local(fd, &all->local) : ERR_NOMEM;
    e = e ? e : loop_watch(s->loop, &all->watch, fd, POLLER_READ, flows_on_ready);
    if (e) {
        datagram_buffers_destroy(all->buffers);
        mem_free(all);
        return e;
    }
    loop_timer_set(s->loop, &all->timer, loop_now_ms(s->loop) + FLOWS_TICK_MS);
    *ret_flows = all;
    return ERR_OK;
}

void flows_rest(struct flows *all)
{
    if (!all->is_resting) {
        all->is_resting = true;
        int fd = all->watch.fd;
        loop_unwatch(all->server->loop, &all->watch);
        all->watch.fd = fd; /* answers still leave by it */
    }
}

void flows_destroy(struct flows *all)
{
    if (!all) {
        return;
    }
    while (!list_is_empty(&all->silent)) {
        flow_end(CONTAINER_OF(all->silent.next, struct flow, silent), ERR_CANCELLED);
    }
    flows_rest(all);
    timer_cancel(&all->timer);
    datagram_buffers_destroy(all->buffers);
    all->magic = 0;
    mem_free(all);
}

void flow_set_state(struct flow *f, void *state)
{
    f->state = state;
}

void *flow_state(const struct flow *f)
{
    return f->state;
}

const struct socket_address *flow_client(const struct flow *f)
{
    return &f->client;
}
