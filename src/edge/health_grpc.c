/* SPDX-License-Identifier: Apache-2.0 */
/* grpc.health.v1.Health/Check (grpc/doc/health-checking.md): one message with the name of a
 * service, one answer that says SERVING, and the status of the call. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "edge/health_int.h"

#define FRAME_HEAD_BYTES 5 /* whether it is compressed, and its length */
#define FIELD_1_TEXT 0x0a  /* tags of Protocol Buffers: field 1, bytes; field 1, a number */
#define FIELD_1_NUMBER 0x08

enum serving_status {
    SERVING_UNKNOWN,
    SERVING,
    NOT_SERVING,
    SERVICE_UNKNOWN,
};

/* Those that a health service answers with, and the usual ones of who is none. */
static const char *grpc_status_name(struct str code)
{
    static const char *const names[] = {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    };
    unsigned n = 0;
    for (size_t i = 0; i < code.n; i++) {
        if (code.p[i] < '0' || code.p[i] > '9' || n >= COUNT_OF(names)) {
            return "no status that gRPC knows";
        }
        n = n * 10 + (unsigned)(code.p[i] - '0');
    }
    return code.n && n < COUNT_OF(names) ? names[n] : "no status that gRPC knows";
}

/* NULL: the call went well. `fields` NULL: none came. */
static const char *grpc_call_fault(const struct http_fields *fields, char text[HEALTH_REASON_BYTES])
{
    const struct http_field *status = fields ? http_fields_find(fields, STR("grpc-status")) : NULL;
    const struct http_field *message =
        status ? http_fields_find(fields, STR("grpc-message")) : NULL;
    if (!status) {
        return "gRPC: the answer has no status";
    }
    if (str_eq(status->value, STR("0"))) {
        return NULL;
    }
    struct str why = message ? str_sub(message->value, 0, 80) : STR("");
    snprintf(text, HEALTH_REASON_BYTES, "gRPC: %s%s" STR_FMT, grpc_status_name(status->value),
             why.n ? ": " : "", STR_ARG(why));
    return text;
}

/* The one message of the answer: nothing is skipped in it, because it has one field. */
static const char *grpc_message_fault(struct str body)
{
    static const char malformed[] = "gRPC: the answer is no HealthCheckResponse";
    if (body.n < FRAME_HEAD_BYTES || body.p[0] != 0) {
        return malformed;
    }
    struct str message = str_sub(body, FRAME_HEAD_BYTES, body.n);
    const unsigned char length[4] = {0, 0, 0, (unsigned char)message.n};
    if (message.n > 2 || memcmp(body.p + 1, length, sizeof(length)) != 0) {
        return malformed;
    }
    if (message.n == 0) {
        return "gRPC: the service says UNKNOWN"; /* 0 is not sent */
    }
    if (message.n != 2 || message.p[0] != FIELD_1_NUMBER) {
        return malformed;
    }
    switch (message.p[1]) {
    case SERVING_UNKNOWN:
        return "gRPC: the service says UNKNOWN";
    case SERVING:
        return NULL;
    case NOT_SERVING:
        return "gRPC: the service says NOT_SERVING";
    case SERVICE_UNKNOWN:
        return "gRPC: the service says SERVICE_UNKNOWN";
    default:
        return malformed;
    }
}

/* ---- the exchange ---- */

static void grpc_on_head(struct client_exchange *x, const struct response_head *head,
                         uint64_t body_bytes)
{
    struct health_probe *p = client_state(x);
    struct str type = http_fields_value(&head->fields, HTTP_FIELD_CONTENT_TYPE);
    char text[HEALTH_REASON_BYTES];
    (void)body_bytes;
    if (head->status != 200) {
        snprintf(text, sizeof(text), "status %u", head->status);
        health_exchange_end(p, text);
    } else if (!str_starts_with(type, STR("application/grpc"))) {
        health_exchange_end(p, "its answer is not gRPC");
    } else if (http_fields_find(&head->fields, STR("grpc-status"))) {
        /* Trailers alone: no message follows. */
        const char *fault = grpc_call_fault(&head->fields, text);
        health_exchange_end(p, fault ? fault : grpc_message_fault(STR("")));
    } else {
        client_read_body(x);
    }
}

static void grpc_on_body(struct client_exchange *x, struct str bytes)
{
    struct health_probe *p = client_state(x);
    bool is_long = bytes.n > HEALTH_BODY_BYTES_MAX - p->body.n;
    if (!is_long) {
        buf_add_str(&p->body, bytes);
    }
    if (is_long || p->body.is_failed) {
        health_exchange_end(p, is_long ? "gRPC: the answer is too long" : err_text(ERR_NOMEM));
    } else {
        client_read_body(x);
    }
}

static void grpc_on_end(struct client_exchange *x, const struct client_end *end)
{
    struct health_probe *p = client_state(x);
    char text[HEALTH_REASON_BYTES];
    p->exchange = NULL;
    if (end->fault) {
        health_exchange_failed(p, end);
        return;
    }
    const char *fault = grpc_call_fault(end->trailers, text);
    health_verdict(p, fault ? fault : grpc_message_fault(buf_str(&p->body)));
}

static void grpc_on_room(struct client_exchange *x)
{
    (void)x; /* the message was given at once */
}

static const struct client_service grpc_service = {
    .on_head = grpc_on_head,
    .on_body = grpc_on_body,
    .on_room = grpc_on_room,
    .on_end = grpc_on_end,
};

/* Returns the bytes of the frame that asks for `service`; empty: the whole server. */
static size_t grpc_write_question(struct str service,
                                  char out[FRAME_HEAD_BYTES + 3 + CHECK_SERVICE_BYTES_MAX])
{
    size_t n = FRAME_HEAD_BYTES;
    if (service.n) {
        out[n++] = FIELD_1_TEXT;
        if (service.n > 127) {
            out[n++] = (char)(service.n % 128 + 128);
            out[n++] = (char)(service.n / 128);
        } else {
            out[n++] = (char)service.n;
        }
        memcpy(out + n, service.p, service.n);
        n += service.n;
    }
    memset(out, 0, FRAME_HEAD_BYTES);
    out[3] = (char)((n - FRAME_HEAD_BYTES) / 256);
    out[4] = (char)((n - FRAME_HEAD_BYTES) % 256);
    return n;
}

static enum err grpc_begin(struct health_probe *p)
{
    char question[FRAME_HEAD_BYTES + 3 + CHECK_SERVICE_BYTES_MAX];
    char timeout[24];
    struct str service = p->settings->grpc;
    bool is_whole = !service.p || str_eq(service, STR("true"));
    size_t n = grpc_write_question(is_whole ? STR("") : service, question);
    struct http_field array[3];
    struct http_fields own;
    http_fields_init(&own, array, COUNT_OF(array));
    snprintf(timeout, sizeof(timeout), "%lldm", (long long)p->settings->timeout_ms);
    enum err e = http_fields_add_id(&own, HTTP_FIELD_CONTENT_TYPE, STR("application/grpc"));
    e = e ? e : http_fields_add_id(&own, HTTP_FIELD_TE, STR("trailers"));
    e = e ? e : http_fields_add(&own, STR("grpc-timeout"), str_of(timeout));
    struct client_request request = {.method = STR("POST"),
                                     .method_id = HTTP_POST,
                                     .target = STR("/grpc.health.v1.Health/Check"),
                                     .has_body = true,
                                     .body_bytes = CLIENT_LENGTH_UNKNOWN};
    e = e ? e : health_exchange_begin(p, &request, &own, &grpc_service);
    if (e) {
        return e;
    }
    e = client_send(p->exchange, str_make(question, n));
    e = e ? e : client_finish(p->exchange, NULL);
    if (e) {
        health_exchange_cancel(p);
    }
    return e;
}

const struct health_kind health_kind_grpc = {grpc_begin, health_exchange_cancel};
