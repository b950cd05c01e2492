/* SPDX-License-Identifier: Apache-2.0 */
#include "app/edge_certs.h"

#include <string.h>
#include <unistd.h>

#include "app/authority.h"
#include "app/edge_int.h"
#include "app/state_dir.h"
#include "base/assert.h"
#include "base/mem.h"
#include "issuer/demand.h"
#include "issuer/stapler.h"

#define LEAF_DAYS 30
#define HOST_NAME_BYTES 256

/* Two thirds of its life are over. */
static bool certs_is_due(const struct certificate *c, int64_t now_s)
{
    int64_t from = certificate_not_before_s(c), to = certificate_not_after_s(c);
    return now_s > to - (to - from) / 3;
}

struct certs_names {
    struct str list[LOCAL_CA_NAMES_MAX];
    size_t count;
    char host[HOST_NAME_BYTES];
};

static void certs_add_name(struct certs_names *n, struct str name)
{
    if (n->count < LOCAL_CA_NAMES_MAX && name.n) {
        n->list[n->count++] = name;
    }
}

/* What a certificate for the host must carry. The default host is this machine. */
static void certs_names_of(const struct site_host *host, struct arena *arena, struct certs_names *n)
{
    const struct domain_list *domains = &host->settings->domains;
    n->count = 0;
    for (size_t i = 0; i < domains->count; i++) {
        struct str domain = domains->items[i].text;
        if (str_eq(domain, STR("default"))) {
            certs_add_name(n, STR("localhost"));
            certs_add_name(n, STR("127.0.0.1"));
            certs_add_name(n, STR("::1"));
            n->host[0] = '\0';
            if (gethostname(n->host, sizeof(n->host) - 1) == 0) {
                certs_add_name(n, str_of(n->host));
            }
        } else if (site_tls_is_acme(&host->tls, str_sub(domain, domain.p[0] == '.', domain.n))) {
            continue;
        } else if (domain.p[0] == '.') {
            certs_add_name(n, str_sub(domain, 1, domain.n));
            certs_add_name(n, arena_printf(arena, "*" STR_FMT, STR_ARG(domain)));
        } else if (domain.p[0] == '[') {
            certs_add_name(n, str_sub(domain, 1, domain.n - 2));
        } else if (site_tls_is_certifiable(domain)) {
            certs_add_name(n, domain);
        }
    }
}

static enum err certs_issue(struct edge_certs *c, const struct site *site,
                            const struct certs_names *names, int64_t now_s,
                            struct certificate **ret_certificate, struct fault *fault)
{
    struct buf chain, key;
    const struct local_ca_order order = {names->list, names->count, LEAF_DAYS};
    enum err e = ERR_OK;
    if (!c->ca) {
        e = authority_open(site->settings->server.state, now_s, &c->ca, fault);
        if (e) {
            return e;
        }
    }
    buf_init(&chain, 0);
    buf_init(&key, 0);
    e = local_ca_issue(c->ca, &order, now_s, &chain, &key);
    if (e) {
        fault_set(fault, e, "the local authority cannot sign for " STR_FMT ": %s",
                  STR_ARG(names->list[0]), err_text(e));
    } else {
        e = certificate_create(buf_str(&chain), buf_str(&key), ret_certificate, fault);
    }
    buf_done(&chain);
    buf_done_secret(&key);
    return e;
}

static struct str certs_join(const struct certs_names *names)
{
    struct buf text;
    buf_init(&text, 0);
    for (size_t i = 0; i < names->count; i++) {
        buf_add_str(&text, names->list[i]);
        buf_add_char(&text, ' ');
    }
    if (text.is_failed) {
        buf_done(&text);
    }
    return buf_str(&text);
}

/* The certificate for these names, of before where it is still good. */
static enum err certs_obtain(struct edge_certs *c, const struct site *site,
                             const struct certs_names *names, int64_t now_s,
                             struct certificate **ret_certificate, struct fault *fault)
{
    struct str joined = certs_join(names);
    struct issued *found = NULL;
    if (!joined.p) {
        return fault_set(fault, ERR_NOMEM, "out of memory");
    }
    for (unsigned i = 0; i < c->issued_count && !found; i++) {
        found = str_eq(c->issued[i].names, joined) ? &c->issued[i] : NULL;
    }
    if (!found && c->issued_count == ISSUED_MAX) {
        mem_free((char *)(uintptr_t)joined.p);
        return fault_set(fault, ERR_LIMIT, "the local authority signs for %d hosts at most",
                         ISSUED_MAX);
    }
    if (found) {
        mem_free((char *)(uintptr_t)joined.p);
    } else {
        found = &c->issued[c->issued_count++];
        *found = (struct issued){.names = joined};
    }
    enum err e = ERR_OK;
    if (!found->certificate || certs_is_due(found->certificate, now_s)) {
        struct certificate *fresh;
        e = certs_issue(c, site, names, now_s, &fresh, fault);
        if (!e) {
            certificate_unref(found->certificate);
            found->certificate = fresh;
        }
    }
    if (!e) {
        found->is_wanted = true;
        *ret_certificate = found->certificate;
    }
    return e;
}

struct certs_list {
    struct certificate **items;
    size_t count;
    struct certificate **owned; /* of the list alone */
    size_t owned_count;
};

static void certs_add_files(const struct edge_certs *c, const struct site *site,
                            const struct site_tls *tls, struct certs_list *list)
{
    for (size_t i = 0; i < tls->certificate_count; i++) {
        list->items[list->count++] = site_files_get(c->files, site, tls, i);
    }
}

/* What the issuer has got for the host, if anything. */
static enum err certs_add_obtained(const struct site *site, const struct site_host *host,
                                   struct certs_list *list, struct fault *fault)
{
    char folder[PATH_MAX];
    struct task_set set;
    struct certificate *c;
    if (!edge_issuer_set(host, &set)) {
        return ERR_OK;
    }
    enum err e = state_dir_path(site->settings->server.state, "acme", folder);
    if (!e) {
        e = issuer_certificate(str_of(folder), &set, &c, NULL);
    }
    if (!e) {
        list->owned[list->owned_count++] = c;
        list->items[list->count++] = c;
    }
    return e == ERR_NOMEM ? fault_set(fault, e, "out of memory") : ERR_OK;
}

/* The certificates of names that clients brought. */
struct certs_demand {
    const struct site *site;
    struct certs_list *list;
    size_t left;
    struct str folder;
    enum err error;
};

static void certs_on_demanded(void *context, struct str name)
{
    struct certs_demand *d = context;
    const struct site_host *host = site_find_host(d->site, name);
    struct certificate *c;
    if (d->left == 0 || d->error || !host || !site_tls_is_on_demand(&host->tls, name)) {
        return;
    }
    const struct task_set set = {.names = &name, .name_count = 1, .acme = host->settings->ssl.acme};
    enum err e = issuer_certificate(d->folder, &set, &c, NULL);
    if (!e) {
        d->list->owned[d->list->owned_count++] = c;
        d->list->items[d->list->count++] = c;
        d->left--;
    }
    d->error = e == ERR_NOMEM ? e : ERR_OK;
}

static bool certs_takes_demands(const struct site *site)
{
    bool takes_any = false;
    for (size_t i = 0; i < site->host_count; i++) {
        takes_any |= site->host_list[i].tls.takes_demands;
    }
    return takes_any;
}

static enum err certs_add_demanded(const struct site *site, struct certs_list *list,
                                   struct fault *fault)
{
    char folder[PATH_MAX];
    struct certs_demand d = {.site = site, .list = list, .left = DEMAND_NAMES_MAX};
    if (certs_takes_demands(site) &&
        state_dir_path(site->settings->server.state, "acme", folder) == ERR_OK) {
        d.folder = str_of(folder);
        demand_each(d.folder, certs_on_demanded, &d);
    }
    return d.error ? fault_set(fault, d.error, "out of memory") : ERR_OK;
}

static enum err certs_add_host(struct edge_certs *c, const struct site *site,
                               const struct site_host *host, int64_t now_s, struct certs_list *list,
                               struct fault *fault)
{
    certs_add_files(c, site, &host->tls, list);
    enum err e = certs_add_obtained(site, host, list, fault);
    if (e || !host->tls.is_issued_here) {
        return e;
    }
    struct certs_names names;
    struct arena arena;
    arena_init(&arena, 1024, 0);
    certs_names_of(host, &arena, &names);
    if (names.count) {
        e = certs_obtain(c, site, &names, now_s, &list->items[list->count], fault);
        list->count += !e;
    }
    arena_done(&arena);
    return e;
}

/* Puts certificates with a staple in the place of those that name a responder. */
static enum err certs_staple(struct edge_certs *c, const struct site *site, int64_t now_s,
                             struct certs_list *list)
{
    char folder[PATH_MAX];
    enum err e = ERR_OK;
    c->unstapled_count = c->must_staple_count = 0;
    if (state_dir_path(site->settings->server.state, "acme", folder) != ERR_OK) {
        return ERR_OK;
    }
    struct certificate **plain = mem_zalloc(list->count + 1, sizeof(struct certificate *));
    for (size_t i = 0; plain && i < list->count && e != ERR_NOMEM; i++) {
        size_t before = 0;
        plain[i] = list->items[i];
        while (plain[before] != plain[i]) {
            before++;
        }
        if (before < i || certificate_ocsp_url(plain[i]).n == 0) {
            list->items[i] = list->items[before];
            continue;
        }
        e = stapler_staple(str_of(folder), plain[i], now_s, &list->items[i]);
        if (!e) {
            list->owned[list->owned_count++] = list->items[i];
        } else {
            c->unstapled_count++;
            c->must_staple_count += certificate_must_staple(plain[i]);
        }
    }
    e = plain && e != ERR_NOMEM ? ERR_OK : ERR_NOMEM;
    mem_free(plain);
    return e;
}

/* Who answers a client that names no host, or none that is known: the certificate of the server,
 * else that of the default host, else that of the first. */
static const struct site_host *certs_default_host(const struct site *site)
{
    for (size_t i = 0; i < site->host_count; i++) {
        const struct domain_list *domains = &site->host_list[i].settings->domains;
        for (size_t d = 0; d < domains->count; d++) {
            if (str_eq(domains->items[d].text, STR("default")) && site->host_list[i].tls.policy) {
                return &site->host_list[i];
            }
        }
    }
    return site->host_count ? &site->host_list[0] : NULL;
}

static void certs_forget_unwanted(struct edge_certs *c)
{
    for (unsigned i = 0; i < c->issued_count;) {
        struct issued *one = &c->issued[i];
        if (one->is_wanted) {
            i++;
            continue;
        }
        mem_free((char *)(uintptr_t)one->names.p);
        certificate_unref(one->certificate);
        *one = c->issued[--c->issued_count];
    }
}

enum err edge_certs_store(struct edge_certs *c, const struct site *site, int64_t now_s,
                          struct certificate_store **ret_store, struct fault *reterr_fault)
{
    size_t max = site->tls.certificate_count + 1;
    for (size_t i = 0; i < site->host_count; i++) {
        max += 2 * (site->host_list[i].tls.certificate_count + 2);
    }
    max += certs_takes_demands(site) ? DEMAND_NAMES_MAX : 0;
    struct certs_list list = {.items = mem_zalloc(max, sizeof(struct certificate *)),
                              .owned = mem_zalloc(2 * max, sizeof(struct certificate *))};
    if (!list.items || !list.owned) {
        mem_free(list.items);
        mem_free(list.owned);
        return fault_set(reterr_fault, ERR_NOMEM, "out of memory");
    }
    for (unsigned i = 0; i < c->issued_count; i++) {
        c->issued[i].is_wanted = false;
    }
    enum err e = ERR_OK;
    for (size_t i = 0; i < site->host_count && !e; i++) {
        e = certs_add_host(c, site, &site->host_list[i], now_s, &list, reterr_fault);
    }
    e = e ? e : certs_add_demanded(site, &list, reterr_fault);
    size_t default_at = list.count;
    const struct site_host *fallback = certs_default_host(site);
    if (!e && site->tls.certificate_count) {
        certs_add_files(c, site, &site->tls, &list);
    } else if (!e && fallback) {
        e = certs_add_host(c, site, fallback, now_s, &list, reterr_fault);
    }
    if (!e && certs_staple(c, site, now_s, &list) != ERR_OK) {
        e = fault_set(reterr_fault, ERR_NOMEM, "out of memory");
    }
    if (!e) {
        e = certificate_store_create(list.items, list.count, default_at, ret_store);
        if (e) {
            fault_set(reterr_fault, e, "the certificates: %s", err_text(e));
        }
    }
    for (size_t i = 0; i < list.owned_count; i++) {
        certificate_unref(list.owned[i]);
    }
    mem_free(list.items);
    mem_free(list.owned);
    if (!e) {
        certs_forget_unwanted(c);
    }
    return e;
}

bool edge_certs_are_due(const struct edge_certs *c, int64_t now_s)
{
    for (unsigned i = 0; i < c->issued_count; i++) {
        if (c->issued[i].certificate && certs_is_due(c->issued[i].certificate, now_s)) {
            return true;
        }
    }
    return false;
}

void edge_certs_done(struct edge_certs *c)
{
    for (unsigned i = 0; i < c->issued_count; i++) {
        c->issued[i].is_wanted = false;
    }
    certs_forget_unwanted(c);
    local_ca_destroy(c->ca);
    site_files_destroy(c->files);
    c->files = NULL;
    c->ca = NULL;
}
