/* SPDX-License-Identifier: Apache-2.0 */
/* What the issuer asks of others on the web, and what they answer. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

enum web_method { WEB_GET, WEB_HEAD, WEB_POST };

struct web_request {
    enum web_method method;
    struct str url;
    struct str body;          /* of a POST */
    const char *type;         /* its media type */
    const char *secret_field; /* name of a field more, */
    struct str secret;        /* and its value; empty: none */
    struct str ca_pem;        /* whom to trust; empty: as the system does */
    bool may_be_plain;        /* http:// as well as https:// */
    unsigned timeout_ms;      /* for all of it; 0: the usual half minute */
};

struct web_answer {
    unsigned status;
    struct str body;
    struct str nonce;    /* Replay-Nonce; these three are empty where the field is absent */
    struct str location; /* Location */
    struct str retry_after;
};
