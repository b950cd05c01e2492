/* SPDX-License-Identifier: Apache-2.0 */
/* Content negotiation (RFC 9110 section 12): codings and media types by weight. */
#pragma once

#include "base/err.h"
#include "http/field.h"

#define HTTP_QVALUE_MAX 1000

#define HTTP_CODING_IDENTITY (-1)
#define HTTP_CODING_REFUSED (-2) /* nothing offered is acceptable and neither is identity */

/* A weight (RFC 9110 12.4.2) in thousandths, 0 to 1000. ERR_SYNTAX. */
enum err http_qvalue_parse(struct str s, unsigned *ret_thousandths) MUST_CHECK;

/*
 * The index of the best of the `n` codings in `offered` (best first for the server, lower case;
 * identity is not among them), HTTP_CODING_IDENTITY or HTTP_CODING_REFUSED. The highest weight
 * wins, then the order of the server, identity last. Without the field: identity. `x-gzip` means
 * gzip. Elements that do not parse are ignored.
 */
int http_accept_encoding(const struct http_fields *fields, const struct str *offered, unsigned n);

/* The weight of a media type such as `text/html` (lower case, no parameters) under Accept: the most
 * specific range counts, parameters of ranges are ignored. 1000 without the field. */
unsigned http_accept_weight(const struct http_fields *fields, struct str media_type);

/* The index of the best of the `n` media types (first wins ties), or -1: none is acceptable. */
int http_accept_media_type(const struct http_fields *fields, const struct str *offered, unsigned n);
