/* SPDX-License-Identifier: Apache-2.0 */
/* The names a request goes by in logs, answers and further requests: those that the client gave,
 * else made when first asked for. Both live as long as the exchange; empty when memory ran out. */
#pragma once

#include "edge/request.h"

/* X-Request-ID. */
struct str request_id(struct request *r);

/* Trace id of W3C Trace Context, 32 hexadecimal digits. */
struct str request_trace_id(struct request *r);
