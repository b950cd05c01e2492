/* SPDX-License-Identifier: Apache-2.0 */
/* Writes HTTP/1.1 heads (RFC 9112 section 4). The bytes of names and values are checked here, so
 * that no filter or program behind us can split a response. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "http/head.h"

/*
 * Appends the status line, the fields in order and the empty line. Framing fields are the caller's
 * business. Well-known names are written in their usual letter case.
 * ERR_SYNTAX: a name that is no token, a control character in a value, or a status that is not 200
 * to 599; ERR_NOMEM: no memory, or past out->bytes_max. Nothing is appended on an error.
 */
enum err h1_write_response(struct buf *out, const struct response_head *head) MUST_CHECK;

/* As above for an interim response: status 100 to 199, `fields` NULL for none (100) or, for 103,
 * usually Link; 101 ends HTTP on the connection. */
enum err h1_write_interim(struct buf *out, uint16_t status,
                          const struct http_fields *fields) MUST_CHECK;

/* Appends `fields` as lines, without the empty line. Errors as above. */
enum err h1_write_fields(struct buf *out, const struct http_fields *fields) MUST_CHECK;

/*
 * Appends a request line for `target` and the fields in order, without the empty line. `method` is
 * a token, `target` visible ASCII. Errors as above.
 */
enum err h1_write_request(struct buf *out, struct str method, struct str target,
                          const struct http_fields *fields) MUST_CHECK;
