/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the head parser that the framing rules and the chunked decoder share. */
#pragma once

#include "http/h1_parse.h"

/*
 * Reads one field line including its CR LF at `*at`, which moves behind it. ERR_AGAIN when the line
 * is not complete, ERR_SYNTAX with the reason. Views of the input.
 */
enum err h1_field_line(const char **at, const char *end, struct str *ret_name,
                       struct str *ret_value, enum h1_reject *reterr_reason) MUST_CHECK;

/* Decides what follows from the fields of a complete head: the authority, the framing of the body,
 * the life of the connection. `repeated` has bit i set when the field of id i (below 64) came more
 * than once. H1_REJECT_NONE when all is well. */
enum h1_reject h1_framing_decide(struct h1_request *request, uint64_t repeated) MUST_CHECK;

static inline uint64_t h1_field_bit(enum http_field_id id)
{
    return id < 64 ? 1ULL << id : 0;
}
