/* SPDX-License-Identifier: Apache-2.0 */
/* The conditions of a route beyond its path. */
#pragma once

#include "edge/request.h"

/* Which condition did not hold: "method", "address", "header", "query" or "regex", and of which
 * name; empty: it has none. */
struct match_miss {
    const char *condition;
    struct str name;
};

/* Whether methods, header fields, query, address and expression of the route's rule all hold.
 * ERR_NOT_FOUND: they do not, and `ret_miss` says which; ERR_LIMIT: the expression took too much to
 * tell. */
enum err match_route(const struct site_route *route, const struct request *r,
                     struct match_miss *ret_miss) MUST_CHECK;

/* Whether `address` (text, without port) lies in one of the blocks. */
bool match_address(const struct cidr_list *blocks, struct str address);

/* The address of the client: the last one of X-Forwarded-For that is not itself a trusted proxy,
 * where the peer is one; else the peer's. A view of `peer` or of the head. */
struct str match_client(const struct cidr_list *trusted, struct str peer,
                        const struct http_fields *fields);
