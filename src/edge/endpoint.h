/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the process knows of each endpoint of its backends: requests under way, latency, failures.
 * All loops share it by atomics; the values are hints for balancing, so nothing depends on two of
 * them having been read at the same moment. It outlives the list that it stands in and its site:
 * the next list of the same backend goes on with the endpoints whose names stay.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "edge/balance.h"

struct endpoint;

/* What is counted and measured, for people and machines. */
enum endpoint_figure {
    ENDPOINT_REQUESTS,
    ENDPOINT_FAILURES,
    ENDPOINT_EJECTIONS,
    ENDPOINT_IN_FLIGHT,
    ENDPOINT_LATENCY, /* us */
    ENDPOINT_IS_IN,
    ENDPOINT_IS_HEALTHY, /* 1 also where nothing is known */
    ENDPOINT_IS_DRAINED,
    ENDPOINT_FIGURES,
};

/* Nothing is known of it yet. ERR_NOMEM. */
enum err endpoint_create(struct str name, struct endpoint **ret_endpoint) MUST_CHECK;

/* Thread-safe; ending NULL is a no-op. */
struct endpoint *endpoint_ref(struct endpoint *e);
void endpoint_unref(struct endpoint *e);

/* What checks say of it. */
enum endpoint_health {
    ENDPOINT_UNCHECKED, /* there are none */
    ENDPOINT_PRESUMED,  /* it was there from the start: asked until the first verdict */
    ENDPOINT_WAITING,   /* it joined later: asked from its first pass on */
    ENDPOINT_HEALTHY,
    ENDPOINT_UNHEALTHY,
};

/* One that was out and becomes healthy gets its share by and by, as after an ejection. */
void endpoint_set_health(struct endpoint *e, enum endpoint_health health, uint64_t now_ms);
enum endpoint_health endpoint_health(const struct endpoint *e);

/* An operator takes it out, for as long as its name stays; and back. */
void endpoint_set_drained(struct endpoint *e, bool is_drained);
bool endpoint_is_drained(const struct endpoint *e);

/* Fills what is known at `now_ms`; the rest of `ret` is the caller's. */
void endpoint_look(const struct endpoint *e, uint64_t now_ms, struct balance_endpoint *ret);

/* A request begins there and ends. */
void endpoint_begin(struct endpoint *e);
void endpoint_end(struct endpoint *e);

/* The request became a tunnel, and the tunnel ends; within those. */
void endpoint_begin_tunnel(struct endpoint *e);
void endpoint_end_tunnel(struct endpoint *e);

/* It answered, or failed, after `latency_us`; the latter says how often in a row. */
void endpoint_succeeded(struct endpoint *e, uint64_t now_ms, uint32_t latency_us);
uint32_t endpoint_failed(struct endpoint *e, uint64_t now_ms, uint32_t latency_us);

enum endpoint_cause {
    ENDPOINT_FAILS_IN_ROW,
    ENDPOINT_FAILS_OFTEN, /* beside the others */
};

/* Leaves it out for `base_ms` times how often that happened in a row; false: it is out already. */
bool endpoint_eject(struct endpoint *e, uint64_t now_ms, uint64_t base_ms,
                    enum endpoint_cause cause);

/* What became of ejections since the last call, of one thread. */
struct endpoint_news {
    bool is_ejected; /* now or in between */
    bool is_back;
    uint64_t out_ms; /* how long it is out in all, of the last ejection */
    enum endpoint_cause cause;
};
struct endpoint_news endpoint_take_news(struct endpoint *e, uint64_t now_ms);

/* Requests and failures since the last call, of the same thread. */
struct balance_window endpoint_take_window(struct endpoint *e);

uint64_t endpoint_figure(const struct endpoint *e, enum endpoint_figure figure, uint64_t now_ms);
