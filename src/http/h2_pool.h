/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for the engine's small objects, shared by the sessions of one loop: each request takes and
 * gives back about a dozen. */
#pragma once

#include "base/slab.h"

#define H2_POOL_CLASSES 5 /* 64 to 1024 bytes */

struct h2_pool {
    struct slab slabs[H2_POOL_CLASSES];
};

void h2_pool_init(struct h2_pool *p);

/* Every session that used it must have ended. */
void h2_pool_done(struct h2_pool *p);
