/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolver.h"

/* What replaces them is younger than what Debian has. */
#define CARES_NO_DEPRECATED
#include <arpa/nameser.h>
#include <ares.h>

#include "base/assert.h"
#include "base/mem.h"
#include "loop/loop.h"

#define RESOLVER_MAGIC 0x7265736fu
#define TTL_MS_MIN 5000u
#define TTL_MS_MAX 300000u
#define RETRY_MS 5000u    /* after an answer that was none */
#define STALE_MS 3600000u /* how long the last good answer serves behind its TTL */
#define ASK_MS 2000       /* for one try at one server */
#define ASK_TRIES 2
#define WATCHES_MAX ARES_GETSOCK_MAXNUM
#define NAME_BYTES_MAX 253

/* What is known of one name. Lives as long as the resolver, so that a late answer finds it. */
struct resolver_entry {
    struct list link;
    struct list questions; /* that wait */
    struct resolver *resolver;
    struct socket_address addresses[RESOLVER_ADDRESSES_MAX];
    unsigned count;
    uint64_t good_until_ms;  /* a new answer is due from then on */
    uint64_t known_until_ms; /* and the old one serves until then */
    bool is_asking;
    char name[NAME_BYTES_MAX + 1];
};

struct resolver_watch {
    struct loop_watch watch; /* fd -1: free */
    struct resolver *resolver;
};

struct resolver {
    uint32_t magic;
    struct loop *loop;
    ares_channel channel; /* NULL: not open */
    struct list entries;
    struct timer timer;
    struct resolver_watch watches[WATCHES_MAX];
};

/* ---- the sockets of c-ares ---- */

/* The library wants to be called again at that time at the latest. */
static void resolver_arm(struct resolver *r)
{
    struct timeval room;
    const struct timeval *wait = ares_timeout(r->channel, NULL, &room);
    timer_cancel(&r->timer);
    if (wait) {
        uint64_t ms = (uint64_t)wait->tv_sec * 1000 + (uint64_t)wait->tv_usec / 1000 + 1;
        loop_timer_set(r->loop, &r->timer, loop_now_ms(r->loop) + ms);
    }
}

static void resolver_on_timeout(struct timer *t)
{
    struct resolver *r = CONTAINER_OF(t, struct resolver, timer);
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    resolver_arm(r);
}

static void resolver_on_ready(struct loop_watch *w, unsigned events)
{
    struct resolver *r = CONTAINER_OF(w, struct resolver_watch, watch)->resolver;
    bool is_hung = (events & POLLER_HANGUP) != 0;
    ASSERT_MAGIC(r, RESOLVER_MAGIC);
    ares_process_fd(r->channel, (events & POLLER_READ) || is_hung ? w->fd : ARES_SOCKET_BAD,
                    (events & POLLER_WRITE) ? w->fd : ARES_SOCKET_BAD);
    resolver_arm(r);
}

static struct resolver_watch *resolver_watch_of(struct resolver *r, int fd)
{
    for (unsigned i = 0; i < WATCHES_MAX; i++) {
        if (r->watches[i].watch.fd == fd) {
            return &r->watches[i];
        }
    }
    return NULL;
}

/* The library opened a socket, wants something else of it, or is about to close it. One that cannot
 * be watched times out. */
static void resolver_on_socket(void *context, ares_socket_t fd, int is_reading, int is_writing)
{
    struct resolver *r = context;
    struct resolver_watch *w = resolver_watch_of(r, fd);
    unsigned events = (is_reading ? POLLER_READ : 0u) | (is_writing ? POLLER_WRITE : 0u);
    enum err ignored = ERR_OK;
    if (w && !events) {
        loop_unwatch(r->loop, &w->watch);
        w->watch.fd = -1;
    } else if (w) {
        ignored = loop_rewatch(r->loop, &w->watch, events);
    } else if (events) {
        w = resolver_watch_of(r, -1);
        if (w && loop_watch(r->loop, &w->watch, fd, events, resolver_on_ready) != ERR_OK) {
            w->watch.fd = -1;
        }
    }
    (void)ignored;
}

/* ---- answers ---- */

static void resolver_set_port(struct socket_address *a, uint16_t port)
{
    uint8_t bytes[SOCKET_ADDRESS_BYTES_MAX];
    size_t n = socket_address_bytes(a, bytes);
    enum err never = socket_address_raw(bytes, n, port, a);
    (void)never; /* it was an address */
}

static void resolver_tell(const struct resolver_entry *e, struct resolver_question *q)
{
    struct socket_address addresses[RESOLVER_ADDRESSES_MAX];
    for (unsigned i = 0; i < e->count; i++) {
        addresses[i] = e->addresses[i];
        resolver_set_port(&addresses[i], q->port);
    }
    q->on_answer(q, addresses, e->count);
}

static void resolver_keep(struct resolver_entry *e, const struct ares_addrinfo *info)
{
    uint64_t now = loop_now_ms(e->resolver->loop), ttl = TTL_MS_MAX;
    unsigned count = 0;
    const struct ares_addrinfo_node *n = info->nodes;
    for (; n && count < RESOLVER_ADDRESSES_MAX; n = n->ai_next) {
        struct socket_address *to = &e->addresses[count];
        if (n->ai_addrlen <= sizeof(to->raw)) {
            *to = (struct socket_address){.n = n->ai_addrlen};
            memcpy(&to->raw, n->ai_addr, n->ai_addrlen);
            uint64_t own = n->ai_ttl > 0 ? (uint64_t)n->ai_ttl * 1000 : 0;
            ttl = own < ttl ? own : ttl;
            count++;
        }
    }
    ttl = ttl < TTL_MS_MIN ? TTL_MS_MIN : ttl;
    e->count = count;
    e->good_until_ms = now + ttl;
    e->known_until_ms = e->good_until_ms + STALE_MS;
}

static void resolver_on_answer(void *context, int status, int timeouts, struct ares_addrinfo *info)
{
    struct resolver_entry *e = context;
    (void)timeouts;
    e->is_asking = false;
    if (status == ARES_EDESTRUCTION) {
        return;
    }
    uint64_t now = loop_now_ms(e->resolver->loop);
    if (status == ARES_SUCCESS && info->nodes) {
        resolver_keep(e, info);
    } else {
        e->good_until_ms = now + RETRY_MS;
        e->count = now < e->known_until_ms ? e->count : 0;
    }
    ares_freeaddrinfo(info);
    struct list waiting;
    list_init(&waiting);
    list_splice(&waiting, &e->questions);
    while (!list_is_empty(&waiting)) {
        struct resolver_question *q = CONTAINER_OF(waiting.next, struct resolver_question, link);
        list_remove(&q->link);
        resolver_tell(e, q);
    }
}

/* ---- questions ---- */

static struct resolver_entry *resolver_find(struct resolver *r, struct str name)
{
    LIST_FOR_EACH(at, &r->entries)
    {
        struct resolver_entry *e = CONTAINER_OF(at, struct resolver_entry, link);
        if (str_eq_ci(str_of(e->name), name)) {
            return e;
        }
    }
    return NULL;
}

/* `localhost` and what is below it are this machine, whatever files and servers say (RFC 6761
 * 6.3). */
static void resolver_set_loopback(struct resolver_entry *e)
{
    static const struct str suffix = {".localhost", 10};
    static const struct str texts[] = {{"127.0.0.1", 9}, {"::1", 3}};
    struct str name = str_of(e->name);
    struct str end = str_sub(name, name.n > suffix.n ? name.n - suffix.n : 0, suffix.n);
    if (!str_eq_ci(name, STR("localhost")) && !str_eq_ci(end, suffix)) {
        return;
    }
    for (unsigned i = 0; i < COUNT_OF(texts); i++) {
        enum err err = socket_address_ip(texts[i], 0, &e->addresses[e->count]);
        e->count += err == ERR_OK;
    }
    e->good_until_ms = e->known_until_ms = UINT64_MAX;
}

static struct resolver_entry *resolver_add(struct resolver *r, struct str name)
{
    struct resolver_entry *e = mem_zalloc(1, sizeof(*e));
    if (e) {
        memcpy(e->name, name.p, name.n);
        e->resolver = r;
        list_init(&e->questions);
        list_push_back(&r->entries, &e->link);
        resolver_set_loopback(e);
    }
    return e;
}

enum err resolver_ask(struct resolver *r, struct str name, uint16_t port,
                      struct resolver_question *q, resolver_answer_fn on_answer)
{
    static const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC,
                                                     .ai_socktype = SOCK_STREAM};
    uint64_t now = loop_now_ms(r->loop);
    ASSERT_MAGIC(r, RESOLVER_MAGIC);
    if (name.n > NAME_BYTES_MAX) {
        return ERR_LIMIT;
    }
    struct resolver_entry *e = resolver_find(r, name);
    e = e ? e : resolver_add(r, name);
    if (!e) {
        return ERR_NOMEM;
    }
    list_init(&q->link);
    q->on_answer = on_answer;
    q->port = port;
    bool is_due = now >= e->good_until_ms && !e->is_asking;
    bool is_known = e->count > 0 && now < e->known_until_ms;
    if (is_known || (!is_due && !e->is_asking)) {
        resolver_tell(e, q);
    } else {
        list_push_back(&e->questions, &q->link);
    }
    if (is_due) {
        e->is_asking = true;
        ares_getaddrinfo(r->channel, e->name, NULL, &hints, resolver_on_answer, e);
        resolver_arm(r);
    }
    return ERR_OK;
}

void resolver_forget(struct resolver_question *q)
{
    if (q->link.next) {
        list_remove(&q->link);
    }
}

void resolver_avoid(struct resolver *r, struct str name, const struct socket_address *address)
{
    struct resolver_entry *e = resolver_find(r, name);
    uint8_t bytes[SOCKET_ADDRESS_BYTES_MAX], own[SOCKET_ADDRESS_BYTES_MAX];
    size_t n = socket_address_bytes(address, bytes);
    for (unsigned i = 0; e && i < e->count; i++) {
        if (socket_address_bytes(&e->addresses[i], own) == n && memcmp(own, bytes, n) == 0) {
            const struct socket_address last = e->addresses[i];
            memmove(&e->addresses[i], &e->addresses[i + 1], (e->count - i - 1) * sizeof(last));
            e->addresses[e->count - 1] = last;
            return;
        }
    }
}

/* ---- services ---- */

/* Lives until the library has answered, as the question may go first. */
struct resolver_service_asked {
    struct resolver_service_question *question; /* NULL: forgotten */
};

static enum err resolver_error(int status)
{
    return status == ARES_SUCCESS                               ? ERR_OK
           : status == ARES_ENODATA || status == ARES_ENOTFOUND ? ERR_NOT_FOUND
           : status == ARES_ENOMEM                              ? ERR_NOMEM
                                                                : ERR_IO;
}

static void resolver_on_services(void *context, int status, int timeouts, unsigned char *bytes,
                                 int n)
{
    struct resolver_service_asked *asked = context;
    struct resolver_service_question *q = asked->question;
    struct resolver_service services[RESOLVER_SERVICES_MAX];
    struct ares_srv_reply *list = NULL;
    unsigned count = 0;
    (void)timeouts;
    mem_free(asked);
    if (!q) {
        return;
    }
    q->asked = NULL;
    if (status == ARES_EDESTRUCTION) {
        return; /* forgotten, as all others */
    }
    if (status == ARES_SUCCESS) {
        status = ares_parse_srv_reply(bytes, n, &list);
    }
    for (struct ares_srv_reply *s = list; s && count < RESOLVER_SERVICES_MAX; s = s->next) {
        /* A dot alone says that there is no such service (RFC 2782). */
        if (s->host[0] && strcmp(s->host, ".") != 0) {
            services[count++] =
                (struct resolver_service){str_of(s->host), s->port, s->priority, s->weight};
        }
    }
    q->on_answer(q, resolver_error(status), services, count);
    ares_free_data(list);
}

enum err resolver_ask_services(struct resolver *r, struct str name,
                               struct resolver_service_question *q, resolver_services_fn on_answer)
{
    char text[NAME_BYTES_MAX + 1];
    ASSERT_MAGIC(r, RESOLVER_MAGIC);
    if (name.n > NAME_BYTES_MAX) {
        return ERR_LIMIT;
    }
    struct resolver_service_asked *asked = mem_zalloc(1, sizeof(*asked));
    if (!asked) {
        return ERR_NOMEM;
    }
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    asked->question = q;
    q->asked = asked;
    q->on_answer = on_answer;
    ares_query(r->channel, text, ns_c_in, ns_t_srv, resolver_on_services, asked);
    resolver_arm(r);
    return ERR_OK;
}

void resolver_forget_services(struct resolver_service_question *q)
{
    if (q->asked) {
        q->asked->question = NULL;
        q->asked = NULL;
    }
}

enum err resolver_create(struct loop *loop, const char *servers, struct resolver **ret_resolver)
{
    struct resolver *r = mem_zalloc(1, sizeof(*r));
    if (!r) {
        return ERR_NOMEM;
    }
    r->magic = RESOLVER_MAGIC;
    r->loop = loop;
    list_init(&r->entries);
    timer_init(&r->timer, resolver_on_timeout);
    for (unsigned i = 0; i < WATCHES_MAX; i++) {
        r->watches[i].resolver = r;
        r->watches[i].watch.fd = -1;
    }
    struct ares_options options = {.timeout = ASK_MS,
                                   .tries = ASK_TRIES,
                                   .sock_state_cb = resolver_on_socket,
                                   .sock_state_cb_data = r};
    int status = ares_init_options(&r->channel, &options,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        r->channel = NULL;
    } else if (servers) {
        status = ares_set_servers_ports_csv(r->channel, servers);
    }
    if (status != ARES_SUCCESS) {
        resolver_destroy(r);
        return status == ARES_ENOMEM ? ERR_NOMEM : status == ARES_EBADSTR ? ERR_SYNTAX : ERR_IO;
    }
    *ret_resolver = r;
    return ERR_OK;
}

void resolver_destroy(struct resolver *r)
{
    if (!r) {
        return;
    }
    ASSERT_MAGIC(r, RESOLVER_MAGIC);
    if (r->channel) {
        ares_destroy(r->channel);
    }
    timer_cancel(&r->timer);
    LIST_FOR_EACH_SAFE(at, spare, &r->entries)
    {
        struct resolver_entry *e = CONTAINER_OF(at, struct resolver_entry, link);
        while (!list_is_empty(&e->questions)) {
            list_remove(e->questions.next);
        }
        mem_free(e);
    }
    r->magic = 0;
    mem_free(r);
}
