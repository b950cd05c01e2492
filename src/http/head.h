/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heads of requests and responses, the same for HTTP/1.0, 1.1, 2 and 3. All text is a view of
 * memory that the producer of the head owns (the read buffer or the arena of the exchange).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "http/field.h"
#include "http/method.h"
#include "http/status.h"

enum http_version {
    HTTP_VERSION_10 = 10,
    HTTP_VERSION_11 = 11,
    HTTP_VERSION_20 = 20,
    HTTP_VERSION_30 = 30
};

struct request_head {
    enum http_method method;
    uint8_t version;        /* enum http_version */
    bool has_query;         /* a `?` stood in the target, even with nothing behind it */
    struct str method_text; /* as sent */
    struct str target;      /* as sent; on HTTP/2 and 3 `:path`, or the authority for CONNECT */
    struct str scheme;      /* as sent in absolute form or `:scheme`; else empty */
    struct str authority;   /* host and port that rule: absolute form, else Host; may be empty
                             * on HTTP/1.0 */
    struct str path;        /* raw path: starts with `/`, or is `*`; empty for CONNECT. See target.h
                             * for the canonical one */
    struct str query;       /* without the `?` */
    struct str protocol;    /* `:protocol` of an extended CONNECT (RFC 8441), which has a path */
    struct http_fields fields;
};

struct response_head {
    uint16_t status;
    struct http_fields fields;
};
