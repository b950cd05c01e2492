/* SPDX-License-Identifier: Apache-2.0 */
#include "app/issuer_role.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/control.h"
#include "app/edge_int.h"
#include "issuer/acme_store.h"
#include "issuer/demand.h"
#include "issuer/issuer.h"
#include "issuer/stapler.h"
#include "issuer/web_client.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"
#include "os/sandbox.h"

#define WAIT_MS_MAX 3600000

struct issuer_role {
    struct arena arena;
    struct task task;
    struct log *log;
    struct web_client *client;
    struct str trusted; /* whom the client trusts */
    struct demand *demand;
};

static int64_t role_now_s(void *context)
{
    (void)context;
    return clock_wall_s();
}

/* libcurl wants a file, and has no other way to be given roots where it is built with GnuTLS. */
static enum err role_open_client(struct issuer_role *r, struct str ca_pem)
{
    char path[PATH_MAX];
    enum err e = store_path(r->task.folder, "trusted.pem", "", path);
    if (!e && ca_pem.n) {
        e = file_replace(path, ca_pem, 0640);
    }
    return e ? e : web_client_create(ca_pem.n ? path : NULL, &r->client);
}

static enum err role_send(void *context, const struct web_request *request,
                          struct web_answer *ret_answer, const char **ret_reason)
{
    struct issuer_role *r = context;
    if (r->client && !str_eq(r->trusted, request->ca_pem)) {
        web_client_destroy(r->client);
        r->client = NULL;
    }
    if (!r->client) {
        enum err e = role_open_client(r, request->ca_pem);
        if (e) {
            r->client = NULL;
            *ret_reason = e == ERR_UNSUPPORTED ? "libcurl cannot be loaded" : err_text(e);
            return e;
        }
        r->trusted = request->ca_pem;
    }
    return web_client_send(r->client, request, ret_answer, ret_reason);
}

/* Takes a name that a client brought. False: the supervisor is gone. */
static bool role_hear(struct issuer_role *r)
{
    struct control_message m;
    struct buf text;
    int fd = -1;
    enum err e = control_recv(PROCESS_CHANNEL_FD, false, &m, &fd);
    if (e) {
        return e == ERR_AGAIN;
    }
    buf_init(&text, DEMAND_MESSAGE_BYTES_MAX);
    if (m.kind == CONTROL_DEMAND && fd >= 0 && file_read_memory(fd, &text) == ERR_OK) {
        demand_take(r->demand, buf_str(&text));
    }
    buf_done(&text);
    file_close(fd);
    return true;
}

static bool role_wait_for(struct issuer_role *r, int64_t until_s, bool is_idle)
{
    for (int64_t now_s = role_now_s(r); now_s < until_s; now_s = role_now_s(r)) {
        struct pollfd channel = {.fd = PROCESS_CHANNEL_FD, .events = POLLIN};
        int64_t ms = (until_s - now_s) * 1000;
        if (is_idle && demand_is_waiting(r->demand)) {
            return true;
        }
        if (poll(&channel, 1, ms > WAIT_MS_MAX ? WAIT_MS_MAX : (int)ms) > 0 && !role_hear(r)) {
            return false;
        }
    }
    return true;
}

/* In the middle of an order names that come have to wait. */
static bool role_wait(void *context, int64_t until_s)
{
    return role_wait_for(context, until_s, false);
}

static void role_on_event(void *context, enum issuer_event event, const struct task_set *set,
                          const char *text)
{
    struct issuer_role *r = context;
    struct str name = set->names[0], reason = str_of(text);
    size_t names = set->name_count;
    switch (event) {
    case ISSUER_ORDERS:
        LOG(r->log, LOG_LEVEL_INFO, "a certificate is ordered", log_str("name", name),
            log_u64("names", names), log_str("ca", reason));
        return;
    case ISSUER_ISSUED:
        LOG(r->log, LOG_LEVEL_INFO, "a certificate is issued", log_str("name", name),
            log_u64("names", names), log_str("ca", reason));
        break;
    case ISSUER_FAILED:
        LOG(r->log, LOG_LEVEL_WARN, "a certificate was not issued, a further try follows",
            log_str("name", name), log_u64("names", names), log_str("reason", reason));
        return;
    case ISSUER_STAPLED:
        LOG(r->log, LOG_LEVEL_INFO, "an OCSP answer is there", log_str("name", name),
            log_u64("names", names));
        break;
    case ISSUER_UNSTAPLED:
        LOG(r->log, LOG_LEVEL_WARN, "there is no new OCSP answer, further tries follow",
            log_str("name", name), log_u64("names", names), log_str("reason", reason));
        return;
    case ISSUER_REVOKED:
        LOG(r->log, LOG_LEVEL_ERROR, "the authority has REVOKED a certificate: clients refuse it",
            log_str("name", name), log_u64("names", names), log_str("more", reason));
        break;
    case ISSUER_REFUSED:
        LOG(r->log, LOG_LEVEL_DEBUG, "a name is not wanted", log_str("name", name));
        return;
    case ISSUER_WARNING:
        LOG(r->log, LOG_LEVEL_WARN, "issuer", log_str("name", name), log_str("reason", reason));
        return;
    }
    const struct control_message m = {.kind = CONTROL_ISSUED, .fd = -1};
    enum err ignored = control_send(PROCESS_CHANNEL_FD, &m, -1);
    (void)ignored; /* without a supervisor the wait ends */
}

static enum err role_take_task(struct issuer_role *r)
{
    struct control_message m;
    struct buf bytes;
    int fd = -1;
    enum err e = control_recv(PROCESS_CHANNEL_FD, true, &m, &fd);
    buf_init(&bytes, 0);
    if (!e && fd < 0) {
        e = ERR_SYNTAX;
    }
    if (!e) {
        e = file_read_memory(fd, &bytes);
    }
    if (!e) {
        e = task_read(&r->arena, buf_str(&bytes), &r->task);
    }
    store_wipe(&bytes);
    file_close(fd);
    return e;
}

static enum err role_drop_privileges(const struct issuer_role *r)
{
    if (geteuid() != 0) {
        return ERR_OK;
    }
    enum err e = r->task.user.n ? sandbox_become_user(r->task.user.p) : sandbox_drop_capabilities();
    return e == ERR_NOT_FOUND && r->task.user_is_default ? sandbox_drop_capabilities() : e;
}

static bool role_runs_programs(const struct task *t)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->sets[i].acme.dns.exec.n) {
            return true;
        }
    }
    return false;
}

/* Only one issuer works in a folder: the next of an upgrade waits for the last. */
static enum err role_prepare(struct issuer_role *r)
{
    char path[PATH_MAX];
    int lock;
    enum log_level level = edge_log_level((enum conf_log_level)r->task.log_level);
    enum err e = log_create(r->task.log, level, &r->log);
    if (!e) {
        e = role_drop_privileges(r);
    }
    if (!e && r->task.has_sandbox && !role_runs_programs(&r->task)) {
        enum err limited = sandbox_limit_calls();
        if (limited) {
            LOG(r->log, LOG_LEVEL_WARN, "system calls of the issuer are not limited",
                log_err(limited));
        }
    }
    if (!e) {
        e = file_make_directories(r->task.folder.p);
    }
    if (!e) {
        e = store_path(r->task.folder, "lock", "", path);
    }
    return e ? e : file_lock(path, &lock);
}

static void role_work(struct issuer_role *r, const struct issuer_io *io, struct stapler *stapler)
{
    int64_t next_s;
    do {
        demand_work(r->demand);
        next_s = issuer_work(&r->task, io);
        int64_t staple_s = next_s ? stapler_work(stapler) : 0;
        next_s = staple_s < next_s ? staple_s : next_s;
    } while (next_s && role_wait_for(r, next_s, true));
}

int issuer_run(void)
{
    struct stapler *stapler = NULL;
    static struct issuer_role role;
    struct issuer_role *r = &role;
    const struct issuer_io io = {r, role_now_s, role_send, role_wait, role_on_event};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* a Ctrl-C reaches the whole group; the supervisor decides */
    arena_init(&r->arena, 4096, 0);
    enum err e = role_take_task(r);
    if (!e) {
        e = role_prepare(r);
    }
    if (!e) {
        e = demand_open(&r->task, &io, &r->demand);
    }
    if (!e) {
        e = stapler_create(&r->task, &io, &stapler);
    }
    if (e) {
        fprintf(stderr, "sws: the issuer of certificates cannot work in " STR_FMT ": %s\n",
                STR_ARG(r->task.folder), err_text(e));
        return 1;
    }
    role_work(r, &io, stapler);
    stapler_destroy(stapler);
    demand_close(r->demand);
    web_client_destroy(r->client);
    log_destroy(r->log);
    arena_done(&r->arena);
    return 0;
}
