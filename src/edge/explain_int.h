/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange of `sws explain`: its answer is kept and told. */
#pragma once

#include "edge/explain.h"
#include "net/exchange.h"

struct explain_exchange {
    struct exchange x; /* first */
    struct explain *explain;
    bool is_ended;
    enum err cause; /* of its end */
};

/* The protocol of `version`. */
const struct exchange_protocol *explain_protocol(uint8_t version);

/* Tells fields, one a line. */
void explain_fields(struct explain *e, const char *phase, const struct http_fields *fields);
