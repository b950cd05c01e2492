/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"
#include "http/date.h"
#include "http/mux_int.h"

static void mux_block_add(struct mux_block *b, const struct mux_field *f)
{
    ASSERT(b->n < COUNT_OF(b->v));
    b->v[b->n] = *f;
    b->v[b->n].value.p = f->value.p ? f->value.p : "";
    b->n++;
}

void mux_block_add_known(struct mux_block *b, enum http_field_id id, struct str value)
{
    const struct mux_field f = {http_field_name(id), value, (uint16_t)id, true};
    mux_block_add(b, &f);
}

void mux_block_start(struct mux_block *b, uint16_t status)
{
    b->n = 0;
    b->status[0] = (char)('0' + status / 100);
    b->status[1] = (char)('0' + status / 10 % 10);
    b->status[2] = (char)('0' + status % 10);
    const struct mux_field f = {STR(":status"), str_make(b->status, sizeof(b->status)),
                                HTTP_FIELD_OTHER, true};
    mux_block_add(b, &f);
}

static struct str mux_length_text(uint64_t length, char *text, size_t at)
{
    size_t end = at;
    do {
        text[--at] = (char)('0' + length % 10);
        length /= 10;
    } while (length);
    return str_make(text + at, end - at);
}

void mux_block_add_length(struct mux_block *b, uint64_t n)
{
    mux_block_add_known(b, HTTP_FIELD_CONTENT_LENGTH,
                        mux_length_text(n, b->length, sizeof(b->length)));
}

enum err mux_block_add_fields(struct mux_block *b, const struct http_fields *fields,
                              bool is_checked, struct arena *arena)
{
    for (unsigned i = 0; i < fields->n; i++) {
        const struct http_field *f = &fields->v[i];
        if (!is_checked && !http_field_value_is_valid(f->value)) {
            return ERR_SYNTAX;
        }
        if (f->id == HTTP_FIELD_OTHER) {
            if (!http_token_is_valid(f->name)) {
                return ERR_SYNTAX;
            }
            struct str name = arena_str(arena, f->name);
            if (!name.p) {
                return ERR_NOMEM;
            }
            char *p = (char *)(uintptr_t)name.p;
            for (size_t k = 0; k < name.n; k++) {
                p[k] = ascii_lower(p[k]);
            }
            const struct mux_field other = {name, f->value, HTTP_FIELD_OTHER, false};
            mux_block_add(b, &other);
        } else if (!http_field_is_hop_by_hop((enum http_field_id)f->id) ||
                   f->id == HTTP_FIELD_PROXY_AUTHENTICATE) {
            mux_block_add_known(b, (enum http_field_id)f->id, f->value);
        }
    }
    return ERR_OK;
}

enum err mux_block_fill(struct mux_block *b, const struct mux_response *response,
                        struct arena *arena)
{
    const struct response_head *head = response->head;
    if (head->status < 200 || head->status > 599) {
        return ERR_SYNTAX;
    }
    mux_block_start(b, head->status);
    if (response->date) {
        mux_block_add_known(b, HTTP_FIELD_DATE, str_make(response->date, HTTP_DATE_BYTES));
    }
    if (http_status_has_content(head->status) && response->body_bytes != MUX_LENGTH_UNKNOWN) {
        mux_block_add_length(b, response->body_bytes);
    }
    return mux_block_add_fields(b, &head->fields, response->is_checked, arena);
}

enum err mux_trailers(struct mux_stream *stream, const struct http_fields *trailers)
{
    struct http_field *v = arena_alloc(&stream->arena, (trailers->n + 1) * sizeof(*v));
    struct mux_block block;
    block.n = 0;
    enum err e = v ? mux_block_add_fields(&block, trailers, false, &stream->arena) : ERR_NOMEM;
    if (e) {
        return e;
    }
    http_fields_init(&stream->ending, v, trailers->n);
    for (size_t i = 0; i < block.n && !e; i++) {
        struct str value = arena_str(&stream->arena, block.v[i].value);
        e = value.p ? http_fields_add(&stream->ending, block.v[i].name, value) : ERR_NOMEM;
    }
    return e;
}
