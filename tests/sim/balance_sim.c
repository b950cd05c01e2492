/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policies of balancing before nodes that differ: requests come by chance, each node serves so
 * many at once and queues the rest, one is slow or fails for a while. Prints the latency that 99 of
 * 100 requests do not exceed, and fails where p2c is worse than rr before unequal nodes, where a
 * request goes to a node that is ejected or unhealthy while no panic asks for it, where one leaves
 * the zone while half of the zone is in, and where a node that often fails is not found, or one
 * that never does is.
 *
 *   balance_sim [SEEDS [FIRST]]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/balance.h"

#define NODES_MAX 8u
#define SLOTS 4u /* what a node serves at once */
#define REQUESTS 3000u
#define EJECT_MAX_PPM 500000u
#define EJECT_ERRORS 5u
#define EJECT_MS 10000u
#define IN_FLIGHT_MAX 1024u
#define CONNECT_US 2000000u
#define WINDOW_REQUESTS 1200u /* that all nodes have between two judgements of their rates */

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "seed %" PRIu64 ": %s does not hold\n", sim_seed, #condition);         \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum sim_scene {
    SCENE_EQUAL,
    SCENE_SLOW,    /* one node takes ten times as long */
    SCENE_FAILING, /* one node fails at once for a third of the time */
    SCENE_FLAKY,   /* one node fails two of five requests, by chance, never many in a row */
    SCENE_ZONES,   /* some nodes are far; two are unhealthy for a third of the time */
    SCENE_COUNT,
};

struct sim_node {
    uint64_t service_us;
    uint64_t free_us[SLOTS]; /* when each slot is free again */
    bool fails_a_while;
    bool is_flaky;
    bool is_far;
    bool is_down_a_while;
    struct balance_window window;
    uint32_t latency_us;
    uint64_t learnt_ms;
    uint32_t failures, row_count;
    uint64_t out_until_ms;
    uint32_t in_flight;
};

/* A request that is under way; they end in the order of `end_us`. */
struct sim_request {
    uint64_t start_us, end_us;
    uint32_t node;
    bool fails;
};

struct sim {
    struct sim_node nodes[NODES_MAX];
    size_t node_count;
    struct sim_request under_way[REQUESTS];
    size_t under_way_count;
    uint32_t latencies[REQUESTS];
    size_t latency_count;
    uint64_t random;
    uint64_t end_us; /* of the time in which requests come */
    bool may_eject;
};

static uint64_t sim_seed;

/* splitmix64 */
static uint64_t sim_random(struct sim *s)
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void sim_look(const struct sim *s, uint64_t now_ms, struct balance_endpoint *ret)
{
    for (size_t i = 0; i < s->node_count; i++) {
        const struct sim_node *n = &s->nodes[i];
        ret[i] = (struct balance_endpoint){
            .weight = 1,
            .in_flight = n->in_flight,
            .latency_us = balance_decay(n->latency_us, now_ms - n->learnt_ms),
            .out_until_ms = n->out_until_ms,
            .is_far = n->is_far,
            .is_down =
                n->is_down_a_while && now_ms > s->end_us / 3000 && now_ms < s->end_us * 2 / 3000};
    }
}

/* As edge/endpoint.c and edge/upstream.c do it. */
static void sim_end_request(struct sim *s, const struct sim_request *r)
{
    struct sim_node *n = &s->nodes[r->node];
    uint64_t now_ms = r->end_us / 1000;
    uint64_t us = r->end_us - r->start_us;
    struct balance_endpoint list[NODES_MAX];
    n->in_flight--;
    n->latency_us =
        balance_learn(n->latency_us, now_ms - n->learnt_ms, r->fails ? CONNECT_US : (uint32_t)us);
    n->learnt_ms = now_ms;
    s->latencies[s->latency_count++] = r->fails ? CONNECT_US : (uint32_t)us;
    n->failures = r->fails ? n->failures + 1 : 0;
    n->window.requests++;
    n->window.failures += r->fails;
    sim_look(s, now_ms, list);
    if (s->may_eject && n->failures >= EJECT_ERRORS && n->out_until_ms <= now_ms &&
        balance_may_eject(list, s->node_count, r->node, now_ms, EJECT_MAX_PPM)) {
        n->out_until_ms = now_ms + balance_ejection_ms(EJECT_MS, ++n->row_count);
        n->failures = 0;
        n->latency_us = 0;
    }
}

static void sim_advance(struct sim *s, uint64_t now_us)
{
    for (;;) {
        size_t first = SIZE_MAX;
        for (size_t i = 0; i < s->under_way_count; i++) {
            if (s->under_way[i].end_us <= now_us &&
                (first == SIZE_MAX || s->under_way[i].end_us < s->under_way[first].end_us)) {
                first = i;
            }
        }
        if (first == SIZE_MAX) {
            return;
        }
        struct sim_request r = s->under_way[first];
        s->under_way[first] = s->under_way[--s->under_way_count];
        sim_end_request(s, &r);
    }
}

/* As edge/outlier.c does it. */
static void sim_judge(struct sim *s, uint64_t now_ms)
{
    struct balance_window windows[NODES_MAX];
    struct balance_endpoint list[NODES_MAX];
    bool is_out[NODES_MAX];
    for (size_t i = 0; i < s->node_count; i++) {
        windows[i] = s->nodes[i].window;
        s->nodes[i].window = (struct balance_window){0};
    }
    balance_by_rate(windows, s->node_count, is_out);
    for (size_t i = 0; i < s->node_count; i++) {
        struct sim_node *n = &s->nodes[i];
        CHECK(!is_out[i] || n->is_flaky || n->fails_a_while);
        sim_look(s, now_ms, list);
        if (is_out[i] && balance_may_eject(list, s->node_count, i, now_ms, EJECT_MAX_PPM)) {
            n->out_until_ms = now_ms + balance_ejection_ms(EJECT_MS, ++n->row_count);
        }
    }
}

/* Whether a request has no reason to leave the zone. */
static bool sim_is_near_enough(const struct balance_endpoint *list, size_t n, uint64_t now_ms)
{
    size_t count = 0, in_count = 0;
    bool has_room = false;
    for (size_t i = 0; i < n; i++) {
        bool is_in = !list[i].is_far && !list[i].is_down && list[i].out_until_ms <= now_ms;
        count += !list[i].is_far;
        in_count += is_in;
        has_room |= is_in && list[i].in_flight < IN_FLIGHT_MAX;
    }
    return has_room && in_count * 2 >= count;
}

static void sim_begin_request(struct sim *s, const struct balance_rules *rules, uint64_t now_us,
                              uint32_t tick)
{
    struct balance_endpoint list[NODES_MAX];
    const struct balance_turn turn = {now_us / 1000, sim_random(s), tick, 0};
    bool is_panic;
    sim_look(s, turn.now_ms, list);
    size_t at = balance_pick(rules, list, s->node_count, &turn, &is_panic);
    CHECK(at < s->node_count);
    struct sim_node *n = &s->nodes[at];
    CHECK(is_panic || (n->out_until_ms <= turn.now_ms && !list[at].is_down));
    CHECK(!list[at].is_far || !sim_is_near_enough(list, s->node_count, turn.now_ms));
    struct sim_request r = {.start_us = now_us, .node = (uint32_t)at};
    r.fails = (n->fails_a_while && now_us > s->end_us / 3 && now_us < s->end_us * 2 / 3) ||
              (n->is_flaky && sim_random(s) % 5 < 2 && n->failures < EJECT_ERRORS - 1);
    if (r.fails) {
        r.end_us = now_us + 200;
    } else {
        size_t slot = 0;
        for (size_t i = 1; i < SLOTS; i++) {
            slot = n->free_us[i] < n->free_us[slot] ? i : slot;
        }
        uint64_t begin = n->free_us[slot] > now_us ? n->free_us[slot] : now_us;
        r.end_us = begin + n->service_us / 2 + sim_random(s) % n->service_us;
        n->free_us[slot] = r.end_us;
    }
    n->in_flight++;
    s->under_way[s->under_way_count++] = r;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The 99th percentile in microseconds. */
static uint32_t sim_run(struct sim *s, uint64_t seed, enum sim_scene scene,
                        enum balance_policy policy)
{
    const struct balance_rules rules = {
        .policy = policy, .in_flight_max = IN_FLIGHT_MAX, .slow_start_ms = 30000};
    memset(s, 0, sizeof(*s));
    s->random = seed;
    s->may_eject = true;
    s->node_count = 3 + sim_random(s) % (NODES_MAX - 2);
    for (size_t i = 0; i < s->node_count; i++) {
        s->nodes[i].service_us = 4000 + sim_random(s) % 2000;
    }
    size_t odd = sim_random(s) % s->node_count;
    s->nodes[odd].service_us *= scene == SCENE_SLOW ? 10 : 1;
    s->nodes[odd].fails_a_while = scene == SCENE_FAILING;
    s->nodes[odd].is_flaky = scene == SCENE_FLAKY;
    for (size_t i = 0; scene == SCENE_ZONES && i < s->node_count; i++) {
        s->nodes[i].is_far = sim_random(s) % 2;
    }
    s->nodes[odd].is_down_a_while = scene == SCENE_ZONES;
    s->nodes[(odd + 1) % s->node_count].is_down_a_while = scene == SCENE_ZONES;
    /* Half of what all nodes but one can do. */
    uint64_t gap_us = 2 * 5000 / (SLOTS * (s->node_count - 1)) + 1;
    s->end_us = REQUESTS * gap_us;
    uint64_t now_us = 1;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        now_us += sim_random(s) % (2 * gap_us);
        sim_advance(s, now_us);
        sim_begin_request(s, &rules, now_us, i);
        if (i % WINDOW_REQUESTS == WINDOW_REQUESTS - 1) {
            sim_judge(s, now_us / 1000);
        }
    }
    CHECK(scene != SCENE_FLAKY || policy != BALANCE_RR || s->node_count < BALANCE_RATE_ENDPOINTS ||
          s->nodes[odd].row_count > 0);
    sim_advance(s, UINT64_MAX);
    CHECK(s->latency_count == REQUESTS);
    for (size_t i = 0; i < s->node_count; i++) {
        CHECK(s->nodes[i].in_flight == 0);
    }
    qsort(s->latencies, REQUESTS, sizeof(s->latencies[0]), compare);
    return s->latencies[REQUESTS * 99 / 100];
}

int main(int argc, char **argv)
{
    static const char *const scenes[] = {"equal", "one slow", "one failing", "one flaky", "zones"};
    static const char *const policies[] = {"p2c", "rr", "least", "first"};
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    struct sim *s = malloc(sizeof(*s));
    uint32_t *p99 = malloc(seeds * sizeof(*p99));
    CHECK(s && p99 && seeds > 0);
    printf("%-12s", "p99, ms");
    for (int p = 0; p < 4; p++) {
        printf("%10s", policies[p]);
    }
    printf("   (median and worst of %" PRIu64 " seeds)\n", seeds);
    for (int scene = 0; scene < SCENE_COUNT; scene++) {
        uint64_t sums[4] = {0};
        printf("%-12s", scenes[scene]);
        for (int p = 0; p < 4; p++) {
            for (uint64_t i = 0; i < seeds; i++) {
                sim_seed = first + i;
                p99[i] = sim_run(s, sim_seed, (enum sim_scene)scene, (enum balance_policy)p);
                sums[p] += p99[i];
            }
            qsort(p99, seeds, sizeof(*p99), compare);
            printf("  %.1f/%.1f", p99[seeds / 2] / 1000.0, p99[seeds - 1] / 1000.0);
        }
        putchar('\n');
        CHECK((scene != SCENE_SLOW && scene != SCENE_FAILING) ||
              sums[BALANCE_P2C] <= sums[BALANCE_RR]);
    }
    free(p99);
    free(s);
    return 0;
}
