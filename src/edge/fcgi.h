/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that go to a backend of FastCGI: which script is meant, and what it is told. */
#pragma once

#include "edge/request.h"
#include "net/client.h"

/* What a request means below the root. In the arena of its exchange, its texts too. */
struct fcgi_script {
    struct str name;      /* SCRIPT_NAME; empty: there are no scripts */
    struct str path_info; /* decoded; empty: none */
    struct str query;
};

/* The handler of such a backend, which is r->upstream: serves a file that is no script, redirects
 * to a directory, says that there is nothing, or chooses a script and passes the request on. */
void fcgi_handle(struct request *r);

/* The variables of CGI for r->script, in the arena; views of the request, for use at once.
 * ERR_NOMEM. */
enum err fcgi_variables(struct request *r, const struct client_variable **ret_list,
                        size_t *ret_count) MUST_CHECK;

#define FCGI_CHECK_VARIABLES 10

/* Those of a health check that asks for `path`; views of it, the settings and `file` (as long as
 * both together). */
void fcgi_check_variables(const struct fcgi_settings *settings, struct str path, char *file,
                          struct client_variable ret_list[FCGI_CHECK_VARIABLES]);

/* Writes what a script said for the log, ten lines a second at most for each loop. */
void fcgi_log(struct request *r, struct str endpoint, struct str text);
