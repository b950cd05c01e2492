/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

/* Becomes the user `name` for good, with none of root's capabilities; a no-op without root.
 * ERR_NOT_FOUND: there is no such user. */
enum err sandbox_become_user(const char *name) MUST_CHECK;

/* Gives up root's capabilities for good and keeps the user. */
enum err sandbox_drop_capabilities(void) MUST_CHECK;

/* Keeps the user and, of root's capabilities, the one to read any file. */
enum err sandbox_keep_reading(void) MUST_CHECK;

/* Keeps the user and, of root's capabilities, those to start programs as other users, to end them,
 * and to give them files. */
enum err sandbox_keep_starting(void) MUST_CHECK;

/* From here on no new privileges, and system calls that a server has no use for (starting
 * programs, loading modules, tracing, mounting, ...) fail with EPERM. ERR_UNSUPPORTED: the kernel
 * has no seccomp. */
enum err sandbox_limit_calls(void) MUST_CHECK;
