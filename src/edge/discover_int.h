/* SPDX-License-Identifier: Apache-2.0 */
/* discover.c holds the sources and tells what changed; discover_dns.c and discover_file.c find out
 * what their endpoints are. */
#pragma once

#include "base/arena.h"
#include "edge/balance.h"
#include "edge/discover.h"
#include "loop/loop.h"
#include "net/resolver.h"
#include "os/file_watch.h"

struct discover_source;

/* One name that is asked for. */
struct discover_name {
    struct discover_source *source;
    struct resolver_question question;
    struct resolver_service_question services_question;
    bool is_open;
    /* What goes into the members that come of it. */
    struct str scheme, host; /* of a URL; views of what lives as long as the site or the round */
    uint16_t port;
    uint32_t weight;
    bool is_backup;
    struct str zone;
    struct str url;
    struct discover_name *targets; /* of its SRV records, in the arena of the round */
    size_t target_count;
};

/* One backend. */
struct discover_source {
    struct list link;
    struct discover *discover;
    struct upstream *upstream;
    struct timer timer; /* of the next round */
    /* The round under way. */
    struct arena arena;
    struct member members[BALANCE_ENDPOINTS_MAX];
    size_t count;
    bool is_too_long;
    bool is_failed; /* the last list stays */
    unsigned open_count;
    struct discover_name *names; /* in the arena */
    size_t name_count;
    uint64_t good_ms; /* the last round that found anything */
    bool is_said;     /* that nothing was found */
    /* A file. */
    struct file_watch *watch;
    struct loop_watch ready;
};

/* NULL: no memory, or no name server can be asked. */
struct resolver *discover_resolver(struct discover *d);
struct log *discover_log(const struct discover *d);
struct loop *discover_loop(const struct discover *d);

/* Adds a copy; one whose name is there is left out. False: no memory. */
bool discover_add(struct discover_source *s, const struct member *m);

/* The round is over. */
void discover_finish(struct discover_source *s);

/* Begin a round, which ends with discover_finish, maybe from within the call. */
void discover_dns_begin(struct discover_source *s);
void discover_file_begin(struct discover_source *s);

/* Ends what is under way. */
void discover_dns_cancel(struct discover_source *s);
void discover_file_cancel(struct discover_source *s);
