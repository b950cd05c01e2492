/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/3 connections of a server, above the endpoint of a loop. */
#pragma once

#include "net/quic_endpoint.h"

/* For quic_endpoint_config.on_open. */
struct quic_link *h3_conn_open(void *context, struct quic_endpoint *e,
                               const struct socket_address *remote);

size_t h3_conn_bytes(void);

#define H3_CLOSE_CODE 0x100u /* H3_NO_ERROR: the server goes away */
