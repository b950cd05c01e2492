/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/state_path.h"

#include <string.h>

#include "base/assert.h"
#include "crypto/sha256.h"

void state_hash(enum state_prefix prefix, const void *bytes, size_t n,
                uint8_t ret_hash[STATE_HASH_BYTES])
{
    const uint8_t first = (uint8_t)prefix;
    struct sha256 h;
    sha256_init(&h);
    sha256_add(&h, &first, 1);
    sha256_add(&h, bytes, n);
    sha256_finish(&h, ret_hash);
}

void state_hash_pair(enum state_prefix prefix, const uint8_t a[STATE_HASH_BYTES],
                     const uint8_t b[STATE_HASH_BYTES], uint8_t ret_hash[STATE_HASH_BYTES])
{
    const uint8_t first = (uint8_t)prefix;
    struct sha256 h;
    sha256_init(&h);
    sha256_add(&h, &first, 1);
    sha256_add(&h, a, STATE_HASH_BYTES);
    sha256_add(&h, b, STATE_HASH_BYTES);
    sha256_finish(&h, ret_hash);
}

bool state_hash_is_zero(const uint8_t hash[STATE_HASH_BYTES])
{
    static const uint8_t zero[STATE_HASH_BYTES];
    return memcmp(hash, zero, sizeof(zero)) == 0;
}

bool state_path_has_prefix(const uint8_t a[STATE_HASH_BYTES], const uint8_t b[STATE_HASH_BYTES],
                           unsigned depth)
{
    unsigned whole = depth / 8, rest = depth % 8;
    return memcmp(a, b, whole) == 0 && (!rest || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0);
}

static void swap_items(const struct state_items *items, size_t i, size_t k)
{
    uint8_t held[STATE_ITEM_BYTES_MAX];
    uint8_t *a = items->p + i * items->item_bytes, *b = items->p + k * items->item_bytes;
    memcpy(held, a, items->item_bytes);
    memcpy(a, b, items->item_bytes);
    memcpy(b, held, items->item_bytes);
}

/* Radix exchange: by one bit after the other, to a depth of 256 at most. */
static bool sort_from(struct state_items items, unsigned depth)
{
    for (; items.n > 1; depth++) {
        size_t left = 0;
        if (depth == STATE_DEPTH_MAX) {
            return false;
        }
        for (size_t i = 0; i < items.n; i++) {
            if (!state_path_bit(state_items_path(&items, i), depth)) {
                if (i != left) {
                    swap_items(&items, i, left);
                }
                left++;
            }
        }
        if (!sort_from(state_items_part(&items, 0, left), depth + 1)) {
            return false;
        }
        items = state_items_part(&items, left, items.n - left);
    }
    return true;
}

bool state_items_sort(const struct state_items *items)
{
    ASSERT(items->item_bytes <= STATE_ITEM_BYTES_MAX);
    return sort_from(*items, 0);
}

size_t state_items_split(const struct state_items *items, unsigned depth)
{
    size_t low = 0, high = items->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (state_path_bit(state_items_path(items, middle), depth)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

size_t state_items_find(const struct state_items *items, const uint8_t path[STATE_HASH_BYTES])
{
    size_t low = 0, high = items->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(state_items_path(items, middle), path, STATE_HASH_BYTES);
        if (order == 0) {
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return SIZE_MAX;
}
