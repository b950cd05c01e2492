/* SPDX-License-Identifier: Apache-2.0 */
#include "os/clock.h"

#include <time.h>

static uint64_t clock_read(clockid_t id)
{
    struct timespec t = {0};
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ns(void)
{
    return clock_read(CLOCK_REALTIME);
}

int64_t clock_wall_s(void)
{
    return (int64_t)(clock_wall_ns() / NS_PER_S);
}
