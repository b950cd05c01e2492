/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "edge/file_cache.h"
#include "edge/request.h"

/* The handler of a route with a root: files, indexes, listings, fallback. */
void files_handle(struct request *r);

/* Answers with the content of the file `name` below the route's root and `status` (an error
 * page). ERR_NOT_FOUND: there is no such file, and nothing was answered. */
enum err files_answer_page(struct request *r, struct str name, uint16_t status) MUST_CHECK;

/* Whether some part of the name (without a leading slash) begins with a dot, .well-known as the
 * first one aside. */
bool files_is_hidden(struct str name);

/* Answers a GET or HEAD for a directory with its listing. */
void listing_answer(struct request *r, const struct file_entry *directory);
