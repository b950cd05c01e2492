/* SPDX-License-Identifier: Apache-2.0 */
/* What the HTTP/2 sessions of one loop share: memory for streams, and room to decode in. */
#pragma once

#include "base/buf.h"
#include "base/slab.h"

struct h2_pool {
    struct slab streams;
    struct buf scratch;
};

void h2_pool_init(struct h2_pool *p);

/* Every session that used it must have ended. */
void h2_pool_done(struct h2_pool *p);
