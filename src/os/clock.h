/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u

/* Monotonic time in nanoseconds, from an arbitrary start. */
uint64_t clock_monotonic_ns(void);

/* Wall-clock time in nanoseconds since 1970-01-01 UTC. */
uint64_t clock_wall_ns(void);

/* The same in whole seconds, as certificates count them. */
int64_t clock_wall_s(void);
