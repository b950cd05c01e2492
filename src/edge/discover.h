/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows what says which endpoints a backend has: the addresses of names, SRV records, files. One
 * for the process, on the loop of its control thread. A list is told only where it changed; what
 * cannot be found out leaves the last one in force, names for an hour.
 */
#pragma once

#include "base/err.h"
#include "edge/members.h"

struct discover;
struct log;
struct loop;
struct site;

/* A backend has another list of endpoints. May not end the discovery or give it another site. */
typedef void (*discover_fn)(void *context, struct str backend, const struct member *list,
                            size_t count);

/* `loop` and `log` (may be NULL) outlive it. ERR_NOMEM. */
enum err discover_create(struct loop *loop, struct log *log, discover_fn on_list, void *context,
                         struct discover **ret_discover) MUST_CHECK;

/* NULL is a no-op. */
void discover_destroy(struct discover *d);

/* Follows what `site` asks for, and asks at once; takes a reference. ERR_NOMEM: some of its
 * backends are not followed. */
enum err discover_set_site(struct discover *d, struct site *site) MUST_CHECK;
