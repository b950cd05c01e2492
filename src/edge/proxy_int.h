/* SPDX-License-Identifier: Apache-2.0 */
/* What is passed on and what is not (RFC 9110 7.6), and what is added on the way. */
#pragma once

#include "edge/request.h"
#include "edge/upstream.h"

#define PROXY_KEY_BYTES 24 /* of Sec-WebSocket-Key */

/* A request without content says nothing of it, but for those whose content is their point (RFC
 * 9110 8.6). */
bool proxy_has_body(const struct exchange *x);

/* The fields of the request for the upstream, at most HTTP_FIELDS_MAX; text is of the request, the
 * site or the arena of the exchange. `websocket_key` empty: no WebSocket. ERR_LIMIT: too many;
 * ERR_NOMEM. */
enum err proxy_request_fields(struct request *r, const struct upstream *u,
                              const struct upstream_endpoint *endpoint, struct str websocket_key,
                              struct http_fields *fields) MUST_CHECK;

/* The fields of an answer for the client. `version`: what it came by; `is_switch`: of a 101. Errors
 * as above. */
enum err proxy_response_fields(const struct request *r, const struct http_fields *from,
                               enum http_version version, bool is_switch,
                               struct http_fields *fields) MUST_CHECK;

/* Trailers, in either direction, and the fields of an interim answer. Errors as above. */
enum err proxy_trailers(const struct http_fields *from, struct http_fields *fields) MUST_CHECK;

/* What the client says of the endpoint it had. */
void proxy_read_sticky(const struct request *r, const struct upstream *u, struct upstream_use *use);

/* Tells the client which endpoint it had, where backend.sticky asks for it and the client did not
 * say so itself. ERR_LIMIT, ERR_NOMEM. */
enum err proxy_add_sticky(const struct request *r, const struct upstream *u,
                          const struct upstream_use *use, struct http_fields *fields) MUST_CHECK;

/* What a connection for this client begins with: `version` of the PROXY protocol. ERR_NOMEM. */
enum err proxy_greeting(struct exchange *x, unsigned version, struct str *ret_text) MUST_CHECK;

/* The key of the request for `backend.hash`. */
uint64_t proxy_hash_key(const struct request *r, struct str rule);
