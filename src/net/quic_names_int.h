/* SPDX-License-Identifier: Apache-2.0 */
/* The connection ids of an endpoint: which link each of them leads to. */
#pragma once

#include "net/quic_endpoint.h"

struct quic_name;

struct quic_names {
    struct quic_name **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
};

/* ERR_NOMEM. */
enum err quic_names_init(struct quic_names *t) MUST_CHECK;

/* All of them were dropped before, with their links. */
void quic_names_done(struct quic_names *t);

/* NULL: the id leads nowhere. */
struct quic_link *quic_names_find(const struct quic_names *t, const struct quic_cid *cid);

/* `cid` leads to `l` from now on, whose list of names must be initialised. ERR_NOMEM. */
enum err quic_names_add(struct quic_names *t, struct quic_link *l,
                        const struct quic_cid *cid) MUST_CHECK;

/* One id of a link, or all of them, lead nowhere any more. */
void quic_names_drop(struct quic_names *t, struct quic_link *l, const uint8_t *bytes, size_t n);
void quic_names_drop_all(struct quic_names *t, struct quic_link *l);
