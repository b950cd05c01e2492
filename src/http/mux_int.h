/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "http/mux.h"

/* Takes one field of a head or of trailers; costs are counted before anything is kept. The engine
 * below has checked names and values, the order and number of pseudo fields, and that no field
 * belongs to the connection. */
void mux_head_field(struct mux_session *s, struct mux_stream *stream, struct str name,
                    struct str value, bool is_name_static);

/* All fields are there. */
void mux_head_finish(struct mux_session *s, struct mux_stream *stream);

/* A stream object of the owner's, made ready; NULL: it has none. */
struct mux_stream *mux_stream_begin(struct mux_session *s, int64_t id, enum http_version version);

/* The last event; the stream is gone afterwards. */
void mux_stream_gone(struct mux_session *s, struct mux_stream *stream, enum err cause);
