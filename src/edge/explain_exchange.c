/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "edge/explain_int.h"

#define ROOM_BYTES (1024u * 1024u)

static struct explain_exchange *explain_of(struct exchange *x)
{
    return CONTAINER_OF(x, struct explain_exchange, x);
}

void explain_fields(struct explain *e, const char *phase, const struct http_fields *fields)
{
    for (unsigned i = 0; i < fields->n; i++) {
        explain_note(e, phase, STR_FMT ": " STR_FMT, STR_ARG(fields->v[i].name),
                     STR_ARG(fields->v[i].value));
    }
}

static void explain_answer(struct exchange *x, uint16_t status, const struct http_fields *fields,
                           uint64_t body_bytes)
{
    struct explain *e = explain_of(x)->explain;
    if (body_bytes == EXCHANGE_LENGTH_UNKNOWN) {
        explain_note(e, "answer", "%u", status);
    } else {
        explain_note(e, "answer", "%u, %llu bytes", status, (unsigned long long)body_bytes);
    }
    explain_fields(e, "answer", fields);
}

/* The request has no body that could come. */
static void explain_read_body(struct exchange *x)
{
    x->service->on_body_end(x);
}

static enum err explain_respond(struct exchange *x, const struct response_head *head,
                                uint64_t body_bytes)
{
    explain_answer(x, head->status, &head->fields, body_bytes);
    return ERR_OK;
}

static enum err explain_respond_ready(struct exchange *x, struct exchange_ready *ready)
{
    explain_answer(x, ready->status, &ready->fields, ready->body_bytes);
    return ERR_OK;
}

static enum err explain_send_chunk(struct exchange *x, struct chunk *c, size_t offset, size_t n)
{
    (void)x, (void)c, (void)offset, (void)n;
    return ERR_OK;
}

static enum err explain_send_bytes(struct exchange *x, struct str bytes)
{
    (void)x, (void)bytes;
    return ERR_OK;
}

static enum err explain_send_file(struct exchange *x, struct exchange_file *f, uint64_t offset,
                                  uint64_t n)
{
    (void)x, (void)f, (void)offset, (void)n;
    return ERR_OK;
}

static enum err explain_send_trailers(struct exchange *x, const struct http_fields *trailers)
{
    (void)x, (void)trailers;
    return ERR_OK;
}

static void explain_finish(struct exchange *x)
{
    explain_of(x)->is_ended = true;
}

static void explain_reset(struct exchange *x, enum err cause)
{
    struct explain_exchange *e = explain_of(x);
    e->is_ended = true;
    e->cause = cause;
    explain_note(e->explain, "answer", "none, the connection breaks: %s", err_text(cause));
}

static size_t explain_room(const struct exchange *x)
{
    (void)x;
    return ROOM_BYTES;
}

#define EXPLAIN_PROTOCOL(number)                                                                   \
    {                                                                                              \
        .version = (number), .read_body = explain_read_body, .respond = explain_respond,           \
        .respond_ready = explain_respond_ready, .send_chunk = explain_send_chunk,                  \
        .send_bytes = explain_send_bytes, .send_file = explain_send_file,                          \
        .send_trailers = explain_send_trailers, .finish = explain_finish, .reset = explain_reset,  \
        .room = explain_room,                                                                      \
    }

const struct exchange_protocol *explain_protocol(uint8_t version)
{
    static const struct exchange_protocol h1 = EXPLAIN_PROTOCOL(HTTP_VERSION_11);
    static const struct exchange_protocol h2 = EXPLAIN_PROTOCOL(HTTP_VERSION_20);
    static const struct exchange_protocol h3 = EXPLAIN_PROTOCOL(HTTP_VERSION_30);
    return version == HTTP_VERSION_30 ? &h3 : version == HTTP_VERSION_20 ? &h2 : &h1;
}
