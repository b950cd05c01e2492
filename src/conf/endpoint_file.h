/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of endpoints in files of their own, which change while the server runs. */
#pragma once

#include "conf/settings.h"

#define ENDPOINT_FILE_BYTES_MAX (1024u * 1024u)

/* Reads a text with one address a line (`#` begins a comment), or a YAML list of what `proxy`
 * takes. What comes back lives in `arena`; an empty text is an empty list. ERR_CONFIG:
 * `reterr_diags` says why; ERR_NOMEM. */
enum err endpoint_file_parse(struct arena *arena, const char *name, struct str text,
                             struct endpoint_list *ret_list,
                             struct diag_list *reterr_diags) MUST_CHECK;
