/* SPDX-License-Identifier: Apache-2.0 */
/* The files that the TLS settings name. They are read with the settings, so that whoever may read
 * the one reads the others too (conf/record.h). */
#include <string.h>

#include "conf/settings_int.h"

#define PEM_BYTES_MAX (1024u * 1024u)

struct tls_reader {
    struct arena *arena;
    const struct conf_io *io;
    struct diag_list *diags;
    bool is_wrong;
};

/* `object`: whose key it is. */
static enum err read_pem(struct tls_reader *r, const void *object, const char *key, struct str path,
                         struct str *ret_text)
{
    struct buf text;
    buf_init(&text, PEM_BYTES_MAX);
    enum err e = r->io->read_file(r->io->context, path.p, &text);
    if (e == ERR_OK) {
        *ret_text = arena_str(r->arena, buf_str(&text));
        e = ret_text->p != NULL ? ERR_OK : ERR_NOMEM;
    } else if (e != ERR_NOMEM) {
        (void)diag_add(r->diags, conf_origin_of(object, key), "%s: " STR_FMT " cannot be read: %s",
                       key, STR_ARG(path), err_text(e));
        r->is_wrong = true;
        e = ERR_OK;
    }
    buf_done_secret(&text);
    return e;
}

static enum err read_pems(struct tls_reader *r, const struct tls_settings *tls, const char *key,
                          const struct str_list *paths, struct str **ret_texts)
{
    *ret_texts = arena_zalloc(r->arena, (paths->count + 1) * sizeof(**ret_texts));
    enum err e = *ret_texts != NULL ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; i < paths->count && e == ERR_OK; i++) {
        e = read_pem(r, tls, key, paths->items[i], &(*ret_texts)[i]);
    }
    return e;
}

static enum err read_tls(struct tls_reader *r, struct tls_settings *tls)
{
    if (tls->key.count != 0 && tls->cert.count != 0 && tls->key.count != tls->cert.count) {
        (void)diag_add(r->diags, conf_origin_of(tls, "key"),
                       "key: there are %zu keys for %zu certificates", tls->key.count,
                       tls->cert.count);
        r->is_wrong = true;
    }
    enum err e = read_pems(r, tls, "cert", &tls->cert, &tls->cert_pem);
    if (e == ERR_OK) {
        e = read_pems(r, tls, "key", &tls->key, &tls->key_pem);
    }
    if (e == ERR_OK && tls->client_ca.p != NULL) {
        e = read_pem(r, tls, "client_ca", tls->client_ca, &tls->client_ca_pem);
    }
    if (e == ERR_OK && tls->acme.ca_file.p != NULL) {
        e = read_pem(r, &tls->acme, "ca_file", tls->acme.ca_file, &tls->acme.ca_pem);
    }
    if (e == ERR_OK && tls->cloudflare.ca_file.p != NULL) {
        e = read_pem(r, &tls->cloudflare, "ca_file", tls->cloudflare.ca_file,
                     &tls->cloudflare.ca_pem);
    }
    return e;
}

static enum err read_backend(struct tls_reader *r, struct backend_tls_settings *tls)
{
    enum err e = tls->ca.p ? read_pem(r, tls, "ca", tls->ca, &tls->ca_pem) : ERR_OK;
    if (e == ERR_OK && tls->cert.p != NULL) {
        e = read_pem(r, tls, "cert", tls->cert, &tls->cert_pem);
    }
    if (e == ERR_OK && tls->key.p != NULL) {
        e = read_pem(r, tls, "key", tls->key, &tls->key_pem);
    }
    return e;
}

static enum err read_backends(struct tls_reader *r, struct host_settings *host)
{
    enum err e = read_backend(r, &host->keys.backend.tls);
    for (size_t i = 0; i < host->routes.count && e == ERR_OK; i++) {
        e = read_backend(r, &host->routes.items[i].keys.backend.tls);
    }
    return e;
}

enum err settings_read_tls(struct settings *s, struct arena *arena, const struct conf_io *io,
                           struct diag_list *diags, bool *is_wrong)
{
    struct tls_reader r = {arena, io, diags, false};
    enum err e = read_tls(&r, &s->server.tls);
    for (size_t i = 0; i < s->hosts.count && e == ERR_OK; i++) {
        e = read_tls(&r, &s->hosts.items[i].ssl);
        e = e == ERR_OK ? read_backends(&r, &s->hosts.items[i]) : e;
    }
    for (size_t i = 0; i < s->backends.count && e == ERR_OK; i++) {
        e = read_backend(&r, &s->backends.items[i].tls);
    }
    *is_wrong |= r.is_wrong;
    return e;
}

static void wipe_text(struct str *text)
{
    if (text->n > 0) {
        explicit_bzero((char *)(uintptr_t)text->p, text->n);
    }
    *text = (struct str){NULL, 0};
}

static void wipe(const struct str_list *paths, struct str *texts)
{
    for (size_t i = 0; texts != NULL && i < paths->count; i++) {
        wipe_text(&texts[i]);
    }
}

static void wipe_keys(struct tls_settings *tls)
{
    wipe(&tls->key, tls->key_pem);
    /* A chain may have its key in the same file. */
    wipe(&tls->cert, tls->cert_pem);
}

static void wipe_backend(struct backend_tls_settings *tls)
{
    wipe_text(&tls->key_pem);
    wipe_text(&tls->cert_pem);
}

void settings_wipe_keys(struct settings *s)
{
    wipe_keys(&s->server.tls);
    for (size_t i = 0; i < s->backends.count; i++) {
        wipe_backend(&s->backends.items[i].tls);
    }
    for (size_t i = 0; i < s->hosts.count; i++) {
        struct host_settings *host = &s->hosts.items[i];
        wipe_keys(&host->ssl);
        wipe_backend(&host->keys.backend.tls);
        for (size_t k = 0; k < host->routes.count; k++) {
            wipe_backend(&host->routes.items[k].keys.backend.tls);
        }
    }
}
