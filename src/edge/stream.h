/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of any protocol, passed on to an endpoint of a backend as they are: those of a
 * listener in `streams`, and TLS for the names of a host whose backend is tcp://.
 */
#pragma once

#include "edge/pipeline.h"
#include "net/flows.h"
#include "net/relay.h"

/* A socket of a stream that takes datagrams; its address is the context of stream_flows_service,
 * and the tag may change. */
struct stream_listener {
    struct pipeline *pipeline;
    unsigned tag;
};
extern const struct flows_service stream_flows_service;

/* As server_hooks.on_stream and on_name; `context` is the pipeline. The tag is the index of the
 * stream in the site. */
enum err stream_accept(void *context, unsigned tag, const struct relay_client *client) MUST_CHECK;
bool stream_reads_names(void *context);
bool stream_take_name(void *context, struct str name, const struct relay_client *client);
