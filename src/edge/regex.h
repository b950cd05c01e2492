/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions of the configuration: compiled once, matched with bounded steps and memory
 * on any loop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct regex;

/* ERR_NOMEM; ERR_SYNTAX fills `reterr_text` with a sentence and `*reterr_at` with the offset. */
enum err regex_create(struct str pattern, struct regex **ret_regex, char reterr_text[160],
                      size_t *reterr_at) MUST_CHECK;
void regex_destroy(struct regex *r);

/* Looks for `r` in `subject`; a dot matches every byte. ERR_NOT_FOUND: it does not match;
 * ERR_LIMIT: matching took too much, and ERR_NOMEM: the caller must not take that for a no. */
enum err regex_find(const struct regex *r, struct str subject) MUST_CHECK;
