/* SPDX-License-Identifier: Apache-2.0 */
/* What the edge has to do with certificates of public authorities: it says which ones it needs, and
 * takes them when they are there. */
#include "app/edge_int.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/state_dir.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "issuer/acme_store.h"
#include "os/file.h"
#include "os/process.h"

bool edge_issuer_set(const struct site_host *host, struct task_set *ret_set)
{
    static const int64_t days[] = {7, 30, 90, 365, 730, 1095, 5475};
    const struct tls_settings *s = &host->settings->ssl;
    *ret_set = (struct task_set){
        .names = host->tls.acme_names, .name_count = host->tls.acme_count, .acme = s->acme};
    if (s->issuer == ISSUER_CLOUDFLARE) {
        ret_set->acme =
            (struct acme_settings){.ca = s->cloudflare.url, .ca_pem = s->cloudflare.ca_pem};
        ret_set->origin = (struct origin_settings){.token = s->cloudflare.token,
                                                   .days = days[s->cloudflare.validity]};
    }
    return host->tls.acme_count != 0;
}

static bool issuer_has_sets(const struct site *site)
{
    struct task_set set;
    bool has_any = false;
    for (size_t i = 0; i < site->host_count; i++) {
        has_any |=
            edge_issuer_set(&site->host_list[i], &set) || site->host_list[i].tls.takes_demands;
    }
    return has_any && site->listens_for_https;
}

/* Certificates of files whose OCSP responder is to be asked; those of a public authority the issuer
 * has itself. */
struct stapled_files {
    const struct certificate *items[TASK_SETS_MAX];
    size_t count;
};

static void issuer_add_stapled(const struct edge *e, const struct site *site,
                               const struct site_tls *tls, struct stapled_files *list)
{
    for (size_t i = 0; i < tls->certificate_count && list->count < TASK_SETS_MAX; i++) {
        const struct certificate *c = site_files_get(e->certs.files, site, tls, i);
        bool is_known = certificate_ocsp_url(c).n == 0;
        for (size_t k = 0; k < list->count && !is_known; k++) {
            is_known = list->items[k] == c;
        }
        if (!is_known) {
            list->items[list->count++] = c;
        }
    }
}

static void issuer_list_stapled(const struct edge *e, const struct site *site,
                                struct stapled_files *list)
{
    list->count = 0;
    if (site->listens_for_https) {
        issuer_add_stapled(e, site, &site->tls, list);
        for (size_t i = 0; i < site->host_count; i++) {
            issuer_add_stapled(e, site, &site->host_list[i].tls, list);
        }
    }
}

static bool issuer_is_needed(const struct edge *e, const struct site *site)
{
    struct stapled_files list;
    issuer_list_stapled(e, site, &list);
    return list.count != 0 || issuer_has_sets(site);
}

static enum err issuer_open_folder(const struct server_settings *s, const char *name, int *root)
{
    char path[PATH_MAX], below[64];
    snprintf(below, sizeof(below), "acme/%s", name);
    enum err e = state_dir_path(s->state, below, path);
    if (!e) {
        e = file_make_directories(path);
    }
    if (!e && s->user.n && geteuid() == 0) {
        e = file_give_to(path, s->user.p);
        e = e == ERR_NOT_FOUND ? ERR_OK : e; /* the edge stays who it is */
    }
    return e || !root || *root >= 0 ? e : file_open_root(path, root);
}

enum err edge_issuer_prepare(struct edge *e, const struct site *site)
{
    const struct server_settings *s = &site->settings->server;
    bool has_sets = issuer_has_sets(site);
    if (!issuer_is_needed(e, site)) {
        return ERR_OK;
    }
    enum err err = issuer_open_folder(s, "", NULL);
    if (!err && has_sets) {
        err = issuer_open_folder(s, STORE_CHALLENGE_FOLDER, &e->challenge_root);
    }
    if (!err && has_sets) {
        err = issuer_open_folder(s, STORE_ALPN_FOLDER, &e->alpn_root);
    }
    if (err) {
        snprintf(e->reload_error, sizeof(e->reload_error),
                 "there is no place for certificates (server.state): %s", err_text(err));
    }
    return err;
}

/* The chains in one text, one after the other: `ends` says where each ends. */
static enum err issuer_put_chains(const struct edge *e, struct buf *text, size_t *ends,
                                  size_t *ret_count)
{
    struct stapled_files list;
    enum err err = ERR_OK;
    size_t count = 0;
    issuer_list_stapled(e, e->site, &list);
    for (size_t i = 0; i < list.count && !err; i++) {
        err = certificate_put_chain(list.items[i], text);
        if (err == ERR_UNSUPPORTED) {
            LOG(e->log, LOG_LEVEL_WARN,
                "a certificate names an OCSP responder, but its file lacks the issuer: nothing is "
                "stapled",
                log_str("name", certificate_name(list.items[i], 0)));
            err = ERR_OK;
        } else if (!err) {
            ends[count++] = text->n;
        }
    }
    *ret_count = count;
    return err;
}

static enum err issuer_fill_chains(const struct edge *e, struct task *task, struct buf *text)
{
    size_t ends[TASK_SETS_MAX], from = 0;
    enum err err = issuer_put_chains(e, text, ends, &task->chain_count);
    task->chains = err ? NULL : mem_zalloc(task->chain_count + 1, sizeof(struct str));
    for (size_t i = 0; task->chains && i < task->chain_count; i++) {
        task->chains[i] = str_sub(buf_str(text), from, ends[i]);
        from = ends[i];
    }
    return err || task->chains ? err : ERR_NOMEM;
}

/* How names that clients bring are got: once for all hosts that say the same. */
static void issuer_add_demands(const struct site *site, struct task *task)
{
    for (size_t i = 0; i < site->host_count && task->demand_count < TASK_SETS_MAX; i++) {
        const struct acme_settings *acme = &site->host_list[i].settings->ssl.acme;
        bool is_known = !site->host_list[i].tls.takes_demands;
        for (size_t k = 0; k < task->demand_count && !is_known; k++) {
            is_known = str_eq(task->demands[k].acme.ask, acme->ask) &&
                       str_eq(task->demands[k].acme.ca, acme->ca);
        }
        if (!is_known) {
            task->demands[task->demand_count++] = (struct task_set){.acme = *acme};
        }
    }
}

static enum err issuer_write_task(const struct edge *e, struct buf *out)
{
    const struct settings *s = e->site->settings;
    char folder[PATH_MAX];
    enum err err = state_dir_path(s->server.state, "acme", folder);
    struct task task = {
        .folder = str_of(folder),
        .user = s->server.user,
        .user_is_default = conf_origin_of(&s->server, "user").source == NULL,
        .log = s->log.output.kind == OUTPUT_FILE ? s->log.output.path : STR(""),
        .log_level = (int64_t)s->log.level,
        .has_sandbox = s->server.sandbox,
        .sets = mem_zalloc(e->site->host_count + 1, sizeof(struct task_set)),
        .demands = mem_zalloc(e->site->host_count + 1, sizeof(struct task_set)),
    };
    if (err || !task.sets || !task.demands) {
        mem_free(task.sets);
        mem_free(task.demands);
        return err ? err : ERR_NOMEM;
    }
    for (size_t i = 0; i < s->server.listen.count; i++) {
        const struct listen_address *l = &s->server.listen.items[i];
        task.has_plain |= l->kind == LISTEN_INET && !l->is_tls;
    }
    for (size_t i = 0; i < e->site->host_count && task.count < TASK_SETS_MAX; i++) {
        task.count += edge_issuer_set(&e->site->host_list[i], &task.sets[task.count]);
    }
    issuer_add_demands(e->site, &task);
    struct buf chains;
    buf_init(&chains, 0);
    err = issuer_fill_chains(e, &task, &chains);
    if (!err) {
        err = task_write(&task, out);
    }
    buf_done(&chains);
    mem_free(task.chains);
    mem_free(task.demands);
    mem_free(task.sets);
    return err;
}

static void issuer_ask(struct edge *e, int task)
{
    const struct control_message m = {.kind = CONTROL_ISSUE, .fd = -1};
    if (control_send(PROCESS_CHANNEL_FD, &m, task) != ERR_OK) {
        LOG(e->log, LOG_LEVEL_ERROR, "the supervisor does not answer", log_u64("kind", m.kind));
    }
}

void edge_issuer_update(struct edge *e)
{
    struct buf bytes;
    int fd = -1;
    if (!issuer_is_needed(e, e->site)) {
        if (e->issuer_task_hash) {
            issuer_ask(e, -1);
        }
        e->issuer_task_hash = 0;
        return;
    }
    buf_init(&bytes, 0);
    enum err err = issuer_write_task(e, &bytes);
    uint64_t hash = err ? 0 : hash_str(buf_str(&bytes)) | 1;
    if (!err && hash != e->issuer_task_hash) {
        err = file_in_memory(buf_str(&bytes), &fd);
    }
    if (err) {
        LOG(e->log, LOG_LEVEL_ERROR, "the issuer of certificates cannot be told", log_err(err));
    } else if (fd >= 0) {
        issuer_ask(e, fd);
        e->issuer_task_hash = hash;
        file_close(fd);
    }
    store_wipe(&bytes);
}

/* Says once per configuration what cannot be reached by TLS yet. */
void edge_issuer_say_waiting(const struct edge *e)
{
    char folder[PATH_MAX];
    struct task_set set;
    if (!issuer_has_sets(e->site) ||
        state_dir_path(e->site->settings->server.state, "acme", folder) != ERR_OK) {
        return;
    }
    for (size_t i = 0; i < e->site->host_count; i++) {
        struct certificate *c;
        if (!edge_issuer_set(&e->site->host_list[i], &set)) {
            continue;
        }
        if (issuer_certificate(str_of(folder), &set, &c, NULL) == ERR_OK) {
            certificate_unref(c);
        } else {
            LOG(e->log, LOG_LEVEL_NOTICE,
                "there is no certificate yet: HTTPS is refused for this host until it comes",
                log_str("name", set.names[0]), log_u64("names", set.name_count),
                log_str("ca", set.acme.ca));
        }
    }
}
