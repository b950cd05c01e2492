/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/mux.h"

/* A field as it stands in a header block. */
struct mux_field {
    struct str name;
    struct str value;
    uint16_t id;     /* of http/field.h; HTTP_FIELD_OTHER for pseudo fields too */
    bool is_lasting; /* the name is ours and stays */
};

/* Takes one field of a head or of trailers; costs are counted before anything is kept. Whoever read
 * the block has checked names and values, the order and number of pseudo fields, and that no field
 * belongs to the connection. */
void mux_head_field(struct mux_session *s, struct mux_stream *stream, const struct mux_field *f);

/* A second head begins: trailers. A stream that CONNECT opened carries bytes only (RFC 9113 8.5,
 * RFC 9114 4.4) and is reset. */
void mux_head_begin_trailers(struct mux_session *s, struct mux_stream *stream);

/* All fields are there. */
void mux_head_finish(struct mux_session *s, struct mux_stream *stream);

/* Joins a zeroed stream object to the session. */
void mux_stream_init(struct mux_session *s, struct mux_stream *stream, int64_t id,
                     enum http_version version);

/* A stream object of the owner's, made ready; NULL: it has none. */
struct mux_stream *mux_stream_begin(struct mux_session *s, int64_t id, enum http_version version);

/* The last event; the stream is gone afterwards. */
void mux_stream_gone(struct mux_session *s, struct mux_stream *stream, enum err cause);

/* A header block to be sent. */
#define MUX_OWN_FIELDS 3 /* status, date, length; TE and length of a request */
struct mux_block {
    size_t n;
    char status[3];
    char length[20];
    struct mux_field v[HTTP_FIELDS_MAX + MUX_OWN_FIELDS];
};

void mux_block_add_known(struct mux_block *b, enum http_field_id id, struct str value);
void mux_block_add_length(struct mux_block *b, uint64_t n); /* Content-Length; once */

/* A block with a status alone. */
void mux_block_start(struct mux_block *b, uint16_t status);

/* The head of an answer. Names of the service are made lower case in `arena`; fields of one
 * connection are left out. ERR_SYNTAX, ERR_NOMEM. */
enum err mux_block_fill(struct mux_block *b, const struct mux_response *response,
                        struct arena *arena) MUST_CHECK;
enum err mux_block_add_fields(struct mux_block *b, const struct http_fields *fields,
                              bool is_checked, struct arena *arena) MUST_CHECK;
