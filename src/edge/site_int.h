/* SPDX-License-Identifier: Apache-2.0 */
/* How a site is made, in its parts. */
#pragma once

#include "edge/site.h"

struct site_builder {
    struct site *site;
    const struct site *before; /* NULL: none */
    struct diag_list *diags;
    uint32_t next_id;
    size_t upstream_room;
    size_t host_upstreams; /* the first of the host that is being made */
};

/* ERR_CONFIG, and says so of the key. */
enum err site_fault(struct site_builder *b, const struct conf_object *object, const char *key,
                    const char *sentence) MUST_CHECK;

/* site_backends.c: makes those of settings.backends, before any host. ERR_CONFIG, ERR_NOMEM. */
enum err site_build_named(struct site_builder *b) MUST_CHECK;

/* The same: those of settings.streams, behind all hosts. ERR_CONFIG, ERR_NOMEM. */
enum err site_build_streams(struct site_builder *b) MUST_CHECK;

/* The same: gives a route its backend. ERR_CONFIG, ERR_NOMEM. */
enum err site_build_backend(struct site_builder *b, struct site_route *r) MUST_CHECK;
