/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/grpc.h"

#include "edge/request_id.h"

enum grpc_status {
    GRPC_UNKNOWN = 2,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16,
};

bool grpc_is_asked(const struct request_head *head)
{
    const struct str kind = STR("application/grpc");
    struct str type = http_fields_value(&head->fields, HTTP_FIELD_CONTENT_TYPE);
    if (!str_eq_ci(str_sub(type, 0, kind.n), kind)) {
        return false;
    }
    return type.n == kind.n || type.p[kind.n] == '+' || type.p[kind.n] == ';';
}

/* As gRPC's own mapping has it (doc/http-grpc-status-mapping.md), with 504, which says more here
 * than there, and what is too large. */
static enum grpc_status grpc_status_of(uint16_t status)
{
    switch (status) {
    case 400:
    case 431:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 413:
        return GRPC_RESOURCE_EXHAUSTED;
    case 429:
    case 502:
    case 503:
        return GRPC_UNAVAILABLE;
    case 504:
        return GRPC_DEADLINE_EXCEEDED;
    default:
        return GRPC_UNKNOWN;
    }
}

void grpc_fail(struct request *r, uint16_t status)
{
    struct http_field array[REQUEST_FIELDS_MAX];
    struct response_head head = {.status = 200};
    struct str phrase = http_status_reason(status);
    struct str code = arena_printf(&r->x->arena, "%d", (int)grpc_status_of(status));
    struct str text = arena_printf(&r->x->arena, "%u " STR_FMT, status, STR_ARG(phrase));
    http_fields_init(&head.fields, array, REQUEST_FIELDS_MAX);
    enum err e = code.p && text.p ? ERR_OK : ERR_NOMEM;
    e = e ? e : http_fields_add_id(&head.fields, HTTP_FIELD_CONTENT_TYPE, STR("application/grpc"));
    e = e ? e : http_fields_add(&head.fields, STR("grpc-status"), code);
    e = e ? e : http_fields_add(&head.fields, STR("grpc-message"), text);
    e = e ? e : http_fields_add_id(&head.fields, HTTP_FIELD_X_REQUEST_ID, request_id(r));
    e = e ? e : request_add_route_fields(r, &head.fields);
    if (e) {
        exchange_reset(r->x, e);
        return;
    }
    e = exchange_answer(r->x, &head, STR(""));
    (void)e; /* an answer that failed has reset the exchange */
}
