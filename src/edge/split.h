/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are shared out among several backends. */
#pragma once

#include "edge/request.h"

/* Made for a route; lives in the arena of `site`, whose backends it names. ERR_NOMEM. */
enum err split_create(struct site *site, const struct split_list *list,
                      struct split **ret_split) MUST_CHECK;

/* The backend of this request; NULL: the built-in echo. */
struct upstream *split_pick(const struct split *split, const struct request *r);
