/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/dns_zone.h"

#include <unistd.h>

#include "issuer/acme_store.h"
#include "issuer/dns_update.h"
#include "os/file.h"
#include "os/random.h"
#include "os/socket.h"

#define ANSWER_MS 10000u
#define QUERIES_MAX 16u

struct zone_server {
    struct socket_address address;
    int fd; /* -1 = not connected */
};

/* One message there, one back (RFC 7766): each behind its length. */
static enum err zone_ask(struct zone_server *s, struct str message, struct buf *answer)
{
    struct buf framed;
    uint8_t head[2];
    enum err e = s->fd < 0 ? socket_connect_within(&s->address, ANSWER_MS, &s->fd) : ERR_OK;
    if (e) {
        return e;
    }
    buf_init(&framed, 0);
    buf_add_char(&framed, (char)(message.n >> 8));
    buf_add_char(&framed, (char)(message.n & 255));
    buf_add_str(&framed, message);
    e = framed.is_failed ? ERR_NOMEM : socket_send_all(s->fd, buf_str(&framed));
    buf_done(&framed);
    if (!e) {
        e = socket_recv_all(s->fd, head, sizeof(head));
    }
    size_t n = e ? 0 : (size_t)head[0] << 8 | head[1];
    buf_clear(answer);
    if (!e && !buf_reserve(answer, n + 1)) {
        e = ERR_NOMEM;
    }
    if (!e) {
        e = socket_recv_all(s->fd, answer->p, n);
    }
    answer->n = e ? 0 : n;
    return e;
}

static uint16_t zone_id(void)
{
    uint16_t id;
    random_bytes(&id, sizeof(id));
    return id;
}

/* The zone that `name` lies in begins where the first SOA record is found on the way up. */
static enum err zone_find(struct zone_server *s, struct str name, struct str *ret_zone)
{
    struct buf query, answer;
    bool is_zone = false;
    enum err e = ERR_NOT_FOUND;
    buf_init(&query, 0);
    buf_init(&answer, DNS_MESSAGE_BYTES_MAX + 1u);
    *ret_zone = name;
    for (unsigned i = 0; i < QUERIES_MAX && !is_zone; i++) {
        ptrdiff_t dot = str_index(*ret_zone, '.');
        uint16_t id = zone_id();
        if (dot < 0) {
            e = ERR_NOT_FOUND;
            break;
        }
        *ret_zone = str_sub(*ret_zone, (size_t)dot + 1, ret_zone->n);
        buf_clear(&query);
        e = dns_put_zone_query(id, *ret_zone, &query);
        if (!e) {
            e = zone_ask(s, buf_str(&query), &answer);
        }
        if (!e) {
            e = dns_read_zone_answer(id, *ret_zone, buf_str(&answer), &is_zone);
            e = e == ERR_ACCESS ? ERR_OK : e; /* a server refuses what it knows nothing of */
        }
        if (e) {
            break;
        }
    }
    buf_done(&query);
    buf_done(&answer);
    return e ? e : is_zone ? ERR_OK : ERR_NOT_FOUND;
}

static enum err zone_update(struct zone_server *s, struct dns_update *u, struct fault *fault)
{
    struct buf message, answer;
    uint8_t mac[DNS_MAC_BYTES];
    unsigned code = 0;
    u->id = zone_id();
    buf_init(&message, 0);
    buf_init(&answer, DNS_MESSAGE_BYTES_MAX + 1u);
    enum err e = dns_put_update(u, &message, mac);
    if (!e) {
        e = zone_ask(s, buf_str(&message), &answer);
    }
    if (!e) {
        e = dns_read_update_answer(u, mac, buf_str(&answer), &code);
    }
    if (e == ERR_CONFIG) {
        fault_set(fault, e, "the name server refuses an update of " STR_FMT " with code %u",
                  STR_ARG(u->zone), code);
    } else if (e) {
        fault_set(fault, e, "the name server cannot update " STR_FMT ": %s", STR_ARG(u->zone),
                  err_text(e));
    }
    buf_done(&message);
    buf_done(&answer);
    return e;
}

static enum err zone_open(const struct dns_update_settings *settings, struct zone_server *s)
{
    struct arena arena;
    struct listen_address l;
    size_t at;
    arena_init(&arena, 512, 0);
    enum err e = value_parse_listen(&arena, settings->server, &l, &at) ? ERR_SYNTAX : ERR_OK;
    if (!e) {
        e = socket_address_raw(l.bytes, l.family == 4 ? 4 : 16, l.port, &s->address);
    }
    arena_done(&arena);
    return e;
}

enum err dns_zone_change(const struct dns_update_settings *settings, struct str name,
                         struct str value, bool is_removal, int64_t now_s,
                         struct fault *reterr_fault)
{
    struct zone_server server = {.fd = -1};
    struct buf key;
    struct dns_update u = {.name = name,
                           .value = value,
                           .is_removal = is_removal,
                           .key_name = settings->key_name,
                           .now_s = now_s};
    buf_init(&key, DNS_KEY_BYTES_MAX);
    enum err e = dns_read_key(settings->key_secret, &key);
    u.key = buf_str(&key);
    if (!e) {
        e = zone_open(settings, &server);
    }
    if (!e) {
        e = zone_find(&server, name, &u.zone);
    }
    if (e) {
        fault_set(reterr_fault, e, "the zone of " STR_FMT " cannot be found at " STR_FMT ": %s",
                  STR_ARG(name), STR_ARG(settings->server), err_text(e));
    } else {
        e = zone_update(&server, &u, reterr_fault);
    }
    file_close(server.fd);
    store_wipe(&key);
    return e;
}
