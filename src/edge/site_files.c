/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/site_files.h"

#include "base/hash.h"
#include "base/mem.h"

#define PEM_BYTES_MAX (1024u * 1024u)

/* One certificate, for all hosts that name the same files. */
struct pair {
    struct str cert; /* paths, of the settings */
    struct str key;
    struct certificate *certificate;
    uint64_t fault; /* a mark of what was wrong the last time, 0 = nothing */
};

struct site_files {
    struct site *site;
    struct pair *pairs;
    size_t count;
};

static struct str key_path(const struct tls_settings *s, size_t i)
{
    return s->key.count ? s->key.items[i] : s->cert.items[i];
}

static struct pair *files_find(const struct site_files *f, const struct tls_settings *s, size_t i)
{
    for (size_t p = 0; p < f->count; p++) {
        if (str_eq(f->pairs[p].cert, s->cert.items[i]) && str_eq(f->pairs[p].key, key_path(s, i))) {
            return &f->pairs[p];
        }
    }
    return NULL;
}

static void files_add(struct site_files *f, const struct site_tls *tls)
{
    for (size_t i = 0; i < tls->certificate_count; i++) {
        if (!files_find(f, tls->settings, i)) {
            f->pairs[f->count++] =
                (struct pair){.cert = tls->settings->cert.items[i],
                              .key = key_path(tls->settings, i),
                              .certificate = certificate_ref(tls->certificates[i])};
        }
    }
}

enum err site_files_create(struct site *site, struct site_files **ret_files)
{
    size_t max = site->tls.certificate_count;
    for (size_t i = 0; i < site->host_count; i++) {
        max += site->host_list[i].tls.certificate_count;
    }
    struct site_files *f = mem_zalloc(1, sizeof(*f));
    if (f) {
        f->pairs = mem_zalloc(max + 1, sizeof(*f->pairs));
    }
    if (!f || !f->pairs) {
        mem_free(f);
        return ERR_NOMEM;
    }
    f->site = site_ref(site);
    files_add(f, &site->tls);
    for (size_t i = 0; i < site->host_count; i++) {
        files_add(f, &site->host_list[i].tls);
    }
    *ret_files = f;
    return ERR_OK;
}

void site_files_destroy(struct site_files *f)
{
    if (!f) {
        return;
    }
    for (size_t i = 0; i < f->count; i++) {
        certificate_unref(f->pairs[i].certificate);
    }
    mem_free(f->pairs);
    site_unref(f->site);
    mem_free(f);
}

size_t site_files_count(const struct site_files *f)
{
    return f->count;
}

/* Hosts keep the names that they have. */
static enum err pair_check_names(const struct site_files *f, const struct pair *p,
                                 const struct certificate *fresh, struct fault *fault)
{
    for (size_t h = 0; h < f->site->host_count; h++) {
        const struct site_host *host = &f->site->host_list[h];
        const struct domain_list *domains = &host->settings->domains;
        bool is_of_host = false;
        for (size_t i = 0; i < host->tls.certificate_count && !is_of_host; i++) {
            is_of_host = files_find(f, host->tls.settings, i) == p;
        }
        for (size_t d = 0; is_of_host && d < domains->count; d++) {
            struct str domain = domains->items[d].text;
            if (site_tls_carries(p->certificate, domain) && !site_tls_carries(fresh, domain)) {
                return fault_set(fault, ERR_CONFIG,
                                 "the certificate does not carry the name " STR_FMT " any more",
                                 STR_ARG(domain));
            }
        }
    }
    return ERR_OK;
}

static enum err pair_read(const struct conf_io *io, struct str path, struct buf *out,
                          struct fault *fault)
{
    buf_init(out, PEM_BYTES_MAX);
    enum err e = io->read_file(io->context, path.p, out);
    return e ? fault_set(fault, e, STR_FMT " cannot be read: %s", STR_ARG(path), err_text(e)) : e;
}

static enum err pair_load(const struct site_files *f, const struct pair *p,
                          const struct conf_io *io, struct certificate **ret_fresh,
                          struct fault *fault)
{
    struct buf cert, key;
    struct certificate *fresh = NULL;
    buf_init(&key, 0);
    enum err e = pair_read(io, p->cert, &cert, fault);
    if (!e) {
        e = pair_read(io, p->key, &key, fault);
    }
    if (!e) {
        e = certificate_create(buf_str(&cert), buf_str(&key), &fresh, fault);
    }
    buf_done_secret(&cert); /* it may hold the key */
    buf_done_secret(&key);
    if (!e) {
        e = pair_check_names(f, p, fresh, fault);
    }
    if (e) {
        certificate_unref(fresh);
        return e;
    }
    *ret_fresh = fresh;
    return ERR_OK;
}

size_t site_files_take(struct site_files *f, const struct conf_io *io, site_files_fault_fn on_fault,
                       void *context)
{
    size_t changed = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct pair *p = &f->pairs[i];
        struct certificate *fresh;
        struct fault fault;
        enum err e = pair_load(f, p, io, &fresh, &fault);
        if (e) {
            uint64_t mark = hash_str(str_of(fault.text)) | 1;
            if (mark != p->fault) {
                on_fault(context, p->cert, fault.text);
            }
            p->fault = mark;
            continue;
        }
        p->fault = 0;
        if (certificate_has_same_chain(fresh, p->certificate)) {
            certificate_unref(fresh);
            continue;
        }
        certificate_unref(p->certificate);
        p->certificate = fresh;
        changed++;
    }
    return changed;
}

struct certificate *site_files_get(const struct site_files *f, const struct site *site,
                                   const struct site_tls *tls, size_t i)
{
    const struct pair *p = f && site == f->site ? files_find(f, tls->settings, i) : NULL;
    return p ? p->certificate : tls->certificates[i];
}
