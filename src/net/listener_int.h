/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/server.h"

struct listener {
    struct list link;
    struct server *server;
    struct loop_watch watch;
    struct timer pause; /* after running out of descriptors */
    bool is_tls;
    unsigned batch; /* how many connections to take before others have their turn */
};
