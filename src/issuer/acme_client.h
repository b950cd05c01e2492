/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to an ACME server over HTTPS, one after the other on connections that are kept. Blocks,
 * with limits of time and size. */
#pragma once

#include "issuer/acme.h"

struct acme_client;

/* `ca_file`: path of the certificates to trust; NULL: as the system does. ERR_NOMEM. */
enum err acme_client_create(const char *ca_file, struct acme_client **ret_client) MUST_CHECK;
void acme_client_destroy(struct acme_client *c);

/* Sends what an ACME_SEND says. Views of `ret_answer` live until the next call. An error says in
 * `*ret_reason` (static, or until the next call) what went wrong. */
enum err acme_client_send(struct acme_client *c, const struct acme_action *request,
                          struct acme_answer *ret_answer, const char **ret_reason) MUST_CHECK;
