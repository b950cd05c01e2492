/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that are not in the configuration and get a certificate when a client asks for them: each
 * only after a service of the user said yes (`server.tls.acme.ask`). A name that was allowed lies
 * in `<folder>/demand/<name>` and becomes one more set of the task; one that was not is remembered
 * for a while and costs no further question.
 */
#pragma once

#include "issuer/issuer.h"

#define DEMAND_NAMES_MAX 1000
#define DEMAND_MESSAGE_BYTES_MAX 8192u

struct demand;

/* Appends what the edge tells the issuer when a client asks for `name`. */
void demand_write(struct str name, const struct acme_settings *acme, struct buf *out);

/* Adds the names of before to the sets of `task`, whose array it takes over until demand_close.
 * `task` and `io` must live as long. ERR_NOMEM. */
enum err demand_open(struct task *task, const struct issuer_io *io,
                     struct demand **ret_demand) MUST_CHECK;
void demand_close(struct demand *d);

/* Takes such a message, for the next demand_work; beyond a few that wait it is dropped. */
void demand_take(struct demand *d, struct str message);

/* Asks about the names that wait, and gives up those that are never issued. Changes the sets of the
 * task: not while they are worked on. */
void demand_work(struct demand *d);

/* Whether there is something to do at once. */
bool demand_is_waiting(const struct demand *d);

/* Calls `on_name` for each name that was allowed, in no order. */
typedef void (*demand_name_fn)(void *context, struct str name);
void demand_each(struct str folder, demand_name_fn on_name, void *context);
