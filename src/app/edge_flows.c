/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets of a worker that take the datagrams of streams. */
#include "app/edge_int.h"

#include "base/mem.h"
#include "edge/stream.h"

struct worker_flows {
    struct worker_flows *next;
    struct flows *flows;
    struct stream_listener listener; /* what the flows refer to */
    int fd;
    bool is_wanted;
};

void worker_listen_flows(struct worker *w, int fd, uint32_t stream)
{
    for (struct worker_flows *f = w->flows; f; f = f->next) {
        if (f->fd == fd) {
            f->listener.tag = stream - 1;
            f->is_wanted = true;
            return;
        }
    }
    struct worker_flows *f = mem_zalloc(1, sizeof(*f));
    enum err e = f ? ERR_OK : ERR_NOMEM;
    if (!e) {
        f->listener = (struct stream_listener){&w->pipeline, stream - 1};
        f->fd = fd;
        f->is_wanted = true;
        e = flows_create(w->server, fd, &stream_flows_service, &f->listener, &f->flows);
    }
    if (e) {
        LOG(w->edge->log, LOG_LEVEL_ERROR, "a worker cannot take datagrams",
            log_u64("worker", w->index), log_err(e));
        mem_free(f);
        return;
    }
    f->next = w->flows;
    w->flows = f;
}

void worker_unwant_flows(struct worker *w)
{
    for (struct worker_flows *f = w->flows; f; f = f->next) {
        f->is_wanted = w->server->is_draining;
    }
}

void worker_close_flows(struct worker *w, bool is_all)
{
    for (struct worker_flows **at = &w->flows; *at;) {
        struct worker_flows *f = *at;
        if (!is_all && f->is_wanted) {
            at = &f->next;
        } else {
            *at = f->next;
            flows_destroy(f->flows);
            mem_free(f);
        }
    }
}

void worker_rest_flows(struct worker *w)
{
    for (struct worker_flows *f = w->flows; f; f = f->next) {
        flows_rest(f->flows);
    }
}
