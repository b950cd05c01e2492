/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sws explain`: one request that nobody sent goes through the pipeline, which tells each decision
 * and its reason to whoever listens (request.h, REQUEST_NOTE). Everything up to an answer is what
 * the server does, files are looked up and answers made; only a backend is not asked: what it would
 * be sent is made and told.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct request;
struct site;

struct explain_request {
    struct str method;
    struct str host;           /* and port, as in Host */
    struct str target;         /* path and query */
    const char *const *fields; /* "Name: value" */
    size_t field_count;
    struct str ip;   /* of the peer, without port */
    uint8_t version; /* enum http_version: 11, 20 or 30 */
    bool is_tls;
};

/* Appends what would happen to the request, as lines of text or as one JSON object. ERR_SYNTAX:
 * `ip` is no address, or a field cannot be sent; ERR_NOMEM; ERR_IO: the kernel refuses an event
 * loop. */
enum err explain_run(struct site *site, const struct explain_request *request, bool is_json,
                     struct buf *out) MUST_CHECK;

/* Where notes go; text is copied. Notes of one phase that follow each other stand below it. */
struct explain;
void explain_note(struct explain *e, const char *phase, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* explain_backend.c: what the backend of the request would be asked, in place of asking it. */
void explain_backend(struct request *r);
