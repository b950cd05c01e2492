/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of requests for another backend, best effort: nobody waits for them, their answers are
 * thrown away, and where too many are under way none is made.
 */
#pragma once

#include "base/buf.h"
#include "edge/request.h"

#define MIRROR_BODY_BYTES_MAX 65536u

/* Whether a copy of this request is due: its route has a mirror, and chance says so. */
bool mirror_takes(const struct request *r);

/* Sends a copy, or counts that there is none. `target` is encoded; `body` is the whole one, NULL:
 * it was too long. */
void mirror_send(struct request *r, struct str target, const struct buf *body);

/* Forgets those under way. */
void mirror_end_all(struct pipeline *p);
