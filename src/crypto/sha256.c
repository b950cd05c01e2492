/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/sha256.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

typedef void (*compress_fn)(uint32_t state[8], const uint8_t *p, size_t blocks);

static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static uint32_t load(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void schedule(const uint8_t *p, uint32_t w[64])
{
    for (unsigned i = 0; i < 16; i++) {
        w[i] = load(p + (size_t)4 * i);
    }
    for (unsigned i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
}

static void compress_portable(uint32_t state[8], const uint8_t *p, size_t blocks)
{
    for (; blocks; blocks--, p += SHA256_BLOCK_BYTES) {
        uint32_t w[64], s[8];
        schedule(p, w);
        memcpy(s, state, sizeof(s));
        for (unsigned i = 0; i < 64; i++) {
            uint32_t a = s[0], e = s[4];
            uint32_t one = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                           ((e & s[5]) ^ (~e & s[6])) + constants[i] + w[i];
            uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
                           ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
            memmove(s + 1, s, 7 * sizeof(*s));
            s[4] += one;
            s[0] = one + two;
        }
        for (unsigned i = 0; i < 8; i++) {
            state[i] += s[i];
        }
    }
}

#if defined(__x86_64__)

/* The processor's own rounds; its registers hold the state as ABEF and CDGH. */
__attribute__((target("sha,sse4.1"))) static void compress_ni(uint32_t state[8], const uint8_t *p,
                                                              size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i low = _mm_loadu_si128((const __m128i *)(const void *)state);
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(state + 4));
    low = _mm_shuffle_epi32(low, 0xb1);
    high = _mm_shuffle_epi32(high, 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8);
    __m128i cdgh = _mm_blend_epi16(high, low, 0xf0);
    for (; blocks; blocks--, p += SHA256_BLOCK_BYTES) {
        __m128i abef_before = abef, cdgh_before = cdgh, w[4];
        for (int i = 0; i < 4; i++) {
            w[i] = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
            w[i] = _mm_shuffle_epi8(w[i], swap);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            const __m128i *k = (const __m128i *)(const void *)(constants + 4 * i);
            __m128i sum = _mm_add_epi32(w[i % 4], _mm_loadu_si128(k));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            if (i < 12) {
                __m128i newest = w[(i + 3) % 4];
                __m128i next = _mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]);
                next = _mm_add_epi32(next, _mm_alignr_epi8(newest, w[(i + 2) % 4], 4));
                w[i % 4] = _mm_sha256msg2_epu32(next, newest);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1b);
    high = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(high, low, 8));
}

static compress_fn choose(void)
{
    unsigned a, b, c, d;
    bool has_sse = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) && (c & bit_SSSE3);
    bool has_sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
    return has_sse && has_sha ? compress_ni : compress_portable;
}

#else

static compress_fn choose(void)
{
    return compress_portable;
}

#endif

/* Asking the processor traps in a virtual machine, so the answer is kept. */
static compress_fn compressor(void)
{
    static _Atomic(compress_fn) chosen;
    compress_fn compress = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!compress) {
        compress = choose();
        atomic_store_explicit(&chosen, compress, memory_order_relaxed);
    }
    return compress;
}

void sha256_init(struct sha256 *h)
{
    memcpy(h->state, start, sizeof(start));
    h->bytes = 0;
}

static void add(struct sha256 *h, const uint8_t *p, size_t n, compress_fn compress)
{
    size_t held = h->bytes % SHA256_BLOCK_BYTES;
    h->bytes += n;
    if (held + n >= SHA256_BLOCK_BYTES) {
        if (held) {
            size_t part = SHA256_BLOCK_BYTES - held;
            memcpy(h->block + held, p, part);
            compress(h->state, h->block, 1);
            p += part;
            n -= part;
            held = 0;
        }
        if (n >= SHA256_BLOCK_BYTES) {
            compress(h->state, p, n / SHA256_BLOCK_BYTES);
            p += n / SHA256_BLOCK_BYTES * SHA256_BLOCK_BYTES;
            n %= SHA256_BLOCK_BYTES;
        }
    }
    if (n) {
        memcpy(h->block + held, p, n);
    }
}

static void finish(struct sha256 *h, uint8_t ret_hash[SHA256_BYTES], compress_fn compress)
{
    size_t held = h->bytes % SHA256_BLOCK_BYTES;
    uint64_t bits = h->bytes * 8;
    h->block[held++] = 0x80;
    if (held > SHA256_BLOCK_BYTES - sizeof(bits)) {
        memset(h->block + held, 0, SHA256_BLOCK_BYTES - held);
        compress(h->state, h->block, 1);
        held = 0;
    }
    memset(h->block + held, 0, SHA256_BLOCK_BYTES - sizeof(bits) - held);
    for (size_t i = 1; i <= sizeof(bits); i++, bits >>= 8) {
        h->block[SHA256_BLOCK_BYTES - i] = (uint8_t)bits;
    }
    compress(h->state, h->block, 1);
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        ret_hash[i] = (uint8_t)(h->state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

void sha256_add(struct sha256 *h, const void *bytes, size_t n)
{
    add(h, bytes, n, compressor());
}

void sha256_finish(struct sha256 *h, uint8_t ret_hash[SHA256_BYTES])
{
    finish(h, ret_hash, compressor());
}

void sha256_of_portable(struct str s, uint8_t ret_hash[SHA256_BYTES])
{
    struct sha256 h;
    sha256_init(&h);
    add(&h, (const uint8_t *)s.p, s.n, compress_portable);
    finish(&h, ret_hash, compress_portable);
}
