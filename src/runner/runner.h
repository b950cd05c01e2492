/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the processes that a configuration names: starts their instances, watches them, starts them
 * again when they end, and lets others take their place without a moment in which none is ready.
 * Whoever owns it passes on what happens: new settings, ended children, instances that the edge
 * needs no more. Of one loop.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "conf/settings.h"
#include "log/log.h"
#include "loop/loop.h"

struct runner;

struct runner_options {
    struct log *log;
    struct loop *loop;
    const char *directory; /* for sockets; must exist; NULL: there is none */
    gid_t edge_gid;        /* of whoever connects to them */
    const char *cgroup_root;
    const char *cgroup_own;
    bool goes_on; /* with what runner_restore is told; else what is left in our cgroups ends */
    void (*on_change)(void *context);  /* the report is another one now; once a turn at most */
    void (*on_stopped)(void *context); /* no instance is left behind runner_finish or runner_stop */
    void *context;
};

/* ERR_NOMEM. Texts of the options must live on. */
enum err runner_create(const struct runner_options *options, struct runner **ret_runner) MUST_CHECK;

/* Kills what still runs; NULL is a no-op. */
void runner_destroy(struct runner *r);

/* Makes the processes those of `s`, which is read only now. What a running instance was started
 * with and is the same stays; where it differs others are started, and take over once they are
 * ready. ERR_NOMEM: some of it may not be done. */
enum err runner_apply(struct runner *r, const struct settings *s) MUST_CHECK;

/* Other instances take the place of those of `process`, if they become ready. ERR_NOT_FOUND. */
enum err runner_restart(struct runner *r, struct str process) MUST_CHECK;

/* The edge has no request at instance `id` any more. */
void runner_idle(struct runner *r, uint64_t id);

/* Another edge took over: what the one before it has at an instance, nobody tells. */
void runner_edge_changed(struct runner *r);

/* A child may have ended. */
void runner_reap(struct runner *r);

/* Ends all: when their requests are done, and at once. */
void runner_finish(struct runner *r);
void runner_stop(struct runner *r);

/* Appends a report (report.h). */
void runner_report(const struct runner *r, struct buf *out);

/* Appends what another program needs to go on with the same children in this process, and keeps
 * their descriptors open for it, or no longer. */
void runner_save(struct runner *r, struct buf *out);
void runner_keep_descriptors(const struct runner *r, bool are_kept);

/* Goes on with what was saved; right behind runner_create. ERR_SYNTAX, ERR_NOMEM: it was not
 * understood, and the children must end. */
enum err runner_restore(struct runner *r, struct str saved) MUST_CHECK;
