/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "edge/request.h"

/* The backend that gives back what it gets, for tests of clients and of what lies between: a
 * request without a body as text or JSON, a body as it is and, with `TE: trailers`, its trailers,
 * the messages of a WebSocket, the UDP payloads of connect-udp (RFC 9298). */
void echo_handle(struct request *r);
