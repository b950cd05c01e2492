/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/split.h"

#include "edge/proxy_int.h"

struct split_part {
    struct upstream *upstream;
    uint64_t end; /* of its range of numbers, which begins where that of the one before ends */
};

struct split {
    size_t count;
    struct split_part parts[];
};

enum err split_create(struct site *site, const struct split_list *list, struct split **ret_split)
{
    struct split *split =
        arena_zalloc(&site->arena, sizeof(*split) + list->count * sizeof(struct split_part));
    uint64_t end = 0;
    if (!split) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < list->count; i++) {
        end += (uint64_t)list->items[i].weight;
        split->parts[i] = (struct split_part){site_find_backend(site, list->items[i].name), end};
    }
    split->count = list->count;
    *ret_split = split;
    return ERR_OK;
}

/* Parts from what balance: hash makes of the same key, or an endpoint would get all of one kind;
 * the same on every machine. The finaliser of SplitMix64. */
static uint64_t split_mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t split_number(const struct request *r)
{
    struct str by = r->route->keys->split_by;
    return str_eq(by, STR("request")) ? pipeline_random(r->pipeline)
                                      : split_mix(proxy_hash_key(r, by));
}

struct upstream *split_pick(const struct split *split, const struct request *r)
{
    uint64_t n = split_number(r) % split->parts[split->count - 1].end;
    size_t i = 0;
    while (n >= split->parts[i].end) {
        i++;
    }
    return split->parts[i].upstream;
}
