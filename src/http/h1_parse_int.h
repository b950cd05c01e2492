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

/* Reads field lines and the empty line behind them, appending to `fields`. `ret_repeated` has bit i
 * set when the field of id i (below 64) came more than once. Errors as above, and ERR_LIMIT past
 * `count_max` or the array. */
enum err h1_field_lines(const char **at, const char *end, unsigned count_max,
                        struct http_fields *fields, uint64_t *ret_repeated,
                        enum h1_reject *reterr_reason) MUST_CHECK;

/* Whether the bytes from `from` on can change the answer ERR_AGAIN: an empty line, or a line feed
 * without its carriage return. Saves parsing a slow head once per byte. */
bool h1_head_is_worth_parsing(const char *p, size_t n, size_t from);

/* Decides what follows from the fields of a complete head: the authority, the framing of the body,
 * the life of the connection. `repeated` as above. H1_REJECT_NONE when all is well. */
enum h1_reject h1_framing_decide(struct h1_request *request, uint64_t repeated) MUST_CHECK;

static inline uint64_t h1_field_bit(enum http_field_id id)
{
    return id < 64 ? 1ULL << id : 0;
}
