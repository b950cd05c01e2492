/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "conf/settings.h"

/* Whether the processes of `s` could be started here: a diagnostic for each that could not. */
enum err runner_check(const struct settings *s, struct diag_list *reterr_diags) MUST_CHECK;

/* Calls `on_process` once for each process that `s` names. */
typedef enum err (*runner_process_fn)(void *context, const struct process_settings *p);
enum err runner_each_process(const struct settings *s, runner_process_fn on_process,
                             void *context) MUST_CHECK;
