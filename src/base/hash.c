/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

/* Multiply-and-fold in the manner of wyhash (public domain design by Wang Yi): 8 bytes a step. */

static uint64_t hash_key = 0x9e3779b97f4a7c15u;

static uint64_t hash_fold(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_read(const char *p, size_t n)
{
    uint64_t value = 0;
    memcpy(&value, p, n);
    return value;
}

void hash_set_key(uint64_t key)
{
    hash_key = key;
}

uint64_t hash_str(struct str s)
{
    uint64_t h = hash_key ^ (s.n * 0xa0761d6478bd642fu);
    const char *p = s.p;
    size_t n = s.n;
    while (n >= 8) {
        h = hash_fold(h ^ hash_read(p, 8), 0xe7037ed1a0b428dbu);
        p += 8;
        n -= 8;
    }
    if (n) {
        h = hash_fold(h ^ hash_read(p, n), 0x8ebc6af09c88c6e3u);
    }
    return hash_fold(h ^ hash_key, 0x589965cc75374cc3u);
}

uint64_t hash_join(uint64_t a, uint64_t b)
{
    return hash_fold(a ^ 0xa0761d6478bd642fu, b ^ hash_key);
}
