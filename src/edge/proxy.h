/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "edge/request.h"

/* The handler that passes a request on to the upstream of its route, and the answer back, both as
 * they come. */
void proxy_handle(struct request *r);
