/* SPDX-License-Identifier: Apache-2.0 */
/* Where the program keeps what must outlive it: certificates and the local authority. */
#pragma once

#include <limits.h>

#include "base/err.h"
#include "base/str.h"

/* Once, before rights are given up: who we are then decides where the usual place is. */
void state_dir_start(void);

/* Writes the path of `name` in the directory that `configured` (pointer NULL: the usual place)
 * says. ERR_LIMIT: too long; ERR_NOT_FOUND: there is no home to keep it in. */
enum err state_dir_path(struct str configured, const char *name,
                        char ret_path[PATH_MAX]) MUST_CHECK;

/* Makes the directory, for `user` (empty: for whoever runs) alone. */
enum err state_dir_create(struct str configured, struct str user) MUST_CHECK;
