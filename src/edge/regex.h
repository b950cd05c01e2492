/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions of the configuration: compiled once, matched with bounded steps and memory
 * on any loop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct regex;

/* ERR_SYNTAX fills `reterr_text` with a sentence and `*reterr_at` with the offset. */
enum err regex_create(struct str pattern, struct regex **ret_regex, char reterr_text[160],
                      size_t *reterr_at) MUST_CHECK;
void regex_destroy(struct regex *r);

/* Whether `r` matches somewhere in `subject`. An expression that runs into its limits does not. */
bool regex_matches(const struct regex *r, struct str subject);
