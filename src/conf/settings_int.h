/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "conf/settings.h"

/* What does not fit together is a diagnostic and makes it wrong. */
struct checker {
    struct diag_list *diags;
    bool is_wrong;
};

/* Settles what hosts and routes name. */
void settings_check_backends(struct checker *c, struct settings *s);
/* Gives each process its name and directory; `s` is checked. ERR_NOMEM. */
enum err settings_name_processes(struct settings *s, struct arena *arena) MUST_CHECK;

/* What is wrong with a process, or NULL; `*ret_key`: which of its keys says so. */
const char *settings_check_process(const struct process_settings *p, const char **ret_key);

/* Reads the certificates, keys and authorities that `s` names into `arena`. What is wrong becomes
 * a diagnostic and `*is_wrong`. ERR_NOMEM. */
enum err settings_read_tls(struct settings *s, struct arena *arena, const struct conf_io *io,
                           struct diag_list *diags, bool *is_wrong) MUST_CHECK;
