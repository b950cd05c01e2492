/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/assert.h"
#include "conf/settings.h"

#define KEYS(list) .keys = (list), .key_count = COUNT_OF(list)
#define AT(type, member) .offset = offsetof(struct type, member)

extern const struct conf_table conf_table_server;

/* server.tls, and ssl of hosts. */
extern const struct conf_table conf_table_tls;

/* One endpoint of a backend. */
extern const struct conf_table conf_table_endpoint;

/* backend of hosts and routes. */
extern const struct conf_table conf_table_backend;

/* split and mirror of hosts and routes. */
extern const struct conf_table conf_table_share;
extern const struct conf_table conf_table_mirror;

/* What requests go by: ip, path, header:NAME or cookie:NAME; for split also request. */
const char *conf_check_hash(struct str text, size_t *ret_at);

/* The name of a variable of the environment. */
const char *conf_check_variable(struct str text, size_t *ret_at);
const char *conf_check_split_by(struct str text, size_t *ret_at);
/* process of a backend. */
extern const struct conf_table conf_table_process;
