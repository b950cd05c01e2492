/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/server.h"

/* How connections begin. */
enum listener_kind { LISTENER_HTTP, LISTENER_TLS, LISTENER_STREAM };

struct listener {
    struct list link;
    struct server *server;
    struct loop_watch watch;
    struct timer pause; /* after running out of descriptors */
    enum listener_kind kind;
    unsigned tag;   /* of LISTENER_STREAM */
    unsigned batch; /* how many connections to take before others have their turn */
};
