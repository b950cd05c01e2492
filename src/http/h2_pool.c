/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h2_pool.h"

#include "http/h2_session_int.h"

void h2_pool_init(struct h2_pool *p)
{
    slab_init(&p->streams, sizeof(struct h2_stream), 0);
    buf_init(&p->scratch, 0);
}

void h2_pool_done(struct h2_pool *p)
{
    slab_done(&p->streams);
    buf_done(&p->scratch);
}
