/* SPDX-License-Identifier: Apache-2.0 */
/* Request methods (RFC 9110 section 9, RFC 5789, and QUERY). Method names are case-sensitive. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* id, text, safe (RFC 9110 9.2.1), idempotent (9.2.2) */
#define HTTP_METHOD_TABLE(X)                                                                       \
    X(GET, "GET", true, true)                                                                      \
    X(HEAD, "HEAD", true, true)                                                                    \
    X(POST, "POST", false, false)                                                                  \
    X(PUT, "PUT", false, true)                                                                     \
    X(DELETE, "DELETE", false, true)                                                               \
    X(OPTIONS, "OPTIONS", true, true)                                                              \
    X(PATCH, "PATCH", false, false)                                                                \
    X(CONNECT, "CONNECT", false, false)                                                            \
    X(TRACE, "TRACE", true, true)                                                                  \
    X(QUERY, "QUERY", true, true)

enum http_method {
#define X(id, text, safe, idempotent) HTTP_##id,
    HTTP_METHOD_TABLE(X)
#undef X
    /* Any other token; its text stands in request_head.method_text. */
    HTTP_METHOD_OTHER,
    HTTP_METHOD_COUNT
};

/* The method named `s`, HTTP_METHOD_OTHER for anything else. */
enum http_method http_method_of(struct str s);

/* The text of `m`; "OTHER" for HTTP_METHOD_OTHER. Static. */
struct str http_method_text(enum http_method m);

/* False for HTTP_METHOD_OTHER in both. */
bool http_method_is_safe(enum http_method m);
bool http_method_is_idempotent(enum http_method m);
