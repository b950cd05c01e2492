/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Active checks: asks each endpoint of the backends that want it, time and again, whether it is
 * well, and says so to its `struct endpoint`, which all loops read. One for the process, on the
 * loop of its control thread. Changes are logged once, with their reason.
 *
 * An endpoint that was there from the start is asked by requests until its first verdict, so that a
 * start refuses nobody; one that joins later waits for its first pass. The first verdict needs one
 * check; later ones as many in a row as `rise` and `fall` say.
 */
#pragma once

#include "base/err.h"

struct health;
struct log;
struct loop;
struct site;

/* Both outlive it; `log` may be NULL. ERR_NOMEM. */
enum err health_create(struct loop *loop, struct log *log, struct health **ret_health) MUST_CHECK;

/* Checks that are under way are broken off. NULL is a no-op. */
void health_destroy(struct health *h);

/* Checks what `site` has now: to be called with each new site, and when a list was published.
 * Takes a reference. Endpoints that are known go on where they are. ERR_NOMEM: those that are new
 * are not checked, and are asked as if they were well. */
enum err health_set_site(struct health *h, struct site *site) MUST_CHECK;
