/* SPDX-License-Identifier: Apache-2.0 */
/* How the edge loads a configuration and swaps it under its running workers. */
#include "app/edge_int.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "conf/record.h"
#include "os/clock.h"
#include "os/file.h"

static void edge_print_diags(struct edge *e, const struct diag_list *diags, bool is_start)
{
    struct buf text;
    buf_init(&text, 0);
    diag_list_print(diags, &text);
    buf_add_char(&text, '\0');
    if (!text.is_failed) {
        snprintf(e->reload_error, sizeof(e->reload_error), "%s", text.p);
        if (is_start) {
            fputs(text.p, stderr);
        }
    }
    buf_done(&text);
}

enum err edge_load(struct edge *e, const struct str *record, struct site **ret_site)
{
    const struct conf_io io = conf_replay_io(record);
    struct diag_list diags;
    struct settings *settings = NULL;
    diag_list_init(&diags);
    enum err err =
        e->options->directory
            ? settings_default_site(e->options->directory, e->options->port, e->options->is_https,
                                    &settings, &diags)
            : settings_load(&e->options->config, 1, record ? &io : NULL, &settings, &diags);
    if (!err) {
        edge_prepare_sticky(e, settings);
        err = site_create(settings, e->site, ret_site, &diags);
        if (err) {
            settings_destroy(settings);
        }
    }
    if (err) {
        edge_print_diags(e, &diags, !record);
        if (err != ERR_CONFIG) {
            snprintf(e->reload_error, sizeof(e->reload_error), "%s", err_text(err));
        }
    }
    diag_list_done(&diags);
    return err;
}

enum log_level edge_log_level(enum conf_log_level level)
{
    switch (level) {
    case CONF_LOG_DEBUG:
        return LOG_LEVEL_DEBUG;
    case CONF_LOG_INFO:
        return LOG_LEVEL_INFO;
    case CONF_LOG_WARN:
        return LOG_LEVEL_WARN;
    case CONF_LOG_ERROR:
        return LOG_LEVEL_ERROR;
    }
    return LOG_LEVEL_INFO;
}

enum err edge_open_writer(struct edge *e, const struct settings *s, struct writer **ret)
{
    struct writer_settings w;
    *ret = NULL;
    if (s->log.access.kind == OUTPUT_OFF) {
        return ERR_OK;
    }
    writer_settings_default(&w);
    w.producer_count = e->worker_count;
    if (s->log.access.kind == OUTPUT_FILE) {
        w.path = s->log.access.path;
        w.rotate_bytes = (uint64_t)s->log.rotate.size_bytes;
        w.rotate_age_ms = (uint64_t)s->log.rotate.age_ms;
        w.keep_count = (unsigned)s->log.rotate.keep_count;
        w.is_compressed = s->log.rotate.zstd;
    } else if (s->log.access.kind == OUTPUT_STDERR) {
        w.path = STR("/proc/self/fd/2");
    }
    return writer_create(&w, ret);
}

static bool edge_same_output(const struct settings *a, const struct settings *b)
{
    const struct log_settings *x = &a->log, *y = &b->log;
    return x->access.kind == y->access.kind && str_eq(x->access.path, y->access.path) &&
           x->rotate.size_bytes == y->rotate.size_bytes && x->rotate.age_ms == y->rotate.age_ms &&
           x->rotate.keep_count == y->rotate.keep_count && x->rotate.zstd == y->rotate.zstd;
}

/* ---- applying a configuration ---- */

/* Where people who ask for http are sent. */
static uint16_t edge_https_port(const struct edge *e)
{
    for (uint32_t i = 0; i < e->listen_count; i++) {
        const struct edge_listen *l = &e->listens[i];
        struct socket_address a;
        if (l->is_wanted && l->is_tls && socket_local(l->fds[0], &a) == ERR_OK &&
            socket_address_port(&a)) {
            return socket_address_port(&a);
        }
    }
    return 0;
}

/* Where browsers are told that HTTP/3 is spoken. */
static uint16_t edge_h3_port(const struct edge *e)
{
    for (uint32_t i = 0; i < e->listen_count; i++) {
        const struct edge_listen *l = &e->listens[i];
        struct socket_address a;
        if (l->is_wanted && l->is_datagram && !l->stream && socket_local(l->fds[0], &a) == ERR_OK) {
            return socket_address_port(&a);
        }
    }
    return 0;
}

enum err edge_make_certificates(struct edge *e, const struct site *site,
                                struct certificate_store **ret_store)
{
    struct fault fault;
    *ret_store = NULL;
    if (!site->listens_for_https) {
        return ERR_OK;
    }
    enum err err = edge_issuer_prepare(e, site);
    if (err) {
        return err;
    }
    err = edge_certs_store(&e->certs, site, clock_wall_s(), ret_store, &fault);
    if (err) {
        snprintf(e->reload_error, sizeof(e->reload_error), "%s", fault.text);
        return err;
    }
    metrics_set_process(e->metrics, METRICS_CERT_UNSTAPLED, e->certs.unstapled_count);
    if (e->certs.must_staple_count) {
        LOG(e->log, LOG_LEVEL_WARN,
            "certificates demand an OCSP answer and have none: clients may refuse them",
            log_u64("count", e->certs.must_staple_count));
    }
    return err;
}

enum err edge_post_change(struct edge *e, struct writer *old_writer)
{
    struct edge_change *change = mem_zalloc(1, sizeof(*change));
    uint32_t wanted = 0;
    if (change) {
        change->listens = mem_zalloc(e->listen_count + 1, sizeof(*change->listens));
    }
    if (!change || !change->listens) {
        mem_free(change);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < e->listen_count; i++) {
        if (e->listens[i].is_wanted) {
            change->listens[wanted++] = e->listens[i];
        }
    }
    change->edge = e;
    change->site = site_ref(e->site);
    change->limits = edge_limits(e->site->settings, e->worker_count);
    change->writer = e->writer;
    change->certificates = e->certificates ? certificate_store_ref(e->certificates) : NULL;
    change->https_port = edge_https_port(e);
    change->challenge_root = e->challenge_root;
    change->alpn_root = e->alpn_root;
    change->h3_port = edge_h3_port(e);
    change->old_writer = old_writer;
    change->listen_count = wanted;
    atomic_init(&change->left, e->worker_count);
    e->is_changing = true;
    for (unsigned i = 0; i < e->worker_count; i++) {
        struct worker *w = &e->workers[i];
        enum err err = loop_post(w->loop, worker_on_change, w, (uint64_t)(uintptr_t)change);
        ASSERT(!err); /* one change at a time: the mailbox has room */
    }
    return ERR_OK;
}

void edge_on_applied(void *edge, uint64_t value)
{
    struct edge *e = edge;
    struct edge_change *change = (struct edge_change *)(uintptr_t)value;
    writer_destroy(change->old_writer);
    certificate_store_unref(change->certificates);
    site_unref(change->site);
    mem_free(change->listens);
    mem_free(change);
    e->is_changing = false;
    edge_release_unwanted(e);
    atomic_store(&e->is_ready, true);
    if (e->next_config >= 0) {
        int fd = e->next_config;
        e->next_config = -1;
        edge_reload(e, ERR_OK, fd);
    } else if (e->is_issued) {
        edge_take_certificates(e);
    } else if (e->next_files >= 0) {
        int fd = e->next_files;
        e->next_files = -1;
        edge_take_files(e, fd);
    }
}

static void edge_reload_failed(struct edge *e)
{
    e->reload_state = 2;
    metrics_set_process(e->metrics, METRICS_RELOAD_STATE, 2);
    LOG(e->log, LOG_LEVEL_ERROR, "reload refused, the old configuration serves on",
        log_str("reason", str_of(e->reload_error)));
    admin_reloaded(e, false, e->reload_error);
}

static bool edge_is_same_list(const struct str_list *a, const struct str_list *b)
{
    bool is_same = a->count == b->count;
    for (size_t i = 0; is_same && i < a->count; i++) {
        is_same = str_eq(a->items[i], b->items[i]);
    }
    return is_same;
}

/* The settings that a process has from its start, as far as they differ. */
static void edge_list_fixed(const struct settings *a, const struct settings *b, struct buf *out)
{
    const struct server_settings *x = &a->server, *y = &b->server;
    const struct {
        const char *name;
        bool is_same;
    } fixed[] = {
        {"server.worker.processes", x->worker.processes == y->worker.processes},
        {"server.poller", x->poller == y->poller},
        {"server.user", str_eq(x->user, y->user)},
        {"server.sandbox", x->sandbox == y->sandbox},
        {"server.resolver", edge_is_same_list(&x->resolver, &y->resolver)},
        {"server.admin", str_eq(x->admin.text, y->admin.text)},
        {"metrics.listen", str_eq(a->metrics.listen.text, b->metrics.listen.text)},
        {"log.output", a->log.output.kind == b->log.output.kind &&
                           str_eq(a->log.output.path, b->log.output.path)},
    };
    for (size_t i = 0; i < COUNT_OF(fixed); i++) {
        if (!fixed[i].is_same) {
            buf_printf(out, "%s%s", out->n ? ", " : "", fixed[i].name);
        }
    }
}

static void edge_reload_succeeded(struct edge *e, const struct site *old)
{
    const struct settings *settings = e->site->settings;
    struct buf fixed, text;
    buf_init(&fixed, 0);
    buf_init(&text, 0);
    log_set_level(e->log, edge_log_level(settings->log.level));
    e->reload_count++;
    e->reload_state = 1;
    metrics_set_process(e->metrics, METRICS_RELOAD_STATE, 1);
    LOG(e->log, LOG_LEVEL_INFO, "configuration reloaded", log_u64("hosts", e->site->host_count),
        log_u64("count", e->reload_count));
    edge_list_fixed(old->settings, settings, &fixed);
    buf_add_str(&text, STR("reloaded"));
    if (fixed.n) {
        LOG(e->log, LOG_LEVEL_WARN, "some settings wait for an upgrade",
            log_str("settings", buf_str(&fixed)));
        buf_printf(&text, "; what changed in %.*s needs `sws upgrade` to take effect", (int)fixed.n,
                   fixed.p);
    }
    buf_add_char(&text, '\0');
    admin_reloaded(e, true, text.is_failed ? "reloaded" : text.p);
    buf_done(&fixed);
    buf_done(&text);
}

/* Loads, opens, binds: everything that can fail, before anything changes. */
static enum err edge_prepare_change(struct edge *e, const struct str *record,
                                    struct site **ret_site, struct certificate_store **ret_store,
                                    struct writer **ret_writer)
{
    enum err err = edge_load(e, record, ret_site);
    if (err) {
        return err;
    }
    err = edge_make_certificates(e, *ret_site, ret_store);
    if (err) {
        site_unref(*ret_site);
        return err;
    }
    *ret_writer = e->writer;
    bool is_same = edge_same_output((*ret_site)->settings, e->site->settings);
    if (!is_same) {
        err = edge_open_writer(e, (*ret_site)->settings, ret_writer);
        if (err) {
            snprintf(e->reload_error, sizeof(e->reload_error), "cannot open the access log: %s",
                     err_text(err));
            certificate_store_unref(*ret_store);
            site_unref(*ret_site);
            return err;
        }
    }
    err = edge_listen_all(e, (*ret_site)->settings, false);
    if (err) {
        if (!is_same) {
            writer_destroy(*ret_writer);
        }
        certificate_store_unref(*ret_store);
        site_unref(*ret_site);
    }
    return err;
}

static void edge_apply(struct edge *e, const struct str *record)
{
    struct site *site, *old = e->site;
    struct writer *writer, *old_writer = e->writer;
    struct certificate_store *store, *old_store = e->certificates;
    if (edge_prepare_change(e, record, &site, &store, &writer) != ERR_OK) {
        edge_reload_failed(e);
        return;
    }
    e->site = site;
    e->writer = writer;
    e->certificates = store;
    if (edge_post_change(e, writer == old_writer ? NULL : old_writer) != ERR_OK) {
        e->site = old;
        e->writer = old_writer;
        e->certificates = old_store;
        certificate_store_unref(store);
        if (writer != old_writer) {
            writer_destroy(writer);
        }
        site_unref(site);
        snprintf(e->reload_error, sizeof(e->reload_error), "out of memory");
        edge_reload_failed(e);
        return;
    }
    edge_reload_succeeded(e, old);
    edge_check_backends(e);
    edge_watch_files(e);
    edge_run_processes(e);
    edge_issuer_update(e);
    edge_issuer_say_waiting(e);
    certificate_store_unref(old_store);
    site_unref(old);
}

/* No connection notices: those that are open keep the certificate they began with. */
static enum err edge_swap_certificates(struct edge *e)
{
    struct certificate_store *store, *old = e->certificates;
    enum err err = edge_make_certificates(e, e->site, &store);
    if (!err) {
        e->certificates = store;
        err = edge_post_change(e, NULL);
        if (err) {
            e->certificates = old;
            certificate_store_unref(store);
        }
    }
    if (!err) {
        certificate_store_unref(old);
    }
    return err;
}

void edge_take_certificates(struct edge *e)
{
    e->is_issued = e->is_changing;
    if (e->is_changing || e->is_draining) {
        return;
    }
    enum err err = edge_swap_certificates(e);
    if (err) {
        LOG(e->log, LOG_LEVEL_ERROR, "new certificates cannot be taken", log_err(err));
    } else {
        LOG(e->log, LOG_LEVEL_INFO, "new certificates are in use",
            log_u64("hosts", e->site->host_count));
    }
}

void edge_renew_certificates(struct edge *e)
{
    if (e->is_changing || e->is_draining || !edge_certs_are_due(&e->certs, clock_wall_s())) {
        return;
    }
    enum err err = edge_swap_certificates(e);
    if (err) {
        LOG(e->log, LOG_LEVEL_ERROR, "certificates of the local authority were not renewed",
            log_err(err));
        return;
    }
    LOG(e->log, LOG_LEVEL_INFO, "certificates of the local authority are renewed",
        log_u64("count", e->certs.issued_count));
}

void edge_reload(struct edge *e, enum err error, int fd)
{
    struct buf record;
    if (!error && e->is_changing) {
        file_close(e->next_config);
        e->next_config = fd;
        return;
    }
    e->reload_error[0] = '\0';
    buf_init(&record, 0);
    if (!error && e->is_draining) {
        error = ERR_CANCELLED;
    }
    if (!error) {
        error = file_read_memory(fd, &record);
    }
    file_close(fd);
    if (error) {
        snprintf(e->reload_error, sizeof(e->reload_error), "%s",
                 e->is_draining ? "this process is draining" : err_text(error));
        edge_reload_failed(e);
    } else {
        const struct str bytes = buf_str(&record);
        edge_apply(e, &bytes);
    }
    buf_done_secret(&record); /* it may hold keys */
}
