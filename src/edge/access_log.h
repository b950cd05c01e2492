/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "edge/request.h"

/* Writes the line of a finished exchange, where its route wants one. */
void access_log_request(struct pipeline *p, struct request *r, enum err cause);

/* A connection that was passed on. */
struct access_stream {
    struct str protocol; /* "TCP", "UDP" */
    const struct exchange_peer *peer;
    struct str name; /* where it was taken */
    struct str endpoint;
    uint64_t start_ns;
    uint64_t out_bytes; /* to the client */
    const char *error;  /* empty: it ended in order */
};

void access_log_stream(struct pipeline *p, const struct access_stream *stream);

/* Writes the line of a head that never became an exchange. */
void access_log_refused(struct pipeline *p, const struct exchange_peer *peer, const char *reason,
                        uint16_t status);
