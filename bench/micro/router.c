/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nanoseconds per router match, for 10, 1,000 and 100,000 routes, for paths that hit and paths
 * that miss, and how long the build takes. Paths are visited in a shuffled order, so that large
 * trees pay for their cache misses.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "base/mem.h"
#include "edge/router.h"

#define PATHS 4096
#define ROUNDS 500

static const char *const words[] = {"users", "orders",  "items",    "carts", "files",  "images",
                                    "posts", "reports", "accounts", "teams", "events", "devices"};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static const char *word(uint64_t value)
{
    return words[value % (sizeof(words) / sizeof(words[0]))];
}

static struct str make_route(struct arena *a, size_t i)
{
    switch (i % 4) {
    case 0:
        return arena_printf(a, "/api/v%zu/%s/r%zu", i % 3, word(i / 3), i);
    case 1:
        return arena_printf(a, "/api/v%zu/%s/r%zu/*", i % 3, word(i / 3), i);
    case 2:
        return arena_printf(a, "/site%zu/%s/*/edit", i, word(i / 5));
    default:
        return arena_printf(a, "/static/%s/s%zu/**", word(i / 7), i);
    }
}

static struct str make_path(struct arena *a, size_t i, bool is_hit)
{
    const char *end = is_hit ? "" : "-not-there";
    switch (i % 4) {
    case 0:
        return arena_printf(a, "/api/v%zu/%s/r%zu%s", i % 3, word(i / 3), i, end);
    case 1:
        return arena_printf(a, "/api/v%zu/%s/r%zu%s/42", i % 3, word(i / 3), i, end);
    case 2:
        return arena_printf(a, "/site%zu/%s/1234/edit%s", i, word(i / 5), end);
    default:
        return arena_printf(a, "/static/%s/s%zu%s/css/site.css", word(i / 7), i, end);
    }
}

static double measure(const struct router *router, const struct str *paths, size_t *hits)
{
    uint64_t start = now_ns();
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < PATHS; i++) {
            uint32_t rule;
            *hits += router_match(router, paths[i], NULL, NULL, &rule);
        }
    }
    return (double)(now_ns() - start) / ((double)PATHS * ROUNDS);
}

static int run(size_t count)
{
    struct arena a;
    arena_init(&a, 1u << 20, 0);
    struct router_rule *rules = mem_zalloc(count, sizeof(*rules));
    struct str *hit = mem_zalloc(PATHS, sizeof(*hit));
    struct str *miss = mem_zalloc(PATHS, sizeof(*miss));
    if (!rules || !hit || !miss) {
        return 1;
    }
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < count; i++) {
        rules[i].pattern = make_route(&a, i);
    }
    for (size_t i = 0; i < PATHS; i++) {
        size_t route = random_next(&state) % count;
        hit[i] = make_path(&a, route, true);
        miss[i] = make_path(&a, route, false);
    }
    size_t before = a.used_bytes;
    const struct router *router;
    uint64_t start = now_ns();
    if (router_build(&a, rules, count, &router, NULL)) {
        return 1;
    }
    double build_ms = (double)(now_ns() - start) / 1e6;
    size_t hits = 0, misses = 0;
    double hit_ns = measure(router, hit, &hits);
    double miss_ns = measure(router, miss, &misses);
    bool is_right = hits == (size_t)PATHS * ROUNDS && misses == 0;
    printf("%7zu routes: hit %6.1f ns  miss %6.1f ns  build %7.2f ms  %8zu KiB%s\n", count, hit_ns,
           miss_ns, build_ms, (a.used_bytes - before) / 1024, is_right ? "" : "  WRONG");
    mem_free(rules);
    mem_free(hit);
    mem_free(miss);
    arena_done(&a);
    return is_right ? 0 : 1;
}

int main(void)
{
    return run(10) | run(1000) | run(100000);
}
