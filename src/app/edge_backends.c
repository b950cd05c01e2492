/* SPDX-License-Identifier: Apache-2.0 */
/* What the control thread knows and does of the backends of the site in force. */
#include "app/edge_int.h"

void edge_check_backends(struct edge *e)
{
    enum err err = health_set_site(e->health, e->site);
    if (err) {
        LOG(e->log, LOG_LEVEL_ERROR, "some endpoints are not checked", log_err(err));
    }
}

enum err edge_publish_members(struct edge *e, struct str backend, const struct member *list,
                              size_t count, struct fault *reterr_fault)
{
    enum err err = site_publish_members(e->site, backend, list, count, reterr_fault);
    if (!err) {
        edge_check_backends(e);
    }
    return err;
}
