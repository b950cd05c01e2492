/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that clients bring and that shall get a certificate: from the handshake in a worker to the
 * issuer. What comes here is not asked for by people alone, so everything is bounded: a worker
 * passes on a name once a minute and one name a second, and what is under way fits into a few
 * places that all workers share.
 */
#include <string.h>

#include "app/edge_int.h"
#include "base/hash.h"
#include "issuer/demand.h"
#include "os/file.h"
#include "os/process.h"

#define AGAIN_MS 60000u
#define TOKEN_MS 1000u
#define TOKENS_MAX 8u

/* A token a second. */
static bool worker_may_demand(struct worker_demands *d, uint64_t now_ms)
{
    uint64_t earned = (now_ms - d->at_ms) / TOKEN_MS;
    if (earned) {
        d->tokens = earned > TOKENS_MAX - d->tokens ? TOKENS_MAX : d->tokens + (unsigned)earned;
        d->at_ms = now_ms;
    }
    bool has_token = d->tokens != 0;
    d->tokens -= has_token;
    return has_token;
}

static struct edge_demand *edge_take_demand(struct edge *e)
{
    for (size_t i = 0; i < EDGE_DEMANDS_MAX; i++) {
        bool is_free = false;
        if (atomic_compare_exchange_strong(&e->demands[i].is_used, &is_free, true)) {
            return &e->demands[i];
        }
    }
    return NULL;
}

void worker_on_demand(void *worker, struct str name)
{
    struct worker *w = worker;
    uint64_t now_ms = loop_now_ms(w->loop), mark = hash_str(name) | 1;
    struct demanded_name *known = &w->demands.names[mark % WORKER_DEMANDED_MAX];
    if (known->mark == mark && now_ms < known->until_ms) {
        return;
    }
    struct edge_demand *demand =
        worker_may_demand(&w->demands, now_ms) ? edge_take_demand(w->edge) : NULL;
    if (!demand) {
        metrics_add(w->pipeline.metrics, METRICS_DEMANDS_DROPPED, 1);
        return;
    }
    *known = (struct demanded_name){mark, now_ms + AGAIN_MS};
    memcpy(demand->name, name.p, name.n);
    demand->name_bytes = name.n;
    metrics_add(w->pipeline.metrics, METRICS_DEMANDS, 1);
    if (loop_post(w->edge->loop, edge_on_demand, w->edge, (uint64_t)(demand - w->edge->demands)) !=
        ERR_OK) {
        atomic_store(&demand->is_used, false);
    }
}

static enum err edge_send_demand(const struct site_host *host, struct str name)
{
    const struct control_message m = {.kind = CONTROL_DEMAND, .fd = -1};
    struct buf text;
    int fd = -1;
    buf_init(&text, DEMAND_MESSAGE_BYTES_MAX);
    demand_write(name, &host->settings->ssl.acme, &text);
    enum err err = text.is_failed ? ERR_NOMEM : file_in_memory(buf_str(&text), &fd);
    if (!err) {
        err = control_send(PROCESS_CHANNEL_FD, &m, fd);
        file_close(fd);
    }
    buf_done(&text);
    return err;
}

void edge_on_demand(void *edge, uint64_t index)
{
    struct edge *e = edge;
    struct edge_demand *demand = &e->demands[index];
    struct str name = str_make(demand->name, demand->name_bytes);
    const struct site_host *host = site_find_host(e->site, name);
    if (host && !e->is_draining && site_tls_is_on_demand(&host->tls, name)) {
        enum err err = edge_send_demand(host, name);
        if (err) {
            LOG(e->log, LOG_LEVEL_ERROR, "a name cannot be passed on to the issuer",
                log_str("name", name), log_err(err));
        }
    }
    atomic_store(&demand->is_used, false);
}
