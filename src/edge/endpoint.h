/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the process knows of each endpoint of its backends: requests under way, latency, failures.
 * All loops share it by atomics; the values are hints for balancing, so nothing depends on two of
 * them having been read at the same moment. It outlives its site: a site takes from the one before
 * what has the same backend and name. The backend is called by the first domain of its host.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "edge/balance.h"

struct endpoint;
struct endpoint_set;

/* The endpoints of a site, those of `before` (NULL: none) at hand. ERR_NOMEM. */
enum err endpoint_set_create(const struct endpoint_set *before,
                             struct endpoint_set **ret_set) MUST_CHECK;
void endpoint_set_destroy(struct endpoint_set *s); /* NULL is a no-op */

/* The site before is not looked at any more and may go. */
void endpoint_set_seal(struct endpoint_set *s);

/* The endpoint of this name, which the set keeps. Before endpoint_set_seal. ERR_NOMEM. */
enum err endpoint_set_get(struct endpoint_set *s, struct str backend, struct str name,
                          struct endpoint **ret_endpoint) MUST_CHECK;

/* Items of a JSON list, and lines for Prometheus; both of 1000 endpoints at most. */
void endpoint_set_write_json(const struct endpoint_set *s, uint64_t now_ms, struct buf *out);
void endpoint_set_write_prometheus(const struct endpoint_set *s, uint64_t now_ms, struct buf *out);

/* Fills what is known at `now_ms`; the rest of `ret` is the caller's. */
void endpoint_look(const struct endpoint *e, uint64_t now_ms, struct balance_endpoint *ret);

/* A request begins there and ends. */
void endpoint_begin(struct endpoint *e);
void endpoint_end(struct endpoint *e);

/* It answered, or failed, after `latency_us`; the latter says how often in a row. */
void endpoint_succeeded(struct endpoint *e, uint64_t now_ms, uint32_t latency_us);
uint32_t endpoint_failed(struct endpoint *e, uint64_t now_ms, uint32_t latency_us);

/* Leaves it out for `base_ms` times how often that happened in a row; false: it is out already. */
bool endpoint_eject(struct endpoint *e, uint64_t now_ms, uint64_t base_ms);
