/* SPDX-License-Identifier: Apache-2.0 */
#include "net/exchange.h"

#include "base/assert.h"
#include "base/mem.h"
#include "os/file.h"

struct exchange_file *exchange_file_create(int fd)
{
    struct exchange_file *f = mem_alloc(sizeof(*f));
    if (f) {
        *f = (struct exchange_file){.ref_count = 1, .fd = fd};
    }
    return f;
}

struct exchange_file *exchange_file_ref(struct exchange_file *f)
{
    f->ref_count++;
    return f;
}

void exchange_file_unref(struct exchange_file *f)
{
    if (f && --f->ref_count == 0) {
        file_close(f->fd);
        mem_free(f);
    }
}

void exchange_ready_done(struct exchange_ready *r)
{
    chunk_unref(r->body);
    chunk_unref(r->encoded);
    r->body = NULL;
    r->encoded = NULL;
    r->is_checked = false;
}

void exchange_serve(struct exchange *x, const struct exchange_service *service, void *state)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    x->service = service;
    x->state = state;
}

void exchange_read_body(struct exchange *x)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    x->protocol->read_body(x);
}

enum err exchange_respond(struct exchange *x, const struct response_head *head, uint64_t body_bytes)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    ASSERT(x->phase == EXCHANGE_OPEN);
    enum err e = x->protocol->respond(x, head, body_bytes);
    if (!e) {
        x->phase = EXCHANGE_RESPONDED;
        x->status = head->status;
        x->left_bytes = body_bytes;
        /* RFC 9110 6.4.1: 204 and 304 never have content, whatever the service offers. */
        x->is_head_only = x->is_head_only || !http_status_has_content(head->status);
    }
    return e;
}

void exchange_send_interim(struct exchange *x, uint16_t status, const struct http_fields *fields)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    ASSERT(x->phase == EXCHANGE_OPEN && status > 101 && status < 200);
    if (x->protocol->send_interim) {
        x->protocol->send_interim(x, status, fields);
    }
}

enum err exchange_respond_ready(struct exchange *x, struct exchange_ready *ready)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    ASSERT(x->phase == EXCHANGE_OPEN);
    enum err e = x->protocol->respond_ready(x, ready);
    if (!e) {
        x->status = ready->status;
        x->sent_bytes = x->is_head_only ? 0 : ready->body_bytes;
        x->left_bytes = 0;
        x->phase = EXCHANGE_FINISHED;
        x->protocol->finish(x);
    }
    return e;
}

static void exchange_count(struct exchange *x, uint64_t n)
{
    ASSERT(x->phase == EXCHANGE_RESPONDED);
    if (x->left_bytes != EXCHANGE_LENGTH_UNKNOWN) {
        ASSERT(n <= x->left_bytes);
        x->left_bytes -= n;
    }
    if (!x->is_head_only) {
        x->sent_bytes += n;
    }
}

enum err exchange_send_chunk(struct exchange *x, struct chunk *c, size_t offset, size_t n)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    ASSERT(offset <= c->n && n <= c->n - offset);
    if (n == 0) {
        return ERR_OK;
    }
    enum err e = x->is_head_only ? ERR_OK : x->protocol->send_chunk(x, c, offset, n);
    if (!e) {
        exchange_count(x, n);
    }
    return e;
}

enum err exchange_send_bytes(struct exchange *x, struct str bytes)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    if (bytes.n == 0) {
        return ERR_OK;
    }
    enum err e = x->is_head_only ? ERR_OK : x->protocol->send_bytes(x, bytes);
    if (!e) {
        exchange_count(x, bytes.n);
    }
    return e;
}

enum err exchange_send_file(struct exchange *x, struct exchange_file *f, uint64_t offset,
                            uint64_t n)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    if (n == 0) {
        return ERR_OK;
    }
    enum err e = x->is_head_only ? ERR_OK : x->protocol->send_file(x, f, offset, n);
    if (!e) {
        exchange_count(x, n);
    }
    return e;
}

enum err exchange_send_trailers(struct exchange *x, const struct http_fields *trailers)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    ASSERT(x->phase == EXCHANGE_RESPONDED);
    for (unsigned i = 0; i < trailers->n; i++) {
        if (http_field_is_forbidden_in_trailer((enum http_field_id)trailers->v[i].id)) {
            return ERR_SYNTAX;
        }
    }
    return x->is_head_only ? ERR_OK : x->protocol->send_trailers(x, trailers);
}

void exchange_finish(struct exchange *x)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    ASSERT(x->phase == EXCHANGE_RESPONDED);
    x->phase = EXCHANGE_FINISHED;
    if (x->left_bytes != 0 && x->left_bytes != EXCHANGE_LENGTH_UNKNOWN && !x->is_head_only) {
        /* Fewer bytes than announced: only a reset tells the client so. */
        x->protocol->reset(x, ERR_EOF);
        return;
    }
    x->protocol->finish(x);
}

void exchange_reset(struct exchange *x, enum err cause)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    x->phase = EXCHANGE_FINISHED;
    x->protocol->reset(x, cause);
}

enum err exchange_tunnel(struct exchange *x, struct str protocol, const struct http_fields *fields)
{
    ASSERT_MAGIC(x, EXCHANGE_MAGIC);
    ASSERT(x->phase == EXCHANGE_OPEN);
    if (!x->protocol->tunnel || x->upgrade.n == 0) {
        return ERR_UNSUPPORTED;
    }
    enum err e = x->protocol->tunnel(x, protocol, fields);
    if (!e) {
        x->phase = EXCHANGE_RESPONDED;
        x->status = x->protocol->version < HTTP_VERSION_20 ? 101 : 200;
        x->left_bytes = EXCHANGE_LENGTH_UNKNOWN;
        x->is_head_only = false;
    }
    return e;
}

void exchange_drain(struct exchange *x)
{
    if (x->service && x->service->on_drain) {
        x->service->on_drain(x);
    }
}

size_t exchange_room(const struct exchange *x)
{
    return x->protocol->room(x);
}

enum err exchange_answer(struct exchange *x, const struct response_head *head, struct str body)
{
    enum err e = exchange_respond(x, head, body.n);
    if (!e && body.n) {
        e = exchange_send_bytes(x, body);
    }
    if (e) {
        exchange_reset(x, e);
        return e;
    }
    exchange_finish(x);
    return ERR_OK;
}
