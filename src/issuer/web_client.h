/* SPDX-License-Identifier: Apache-2.0 */
/* Requests over HTTPS and HTTP, one after the other on connections that are kept. Blocks, with
 * limits of time and size; follows no redirect. */
#pragma once

#include "base/err.h"
#include "issuer/web.h"

struct web_client;

/* `ca_file`: path of the certificates to trust; NULL: as the system does. ERR_NOMEM;
 * ERR_UNSUPPORTED: there is no libcurl (issuer/web_library.h). */
enum err web_client_create(const char *ca_file, struct web_client **ret_client) MUST_CHECK;
void web_client_destroy(struct web_client *c);

/* Sends a request; its `ca_pem` is not looked at. Views of `ret_answer` live until the next call.
 * An error says in `*ret_reason` (static, or until the next call) what went wrong. */
enum err web_client_send(struct web_client *c, const struct web_request *request,
                         struct web_answer *ret_answer, const char **ret_reason) MUST_CHECK;
