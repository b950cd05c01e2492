/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "edge/request.h"

/* Writes the line of a finished exchange, where its route wants one. */
void access_log_request(struct pipeline *p, struct request *r, enum err cause);

/* Writes the line of a head that never became an exchange. */
void access_log_refused(struct pipeline *p, const struct exchange_peer *peer, const char *reason,
                        uint16_t status);
