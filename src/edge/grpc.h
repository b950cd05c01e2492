/* SPDX-License-Identifier: Apache-2.0 */
/* What gRPC asks of a server beside HTTP: its errors are a status of its own behind a 200. */
#pragma once

#include "edge/request.h"

/* The content of the request is that of gRPC itself (gRPC-Web is HTTP like any other). */
bool grpc_is_asked(const struct request_head *head);

/* Answers with the status of gRPC for the HTTP status `status`, without content. */
void grpc_fail(struct request *r, uint16_t status);
