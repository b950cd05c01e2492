/* SPDX-License-Identifier: Apache-2.0 */
/* How many instances of a process there are, and how others take their place. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/file.h"
#include "runner/runner_int.h"

#define INSTANCE_OF(at) CONTAINER_OF(at, struct instance, link)

enum err group_create(struct runner *r, struct spec *spec, struct group **ret_group)
{
    struct group *g = mem_zalloc(1, sizeof(*g));
    if (!g) {
        spec_unref(spec);
        return ERR_NOMEM;
    }
    g->runner = r;
    g->spec = spec;
    list_init(&g->instances);
    list_push_back(&r->groups, &g->link);
    *ret_group = g;
    return ERR_OK;
}

void group_destroy(struct group *g)
{
    ASSERT(list_is_empty(&g->instances));
    if (g->spec->socket_path.n) {
        enum err ignored = file_remove(g->spec->socket_path.p);
        (void)ignored;
    }
    list_remove(&g->link);
    spec_unref(g->spec);
    mem_free(g);
}

static unsigned group_count(const struct group *g, bool is_new, bool must_be_ready)
{
    unsigned count = 0;
    LIST_FOR_EACH(at, &g->instances)
    {
        const struct instance *i = INSTANCE_OF(at);
        count +=
            !i->is_retired && i->is_new == is_new && (!must_be_ready || i->state == INSTANCE_READY);
    }
    return count;
}

/* Of those that serve now, or of those that shall take over. */
static struct instance *group_find(const struct group *g, unsigned number, bool is_new)
{
    LIST_FOR_EACH(at, &g->instances)
    {
        struct instance *i = INSTANCE_OF(at);
        if (!i->is_retired && i->is_new == is_new && i->number == number) {
            return i;
        }
    }
    return NULL;
}

static void group_retire(struct group *g, bool is_new)
{
    LIST_FOR_EACH_SAFE(at, spare, &g->instances)
    {
        struct instance *i = INSTANCE_OF(at);
        if (!i->is_retired && i->is_new == is_new) {
            instance_retire(i, false);
        }
    }
}

/* Starts those that are missing. An instance that cannot be started is one that failed, so only
 * memory can be an error here. */
static enum err group_fill(struct group *g, bool is_new)
{
    for (unsigned number = 1; number <= g->spec->instance_count; number++) {
        struct instance *i;
        if (group_find(g, number, is_new)) {
            continue;
        }
        enum err e = instance_create(g, number, is_new, &i);
        if (e) {
            return e;
        }
        /* Started by its timer: a failure then has nobody in the middle of this list. */
        i->state = INSTANCE_WAITING;
        loop_timer_set(g->runner->options.loop, &i->timer, 0);
    }
    return ERR_OK;
}

static void group_trim(struct group *g)
{
    LIST_FOR_EACH_SAFE(at, spare, &g->instances)
    {
        struct instance *i = INSTANCE_OF(at);
        if (!i->is_retired && i->number > g->spec->instance_count) {
            instance_retire(i, false);
        }
    }
}

/* What runs with the settings as they are now goes by their other half too. */
static bool group_adopt(struct group *g)
{
    bool is_all = true;
    LIST_FOR_EACH(at, &g->instances)
    {
        struct instance *i = INSTANCE_OF(at);
        if (i->fingerprint == g->spec->fingerprint && i->spec != g->spec) {
            struct spec *old = i->spec;
            i->spec = spec_ref(g->spec);
            for (int k = 0; k < 2; k++) {
                i->outputs[k].source.process = i->spec->name;
                i->outputs[k].level = i->spec->log_level;
            }
            if (i->state == INSTANCE_STARTING && !str_eq(old->ready_path, i->spec->ready_path)) {
                probe_end(&i->probe);
                enum err e = instance_begin_probe(i);
                (void)e; /* its time runs out then */
            }
            /* The question of its probe is text of the old one. */
            i->probe.question.path = i->spec->ready_path;
            spec_unref(old);
        }
        is_all &= i->is_retired || i->is_new || i->fingerprint == g->spec->fingerprint;
    }
    return is_all;
}

static void group_end_roll(struct group *g, const char *fault)
{
    g->is_rolling = false;
    g->is_asked = false;
    if (fault) {
        snprintf(g->fault, sizeof(g->fault), "%s", fault);
        g->roll_failure_count++;
    } else {
        g->fault[0] = '\0';
        g->roll_count++;
    }
    runner_changed(g->runner);
}

enum err group_roll(struct group *g)
{
    LIST_FOR_EACH_SAFE(at, spare, &g->instances)
    {
        struct instance *i = INSTANCE_OF(at);
        if (!i->is_retired && i->is_new && i->fingerprint != g->spec->fingerprint) {
            instance_retire(i, true);
        }
    }
    g->is_rolling = true;
    LOG(g->runner->options.log, LOG_LEVEL_INFO, "a process is replaced",
        log_str("process", g->spec->name), log_u64("instances", g->spec->instance_count));
    enum err e = group_fill(g, true);
    group_settle(g); /* all that are wanted may be ready already */
    return e;
}

enum err group_apply(struct group *g, struct spec *spec)
{
    spec_unref(g->spec);
    g->spec = spec;
    g->is_removed = false;
    bool is_same = group_adopt(g);
    group_trim(g);
    if (!is_same) {
        return group_roll(g);
    }
    if (g->is_rolling && !g->is_asked) {
        /* The settings are again those of what serves. */
        group_retire(g, true);
        g->is_rolling = false;
    }
    return group_fill(g, false);
}

void group_remove(struct group *g)
{
    g->is_removed = true;
    g->is_rolling = false;
    group_retire(g, true);
    group_retire(g, false);
}

void group_on_failed_start(struct group *g, struct instance *i)
{
    if (!i->is_new || !g->is_rolling) {
        return;
    }
    LOG(g->runner->options.log, LOG_LEVEL_ERROR,
        g->is_asked ? "a process is not replaced, what ran before serves on"
                    : "a process cannot be replaced yet, what ran before serves on",
        log_str("process", g->spec->name), log_str("reason", str_of(i->fault)));
    if (g->is_asked) {
        group_end_roll(g, i->fault);
        group_retire(g, true);
    } else {
        g->roll_failure_count++;
        snprintf(g->fault, sizeof(g->fault), "%s", i->fault);
    }
}

static void group_take_over(struct group *g)
{
    group_retire(g, false);
    LIST_FOR_EACH(at, &g->instances)
    {
        INSTANCE_OF(at)->is_new = false;
    }
    group_end_roll(g, NULL);
    LOG(g->runner->options.log, LOG_LEVEL_INFO, "a process is replaced: the new instances serve",
        log_str("process", g->spec->name), log_u64("rolls", g->roll_count));
}

void group_settle(struct group *g)
{
    if (g->is_rolling) {
        unsigned ready = group_count(g, true, true);
        bool is_complete = ready >= g->spec->instance_count;
        /* Where what ran before does not serve, whoever is ready is better. */
        if (is_complete || (ready && group_count(g, false, true) == 0)) {
            group_take_over(g);
        }
    }
    struct runner *r = g->runner;
    if (list_is_empty(&g->instances) && (g->is_removed || r->is_ending)) {
        group_destroy(g);
        runner_changed(r);
    }
}
