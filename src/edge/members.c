/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/members.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/tls_client.h"
#include "edge/endpoint.h"

#define MEMBERS_MAGIC 0x6d656d62u

_Static_assert(BACKEND_ENDPOINTS_MAX == BALANCE_ENDPOINTS_MAX, "what may be configured");

struct members *members_ref(struct members *m)
{
    ASSERT_MAGIC(m, MEMBERS_MAGIC);
    atomic_fetch_add_explicit(&m->ref_count, 1, memory_order_relaxed);
    return m;
}

void members_unref(struct members *m)
{
    if (!m) {
        return;
    }
    ASSERT_MAGIC(m, MEMBERS_MAGIC);
    if (atomic_fetch_sub_explicit(&m->ref_count, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        tls_client_unref(m->items[i].target.tls);
        endpoint_unref(m->items[i].state);
    }
    tls_client_unref(m->tls);
    m->magic = 0;
    mem_free(m);
}

struct upstream_endpoint *members_find(const struct members *m, struct str name)
{
    for (size_t i = 0; m && i < m->count; i++) {
        if (str_eq(m->items[i].name, name)) {
            return &m->items[i];
        }
    }
    return NULL;
}

void members_look(const struct members *m, uint64_t now_ms, struct balance_endpoint *ret_list)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct upstream_endpoint *e = &m->items[i];
        ret_list[i] = (struct balance_endpoint){
            .weight = e->weight, .is_backup = e->is_backup, .is_far = e->is_far};
        endpoint_look(e->state, now_ms, &ret_list[i]);
    }
}

struct member members_told(const struct upstream_endpoint *e)
{
    return (struct member){
        .name = e->name,
        .url = e->url,
        .address = e->host.n ? (struct socket_address){0} : e->target.address,
        .weight = e->weight,
        .is_backup = e->is_backup,
        .zone = e->zone,
    };
}

/* ---- making a list ---- */

static struct str members_keep(char **at, struct str text)
{
    char *to = *at;
    if (text.n) {
        memcpy(to, text.p, text.n);
    }
    *at += text.n;
    return str_make(to, text.n);
}

/* `*ret_host`: whose certificate is due; empty: no TLS. */
static enum err members_set_address(struct upstream_endpoint *e, const struct member *from,
                                    const struct backend_settings *settings, struct str *ret_host,
                                    struct fault *fault)
{
    struct upstream_address a;
    size_t at;
    const char *wrong = value_parse_upstream(e->url, &a, &at);
    if (wrong) {
        return fault_set(fault, ERR_CONFIG, "%s", wrong);
    }
    if (a.is_fcgi != settings_is_fcgi(settings)) {
        return fault_set(fault, ERR_CONFIG,
                         "a backend takes either requests of HTTP or of FastCGI, not both");
    }
    *ret_host = a.is_tls ? a.host : STR("");
    e->target.protocol = a.is_fcgi ? CLIENT_FCGI : a.is_h2 ? CLIENT_H2 : CLIENT_H1;
    e->is_grpc = a.is_grpc;
    e->authority = a.unix_path.p ? STR("localhost") : a.authority;
    if (from->address.n) {
        e->target.address = from->address;
        return ERR_OK;
    }
    if (a.is_name) {
        e->host = a.host;
        e->port = a.port;
        return ERR_OK;
    }
    enum err err = a.unix_path.p ? socket_address_unix(a.unix_path, &e->target.address)
                                 : socket_address_ip(a.host, a.port, &e->target.address);
    return err ? fault_set(fault, ERR_CONFIG, "this address cannot be used") : ERR_OK;
}

/* Connections at rest are found by it, so the same name keeps the same. */
static enum err members_set_tls(struct upstream_endpoint *e, struct str host,
                                const struct members_input *input, struct fault *fault)
{
    struct str sni = input->settings->tls.sni;
    const struct upstream_endpoint *same = members_find(input->before, e->name);
    if (!host.n) {
        return ERR_OK;
    }
    if (!input->tls) {
        return fault_set(fault, ERR_CONFIG, "this backend was configured without TLS");
    }
    if (same && same->target.tls && input->before->tls == input->tls && str_eq(same->url, e->url)) {
        e->target.tls = tls_client_ref(same->target.tls);
        return ERR_OK;
    }
    struct str alpn = e->target.protocol == CLIENT_H2 ? STR("h2") : STR("http/1.1");
    return tls_client_like(input->tls, sni.p ? sni : host, alpn, &e->target.tls);
}

static enum err members_add(struct members *m, const struct members_input *input,
                            const struct member *from, char **text, struct fault *fault)
{
    const struct keepalive_settings *keepalive = &input->settings->keepalive;
    const struct upstream_endpoint *same = members_find(input->before, from->name);
    struct upstream_endpoint *e = &m->items[m->count];
    struct str host = STR("");
    if (members_find(m, from->name)) {
        return ERR_EXISTS;
    }
    ASSERT(from->weight >= 1);
    e->name = members_keep(text, from->name);
    e->url = members_keep(text, from->url);
    e->zone = members_keep(text, from->zone);
    e->weight = from->weight;
    e->is_backup = from->is_backup;
    e->is_far = input->zone.n && !str_eq(input->zone, from->zone);
    e->target.proxy_version = (unsigned)input->settings->proxy_protocol;
    e->target.idle_ms = (uint64_t)keepalive->idle_ms;
    enum err err = members_set_address(e, from, input->settings, &host, fault);
    /* A connection of FastCGI that rests holds a process there. */
    bool is_kept = keepalive->is_on && !e->target.proxy_version &&
                   (e->target.protocol != CLIENT_FCGI || input->settings->fcgi.keepalive);
    e->target.idle_max = is_kept ? (unsigned)keepalive->count_max : 0;
    if (!err && same) {
        e->state = endpoint_ref(same->state);
    } else if (!err) {
        err = endpoint_create(e->name, &e->state);
        if (!err && input->settings->health.is_on) {
            /* An instance of a process is told of when it is ready. */
            bool joins =
                input->before && input->before->count > 0 && !input->settings->process.is_on;
            endpoint_set_health(e->state, joins ? ENDPOINT_WAITING : ENDPOINT_PRESUMED, 0);
        }
    }
    if (!err) {
        m->count++; /* from here on members_unref ends it */
        if (input->settings->sticky.is_on) {
            err = sticky_mark(input->backend, e->name, e->mark);
        }
    }
    if (!err) {
        err = members_set_tls(e, host, input, fault);
    }
    return err;
}

enum err members_create(const struct members_input *input, struct members **ret_members,
                        struct fault *reterr_fault)
{
    size_t text_bytes = 0;
    ASSERT(input->count <= BALANCE_ENDPOINTS_MAX);
    for (size_t i = 0; i < input->count; i++) {
        const struct member *one = &input->list[i];
        text_bytes += one->name.n + one->url.n + one->zone.n;
    }
    const size_t items_bytes = input->count * sizeof(struct upstream_endpoint);
    struct members *m = mem_zalloc(1, sizeof(*m) + items_bytes + text_bytes);
    if (!m) {
        return ERR_NOMEM;
    }
    m->magic = MEMBERS_MAGIC;
    atomic_init(&m->ref_count, 1);
    m->tls = input->tls ? tls_client_ref(input->tls) : NULL;
    m->items = (struct upstream_endpoint *)(void *)(m + 1);
    char *text = (char *)m->items + items_bytes;
    enum err e = ERR_OK;
    for (size_t i = 0; i < input->count && !e; i++) {
        e = members_add(m, input, &input->list[i], &text, reterr_fault);
    }
    if (e) {
        members_unref(m);
        return e;
    }
    *ret_members = m;
    return ERR_OK;
}
